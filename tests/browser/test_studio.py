"The studio in JupyterLab, as a person goes through it: choose, type a call, train, press a cell, paint"

CELL = """
from segnb.all import *
folder = write_scenes("studio_scenes", train=12, val=4, size=(96, 96))
def read(part): return SegDataset(folder, folder/f"{part}_list.txt", folder/"labels.txt", Compose([Normalize()]), 0, shuffle=part == "train")
studio = Studio(read("train"), read("val"), num_epochs=300, train_batch_size=4, pretrain_weights=None, learning_rate=0.05, save_dir="studio_run")
studio
"""
CELL_COUNT = "studio.evaluation.found.counts[studio.evaluation.matrix.picked[0], studio.evaluation.matrix.picked[1] - 1]"
PIXEL_SUM = "sum(int(p['name'].split(': ')[1].split()[0].replace(',', '')) for p in studio.evaluation.pictures.pictures)"


def step(page, name):
    page.locator(".segnb-steps [role=tab]", has_text=name).first.click()
    page.wait_for_timeout(200)


def test_the_whole_way(open_notebook):
    page = open_notebook(CELL, own=True)
    page.wait_for_selector(".segnb-pictures[data-pictures='6']")  # samples
    assert "12 to learn from, 4 to measure with" in page.locator(".segnb-table").first.inner_text()

    page.locator(".segnb-steps [role=tab]").first.focus()
    page.keyboard.press("ArrowRight")  # tabs by keyboard
    page.wait_for_selector(".segnb-form [data-name=network]")
    page.locator(".segnb-form [data-name=network]").select_option("HRNet")
    page.wait_for_function("document.querySelector('.segnb-form').innerText.includes('HRNet has no backbone')")
    assert page.locator(".segnb-form [data-name=backbone]").is_disabled()
    code = page.locator(".segnb-form pre")
    code.fill("model = FastSCNN(num_classes=5, multi_loss_weight=[1.0, 0.4, 0.4])")
    code.blur()
    page.wait_for_function("document.querySelector('.segnb-form [data-name=network]').value === 'FastSCNN'")
    assert page.ask("studio.values['multi_loss_weight']") == "[1.0, 0.4, 0.4]"
    page.wait_for_function("document.querySelector('.segnb-form .facts').innerText.includes('parameters')")

    page.py("studio.set(num_epochs=300, train_batch_size=4, pretrain_weights=None, learning_rate=0.05, save_dir='studio_run')")
    step(page, "Train")
    page.press("Start")
    page.wait_for_function("Number(document.querySelector('.segnb-chart').dataset.points) > 6")
    page.wait_for_selector(".segnb-pictures[data-pictures='3']", timeout=60_000)  # predictions while it learns
    page.press("Stop, keep best")
    page.wait_for_selector(".segnb-bar[data-state=stopped]", timeout=10_000)
    page.wait_for_function("document.querySelector('.segnb-bar .note').innerText.includes('the best one of the run')")

    step(page, "Evaluate")
    page.press("Evaluate")
    page.wait_for_selector(".segnb-pictures[data-pictures='4']")
    page.locator(".segnb-table").nth(1).locator("button[aria-label*='taken for']").first.click()
    page.wait_for_function("document.querySelector('.segnb-pictures .soft').innerText.includes('pixels in')")
    assert page.ask(f"{CELL_COUNT} == {PIXEL_SUM}") == "True"
    page.locator(".segnb-pictures button.pick").first.click()

    step(page, "Predict")
    page.locator("input[id$=tile]").fill("64, 64")
    page.locator("input[id$=pad]").fill("16, 16")
    page.press("Predict")
    page.wait_for_selector(".segnb-viewer[data-painted='4']")
    assert page.errors == []


def test_names_and_colours_are_changed_by_keyboard(open_notebook):
    page = open_notebook(CELL)
    page.wait_for_selector(".segnb-pictures[data-pictures='6']")
    page.wait_for_selector(".segnb-classes[data-rows='5']")
    before = page.data(".segnb-pictures")["version"]
    page.locator("input[type=color][data-id='1']").focus()
    page.keyboard.press("Tab")  # from the colour to the name beside it
    assert page.evaluate("document.activeElement.ariaLabel") == "Name of class 1"
    page.keyboard.press("Control+A")
    page.keyboard.type("add house")  # neither `a` nor `d d` reaches the notebook
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.segnb-classes pre').innerText.includes(\"'ground', 'add house'\")")
    page.get_by_label("Colour of add house").fill("#ff0080")
    page.wait_for_function("document.querySelector('.segnb-classes pre').innerText.includes('colours = {1: (255, 0, 128)}')")
    page.wait_for_function("v => document.querySelector('.segnb-pictures').dataset.version > v", arg=before)
    assert page.ask("studio.data.datasets['eval_dataset'].labels[1], studio.data.datasets['eval_dataset'].colours") == "add house {1: (255, 0, 128)}"
    name = page.get_by_label("Name of class 2")
    name.fill("ground")
    name.press("Enter")
    page.locator(".segnb-classes .error", has_text="name must be a word that no other class has, got 'ground'").wait_for()
    page.press("Default colours")
    page.wait_for_function("!document.querySelector('.segnb-classes pre').innerText.includes('colours')")
    assert page.locator(".jp-CodeCell").count() == 1 and page.errors == []
