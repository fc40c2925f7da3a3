#!/usr/bin/env python3
"""Run the quickstart without a browser, and leave its page and its pictures in demo/.

tools/demo.py [FOLDER]
"""

import base64
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "nbs" / "tutorials" / "quickstart.ipynb"


def heading(cell):
    "The heading in a cell of text, if it has one"
    return next((line.strip("# ") for line in cell.source.splitlines() if line.startswith("## ")), None)


def execute(nb, folder):
    "Run every cell, saying where we are; what a cell prints is printed"
    client = NotebookClient(nb, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == "markdown" and (title := heading(cell)): print(f"-- {title}", flush=True)
            if cell.cell_type != "code": continue
            client.execute_cell(cell, i)
            for o in cell.outputs:
                if o.output_type == "stream" and o.name == "stdout": print("   " + o.text.strip().replace("\n", "\n   "), flush=True)


def save_pictures(nb, folder):
    "Write every picture of the notebook into a file named after its cell"
    names = []
    for cell in nb.cells:
        for o in cell.get("outputs", []):
            if "image/png" in o.get("data", {}):
                names.append(f"{cell.id}.png")
                (folder / names[-1]).write_bytes(base64.b64decode(o.data["image/png"]))
    return names


def main(folder):
    start = time.time()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    nb = nbformat.read(QUICKSTART, as_version=4)
    print(f"Running {QUICKSTART.relative_to(ROOT)}", flush=True)
    execute(nb, folder)
    page, _ = HTMLExporter().from_notebook_node(nb)
    (folder / "quickstart.html").write_text(page, encoding="utf-8")
    print(f"Done in {time.time() - start:.0f} s. Look at {folder / 'quickstart.html'}")
    print(f"and at {', '.join(save_pictures(nb, folder))} beside it.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo").resolve())
