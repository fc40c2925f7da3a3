// Pictures side by side, each with a line of words; one of them may be picked.

const CSS = `
.segnb-pictures .strip { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(min(var(--wide), 100%), 1fr)); margin: 6px 0; }
.segnb-pictures figure { margin: 0; min-width: 0; }
.segnb-pictures figure img { width: 100%; image-rendering: auto; }
.segnb-pictures figcaption { color: var(--soft); font-size: .92em; overflow-wrap: anywhere; margin-top: 3px; }
.segnb-pictures button.pick { all: unset; cursor: pointer; display: block; border-radius: 4px; width: 100%; }
.segnb-pictures button.pick[aria-pressed=true] { box-shadow: 0 0 0 3px var(--brand); }
.segnb-pictures button.pick:focus-visible { outline: 2px solid var(--brand); outline-offset: 2px; }`;

function render({ model, el }) {
  const root = make("div", { className: "segnb segnb-pictures" }), strip = make("div", { className: "strip" }), actions = make("div", { className: "row" });
  const title = make("h3"), note = make("p", { className: "soft", role: "status" }), error = make("div", { className: "error", role: "alert" });
  let urls = [], shown = null, gone = false;
  el.replaceChildren(make("style", { textContent: LOOK + CSS }), root);
  root.append(title, note, strip, actions, error);
  const pick = i => { model.set("picked", i); model.save_changes(); model.send({ t: "pick", index: i }); };

  function figure(p, i) {
    const image = make("img", { src: urls[i], alt: p.name });
    const frame = model.get("can_pick") ? make("button", { type: "button", className: "pick", onclick: () => pick(i), attr: { "aria-label": p.name } }, image) : image;
    return make("figure", {}, frame, make("figcaption", { textContent: p.name }));
  }

  function draw() {
    const pictures = model.get("pictures");
    title.textContent = model.get("title"); title.hidden = !model.get("title");
    note.textContent = model.get("note"); note.hidden = !model.get("note");
    error.textContent = model.get("error"); error.hidden = !model.get("error");
    root.style.setProperty("--wide", `${model.get("wide")}px`);
    if (pictures !== shown) {
      const old = urls;
      urls = pictures.map(p => pictureUrl(p.image));
      strip.replaceChildren(...pictures.map(figure));
      old.forEach(url => URL.revokeObjectURL(url));
      shown = pictures;
      root.dataset.version = 1 + Number(root.dataset.version ?? 0);
    }
    strip.querySelectorAll("button.pick").forEach((b, i) => b.setAttribute("aria-pressed", i === model.get("picked")));
    actions.replaceChildren(...model.get("actions").map(a => act(a.name, () => model.send({ t: a.t }), { disabled: !!a.off || gone || model.get("busy"), title: a.off ?? "" })));
    actions.hidden = !model.get("actions").length;
    root.hidden = !pictures.length && model.get("quiet");
    Object.assign(root.dataset, { pictures: pictures.length, busy: model.get("busy") });
  }

  const end = follow(model, el, draw, lost => { gone = lost; });
  return () => { urls.forEach(url => URL.revokeObjectURL(url)); end(); };
}

export default { render };
