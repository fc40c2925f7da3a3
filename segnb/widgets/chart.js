// The live chart: rows of numbers, x first, drawn as SVG for the width there is.
// Rows come as float32 bytes; a NaN is a gap. Each message says which row it starts at, so that nothing is lost or doubled.

const CSS = `
.segnb-chart { --ink: var(--jp-content-font-color1, currentColor); --soft: var(--jp-content-font-color2, currentColor);
  --first: color-mix(in srgb, #d9480f 78%, var(--ink)); --second: color-mix(in srgb, #1c6dd0 72%, var(--ink));
  font: var(--jp-ui-font-size1, 13px)/1.45 var(--jp-ui-font-family, system-ui, sans-serif); color: var(--ink); padding: 4px 2px;
  min-width: 0; }
.segnb-chart .legend { display: flex; flex-wrap: wrap; gap: 2px 20px; align-items: center; padding: 0 4px; min-height: 1.6em; }
.segnb-chart .legend span { display: inline-flex; align-items: center; gap: 7px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.segnb-chart .legend b { font-weight: 600; min-width: 3.6em; }
.segnb-chart .legend .where { margin-left: auto; color: var(--soft); }
.segnb-chart .head { display: flex; gap: 12px; align-items: flex-start; } .segnb-chart .legend { flex: 1; }
.segnb-chart .log { font: inherit; font-size: .92em; color: var(--soft); background: none; border: 1px solid currentColor; border-radius: 4px; padding: 0 7px; cursor: pointer; }
.segnb-chart .log[aria-pressed=true] { color: var(--jp-brand-color1, #1976d2); font-weight: 600; }
.segnb-chart .log:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; } .segnb-chart .log[hidden] { display: none; }
.segnb-chart .plot { outline: none; border-radius: 4px; touch-action: pan-y; }
.segnb-chart .plot:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: -1px; }
.segnb-chart svg { display: block; width: 100%; }
.segnb-chart text { fill: var(--soft); font-size: 11.5px; font-family: inherit; font-variant-numeric: tabular-nums; }
.segnb-chart .grid { stroke: var(--ink); stroke-opacity: .12; }
.segnb-chart .axis { stroke: var(--ink); stroke-opacity: .35; }
.segnb-chart .cross { stroke: var(--soft); stroke-dasharray: 2 3; }
.segnb-chart path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.segnb-chart .s0 { stroke: var(--first); } .segnb-chart .s1 { stroke: var(--second); }
.segnb-chart .f0 { fill: var(--first); } .segnb-chart .f1 { fill: var(--second); }
.segnb-chart .raw { stroke-width: 1; stroke-opacity: .4; } .segnb-chart .line { stroke-width: 2; }
.segnb-chart .line.s1 { stroke-dasharray: 6 3; }
.segnb-chart .ghost { stroke: var(--ink); stroke-opacity: .38; stroke-width: 1.3; } .segnb-chart .ghost.g1 { stroke-dasharray: 4 3; }
.segnb-chart .legend .run { color: var(--soft); font-size: .92em; white-space: normal; } .segnb-chart .legend .run i { font-style: normal; font-weight: 600; }
.segnb-fold summary { cursor: pointer; color: var(--soft); width: fit-content; }
.segnb-chart .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }`;

const HTML = `<style>${CSS}</style>
<div class="segnb-chart">
  <div class="head"><div class="legend"></div><button class="log" type="button" title="Equal factors take equal heights, so a loss that is already small is seen to fall">log</button></div>
  <div class="plot" tabindex="0" role="img"></div>
  <div class="unseen" aria-live="polite"></div>
</div>`;

const escape = text => String(text).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const plain = v => Math.abs(v) < 1000 && (v === 0 || Math.abs(v) >= 0.001);
const short = v => Number.isFinite(v) ? (plain(v) ? v.toPrecision(3) : v.toExponential(2)) : "–";

function floats(view) {                                         // a copy, since a view's offset need not be a multiple of 4
  return view?.byteLength ? new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)) : new Float32Array(0);
}

