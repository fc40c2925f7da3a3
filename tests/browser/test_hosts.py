"The same widgets in other hosts than JupyterLab: Jupyter Notebook 7, and Voila, where a notebook is an application"

PANEL = """
from stand_in import Lesson, Tiny
from segnb.widgets.panel import Panel
panel = Panel(Tiny, Lesson(steps=20, pause=.02), num_epochs=100)
panel"""
VIEWER = """
import numpy as np
from segnb.widgets.viewer import TileViewer
y, x = np.mgrid[:120, :160]
viewer = TileViewer(np.full((120, 160, 3), 200, np.uint8), np.where(x < 80, 1, 2).astype(np.uint8), ["sea", "land", "roof"])
viewer"""
STUDIO = """
from segnb.all import *
folder = write_scenes("scenes", train=8, val=3, size=(96, 96))
def read(part): return SegDataset(folder, folder/f"{part}_list.txt", folder/"labels.txt", Compose([Normalize()]), 0, shuffle=part == "train")
Studio(read("train"), read("val"), num_epochs=200, train_batch_size=4, pretrain_weights=None)"""
POINTS = "n => Number(document.querySelector('.segnb-chart').dataset.points) > n"


def press(page, name): page.get_by_role("button", name=name, exact=True).click()


def test_notebook_7_shows_panel_and_viewer(open_notebook_7):
    page = open_notebook_7(PANEL, VIEWER)
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    press(page, "Start")
    page.wait_for_function(POINTS, arg=5)
    page.locator(".segnb-bar .stop").focus()
    for key in ("a", "d", "d"):  # would insert a cell and delete two
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_selector(".segnb-bar[data-state=stopped]")
    assert page.locator(".jp-CodeCell").count() == 2
    page.get_by_label("land").uncheck()
    page.locator(".segnb-viewer canvas").focus()
    before = float(page.data(".segnb-viewer")["zoom"])
    page.keyboard.press("+")
    page.wait_for_function("z => Number(document.querySelector('.segnb-viewer').dataset.zoom) > z", arg=before)
    assert page.ask("panel.run.alive, viewer.hidden") == "False [1]" and page.errors == []


def test_voila_shows_the_studio_and_trains(open_voila):
    with open_voila(STUDIO) as page:
        page.wait_for_selector(".segnb-pictures[data-pictures='6']")
        page.get_by_role("tab", name="Model FastSCNN").click()
        page.locator(".segnb-form [data-name=network]").select_option("UNet")
        page.wait_for_function("document.querySelector('.segnb-form pre').innerText.startsWith('model = UNet(')")
        page.locator(".segnb-form [data-name=network]").select_option("FastSCNN")
        page.get_by_role("tab", name="Train").click()
        press(page, "Start")
        page.wait_for_function(POINTS, arg=3)
        press(page, "Stop")
        page.wait_for_selector(".segnb-bar[data-state=stopped]")
        assert page.locator(".segnb-chart svg path.line").first.bounding_box()["width"] > 20 and page.errors == []
