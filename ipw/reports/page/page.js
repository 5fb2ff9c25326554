// What a page can do with a script: sort and filter tables, zoom into power over time. Without one it reads the same.
"use strict";

// --- tables: sorted by tables.js -----------------------------------------------------------------------------------

function filterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 3) return;
  const shown = make("output", {});
  const field = make("input", { type: "search" });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => (row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word))));
    shown.value = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown` : "";
  });
  table.parentElement.before(make("p", { className: "tools" }, make("label", {}, "Filter ", field), shown));
}

// --- zoom ---------------------------------------------------------------------------------------------------------

const CLOSEST = 50; // parts of the run: closer than that there is nothing to see

function zoomable(svg) {
  const { left, right, from, to } = Object.fromEntries(Object.entries(svg.dataset).map(([k, v]) => [k, Number(v)]));
  const moved = svg.querySelectorAll(".along");
  const ticks = svg.querySelector(".ticks");
  const all = [from, to];
  let window_ = all;

  const whole = make("button", { type: "button", textContent: "Whole run", disabled: true });
  const told = make("output", {});
  const hint = "Drag to zoom; with the keyboard: + and − zoom, arrows move, 0 shows all.";
  svg.before(make("p", { className: "tools" }, whole, told, make("small", { textContent: hint })));
  whole.addEventListener("click", () => show(all));

  function show([a, b]) {
    const span = Math.min(Math.max(b - a, (to - from) / CLOSEST), to - from);
    const start = Math.min(Math.max(a, from), to - span);
    window_ = [start, start + span];
    const factor = (to - from) / span;
    const shift = left - (left + ((start - from) / (to - from)) * (right - left)) * factor;
    moved.forEach((group) => group.setAttribute("transform", `matrix(${factor} 0 0 1 ${shift} 0)`));
    ticks.replaceChildren(...marks(svg.namespaceURI, ...window_, left, right, Number(ticks.dataset.y)));
    whole.disabled = factor === 1;
    told.value = factor === 1 ? "" : `${short(window_[0], span)} to ${short(window_[1], span)} s`;
  }

  const seconds = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const share = Math.min(Math.max((point.x - left) / (right - left), 0), 1);
    return window_[0] + share * (window_[1] - window_[0]);
  };
  let begun = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    begun = seconds(event);
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointerup", (event) => {
    if (begun === null) return;
    const [a, b] = [begun, seconds(event)].sort((x, y) => x - y);
    begun = null;
    if (b - a > (window_[1] - window_[0]) / 100) show([a, b]);
  });
  svg.addEventListener("dblclick", () => show(all));
  svg.parentElement.addEventListener("keydown", (event) => {
    const [a, b] = window_;
    const step = (b - a) / 4;
    const to_ = { "+": [a + step, b - step], "-": [a - 2 * step, b + 2 * step], 0: all,
      ArrowLeft: [a - step, b - step], ArrowRight: [a + step, b + step] }[event.key];
    if (!to_ || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    show(to_);
  });
}

function* marks(space, a, b, left, right, y) {
  const rough = (b - a) / 8;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => x >= rough * 0.999);
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) {
    const x = left + ((i * step - a) / (b - a)) * (right - left);
    const text = document.createElementNS(space, "text");
    const line = document.createElementNS(space, "line");
    for (const [name, value] of Object.entries({ x, y: y + 18, "text-anchor": "middle" })) text.setAttribute(name, value);
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: y, y2: y + 4 })) line.setAttribute(name, value);
    text.textContent = short(i * step, b - a);
    yield line;
    yield text;
  }
}

function short(seconds, span) {
  return seconds.toFixed(Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(span)))))
    .replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace(/^-0$/, "0");
}

document.querySelectorAll("table.sortable").forEach((table) => {
  sortable(table);
  filterable(table);
});
document.querySelectorAll("svg.zoomable").forEach(zoomable);
