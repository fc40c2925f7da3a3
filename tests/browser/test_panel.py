"The panel in JupyterLab: what a person sees and presses"

import re

import ipykernel
import pytest

HEAD = "from stand_in import Lesson, Tiny\nfrom segnb.widgets.panel import Panel\n"
PANEL = HEAD + "panel = Panel(Tiny, Lesson(steps=20, pause=.02), num_epochs=100)\npanel"


def state(page, name):
    page.wait_for_selector(f".segnb-bar[data-state={name}]")


def points(page, more_than):
    page.wait_for_function(f"Number(document.querySelector('.segnb-chart').dataset.points) > {more_than}")
    return int(page.data(".segnb-chart")["points"])


def test_start_pause_resume_stop(open_notebook):
    page = open_notebook(PANEL)
    page.press("Start")
    state(page, "running")
    points(page, 10)
    page.wait_for_function("document.querySelectorAll('.segnb-chart path.line.s1')[1]?.getAttribute('d').length > 20")  # mIoU is drawn

    page.press("Pause")
    state(page, "paused")
    assert page.ask("panel.run.state") == "paused"
    page.wait_for_timeout(600)
    held = page.data(".segnb-chart")["points"]
    page.wait_for_timeout(700)
    assert page.data(".segnb-chart")["points"] == held

    page.press("Resume")
    points(page, int(held))
    page.press("Stop")
    page.wait_for_selector(".segnb-bar[data-state=stopped]", timeout=2000)
    assert page.ask("panel.run.alive") == "False"
    assert re.match(r"Stopped at \d+ %", page.locator(".segnb-bar .text").inner_text())
    assert page.locator(".segnb-form [data-name=num_epochs]").is_enabled()
    assert page.errors == []


@pytest.mark.skipif(ipykernel.version_info < (7,), reason="before ipykernel 7 a busy cell delays every message")
def test_stop_answers_while_another_cell_runs(open_notebook):
    page = open_notebook(PANEL + "\npanel.start(); panel", "import time\nt = time.time()\nwhile time.time() < t + 4: pass")
    state(page, "running")
    points(page, 5)
    page.press("Stop")
    page.wait_for_selector(".segnb-bar[data-state=stopped]", timeout=4000)
    assert page.busy(1)  # the other cell is still busy
    assert page.errors == []


def test_wrong_values_are_told_where_they_are(open_notebook):
    page = open_notebook(PANEL)
    start, rate = page.locator(".segnb-bar .start"), page.locator(".segnb-form [data-name=learning_rate]")
    rate.fill("-1")
    page.wait_for_selector(".segnb-form[data-errors='1']")
    assert "must be a number, a finite number above 0, got -1" in page.locator(".segnb-form .message.bad").inner_text()
    assert rate.get_attribute("aria-invalid") == "true"
    page.wait_for_selector(".segnb-bar .start:disabled")
    rate.fill("0.5")
    page.wait_for_selector(".segnb-form[data-errors='0']")
    page.wait_for_selector(".segnb-bar .start:enabled")
    assert "learning_rate=0.5" in page.locator(".segnb-form pre").inner_text()
    page.locator(".segnb-form [data-name=num_classes]").fill("3")
    page.wait_for_selector(".segnb-form [data-name=use_dice_loss]:disabled")
    assert start.is_enabled() and page.errors == []


def test_keys_stay_in_the_panel(open_notebook):
    page = open_notebook(PANEL, "1", "2")
    page.locator(".segnb-form [data-name=backbone]").focus()
    for key in ("ArrowDown", "a", "d", "d", "m"):
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('.segnb-form pre').textContent.includes(\"backbone='large'\")")
    page.locator(".segnb-bar .start").focus()
    for key in ("a", "d", "d", "m"):
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == 3 and page.locator(".segnb-bar").count() == 1
    page.keyboard.press("Enter")
    state(page, "running")
    points(page, 20)
    page.locator(".segnb-chart .plot").first.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.at === '0'")
    assert "step 1" in page.locator(".segnb-chart .where").first.inner_text()
    page.press("Stop")
    state(page, "stopped")
    assert page.errors == []


