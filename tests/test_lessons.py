"""The lessons of each notebook, run against the generated package instead of the notebook's own definitions.

This finds what `nbdev-test` cannot: a module that lacks an import which its notebook has elsewhere.
"""

from importlib import import_module
from pathlib import Path

import pytest
from execnb.shell import CaptureShell
from fastcore.nbio import read_nb
from nbdev.config import get_config
from nbdev.test import nb_test_cells

ROOT = Path(__file__).resolve().parents[1]
FLAGS = get_config(ROOT).tst_flags.split()


def module_of(path):
    "The module that a notebook generates, or None"
    cells = [c for c in read_nb(path).cells if c.cell_type == "code" and c.has_directive("default_exp")]
    return cells[0].directive("default_exp") if cells else None


NBS = [p for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts and module_of(p)]


@pytest.mark.parametrize("path", NBS, ids=lambda p: p.stem)
def test_lessons(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("IN_TEST", "1")
    module = import_module("segnb." + module_of(path))
    shell = CaptureShell(path, mpl_format=None)
    shell.user_ns.update({k: v for k, v in vars(module).items() if not k.startswith("__")})
    for cell in nb_test_cells(path, FLAGS):
        if any(cell.has_directive(d) for d in ("export", "exporti", "exports")): continue
        shell.cell(cell)
        if shell.exc: raise shell.exc
    shell.close()
