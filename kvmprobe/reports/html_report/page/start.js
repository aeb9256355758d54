// Events, and the address: #COLUMN/ID is one record.
const addressOf = (column, row) => `#${column}/${data.ids[row]}`;

function go(column, row) {
  if (location.hash === addressOf(column, row)) follow();
  else location.hash = addressOf(column, row);
}

function follow() {
  const [column, id] = location.hash.slice(1).split("/", 2);
  const row = data.ids.indexOf(id);
  if (row >= 0 && data.records[column]?.[row]) showDetail(Number(column), row);
  else hideDetail();
}

function leave() {
  history.pushState(null, "", location.pathname + location.search);
  hideDetail();
}

// To the next listed scenario on the same kernel, or on the first that has it.
function step(by) {
  const rows = listed.rows;
  if (!rows.length) return;
  const at = rows.indexOf(detail.row);
  const row = at < 0 ? rows[0] : rows[at + by];
  if (row === undefined) return;
  const fitting = data.columns.map((_, column) => column).filter((column) => fitsRecord(column, row));
  go(fitting.includes(detail.column) ? detail.column : fitting[0], row);
}

panel.addEventListener("click", (event) => {
  const drawn = event.target.closest("[data-step]");
  if (drawn) panel.querySelector(`#step-${drawn.dataset.step}`)?.scrollIntoView({ block: "center" });
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.close !== undefined) leave();
  else if (button.dataset.go) step(Number(button.dataset.go));
  else if (button.dataset.column) go(Number(button.dataset.column), detail.row);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select, textarea");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Escape" && !panel.hidden) leave();
  else if (typing) return;
  else if (event.key === "/") {
    event.preventDefault();
    if (!panel.hidden) leave();
    field("filter-text").focus();
  } else if (event.key === "n") step(1);
  else if (event.key === "p") step(-1);
});

field("more-kinds")?.addEventListener("click", (event) => {
  field("kinds").classList.add("all");
  event.target.remove();
});

window.addEventListener("hashchange", follow);
let pending = 0;
for (const event of ["input", "change"]) {
  field("filters").addEventListener(event, () => {
    clearTimeout(pending);
    pending = setTimeout(drawScenarios, 60);
  });
}
field("filters").addEventListener("reset", () => setTimeout(() => {
  for (const box of document.querySelectorAll("input[name=verdict]")) box.checked = true;
  drawScenarios();
}));
field("filters").addEventListener("submit", (event) => event.preventDefault());
readFilters();
startOrders();
drawScenarios();
follow();
document.documentElement.dataset.ready = "yes";