def test_a_failing_run_shows_its_message(open_notebook):
    page = open_notebook(HEAD + "panel = Panel(Tiny, Lesson(steps=5, pause=.01, fail_at=2), num_epochs=9)\npanel")
    page.press("Start")
    state(page, "failed")
    alert = page.locator(".segnb-bar [role=alert]")
    assert "build it with `input_channel=4`" in alert.locator("p").inner_text()
    assert "Failed at" in page.locator(".segnb-bar .text").inner_text()
    assert not alert.locator("pre").is_visible()
    alert.locator("summary").click()
    assert "in lesson" in alert.locator("pre").inner_text()
    assert page.locator(".segnb-bar .start").is_enabled() and page.errors == []


def test_live_plot_moves_in_its_own_cell_and_leaves_a_receipt(open_notebook):
    page = open_notebook(
        "from stand_in import Lesson, lesson\nfrom segnb.train.events import run\nfrom segnb.widgets.live import LivePlot\n"
        "run(lesson(5, Lesson(pause=.02)), [LivePlot('Lesson')])",
        own=True,
    )
    page.wait_for_function("Number(document.querySelector('.segnb-chart')?.dataset.points) > 8")
    assert page.busy(0)
    state(page, "done")
    page.wait_for_function("[...document.querySelectorAll('.jp-OutputArea img')].some(i => i.src.startsWith('data:image/png'))")
    assert not page.locator(".jp-OutputArea img").is_visible()  # the live chart stands for it
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    page.evaluate("async () => { await jupyterapp.commands.execute('kernelmenu:shutdown') }")
    page.reload()
    page.locator(".jp-OutputArea img").wait_for()  # without a kernel the receipt is what is seen
    assert "Done: 5 epochs" in page.locator(".jp-OutputArea").inner_text()


def test_the_page_is_loaded_again_while_it_trains(open_notebook):
    "Somebody closes the lid and opens it again: the run is where it has got to, with all of its curve, and obeys"
    page = open_notebook(PANEL, own=True)
    page.press("Start")
    state(page, "running")
    before = points(page, 10)
    page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")
    page.reload()
    page.wait_for_selector(".segnb-bar[data-state=running]")
    points(page, before)
    row = "document.querySelector('.segnb-chart .plot path.raw')?.getAttribute('d').match(/^M([0-9.]+)/)?.[1]"
    page.wait_for_function(f"{row} !== undefined")
    assert float(page.evaluate(row)) < 60   # The curve begins at its first step
    page.press("Stop")
    page.wait_for_selector(".segnb-bar[data-state=stopped]", timeout=5000)
    assert page.errors == []


def test_two_panels_and_a_narrow_page(open_notebook):
    page = open_notebook(PANEL, PANEL.replace("panel =", "other =").replace(")\npanel", ")\nother"), width=400, height=900)
    page.wait_for_function("document.querySelectorAll('.segnb-bar').length === 2")
    starts = page.locator(".segnb-bar .start")
    starts.nth(1).click()
    page.wait_for_function("[...document.querySelectorAll('.segnb-bar')].map(b => b.dataset.state).join() === 'idle,running'")
    assert page.ask("panel.run, other.run") == "None Run(running)"
    page.locator(".segnb-bar .stop").nth(1).click()
    page.wait_for_function("[...document.querySelectorAll('.segnb-bar')].map(b => b.dataset.state).join() === 'idle,stopped'")
    wide = """n => [...n.querySelectorAll('.segnb-form, .segnb-form *')].filter(
              e => e.getBoundingClientRect().right > n.getBoundingClientRect().right + 1).length"""
    assert page.locator(".jp-OutputArea-output").first.evaluate(wide) == 0
    assert page.errors == []
