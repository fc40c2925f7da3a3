"""The tutorials run from the first cell to the last, in an empty folder, as a reader runs them.

The quickstart trains for minutes; `./run demo` runs it.
"""

import json
from pathlib import Path

import pytest
from execnb.shell import CaptureShell
from nbdev.test import nb_test_cells

FOLDER = Path(__file__).resolve().parents[1] / "nbs" / "tutorials"
NBS = [p for p in sorted(FOLDER.glob("*.ipynb")) if p.stem != "quickstart"]


@pytest.mark.parametrize("path", NBS, ids=lambda p: p.stem)
def test_tutorial(path, tmp_path, monkeypatch, shared):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IN_TEST", "1")
    monkeypatch.setenv("SEGNB_SHARED", str(shared))
    shell = CaptureShell(tmp_path, mpl_format=None)
    for cell in nb_test_cells(path, []):
        shell.cell(cell)
        if shell.exc:
            raise shell.exc
    shell.close()


@pytest.mark.parametrize("path", NBS, ids=lambda p: p.stem)
def test_a_teacher_can_use_it(path):
    cells = json.loads(path.read_text())["cells"]
    assert "## Exercises" in "".join(cells[-1]["source"]) and path.stat().st_size < 300_000
    assert any("assert" in "".join(c["source"]) for c in cells if c["cell_type"] == "code")
