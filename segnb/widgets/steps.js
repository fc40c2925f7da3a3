// The studio's head: its steps as tabs, each with a word on how far it is. Arrow keys move between them.

const CSS = `
.segnb-steps { container-type: inline-size; }
.segnb-steps [role=tablist] { display: flex; flex-wrap: wrap; gap: 4px; border-bottom: 1px solid var(--line); }
.segnb-steps [role=tab] { all: unset; cursor: pointer; padding: 7px 14px 6px; border-radius: 4px 4px 0 0; border-bottom: 3px solid transparent; min-width: 64px; }
.segnb-steps [role=tab] b { display: block; font-weight: 600; } .segnb-steps [role=tab] small { color: var(--soft); font-size: .88em; }
.segnb-steps [role=tab]:hover { background: color-mix(in srgb, var(--brand) 8%, transparent); }
.segnb-steps [role=tab][aria-selected=true] { border-bottom-color: var(--brand); background: var(--tint); }
.segnb-steps [role=tab][aria-selected=true] small { color: color-mix(in srgb, var(--soft) 40%, var(--ink)); }
@container (max-width: 440px) { .segnb-steps [role=tablist] { gap: 0; } .segnb-steps [role=tab] { padding: 7px 5px 5px; min-width: 0; flex: 1 1 auto; text-align: center; }
  .segnb-steps [role=tab] small { display: none; } }
.segnb-steps [role=tab]:focus-visible { outline: 2px solid var(--brand); outline-offset: -2px; }`;

let panels = 0;                                                 // so that two studios never share an id

function render({ model, el }) {
  const root = make("div", { className: "segnb segnb-steps" }), list = make("div", { attr: { role: "tablist", "aria-label": "Studio" } });
  el.replaceChildren(make("style", { textContent: LOOK + CSS }), root);
  root.append(list);

  function choose(i, focus = true) {
    model.set("chosen", i);
    model.save_changes();
    draw();
    if (focus) list.children[i].focus();
  }

  model.get("names").forEach((name, i) => {
    const tab = make("button", { type: "button", onclick: () => choose(i), attr: { role: "tab" } }, make("b", { textContent: name }), make("small"));
    tab.onkeydown = e => {
      const n = model.get("names").length, to = { ArrowRight: (i + 1) % n, ArrowLeft: (i + n - 1) % n, Home: 0, End: n - 1 }[e.key];
      if (to !== undefined) { e.preventDefault(); choose(to); }
    };
    list.append(tab);
  });

  function draw() {
    [...list.children].forEach((tab, i) => {
      const on = i === model.get("chosen");
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      tab.querySelector("small").textContent = model.get("words")[i] ?? "";
    });
    root.dataset.chosen = model.get("chosen");
    joinPanel();
  }

  function joinPanel() {                                        // what the tabs open is the next widget in their box
    const panel = el.nextElementSibling;
    if (!panel) return;
    panel.id ||= `segnb-panel-${++panels}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-label", model.get("names")[model.get("chosen")]);
    [...list.children].forEach(tab => tab.setAttribute("aria-controls", panel.id));
  }

  let area = null;                                              // where the still picture for readers without a kernel is hidden
  function hideReceipt() {
    const name = model.get("receipt");
    if (!name || !el.isConnected) return;
    area = el.closest(".jp-OutputArea") ?? document.body;
    area.setAttribute(`data-steps-${name}`, "");
    root.append(make("style", { textContent: `[data-steps-${name}] .${name} { display: none !important; }` }));
  }
  const frame = requestAnimationFrame(() => { hideReceipt(); joinPanel(); }), release = keepKeys(el);
  model.on("change", draw);
  model.send({ t: "hello" });
  draw();
  return () => { cancelAnimationFrame(frame); area?.removeAttribute(`data-steps-${model.get("receipt")}`); release(); model.off("change", draw); };
}

export default { render };
