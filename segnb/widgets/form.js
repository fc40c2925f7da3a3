// The form: one field for each option, its message under it, and the Python call that says the same.
// The page only shows and asks. What a value means, and whether it may be, is decided by the options in the kernel.

const CSS = `
.segnb-form { --ink: var(--jp-content-font-color1, currentColor); --soft: var(--jp-content-font-color2, currentColor);
  --line: var(--jp-border-color1, #bdbdbd); --brand: var(--jp-brand-color1, #1976d2); --bad: var(--jp-error-color1, #d32f2f);
  font: var(--jp-ui-font-size1, 13px)/1.45 var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink); padding: 6px 2px 2px; }
.segnb-form .title { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 12px; margin: 0 0 10px; }
.segnb-form .title b { font-size: 1.2em; font-weight: 600; }
.segnb-form .title span { color: var(--soft); }
.segnb-form fieldset { border: 0; margin: 0; padding: 0; min-width: 0; display: grid; gap: 12px 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(260px, 100%), 1fr)); }
.segnb-form .field { min-width: 0; display: flex; flex-direction: column; gap: 3px; }
.segnb-form label { color: var(--ink); }
.segnb-form .check label { display: flex; gap: 8px; align-items: center; min-height: 22px; width: fit-content; }
.segnb-form .checks { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 6px 28px; } .segnb-form .checks:empty { display: none; }
.segnb-form .check .message { padding-left: 24px; }
.segnb-form input:not([type=checkbox]), .segnb-form select { font: inherit; width: 100%; height: 30px; box-sizing: border-box;
  padding: 0 8px; margin: 0;
  color: var(--ink); background: var(--jp-layout-color1, transparent); border: 1px solid var(--line); border-radius: 4px; }
.segnb-form input[type=checkbox] { width: 16px; height: 16px; margin: 0; accent-color: var(--brand); }
.segnb-form input::placeholder { color: var(--soft); opacity: .75; font-style: italic; }
.segnb-form :is(input, select, button, summary, pre):focus-visible { outline: 2px solid var(--brand); outline-offset: 0;
  border-color: var(--brand); }
.segnb-form :disabled { opacity: .55; }
.segnb-form [aria-invalid=true] { border-color: var(--bad) !important; box-shadow: 0 0 0 1px var(--bad); }
.segnb-form .message { font-size: .92em; line-height: 1.35; color: var(--soft); overflow-wrap: anywhere; }
.segnb-form :is(.message.bad, .message.wrong) { color: color-mix(in srgb, var(--bad) 82%, var(--ink)); }
.segnb-form .message:empty { display: none; }
.segnb-form details.more { margin-top: 12px; } .segnb-form details.more fieldset { margin-top: 10px; }
.segnb-form summary { cursor: pointer; width: fit-content; color: var(--soft); border-radius: 3px; padding: 1px 4px 1px 0; }
.segnb-form .code { position: relative; margin-top: 14px; container-type: inline-size; }
.segnb-form pre { margin: 0; padding: 10px 84px 10px 12px; white-space: pre-wrap; border-radius: 4px;
  font: var(--jp-code-font-size, 13px)/1.5 var(--jp-code-font-family, monospace); color: var(--ink);
  background: var(--jp-cell-editor-background, rgba(128,128,128,.1)); border: 1px solid var(--jp-border-color2, transparent); }
@container (max-width: 480px) { .segnb-form pre { padding: 38px 12px 10px !important; } }
.segnb-form pre div { padding-left: 4ch; text-indent: -4ch; word-break: normal; overflow-wrap: break-word; }
.segnb-form .copy { position: absolute; top: 6px; right: 6px; font: inherit; font-size: .92em; height: 26px; min-width: 66px;
  cursor: pointer; border-radius: 4px;
  color: var(--ink); background: var(--jp-layout-color1, transparent); border: 1px solid var(--line); }
.segnb-form pre[contenteditable] { cursor: text; }
.segnb-form .facts { display: flex; flex-wrap: wrap; gap: 2px 22px; margin: 14px 0 0; color: var(--soft); font-variant-numeric: tabular-nums; }
.segnb-form .facts b { color: var(--ink); font-weight: 600; } .segnb-form .facts:empty { display: none; }
.segnb-form .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }`;

let forms = 0;                                                  // so that two forms never share an id

function control(field, id) {
  const props = { id, name: field.name, title: field.help, dataset: { name: field.name } };
  if (field.control === "choice") return make("select", props, ...Object.entries(field.choices).map(([c, name]) => make("option", { value: c, textContent: name === c ? c : `${c}: ${name}` })));
  if (field.control === "check") return make("input", { ...props, type: "checkbox" });
  const type = field.control === "whole" ? "number" : "text";
  const input = make("input", { ...props, type, placeholder: field.placeholder, autocomplete: "off", spellcheck: false });
  if (field.control === "whole") input.step = 1;
  if (field.control === "number") input.inputMode = "decimal";
  return input;
}

