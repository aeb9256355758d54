// Where the bytes of two XSAVE images differ: the whole image, then each region to its own scale.
const MAP_WIDTH = 1000;
// SDM vol.1 §13.4: the legacy region and the header lie where they lie on every CPU.
const LEGACY_END = 512, HEADER_END = 576;

function imageMap(image) {
  const differing = image.regions.reduce((sum, r) => sum + r.runs.reduce((s, [, size]) => s + size, 0), 0);
  const whole = `${differing} of ${image.size} bytes in ranges that differ: ${image.regions.map((r) => r.name).join(", ")}`;
  return el("div", { class: "scroll" },
    el("div", { class: "quiet" }, `XSAVE image, ${image.size} bytes: legacy region, header, components`),
    strip(0, image.size, image.regions.flatMap((r) => r.runs), whole, [LEGACY_END, HEADER_END]),
    image.regions.map((region) => {
      const inside = region.runs.reduce((sum, [, size]) => sum + size, 0);
      const last = region.offset + region.length - 1;
      const words = `${region.name}, bytes ${region.offset}-${last}: ${inside} of ${region.length} in ${plural(region.runs.length, "differing range")}`;
      return [el("div", { class: "mono" }, words, el("span", { class: "quiet" }, ` ${ranges(region.runs)}`)),
        strip(region.offset, region.length, region.runs, words, [])];
    }));
}

const MOST_RANGES = 6;

function ranges(runs) {
  const shown = runs.slice(0, MOST_RANGES).map(([offset, size]) => (size === 1 ? `${offset}` : `${offset}-${offset + size - 1}`));
  return shown.join(", ") + (runs.length > MOST_RANGES ? `, and ${runs.length - MOST_RANGES} more` : "");
}

function strip(start, length, runs, words, marks) {
  const scale = MAP_WIDTH / length;
  return svg("svg", { viewBox: `0 0 ${MAP_WIDTH} 16`, width: "100%", height: 16, preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("rect", { x: 0, y: 2, width: MAP_WIDTH, height: 12, class: "track" }),
    marks.map((at) => svg("rect", { x: at * scale, y: 0, width: 1.5, height: 16, class: "fixed" })),
    runs.map(([offset, size]) => svg("rect", {
      x: (offset - start) * scale, y: 2, width: Math.max(size * scale, 3), height: 12, class: "run" },
    svg("title", {}, `bytes ${offset}-${offset + size - 1}`))));
}
