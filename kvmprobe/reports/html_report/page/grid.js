// Tables with cells that open a record: one tab stop, arrow keys move, Enter or a click opens.
function cell(column, row, classes = "") {
  const record = packed(column, row);
  if (!record) return el("td", { class: `none ${classes}` });
  const verdict = verdictOf(record);
  return el("td", {
    class: `v-${verdict.name} ${classes}`, tabindex: -1, "data-column": column, "data-row": row,
    "aria-label": `${data.ids[row]} on ${data.columns[column].label}: ${verdict.name}`,
  }, verdict.sign);
}

function makeGrid(table) {
  const first = table.querySelector("td[data-row]");
  if (first) first.tabIndex = 0;
  table.addEventListener("click", (event) => {
    const chosen = event.target.closest("td[data-row]");
    if (!chosen) return;
    focusCell(table, chosen);
    openCell(chosen);
  });
  table.addEventListener("keydown", (event) => {
    const from = event.target.closest("td[data-row]");
    if (!from || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") openCell(from);
    else if (!move(table, from, event.key)) return;
    event.preventDefault();
  });
  return table;
}

const openCell = (chosen) => go(Number(chosen.dataset.column), Number(chosen.dataset.row));

function focusCell(table, chosen) {
  const old = table.querySelector("td[tabindex='0']");
  if (old) old.tabIndex = -1;
  chosen.tabIndex = 0;
  chosen.focus();
}

function move(table, from, key) {
  const line = from.parentElement;
  const inLine = (tr) => [...tr.querySelectorAll("td[data-row]")];
  const place = inLine(line).indexOf(from);
  let to = null;
  if (key === "ArrowRight") to = inLine(line)[place + 1];
  else if (key === "ArrowLeft") to = inLine(line)[place - 1];
  else if (key === "Home") to = inLine(line)[0];
  else if (key === "End") to = inLine(line).at(-1);
  else if (key === "ArrowDown" || key === "ArrowUp") {
    const step = key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling";
    for (let tr = line[step]; tr && !to; tr = tr[step]) to = [...tr.children].find((td) => td.cellIndex === from.cellIndex && td.dataset.row);
  } else return false;
  if (to) focusCell(table, to);
  return true;
}

// Marks the cells of the record in the panel; returns one of them.
function markCurrent(column, row) {
  for (const old of document.querySelectorAll("td.current")) {
    old.classList.remove("current");
    if (row < 0) return old;
  }
  const cells = document.querySelectorAll(`td[data-row="${row}"][data-column="${column}"]`);
  for (const shown of cells) shown.classList.add("current");
  return cells[0] || null;
}
