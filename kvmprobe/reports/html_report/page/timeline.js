// The drawing of XCR0, XFD, XSTATE_BV and XFD_ERR by step: for each bit, the kernel above the model.
const LABELS = 172, TOP = 194, KERNEL = 9, MODEL = 7, LANE = 23, NAME = 17;
// Columns of steps that read a register share the available width; others are as wide as a text.
const WIDEST = 64, NARROWEST = 20, NARROW = 14, MARGIN = 44;
const LONGEST_OP = 30, LONGEST_LANE = 27;

// The value of each register at each step; null if it was not read.
function histories(steps) {
  const found = [];
  for (const name of REGISTERS) {
    const points = steps.map((step) => {
      const kernel = step.observed.get(name) ?? null;
      const model = step.expected.get(name) ?? kernel;
      return model === null ? null : {
        kernel: kernel === null ? null : registerOf(kernel),
        model: registerOf(model),
        open: registerOf(step.open.get(name) ?? "0x0"),
      };
    });
    if (points.some(Boolean)) found.push({ name, points, lanes: lanesOf(points) });
  }
  return found;
}

// Bits with the same history share a lane.
function lanesOf(points) {
  let union = 0n;
  for (const point of points) if (point) union |= (point.kernel ?? 0n) | point.model | point.open;
  const lanes = new Map();
  for (const nr of bitsOf(union)) {
    const bit = (value) => (value === null ? "-" : String((value >> BigInt(nr)) & 1n));
    const key = points.map((p) => (p ? bit(p.kernel) + bit(p.model) + bit(p.open) : "...")).join("");
    if (!lanes.has(key)) lanes.set(key, { bits: [], cells: points.map((p) => p && {
      kernel: bit(p.kernel), model: bit(p.model), open: bit(p.open) === "1" }) });
    lanes.get(key).bits.push(nr);
  }
  return [...lanes.values()];
}

const differs = (cell) => cell && !cell.open && cell.kernel !== cell.model;

const clipped = (words, longest) => (words.length > longest ? `${words.slice(0, longest - 1)}…` : words);

function shortOp(step) {
  const refused = step.call && step.call.result < 0 ? ` ${data.errnos[-step.call.result]}` : "";
  return clipped(step.short, LONGEST_OP - refused.length) + refused;
}

function timeline(record) {
  const steps = [...record.steps];
  const crashed = record.crash && record.crash.step >= steps.length;
  if (crashed) {
    steps.push({ op: record.crash.during, short: record.crash.short, observers: [], observed: new Map(), expected: new Map(), open: new Map(), log: [] });
  }
  const registers = histories(steps);
  if (!registers.length) return null;
  const xs = places(steps.map((_, i) => registers.some((register) => register.points[i]) || (crashed && i === steps.length - 1)));
  const x = xs.at(-1).x + xs.at(-1).width;
  const rows = registers.reduce((sum, r) => sum + NAME + LANE * Math.max(1, r.lanes.length), 0);
  const bottom = TOP + rows;
  const width = x + 4, height = bottom + 20;
  const diverging = new Set(record.divergences.map((d) => d.step));
  const first = record.divergences.length ? record.divergences[0].step : -1;
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": spoken(record, steps, registers),
  });
  steps.forEach((step, i) => picture.append(...stepColumn(step, i, xs[i], bottom, {
    diverges: diverging.has(i), first: i === first, dies: crashed && i === steps.length - 1 })));
  let y = TOP;
  for (const register of registers) {
    picture.append(svg("text", { x: 0, y: y + 12, class: "t-name" }, register.name),
      svg("line", { x1: LABELS, x2: x, y1: y + 8.5, y2: y + 8.5, class: "rule" }));
    y += NAME;
    const lanes = register.lanes.length ? register.lanes : [{ bits: [], cells: register.points.map((p) => p && {
      kernel: p.kernel === null ? "-" : "0", model: "0", open: false }) }];
    for (const lane of lanes) {
      picture.append(...drawnLane(lane, y, xs));
      y += LANE;
    }
  }
  steps.forEach((step, i) => picture.append(hitBox(step, i, xs[i], bottom, registers)));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "timeline" }, picture, legend());
}

function places(reading) {
  const many = reading.filter(Boolean).length;
  const room = panel.clientWidth - MARGIN - LABELS - NARROW * (reading.length - many);
  const wide = Math.max(NARROWEST, Math.min(WIDEST, Math.floor(room / many)));
  const found = [];
  let x = LABELS;
  for (const reads of reading) {
    found.push({ x, width: reads ? wide : NARROW });
    x += reads ? wide : NARROW;
  }
  return found;
}

