// The viewer: an image with its label map over it, coloured here in the page from a palette.
// Opacity, classes, grid, pan and zoom therefore never wait for the kernel.

const CSS = `
.segnb-viewer { --ink: var(--jp-content-font-color1, currentColor); --soft: var(--jp-content-font-color2, currentColor);
  --line: var(--jp-border-color1, #bdbdbd); --brand: var(--jp-brand-color1, #1976d2);
  font: var(--jp-ui-font-size1, 13px)/1.45 var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink); padding: 6px 2px;
  min-width: 0; }
.segnb-viewer .tools { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; margin-bottom: 8px; }
.segnb-viewer .tools > div { display: flex; gap: 6px; align-items: center; }
.segnb-viewer button { font: inherit; min-width: 34px; height: 30px; padding: 0 10px; border-radius: 4px; cursor: pointer;
  color: var(--ink); background: var(--jp-layout-color1, transparent); border: 1px solid var(--line); }
.segnb-viewer button:hover { border-color: var(--brand); }
.segnb-viewer button[aria-pressed=true] { border-color: var(--brand); box-shadow: inset 0 0 0 1px var(--brand);
  background: color-mix(in srgb, var(--brand) 14%, transparent); }
.segnb-viewer :is(button, input, canvas):focus-visible { outline: 2px solid var(--brand); outline-offset: 1px; }
.segnb-viewer input[type=range] { width: 130px; height: 20px; margin: 0; accent-color: var(--brand); }
.segnb-viewer output { min-width: 3.2em; color: var(--soft); font-variant-numeric: tabular-nums; }
.segnb-viewer canvas { display: block; width: 100%; border-radius: 4px; cursor: crosshair; touch-action: none;
  background: var(--jp-layout-color2, rgba(128,128,128,.12)); }
.segnb-viewer canvas.moving { cursor: grabbing; }
.segnb-viewer .below { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; margin-top: 5px; min-height: 1.5em;
  color: var(--soft); font-variant-numeric: tabular-nums; }
.segnb-viewer .below b { color: var(--ink); font-weight: 600; }
.segnb-viewer .legend { display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 6px 0 0; padding: 0; list-style: none; max-height: 9.5em;
  overflow: auto; }
.segnb-viewer .legend li { margin: 0; }
.segnb-viewer .legend label { display: inline-flex; align-items: center; gap: 7px; white-space: nowrap; }
.segnb-viewer .legend input { margin: 0; accent-color: var(--brand); }
.segnb-viewer .legend i { width: 14px; height: 14px; border-radius: 3px; box-shadow: inset 0 0 0 1px rgba(0,0,0,.25); }
.segnb-viewer .legend small { color: var(--soft); font-size: .92em; }
.segnb-viewer .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }`;

const HELP = "Drag to move, Ctrl + wheel to zoom. With the focus here: wheel, arrow keys, + and −, 0 to fit, G for tiles, [ and ] for opacity";
const HTML = `<style>${CSS}</style>
<div class="segnb-viewer">
  <div class="tools" role="group" aria-label="View">
    <div><button type="button" class="out" aria-label="Zoom out">−</button>
      <button type="button" class="in" aria-label="Zoom in">+</button>
      <button type="button" class="fit">Fit</button></div>
    <div><button type="button" class="grid" aria-pressed="false">Tiles</button></div>
    <div><label class="for-opacity">Opacity</label><input type="range" min="0" max="100" step="1" class="opacity"><output></output></div>
    <div><label class="for-swipe">Swipe</label><input type="range" min="0" max="100" step="1" class="swipe"></div>
  </div>
  <canvas tabindex="0" role="img" title="${HELP}"></canvas>
  <div class="below"><span class="under"></span><span class="size"></span></div>
  <ul class="legend" aria-label="Classes"></ul>
  <div class="unseen" aria-live="polite"></div>
</div>`;

const bytes = view => new Blob([new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]);

