// A table: words, numbers, colours, bars, and cells that can be pressed. Headed by a title, followed by buttons.

const CSS = `
.segnb-table table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 2px 0; }
.segnb-table .scroll { overflow-x: auto; max-width: 100%; }
.segnb-table { container-type: inline-size; }
.segnb-table :is(th, td) { padding: 3px 10px; text-align: left !important; font-weight: 400; border: 0; border-bottom: 1px solid color-mix(in srgb, var(--ink) 12%, transparent);
  vertical-align: middle; background: none; color: var(--ink); max-width: none; white-space: normal; }
.segnb-table thead th { color: var(--soft); font-weight: 600; }
.segnb-table .number { text-align: right !important; white-space: nowrap; }
.segnb-table .fields { display: grid; grid-template-columns: max-content minmax(0, 420px); gap: 6px 12px; align-items: center; margin: 6px 0 10px; }
.segnb-table .fields:empty { display: none; }
.segnb-table input { font: inherit; height: 30px; padding: 0 8px; color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
  min-width: 0; }
.segnb-table i.colour { display: inline-block; width: 14px; height: 14px; margin-right: 8px; border-radius: 3px; vertical-align: -2px;
  box-shadow: inset 0 0 0 1px rgba(0,0,0,.25); }
.segnb-table .named { white-space: nowrap; }
.segnb-table .bar { display: inline-block; height: 9px; width: calc(var(--part) * 110px); border-radius: 2px; background: var(--brand); margin-right: 8px; vertical-align: baseline; }
.segnb-table td.heat { padding: 2px; }
.segnb-table td.heat > * { font: inherit; display: block; width: 100%; min-width: 58px; min-height: 30px; line-height: 26px; padding: 1px 7px; text-align: right; border-radius: 3px;
  border: 1px solid transparent; color: var(--ink); background: color-mix(in srgb, var(--brand) calc(var(--heat) * 70%), transparent); }
.segnb-table td.heat button { cursor: pointer; } .segnb-table td.heat button:hover { border-color: var(--brand); }
.segnb-table td.heat [aria-pressed=true] { box-shadow: inset 0 0 0 2px var(--ink); }
@container (max-width: 420px) { .segnb-table .fields { grid-template-columns: 1fr; } .segnb-table .bar { width: calc(var(--part) * 44px); margin-right: 5px; }
  .segnb-table :is(th, td):not(.heat) { padding: 3px 6px; } }`;

const isNumber = cell => typeof cell === "number" || !!cell?.number || cell?.heat !== undefined;

function cellOf(cell, at, picked, pick) {
  const first = at[1] === 0 && cell.colour, text = String(cell.text ?? cell);
  const node = make(first ? "th" : "td", { className: isNumber(cell) ? "number" : "", ...(first ? { scope: "row" } : {}) });
  if (cell.heat !== undefined) {
    node.className = "number heat";
    const words = cell.words ?? text, chosen = picked[0] === at[0] && picked[1] === at[1];
    const inner = cell.pick ? make("button", { type: "button", onclick: () => pick(at), attr: { "aria-label": words, "aria-pressed": chosen } }) : make("span");
    inner.style.setProperty("--heat", cell.heat);
    inner.title = words;
    inner.append(text);
    node.append(inner);
    return node;
  }
  if (cell.colour) node.classList.add("named");
  if (cell.colour) { const i = make("i", { className: "colour" }); i.style.background = `rgb(${cell.colour})`; node.append(i); }
  if (cell.part !== undefined) { const bar = make("span", { className: "bar" }); bar.style.setProperty("--part", cell.part); node.append(bar); }
  node.append(text);
  return node;
}

let tables = 0;                                                 // so that two of them never share an id

function render({ model, el }) {
  const root = make("div", { className: "segnb segnb-table" }), body = make("div"), actions = make("div", { className: "row" });
  const note = make("p", { className: "soft", role: "status" }), error = make("div", { className: "error", role: "alert" });
  el.replaceChildren(make("style", { textContent: LOOK + CSS }), root);
  let gone = false;                                             // whether the kernel is
  const title = make("h3"), scroll = make("div", { className: "scroll", tabIndex: 0, role: "region" }, body);
  const fields = make("div", { className: "fields" }), boxes = {}, number = ++tables;
  for (const f of model.get("inputs")) {
    boxes[f.name] = make("input", { id: `segnb-input-${number}-${f.name}`, value: f.value ?? "", placeholder: f.placeholder ?? "", autocomplete: "off", spellcheck: false });
    fields.append(make("label", { htmlFor: boxes[f.name].id, textContent: f.label }), boxes[f.name]);
  }
  const typed = () => Object.fromEntries(Object.entries(boxes).map(([name, box]) => [name, box.value]));
  root.append(title, note, fields, scroll, actions, error);
  const pick = at => { model.set("picked", at); model.save_changes(); model.send({ t: "pick", at }); };

  function draw() {
    const columns = model.get("columns"), rows = model.get("rows"), picked = model.get("picked");
    const had = root.contains(document.activeElement) && document.activeElement.closest("td"), where = had && [had.parentElement.rowIndex, had.cellIndex];
    title.textContent = model.get("title"); title.hidden = !model.get("title");
    scroll.setAttribute("aria-label", model.get("title") || "Table"); scroll.hidden = !rows.length;
    note.textContent = model.get("note"); note.hidden = !model.get("note");
    error.textContent = model.get("error"); error.hidden = !model.get("error");
    const table = make("table");
    if (columns.length) table.append(make("thead", {}, make("tr", {}, ...columns.map((c, i) => c ? make("th", { scope: "col", textContent: c, className: isNumber(rows[0]?.[i]) ? "number" : "" }) : make("td")))));
    table.append(make("tbody", {}, ...rows.map((row, r) => make("tr", {}, ...row.map((cell, c) => cellOf(cell, [r, c], picked, pick))))));
    body.replaceChildren(table);
    if (where) table.rows[where[0]]?.cells[where[1]]?.querySelector("button")?.focus();
    actions.replaceChildren(...model.get("actions").map(a => act(a.name, () => model.send({ t: a.t, typed: typed() }), { disabled: !!a.off || gone || model.get("busy"), title: a.off ?? "" })));
    actions.hidden = !model.get("actions").length;
    root.hidden = !rows.length && !Object.keys(boxes).length && !model.get("title") && !model.get("note") && model.get("actions").every(a => a.off);
    Object.assign(root.dataset, { rows: rows.length, busy: model.get("busy") });
  }

  return follow(model, el, draw, lost => { gone = lost; });
}

export default { render };
