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
    page.evaluate(
        """source => { const nb = [...jupyterapp.shell.widgets('main')].find(w => w.content?.widgets).content;
           nb.activeCellIndex = 1; nb.widgets[1].model.sharedModel.setSource(source);
           jupyterapp.commands.execute('notebook:run-cell'); 0 }""",
        f"viewer = view({answer}, grid=True); viewer",
    )
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    assert page.ask("len(viewer.tiles), viewer.full") == "4 [128, 128]"
    page.locator(".segnb-viewer canvas").hover()
    page.wait_for_function("document.querySelector('.segnb-viewer').dataset.tile === 'yes'")
    assert page.data(".segnb-viewer")["under"] and page.errors == []
