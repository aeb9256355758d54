// Orders (rows) by variants (columns) of one family on one kernel.
const MATRIX_FAMILIES = ["restore", "kick"];
const BLOCK_AXES = 2;
const orders = { table: null };

function startOrders() {
  const families = MATRIX_FAMILIES.filter((name) => data.ids.some((id) => familyOf(id) === name));
  if (!families.length) return;
  document.getElementById("orders").hidden = false;
  field("orders-family").append(...families.map((name) => el("option", {}, name)));
  const inMatrix = data.ids.map((id) => families.includes(familyOf(id)));
  const failing = data.columns.map((_, c) => data.records[c].filter((r, row) => r && inMatrix[row] && verdictOf(r).failure).length);
  const worst = failing.indexOf(Math.max(...failing));
  field("orders-column").append(...data.columns.map((column, number) => el("option", { value: number, selected: number === worst }, column.label)));
  for (const id of ["orders-family", "orders-column"]) field(id).addEventListener("change", drawOrders);
  drawOrders();
}

function drawOrders() {
  const family = field("orders-family").value, column = Number(field("orders-column").value);
  const rows = new Map(), variants = new Map(), rank = new Map();
  data.ids.forEach((id, number) => {
    if (familyOf(id) !== family || !packed(column, number)) return;
    const [, order, ...parts] = id.split(".");
    for (const part of parts) if (!rank.has(part)) rank.set(part, rank.size);
    const variant = parts.join(".");
    variants.set(variant, parts);
    if (!rows.has(order)) rows.set(order, new Map());
    rows.get(order).set(variant, number);
  });
  const sorted = [...variants.values()].sort((a, b) => compareRanks(a.map((p) => rank.get(p)), b.map((p) => rank.get(p))));
  const blocks = grouped(sorted, (parts) => parts.slice(0, BLOCK_AXES).join("."))
    .map((block) => grouped(block, (parts) => parts.slice(0, BLOCK_AXES + 1).join(".")));
  const bodies = [...rows].map(([order, cells]) => el("tr", {}, el("th", { scope: "row" }, order),
    blocks.map((block, b) => [b ? el("td", { class: "none block" }) : null, block.map((group, g) => [
      g ? el("td", { class: "none gap" }) : null,
      group.map((parts) => (cells.has(parts.join(".")) ? cell(column, cells.get(parts.join("."))) : el("td", { class: "none" }))),
    ].filter(Boolean))].filter(Boolean))));
  orders.table = makeGrid(el("table", { class: "grid", role: "grid", "aria-label": `${family} orders by variants on ${data.columns[column].label}` },
    el("thead", {}, headings(blocks)), el("tbody", {}, bodies)));
  document.getElementById("orders-matrix").replaceChildren(orders.table);
  const last = new Set(sorted.map((parts) => parts.slice(BLOCK_AXES + 1).join(".") || "xcr0-all"));
  const middle = new Set(sorted.map((parts) => parts[BLOCK_AXES]).filter(Boolean));
  const present = data.verdicts.filter((verdict) => [...rows.values()].some((cells) => [...cells.values()].some((n) => verdictOf(packed(column, n)) === verdict)));
  field("orders-legend").replaceChildren(
    el("span", { class: "mono" }, present.map((verdict) => `${verdict.sign} ${verdict.name}`).join("  ")),
    middle.size ? el("span", {}, `in each block, left to right: ${[...middle].join(", ")}`) : "",
    el("span", {}, `in each group: ${[...last].join(", ")}`));
  dimOrders();
  markCurrent(detail.column, detail.row);
}

function headings(blocks) {
  const spans = blocks.map((block) => block.reduce((sum, group) => sum + group.length, block.length - 1));
  return Array.from({ length: BLOCK_AXES }, (_, axis) => el("tr", {}, el("th", {}),
    blocks.map((block, b) => [b ? el("td", { class: "none block" }) : null,
      el("th", { colspan: spans[b], scope: "colgroup" }, block[0][0][axis] || "")].filter(Boolean))));
}

function grouped(items, key) {
  const groups = new Map();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) || []), item]);
  return [...groups.values()];
}

function compareRanks(a, b) {
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1);
    if (difference) return difference;
  }
  return 0;
}

function dimOrders() {
  if (!orders.table) return;
  for (const shown of orders.table.querySelectorAll("td[data-row]")) {
    const row = Number(shown.dataset.row);
    const wanted = !filters.family || familyOf(data.ids[row]) === filters.family;
    shown.classList.toggle("dim", !(wanted && fitsWhateverVerdict(Number(shown.dataset.column), row)));
  }
}