function stepColumn(step, i, place, bottom, marks) {
  const middle = place.x + place.width / 2;
  const parts = [];
  if (marks.diverges) parts.push(svg("rect", { x: place.x, y: 0, width: place.width, height: bottom, class: "bad" }));
  if (marks.dies) parts.push(svg("rect", { x: place.x + 4, y: TOP, width: place.width - 8, height: bottom - TOP, class: "dies" }));
  parts.push(svg("text", {
    transform: `translate(${middle + 3.5} ${TOP - 8}) rotate(-90)`, class: marks.diverges || marks.dies ? "t-alarm" : "",
  }, shortOp(step)));
  const sign = marks.dies ? "✕" : marks.first ? "▲" : "";
  parts.push(svg("text", { x: middle, y: bottom + 12, "text-anchor": "middle",
    class: marks.diverges || marks.dies ? "t-alarm" : "t-quiet" }, `${i}${sign}`));
  return parts;
}

function drawnLane(lane, y, xs) {
  const label = lane.bits.length ? shortNames(lane.bits) : "no bit set";
  const parts = [svg("text", { x: LABELS - 8, y: y + 12, "text-anchor": "end", class: lane.bits.length ? "" : "t-quiet" },
    clipped(label, LONGEST_LANE), svg("title", {}, lane.bits.map((nr) => `${nr} ${featureName(nr)}`).join(", ")))];
  const strips = [["kernel", y, KERNEL], ["model", y + KERNEL + 1, MODEL]];
  for (const [who, top, height] of strips) {
    lane.cells.forEach((cell, i) => {
      const { x, width } = xs[i];
      if (!cell || cell[who] === "-") return;
      if (cell[who] === "1") parts.push(svg("rect", { x, y: top, width: width + 0.3, height, class: who }));
      else parts.push(svg("line", { x1: x, x2: x + width, y1: top + height - 0.5, y2: top + height - 0.5, class: "base" }));
      if (who === "model" && cell.open) parts.push(svg("rect", { x: x + 1, y: top, width: width - 2, height, class: "open-bit" }));
    });
  }
  lane.cells.forEach((cell, i) => {
    if (differs(cell)) {
      parts.push(svg("rect", { x: xs[i].x + 1, y: y - 1.5, width: xs[i].width - 2, height: KERNEL + MODEL + 4, rx: 2, class: "differs" }));
    }
  });
  return parts;
}

function hitBox(step, i, place, bottom, registers) {
  const lines = [`step ${i}: ${step.op}${step.call ? `, ${returned(step.call.result)}` : ""}`];
  for (const { name, points } of registers) {
    const point = points[i];
    if (!point) continue;
    const model = `0x${point.model.toString(16)}`;
    const kernel = point.kernel === null ? "not read" : `0x${point.kernel.toString(16)}`;
    const reader = step.observers.findLast((call) => call.observed.has(name));
    const by = reader && reader.text ? `, ${reader.text}` : "";
    lines.push(kernel === model ? `${name} ${kernel}${by}` : `${name} kernel ${kernel}, model ${model}${by}`);
  }
  return svg("rect", { x: place.x, y: 0, width: place.width, height: bottom, class: "hit", "data-step": i }, svg("title", {}, lines.join("\n")));
}

// A description of the drawing: where kernel and model differ.
function spoken(record, steps, registers) {
  const parts = [];
  for (const { name, points } of registers) {
    const at = points.findIndex((p) => p && (p.kernel === null || (p.kernel ^ p.model) & ~p.open));
    if (at < 0) continue;
    const { kernel, model } = points[at];
    const seen = kernel === null ? "nothing" : `0x${kernel.toString(16)}`;
    parts.push(`from step ${at} on, ${steps[at].op}: kernel has ${name} ${seen}, model 0x${model.toString(16)}`);
  }
  const end = record.crash ? ` ${sentence(record.crash.who)} in step ${record.crash.step}.` : "";
  const names = registers.map((r) => r.name).join(", ");
  return `${names} over ${steps.length} steps; ${parts.join("; ") || "kernel and model agree in them"}.${end}`;
}

function legend() {
  const entry = (name, words) => el("span", {},
    svg("svg", { class: "swatch", viewBox: "0 0 18 9", "aria-hidden": "true" },
      svg("rect", { x: 1, y: 1, width: 16, height: 7, class: name })), words);
  return el("div", { class: "legend" }, entry("kernel", "kernel: bit set"), entry("model", "model: bit set"),
    entry("open-bit", "legal either way"), entry("differs", "kernel ≠ model"),
    el("span", {}, "▲ first divergence"), el("span", {}, "✕ host or task died"));
}
