// The run bar: buttons, progress, status and error of one training.
// The page answers a click by itself, at once; the kernel's word follows when the kernel finds the time.

const BUSY = ["starting", "running", "paused", "stopping"];
const SILENCE = 15;                                             // seconds without news after which the page says so
const GONE = "The kernel was restarted or shut down. What was saved is still on disk: run this cell again and press Go on, or attach(save_dir) to see the curves.";

const CSS = `
.segnb-bar { --ink: var(--jp-content-font-color1, currentColor); --soft: var(--jp-content-font-color2, currentColor);
  --line: var(--jp-border-color1, #bdbdbd); --brand: var(--jp-brand-color1, #1976d2);
  font: var(--jp-ui-font-size1, 13px)/1.45 var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink); padding: 6px 2px; }
.segnb-bar .row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; }
.segnb-bar .buttons { display: flex; flex-wrap: wrap; gap: 8px; }
.segnb-bar button { font: inherit; min-width: 76px; height: 32px; padding: 0 14px; border-radius: 4px; cursor: pointer;
  color: var(--ink); background: var(--jp-layout-color1, transparent); border: 1px solid var(--line); }
.segnb-bar button.start { background: var(--brand); border-color: var(--brand); color: var(--jp-ui-inverse-font-color1, #fff);
  font-weight: 600; }
.segnb-bar button:hover:enabled { filter: brightness(.96); border-color: var(--brand); }
.segnb-bar button:focus-visible, .segnb-bar summary:focus-visible { outline: 2px solid var(--brand); outline-offset: 2px; }
.segnb-bar button:disabled { cursor: default; color: var(--soft); opacity: .5; font-weight: 400;
  background: var(--jp-layout-color2, transparent); border-color: var(--line); }
.segnb-bar .meter { flex: 1 1 180px; display: flex; align-items: center; gap: 10px; }
.segnb-bar progress { flex: 1; min-width: 80px; height: 8px; appearance: none; border: 0; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, var(--ink) 14%, transparent); }
.segnb-bar progress::-webkit-progress-bar { background: none; }
.segnb-bar progress::-webkit-progress-value { background: var(--brand); transition: width .2s; }
.segnb-bar progress::-moz-progress-bar { background: var(--brand); }
.segnb-bar:is([data-state=paused], [data-state=stopped], [data-state=gone]) progress::-webkit-progress-value { background: var(--soft); }
.segnb-bar[data-state=failed] progress::-webkit-progress-value { background: var(--jp-error-color1, #d32f2f); }
.segnb-bar .percent { min-width: 3em; text-align: right; color: var(--soft); font-variant-numeric: tabular-nums; }
.segnb-bar .text { margin-top: 6px; min-height: 1.45em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.segnb-bar .text:empty { display: none; }
.segnb-bar .note { color: var(--soft); }
.segnb-bar .error { margin-top: 8px; padding: 8px 12px; border-left: 3px solid var(--jp-error-color1, #d32f2f);
  background: color-mix(in srgb, var(--jp-error-color1, #d32f2f) 9%, transparent); overflow-wrap: anywhere; }
.segnb-bar .error p { margin: 0; }
.segnb-bar .error summary { cursor: pointer; color: var(--soft); margin-top: 4px; }
.segnb-bar .error pre { margin: 6px 0 0; max-height: 240px; overflow: auto; font: 12px/1.4 var(--jp-code-font-family, monospace);
  color: var(--ink); background: none; }
.segnb-bar .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.segnb-bar [hidden] { display: none !important; }`;

const HTML = `<style>${CSS}</style>
<div class="segnb-bar">
  <div class="row">
    <div class="buttons" role="group" aria-label="Training">
      <button type="button" class="start">Start</button>
      <button type="button" class="again" hidden>Go on</button>
      <button type="button" class="hold">Pause</button>
      <button type="button" class="stop">Stop</button>
      <button type="button" class="best" title="Stop, and go on with the best model of this run">Stop, keep best</button>
    </div>
    <div class="meter"><progress max="1" value="0" aria-label="Training progress"></progress><span class="percent"></span></div>
  </div>
  <div class="text"></div>
  <div class="note" hidden></div>
  <div class="unseen" role="status"></div>
  <div class="error" role="alert" hidden><p></p><details><summary>Traceback</summary><pre tabindex="0"></pre></details></div>
</div>`;

