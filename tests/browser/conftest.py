"JupyterLab in a real browser: a server of its own for the session, one page for each test"

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

CHROME = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
NEEDED = any(os.environ.get(v, "") not in ("", "0", "false") for v in ("CI", "SEGNB_NEED_BROWSER"))
SIZE = dict(width=1100, height=1000)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
NOTEBOOK = """const nb=[...jupyterapp.shell.widgets('main')].find(w=>w.sessionContext&&w.content.widgets);
              const k=nb?.sessionContext.session?.kernel;"""
ASK_KERNEL = f"""async code=>{{{NOTEBOOK} let out=''; const f=k.requestExecute({{code,store_history:false}});
                f.onIOPub=m=>{{out+=m.content.text||m.content.evalue||''}}; await f.done; return out.trim()}}"""


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


def write_notebook(path, *cells):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(nb, path)


@contextmanager
def server(root, module, ready, options):
    "A program on loopback with its own configuration, settings and kernel environment; yields its address"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = Path(root) / ".srv"
    keep = own / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    keep.parent.mkdir(parents=True)
    keep.write_text(json.dumps(dict(fetchNews="false", checkForUpdates=False, doNotDisturbMode=True)))
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    env = dict(os.environ, JUPYTERLAB_SETTINGS_DIR=str(own / "settings"), OMP_NUM_THREADS="1", **{v: str(own / v) for v in folders})
    with open(own / "log", "w") as log:
        cmd = [sys.executable, "-m", module, "--no-browser", *(o.format(port=port) for o in options)]
        p = subprocess.Popen(cmd, env=env, cwd=root, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            if p.poll() is not None:
                raise RuntimeError((own / "log").read_text()[-3000:])
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{ready}", timeout=2)
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(p.pid, signal.SIGTERM)
        p.wait(20)


@contextmanager
def jupyter(root, module="jupyterlab", app="LabApp", page="doc/tree"):
    "JupyterLab or Jupyter Notebook; yields what makes the address of a notebook"
    token = secrets.token_hex(16)
    options = ["--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={Path(root).resolve()}"]
    options += [f"--{app}.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
    with server(root, module, f"api/status?token={token}", options) as address:
        yield lambda name: f"{address}/{page}/{name}?token={token}"


def no_browser(why):
    pytest.fail(why) if NEEDED else pytest.skip(why)


@pytest.fixture(scope="session")
def chrome():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        no_browser("playwright is not installed")
    if not CHROME:
        no_browser("no Chromium on this machine")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROME, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory):
    "A folder for notebooks, with the stand-in for a segmenter"

    def make():
        root = tmp_path_factory.mktemp("nbs")
        shutil.copy(Path(__file__).parents[1] / "stand_in.py", root)
        return root

    return make


@pytest.fixture(scope="session")
def lab(chrome, new_folder):
    root = new_folder()
    with jupyter(root) as url:
        yield root, url


@pytest.fixture
def open_notebook_7(chrome, new_folder):
    "open_notebook_7(cells…) -> a page of Jupyter Notebook with the cells executed"
    root = new_folder()
    with jupyter(root, "notebook", "JupyterNotebookApp", "notebooks") as url:

        def go(*cells):
            page = new_page(chrome, (root, url))
            page.errors.clear()  # Notebook 7.6 misses a schema of its own while it loads, with no cell in it
            page.evaluate(FILL, list(cells))
            page.evaluate(RUN_ALL)
            return page

        yield go


@pytest.fixture
def open_voila(chrome, new_folder):
    "open_voila(cells…) -> a page of Voila with what the cells show"
    root = new_folder()

    @contextmanager
    def go(*cells):
        write_notebook(root / "app.ipynb", *cells)
        options = ["app.ipynb", "--port={port}", "--Voila.ip=127.0.0.1", "--Voila.port_retries=0", "--show_tracebacks=True"]
        with server(root, "voila", "voila/static/voila.js", options) as address:
            page = chrome.new_context(viewport=SIZE).new_page()
            page.set_default_timeout(60_000)
            page.errors = []
            page.on("pageerror", lambda e: page.errors.append(str(e)))
            page.goto(address)
            yield page

    return go


FILL = f"""sources=>{{{NOTEBOOK} const cells=nb.content.model.sharedModel; cells.deleteCellRange(0, cells.cells.length);
        cells.insertCells(0, sources.map(source=>({{cell_type:'code', source, metadata:{{}}, outputs:[], execution_count:null}})));}}"""
RUN_ALL = "{ jupyterapp.commands.execute('notebook:run-all-cells'); 0 }"  # not awaited: cells may be long


def new_page(chrome, lab):
    "A page with an empty notebook and an idle kernel"
    (root, url), name = lab, f"{secrets.token_hex(4)}.ipynb"
    write_notebook(root / name, "")
    page = chrome.new_context(viewport=SIZE).new_page()
    page.set_default_timeout(30_000)
    page.errors = []
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    page.goto(url(name))
    page.wait_for_function("window.jupyterapp")
    page.evaluate("async()=>{await jupyterapp.restored}")
    page.wait_for_function(f"()=>{{{NOTEBOOK} return nb?.sessionContext.isReady && k?.status==='idle'}}")
    page.press = lambda name: page.locator(".jp-OutputArea").get_by_role("button", name=name, exact=True).click()
    page.data = lambda selector: page.evaluate("s => ({...document.querySelector(s)?.dataset})", selector)
    page.py = lambda code: page.evaluate(ASK_KERNEL, code)
    page.ask = lambda expression: page.py(f"print({expression})")
    page.busy = lambda cell: page.locator(".jp-InputPrompt").nth(cell).inner_text() == "[*]:"
    return page


@pytest.fixture(scope="session")
def pages(chrome, lab):
    "The page that tests share, made when it is first asked for"
    made = {}
    yield lambda: made.get("page") or made.setdefault("page", new_page(chrome, lab))


@pytest.fixture(scope="session")
def open_notebook(chrome, lab, pages):
    "open_notebook(cells…) -> a page with the cells executed; page.ask(expression) asks the kernel. `own` gives a page of its own"

    def go(*cells, own=False, **viewport):
        page = new_page(chrome, lab) if own else pages()
        page.errors.clear()
        page.set_viewport_size(viewport or SIZE)
        page.wait_for_function(f"()=>{{{NOTEBOOK} return k?.status==='idle'}}")
        page.evaluate(FILL, list(cells))
        page.evaluate(RUN_ALL)
        return page

    return go
