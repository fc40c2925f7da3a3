#!/usr/bin/env python3
"""Edit, run and check notebooks from a terminal (no browser needed).

  tools/nb.py show  NB            print NB as text: one `# %% [type] #id` line per cell, then its source
  tools/nb.py put   NB [FILE]     make NB equal to that text (FILE or stdin); ids, outputs and metadata are kept
  tools/nb.py run   NB...         run NB in a fresh kernel, store its outputs, clean it
  tools/nb.py check [NB...]       fail on dirty, stale-looking, oversized or id-less notebooks (default: all)
  tools/nb.py readme              write README.md from nbs/index.ipynb

Markdown is written raw (no `# ` prefix). A cell line without `#id` is a new cell: its id is made
from the first name it defines or from its first words, so generated code stays readable.
"""

import ast
import base64
import copy
import io
import json
import re
import sys
from pathlib import Path

from fastcore.nbio import dict2nb, mk_cell, nb2str, new_nb, read_nb, write_nb

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"
META = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
HEAD = re.compile(r"^# %%(?: \[(markdown|raw)\])?(?: #([A-Za-z0-9_-]{1,64}))?[ \t]*$", re.M)
WIDGET = "application/vnd.jupyter.widget-view+json"
BAD_TEXT = re.compile(r"/(?:home|root|tmp|Users)/|[A-Z]:\\Users|<\w+ object at 0x")
MAX_NB_KB, MAX_OUT_KB = 600, 150  # whole notebook, one output


def to_text(nb):
    "Notebook as editable text"
    kinds = {"code": ""}
    return "\n".join(f"# %%{kinds.get(c.cell_type, f' [{c.cell_type}]')} #{c.id}\n{c.source.rstrip()}\n" for c in nb.cells)


def slug(src, taken):
    "A readable cell id: the first defined name, else the first words"
    name = ""
    try:
        name = next((o.name for o in ast.parse(src).body if isinstance(o, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)), "")
    except SyntaxError:
        pass
    if not name:
        words = re.findall(r"[A-Za-z0-9]+", re.sub(r"^#\|\s*(export\w*|hide)\s*$", "", src, flags=re.M))
        name = "-".join(words[:4]).lower()
    name = name.strip("_")[:40] or "cell"
    res, i = name, 2
    while res in taken:
        res, i = f"{name}-{i}", i + 1
    return res


def from_text(text, old=None):
    "Notebook from text, reusing the cells of `old` that have the same id"
    nb = old or new_nb([], meta=copy.deepcopy(META))
    by_id = {c.id: c for c in nb.cells}
    heads = list(HEAD.finditer(text))
    if not heads or text[: heads[0].start()].strip():
        raise SystemExit("the text must start with a `# %%` line")
    given = [m[2] for m in heads if m[2]]
    taken, cells = set(given), []
    if len(taken) != len(given):
        raise SystemExit("duplicate cell ids")
    for m, nxt in zip(heads, [*heads[1:], None], strict=True):
        src = text[m.end() : nxt.start() if nxt else None].strip("\n")
        kind, cid = m[1] or "code", m[2]
        if not cid:
            taken.add(cid := slug(src, taken))
        c = by_id.get(cid)
        if c is None or c.cell_type != kind:
            c = mk_cell(src, kind, id=cid)
        elif c.source.rstrip() != src.rstrip():
            c.set_source(src)
            if kind == "code":
                c.outputs = []  # never leave a stale output behind
        cells.append(c)
    nb.cells = cells
    return nb


def clean(path):
    from nbdev.clean import nbdev_clean

    nbdev_clean.__wrapped__(fname=str(path))


def shrink(data):
    "Re-encode a stored picture: PNG for small ones and drawings, JPEG for photos; drops version-dependent metadata"
    from PIL import Image

    im = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))).convert("RGBA")
    flat = Image.new("RGB", im.size, "white")
    flat.paste(im, mask=im.split()[3])
    small, cols, buf = flat.width * flat.height < 20_000, flat.getcolors(1 << 20), io.BytesIO()
    if not small and cols and len(cols) < 8192:
        flat = flat.quantize(128, dither=Image.Dither.NONE)
    fmt = "png" if small or flat.mode == "P" else "jpeg"
    flat.save(buf, format=fmt, optimize=True, **({"quality": 80} if fmt == "jpeg" else {}))
    data[f"image/{fmt}"] = base64.b64encode(buf.getvalue()).decode()


def tidy(outputs):
    "Outputs fit for storing: no widget views (their ids change on every run), small pictures, no progress-bar noise"
    res = []
    for o in outputs:
        d = o.get("data", {})
        html = "".join(d.get("text/html", ""))
        if d.pop(WIDGET, None) and not (html or any(k.startswith("image/") for k in d)):
            continue  # a widget without a still picture
        if "<progress" in html or ("<style>" in html and "progress" in html) or o.get("name") == "stderr":
            continue  # bars carry times
        if "image/png" in d:
            d.pop("text/plain", None)
            shrink(d)
        res.append(o)
    return res


