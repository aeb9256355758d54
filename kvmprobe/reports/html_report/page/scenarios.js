// The table of scenarios (rows) and kernels (columns) that match the filters, by family.
const MOST_CELLS = 15000;
const listed = { rows: [] };

function drawScenarios() {
  readFilters();
  listed.rows = data.ids.map((_, row) => row).filter(fitsRow);
  const most = Math.max(50, Math.floor(MOST_CELLS / Math.max(1, data.columns.length)));
  document.getElementById("scenario-matrix").replaceChildren(scenarioTable(listed.rows.slice(0, most)), ...remainder(most));
  field("filter-count").textContent = `${listed.rows.length} of ${plural(data.ids.length, "scenario")}`;
  dimOrders();
  markCurrent(detail.column, detail.row);
}

function remainder(most) {
  if (listed.rows.length <= most) return [];
  const rest = el("button", { type: "button" }, `show the other ${listed.rows.length - most}`);
  rest.addEventListener("click", () => document.getElementById("scenario-matrix").replaceChildren(scenarioTable(listed.rows)));
  return [rest];
}

function scenarioTable(rows) {
  const single = data.columns.length === 1;
  const lines = [];
  let family = null;
  for (const row of rows) {
    if (familyOf(data.ids[row]) !== family) {
      family = familyOf(data.ids[row]);
      lines.push(el("tr", { class: "family" }, el("th", { scope: "rowgroup" }, family)));
    }
    lines.push(el("tr", {}, el("th", { scope: "row" }, data.ids[row]),
      data.columns.map((_, column) => cell(column, row, "wide")), el("td", { class: "none what" }, inShort(row, single))));
  }
  return makeGrid(el("table", { class: "grid", role: "grid", "aria-label": "scenarios by kernels" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "scenario"),
      data.columns.map((column) => el("th", { scope: "col", class: "mono" }, column.label)), el("th", { scope: "col" }, "known as"))),
    el("tbody", {}, lines)));
}

function inShort(row, single) {
  const known = new Set(), reasons = new Set();
  data.columns.forEach((_, column) => {
    const record = packed(column, row);
    if (!record) return;
    for (const id of record[3] || []) known.add(id);
    if (record[8]?.length) known.add(`${record[8].join(", ")} expected`);
    else if (verdictOf(record).failure && !(record[3] || []).length) known.add("not known");
    if (record[4]?.length) reasons.add(text(record[4][0]));
  });
  const words = [...known].join(", ");
  return single && !words ? [...reasons].join("; ").slice(0, 80) : words;
}
