// The classes of a data set: a colour and a name for each, both to be changed, and how much there is of it. The kernel decides what is right.

const CSS = `
.segnb-classes { container-type: inline-size; }
.segnb-classes table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 2px 0 6px; }
.segnb-classes .scroll { overflow-x: auto; max-width: 100%; }
.segnb-classes :is(th, td) { padding: 2px 10px; text-align: left !important; font-weight: 400; border: 0; border-bottom: 1px solid color-mix(in srgb, var(--ink) 12%, transparent);
  vertical-align: middle; background: none; color: var(--ink); max-width: none; white-space: nowrap; }
.segnb-classes thead th { color: var(--soft); font-weight: 600; } .segnb-classes .number { text-align: right !important; }
.segnb-classes input { font: inherit; height: 28px; color: var(--ink); background: var(--paper); border: 1px solid color-mix(in srgb, var(--line) 50%, transparent);
  border-radius: 4px; margin: 0; }
.segnb-classes input:is(:hover, :focus) { border-color: var(--brand); } .segnb-classes input:disabled { opacity: .7; border-color: transparent; }
.segnb-classes input.name { width: 14em; max-width: 40cqw; padding: 0 6px; }
.segnb-classes input.colour { width: 30px; padding: 2px; cursor: pointer; vertical-align: middle; appearance: none; background: none; }
.segnb-classes input.colour::-webkit-color-swatch-wrapper { padding: 0; }
.segnb-classes input.colour::-webkit-color-swatch { border: 1px solid rgba(0,0,0,.3); border-radius: 3px; }
.segnb-classes .bar { display: inline-block; height: 9px; width: calc(var(--part) * 110px); border-radius: 2px; background: var(--brand); margin-right: 8px; }
.segnb-classes pre { margin: 8px 0; padding: 8px 12px; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; color: var(--ink);
  font: var(--jp-code-font-size, 13px)/1.5 var(--jp-code-font-family, monospace);
  background: var(--jp-cell-editor-background, rgba(128,128,128,.1)); border: 1px solid var(--jp-border-color2, transparent); }
@container (max-width: 440px) { .segnb-classes :is(th, td) { padding: 2px 3px; } .segnb-classes .bar { width: calc(var(--part) * 22px); margin-right: 3px; }
  .segnb-classes input.name { width: 6em; } .segnb-classes thead th { white-space: normal; } }`;

function render({ model, el }) {
  const root = make("div", { className: "segnb segnb-classes" }), title = make("h3"), note = make("p", { className: "soft" });
  const head = make("tr"), body = make("tbody"), code = make("pre", { tabIndex: 0, attr: { role: "region", "aria-label": "The same in Python" } });
  const error = make("div", { className: "error", role: "alert" }), actions = make("div", { className: "row" });
  const scroll = make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Classes" }, make("table", {}, make("thead", {}, head), body));
  el.replaceChildren(make("style", { textContent: LOOK + CSS }), root);
  root.append(title, note, scroll, actions, error, code);
  let gone = false, shape = "";

  function line(c) {                                            // one class
    const name = make("input", { className: "name", autocomplete: "off", spellcheck: false, dataset: { id: c.id } });
    const colour = make("input", { className: "colour", type: "color", dataset: { id: c.id } });
    name.onchange = () => model.send({ t: "name", id: c.id, text: name.value });
    name.onkeydown = e => { if (e.key === "Escape") { name.value = model.get("rows").find(r => r.id === c.id).name; } };
    colour.onchange = () => model.send({ t: "colour", id: c.id, colour: colour.value });
    const shares = c.shares.map(s => { const bar = make("span", { className: "bar" }); bar.style.setProperty("--part", s.part); return make("td", {}, bar, s.text); });
    return make("tr", {}, make("td", { className: "number", textContent: c.id }), make("td", {}, colour), make("td", {}, name), ...shares);
  }

  function draw() {
    const rows = model.get("rows"), columns = model.get("columns"), now = JSON.stringify([columns, rows.map(c => [c.id, c.shares])]);
    if (now !== shape) {                                        // otherwise the fields stay, and the focus with them
      head.replaceChildren(...["id", "colour", "class", ...columns].map((c, i) => make("th", { scope: "col", textContent: c, className: i ? "" : "number" })));
      body.replaceChildren(...rows.map(line));
      shape = now;
    }
    rows.forEach((c, i) => {
      const [colour, name] = body.rows[i].querySelectorAll("input"), off = c.fixed || gone;
      name.setAttribute("aria-label", `Name of class ${c.id}`); colour.setAttribute("aria-label", `Colour of ${c.name}`);
      if (document.activeElement !== name || model.get("error") === "") name.value = c.name;
      colour.value = c.colour;
      name.disabled = colour.disabled = off;
    });
    title.textContent = model.get("title"); title.hidden = !model.get("title");
    note.textContent = model.get("note"); note.hidden = !model.get("note");
    error.textContent = model.get("error"); error.hidden = !model.get("error");
    code.textContent = model.get("code"); code.hidden = !model.get("code");
    actions.replaceChildren(...model.get("actions").filter(a => !a.off).map(a => act(a.name, () => model.send({ t: a.t }), { disabled: gone || model.get("busy") })));
    root.hidden = !rows.length;
    Object.assign(root.dataset, { rows: rows.length, code: model.get("code") });
  }

  return follow(model, el, draw, lost => { gone = lost; });
}

export default { render };
