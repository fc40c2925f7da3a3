// Put before each of the widgets' scripts by `script` in 70_widgets.chart.ipynb
// What the widgets share: the theme's colours with something to fall back on, buttons, and one short way to make an element.
const LOOK = `
.segnb { --ink: var(--jp-content-font-color1, currentColor); --soft: var(--jp-content-font-color2, currentColor);
  --line: var(--jp-border-color1, #bdbdbd); --brand: var(--jp-brand-color1, #1976d2); --bad: var(--jp-error-color1, #d32f2f);
  --paper: var(--jp-layout-color1, transparent); --tint: color-mix(in srgb, var(--brand) 14%, transparent);
  font: var(--jp-ui-font-size1, 13px)/1.45 var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink); padding: 6px 2px; min-width: 0; }
.segnb * { box-sizing: border-box; }
.segnb .row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; }
.segnb button.act { font: inherit; min-height: 30px; padding: 0 12px; border-radius: 4px; cursor: pointer; color: var(--ink); background: var(--paper);
  border: 1px solid var(--line); }
.segnb button.act:hover:enabled { border-color: var(--brand); }
.segnb button.act:disabled { cursor: default; opacity: .55; }
.segnb button.act[aria-pressed=true] { border-color: var(--brand); box-shadow: inset 0 0 0 1px var(--brand); background: var(--tint); }
.segnb button.main { background: var(--brand); border-color: var(--brand); color: var(--jp-ui-inverse-font-color1, #fff); font-weight: 600; }
.segnb :is(button, input, select, canvas, summary, [tabindex]):focus-visible { outline: 2px solid var(--brand); outline-offset: 1px; }
.segnb h3 { font-size: 1.08em; font-weight: 600; margin: 14px 0 6px; } .segnb h3:first-child { margin-top: 0; }
.segnb p { margin: 4px 0; overflow-wrap: anywhere; } .segnb .soft { color: var(--soft); }
.segnb .error { margin: 8px 0; padding: 8px 12px; border-left: 3px solid var(--bad); background: color-mix(in srgb, var(--bad) 9%, transparent);
  overflow-wrap: anywhere; }
.segnb img { display: block; max-width: 100%; border-radius: 4px; }
.segnb .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.segnb [hidden] { display: none !important; }`;

function make(tag, props = {}, ...children) {
  const { dataset, attr, ...rest } = props, node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, dataset);
  for (const [name, value] of Object.entries(attr ?? {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const act = (text, onclick, more = {}) => make("button", { type: "button", textContent: text, onclick, ...more, className: `act ${more.className ?? ""}` });

// Calls `tell(true)` when nothing hears the page any more, since the kernel was restarted or shut down, and `tell(false)` when it is heard again.
function watchKernel(model, tell) {
  let gone = false;
  const lose = () => { gone = true; tell(true); }, hear = () => { if (gone) { gone = false; tell(false); } };
  model.on("comm_live_update", lose); model.on("change", hear); model.on("msg:custom", hear);
  return () => { model.off("comm_live_update", lose); model.off("change", hear); model.off("msg:custom", hear); };
}

// Draws now and after each change, keeps keys from the notebook, and calls `tell` like `watchKernel`; returns what ends all of it.
function follow(model, el, draw, tell) {
  const release = keepKeys(el), unwatch = watchKernel(model, lost => { tell(lost); draw(); });
  model.on("change", draw);
  model.send({ t: "hello" });
  draw();
  return () => { unwatch(); release(); model.off("change", draw); };
}

const pictureUrl = (bytes, type = "image/jpeg") => URL.createObjectURL(new Blob([new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)], { type }));
