"use strict";
// Draws the panels whose numbers stand in #panels: curves, colours, slides; and moves what can be moved.

const PANELS = JSON.parse(document.getElementById("panels").textContent);
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b3589a", "#b07d00", "#3a9ad9", "#666666"];
const DARK = ["#5ab4f0", "#ff9a4d", "#3fcf9f", "#e59bd4", "#f0c755", "#9fd3ff", "#bbbbbb"];
const COARSE = matchMedia("(pointer: coarse)").matches;
const CONFIG = {responsive: true, displaylogo: false, displayModeBar: COARSE ? false : "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};

// --- light and dark ------------------------------------------------------------------------------------------

const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;  // what the button says; else what the system says
try { chosen = localStorage.getItem("micrornn-theme"); } catch { /* a file may have no storage */ }
const dark = () => (chosen || (system.matches ? "dark" : "light")) === "dark";
const shade = () => { root.dataset.theme = dark() ? "dark" : "light"; };
shade();
const colour = name => getComputedStyle(root).getPropertyValue(name).trim();
const see = (hex, part) => "rgba(" + [1, 3, 5].map(n => parseInt(hex.slice(n, n + 2), 16)) + "," + part + ")";

// --- words and numbers ---------------------------------------------------------------------------------------

const safe = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const SIGNS = {"\n": "⏎", "\t": "→", " ": "␣", "\r": "␍"};
const named = place => typeof place === "string" ? safe(SIGNS[place] || place) : String(place);
const written = value => value === 0 ? "0" :
  Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? String(+value.toPrecision(3)) : value.toExponential(1).replace(".0e", "e");
const percent = share => (100 * share).toFixed(share > 0.001 && share < 0.1 || share > 0.9 && share < 0.999 ? 1 : 0) + "\u00a0%";

// --- pictures ------------------------------------------------------------------------------------------------

function axis(label, more) {
  return {title: {text: safe(label)}, tickangle: 0, gridcolor: colour("--line"), zeroline: false, automargin: true,
    linecolor: colour("--line"), tickfont: {size: 12}, ...more};
}

const beside = axis => { axis.title.standoff = 6; return axis; };  // below a picture plotly lays it over the numbers

function layout(more) {
  return {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 12, r: 12, t: 8, b: 8},
    font: {family: "system-ui, sans-serif", size: 13, color: colour("--ink")}, dragmode: COARSE ? false : "zoom",
    hoverlabel: {font: {size: 13}}, ...more};
}

function marks(panel, log) {
  const xs = panel.kind === "lines" ? panel.curves.flatMap(c => c.x) : panel.x;
  const at = x => log ? Math.log10(x) : x, ends = [at(Math.min(...xs)), at(Math.max(...xs))];
  const right = x => at(x) > ends[0] + 0.55 * (ends[1] - ends[0]);
  return {
    shapes: panel.marks.map(m => ({type: "line", x0: m.x, x1: m.x, yref: "paper", y0: 0, y1: 1,
      line: {color: colour("--dim"), width: 1.2, dash: "dash"}})),
    annotations: panel.marks.map((m, n) => ({x: at(m.x), yref: "paper", y: 1 - 0.085 * n, yanchor: "top",
      xanchor: right(m.x) ? "right" : "left", text: safe(m.name), showarrow: false,
      bgcolor: colour("--card"), font: {size: 12, color: colour("--dim")}})),
  };
}

