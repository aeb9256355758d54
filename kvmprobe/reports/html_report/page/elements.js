// Elements from values: texts become text nodes, never markup.
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const el = (name, attributes = {}, ...children) =>
  filled(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const badge = (verdict) => el("span", { class: `badge v-${verdict.name}` }, verdict.name);
// A text with possible line breaks after each bar: FP|SSE|YMM.
const breakable = (words) => words.split("|").flatMap((part, i) => (i ? ["|", document.createElement("wbr"), part] : [part]));
// The first letter of words that begin a sentence.
const sentence = (words) => words[0].toUpperCase() + words.slice(1);
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
