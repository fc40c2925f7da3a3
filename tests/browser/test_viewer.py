"The viewer in JupyterLab: pixels that change without the kernel"

CELL = """
import numpy as np
from collections import namedtuple
from segnb.widgets.viewer import TileViewer
Box, Tile = namedtuple("Box", "x y w h"), namedtuple("Tile", "keep seen")
y, x = np.mgrid[:120, :160]
image, label = np.full((120, 160, 3), 200, np.uint8), np.where(x < 80, 1, 2).astype(np.uint8)
tiles = [Tile(Box(i, 0, 80, 120), Box(i - 10, -10, 100, 140)) for i in (0, 80)]
v = TileViewer(image, label, ["sea", "land", "roof"], tiles)
v
"""
PIXEL = "p => [...document.querySelector('.segnb-viewer canvas').getContext('2d').getImageData(p[0], p[1], 1, 1).data]"
DRAWN = "n => Number(document.querySelector('.segnb-viewer').dataset.drawn) > n"


def drawn(page): return int(page.data(".segnb-viewer")["drawn"])


def middle(page, part):
    "The colour at a share of the canvas's width, in its middle row"
    w, h = page.evaluate("(() => { const c = document.querySelector('.segnb-viewer canvas'); return [c.width, c.height] })()")
    return page.evaluate(PIXEL, [int(w * part), h // 2])[:3]


def after(page, act):
    before = drawn(page)
    act()
    page.wait_for_function(DRAWN, arg=before)


def test_opacity_by_key_while_the_kernel_is_busy(open_notebook):
    page = open_notebook(CELL, "import time\nt = time.time()\nwhile time.time() < t + 5: pass")
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    before = middle(page, 0.25)
    page.locator(".segnb-viewer .opacity").focus()
    for _ in range(3):
        after(page, lambda: page.keyboard.press("ArrowRight"))
    after(page, lambda: page.keyboard.press("End"))
    full = middle(page, 0.25)
    assert page.busy(1)
    assert full == page.evaluate("(() => [230, 159, 0])()") and before != full  # class 1 in its own colour
    after(page, lambda: page.keyboard.press("Home"))
    assert middle(page, 0.25) == [200, 200, 200]
    page.wait_for_function("document.querySelectorAll('.jp-InputPrompt')[1].innerText !== '[*]:'")
    assert page.ask("v.opacity") == "0.0" and page.errors == []


def test_classes_tiles_and_names(open_notebook):
    page = open_notebook(CELL)
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    plain = middle(page, 0.25)
    after(page, lambda: page.get_by_label("land").uncheck())
    assert middle(page, 0.25) == [200, 200, 200] != plain
    assert page.ask("v.hidden") == "[1]"
    box = page.locator(".segnb-viewer canvas").bounding_box()
    after(page, lambda: page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2))
    assert page.data(".segnb-viewer")["under"] == "roof"
    page.press("Tiles")
    page.wait_for_function("document.querySelector('.segnb-viewer .grid').getAttribute('aria-pressed') === 'true'")
    assert page.ask("v.grid") == "True"
    page.py("v.grid = False; v.opacity = 1.0")
    page.wait_for_function("document.querySelector('.segnb-viewer .grid').getAttribute('aria-pressed') === 'false'")
    page.wait_for_function("document.querySelector('.segnb-viewer .opacity').value === '100'")
    assert page.errors == []


def test_keys_on_the_image(open_notebook):
    page = open_notebook(CELL, "1")
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    page.locator(".segnb-viewer .fit").focus()
    for _ in range(4):  # past tiles, opacity and swipe
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    zoom = float(page.data(".segnb-viewer")["zoom"])
    for _ in range(4):
        after(page, lambda: page.keyboard.press("+"))
    assert float(page.data(".segnb-viewer")["zoom"]) > 2 * zoom
    for _ in range(6):
        after(page, lambda: page.keyboard.press("ArrowLeft"))
    assert page.data(".segnb-viewer")["under"] == "land"
    after(page, lambda: page.keyboard.press("0"))
    assert abs(float(page.data(".segnb-viewer")["zoom"]) - zoom) < 1e-6
    page.keyboard.press("a")
    assert page.locator(".jp-CodeCell").count() == 2 and page.errors == []


DEEP = """
import numpy as np
from collections import namedtuple
from segnb.widgets.viewer import TileViewer
Box, Tile = namedtuple("Box", "x y w h"), namedtuple("Tile", "keep seen")
stripes = np.broadcast_to((np.arange(20_000) // 1000 % 3 * 80).astype(np.uint8)[None, :, None], (20_000, 20_000, 3))
classes = np.broadcast_to((np.arange(20_000) // 1000 % 3).astype(np.uint8)[None], (20_000, 20_000))
deep = TileViewer(stripes, classes, ["sea", "land", "roof"])
deep
"""
PAINT = """
boxes = [Box(x, 0, 500, 1000) for x in range(0, 2000, 500)]
black, empty = np.zeros((1000, 2000, 3), np.uint8), np.full((1000, 2000), 255, np.uint8)
work = TileViewer(black, empty, ["sea", "land"], [Tile(b, b) for b in boxes], opacity=1.0)
work
"""


def test_twenty_thousand_pixels_and_painting(open_notebook):
    page = open_notebook(DEEP)
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    page.locator(".segnb-viewer canvas").focus()
    for _ in range(16):
        after(page, lambda: page.keyboard.press("+"))
    page.wait_for_function("(d => d.level === '1' && d.missing === '0' && d.tiles > 0)(document.querySelector('.segnb-viewer').dataset)")
    assert page.data(".segnb-viewer")["under"] in ("sea", "land", "roof")
    assert page.ask("len(deep.image) + len(deep.labels) + len(deep.still()) < 300_000") == "True"
    page.locator(".segnb-viewer .swipe").fill("0")
    after(page, lambda: page.locator(".segnb-viewer .opacity").fill("100"))
    grey = middle(page, 0.5)
    assert len(set(grey)) == 1  # no class is shown over the grey image

    page = open_notebook(DEEP.replace("\ndeep\n", "\n"), PAINT)
    page.wait_for_selector(".segnb-viewer[data-drawn]")
    assert middle(page, 0.1) == [0, 0, 0]
    page.py("for b in boxes[:3]: work.paint(Tile(b, b), np.ones((1000, 500), np.uint8))")
    page.py("work.flush()")
    page.wait_for_function("document.querySelector('.segnb-viewer').dataset.painted === '3'")
    page.wait_for_timeout(200)
    assert middle(page, 0.1) == [230, 159, 0] and middle(page, 0.9) == [0, 0, 0]
    assert "3 of 4 tiles" in page.locator(".segnb-viewer .size").inner_text() and page.errors == []