function render({ model, el }) {
  el.innerHTML = HTML;
  const find = name => el.querySelector(name), bar = find(".segnb-bar");
  let gone = false, asked = null;                                             // {state, text, at}: what a click asked for, until the kernel answers
  let heard = Date.now(), read = 0, readState = "";             // last news; last time and state read out

  function ask(t, state, text) {
    asked = { state, text, at: Date.now() };
    model.send({ t });
    draw();
  }

  function buttons(state) {
    const busy = BUSY.includes(state) || gone, moving = state === "running" || state === "paused";
    find(".buttons").hidden = !model.get("buttons");
    find(".start").hidden = !model.get("can_start");
    find(".start").disabled = busy || !!model.get("blocked");
    find(".start").title = model.get("blocked");
    find(".again").hidden = !model.get("again") || busy;
    find(".again").disabled = busy || !model.get("again") || !!model.get("blocked");
    find(".again").title = model.get("blocked") || model.get("again");
    find(".hold").disabled = !moving;
    find(".hold").textContent = state === "paused" ? "Resume" : "Pause";
    find(".stop").disabled = find(".best").disabled = !(moving || state === "starting");
    find(".best").hidden = !model.get("can_keep");
  }

  function words(state) {
    const silent = (Date.now() - heard) / 1000, waited = asked ? Date.now() - asked.at : 0;
    if (gone) return GONE;
    if (BUSY.includes(state) && silent > SILENCE)
      return `No sign of life from the kernel for ${Math.round(silent)} s. If it was restarted, run this cell again; `
        + "what was saved is still on disk.";
    if (asked) return asked.text + (waited > 1000 ? " (waiting for the running cell)" : "");
    return model.get("text");
  }

  function readOut(state, text) {                               // a screen reader hears a change of state at once, the rest every 5 s
    if (state === readState && Date.now() - read < 5000) return;
    [read, readState] = [Date.now(), state];
    find("[role=status]").textContent = text;
  }

  function draw() {
    const state = gone ? "gone" : asked?.state ?? model.get("state"), part = model.get("part"), text = words(state), error = model.get("error");
    bar.dataset.state = state;
    buttons(state);
    find(".meter").style.visibility = state === "idle" ? "hidden" : "visible";
    find("progress").value = part;
    find(".percent").textContent = `${Math.floor(part * 100)} %`;
    find(".text").textContent = text;
    find(".note").textContent = model.get("note");
    find(".note").hidden = !model.get("note");
    find(".error").hidden = !error;
    if (find(".error p").textContent !== error) find(".error p").textContent = error;
    find(".error pre").textContent = model.get("trace");
    find(".error details").hidden = !model.get("trace");
    readOut(state, text);
  }

  function news(message) {
    heard = Date.now();
    if (message?.t === "did") asked = null;
    draw();
  }

  find(".start").onclick = () => ask("start", "starting", "Starting…");
  find(".again").onclick = () => ask("again", "starting", "Going on…");
  find(".hold").onclick = () => {
    if (model.get("state") === "paused") ask("resume", "running", "Going on…"); else ask("pause", "paused", "Pausing…");
  };
  find(".stop").onclick = () => ask("stop", "stopping", "Stopping…");
  find(".best").onclick = () => ask("best", "stopping", "Stopping, keeping the best…");
  const unwatch = watchKernel(model, lost => { gone = lost; draw(); });
  const change = () => news(), release = keepKeys(el), clock = setInterval(draw, 1000);
  model.on("change", change);
  model.on("msg:custom", news);
  // The first message of a page may still be handled by the kernel's main loop; the second one finds the page's own.
  const hello = () => model.send({ t: "hello" });
  hello();
  const again = setTimeout(hello, 1500);
  draw();
  return () => { clearInterval(clock); clearTimeout(again); unwatch(); release(); model.off("change", change); model.off("msg:custom", news); };
}

export default { render };