function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 2.5, 5, 10].find(m => power * m >= rough * 0.999);
}

function labels(low, step, count) {                             // [value, text] of `count` steps up from `low`
  const digits = [0, 1, 2, 3, 4, 5, 6, 7, 8].find(d => Math.abs(step - step.toFixed(d)) < step * 1e-6) ?? 9;
  return Array.from({ length: count + 1 }, (_, i) => [low + i * step, (low + i * step).toFixed(digits)]);
}

function scale(low, high) {                                     // four or five steps around low…high, whichever wastes less
  const tries = [4, 5].map(n => {
    let step = nice((high - low) / n);
    while (Math.floor(low / step + 1e-9) * step + n * step < high - step * 1e-9) step = nice(step * 1.01);
    return labels(Math.floor(low / step + 1e-9) * step, step, n);
  });
  return tries.sort((a, b) => (a[a.length - 1][0] - a[0][0]) - (b[b.length - 1][0] - b[0][0]))[0];
}

function decades(low, high) {                                   // 1, 2 and 5 of each power of ten around low…high; powers alone where there are many
  const marks = [], digits = v => Number(v.toPrecision(1)), powers = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1];
  for (let p = powers[0]; p <= powers[1]; p++) for (const m of [1, 2, 5]) marks.push(digits(m * 10 ** p));
  const from = marks.findLastIndex(v => v <= low), to = Math.max(from + 1, marks.findIndex(v => v >= high)), inside = marks.slice(from, to + 1);
  const shown = inside.length > 7 ? inside.filter(v => v.toExponential().startsWith("1e")) : inside;
  return { low: inside[0], top: inside[inside.length - 1], marks: shown.map(v => [v, plain(v) ? String(v) : v.toExponential(0)]) };
}

function series(rows, width, column) {                          // the points of one column that are numbers
  const points = [];
  for (let i = 0; i < rows.length; i += width) if (!Number.isNaN(rows[i + column])) points.push([rows[i], rows[i + column]]);
  return points;
}

function smooth(points) {                                       // mean over a fiftieth of the curve to either side
  const half = Math.max(2, Math.round(points.length / 50)), sums = [0];
  for (const [, y] of points) sums.push(sums[sums.length - 1] + y);
  return points.map(([x], i) => {
    const from = Math.max(0, i - half), to = Math.min(points.length, i + half + 1);
    return [x, (sums[to] - sums[from]) / (to - from)];
  });
}

function thin(points, most) {
  if (points.length <= most) return points;
  const size = points.length / most;
  return Array.from({ length: most }, (_, i) => {
    const part = points.slice(Math.floor(i * size), Math.floor((i + 1) * size));
    return [part[part.length - 1][0], part.reduce((s, p) => s + p[1], 0) / part.length];
  });
}

function span(points) {
  const ys = points.map(p => p[1]).filter(Number.isFinite);
  if (!ys.length) return [0, 1];
  let low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b));
  if (low >= 0 && low < 0.6 * high) low = 0;
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

const DASHES = ["", "6 3", "2 3", "9 3 2 3"];

// How a series looks: its own colour where one is given, otherwise one of the chart's two; dashes tell lines apart without colours.
function look(i, colours) {
  if (!colours.length) return { line: `class="line s${i}"`, dot: `class="f${i}"` };
  const colour = `color-mix(in srgb, rgb(${colours[i % colours.length]}) 78%, var(--ink))`;
  return { line: `class="line" style="stroke:${colour};stroke-dasharray:${DASHES[i % 4]}"`, dot: `style="fill:${colour}"` };
}

