"The whole story with a real network: press Start, watch, stop, look at a prediction made by tiles"

CELLS = [
    """
from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.models import FastSCNN
from segnb.widgets.panel import Panel
from segnb.widgets.viewer import view

folder = write_scenes("scenes", train=16, val=4, size=(128, 128))
def data(part): return SegDataset(folder, folder/f"{part}_list.txt", folder/"labels.txt", Compose([Normalize()]), 0, shuffle=part == "train")
train, val = data("train"), data("val")
panel = Panel(FastSCNN, train, val, num_epochs=200, pretrain_weights=None)
panel""",
    "viewer = None",
]
RUN_SECOND = """source => { const nb = [...jupyterapp.shell.widgets('main')].find(w => w.content?.widgets).content;
           nb.activeCellIndex = 1; nb.widgets[1].model.sharedModel.setSource(source);
           jupyterapp.commands.execute('notebook:run-cell'); 0 }"""


def test_train_stop_and_look(open_notebook):
    page = open_notebook(*CELLS)
    page.press("Start")
    page.wait_for_function("Number(document.querySelector('.segnb-chart').dataset.points) > 10")
    page.press("Pause")
    page.wait_for_selector(".segnb-bar[data-state=paused]")
    page.wait_for_timeout(600)
    held = page.data(".segnb-chart")["points"]
    page.wait_for_timeout(500)
    assert page.data(".segnb-chart")["points"] == held
    page.press("Stop")
    page.wait_for_selector(".segnb-bar[data-state=stopped]", timeout=2000)
    assert page.locator(".segnb-bar .error").is_hidden()

    answer = "panel.model.overlap_tile_predict(str(val.file_list[0][0]), [64, 64], [16, 16])"
    page.evaluate(RUN_SECOND, f"viewer = view({answer}, grid=True); viewer")
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    assert page.ask("len(viewer.tiles), viewer.full") == "4 [128, 128]"
    page.locator(".segnb-viewer canvas").hover()
    page.wait_for_function("document.querySelector('.segnb-viewer').dataset.tile === 'yes'")
    assert page.data(".segnb-viewer")["under"] and page.errors == []


def test_the_kernel_is_restarted_and_the_run_is_seen_again(open_notebook):
    page = open_notebook(*CELLS, own=True)
    page.press("Start")
    page.wait_for_function("document.querySelector('.segnb-chart').innerText.match(/mIoU 0\\.\\d/)")  # an epoch has been judged and saved
    page.evaluate("{ jupyterapp.commands.execute('kernelmenu:restart'); 0 }")
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.wait_for_selector(".segnb-bar[data-state=gone]")
    before = int(page.data(".segnb-chart")["points"])
    assert "The kernel was restarted or shut down. What was saved is still on disk" in page.locator(".segnb-bar .text").inner_text()
    assert page.locator(".segnb-bar button:enabled, .segnb-form input:enabled").count() == 0
    assert page.locator(".segnb-chart svg path.line").first.get_attribute("d")  # the curve stays

    page.evaluate(RUN_SECOND, "from segnb.widgets.attach import attach\nseen = attach('output')\nseen")
    page.wait_for_function("document.querySelectorAll('.segnb-bar').length === 2")
    page.wait_for_function("n => Number(document.querySelectorAll('.segnb-chart')[3].dataset.points) >= n", arg=before)
    bar = page.locator(".segnb-bar").nth(1)
    page.wait_for_function("document.querySelectorAll('.segnb-bar')[1].innerText.match(/Epoch \\d+\\/200/)")
    assert "best mIoU 0." in bar.inner_text() and bar.locator("button:visible").count() == 0
    page.py("import numpy as np; from segnb.train.logs import history_of")
    assert page.ask("np.allclose([r[1] for r in seen.chart.rows if r[1] == r[1]], history_of('output').losses)") == "True"

    page.evaluate(RUN_SECOND, CELLS[0])  # the cell is run again, and the run goes on where it was
    page.locator(".segnb-bar button.again:visible:enabled").click()
    page.wait_for_function("document.querySelectorAll('.segnb-bar')[1].dataset.state === 'running'")
    page.locator(".segnb-form pre", has_text="resume_checkpoint='output/epoch_").wait_for()
    page.locator(".segnb-bar button.stop:enabled").click()
    page.wait_for_function("document.querySelectorAll('.segnb-bar')[1].dataset.state === 'stopped'")
    assert page.ask("panel.chart.rows[0][0], len(panel.model.history.losses) > 0") == "1.0 True"
    assert page.errors == []
