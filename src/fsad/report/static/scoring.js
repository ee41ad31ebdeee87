"use strict";
// What fsad.functional.scoring and fsad.metrics compute, once more in the page. Image scores are
// computed in float32, operation by operation as there; maps in float64.
const fsad = (() => {
  const f32 = Math.fround;

  /** Base64 of little-endian float32 to numbers. */
  function floats(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  /** A share of the first part and the rest of the second, both arrays of image scores. */
  function fuseScores(first, second, share) {
    const one = f32(share), rest = f32(1 - share);
    return first.map((value, i) => f32(f32(one * value) + f32(rest * second[i])));
  }

  /** The same for maps, in float64. */
  function fuseMaps(first, second, share) {
    return first.map((value, i) => share * value + (1 - share) * second[i]);
  }

  /** How often a defective image scores above a good one, ties counting half; null for one kind. */
  function auroc(scores, labels) {
    const order = [...scores.keys()].sort((a, b) => scores[a] - scores[b]);
    let below = 0, wins = 0;
    for (let i = 0; i < order.length; ) {
      let good = 0, defective = 0;
      const value = scores[order[i]];
      for (; i < order.length && scores[order[i]] === value; i++) {
        if (labels[order[i]]) defective++;
        else good++;
      }
      wins += defective * (below + good / 2);
      below += good;
    }
    const defective = order.length - below;
    return below && defective ? wins / (below * defective) : null;
  }

  /** ROC: false and true positive rates while the threshold falls, one point per score. */
  function roc(scores, labels) {
    const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
    const x = [0], y = [0];
    let good = 0, defective = 0;
    order.forEach((place, i) => {
      if (labels[place]) defective++;
      else good++;
      if (i + 1 === order.length || scores[order[i + 1]] !== scores[place]) {
        x.push(good);
        y.push(defective);
      }
    });
    return { x: x.map((it) => it / good), y: y.map((it) => it / defective) };
  }

  /** Count images; one is called defective above the threshold. */
  function confusion(scores, labels, threshold) {
    const counts = { found: 0, missed: 0, alarms: 0, passed: 0 };
    scores.forEach((score, i) => {
      if (labels[i]) counts[score > threshold ? "found" : "missed"]++;
      else counts[score > threshold ? "alarms" : "passed"]++;
    });
    return counts;
  }

  /** Share of the images of the other kind that are on the wrong side of each, ties half. */
  function mistakes(scores, labels) {
    const good = scores.filter((_, i) => !labels[i]), defective = scores.filter((_, i) => labels[i]);
    return Array.from(scores, (score, i) => {
      const others = labels[i] ? good : defective;
      if (!others.length) return 0;
      const lower = count(others, (it) => it < score), ties = count(others, (it) => it === score);
      return ((labels[i] ? others.length - lower - ties : lower) + ties / 2) / others.length;
    });
  }

  function count(values, holds) {
    let found = 0;
    for (const value of values) found += holds(value);
    return found;
  }

  /**
   * Enlarging (bilinear, pixel centres aligned) and blurring (Gaussian cut at four sigmas, mirrored
   * at the border) are linear and separable: one matrix, applied to rows and to columns. Returns
   * its rows, each with the first of its entries that are not 0.
   */
  function enlarging(cells, size, sigma, most) {
    const key = `${cells} ${size} ${sigma} ${most}`;
    if (!known.has(key)) known.set(key, makeEnlarging(cells, size, sigma, most));
    return known.get(key);
  }
  const known = new Map();

  function makeEnlarging(cells, size, sigma, most) {
    const rows = Array.from({ length: size }, (_, i) => {
      const row = new Float64Array(cells);
      const at = Math.max(0, ((i + 0.5) * cells) / size - 0.5), first = Math.floor(at);
      row[first] += 1 - (at - first);
      row[Math.min(first + 1, cells - 1)] += at - first;
      return row;
    });
    const reach = sigma ? Math.min(Math.ceil(4 * sigma), most) : 0;
    const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) =>
      sigma ? Math.exp(-0.5 * ((i - reach) / sigma) ** 2) : 1);
    const total = kernel.reduce((sum, it) => sum + it, 0);
    return rows.map((_, i) => {
      const row = new Float64Array(cells);
      kernel.forEach((weight, k) => {
        let place = Math.abs(i + k - reach); // mirrored, the border itself not repeated
        if (place >= size) place = 2 * (size - 1) - place;
        for (let c = 0; c < cells; c++) row[c] += (weight / total) * rows[place][c];
      });
      const first = row.findIndex((it) => it !== 0);
      const last = row.findLastIndex((it) => it !== 0);
      return { first, weights: row.slice(first, last + 1) };
    });
  }

  /** Height and width; one number is both. */
  const both = (size) => (Array.isArray(size) ? size : [size, size]);

  /** Anomaly map of patch scores (h x w, row by row): height x width, row by row. */
  function anomalyMap(patches, [h, w], size, sigma) {
    const [height, width] = both(size), reach = Math.min(height, width) - 1;
    const down = enlarging(h, height, sigma, reach), across = enlarging(w, width, sigma, reach);
    const wide = new Float64Array(h * width); // rows of patches, enlarged along themselves
    for (let r = 0; r < h; r++) {
      across.forEach(({ first, weights }, x) => {
        let sum = 0;
        for (let c = 0; c < weights.length; c++) sum += weights[c] * patches[r * w + first + c];
        wide[r * width + x] = sum;
      });
    }
    const map = new Float64Array(height * width);
    down.forEach(({ first, weights }, y) => {
      for (let r = 0; r < weights.length; r++) {
        const weight = weights[r], from = (first + r) * width, to = y * width;
        for (let x = 0; x < width; x++) map[to + x] += weight * wide[from + x];
      }
    });
    return map;
  }

  /** Range of the fused maps at a share between two of the rows [share, low, high], which rise. */
  function limitsAt(rows, share) {
    const after = Math.max(1, rows.findIndex((row) => row[0] >= share));
    const [before, next] = [rows[after - 1], rows[after]];
    const way = (share - before[0]) / (next[0] - before[0]);
    return [1, 2].map((i) => before[i] + way * (next[i] - before[i]));
  }

  // The colours of fsad.scores.colormap: dark blue over green to yellow.
  const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

  /** Colour a map on a canvas, and outline what is above the threshold. */
  function paint(canvas, map, size, [low, high], threshold) {
    const [height, width] = both(size);
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    const inside = (x, y) => x < 0 || y < 0 || x >= width || y >= height || map[y * width + x] > threshold;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const edge = map[at] > threshold &&
          !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
        const level = Math.min(1, Math.max(0, (map[at] - low) / Math.max(high - low, 1e-12))) * 4;
        const stop = Math.min(3, Math.floor(level)), share = level - stop;
        for (let i = 0; i < 3; i++) {
          image.data[4 * at + i] = edge ? [255, 45, 85][i]
            : Math.round(STOPS[stop][i] + share * (STOPS[stop + 1][i] - STOPS[stop][i]));
        }
        image.data[4 * at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  return {
    floats, fuseScores, fuseMaps, auroc, roc, confusion, mistakes, anomalyMap, limitsAt, paint,
  };
})();