function lines(panel) {
  const colours = dark() ? DARK : LIGHT, traces = [];
  panel.curves.forEach((curve, n) => {
    const own = colours[n % colours.length], band = {x: curve.x, mode: "lines", hoverinfo: "skip", showlegend: false,
      line: {width: 0}, legendgroup: String(n)};
    if (curve.low && curve.high) {
      traces.push({...band, y: curve.low}, {...band, y: curve.high, fill: "tonexty", fillcolor: see(own, 0.18)});
    }
    if (curve.faint) {
      traces.push({x: curve.x, y: curve.y, mode: "lines", line: {color: colour("--dim"), width: 0.7}, showlegend: false,
        text: safe(curve.name), hoverinfo: "text"});
      return;
    }
    const few = curve.x.length < 15;
    traces.push({x: curve.x, y: curve.y, name: safe(curve.name), mode: few ? "lines+markers" : "lines",
      line: {color: own, width: 2, dash: n >= colours.length ? "dot" : "solid"}, legendgroup: String(n),
      hovertemplate: "%{x}: %{y:.3g}"});
  });
  const limits = panel.limits;
  return [traces, layout({
    xaxis: axis(panel.x_label, panel.log_x ? byLogarithm(panel.curves.flatMap(c => c.x)) : {}),
    yaxis: beside(axis(panel.y_label, {...(panel.log_y ? byLogarithm(limits || panel.curves.flatMap(c => c.y)) : {}), ...(limits ? {range: padded(limits, panel.log_y)} : {})})),
    showlegend: panel.curves.length > 1, hovermode: "closest",
    legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: {size: 12}}, ...marks(panel, panel.log_x)})];
}

function byLogarithm(values) {
  const known = values.filter(v => v > 0), low = known.reduce((a, b) => Math.min(a, b), Infinity);
  const decades = Math.log10(known.reduce((a, b) => Math.max(a, b), 0) / low);
  return {type: "log", tickformat: ".4~g", dtick: decades < 0.6 ? "D1" : decades < 1.6 ? "D2" : Math.max(1, Math.ceil(decades / 6))};
}

function padded([low, high], log) {
  const ends = log ? [Math.log10(low), Math.log10(high)] : [low, high], room = 0.04 * (ends[1] - ends[0]) || 0.5;
  return [ends[0] - room, ends[1] + room];
}

function numbers(panel) {  // rows of numbers; NaN is null, and with a logarithm so is what has none
  if (panel.values) return panel.values;
  const bytes = Uint8Array.from(atob(panel.z), c => c.charCodeAt(0)), packed = new DataView(bytes.buffer);
  const [rows, columns] = panel.shape, [low, high] = panel.ends;
  const value = n => {
    const step = packed.getUint16(2 * n, true), at = low + (step - 1) / 65534 * (high - low);
    return step === 0 ? null : panel.log ? 10 ** at : at;
  };
  panel.values = Array.from({length: rows}, (_, r) => Array.from({length: columns}, (_, c) => value(r * columns + c)));
  return panel.values;
}

const rising = list => list.every((place, n) => typeof place === "number" && (n === 0 || place > list[n - 1]));

function places(list, label, most) {  // an axis of numbers, or of names at 0, 1, 2, ...
  if (rising(list)) return [list, axis(label, {})];
  const letters = list.every(place => String(place).length === 1);  // as in a text: to be read, or none of them
  const step = letters ? (3 * most >= list.length ? 1 : Infinity) : Math.ceil(list.length / most);
  const picked = list.map((_, n) => n).filter(n => step < Infinity && n % step === 0);
  return [list.map((_, n) => n), axis(label, {tickvals: picked, ticktext: picked.map(n => named(list[n])),
    range: [-0.5, list.length - 0.5]})];
}

