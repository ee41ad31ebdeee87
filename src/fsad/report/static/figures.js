"use strict";
// Colours of every figure on the page, for light and for dark.
const figures = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { displayModeBar: false, responsive: true };

  /** What the page's theme says about a figure with these axes. */
  function themed(layout) {
    const ink = colour("--ink"), line = colour("--line");
    const theme = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": ink, "font.family": "system-ui, sans-serif",
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      for (const part of ["gridcolor", "linecolor", "zerolinecolor"]) theme[`${axis}.${part}`] = line;
    }
    return theme;
  }

  function paintAll() {
    for (const figure of document.querySelectorAll(".js-plotly-plot")) {
      Plotly.relayout(figure, themed(figure.layout));
    }
  }

  /** Draw or redraw a small chart of the page's own. */
  function draw(id, traces, layout, summary) {
    const place = document.getElementById(id);
    place.setAttribute("aria-label", summary);
    const base = {
      margin: { l: 44, r: 8, t: 28, b: 44 }, height: 260, font: { size: 12 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, xaxis: {}, yaxis: {},
    };
    const full = { ...base, ...layout };
    for (const [key, value] of Object.entries(themed(full))) {
      const path = key.split("."), last = path.pop();
      const holder = path.reduce((node, part) => (node[part] = { ...node[part] }), full);
      holder[last] = value;
    }
    Plotly.react(place, traces, full, config);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
  addEventListener("DOMContentLoaded", paintAll);
  return { draw, colour };
})();
