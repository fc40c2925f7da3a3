// A lesson in tiles: step through an overlap-tile prediction. Everything is in the page; the kernel is not asked.

const CSS = `
.segnb-lesson .views { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; margin: 8px 0; }
.segnb-lesson .views figure { margin: 0; min-width: 0; } .segnb-lesson .views figure:first-child { flex: 3 1 320px; } .segnb-lesson .views figure:last-child { flex: 1 1 180px; }
.segnb-lesson canvas { display: block; width: 100%; border-radius: 4px; background: var(--jp-layout-color2, rgba(128,128,128,.12)); }
.segnb-lesson figcaption { color: var(--soft); font-size: .92em; margin-top: 3px; }
.segnb-lesson .said { min-height: 3em; } .segnb-lesson input[type=checkbox] { accent-color: var(--brand); margin: 0 6px 0 0; }
.segnb-lesson label { display: inline-flex; align-items: center; }`;

async function ids(view) {
  const stream = new Blob([new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function render({ model, el }) {
  const [w, h] = model.get("size"), edge = model.get("edge"), tiles = model.get("tiles"), colours = new Uint8Array(model.get("palette").buffer, model.get("palette").byteOffset);
  const root = make("div", { className: "segnb segnb-lesson" }), big = make("canvas", { attr: { role: "img" } }), small = make("canvas", { attr: { role: "img", "aria-label": "What the network sees" } });
  const said = make("p", { className: "said", attr: { role: "status" } }), count = make("span", { className: "soft" }), seen = make("figcaption");
  const go = to => { model.set("at", Math.max(0, Math.min(2 * tiles.length, to))); model.save_changes(); };
  const check = (trait, words) => {
    const box = make("input", { type: "checkbox", onchange: () => { model.set(trait, box.checked); model.save_changes(); } });
    return [box, make("label", {}, box, words)];
  };
  const [pad, padLabel] = check("padded", "with surroundings"), [seams, seamsLabel] = check("seams", "mark what the surroundings change");
  const back = act("Back", () => go(model.get("at") - 1)), next = act("Next", () => go(model.get("at") + 1), { className: "main" });
  const all = act("To the end", () => go(2 * tiles.length)), first = act("From the start", () => go(0));
  el.replaceChildren(make("style", { textContent: LOOK + CSS }), root);
  root.append(make("div", { className: "row" }, first, back, next, all, padLabel, seamsLabel, count),
    make("div", { className: "views" }, make("figure", {}, big), make("figure", {}, small, seen)), said);
  let picture = null, answers = null, gone = false;

  function paint(map, keep, differ) {                           // the classes of an area, as a picture
    const [kx, ky, kw, kh] = keep, target = Object.assign(document.createElement("canvas"), { width: kw, height: kh });
    const data = target.getContext("2d").createImageData(kw, kh);
    for (let y = 0; y < kh; y++) for (let x = 0; x < kw; x++) {
      const i = (ky + y) * w + kx + x, id = map[i], at = 4 * (y * kw + x), other = differ && differ[i] !== id;
      data.data.set(other ? [255, 0, 170, 255] : [colours[3 * id], colours[3 * id + 1], colours[3 * id + 2], 255], at);
    }
    target.getContext("2d").putImageData(data, 0, 0);
    return target;
  }

  function box(pen, [x, y, width, height], k, style, dash = []) {
    for (const [colour, thick] of [["rgba(0,0,0,.65)", 4], [style, 2]]) {
      Object.assign(pen, { strokeStyle: colour, lineWidth: thick });
      pen.setLineDash(dash);
      pen.strokeRect((x + edge) * k, (y + edge) * k, width * k, height * k);
    }
    pen.setLineDash([]);
  }

  function words(at, seeing, tile) {
    if (at === 0) return `An image of ${w} × ${h} pixels, and around it what a tile at the edge sees: the image, mirrored. Press Next.`;
    const [kx, ky, kw, kh, sx, sy, sw, sh] = tile, beyond = sx < 0 || sy < 0 || sx + sw > w || sy + sh > h;
    if (at === 2 * tiles.length) return model.get("differ") + " Switch the surroundings off and on, and look at the borders between tiles.";
    if (seeing) return `Tile ${Math.ceil(at / 2)} of ${tiles.length}: the network sees ${sw} × ${sh} pixels (dashed)` + (beyond ? ", some of them mirrored at the edge." : ".");
    return sw === kw && sh === kh ? `All of its answer is kept, ${kw} × ${kh} pixels, although at its borders the network knew only one side.`
      : `Of its answer the middle is kept, ${kw} × ${kh} pixels: there the network has seen what lies around.`;
  }

  function draw() {
    const at = model.get("at"), padded = model.get("padded"), seeing = at % 2 === 1, done = Math.floor(at / 2), tile = shape(tiles[Math.min(tiles.length - 1, Math.max(0, Math.ceil(at / 2) - 1))], padded);
    pad.checked = padded; seams.checked = model.get("seams");
    back.disabled = first.disabled = at === 0; next.disabled = all.disabled = at === 2 * tiles.length;
    count.textContent = `${done} of ${tiles.length} tiles`;
    said.textContent = words(at, seeing, tile);
    Object.assign(root.dataset, { at, padded });
    if (!picture) return;
    const W = Math.max(200, big.clientWidth), k = W / (w + 2 * edge), dots = window.devicePixelRatio || 1;
    Object.assign(big, { width: Math.round(W * dots), height: Math.round((h + 2 * edge) * k * dots) });
    big.setAttribute("aria-label", said.textContent);
    const pen = big.getContext("2d");
    pen.scale(dots, dots); pen.imageSmoothingEnabled = k < 2;
    pen.globalAlpha = 0.45; pen.drawImage(picture, 0, 0, W, (h + 2 * edge) * k);
    pen.globalAlpha = 1; pen.drawImage(picture, edge, edge, w, h, edge * k, edge * k, w * k, h * k);
    const map = answers[padded ? 0 : 1], other = model.get("seams") ? answers[padded ? 1 : 0] : null;
    pen.globalAlpha = 0.6;
    for (const t of tiles.slice(0, done)) pen.drawImage(paint(map, t, other), (t[0] + edge) * k, (t[1] + edge) * k, t[2] * k, t[3] * k);
    pen.globalAlpha = 1;
    for (const t of tiles) { pen.strokeStyle = "rgba(255,255,255,.55)"; pen.lineWidth = 1; pen.strokeRect((t[0] + edge) * k, (t[1] + edge) * k, t[2] * k, t[3] * k); }
    if (at > 0 && at < 2 * tiles.length) { box(pen, tile.slice(4), k, "#fff", [6, 4]); box(pen, tile.slice(0, 4), k, "#ffd43b"); }
    close(tile, at);
  }

  const shape = (t, padded) => padded ? t : [...t.slice(0, 4), ...t.slice(0, 4)];

  function close([kx, ky, kw, kh, sx, sy, sw, sh], at) {        // the window itself
    Object.assign(small, { width: sw, height: sh });
    const pen = small.getContext("2d");
    pen.drawImage(picture, sx + edge, sy + edge, sw, sh, 0, 0, sw, sh);
    if (at % 2 === 0 && at > 0) { pen.fillStyle = "rgba(0,0,0,.55)"; pen.beginPath(); pen.rect(0, 0, sw, sh); pen.rect(kx - sx, ky - sy, kw, kh); pen.fill("evenodd"); }
    seen.textContent = at % 2 === 0 && at > 0 ? "What is kept of the answer" : "What the network sees";
  }

  async function load() {
    const view = model.get("image"), blob = new Blob([new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]);
    const [image, ...maps] = await Promise.all([createImageBitmap(blob), ids(model.get("with_pad")), ids(model.get("without_pad"))]);
    if (gone) return;
    [picture, answers] = [image, maps];
    root.dataset.ready = "yes";
    draw();
  }

  const release = keepKeys(el), sizes = new ResizeObserver(draw);
  sizes.observe(root);
  model.on("change", draw);
  model.send({ t: "hello" });
  draw(); load();
  return () => { gone = true; sizes.disconnect(); release(); model.off("change", draw); };
}

export default { render };
