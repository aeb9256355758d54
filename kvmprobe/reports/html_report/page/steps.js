// The table of the steps: each op with its result, then its observers and the values they read.
function stepsTable(record) {
  const diverging = new Set(record.divergences.map((d) => `${d.step} ${d.call}`));
  const before = new Map();
  const bodies = record.steps.map((step, number) => {
    const wrong = (call) => diverging.has(`${number} ${call.text}`) || call.expected.size > 0;
    const op = step.call && callRow(String(number), step.call, wrong(step.call), [...step.call.observed]);
    const observers = grouped(step.observers.map((call, place) => ({ call, news: newsOf(call, before), place })),
      ({ call, news, place }) => (news.length || wrong(call) || call.result < 0 ? place : "quiet"));
    return el("tbody", { id: `step-${number}` }, op,
      step.log.map((line) => el("tr", {}, el("td", {}), el("td", { class: "log", colspan: 3 }, line))),
      observers.map((group) => (group.length === 1 ? callRow("", group[0].call, wrong(group[0].call), group[0].news) : quietRow(group))));
  });
  if (record.crash) bodies.push(lastRow(record.crash, record.crash.who));
  else if (record.hang) bodies.push(lastRow(record.hang, "timed out"));
  return el("div", { class: "scroll" }, el("table", { class: "steps" },
    el("thead", {}, el("tr", {}, ["#", "call and its observers", "result", "values; of observers, the changed ones"].map((name) => el("th", { scope: "col" }, name)))),
    bodies));
}

function lastRow({ step, during }, what) {
  return el("tbody", { id: `step-${step}` }, el("tr", { class: "diverges" }, el("td", { class: "nr" }, String(step)),
    el("td", {}, during), el("td", {}, ""), el("td", { class: "wrong" }, `✕ ${what}`)));
}

// The values that an observer reads for the first time, or that have changed.
function newsOf(call, before) {
  const key = (name) => `${call.text} ${name}`;
  const news = [...call.observed].filter(([name, value]) => before.get(key(name)) !== value || call.expected.has(name));
  for (const [name, value] of call.observed) before.set(key(name), value);
  return news;
}

function callRow(number, call, wrong, read) {
  const missing = [...call.expected.keys()].filter((name) => !call.observed.has(name));
  const nothing = !number && call.result >= 0 && !read.length && !missing.length;
  return el("tr", { class: [number ? null : "observer", wrong ? "diverges" : null].filter(Boolean).join(" ") || null },
    el("td", { class: "nr" }, number),
    el("td", {}, breakable(call.text)),
    el("td", { class: "result" }, returned(call.result)),
    el("td", {}, read.map(([name, value]) => seen(name, value, call)), missing.map((name) => seen(name, "not read", call)),
      nothing ? el("span", { class: "same" }, "as before") : ""));
}

// Observers whose values have not changed.
function quietRow(group) {
  const names = group.map(({ call }) => call.text);
  return el("tr", { class: "observer" }, el("td", { class: "nr" }), el("td", {}, names.join(", ")),
    el("td", { class: "result" }, group.map(({ call }) => returned(call.result)).join(", ")),
    el("td", {}, el("span", { class: "same" }, "as before")));
}

function seen(name, value, call) {
  const expected = call.expected.get(name), open = call.open.get(name);
  const shown = breakable(`${name}=${valueText(name, value)}`);
  const either = open ? el("span", { class: "same" }, breakable(` (${valueText(name, open)} either way)`)) : "";
  if (expected === undefined || expected === value) return [el("span", { class: "value" }, shown, either), " "];
  return el("div", {}, el("span", { class: "wrong" }, shown), breakable(` expected ${valueText(name, expected)}`), either);
}
