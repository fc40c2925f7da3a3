"""What widgets cost a training, and how soon they answer: first in this process, then in JupyterLab with a real browser.

bench/bench_widgets.py [SIDE]      (of the large image, default 20000)
"""

import gc
import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
import tifffile
import torch
from timing import fresh, line, rss

from segnb.data.datasets import SegDataset
from segnb.data.scenes import draw_scene, scene_classes, write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.models import FastSCNN
from segnb.train.events import EpochEnd, EvalEnd, StepEnd, TrainBegin, TrainEnd
from segnb.widgets.chart import LiveChart
from segnb.widgets.live import Monitor, RunBar
from segnb.widgets.prediction import PredictView

BROWSER = Path(__file__).resolve().parents[1] / "tests" / "browser"
TRAIN = """
from segnb.all import *
folder = write_scenes("bench_scenes", train=16, val=4, size=(128, 128))
def data(part): return SegDataset(folder, folder/f"{part}_list.txt", folder/"labels.txt", Compose([Normalize()]), 0, shuffle=part == "train")
panel = Panel(FastSCNN, data("train"), data("val"), num_epochs=2000, pretrain_weights=None, save_interval_epochs=2000)
panel"""
LARGE = """
import time
import numpy as np
from segnb.all import *
image, label = (np.lib.format.open_memmap(f"{{name}}.npy", mode="w+", dtype=np.uint8, shape=shape)
                for name, shape in (("image", ({side}, {side}, 3)), ("label", ({side}, {side}))))
scene, truth = draw_scene((2048, 2048), seed=1)
for y in range(0, {side}, 2048):
    for x in range(0, {side}, 2048):
        image[y:y+2048, x:x+2048] = scene[:{side}-y, :{side}-x]
        label[y:y+2048, x:x+2048] = truth[:{side}-y, :{side}-x]
image, label = (np.load(f"{{name}}.npy", mmap_mode="r") for name in ("image", "label"))"""
OPEN = "viewer = TileViewer(image, label, scene_classes)\nviewer"
ANSWER = """label => new Promise(done => { const text = document.querySelector('.segnb-bar .text'), from = performance.now();
  new MutationObserver((_, me) => { if (!/^(Pausing|Going on)/.test(text.textContent)) { me.disconnect(); done(performance.now() - from); } })
    .observe(text, { childList: true, characterData: true, subtree: true });
  [...document.querySelectorAll('.segnb-bar button')].find(b => b.textContent === label).click(); })"""
PAN = """() => new Promise(done => {
  const root = document.querySelector('.segnb-viewer'), from = performance.now(), before = Number(root.dataset.drawn);
  const sharp = () => Number(root.dataset.drawn) > before && root.dataset.missing === '0';
  const look = () => sharp() ? done(performance.now() - from) : setTimeout(look, 4), press = { key: 'ArrowRight', bubbles: true };
  for (let i = 0; i < 8; i++) root.querySelector('canvas').dispatchEvent(new KeyboardEvent('keydown', press));
  look(); })"""
SHOWN = """() => new Promise(done => { const from = performance.now(), look = () =>
  document.querySelector('.segnb-viewer')?.dataset.drawn ? done(performance.now() - from) : setTimeout(look, 4);
  jupyterapp.commands.execute('notebook:run-cell'); look(); })"""


def chart_updates(n=2000):
    "Milliseconds and bytes of a point that is sent at once"
    chart, sent = LiveChart(), []
    chart._opened -= 100
    chart._send = lambda msg, buffers=None: sent.append(sum(len(b) for b in buffers or []) + len(repr(msg)))
    begin = time.perf_counter()
    for i in range(n):
        chart.add(i, 0.5, float("nan"))
        chart.flush()
    line("live chart: milliseconds for one update", f"{1000 * (time.perf_counter() - begin) / n:.3f}", "< 1")
    line("live chart: bytes for one update", f"{median(sent):.0f}", "< 1000")


class Timed:
    "A monitor, and the seconds of the processor that it takes from the training and in its own thread"

    def __init__(self):
        self.monitor, self.seconds = Monitor(RunBar(), LiveChart()), 0.0
        for name in ("_show", "_flush"): setattr(self.monitor, name, self._timed(getattr(self.monitor, name)))
        self.see = self._timed(self.monitor)

    def _timed(self, act):
        def timed(*args, **how):
            begin = time.thread_time()
            try: return act(*args, **how)
            finally: self.seconds += time.thread_time() - begin
        return timed

    def __call__(self, event): self.see(event)


