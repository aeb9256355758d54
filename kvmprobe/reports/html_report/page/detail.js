// The panel with one scenario on one kernel.
const detail = { column: -1, row: -1, from: null };
const panel = document.getElementById("detail");

function showDetail(column, row) {
  if (!detail.from || !panel.contains(document.activeElement)) detail.from = document.activeElement;
  Object.assign(detail, { column, row });
  const record = recordOf(column, row);
  // The timeline asks how wide the panel is.
  panel.hidden = false;
  panel.replaceChildren(bar(column, row), ...detailBody(record, column, row));
  panel.scrollTop = 0;
  document.title = `${data.ids[row]} on ${data.columns[column].label}`;
  panel.querySelector("h2").focus({ preventScroll: true });
  markCurrent(column, row);
}

function hideDetail() {
  if (panel.hidden) return;
  panel.hidden = true;
  const cell = markCurrent(-1, -1);
  const back = detail.from && detail.from.isConnected && detail.from !== document.body ? detail.from : cell;
  detail.from = null;
  if (back) back.focus({ preventScroll: true });
}

function bar(column, row) {
  const verdict = verdictOf(packed(column, row));
  return el("div", { class: "bar" }, badge(verdict),
    el("h2", { id: "detail-heading", tabindex: -1 }, data.ids[row]),
    el("button", { type: "button", "data-go": "-1", "aria-label": "previous scenario (p)" }, "‹"),
    el("button", { type: "button", "data-go": "1", "aria-label": "next scenario (n)" }, "›"),
    el("button", { type: "button", "data-close": true, "aria-label": "close (Escape)" }, "✕"));
}

function detailBody(record, column, row) {
  const picture = timeline(record);
  return [
    data.columns.length > 1 ? otherKernels(column, row) : null,
    facts(record, column),
    picture && [el("h3", {}, "Registers by step, kernel above model"), picture],
    divergencesOf(record),
    findingsOf(record, column),
    record.crash && crashSection(record.crash),
    record.hang && [el("h3", {}, `Timed out in step ${record.hang.step}: ${record.hang.during}`),
      el("pre", { class: "console mono", tabindex: 0, "aria-label": "tasks at the deadline" }, record.hang.lines.join("\n"))],
    record.steps.length ? [el("h3", {}, "Steps"), stepsTable(record)] : null,
  ].flat(2).filter(Boolean);
}

function otherKernels(column, row) {
  const buttons = data.columns.map((other, number) => {
    const record = packed(number, row);
    if (!record) return null;
    const verdict = verdictOf(record);
    return el("button", { type: "button", class: `mono v-${verdict.name}`, "data-column": number, "aria-pressed": String(number === column),
      "aria-label": `${other.label}: ${verdict.name}` }, `${other.label} ${verdict.sign}`);
  });
  return el("div", { class: "kernels", role: "group", "aria-label": "this scenario on other kernels" }, buttons);
}

function facts(record, column) {
  const { target, source } = data.columns[column];
  const entries = [["on", `${target} (${source})`]];
  for (const id of record.known) {
    const defect = data.defects[id];
    entries.push(["known as", `${defect.label}: ${defect.title}`], ["reference", defect.reference]);
  }
  if (!record.known.length && record.verdict.failure && (record.divergences.length || record.crash)) {
    entries.push(["known as", "not known: no combination of known defects predicts this"]);
  }
  if (record.expected_defects.length) entries.push(["expected defects", record.expected_defects.join(", ")]);
  if (record.reason) entries.push(["reason", record.reason]);
  if (record.ms) entries.push(["took", `${record.ms} ms`]);
  return el("dl", { class: "facts" }, entries.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function divergencesOf(record) {
  if (!record.divergences.length) return null;
  const [first, ...later] = record.divergences;
  return [el("h3", {}, "First divergence"), divergenceBox(first, "box first"),
    later.length ? el("details", {}, el("summary", {}, `${plural(later.length, "more divergence")}, which may be consequences`),
      later.map((found) => divergenceBox(found, "box"))) : null];
}

function divergenceBox(found, kind) {
  return el("div", { class: kind }, el("h4", {}, breakable(`step ${found.step}: ${found.after}`)),
    el("dl", { class: "two" },
      el("dt", {}, "seen by"), el("dd", {}, found.call),
      el("dt", {}, "expected"), el("dd", {}, breakable(found.expected)),
      el("dt", {}, "observed"), el("dd", { class: "observed" }, breakable(found.observed)),
      el("dt", {}, "rule"), el("dd", {}, found.rule)),
    found.details.length ? el("ul", { class: "details mono" }, found.details.map((line) => el("li", {}, line))) : null,
    found.image ? imageMap(found.image) : null);
}

function findingsOf(record, column) {
  if (!record.findings.length) return null;
  return [el("h3", {}, "Found without the model"), ...record.findings.map((found) => {
    const other = data.ids.indexOf(found.other);
    const link = other >= 0 && packed(column, other) ? el("a", { class: "open", href: `#${column}/${found.other}` }, found.other) : found.other;
    return el("div", { class: "box" }, el("h4", {}, `step ${found.step}: ${found.checker} (${found.invariant})`),
      el("div", {}, found.what),
      el("div", { class: "quiet" }, found.known.length ? `explained by ${found.known.join(" and ")}` : "no known defect explains it"),
      found.other ? el("div", { class: "mono" }, "compared with ", link) : null,
      found.details.length ? el("ul", { class: "details mono" }, found.details.map((line) => el("li", {}, line))) : null);
  })];
}

function crashSection(crash) {
  return [el("h3", {}, `${sentence(crash.who)} in step ${crash.step}: ${crash.during}`),
    el("div", { class: "box first" }, el("h4", {}, crash.headline),
      el("dl", { class: "two" }, el("dt", {}, "in"), el("dd", { class: "observed" }, crash.function || "an unknown function"),
        el("dt", {}, "called by"), el("dd", {}, crash.frames.map((frame) => el("div", {}, frame))))),
    consoleLog(crash)];
}