async function inflate(view, wide) {
  const whole = await new Response(bytes(view).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  return wide ? new Uint16Array(whole) : new Uint8Array(whole);
}

const LEAST = 1 / 256;                                           // of the swipe; below, nothing is shown

let viewers = 0;                                                // so that two viewers never share an id

function render({ model, el }) {
  el.innerHTML = HTML;
  const find = name => el.querySelector(name), root = find(".segnb-viewer"), canvas = find("canvas"), pen = canvas.getContext("2d");
  const paint = document.createElement("canvas"), live = find("[aria-live]"), slider = find(".opacity"), wiper = find(".swipe");
  const rgb256 = () => new Uint8Array(model.get("palette").buffer, model.get("palette").byteOffset);
  let colours = rgb256();
  const none = () => model.get("wide") ? 65535 : 255;
  let classes = model.get("classes"), byId = new Map(classes.map(c => [c.id, c])), table = null, version = 0;
  const view = { scale: 1, x: 0, y: 0, touched: false }, hidden = new Set(model.get("hidden"));
  let [h, w] = model.get("shape"), picture = null, labels = null, stale = true, pointer = null, frame = 0, gone = false;

  slider.id = `segnb-opacity-${++viewers}`;
  find(".for-opacity").htmlFor = slider.id;
  wiper.id = `segnb-swipe-${viewers}`;
  find(".for-swipe").htmlFor = wiper.id;
  slider.value = Math.round(100 * model.get("opacity"));
  wiper.value = Math.round(100 * model.get("swipe"));

  // ---- geometry: overview pixels (x, y) are at scale * x + view.x on the canvas, in CSS pixels
  const size = () => [canvas.clientWidth, canvas.clientHeight];
  const step = () => model.get("step");

  function fit() {
    const [W, H] = size();
    const over = model.get("grid") ? model.get("tiles").reduce((most, tile) => Math.max(most, -tile[4], -tile[5]), 0) / step() : 0;
    const edge = Math.min(over, w / 10, h / 10);                // with tiles shown, leave room for what they see outside of the image
    view.scale = Math.min((W - 16) / (w + 2 * edge), (H - 16) / (h + 2 * edge));
    [view.x, view.y] = [(W - w * view.scale) / 2, (H - h * view.scale) / 2];
  }

  function zoom(by, x, y) {
    const [W, H] = size(), to = Math.min(40 * step(), Math.max(0.5 * Math.min(W / w, H / h), view.scale * by)), k = to / view.scale;
    [x, y] = [x ?? W / 2, y ?? H / 2];
    Object.assign(view, { scale: to, x: x - (x - view.x) * k, y: y - (y - view.y) * k, touched: true });
    later();
  }

  function move(dx, dy) {
    Object.assign(view, { x: view.x + dx, y: view.y + dy, touched: true });
    later();
  }

  // ---- colours
  function newTable() {
    table = new Uint32Array(65536);
    for (let id = 0; id < 65536; id++) {
      const c = byId.get(id)?.colour ?? [0, 1, 2].map(k => colours[3 * (id & 255) + k]);
      table[id] = hidden.has(id) || (id === none() && !byId.has(id)) ? 0 : (255 << 24 | c[2] << 16 | c[1] << 8 | c[0]) >>> 0;
    }
    version++;
  }

  function colour(ids, width, height, target) {                 // class ids as a picture
    Object.assign(target, { width, height });
    const data = target.getContext("2d").createImageData(width, height), pixels = new Uint32Array(data.data.buffer);
    for (let i = 0; i < ids.length; i++) pixels[i] = table[ids[i]];
    target.getContext("2d").putImageData(data, 0, 0);
    return target;
  }

  function recolour() {
    newTable();
    colour(labels, w, h, paint);
    stale = false;
  }

  // ---- the pyramid: tiles of 256 pixels at scale 1:1, 1:2, 1:4 …, asked for where the overview is too coarse
  const cache = new Map();                                      // "level,column,row" -> { picture, ids, shape, ink, version }, oldest first
  let asked = new Set();                                        // what is on its way
  const side = model.get("side");

  function level() {                                            // image pixels in one of the finest tile's that still looks sharp
    const dots = window.devicePixelRatio || 1, want = step() / (view.scale * dots);
    return 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, want) * 1.01)));
  }

  function visible(s) {                                         // keys of the tiles of a level that are in sight, the middle ones first
    const [W, H] = size(), k = view.scale / step(), [fh, fw] = model.get("full"), far = side * s, keys = [];
    const x0 = Math.max(0, Math.floor(-view.x / k / far)), x1 = Math.min(Math.ceil(fw / far) - 1, Math.floor((W - view.x) / k / far));
    const y0 = Math.max(0, Math.floor(-view.y / k / far)), y1 = Math.min(Math.ceil(fh / far) - 1, Math.floor((H - view.y) / k / far));
    for (let row = y0; row <= y1; row++) for (let column = x0; column <= x1; column++) keys.push([s, column, row]);
    return keys.sort((a, b) => Math.hypot(a[1] - (x0 + x1) / 2, a[2] - (y0 + y1) / 2) - Math.hypot(b[1] - (x0 + x1) / 2, b[2] - (y0 + y1) / 2)).slice(0, 80);
  }

  function wish(keys) {                                         // ask for what is missing; what was asked for and is out of sight is forgotten
    const want = keys.filter(key => !cache.has(key.join()));
    root.dataset.missing = want.length;
    if (want.every(key => asked.has(key.join()))) return;
    asked = new Set(want.map(key => key.join()));
    model.send({ t: "tiles", want });
  }

  async function keep(message, buffers) {
    await Promise.all(message.keys.map(async (key, i) => {
      const [picture, ids] = await Promise.all([createImageBitmap(bytes(buffers[2 * i])), inflate(buffers[2 * i + 1], model.get("wide"))]);
      asked.delete(key.join());
      cache.delete(key.join());
      cache.set(key.join(), { picture, ids, shape: message.shapes[i], version: -1 });
      if (cache.size > 300) cache.delete(cache.keys().next().value);
    }));
    root.dataset.tiles = cache.size;
    later();
  }

  function drawTile(key, what) {
    const tile = cache.get(key.join());
    if (!tile) return;
    const [s, column, row] = key, k = view.scale / step() * s, [th, tw] = tile.shape;
    if (what === "ink" && tile.version !== version) {
      tile.ink = colour(tile.ids, tw, th, tile.ink ?? document.createElement("canvas"));
      tile.version = version;
    }
    const left = Math.round(view.x + column * side * k), top = Math.round(view.y + row * side * k);
    const right = Math.round(view.x + (column * side + tw) * k), low = Math.round(view.y + (row * side + th) * k);
    pen.drawImage(tile[what], left, top, right - left, low - top);
  }

  async function painted(message, buffers) {                    // some tiles of a prediction in progress
    const parts = await Promise.all(buffers.map(b => inflate(b, model.get("wide"))));
    parts.forEach((ids, i) => {
      const [x, y, bw, bh] = message.boxes[i];
      for (let r = 0; r < bh; r++) labels.set(ids.subarray(r * bw, (r + 1) * bw), (y + r) * w + x);
      const [ax, ay, aw, ah] = message.areas[i];
      for (const name of [...cache.keys()]) {
        const [s, column, row] = name.split(",").map(Number), far = side * s;
        if (column * far < ax + aw && (column + 1) * far > ax && row * far < ay + ah && (row + 1) * far > ay) cache.delete(name);
      }
    });
    active = message.areas[message.areas.length - 1];
    stale = true;
    asked.clear();
    later();
  }

  const hear = (message, buffers) => { if (message.t === "tiles") keep(message, buffers); if (message.t === "paint" && labels) painted(message, buffers); };
  let active = null;

  // ---- what lies under a point
  function under(point) {
    const x = Math.floor((point[0] - view.x) / view.scale), y = Math.floor((point[1] - view.y) / view.scale);
    if (!labels || x < 0 || y < 0 || x >= w || y >= h) return null;
    const exact = [(point[0] - view.x) / view.scale * step(), (point[1] - view.y) / view.scale * step()].map(Math.floor);
    const fine = [1, 2, 4, 8, 16, 32].find(s => cache.has([s, ...exact.map(v => Math.floor(v / side / s))].join()));
    const at = fine ? exact : [Math.floor((x + .5) * step()), Math.floor((y + .5) * step())];
    const tileHere = fine && cache.get([fine, ...exact.map(v => Math.floor(v / side / fine))].join());
    const inside = fine && exact.map(v => Math.floor(v / fine) % side);
    const id = (tileHere && tileHere.ids[inside[1] * tileHere.shape[1] + inside[0]]) ?? labels[y * w + x];
    const tile = model.get("tiles").find(([kx, ky, kw, kh]) => at[0] >= kx && at[0] < kx + kw && at[1] >= ky && at[1] < ky + kh);
    return { name: byId.get(id)?.name ?? (id === none() ? "nothing yet" : `class ${id}`), at, tile };
  }

  function box([x, y, width, height], style, thick, dash = []) {
    const k = view.scale / step();
    Object.assign(pen, { strokeStyle: style, lineWidth: thick });
    pen.setLineDash(dash);
    const [left, right] = [x, x + width].map(v => Math.round(view.x + v * k)), [top, bottom] = [y, y + height].map(v => Math.round(view.y + v * k));
    pen.strokeRect(left, top, right - left, bottom - top);
  }

  function tiles(here) {
    for (const tile of model.get("tiles")) {
      box(tile.slice(0, 4), "rgba(0,0,0,.35)", 2);
      box(tile.slice(0, 4), "rgba(255,255,255,.85)", 1);
    }
    if (active && model.get("painted") < model.get("tiles").length) { box(active, "rgba(0,0,0,.6)", 5); box(active, "#ffd43b", 2.5); }
    if (!here?.tile) return;
    box(here.tile.slice(4), "rgba(0,0,0,.55)", 3); box(here.tile.slice(4), "#fff", 1.5, [6, 4]);
    box(here.tile.slice(0, 4), "rgba(0,0,0,.6)", 4); box(here.tile.slice(0, 4), "#fff", 2);
  }

  function cross([x, y]) {
    for (const [style, thick] of [["rgba(0,0,0,.7)", 4], ["#fff", 1.5]]) {
      Object.assign(pen, { strokeStyle: style, lineWidth: thick });
      pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(x - 9, y); pen.lineTo(x + 9, y); pen.moveTo(x, y - 9); pen.lineTo(x, y + 9); pen.stroke();
    }
  }

  function words(here) {
    find(".under").innerHTML = here ? `<b></b> · x ${here.at[0]}, y ${here.at[1]}` : "Point at the image to name a class";
    if (here) find(".under b").textContent = here.name;
    const [fh, fw] = model.get("full"), done = model.get("painted"), all = model.get("tiles").length;
    const reduced = done >= 0 && done < all ? ` · ${done} of ${all} tiles` : "";
    find(".size").textContent = `${fw} × ${fh} pixels${reduced} · zoom ${Math.round(100 * view.scale / step())} %`;
    canvas.setAttribute("aria-label", `${model.get("label")}, ${fw} by ${fh} pixels, ${classes.length} classes, opacity ${slider.value} %`);
  }

  // ---- drawing, at most once in a frame
  function draw() {
    frame = 0;
    const [W, H] = size(), dots = window.devicePixelRatio || 1, begin = performance.now();
    if (!picture || !labels || W < 20) return;
    if (stale) recolour();
    if (!view.touched) fit();
    const [width, height] = [W, H].map(v => Math.round(v * dots));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, W, H);
    pen.imageSmoothingEnabled = view.scale < 2;
    const s = level(), deep = s < step() ? visible(s) : [], cut = Number(wiper.value) / 100;
    const [fh, fw] = model.get("full"), wide = fw / step() * view.scale, high = fh / step() * view.scale;
    wish(deep);
    pen.drawImage(picture, view.x, view.y, wide, high);
    deep.forEach(key => drawTile(key, "picture"));
    pen.save();
    pen.beginPath(); pen.rect(0, 0, W * cut, H); pen.clip();
    pen.globalAlpha = slider.value / 100;
    if (cut > LEAST) {
      if (!deep.length) pen.drawImage(paint, view.x, view.y, wide, high);
      else { whole(deep); deep.forEach(key => drawTile(key, "ink")); }
    }
    pen.restore();
    if (cut < 1 && cut > LEAST) { pen.fillStyle = "rgba(0,0,0,.6)"; pen.fillRect(W * cut - 2, 0, 4, H); pen.fillStyle = "#fff"; pen.fillRect(W * cut - 1, 0, 2, H); }
    const keys = !pointer && canvas.matches(":focus-visible");
    const point = pointer ?? (keys ? [W / 2, H / 2] : null), here = point && under(point);
    if (model.get("grid")) tiles(here);
    if (keys) cross(point);
    words(here);
    if (keys && live.textContent !== (here?.name ?? "")) live.textContent = here?.name ?? "";
    root.dataset.drawn = 1 + Number(root.dataset.drawn ?? 0);
    root.dataset.ms = (performance.now() - begin).toFixed(1);
    Object.assign(root.dataset, { level: s < step() ? s : "", painted: model.get("painted"), zoom: view.scale / step(), under: here?.name ?? "", tile: here?.tile ? "yes" : "" });
  }

  function whole(deep) {                                        // the coarse classes, but not where finer ones lie
    pen.save();
    pen.beginPath(); pen.rect(-1e6, -1e6, 2e6, 2e6);
    for (const key of deep) {
      const tile = cache.get(key.join()), [s, column, row] = key, k = view.scale / step() * s;
      if (!tile) continue;
      const left = Math.round(view.x + column * side * k), top = Math.round(view.y + row * side * k);
      pen.rect(left, top, Math.round(view.x + (column * side + tile.shape[1]) * k) - left, Math.round(view.y + (row * side + tile.shape[0]) * k) - top);
    }
    pen.clip("evenodd");
    const [fh, fw] = model.get("full");
    pen.drawImage(paint, view.x, view.y, fw / step() * view.scale, fh / step() * view.scale);
    pen.restore();
  }

  const later = () => { frame ||= requestAnimationFrame(draw); };

  function layout() {                                           // as tall as the image wants, within reason
    const W = canvas.clientWidth;
    if (W < 20) return;
    canvas.style.height = `${Math.round(Math.max(160, Math.min(560, (W - 16) * h / w + 16)))}px`;
    later();
  }

  async function look() {                                       // the same image, better known; the labels stay as they were painted
    const image = await createImageBitmap(bytes(model.get("image")));
    if (gone || !picture) return;
    picture = image;
    root.dataset.looks = 1 + Number(root.dataset.looks ?? 0);
    later();
  }

  async function load() {
    const [image, map] = await Promise.all([createImageBitmap(bytes(model.get("image"))), inflate(model.get("labels"), model.get("wide"))]);
    if (gone) return;
    [picture, labels, stale] = [image, map, true];
    root.dataset.ready = "yes";
    asked.clear();
    layout();
  }

  // ---- controls
  function setOpacity(value, done) {
    slider.value = value;
    find("output").textContent = `${slider.value} %`;
    if (done && model.get("opacity") !== slider.value / 100) { model.set("opacity", slider.value / 100); model.save_changes(); }
    later();
  }

  function setSwipe(value, done) {
    wiper.value = value;
    if (done && model.get("swipe") !== wiper.value / 100) { model.set("swipe", wiper.value / 100); model.save_changes(); }
    later();
  }

  function setGrid(on) {
    model.set("grid", on);
    model.save_changes();
  }

  function showGrid() {
    find(".grid").setAttribute("aria-pressed", model.get("grid"));
    find(".grid").parentElement.hidden = !model.get("tiles").length;
    later();
  }

  function setHidden(id, off) {
    off ? hidden.add(id) : hidden.delete(id);
    model.set("hidden", [...hidden].sort((a, b) => a - b));
    model.save_changes();
  }

  function showHidden() {
    hidden.clear();
    model.get("hidden").forEach(id => hidden.add(id));
    el.querySelectorAll(".legend input").forEach(input => { input.checked = !hidden.has(Number(input.value)); });
    stale = true;
    later();
  }

  function newClasses() {
    classes = model.get("classes");
    byId = new Map(classes.map(c => [c.id, c]));
    colours = rgb256();
    legend(); showHidden();
  }

  function legend() {
    find(".legend").replaceChildren();
    for (const c of classes) {
      const item = document.createElement("li");
      item.innerHTML = `<label><input type="checkbox" value="${c.id}"><i></i><span></span><small>${c.share}</small></label>`;
      item.querySelector("i").style.background = `rgb(${c.colour})`;
      item.querySelector("span").textContent = c.name;
      item.querySelector("input").onchange = e => setHidden(c.id, !e.target.checked);
      find(".legend").append(item);
    }
  }

  const spot = e => { const edge = canvas.getBoundingClientRect(); return [e.clientX - edge.left, e.clientY - edge.top]; };
  let held = null;
  canvas.onpointerdown = e => { held = spot(e); canvas.setPointerCapture(e.pointerId); };
  canvas.onpointerup = canvas.onpointercancel = () => { held = null; canvas.classList.remove("moving"); };
  canvas.onpointermove = e => {
    pointer = spot(e);
    if (held) { canvas.classList.add("moving"); move(pointer[0] - held[0], pointer[1] - held[1]); held = pointer; }
    later();
  };
  canvas.onpointerleave = () => { pointer = null; later(); };
  canvas.onfocus = canvas.onblur = later;
  const wheel = e => {
    if (!e.ctrlKey && document.activeElement !== canvas) return;  // the page still scrolls
    e.preventDefault();
    zoom(Math.exp(-Math.sign(e.deltaY) * Math.min(60, Math.abs(e.deltaY)) / 300), ...spot(e));
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
  const keys = { ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(.8), "0": () => refit(), g: () => setGrid(!model.get("grid")),
    "[": () => setOpacity(Number(slider.value) - 5, true), "]": () => setOpacity(Number(slider.value) + 5, true) };
  canvas.onkeydown = e => {
    const act = !(e.ctrlKey || e.metaKey || e.altKey) && (keys[e.key] ?? keys[e.key.toLowerCase()]);
    if (act) { e.preventDefault(); pointer = null; act(); }
  };
  const refit = () => { view.touched = false; later(); };
  find(".out").onclick = () => zoom(.8); find(".in").onclick = () => zoom(1.25); find(".fit").onclick = refit;
  find(".grid").onclick = () => setGrid(!model.get("grid"));
  slider.oninput = () => setOpacity(slider.value, false);
  slider.onchange = () => setOpacity(slider.value, true);
  wiper.oninput = () => setSwipe(wiper.value, false);
  wiper.onchange = () => setSwipe(wiper.value, true);

  const release = keepKeys(el), sizes = new ResizeObserver(layout);
  const newOpacity = () => setOpacity(Math.round(100 * model.get("opacity")), false);
  sizes.observe(root);
  const newSwipe = () => setSwipe(Math.round(100 * model.get("swipe")), false), traits = { "change:opacity": newOpacity, "change:grid": showGrid,
    "change:hidden": showHidden, "change:swipe": newSwipe, "change:classes": newClasses, "change:tiles": showGrid, "change:painted": later,
    "change:labels": load, "change:image": look, "msg:custom": hear };
  for (const [name, act] of Object.entries(traits)) model.on(name, act);
  legend(); showHidden(); showGrid(); newOpacity(); layout(); load();
  return () => { gone = true; cancelAnimationFrame(frame); sizes.disconnect(); release(); canvas.removeEventListener("wheel", wheel);
                 for (const [name, act] of Object.entries(traits)) model.off(name, act); };
}

export default { render };