def run(path, timeout=900):
    "Execute with a real kernel, as a browser user would; `eval: false` and test-flag cells are left alone"
    import nbformat
    from nbclient import NotebookClient
    from nbdev.config import get_config
    from nbdev.test import nb_test_cells

    todo = {c.id for c in nb_test_cells(path, [f for f in get_config(ROOT).tst_flags.split() if f != "notest"])}
    nb = nbformat.read(path, as_version=4)
    for c in nb.cells:
        if c.cell_type == "code" and c.id not in todo:
            c.metadata.tags = ["skip-execution"]
    res = {"metadata": {"path": str(Path(path).parent)}}
    NotebookClient(nb, timeout=timeout, kernel_name="python3", store_widget_state=False, resources=res).execute()
    dst = read_nb(path)
    for a, b in zip(dst.cells, nb.cells, strict=True):
        if a.cell_type == "code" and a.id in todo:
            a.outputs = tidy(json.loads(json.dumps(b.outputs)))
    write_nb(dst, path)
    clean(path)


def problems(path):
    "Problems of the notebook at `path`"
    from nbdev.clean import clean_nb

    raw, res = Path(path).read_text(encoding="utf-8"), []
    nb, want = json.loads(raw), dict2nb(json.loads(raw))
    clean_nb(want)
    if nb2str(want) != raw:
        res.append("not clean (run: nbdev-clean)")
    if len(raw) > MAX_NB_KB * 1024:
        res.append(f"{len(raw) // 1024} KB > {MAX_NB_KB} KB")
    if nb["metadata"].get("widgets"):
        res.append("widget state in metadata")
    ids = [c.get("id") for c in nb["cells"]]
    if None in ids or len(set(ids)) != len(ids):
        res.append("missing or duplicate cell ids")
    for c in nb["cells"]:
        for o in c.get("outputs", []):
            data, n = o.get("data", {}), len(json.dumps(o))
            text = json.dumps([v for k, v in data.items() if k.startswith("text")] + [o.get("text", "")])
            if o["output_type"] == "error":
                res.append(f"{c['id']}: stored error {o.get('ename')}")
            if WIDGET in data:
                res.append(f"{c['id']}: stored widget view (run: tools/nb.py run)")
            if "<progress" in text:
                res.append(f"{c['id']}: stored progress bar (run: tools/nb.py run)")
            if n > MAX_OUT_KB * 1024:
                res.append(f"{c['id']}: one output is {n // 1024} KB > {MAX_OUT_KB} KB")
            if m := BAD_TEXT.search(text):
                res.append(f"{c['id']}: output depends on the machine ({m[0]})")
    return res


def readme(src=NBS / "index.ipynb", dst=ROOT / "README.md"):
    "README.md from the index notebook: hidden cells go, text outputs stay, pictures become files"
    parts = []
    for c in read_nb(src).cells:
        dirs, body = c.directives, re.sub(r"^#\|.*\n?", "", c.source, flags=re.M).strip()
        if "hide" in dirs or not body:
            continue
        if c.cell_type == "markdown":
            near = r"(\]\(|src=\")(?=(images|tutorials|widgets)/|\d\d_[\w.]+\.ipynb)"
            parts.append(re.sub(near, r"\1nbs/", c.source.strip()).replace("](../", "]("))
        elif c.cell_type == "code":
            parts.append(f"```python\n{body}\n```")
            for o in c.outputs:
                d = o.get("data", {})
                pic = next((k for k in d if k in ("image/png", "image/jpeg")), None)
                if pic:
                    f = NBS / "images" / f"readme-{c.id}.{pic[6:]}"
                    f.parent.mkdir(exist_ok=True)
                    f.write_bytes(base64.b64decode(d[pic]))
                    parts.append(f"![]({f.relative_to(ROOT).as_posix()})")
                elif t := "".join(d.get("text/plain", o.get("text", ""))).rstrip():
                    parts.append("\n".join("    " + x for x in t.splitlines()))
    Path(dst).write_text("<!-- Made from nbs/index.ipynb by tools/nb.py readme. Edit the notebook. -->\n\n" + "\n\n".join(parts) + "\n")


def main(argv):
    cmd, args = (argv[0], argv[1:]) if argv else ("", [])
    if cmd == "show" and len(args) == 1:
        print(to_text(read_nb(args[0])), end="")
    elif cmd == "put" and args:
        p = Path(args[0])
        text = Path(args[1]).read_text() if len(args) > 1 and args[1] != "-" else sys.stdin.read()
        p.parent.mkdir(parents=True, exist_ok=True)
        write_nb(from_text(text, read_nb(p) if p.exists() else None), p)
        clean(p)
    elif cmd == "run" and args:
        for a in args:
            run(a)
    elif cmd == "check":
        nbs = [Path(a) for a in args] or [p for p in sorted(NBS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
        msgs = [f"{p}: {m}" for p in nbs for m in problems(p)]
        print("\n".join(msgs) or f"{len(nbs)} notebooks are clean")
        raise SystemExit(bool(msgs))
    elif cmd == "readme":
        readme(*args)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