// The axes: the left one for the first `left` series, shares from 0 to 1 at the right for the others, or at the left if they are alone.
function axes(lines, ghosts, names, left, log, box, W, H, most, xName) {
  const values = [...lines.slice(0, left).flat(), ...ghosts.flatMap(g => g.lines.slice(0, left).flat())];
  const even = () => { const marks = left ? scale(...span(values)) : labels(0, 0.25, 4); return { marks, low: marks[0][0], top: marks[marks.length - 1][0] }; };
  const far = values.map(p => p[1]).filter(v => v > 0 && v < Infinity), powers = log && left > 0 && far.length > 0;
  const least = far.reduce((a, b) => Math.min(a, b), Infinity), largest = far.reduce((a, b) => Math.max(a, b), 0);
  const { marks, low, top } = powers ? decades(least, largest) : even(), steps = marks.length - 1, out = [];
  const f = powers ? v => Math.log(Math.max(v, low)) : v => v;
  const x = v => box.l + (box.r - box.l) * v / most, up = part => box.b - (box.b - box.t) * part;
  const y = i => i < left ? v => up((f(v) - f(low)) / (f(top) - f(low))) : up;
  for (const [v, text] of marks) {
    const at = y(left ? 0 : 1)(v);
    if (v > low) out.push(`<line class="grid" x1="${box.l}" x2="${box.r}" y1="${at}" y2="${at}"/>`);
    out.push(`<text x="${box.l - 8}" y="${at + 4}" text-anchor="end">${text}</text>`);
  }
  const right = left && names.length > left ? (powers ? labels(0, 0.25, 4) : labels(0, 1 / steps, steps)) : [];
  for (const [v, text] of right) out.push(`<text x="${box.r + 8}" y="${up(v) + 4}">${text}</text>`);
  const every = Math.max(1, nice(most / Math.min(8, W / 90)));
  for (let v = 0; v <= most; v += Math.ceil(every)) {
    out.push(`<line class="axis" x1="${x(v)}" x2="${x(v)}" y1="${box.b}" y2="${box.b + 4}"/>`);
    out.push(`<text x="${x(v)}" y="${box.b + 17}" text-anchor="middle">${v}</text>`);
  }
  out.push(`<line class="axis" x1="${box.l}" x2="${box.r}" y1="${box.b}" y2="${box.b}"/>`);
  out.push(`<text x="${(box.l + box.r) / 2}" y="${H - 4}" text-anchor="middle">${escape(xName)}</text>`);
  return { out, x, y };
}

// The whole picture as SVG text; `at` is the row under the crosshair, or -1; `others` are the rows of earlier runs.
function picture(rows, { names, left, log, colours, others, xName }, W, at) {
  const width = names.length + 1, H = W < 480 ? 190 : 240, box = { l: 50, r: W - 50, t: 10, b: H - 36 };
  const lines = names.map((_, i) => series(rows, width, i + 1)), last = rows.length ? rows[rows.length - width] : 1;
  const ghosts = others.map(o => ({ lines: names.map((_, i) => series(o, width, i + 1)), last: o.length ? o[o.length - width] : 1 }));
  const most = Math.max(last, 2, ...ghosts.map(g => g.last)), { out, x, y } = axes(lines, ghosts, names, left, log, box, W, H, most, xName);
  const path = (points, i) => points.map(([a, b], k) => `${k ? "L" : "M"}${x(a).toFixed(1)},${y(i)(b).toFixed(1)}`).join("");
  const fine = Math.max(100, Math.round(W));
  ghosts.forEach((g, n) => names.forEach((_, i) => {
    const points = thin(g.lines[i].length > 12 && i < left ? smooth(g.lines[i]) : g.lines[i], fine), end = points[points.length - 1];
    if (!end) return;
    out.push(`<path class="ghost g${i}" d="${path(points, i)}"/>`, `<text x="${Math.min(x(end[0]) + 3, box.r - 8)}" y="${y(i)(end[1]) - 3}">${n + 1}</text>`);
  }));
  lines.forEach((line, i) => {
    const how = look(i, colours), dense = line.length > 12 && i < left;
    if (dense) out.push(`<path class="raw s${i}" d="${path(thin(line, fine), i)}"/>`);
    out.push(`<path ${how.line} d="${path(thin(dense ? smooth(line) : line, fine), i)}"/>`);
    if (i >= left && line.length < 80) for (const [a, b] of line) out.push(`<circle ${how.dot} cx="${x(a)}" cy="${y(i)(b)}" r="${colours.length ? 2.5 : 3.5}"/>`);
    if (i < left && line.length === 1) out.push(`<circle ${how.dot} cx="${x(line[0][0])}" cy="${y(i)(line[0][1])}" r="3"/>`);
  });
  if (at >= 0) {
    const a = rows[at * width];
    out.push(`<line class="cross" x1="${x(a)}" x2="${x(a)}" y1="${box.t}" y2="${box.b}"/>`);
    names.forEach((_, i) => {
      const b = rows[at * width + i + 1];
      if (!Number.isNaN(b)) out.push(`<circle ${look(i, colours).dot} cx="${x(a)}" cy="${y(i)(b)}" r="4.5"/>`);
    });
  }
  return { svg: `<svg height="${H}" viewBox="0 0 ${W} ${H}" aria-hidden="true">${out.join("")}</svg>`, left: box.l, right: box.r, most };
}

