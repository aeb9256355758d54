// The steps as a table: what was asked, what came back, what was read and changed by it.
function stepsTable(record) {
  const diverging = new Set(record.divergences.map((d) => d.step));
  const before = new Map();
  const rows = record.steps.map((step, number) => {
    const read = [...step.observed].filter(([name, value]) => before.get(name) !== value || step.expected.has(name));
    for (const [name, value] of step.observed) before.set(name, value);
    const missing = [...step.expected.keys()].filter((name) => !step.observed.has(name));
    return el("tr", { class: diverging.has(number) ? "diverges" : null, id: `step-${number}` },
      el("td", { class: "nr" }, String(number)),
      el("td", {}, step.op, step.log.map((line) => el("div", { class: "log" }, line))),
      el("td", { class: "result" }, step.results.length ? returned(step.results[0]) : ""),
      el("td", {}, read.map(([name, value]) => seen(name, value, step.expected.get(name))),
        missing.map((name) => seen(name, "not read", step.expected.get(name))),
        step.observed.size && !read.length && !missing.length ? el("span", { class: "same" }, "as before") : ""));
  });
  if (record.crash) {
    rows.push(el("tr", { class: "diverges" }, el("td", { class: "nr" }, String(record.crash.step)),
      el("td", {}, record.crash.during), el("td", {}, ""), el("td", { class: "wrong" }, `✕ ${record.crash.who}`)));
  }
  return el("div", { class: "scroll" }, el("table", { class: "steps" },
    el("thead", {}, el("tr", {}, ["#", "call", "result", "read afterwards, where it changed"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows)));
}

function seen(name, value, expected) {
  if (expected === undefined) return [el("span", { class: "value" }, `${name}=${valueText(name, value)}`), " "];
  return el("div", {}, el("span", { class: "wrong" }, `${name}=${valueText(name, value)}`), ` expected ${valueText(name, expected)}`);
}