function heat(panel, div) {
  const values = numbers(panel), known = values.flat().filter(v => v !== null && (!panel.log || v > 0));
  let [low, high] = panel.limits || [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
  if (!known.length) [low, high] = [1, 10];
  if (panel.centred) { high = Math.max(-low, high) || 1; low = -high; }
  if (panel.log) low = Math.max(low, high * 1e-12);
  const to = v => v === null ? null : !panel.log ? v : v > 0 ? Math.log10(v) : null;
  const across = Math.max(8, Math.floor(div.clientWidth / 26));
  const [x, xaxis] = places(panel.x, panel.x_label, across), [y, yaxis] = places(panel.y, panel.y_label, 16);
  const bar = {orientation: "h", x: 0, xanchor: "left", y: 1.01, yanchor: "bottom", thickness: 9, len: 1, outlinewidth: 0,
    title: {text: safe(panel.value_label), side: "top", font: {size: 12}}, tickfont: {size: 11}, xpad: 0, ypad: 4};
  if (panel.log) {
    bar.tickvals = roundLog(to(low), to(high));
    bar.ticktext = bar.tickvals.map(e => written(10 ** e));
  }
  const trace = {type: "heatmap", x, y, z: values.map(row => row.map(to)), zmin: to(low), zmax: to(high), colorbar: bar,
    colorscale: panel.centred ? CENTRED() : "Viridis", reversescale: false, hoverongaps: false,
    text: values.map(row => row.map(v => v === null ? "" : written(v))),
    customdata: panel.y.map(r => panel.x.map(c => named(c) + ", " + named(r))),
    hovertemplate: "%{customdata}: %{text}<extra></extra>"};
  yaxis.autorange = "reversed";
  delete yaxis.range;
  for (const a of [xaxis, yaxis]) a.showgrid = false;
  const own = rising(panel.x) ? marks(panel, false) : {};
  return [[trace], layout({xaxis, yaxis: beside(yaxis), ...own})];
}

function roundLog(low, high) {  // powers of ten; between few of them 1, 2, 5; between none of these, both ends
  const step = Math.max(1, Math.ceil((high - low) / 6)), found = [];
  for (let e = Math.floor(low); e <= high; e += step) {
    for (const digit of high - low < 2 ? [1, 2, 5] : [1]) {
      const at = e + Math.log10(digit);
      if (at >= low - 1e-9 && at <= high + 1e-9) found.push(at);
    }
  }
  return found.length > 1 ? found : [low, high];
}

const CENTRED = () => dark()
  ? [[0, "#6cb6ff"], [0.25, "#2b5c8f"], [0.5, "#1a1e24"], [0.75, "#93402f"], [1, "#ff8a70"]]
  : [[0, "#2166ac"], [0.25, "#7fb3d8"], [0.5, "#f7f7f7"], [0.75, "#f0a582"], [1, "#b2182b"]];

// --- slides --------------------------------------------------------------------------------------------------

function show(div) {
  const panel = PANELS[div.dataset.panel], slider = inputOf(div);
  let shown = panel;
  if (panel.kind === "slides") {
    if (!panel.frames.length) return;
    shown = panel.frames[slider.value];
    slider.nextElementSibling.textContent = named(panel.places[slider.value]);
  }
  if (shown.kind === "lines" && shown.curves.length > 1) {  // lines of the legend take nothing from the picture
    const needed = shown.curves.reduce((sum, curve) => sum + 60 + 7 * curve.name.length, 0);
    div.style.height = `${340 + 22 * Math.ceil(needed / Math.max(200, div.clientWidth - 60))}px`;
  }
  const [traces, around] = shown.kind === "heat" ? heat(shown, div) : lines(shown);
  if (panel.window) around.shapes = [];
  return Plotly.react(div, traces, around, CONFIG).then(() => { if (panel.window) overlay(div, panel); });
}

const inputOf = div => document.querySelector(`input[data-for="${div.dataset.panel}"]`);

// --- windows laid over what each loss says to each state -----------------------------------------------------

function profile(panel) {  // the mean over all losses of what each says to the state so many time steps back
  if (panel.profile) return panel.profile;
  const sums = [], counts = [];
  numbers(panel).forEach((row, r) => row.forEach((value, c) => {
    const lag = Math.round(panel.y[r] - panel.x[c]);
    if (lag < 0) return;
    sums[lag] = (sums[lag] || 0) + (value || 0);
    counts[lag] = (counts[lag] || 0) + 1;
  }));
  return panel.profile = Array.from(sums, (sum, lag) => counts[lag] ? sum / counts[lag] : 0);
}

function shareCut(panel, k, mode) {  // a loss stands anywhere in its window, so 1 - lag / k of its pairs lie inside
  let all = 0, kept = 0;
  profile(panel).forEach((value, lag) => {
    all += value;
    if (lag < k) kept += value * (mode === "back" ? 1 : 1 - lag / k);
  });
  return all ? 1 - kept / all : 0;
}

function outline(count, k, mode) {  // what is kept, as a path in time steps
  if (mode === "back") {
    const edge = count - 0.5;
    let path = "M-0.5,-0.5";
    for (let s = k; s < count; s++) path += `L${s - k - 0.5},${s - 0.5}L${s - k + 0.5},${s - 0.5}`;
    return path + `L${Math.max(-0.5, count - k - 0.5)},${edge}L${edge},${edge}Z`;
  }
  let path = "";
  for (let a = 0; a < count; a += k) {
    const [from, to] = [a - 0.5, Math.min(a + k, count) - 0.5];
    path += `M${from},${from}L${to},${from}L${to},${to}L${from},${to}Z`;
  }
  return path;
}

function overlay(div, panel) {
  const slider = inputOf(div), figure = div.closest("figure"), k = +slider.value, count = +slider.max;
  const mode = figure.querySelector("input[type=radio]:checked").value, kept = outline(count, k, mode);
  const all = `M-0.5,-0.5L${count - 0.5},-0.5L${count - 0.5},${count - 0.5}L-0.5,${count - 0.5}Z`;
  slider.nextElementSibling.textContent = k;
  const lost = shareCut(panel, k, mode);
  const who = mode === "back" ? `Losses that see K = ${k} time steps back` : `Windows of K = ${k} time steps`;
  figure.querySelector(".share").textContent = `${who} keep ${percent(1 - lost)} of all credit and cut ${percent(lost)}` +
    (k === panel.window ? "; the run was trained with this K." : ".");
  figure.dataset.lost = lost.toFixed(4);
  const shapes = [
    {type: "path", path: all + kept, fillrule: "evenodd", fillcolor: see(dark() ? "#111418" : "#ffffff", 0.62), line: {width: 0}},
    {type: "path", path: kept, line: {color: "#d55e00", width: 1.6}},
  ];
  return Plotly.relayout(div, {shapes}).then(() => putHandle(div, k));
}

function putHandle(div, k) {
  const {xaxis, yaxis} = div._fullLayout;
  let handle = div.querySelector(".handle");
  if (!handle) {
    handle = document.createElement("button");
    handle.type = "button";
    handle.className = "handle";
    handle.title = "drag K";
    handle.setAttribute("aria-label", "drag to change K");
    div.append(handle);
    handle.addEventListener("pointerdown", event => { handle.setPointerCapture(event.pointerId); event.preventDefault(); });
    handle.addEventListener("pointermove", event => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = div.getBoundingClientRect(), at = div._fullLayout.xaxis, slider = inputOf(div);
      const along = at.p2l(event.clientX - box.left - at._offset), down = div._fullLayout.yaxis;
      const below = down.p2l(event.clientY - box.top - down._offset);
      set(slider, Math.round((along + below) / 2 + 0.5));  // the corner of the first window lies on the diagonal
    });
    handle.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (step) { event.preventDefault(); set(inputOf(div), +inputOf(div).value + step); }
    });
  }
  handle.style.left = `${xaxis._offset + xaxis.l2p(k - 0.5)}px`;
  handle.style.top = `${yaxis._offset + yaxis.l2p(k - 0.5)}px`;
}