function render({ model, el }) {
  el.innerHTML = HTML;
  if (model.get("fold")) {                                      // folded away under its words
    const box = make("details", { className: "segnb segnb-fold" }, make("summary", { textContent: model.get("fold") }));
    el.append(make("style", { textContent: LOOK }), box);
    box.append(el.querySelector(".segnb-chart"));
  }
  const find = name => el.querySelector(name), root = find(".segnb-chart"), plot = find(".plot"), live = find("[aria-live]"), power = find(".log");
  let rows = floats(model.get("data")), at = -1, frame = 0, drawn = null, evaluations = -1, area = null;
  const width = () => model.get("names").length + 1, count = () => rows.length / width();

  function latest(column, before) {                             // the last number of a column at or before a row
    for (let i = before; i >= 0; i--) if (!Number.isNaN(rows[i * width() + column])) return rows[i * width() + column];
    return NaN;
  }

  function legend() {
    const names = model.get("names"), here = at < 0 ? count() - 1 : at, every = model.get("steps");
    const value = i => at < 0 ? latest(i + 1, here) : rows[here * width() + i + 1];
    const left = model.get("left"), colours = model.get("colours"), dot = i => `<circle ${look(i, colours).dot} cx="13" cy="5" r="3.5"/>`;
    const mark = i => `<svg style="width:26px" height="10" aria-hidden="true"><path ${look(i, colours).line} d="M1,5H25"/>${i >= left ? dot(i) : ""}</svg>`;
    const step = here < 0 ? 0 : rows[here * width()], epoch = every && step ? `epoch ${Math.ceil(step / every)} · ` : "";
    find(".legend").innerHTML = names.map((n, i) => `<span>${mark(i)}${escape(n)} <b>${short(value(i))}</b></span>`).join("")
      + `<span class="where">${here < 0 ? "" : `${epoch}${escape(model.get("x_name"))} ${step}`}</span>`
      + model.get("others").map((o, i) => `<span class="run"><i>${i + 1}</i> ${escape(o.name)}</span>`).join("");
    const words = names.map((n, i) => `${n} ${short(value(i))}`).join(", ");
    return here < 0 ? "no values yet" : `${epoch}${model.get("x_name")} ${step}: ${words}`;
  }

  // While the chart is alive, the still picture below it in the same cell, meant for readers without a kernel, is not shown.
  function hideReceipt() {
    const name = model.get("receipt");
    if (area || !name || !el.isConnected) return;
    area = el.closest(".jp-OutputArea") ?? document.body;
    area.setAttribute(`data-live-${name}`, "");
    const style = document.createElement("style");
    style.textContent = `[data-live-${name}] .${name} { display: none !important; }`;
    root.append(style);
  }

  function draw() {
    frame = 0;
    hideReceipt();
    const W = Math.round(plot.clientWidth), begin = performance.now();
    el.hidden = root.hidden = !count() && !model.get("others").length && model.get("quiet");
    if (root.parentElement !== el) root.parentElement.hidden = root.hidden;
    root.style.display = root.hidden ? "none" : "";
    Object.assign(root.dataset, { points: count(), at, messages: root.dataset.messages ?? 0 });
    const text = legend();
    power.hidden = !model.get("left");
    power.setAttribute("aria-pressed", Boolean(model.get("log")));
    power.setAttribute("aria-label", `Logarithmic axis for ${model.get("names").slice(0, model.get("left")).join(", ")}`);
    if (W < 60 || root.hidden) return;
    const others = model.get("others").map(o => floats(o.data));
    const [names, left, log, colours, xName] = ["names", "left", "log", "colours", "x_name"].map(name => model.get(name));
    drawn = picture(rows, { names, left, log, colours, others, xName }, W, at);
    plot.innerHTML = drawn.svg;
    plot.setAttribute("aria-label", `${model.get("label")}; ${text}. Arrow keys read single values.`);
    const done = series(rows, width(), width() - 1).length;
    if (at >= 0) live.textContent = text;
    else if (done !== evaluations && evaluations >= 0 && done) live.textContent = text;
    evaluations = done;
    root.dataset.frames = 1 + Number(root.dataset.frames ?? 0);
    root.dataset.ms = (performance.now() - begin).toFixed(1);
  }

  const later = () => { frame ||= requestAnimationFrame(draw); };

  function add(message, buffers) {
    if (message.t !== "rows") return;
    const fresh = floats(buffers[0]), first = message.first * width();
    root.dataset.messages = 1 + Number(root.dataset.messages ?? 0);
    if (first > rows.length) return model.send({ t: "hello" });  // something was missed: ask for everything
    const all = new Float32Array(first + fresh.length);
    all.set(rows.subarray(0, first)); all.set(fresh, first);
    rows = all;
    if (at >= count()) at = -1;
    model.set("data", new DataView(rows.buffer));               // not sent to the kernel, but in a saved notebook
    later();
  }

  function nearest(clientX) {
    if (!drawn || !count()) return -1;
    const edge = plot.getBoundingClientRect(), want = (clientX - edge.left - drawn.left) / (drawn.right - drawn.left) * drawn.most;
    let low = 0, high = count() - 1;
    while (high - low > 1) { const mid = (low + high) >> 1; rows[mid * width()] < want ? low = mid : high = mid; }
    return Math.abs(rows[low * width()] - want) <= Math.abs(rows[high * width()] - want) ? low : high;
  }

  power.onclick = () => { model.set("log", !model.get("log")); model.save_changes(); later(); };
  plot.onpointermove = e => { at = nearest(e.clientX); later(); };
  plot.onpointerleave = plot.onblur = () => { at = -1; later(); };
  plot.onkeydown = e => {
    const n = count(), far = Math.max(1, Math.round(n / 20)), here = at < 0 ? n : at;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - far, PageDown: here + far, Home: 0, End: n - 1 }[e.key];
    if (e.key === "Escape") at = -1; else if (to === undefined || !n) return; else at = Math.min(n - 1, Math.max(0, to));
    e.preventDefault();
    later();
  };

  const release = keepKeys(el), sizes = new ResizeObserver(later), traits = ["names", "label", "steps", "x_name", "quiet", "others", "colours", "left", "log"];
  sizes.observe(plot);
  for (const name of traits) model.on(`change:${name}`, later);
  model.on("msg:custom", add);
  model.send({ t: "hello" });
  const again = setTimeout(() => model.send({ t: "hello" }), 1500);
  draw(); later();
  return () => {
    clearTimeout(again); cancelAnimationFrame(frame); sizes.disconnect(); release();
    area?.removeAttribute(`data-live-${model.get("receipt")}`);
    model.off("msg:custom", add);
    for (const name of traits) model.off(`change:${name}`, later);
  };
}

export default { render };