function fieldBox(field, id) {
  const input = control(field, id), message = make("div", { className: "message", id: `${id}-m` });
  input.setAttribute("aria-describedby", message.id);
  const check = field.control === "check", label = make("label", { htmlFor: id, title: field.help });
  label.append(...(check ? [input, field.label] : [field.label]));
  const box = make("div", { className: `field ${field.control}` }, label, ...(check ? [] : [input]), message);
  return { field, input, message, box };
}

async function copy(text, near) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* no permission, or no https: the old way */ }
  const area = make("textarea", { value: text, className: "unseen" });
  near.append(area); area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function render({ model, el }) {
  const fields = model.get("fields"), number = ++forms, boxes = {}, waiting = {};
  let gone = false;                                             // whether the kernel is
  const main = make("fieldset"), rest = make("fieldset"), more = make("details", { className: "more" });
  const checks = new Map([main, rest].map(set => [set, make("div", { className: "checks" })]));  // boxes to tick come last, in a row
  for (const field of fields) {
    boxes[field.name] = fieldBox(field, `segnb-${number}-${field.name}`);
    const set = field.main ? main : rest;
    (field.control === "check" ? checks.get(set) : set).append(boxes[field.name].box);
  }
  for (const [set, last] of checks) set.append(last);
  main.setAttribute("aria-label", "Main options"); rest.setAttribute("aria-label", "More options");
  more.append(make("summary", { textContent: `More options (${fields.filter(f => !f.main).length})` }), rest);
  const code = make("pre", { tabIndex: 0, contentEditable: "plaintext-only", spellcheck: false, title: "Change the call, and the fields follow",
    attr: { role: "textbox", "aria-multiline": true, "aria-label": "The same in Python" } });
  const facts = make("div", { className: "facts", ariaLive: "polite" }), badCode = make("div", { className: "message wrong", role: "alert" });
  const said = make("span", { className: "unseen", role: "status" });
  const button = make("button", { type: "button", className: "copy", textContent: "Copy", ariaLabel: "Copy the Python code" });
  const title = [make("b"), make("span")];
  const root = make("div", { className: "segnb-form" },
    make("div", { className: "title" }, ...title),
    main, ...(fields.some(f => !f.main) ? [more] : []), facts,
    make("div", { className: "code" }, code, button, said), badCode);
  el.replaceChildren(make("style", { textContent: CSS }), root);

  function show(name) {
    const { input, message, field, box } = boxes[name], bad = model.get("errors")[name] ?? "", off = model.get("off")[name] ?? "";
    const typing = input.getRootNode().activeElement === input, raw = off ? field.without : model.get("raw")[name];
    if (input.type === "checkbox") input.checked = raw === true;
    else if (!(name in waiting) && !(typing && bad)) { if (input.value !== raw) input.value = raw; }
    input.disabled = !!off || gone || model.get("locked");
    input.setAttribute("aria-invalid", !!bad);
    message.textContent = bad || off;
    message.classList.toggle("bad", !!bad);
    if (bad && more.contains(input)) more.open = true;
    box.title = off;
  }

  function draw() {
    Object.keys(boxes).forEach(show);
    title[0].textContent = model.get("title"); title[1].textContent = model.get("subtitle");
    const bad = model.get("wrong_code");
    badCode.textContent = bad;
    if (!bad && !typed) code.replaceChildren(...model.get("code").split("\n").map(line => make("div", { textContent: line })));
    code.setAttribute("aria-invalid", !!bad);
    code.contentEditable = model.get("locked") || gone ? "false" : "plaintext-only";
    facts.replaceChildren(...Object.entries(model.get("facts")).map(([name, value]) =>
      make("span", {}, `${name} `, make("b", { textContent: value }))));
    root.dataset.errors = Object.keys(model.get("errors")).length;
    root.dataset.changes = model.get("changes");
  }

  let typed = false;
  code.addEventListener("input", () => { typed = true; });
  const typedCode = () => code.innerText.replace(/\n\n/g, "\n");
  function readCode() { if (typed) { typed = false; model.send({ t: "code", code: typedCode() }); } }
  code.addEventListener("blur", readCode);
  code.addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); e.stopPropagation(); readCode(); } });

  function tell(name) {                                         // at once when a field is left, a moment later while it is typed in
    clearTimeout(waiting[name]);
    delete waiting[name];
    const { input } = boxes[name];
    model.send({ t: "set", name, raw: input.type === "checkbox" ? input.checked : input.value });
  }

  for (const [name, { input }] of Object.entries(boxes)) {
    input.addEventListener("change", () => tell(name));
    if (input.type !== "checkbox" && input.tagName === "INPUT")
      input.addEventListener("input", () => { clearTimeout(waiting[name]); waiting[name] = setTimeout(() => tell(name), 250); });
  }

  button.onclick = async () => {
    button.textContent = await copy(model.get("code"), root) ? "Copied" : "Select it";
    said.textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1500);
  };

  const end = follow(model, el, draw, lost => { gone = lost; }), again = setTimeout(() => model.send({ t: "hello" }), 1500);
  return () => { clearTimeout(again); Object.values(waiting).forEach(clearTimeout); end(); };
}

export default { render };
