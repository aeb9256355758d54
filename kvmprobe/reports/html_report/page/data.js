// Unpacks records, one at a time; payload.py packs them.
const data = JSON.parse(document.getElementById("data").textContent);
const text = (number) => (number < 0 ? "" : data.texts[number]);
const texts = (numbers = []) => numbers.map(text);
const familyOf = (id) => id.split(".", 1)[0];

const packed = (column, row) => data.records[column][row] || null;
const verdictOf = (record) => data.verdicts[record[0]];

// Values by name; hexadecimal strings.
function fieldsOf(number = 0) {
  const values = new Map();
  const pairs = data.fields[number];
  for (let i = 0; i < pairs.length; i += 2) values.set(text(pairs[i]), pairs[i + 1]);
  return values;
}

function callOf(number) {
  const [op, short, result, observed, expected, open] = data.calls[number];
  return { text: text(op), short: text(short), result, observed: fieldsOf(observed), expected: fieldsOf(expected), open: fieldsOf(open) };
}

// A step: its op, its observers, and the last value of each field that they read.
function stepOf(number) {
  const [numbers, log] = data.steps[number];
  const [op, ...observers] = numbers.map(callOf);
  const all = (kind) => new Map([op, ...observers].flatMap((call) => (call ? [...call[kind]] : [])));
  return { op: op ? op.text : "", short: op ? op.short : "", call: op, observers, observed: all("observed"), expected: all("expected"), open: all("open"), log: texts(log) };
}

function divergenceOf(number) {
  const [step, after, call, expected, observed, rule, details, image] = data.divergences[number];
  return {
    step,
    after: text(after),
    call: text(call),
    expected: text(expected),
    observed: text(observed),
    rule: text(rule),
    details: texts(details),
    image: image < 0 ? null : imageOf(image),
  };
}

function imageOf(number) {
  const [size, ...regions] = data.images[number];
  return {
    size,
    regions: regions.map(([name, offset, length, runs]) => ({ name: text(name), offset, length, runs })),
  };
}

function findingOf(number) {
  const [step, checker, invariant, what, other, details, known] = data.findings[number];
  return {
    step,
    checker: text(checker),
    invariant: text(invariant),
    what: text(what),
    other: text(other),
    details: texts(details),
    known,
  };
}

function crashOf(number) {
  const [step, during, headline, fn, frames, lines, telling, short, victim] = data.crashes[number];
  return {
    step,
    during: text(during),
    short: text(short),
    headline: text(headline),
    function: text(fn),
    frames: texts(frames),
    lines: texts(lines),
    telling: new Set(telling),
    who: victim === undefined ? "the host died" : `the kernel killed ${text(victim)}`,
  };
}

function recordOf(column, row) {
  const [verdict, ms, trace, known, reason, divergences, findings, crash, expected_defects, hang] = packed(column, row);
  return {
    verdict: data.verdicts[verdict],
    ms,
    steps: data.traces[trace].map(stepOf),
    known: known || [],
    reason: texts(reason).join("\n"),
    divergences: (divergences || []).map(divergenceOf),
    findings: (findings || []).map(findingOf),
    crash: (crash ?? -1) < 0 ? null : crashOf(crash),
    expected_defects: expected_defects || [],
    hang: hang ? { step: hang[0], during: text(hang[1]), lines: texts(hang[2]) } : null,
  };
}

const returned = (result) => (result < 0 ? `${data.errnos[-result]} (${-result})` : String(result));
