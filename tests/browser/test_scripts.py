"The widgets' scripts on a bare page, with a stand-in for the model: what the page does before, without and after the kernel"

import re
import struct

import pytest

from segnb.widgets.chart import script

SHOW = """async ([source, state]) => {
  const bytes = a => new DataView(new Float32Array(a).buffer), hears = {};
  for (const k in state) if (state[k]?.floats) state[k] = bytes(state[k].floats);
  window.sent = [];
  window.model = { get: k => state[k], set: (k, v) => { state[k] = v }, save_changes: () => {}, send: m => sent.push(m),
    on: (k, f) => (hears[k] ??= []).push(f), off: (k, f) => { hears[k] = (hears[k] ?? []).filter(g => g !== f) } };
  window.hears = hears;
  window.put = change => { Object.assign(state, change); Object.keys(change).forEach(k => (hears[`change:${k}`] ?? []).forEach(f => f()));
                           (hears.change ?? []).forEach(f => f()) };
  window.rows = (first, floats) => hears['msg:custom'].forEach(f => f({ t: 'rows', first }, [bytes(floats)]));
  const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
  window.end = widget.render({ model, el: document.querySelector('#here') });
}"""
BAR = dict(state="running", part=0.4, text="Epoch 4/10", note="", error="", trace="", blocked="", buttons=True, can_start=True, can_keep=True)
CHART = dict(names=["loss", "mIoU"], label="Training curve", x_name="step", steps=10, quiet=False, receipt="", data={"floats": []},
             left=1, log=False, colours=[], others=[], fold="")
NAN = float("nan")


@pytest.fixture
def show(chrome):
    page = chrome.new_page(viewport=dict(width=700, height=500))
    page.errors = []
    page.on("pageerror", lambda e: page.errors.append(str(e)))

    def go(name, state, clock=False):
        if clock:
            page.clock.install()
        page.set_content("<div id=here></div>")
        page.evaluate(SHOW, [script(name), state])
        return page

    yield go
    assert page.errors == []
    page.close()


def test_the_page_answers_before_the_kernel(show):
    page = show("runbar", BAR, clock=True)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert page.locator(".text").inner_text() == "Stopping…"
    assert page.get_by_role("button", name="Stop", exact=True).is_disabled()
    page.clock.fast_forward(3000)
    assert page.locator(".text").inner_text() == "Stopping… (waiting for the running cell)"
    page.evaluate("put({state: 'stopped', text: 'Stopped at 40 %'}); hears['msg:custom'].forEach(f => f({t: 'did'}))")
    assert page.locator(".text").inner_text() == "Stopped at 40 %" and page.get_by_role("button", name="Start").is_enabled()
    assert [m["t"] for m in page.evaluate("sent") if m["t"] != "hello"] == ["stop"]


def test_it_says_hello_twice(show):
    page = show("runbar", BAR, clock=True)
    page.clock.fast_forward(2000)
    assert page.evaluate("sent") == [{"t": "hello"}, {"t": "hello"}]


def test_silence_is_told_and_ends(show):
    page = show("runbar", BAR, clock=True)
    for _ in range(3):
        page.clock.fast_forward(4000)
        page.evaluate("hears['msg:custom'].forEach(f => f({t: 'alive'}))")
    assert page.locator(".text").inner_text() == "Epoch 4/10"
    page.clock.fast_forward(17_000)
    assert page.locator(".text").inner_text().startswith("No sign of life from the kernel for")
    page.evaluate("put({text: 'Epoch 5/10'})")
    assert page.locator(".text").inner_text() == "Epoch 5/10"
    page.evaluate("put({state: 'done'})")
    page.clock.fast_forward(60_000)
    assert page.locator(".text").inner_text() == "Epoch 5/10"


