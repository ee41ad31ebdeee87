"use strict";
// The test images of a run: cards, curves, and sliders that compute anew.
const explorer = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.categories) return null;
  const PAGE = 12; // cards shown at first, and by each press of the button
  const FUSED = "fused"; // the kind of the maps and curves that the parts are mixed to
  const element = (id) => document.getElementById(id);
  const number = (value) => (value === null ? "–" : value.toFixed(3));

  const categories = data.categories.map((entry) => {
    const scores = Object.fromEntries(
      Object.entries(entry.scores).map(([part, text]) => [part, fsad.floats(text)]));
    return { ...entry, scores, own: fsad.floats(entry.own), parts: Object.keys(scores) };
  });
  // Two parts whose weighted mean is the score, the share of the first to be chosen; null for others.
  const mix = categories.every((it) => it.mix?.first === categories[0].mix?.first) ? categories[0].mix : null;
  const shareOfRun = mix ? mix.share : null;
  const state = { category: "", defect: "", order: "mistake", share: shareOfRun, shown: PAGE };

  const chosen = () => categories.filter((it) => !state.category || it.name === state.category);

  /** Image scores at a share of the first part; without one, those of the run. */
  function imageScores(category, share) {
    if (share === null || mix === null) return category.own;
    return fsad.fuseScores(category.scores[mix.first], category.scores[mix.second], share);
  }

  const auroc = (category, share) => fsad.auroc(imageScores(category, share), category.labels);

  const hasBoth = (category) => category.labels.includes(0) && category.labels.includes(1);

  /** Why categories lack a metric, each reason once; empty where none does, or nobody noted why. */
  function reasons(some, metric) {
    const lacking = some.filter((it) => it.undefined[metric]);
    const said = lacking.map((it) => (some.length > 1 ? `${it.name}: ` : "") + it.undefined[metric]);
    return [...new Set(said)].join("; ");
  }

  /** Mean over those categories that have both kinds of images. */
  function meanAuroc(some, share) {
    const known = some.map((it) => auroc(it, share)).filter((it) => it !== null);
    return known.length ? known.reduce((sum, it) => sum + it, 0) / known.length : null;
  }

  function confusion(some, share, threshold) {
    const total = { found: 0, missed: 0, alarms: 0, passed: 0 };
    for (const category of some) {
      const counts = fsad.confusion(imageScores(category, share), category.labels, threshold);
      for (const kind of Object.keys(total)) total[kind] += counts[kind];
    }
    return total;
  }

  /** A map of one image: of a part, or FUSED at a share. Null where the image has no card. */
  function map(category, place, kind, share) {
    const card = category.cards[place];
    if (!card) return null;
    card.maps ??= {};
    const parts = kind === FUSED ? [mix.first, mix.second] : [kind];
    for (const it of parts) {
      card.maps[it] ??= fsad.anomalyMap(
        fsad.floats(card.patches[it]), category.grid, category.size, category.sigma);
    }
    return kind === FUSED
      ? fsad.fuseMaps(card.maps[mix.first], card.maps[mix.second], share) : card.maps[kind];
  }

  /**
   * PRO curves of a category at data.points: of the fused maps, at the share nearest to one of those
   * at which Python measured them, then of each part's.
   */
  function proCurves(category, share) {
    const nearest = category.fused_pro.toSorted(([a], [b]) => Math.abs(a - share) - Math.abs(b - share));
    return [
      ...nearest.slice(0, 1).map(([of, y]) => ({ name: FUSED, share: of, y })),
      ...Object.entries(category.pro).map(([name, y]) => ({ name, y })),
    ];
  }

  /** All images with a card that the choices let through, in the chosen order. */
  function listed() {
    const rows = [];
    for (const category of chosen()) {
      const scores = imageScores(category, state.share);
      const wrong = fsad.mistakes(scores, category.labels);
      const mean = scores.reduce((sum, it) => sum + it, 0) / scores.length;
      const spread =
        Math.sqrt(scores.reduce((sum, it) => sum + (it - mean) ** 2, 0) / scores.length) || 1;
      scores.forEach((score, place) => {
        if (!category.cards[place]) return;
        if (state.defect && category.defects[place] !== state.defect) return;
        const towards = ((score - mean) / spread) * (category.labels[place] ? -1 : 1);
        rows.push({ category, place, score, mistake: wrong[place], towards });
      });
    }
    const orders = {
      mistake: (a, b) => b.mistake - a.mistake || b.towards - a.towards,
      highest: (a, b) => b.score - a.score,
      lowest: (a, b) => a.score - b.score,
      name: (a, b) =>
        a.category.images[a.place].localeCompare(b.category.images[b.place], "en"),
    };
    return rows.sort(orders[state.order]);
  }

  // Cards are made once and kept; what the sliders change in them is painted again.
  const made = new Map();

  function make(tag, text = "", className = "") {
    const node = document.createElement(tag);
    node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  function panel(caption, content) {
    const figure = make("figure");
    figure.append(content, make("figcaption", caption));
    return figure;
  }

  function card({ category, place }) {
    const key = `${category.name} ${place}`;
    if (made.has(key)) return made.get(key);
    const stored = category.cards[place], name = category.images[place];
    const node = make("article", "", "card"), head = make("header");
    const verdict = make("span", "", "verdict"), title = make("h4");
    title.append(`${category.name} · ${category.defects[place]} `, verdict);
    const score = make("p", "", "score");
    head.append(title, make("p", name, "file"), score);
    const panels = make("div", "", "panels");
    for (const kind of Object.keys(stored).filter((key) => typeof stored[key] === "string")) {
      const caption = { rgb: "RGB", truth: "true defect" }[kind] || kind;
      const image = make("img");
      image.src = stored[kind];
      image.alt = `${caption} of ${name}`;
      panels.append(panel(caption, image));
    }
    const canvases = {};
    const kinds = mix ? [...category.parts, FUSED] : category.parts;
    for (const kind of kinds) {
      const canvas = canvases[kind] = make("canvas");
      const caption = `${kind} map`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${caption} of ${name}`);
      panels.append(panel(caption, canvas));
    }
    node.append(head, panels);
    made.set(key, { node, verdict, score, canvases });
    return made.get(key);
  }

  function paintCard(row) {
    const { category, place } = row, { verdict, score, canvases } = card(row);
    const called = row.score > state.threshold, defective = category.labels[place];
    const wrong = called !== Boolean(defective);
    verdict.textContent = defective ? (called ? "found" : "missed") : (called ? "false alarm" : "passed");
    verdict.classList.toggle("wrong", wrong);
    score.textContent = `score ${number(row.score)}` +
      (hasBoth(category) ? `, mistake ${Math.round(100 * row.mistake)} %` : "");
    for (const [kind, canvas] of Object.entries(canvases)) {
      const wanted = `${state.outline} ${kind === FUSED ? state.share : ""}`;
      if (canvas.dataset.painted === wanted) continue;
      canvas.dataset.painted = wanted;
      const scale = limits(category, kind, state.share);
      fsad.paint(canvas, map(category, place, kind, state.share), category.size, scale, state.outline);
    }
  }

  function showCards() {
    const rows = listed(), visible = rows.slice(0, state.shown);
    element("cards").replaceChildren(...visible.map((row) => card(row).node));
    visible.forEach(paintCard);
    const images = chosen().flatMap((it) => it.defects.filter((_, i) => !state.defect || it.defects[i] === state.defect)).length;
    const left = images - rows.length;
    element("count").textContent = `${visible.length} of ${images} images shown` +
      (left ? `; ${left} are left out to keep the page small: those with the smallest mistakes` : "");
    element("more").hidden = visible.length === rows.length;
  }

  function showNumbers() {
    const some = chosen(), ofRun = meanAuroc(some, shareOfRun), both = some.filter(hasBoth).length;
    const over = both && both < some.length ? `${both} of ${some.length} categories` : "categories";
    const why = reasons(some, "image_auroc");
    element("auroc").textContent = number(meanAuroc(some, state.share));
    element("auroc-note").textContent = " image AUROC" + (some.length > 1 ? `, mean over ${over}` : "") +
      (why ? ` (–: ${why})` : "") + (mix && both ? `; the run's share gives ${number(ofRun)}` : "");
    const counts = confusion(some, state.share, state.threshold);
    for (const [kind, value] of Object.entries(counts)) element(kind).textContent = value;
    for (const id of ["share", "threshold", "outline"]) {
      if (state[id] !== null) element(`${id}-value`).textContent = state[id].toFixed(id === "share" ? 2 : 3);
    }
  }

  function showCharts() {
    const some = chosen(), one = some.length === 1;
    const kinds = { good: [], defective: [] };
    for (const it of some) {
      imageScores(it, state.share).forEach((score, i) => kinds[it.labels[i] ? "defective" : "good"].push(score));
    }
    const colours = { good: figures.colour("--good"), defective: figures.colour("--bad") };
    figures.draw("histogram", Object.entries(kinds).map(([name, x]) => ({
      type: "histogram", name, x, opacity: 0.65, bingroup: 1, nbinsx: 24, marker: { color: colours[name] },
      hovertemplate: `%{y} ${name}<extra></extra>`,
    })), {
      barmode: "overlay", bargap: 0.02, xaxis: { title: { text: "score" } }, yaxis: { title: { text: "images" } },
      shapes: [{
        type: "line", x0: state.threshold, x1: state.threshold, y0: 0, y1: 1, yref: "paper",
        line: { color: figures.colour("--ink"), width: 1.5, dash: "dot" },
      }],
    }, `Scores of ${kinds.good.length} good and ${kinds.defective.length} defective images`);

    const palette = ["--accent", "--bad", "--good"].map(figures.colour);
    const lines = [];
    if (one) {
      const parts = some[0].parts, several = parts.length > 1;
      const fused = { name: several ? FUSED : parts[0], scores: imageScores(some[0], state.share) };
      const alone = several ? parts.map((name) => ({ name, scores: some[0].scores[name] })) : [];
      lines.push(...[fused, ...alone].map((it) => ({ name: it.name, ...fsad.roc(it.scores, some[0].labels) })));
    } else {
      lines.push(...some.filter(hasBoth).map((it) => ({ name: it.name, ...fsad.roc(imageScores(it, state.share), it.labels) })));
    }
    const style = (i) => ({ color: palette[i % 3], width: 2, dash: ["solid", "dash", "dot", "dashdot"][Math.floor(i / (one ? 1 : 3)) % 4] });
    const both = some.some(hasBoth);
    element("roc-figure").hidden = !both;
    const absent = [
      ["ROC", reasons(some, "image_auroc") || (both ? "" : "test images of one kind alone")],
      ["PRO", reasons(some, "aupro30")],
    ].filter(([, why]) => why);
    element("absent").textContent = absent.map(([curve, why]) => `No ${curve} curve: ${why}.`).join(" ");
    element("absent").hidden = !absent.length;
    const traces = lines.map((line, i) => ({ ...line, mode: "lines", line: style(i) }));
    const counts = confusion(some, state.share, state.threshold);
    if (one) {
      traces.push({
        x: [counts.alarms / (counts.alarms + counts.passed)], y: [counts.found / (counts.found + counts.missed)],
        mode: "markers", marker: { color: figures.colour("--ink"), size: 9 }, showlegend: false,
        hovertemplate: "at the threshold<extra></extra>",
      });
    }
    if (both) figures.draw("roc", traces, {
      xaxis: { title: { text: "false positive rate" }, range: [-0.02, 1.02] }, yaxis: { title: { text: "true positive rate" }, range: [-0.02, 1.05] },
    }, `ROC curve, area ${number(meanAuroc(some, state.share))}`);

    // Of several categories the method's own curve each, if its maps are known.
    const own = ({ name }, it) => name === FUSED || it.parts.length === 1;
    const curves = some.flatMap((it) => one ? proCurves(it, state.share)
      : proCurves(it, state.share).filter((curve) => own(curve, it)).map((curve) => ({ ...curve, name: it.name })));
    element("pro-figure").hidden = !curves.length;
    if (!curves.length) return;
    element("pro-caption").textContent = "PRO, pixels" +
      (mix ? `, fused at share ${curves[0].share}` : "") +
      (mix && curves[0].share !== state.share ? " (nearest computed)" : "");
    figures.draw("pro", curves.map(({ name, y }, i) => ({ name, x: data.points, y, mode: "lines", line: style(i) })), {
      xaxis: { title: { text: "false positive rate" }, range: [0, 0.305] }, yaxis: { title: { text: "region overlap" }, range: [0, 1.05] },
    }, "Overlap with the defects' regions up to 30 % false positives");
  }

  let waiting = false;
  /** Show everything anew, at most once a frame. */
  function refresh() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      showNumbers();
      showCharts();
      showCards();
    });
  }

  /** Fit a slider to values, and start it at one. */
  function fit(id, values, start) {
    const low = least([...values, start]), high = most([...values, start]);
    Object.assign(element(id), { min: low, max: high, step: (high - low) / 200 || 1 });
    element(id).value = state[id] = start;
  }

  const least = (values) => values.reduce((low, it) => Math.min(low, it), Infinity);
  const most = (values) => values.reduce((high, it) => Math.max(high, it), -Infinity);

  /** The scale of a kind of maps within a category. */
  function limits(category, kind, share) {
    return kind === FUSED ? fsad.limitsAt(category.fused_limits, share) : category.limits[kind];
  }

  function choose() {
    const some = chosen();
    const now = some.flatMap((it) => [...imageScores(it, state.share)]).sort((a, b) => a - b);
    const ever = mix ? some.flatMap((it) => Object.values(it.scores).flatMap((of) => [...of])) : now;
    // Of one category, at the share that it was set for, the run knows a threshold and an outline.
    const run = some.length === 1 && state.share === shareOfRun ? some[0] : {};
    fit("threshold", ever, run.threshold ?? now[Math.floor(now.length / 2)]);
    const own = some.map((it) => limits(it, mix ? FUSED : it.parts[0], state.share));
    const middle = (least(own.map((it) => it[0])) + most(own.map((it) => it[1]))) / 2;
    fit("outline", some.flatMap((it) => Object.values(it.limits).flat()), run.outline ?? middle);
    const kinds = [...new Set(some.flatMap((it) => it.defects))].sort();
    if (!kinds.includes(state.defect)) state.defect = "";
    options("defect", [["", "all kinds"], ...kinds.map((it) => [it, it])], state.defect);
    state.shown = PAGE;
    refresh();
  }

  function options(id, pairs, value) {
    element(id).replaceChildren(...pairs.map(([key, text]) => new Option(text, key)));
    element(id).value = value;
  }

  const names = categories.map((it) => [it.name, it.name]);
  options("category", names.length > 1 ? [["", "all categories"], ...names] : names, names.length > 1 ? "" : names[0][0]);
  element("share-field").hidden = !mix;
  if (mix) {
    element("share-of").textContent = mix.first;
    element("share").value = state.share;
  }
  element("category").addEventListener("change", (event) => { state.category = event.target.value; choose(); });
  for (const id of ["defect", "order"]) {
    element(id).addEventListener("change", (event) => { state[id] = event.target.value; state.shown = PAGE; refresh(); });
  }
  for (const id of ["share", "threshold", "outline"]) {
    element(id).addEventListener("input", (event) => { state[id] = event.target.valueAsNumber; refresh(); });
  }
  element("share-reset").addEventListener("click", () => { state.share = element("share").value = shareOfRun; refresh(); });
  element("more").addEventListener("click", () => { state.shown += PAGE; refresh(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  choose();
  return { categories, imageScores, auroc, meanAuroc, confusion, map, proCurves, listed, state };
})();
