// Put before each of the widgets' scripts by `script` in 70_widgets.chart.ipynb
// Plain keys stay with the focused control; chords (Ctrl, Alt, Cmd) still reach the notebook.
function keepKeys(el) {
  const mine = "data-lm-suppress-shortcuts", chord = e => e.ctrlKey || e.metaKey || e.altKey;
  const mark = e => { if (el.contains(e.target)) chord(e) ? e.target.removeAttribute(mine) : e.target.setAttribute(mine, "true"); };
  const keep = e => { if (!chord(e)) e.stopPropagation(); };
  window.addEventListener("keydown", mark, true);
  el.addEventListener("keydown", keep);
  return () => { window.removeEventListener("keydown", mark, true); el.removeEventListener("keydown", keep); };
}
