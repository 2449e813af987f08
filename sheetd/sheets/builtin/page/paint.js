// @ts-check
/**
 * Turns one cell into DOM. Cells are hostile text: only textContent, attributes of our own and SVG points made from
 * numbers; a colour is a custom property that is used only where CSS accepts nothing but a colour.
 */

import { rich, shown } from "./cell.js";

/** @typedef {import("./cell.js").Cell} Cell */
/** @typedef {import("./cell.js").Rule} Rule */
/** @typedef {import("./cell.js").Spark} Spark */

export const IN = 1;
export const ACTIVE = 2;
export const TOP = 4;
export const RIGHT = 8;
export const BOTTOM = 16;
export const LEFT = 32;
export const OWNED = 64;
export const PICK = 128;
export const NUMBERS = 256;
export const CHIP = 512;

const MARK_CLASSES = /** @type {const} */ ([
  [IN, "in"], [ACTIVE, "active"], [TOP, "edge et"], [RIGHT, "edge er"], [BOTTOM, "edge eb"], [LEFT, "edge el"], [OWNED, "owned"], [PICK, "pick"], [NUMBERS, "right"],
]);
const LONGEST_SHOWN = 400; // a cell may hold 50,000 characters; the line at the top shows them all
const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {HTMLElement} element @param {Cell} cell @param {Rule | null} rule @param {number} marks @param {boolean} isHeader
 */
export function paint(element, cell, rule, marks, isHeader) {
  const looks = rich(cell);
  const text = shown(cell).slice(0, LONGEST_SHOWN).replaceAll("\n", " \u21b5 ");
  let classes = element.dataset.pin ? "cell pin" : "cell";
  for (const [bit, name] of MARK_CLASSES) if (marks & bit) classes += ` ${name}`;
  if (looks) classes += looksOf(looks);
  element.className = classes;
  dye(element, "--tint", looks?.bg ?? "");
  dye(element, "--pen", looks?.fg ?? "");
  describe(element, "title", looks?.note ?? null);
  describe(element, "aria-readonly", marks & OWNED ? "true" : null);
  describe(element, "aria-selected", marks & (IN | ACTIVE) ? "true" : "false");
  if (looks?.spark) element.replaceChildren(spark(looks.spark));
  else if (rule?.type === "checkbox" && !isHeader) element.textContent = text === "TRUE" ? "\u2611" : "\u2610";
  else if (marks & CHIP && text !== "") element.replaceChildren(labelled("chip", text));
  else if (element.textContent !== text || element.firstElementChild) element.textContent = text;
  if (marks & PICK) element.append(labelled("pick-mark", ""));
}

/** Touches the document only where something changes: this runs for every cell that scrolls in. @param {HTMLElement} element @param {string} name @param {string} colour */
function dye(element, name, colour) {
  if (element.style.getPropertyValue(name) !== colour) element.style.setProperty(name, colour);
}

/** @param {HTMLElement} element @param {string} name @param {string | null} value null: without it */
function describe(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** @param {import("./cell.js").RichCell} looks */
function looksOf(looks) {
  let classes = "";
  if (looks.k === "n" && !looks.align) classes += " right";
  if (looks.align === "right" || looks.align === "center") classes += ` ${looks.align}`;
  if (looks.bold) classes += " bold";
  if (looks.italic) classes += " italic";
  if (looks.strike) classes += " strike";
  if (looks.bg) classes += isDeep(looks.bg) ? " tint deep" : " tint";
  if (looks.fg) classes += " coloured";
  if (looks.note) classes += " noted";
  if (looks.waiting) classes += " waiting";
  return classes;
}

/** @param {string} className @param {string} text */
export function labelled(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

/** Whether white text reads better on it. @param {string} colour "#rrggbb" */
function isDeep(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * (red ?? 255) + 0.587 * (green ?? 255) + 0.114 * (blue ?? 255) < 140;
}

/** A small chart of the numbers of a SPARKLINE formula. @param {Spark} of */
function spark(of) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 28");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `chart of ${of.values.length} values`);
  const low = of.ymin ?? Math.min(...of.values, ...(of.type === "column" ? [0] : []));
  const high = of.ymax ?? Math.max(...of.values);
  const y = (/** @type {number} */ value) => 24 - (20 * (value - low)) / (high - low || 1);
  if (of.type === "column" || of.type === "winloss" || of.type === "bar") {
    const step = 100 / of.values.length;
    of.values.forEach((value, index) => {
      const bar = document.createElementNS(SVG, "rect");
      const top = of.type === "winloss" ? (value > 0 ? 4 : 15) : y(value);
      const size = { x: index * step + step * 0.1, y: top, width: step * 0.8, height: of.type === "winloss" ? 9 : Math.max(1, 26 - top) };
      for (const [name, number] of Object.entries(size)) bar.setAttribute(name, String(number));
      bar.style.fill = of.color ?? "currentcolor";
      svg.append(bar);
    });
  } else {
    const line = document.createElementNS(SVG, "polyline");
    const step = 100 / Math.max(1, of.values.length - 1);
    line.setAttribute("points", of.values.map((value, index) => `${(index * step).toFixed(2)},${y(value).toFixed(2)}`).join(" "));
    if (of.color) line.style.stroke = of.color;
    svg.append(line);
  }
  return svg;
}
