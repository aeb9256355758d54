// The console log of a crash: relevant lines are marked, the others are folded.
function consoleLog(crash) {
  const parts = [];
  let folded = [];
  const fold = () => {
    if (!folded.length) return;
    if (folded.length < 3) parts.push(...folded.map((line) => `${line}\n`));
    else parts.push(el("details", {}, el("summary", {}, `${folded.length} more lines`), folded.join("\n")));
    folded = [];
  };
  crash.lines.forEach((line, number) => {
    if (crash.telling.has(number)) {
      fold();
      parts.push(el("mark", {}, line));
    } else {
      folded.push(line);
    }
  });
  fold();
  return el("pre", { class: "console mono", tabindex: 0, "aria-label": "console of the host that died" }, parts);
}
