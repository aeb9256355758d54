// The listed rows: those with a record that matches all filters.
const field = (id) => document.getElementById(id);
const filters = {};

function readFilters() {
  filters.text = field("filter-text").value.trim().toLowerCase();
  filters.family = field("filter-family").value;
  filters.defect = field("filter-defect").value;
  filters.column = field("filter-column").value === "" ? -1 : Number(field("filter-column").value);
  filters.differing = field("filter-differing")?.checked || false;
  const ticked = document.querySelectorAll("input[name=verdict]:checked");
  filters.verdicts = new Set([...ticked].map((box) => box.value));
  filters.found = filters.text ? data.texts.map((entry) => entry.toLowerCase().includes(filters.text)) : null;
  filters.seen = new Map();
}

// True if a pooled value has a text that matches the search; each value is searched once.
function has(pool, number) {
  const key = `${pool}/${number}`;
  if (!filters.seen.has(key)) filters.seen.set(key, SEARCHED[pool](data[pool][number]));
  return filters.seen.get(key);
}

const anyFound = (numbers = []) => numbers.some((number) => filters.found[number]);
const SEARCHED = {
  calls: ([op]) => filters.found[op],
  steps: ([calls, log]) => calls.some((call) => has("calls", call)) || anyFound(log),
  traces: (steps) => steps.some((step) => has("steps", step)),
  divergences: ([, after, call, expected, observed, rule, details]) =>
    anyFound([after, call, expected, observed, rule]) || anyFound(details),
  findings: ([, checker, invariant, what, other, details]) => anyFound([checker, invariant, what, other]) || anyFound(details),
  crashes: ([, during, headline, fn, frames, lines]) => anyFound([during, headline, fn]) || anyFound(frames) || anyFound(lines),
};

function mentions(record) {
  const [, , trace, , reason, divergences, findings, crash, , hang] = record;
  return has("traces", trace) || anyFound(reason)
    || (divergences || []).some((number) => has("divergences", number))
    || (findings || []).some((number) => has("findings", number))
    || ((crash ?? -1) >= 0 && has("crashes", crash))
    || Boolean(hang?.length && (filters.found[hang[1]] || anyFound(hang[2])));
}

function fitsRecord(column, row) {
  const record = packed(column, row);
  return Boolean(record) && filters.verdicts.has(verdictOf(record).name) && fitsWhateverVerdict(column, row);
}

function fitsWhateverVerdict(column, row) {
  const record = packed(column, row);
  if (filters.column >= 0 && column !== filters.column) return false;
  const verdict = verdictOf(record);
  const known = record[3] || [];
  if (filters.defect === "-" && (known.length || !verdict.failure)) return false;
  if (filters.defect && filters.defect !== "-" && !known.includes(filters.defect)) return false;
  return !filters.text || data.ids[row].toLowerCase().includes(filters.text) || mentions(record);
}

function fitsRow(row) {
  if (filters.family && familyOf(data.ids[row]) !== filters.family) return false;
  if (filters.differing) {
    const names = new Set(data.columns.map((_, column) => packed(column, row)?.[0]).filter((v) => v !== undefined));
    if (names.size < 2) return false;
  }
  return data.columns.some((_, column) => fitsRecord(column, row));
}