def heights(page): return [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", page.locator(".plot path.line.s0").get_attribute("d"))]


def test_a_loss_on_a_logarithmic_axis(show):
    "Three powers of ten: nearly one line at first, three equal steps at a press"
    page = show("chart", dict(CHART, data={"floats": [1, 100, NAN, 2, 10, NAN, 3, 1, 0.5, 4, 0.1, NAN]}))
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '4'")
    even = heights(page)
    assert even[3] - even[2] < 5 < even[1] - even[0]
    button = page.get_by_role("button", name="Logarithmic axis for loss")
    button.click()
    page.wait_for_function("document.querySelector('.log').getAttribute('aria-pressed') === 'true'")
    steps = [b - a for a, b in zip(heights(page), heights(page)[1:])]
    assert max(steps) - min(steps) < 1 < min(steps)
    assert {"0.1", "1", "10", "100", "0.25"} <= set(page.locator("svg text").all_text_contents())
    button.press("Enter")
    page.wait_for_function("document.querySelector('.log').getAttribute('aria-pressed') === 'false'")
    assert heights(page) == even


@pytest.mark.parametrize("values", [[0, 0], [-1, 0], [0.3, 0.3], [1e-12, 1e12], [0, 1]])
def test_no_loss_is_too_odd_for_it(show, values):
    page = show("chart", dict(CHART, log=True, data={"floats": [v for i, y in enumerate(values) for v in (i + 1, y, NAN)]}))
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '2'")
    assert "NaN" not in page.locator(".plot").inner_html() and "Infinity" not in page.locator(".plot").inner_html()


def test_shares_have_no_logarithm(show):
    page = show("chart", dict(CHART, names=["one", "two"], left=0, data={"floats": [1, 0.5, 0.2]}))
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '1'")
    assert page.locator(".log").is_hidden()


def test_a_kernel_that_is_gone_is_told_at_once(show):
    page = show("runbar", BAR)
    page.evaluate("hears['comm_live_update'].forEach(f => f())")
    assert page.locator(".text").inner_text().startswith("The kernel was restarted or shut down.")
    assert page.locator("button:enabled").count() == 0
    page.evaluate("hears['msg:custom'].forEach(f => f({t: 'alive'}))")  # it was only away
    assert page.locator(".text").inner_text() == "Epoch 4/10" and page.get_by_role("button", name="Pause").is_enabled()


def test_names_and_roles(show):
    page = show("runbar", dict(BAR, error="it broke", trace="Traceback"))
    assert page.get_by_role("progressbar", name="Training progress").count() == 1
    assert page.get_by_role("alert").locator("p").inner_text() == "it broke"
    assert page.get_by_role("status").inner_text() == "Epoch 4/10"


def test_a_missed_message_is_asked_for(show):
    page = show("chart", CHART)
    page.evaluate("rows(0, [1, .9, NaN, 2, .8, NaN])")
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '2'")
    before = page.evaluate("sent.length")
    page.evaluate("rows(5, [6, .5, NaN])")
    assert page.evaluate("sent.length") == before + 1
    page.evaluate("rows(0, [1, .9, NaN, 2, .8, NaN, 3, .7, .5]); rows(2, [3, .7, .5])")  # everything, and some of it twice
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '3'")
    page.wait_for_timeout(50)
    assert "0.500" in page.locator(".legend").inner_text() and "step 3" in page.locator(".legend").inner_text()


def test_saved_state_is_whole(show):
    page = show("chart", dict(CHART, data={"floats": [1, 0.9, 0.1]}))
    page.evaluate("rows(1, [2, .8, .2])")
    values = page.evaluate("[...new Float32Array(model.get('data').buffer)]")
    assert values == pytest.approx(struct.unpack("6f", struct.pack("6f", 1, 0.9, 0.1, 2, 0.8, 0.2)))


def test_ten_thousand_points_make_a_short_drawing(show):
    page = show("chart", CHART)
    page.evaluate("rows(0, Array.from({length: 10000}, (_, i) => [i + 1, 1 / (1 + i / 500), i % 1000 ? NaN : .5]).flat())")
    page.wait_for_function("document.querySelector('.segnb-chart').dataset.points === '10000'")
    longest = page.evaluate("Math.max(...[...document.querySelectorAll('.plot path')].map(p => p.getAttribute('d').length))")
    assert longest < 30_000


ODD = [[], [1, 0.5, NAN], [1, NAN, 0.5], [1, 3.0, NAN, 2, 3.0, NAN], [1, 1e-9, 0, 2, 1e9, 1], [1, -3, 0.1, 2, -5, 0.2]]


@pytest.mark.parametrize("floats", ODD)
def test_odd_curves_are_drawn(show, floats):
    page = show("chart", dict(CHART, data={"floats": []}))
    page.evaluate(f"rows(0, {floats})".replace("nan", "NaN"))
    page.wait_for_function("document.querySelector('.plot svg')")
    assert "NaN" not in page.locator(".plot").inner_html() and "Infinity" not in page.locator(".plot").inner_html()


def test_keys_read_values(show):
    page = show("chart", CHART)
    page.evaluate("rows(0, [1, .9, NaN, 2, .8, NaN, 3, .7, .5])")
    page.locator(".plot").focus()
    for key, step in (("Home", 1), ("ArrowRight", 2), ("End", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        page.wait_for_function(f"document.querySelector('.where').textContent.includes('step {step}')")
    page.wait_for_function("document.querySelector('[aria-live]').textContent.includes('step 2: loss 0.800, mIoU –')")


def test_nothing_is_left_behind(show):
    for name, state in (("runbar", BAR), ("chart", CHART)):
        page = show(name, state)
        page.evaluate("end()")
        assert page.evaluate("Object.values(hears).flat().length") == 0
