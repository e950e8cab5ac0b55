// The charts, drawn by Plotly from the JSON that stands in the page. Plotly reads tags in its texts: names are escaped.
"use strict";

const drawing = JSON.parse(document.getElementById("drawing").textContent);
const shown = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const series = (index) => shown(`--series-${(index % 6) + 1}`);
const options = { displaylogo: false, responsive: true, displayModeBar: false };

function axis(unit, more) {
  const form = { percent: { tickformat: ".3~%" }, amount: { tickformat: ".3~s" }, dollars: { tickformat: ".3~s" }, days: { ticksuffix: " d" }, multiple: { ticksuffix: "×" } }[unit] || {};
  return { gridcolor: shown("--line"), zerolinecolor: shown("--soft"), linecolor: shown("--line"), automargin: true, ...form, ...more };
}

/** An axis title. Plotly makes room for it only if its distance from the labels is given. */
function titleOf(label) { return { text: plain(label), standoff: 10 }; }

function layout(more) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: shown("--ink"), family: "system-ui, sans-serif", size: window.innerWidth < 640 ? 11 : 13 },
    margin: { l: 20, r: 16, t: 24, b: 34 }, hoverlabel: { bgcolor: shown("--surface"), bordercolor: shown("--line"), font: { color: shown("--ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, ...more,
  };
}

function draw(id, traces, more) {
  const element = document.getElementById(id);
  if (!element.classList.contains("js-plotly-plot")) element.replaceChildren();
  return window.Plotly.react(element, traces, layout(more), options);
}

const hoverForm = { percent: ":.1%", amount: ":,.4~s", dollars: ":,.4~s", multiple: ":.2f", days: ":.0f", score: ":.2f" };

function drawRatio() {
  const name = document.getElementById("chart-ratio").value;
  const unit = drawing.units[name];
  const values = drawing.ratios[name];
  const nothing = values.every((value) => value === null);
  draw("ratio-chart", [{
    x: drawing.labels, y: values, type: "scatter", mode: "lines+markers", connectgaps: false, line: { color: series(0), width: 2.5 }, marker: { size: 8 },
    hovertemplate: `%{x}: %{y${hoverForm[unit]}}<extra></extra>`,
  }], {
    xaxis: axis("", { type: "category", tickangle: 0 }), yaxis: axis(unit, { rangemode: unit === "percent" || unit === "multiple" ? "tozero" : "normal" }),
    annotations: nothing ? [{ text: "no figure in any of these periods", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }] : [],
  });
}

function drawLines() {
  const labels = { TotalRevenue: "Revenue", NetIncome: "Net income", FreeCashFlow: "Free cash flow" };
  draw("lines-chart", Object.keys(labels).map((key, index) => ({
    x: drawing.labels, y: drawing.lines[key], type: "bar", name: labels[key], marker: { color: series(index) }, hovertemplate: "%{x}: %{y:,.4~s}<extra>%{fullData.name}</extra>",
  })), { barmode: "group", xaxis: axis("", { type: "category", tickangle: 0 }), yaxis: axis("amount") });
}

/** The middle of the values, from 2 % to 98 %, with some room. */
function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[Math.floor(0.02 * (sorted.length - 1))];
  const high = sorted[Math.ceil(0.98 * (sorted.length - 1))];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - room, high + room];
}

function drawScatter() {
  const regions = [...new Set(drawing.points.map((point) => point[2]))].sort();
  const all = document.getElementById("all-points").checked;
  const traces = regions.map((region, index) => {
    const points = drawing.points.filter((point) => point[2] === region);
    return {
      x: points.map((point) => point[4]), y: points.map((point) => point[5]), customdata: points.map((point) => point[0]),
      text: points.map((point) => `${plain(point[0])} ${plain(point[1])}<br>${plain(point[3])}`),
      type: "scatter", mode: "markers", name: plain(region), marker: { color: series(index), size: 7, opacity: 0.75 },
      hovertemplate: `%{text}<br>${plain(drawing.x.label)}: %{x${hoverForm[drawing.x.unit]}}<br>${plain(drawing.y.label)}: %{y${hoverForm[drawing.y.unit]}}<extra></extra>`,
    };
  });
  const range = (index) => all || drawing.points.length < 20 ? { autorange: true } : { autorange: false, range: middle(drawing.points.map((point) => point[index])) };
  return draw("scatter-chart", traces, {
    xaxis: axis(drawing.x.unit, { title: titleOf(drawing.x.label), ...range(4) }),
    yaxis: axis(drawing.y.unit, { title: titleOf(drawing.y.label), ...range(5) }), hovermode: "closest", dragmode: "zoom",
  });
}

function drawDistribution() {
  const groups = [...drawing.groups].reverse();
  const column = (index) => groups.map((group) => group[4][index]);
  draw("distribution-chart", [{
    type: "box", orientation: "h", y: groups.map((group) => plain(group[0])), lowerfence: column(0), q1: column(1), median: column(2), q3: column(3), upperfence: column(4),
    marker: { color: series(0) }, fillcolor: shown("--accent-soft"), line: { width: 1.5 }, hoverinfo: "x", name: plain(drawing.ratio.label),
  }], { xaxis: axis(drawing.ratio.unit, { title: titleOf(drawing.ratio.label) }), yaxis: axis("", { type: "category" }), showlegend: false });
}

function drawAll() {
  if (document.getElementById("ratio-chart")) { drawRatio(); drawLines(); }
  if (document.getElementById("distribution-chart")) drawDistribution();
  if (document.getElementById("scatter-chart")) {
    drawScatter().then((chart) => {
      if (chart.dataset.listens) return;
      chart.dataset.listens = "yes";
      chart.on("plotly_click", (event) => { location.href = chart.dataset.stocks + encodeURIComponent(event.points[0].customdata); });
    });
  }
}

drawAll();
document.getElementById("chart-ratio")?.addEventListener("change", () => {
  drawRatio();
  const address = new URL(location.href);
  address.searchParams.set("ratio", document.getElementById("chart-ratio").value);
  history.replaceState(null, "", address);
});
document.getElementById("all-points")?.addEventListener("change", drawScatter);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
