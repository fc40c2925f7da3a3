"""The tutorials run from the first cell to the last, in an empty folder, as a reader runs them.

The quickstart trains for three minutes, since its network has to beat a classifier of colours by a margin. Here it trains for two epochs and
all its cells run; `./run demo` runs it as it stands, margin included.
"""

import json
from pathlib import Path

import pytest
from execnb.shell import CaptureShell
from nbdev.test import nb_test_cells

FOLDER = Path(__file__).resolve().parents[1] / "nbs" / "tutorials"
NBS = sorted(FOLDER.glob("*.ipynb"))
SHORTER = {"quickstart": {"num_epochs=36": "num_epochs=2", "save_interval_epochs=6": "save_interval_epochs=1",
                          'assert metrics["miou"] > by_colour.metrics()["miou"] + 0.1': ""}}


def cells_of(path):
    "The cells, in the shorter form if there is one"
    cells, left = nb_test_cells(path, []), dict(SHORTER.get(path.stem, {}))
    for cell in cells:
        for long in [long for long in SHORTER.get(path.stem, {}) if long in cell.source]:
            cell.set_source(cell.source.replace(long, SHORTER[path.stem][long]))
            left.pop(long, None)
    assert not left, f"{path.name} no longer says {list(left)}"
    return cells


@pytest.mark.parametrize("path", NBS, ids=lambda p: p.stem)
def test_tutorial(path, tmp_path, monkeypatch, shared):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IN_TEST", "1")
    monkeypatch.setenv("SEGNB_SHARED", str(shared))
    shell = CaptureShell(tmp_path, mpl_format=None)
    for cell in cells_of(path):
        shell.cell(cell)
        if shell.exc:
            raise shell.exc
    shell.close()


@pytest.mark.parametrize("path", NBS, ids=lambda p: p.stem)
def test_a_teacher_can_use_it(path):
    cells = json.loads(path.read_text())["cells"]
    assert "## Exercises" in "".join(cells[-1]["source"]) and path.stat().st_size < 350_000
    assert any("assert" in "".join(c["source"]) for c in cells if c["cell_type"] == "code")
