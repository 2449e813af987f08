// @ts-check
/**
 * How wide a column is when nobody has said: wide enough for its header and most of what stands in it, within bounds.
 * Measured once per snapshot, then only ever wider: a column that shrinks under the pointer is worse than a wide one.
 */

import { isBlank, rich, shown } from "./cell.js";

/** @typedef {import("./model.js").Model} Model */

const NARROWEST = 44;
const EMPTY = 92;
const WIDEST = 320;
const PROSE = 280; // a row explains itself in `message`, also before the first message is there
const SAMPLED_ROWS = 400;
const PADDING = 19;

/** @type {CanvasRenderingContext2D | null} */ let pen = null;

/** @param {string} text @param {boolean} isBold @returns {number} pixels */
export function textWidth(text, isBold = false) {
  pen ??= document.createElement("canvas").getContext("2d");
  if (!pen) return text.length * 7;
  const family = getComputedStyle(document.body).fontFamily;
  pen.font = `${isBold ? "650 " : ""}13px ${family}`;
  return pen.measureText(text).width;
}

/** @param {Model} model @param {number} colIndex @returns {number} pixels */
export function naturalWidth(model, colIndex) {
  const column = model.columns[colIndex];
  if (!column) return EMPTY;
  const header = model.frozenRows > 0 ? shown(model.at(0, colIndex)) : "";
  /** @type {string[]} */ let longest = [];
  const isStatus = colIndex === model.statusColumn;
  for (let row = model.frozenRows; row < Math.min(model.rows.length, SAMPLED_ROWS); row += 1) {
    const cell = model.at(row, colIndex);
    const text = shown(cell);
    if (text === "") continue;
    if (longest.length < 3 || text.length > (longest[2] ?? "").length) {
      longest = [...longest, text.slice(0, 80)].sort((a, b) => b.length - a.length).slice(0, 3);
    }
  }
  if (header === "" && longest.length === 0) return EMPTY;
  const content = Math.max(0, ...longest.map((text) => textWidth(text))) + (isStatus ? 24 : 0);
  const floor = /^(message|notes?)$/i.test(header) ? PROSE : NARROWEST;
  return Math.ceil(Math.min(WIDEST, Math.max(floor, content + PADDING, textWidth(header, true) + PADDING)));
}

/** Whether most of the first values of a column are numbers: its header then stands right, above them. @param {Model} model @param {number} colIndex */
export function isNumeric(model, colIndex) {
  let balance = 0;
  for (let row = model.frozenRows; row < Math.min(model.rows.length, model.frozenRows + 20); row += 1) {
    const cell = model.at(row, colIndex);
    if (!isBlank(cell)) balance += rich(cell)?.k === "n" ? 1 : -1;
  }
  return balance > 0;
}

/** The widths of one sheet's columns, by column id. */
export class Widths {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Map<number, number>} */ this.byColumn = new Map();
    /** @type {number | null} */ this.sheet = null;
  }

  /** After a snapshot. */
  measure() {
    if (this.sheet !== this.model.sheet) this.byColumn.clear();
    this.sheet = this.model.sheet;
    this.model.columns.forEach((column, index) => {
      const before = this.byColumn.get(column.id) ?? 0;
      this.byColumn.set(column.id, column.width ?? Math.max(before === EMPTY ? 0 : before, naturalWidth(this.model, index)));
    });
  }

  /** After cells changed: whether a column became wider. @param {Set<number>} colIds */
  grow(colIds) {
    let isWider = false;
    for (const id of colIds) {
      const index = this.model.columnIndex.get(id);
      const column = this.model.columns[index ?? -1];
      if (index === undefined || !column || column.width !== null) continue;
      const width = naturalWidth(this.model, index);
      if (width <= (this.byColumn.get(id) ?? 0)) continue;
      this.byColumn.set(id, width);
      isWider = true;
    }
    return isWider;
  }

  /** @param {number} colIndex @returns {number} pixels */
  of(colIndex) {
    return this.byColumn.get(this.model.columns[colIndex]?.id ?? -1) ?? EMPTY;
  }

  /** @param {number} colIndex @param {number} width */
  set(colIndex, width) {
    const column = this.model.columns[colIndex];
    if (!column) return;
    column.width = width;
    this.byColumn.set(column.id, width);
  }
}
