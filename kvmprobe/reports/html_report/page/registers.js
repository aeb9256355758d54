// The registers of the timeline.
const REGISTERS = ["XCR0", "XFD", "XSTATE_BV", "XFD_ERR"];
const bitmaps = new Set(data.bitmaps);
// Components that come and go together, under one name (SDM vol.1 §13.1).
const TOGETHER = [
  [[5, 6, 7], "AVX512"],
  [[17, 18], "XTILE"],
  [[3, 4], "MPX"],
  [[11, 12], "CET"],
];

// A value from hexadecimal, as the 64 bits of a register.
const registerOf = (text) => BigInt.asUintN(64, text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text));

function bitsOf(register) {
  const bits = [];
  for (let rest = register, nr = 0; rest > 0n; rest >>= 1n, nr += 1) if (rest & 1n) bits.push(nr);
  return bits;
}

const featureName = (nr) => data.features[nr] || `bit ${nr}`;

function shortNames(bits) {
  let rest = [...bits];
  const names = [];
  for (const nr of bits) {
    const group = TOGETHER.find(([members]) => members[0] === nr && members.every((m) => rest.includes(m)));
    if (group) {
      names.push(group[1]);
      rest = rest.filter((m) => !group[0].includes(m));
    } else if (rest.includes(nr)) {
      names.push(featureName(nr));
    }
  }
  return names.join(" ");
}

function valueText(name, value) {
  if (data.names[name]) return data.names[name][value] || value;
  if (!bitmaps.has(name) || value === "0x0") return value;
  return `${value} (${bitsOf(registerOf(value)).map(featureName).join("|")})`;
}