def share_of_training(epochs=12):
    "What showing a training costs it"
    with tempfile.TemporaryDirectory() as place:
        folder = write_scenes(f"{place}/scenes", train=16, val=1, size=(128, 128))
        data = SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", Compose([Normalize()]), 0)
        watch, begin = Timed(), time.process_time()
        with redirect_stdout(StringIO()):
            FastSCNN(5).train(epochs, data, 4, pretrain_weights=None, save_interval_epochs=epochs, save_dir=f"{place}/run", observers=[watch])
        watch.monitor.wait()
    line("display updates: share of a small training's processor time", f"{watch.seconds / (time.process_time() - begin):.3%}", "< 0.5%")


def updates(monitor, n=10_000, epochs=100):
    "Many events, each shown"
    monitor(TrainBegin(epochs, n // epochs))
    for e in range(1, epochs + 1):
        for s in range(1, n // epochs + 1):
            monitor(StepEnd(e, s, 1 / s, 0.01))
            monitor._show()
        monitor(EvalEnd(e, {"miou": 0.5}))
        monitor(EpochEnd(e, 0.5, 0.01))
    monitor(TrainEnd("done"))
    monitor.wait()


def leak():
    "What stays in memory of 10,000 updates, when they have been made before"
    bar, chart = RunBar(), LiveChart()
    for k in range(4):
        chart.clear()
        updates(Monitor(bar, chart))
        gc.collect()
        if k == 1: objects, memory = len(gc.get_objects()), rss()
    line("20,000 more updates after the first 20,000: memory growth", f"{(rss() - memory) / 2**20:.2f} MB", "< 1 MB")
    line("the same: Python objects left", f"{len(gc.get_objects()) - objects}", "< 100")


ESTIMATE = """
import json, sys, tempfile
from contextlib import redirect_stdout
from io import StringIO
sys.path.insert(0, {here!r})
from timing import PeakMemory
from segnb.all import *
from segnb.options import options_of
from segnb.widgets.cost import cost_of
def train(kind, side, batch):
    folder = write_scenes(f"{{place}}/scenes{{side}}", train=3 * batch, val=1, size=(side, side))
    data = SegDataset(folder, folder / "train_list.txt", folder / "labels.txt", Compose([Normalize()]), 0)
    with PeakMemory() as peak:
        model = kind(num_classes=5)
        model.train(1, data, batch, pretrain_weights=None, save_dir=f"{{place}}/run", save_interval_epochs=9)
    return peak.growth, cost_of(kind, {{o.name: getattr(model, o.name) for o in options_of(kind)}}, (side, side), batch, "auto").memory / 2**20
with tempfile.TemporaryDirectory() as place, redirect_stdout(StringIO()):
    train(FastSCNN, 64, 2)   # what is loaded once
    found = train({kind}, {side}, {batch})
print(json.dumps(found))"""


def memory_estimates():
    "What the form says that a training takes, over what it takes on a processor"
    for kind, side, batch in (("FastSCNN", 512, 4), ("UNet", 256, 2), ("DeepLabv3p", 256, 4), ("HRNet", 256, 2)):
        taken, said = fresh(ESTIMATE.format(here=str(Path(__file__).parent), kind=kind, side=side, batch=batch))
        line(f"memory estimate over measured peak: {kind}, {batch} of {side} x {side}", f"{said / taken:.2f}", "0.7 to 1.3")


def write_large(folder, side):
    "One scene over and over, in three kinds of files"
    scene = draw_scene((2048, 2048), seed=1)[0]
    whole = np.lib.format.open_memmap(folder / "image.npy", mode="w+", dtype=np.uint8, shape=(side, side, 3))
    for y in range(0, side, 2048):
        for x in range(0, side, 2048): whole[y : y + 2048, x : x + 2048] = scene[: side - y, : side - x]
    rgb = np.load(folder / "image.npy", mmap_mode="r")[..., ::-1]
    tifffile.imwrite(folder / "plain.tif", rgb, photometric="rgb")
    tifffile.imwrite(folder / "deflate.tif", rgb, photometric="rgb", tile=(256, 256), compression="deflate", compressionargs={"level": 1})
    return [folder / name for name in ("image.npy", "plain.tif", "deflate.tif")]


def anonymous():
    "Bytes of memory that no file stands behind"
    (found,) = (words for words in Path("/proc/self/status").read_text().splitlines() if words.startswith("RssAnon"))
    return 1024 * int(found.split()[1])


def predict_large(side, tiles=3):
    "A prediction of an image on the disk: from the press until it is on the page, and the memory that it takes"
    model = FastSCNN(5)
    model.labels, model.test_transforms = list(scene_classes), Compose([Normalize()])
    with tempfile.TemporaryDirectory() as place:
        for path in write_large(Path(place), side):
            view, seen = PredictView(model, path, batch_size=1), []
            view._cancel.is_set = lambda: seen.append((time.perf_counter(), anonymous())) or len(seen) >= tiles  # noqa: B023
            view.place.observe(lambda _: shown.append(time.perf_counter()), "children")  # noqa: B023
            before, begin, shown = anonymous(), time.perf_counter(), []
            view._paint(False)
            memory = max(now for _, now in seen) - before
            view.close()
            name = f"PredictView of {side} x {side} pixels, {path.name}"
            line(f"{name}: seconds until it is on the page", f"{shown[0] - begin:.2f}", "< 1")
            line("the same: memory with the first tiles, over the image's bytes", f"{memory / (3 * side * side):.3f}", "< 0.2")


def in_browser(side):
    "The same as a person meets it"
    sys.path.insert(0, str(BROWSER))
    import conftest as lab
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p, tempfile.TemporaryDirectory() as root:
        browser = p.chromium.launch(executable_path=lab.CHROME, headless=True, args=lab.FLAGS)
        with lab.jupyter(root) as url:
            clicks(lab.new_page(browser, (Path(root), url)), lab)
            large_image(lab.new_page(browser, (Path(root), url)), lab, side, Path(root))
        browser.close()


def fill(page, lab, *cells):
    page.evaluate(lab.FILL, list(cells))
    page.evaluate(lab.RUN_ALL)


def clicks(page, lab, n=8):
    "Pause and Resume, from the press to the kernel's answer on the page, while a network trains"
    fill(page, lab, TRAIN)
    page.press("Start")
    page.wait_for_function("Number(document.querySelector('.segnb-chart').dataset.points) > 10", timeout=120_000)
    times = []
    for _ in range(n):
        for name in ("Pause", "Resume"):
            times.append(page.evaluate(ANSWER, name))
            page.wait_for_timeout(700)
    line("a click while training: milliseconds until the kernel's answer is seen", f"{median(times):.0f}", "< 200")
    line("the same: the slowest of 16", f"{max(times):.0f}", "-")
    page.press("Stop")
    page.wait_for_selector(".segnb-bar[data-state=stopped]")


def large_image(page, lab, side, root):
    "Opening, panning and saving"
    fill(page, lab, LARGE.format(side=side), OPEN)
    page.wait_for_selector(".segnb-viewer[data-drawn]", timeout=600_000)
    page.py("t = time.perf_counter(); TileViewer(image, label, scene_classes); made = time.perf_counter() - t")
    line(f"viewer of {side} x {side} pixels on disk: seconds to make it", f"{float(page.ask('made')):.2f}", "-")
    page.evaluate("const nb = [...jupyterapp.shell.widgets('main')].find(w => w.content?.widgets).content;"
                  "nb.activeCellIndex = 1; nb.widgets[1].model.clearExecution()")
    line("the same: seconds from running the cell until it is drawn", f"{page.evaluate(SHOWN) / 1000:.2f}", "< 1")
    page.locator(".segnb-viewer canvas").focus()
    for _ in range(14): page.keyboard.press("+")
    page.wait_for_function("document.querySelector('.segnb-viewer').dataset.missing === '0'")
    line("the same: milliseconds for a pan of 320 pixels until all is sharp", f"{median(page.evaluate(PAN) for _ in range(15)):.0f}", "< 150")
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    saved = max(p.stat().st_size for p in root.glob("*.ipynb"))
    line("the same: kB it adds to the saved notebook", f"{saved / 1000:.0f}", "< 300")


def main(side):
    torch.manual_seed(0)
    chart_updates()
    share_of_training()
    leak()
    memory_estimates()
    predict_large(side)
    in_browser(side)


if __name__ == "__main__": main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
