"The whole studio, audited by axe-core: each of its parts with something in it, in three themes and on a narrow page"

from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
CELL = """
from segnb.all import *
folder = write_scenes("audit_scenes", train=8, val=3, size=(96, 96))
def read(part): return SegDataset(folder, folder/f"{part}_list.txt", folder/"labels.txt", Compose([Normalize()]), 0, shuffle=part == "train")
studio = Studio(read("train"), read("val"), num_epochs=1, train_batch_size=4, pretrain_weights=None, save_dir="audit_run")
studio
"""
PARTS = ["Data", "Model", "Train", "Evaluate", "Predict"]
AUDIT = """async () => (await axe.run('.jp-OutputArea', { resultTypes: ['violations'] })).violations
           .map(v => `${v.impact} ${v.id}: ${v.nodes.map(n => n.html.slice(0, 120)).join(' | ')}`)"""
CUT = """[...document.querySelectorAll('.segnb-steps, .segnb-form, .segnb-bar, .segnb-table, .segnb-pictures, .segnb-viewer, .segnb-chart')]
         .flatMap(box => [...box.querySelectorAll('button, input, select, img, canvas, p, h3, svg')].filter(e => !e.closest('.scroll'))
           .filter(e => e.getBoundingClientRect().right > box.getBoundingClientRect().right + 1)).map(e => e.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def studio(open_notebook):
    "A studio that has been used: trained, evaluated, an image predicted"
    page = open_notebook(CELL, own=True, width=1100, height=2600)
    page.wait_for_selector(".segnb-pictures[data-pictures='6']")
    step = lambda name: page.locator(".segnb-steps [role=tab]", has_text=name).first.click()
    step("Train")
    page.press("Start")
    page.wait_for_selector(".segnb-bar[data-state=done]", timeout=60_000)
    step("Evaluate")
    page.press("Evaluate")
    page.wait_for_selector(".segnb-pictures[data-pictures='3'] button.pick")
    page.locator(".segnb-table").nth(1).locator("button[aria-label*='taken for']").first.click()
    step("Predict")
    page.locator("input[id$=tile]").fill("64, 64")
    page.press("Predict")
    page.wait_for_selector(".segnb-viewer[data-painted='4']")
    page.evaluate(AXE)
    # JupyterLab's body has no height and hides what overflows: without this, axe would take all text for unseen
    page.evaluate("document.body.style.height = '100vh'")
    page.evaluate("document.querySelectorAll('.segnb-form details').forEach(d => { d.open = true })")
    return page


@pytest.mark.parametrize("theme, width", [("Light", 1100), ("Dark", 1100), ("Dark High Contrast", 1100), ("Light", 400), ("Dark", 400)])
def test_axe_finds_nothing(studio, theme, width):
    page, found = studio, {}
    page.evaluate("name => jupyterapp.commands.execute('apputils:change-theme', { theme: name })", f"JupyterLab {theme}")
    page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=f"JupyterLab {theme}")
    page.set_viewport_size(dict(width=width, height=2600))
    for i, name in enumerate(PARTS):
        page.locator(".segnb-steps [role=tab]").nth(i).click()
        page.wait_for_timeout(150)
        if faults := [*page.evaluate(AUDIT), *(f"cut off: {e}" for e in page.evaluate(CUT))]: found[name] = faults
    assert found == {} and page.errors == []


def test_a_screen_reader_is_told_what_the_tabs_open(studio):
    output = studio.locator(".jp-OutputArea").first
    tab, panel = output.get_by_role("tab", selected=True), output.get_by_role("tabpanel")
    assert tab.get_attribute("aria-controls") == panel.get_attribute("id")
    tab.focus()
    studio.keyboard.press("Home")
    output.get_by_role("tabpanel", name="Data").wait_for()
    studio.keyboard.press("End")
    studio.keyboard.press("ArrowLeft")
    matrix = output.get_by_role("tabpanel", name="Evaluate").get_by_role("table").nth(1)
    assert matrix.get_by_role("columnheader").all_inner_texts() == matrix.get_by_role("rowheader").all_inner_texts() != []
    assert studio.errors == []