function set(slider, value) {
  const inside = Math.min(Math.max(value, +slider.min), +slider.max);
  if (inside === +slider.value) return;
  slider.value = inside;
  slider.dispatchEvent(new Event("input"));
}

// --- go ------------------------------------------------------------------------------------------------------

const plots = [...document.querySelectorAll(".plot")];

for (const div of plots) {
  const panel = PANELS[div.dataset.panel], slider = inputOf(div);
  if (slider) slider.addEventListener("input", () => panel.window ? overlay(div, panel) : show(div));
  if (panel.window) {
    for (const radio of div.closest("figure").querySelectorAll("input[type=radio]")) {
      radio.addEventListener("change", () => overlay(div, panel));
    }
  }
}

async function draw() {
  for (const div of plots) {
    await show(div);
    await new Promise(done => setTimeout(done));  // so that the page can be scrolled meanwhile
  }
}

document.getElementById("theme").addEventListener("click", () => {
  chosen = dark() ? "light" : "dark";
  try { localStorage.setItem("micrornn-theme", chosen); } catch { /* then until the page is closed */ }
  shade();
  draw();
});
system.addEventListener("change", () => { shade(); draw(); });

draw().then(() => {
  for (const div of plots) {  // the handle goes with the picture when the window changes its size
    const panel = PANELS[div.dataset.panel];
    if (panel.window) div.on("plotly_afterplot", () => putHandle(div, +inputOf(div).value));
  }
  root.dataset.drawn = "yes";
});
