// @ts-check
/**
 * Which cells are selected: an active cell and the opposite corner, both by stable ids, so that the selection follows
 * its rows when others insert, delete or sort. When its row is deleted it falls to the row that took the place.
 */

import { isBlank } from "./cell.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./cell.js").Address} Address */
/** @typedef {{row: number, col: number}} Position  Indices, valid until the next patch. */
/** @typedef {{top: number, left: number, bottom: number, right: number}} Range */

export class Selection {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Address | null} */ this.active = null;
    /** @type {Address | null} */ this.corner = null;
    /** @type {Position} */ this.lastActive = { row: 0, col: 0 };
    /** @type {Position} */ this.lastCorner = { row: 0, col: 0 };
    /** @type {number | null} column in which a run of Tabs began: Enter returns there */ this.tabHome = null;
  }

  /** Finds the ids again after a patch. Call before positions are used. */
  settle() {
    this.lastActive = this.#position(this.active, this.lastActive);
    this.lastCorner = this.#position(this.corner, this.lastCorner);
    this.active = this.#address(this.lastActive);
    this.corner = this.#address(this.lastCorner);
  }

  /** @returns {Position} */
  position() {
    this.settle();
    return this.lastActive;
  }

  /** @returns {Range} */
  range() {
    this.settle();
    const [a, b] = [this.lastActive, this.lastCorner];
    return { top: Math.min(a.row, b.row), bottom: Math.max(a.row, b.row), left: Math.min(a.col, b.col), right: Math.max(a.col, b.col) };
  }

  /** @param {Position} to @param {Position} [corner] */
  set(to, corner = to) {
    this.lastActive = this.#clamp(to);
    this.lastCorner = this.#clamp(corner);
    this.active = this.#address(this.lastActive);
    this.corner = this.#address(this.lastCorner);
    this.tabHome = null;
  }

  /** @param {Position} to keeps the active cell, moves the opposite corner */
  extend(to) {
    this.settle();
    this.set(this.lastActive, to);
  }

  /** @param {number} rows @param {number} cols @param {boolean} isExtending */
  move(rows, cols, isExtending) {
    this.settle();
    const from = isExtending ? this.lastCorner : this.lastActive;
    const to = { row: from.row + rows, col: from.col + cols };
    if (isExtending) this.extend(to);
    else this.set(to);
  }

  /** Ctrl+arrow: to the end of the filled stretch, or to the next filled cell. @param {number} rows @param {number} cols @param {boolean} isExtending */
  jump(rows, cols, isExtending) {
    this.settle();
    let { row, col } = isExtending ? this.lastCorner : this.lastActive;
    const isInside = (/** @type {number} */ r, /** @type {number} */ c) =>
      r >= 0 && c >= 0 && r < this.model.rows.length && c < this.model.columns.length;
    const isFilled = (/** @type {number} */ r, /** @type {number} */ c) => isInside(r, c) && !isBlank(this.model.at(r, c));
    if (!isInside(row + rows, col + cols)) return;
    const walksStretch = isFilled(row, col) && isFilled(row + rows, col + cols);
    do {
      row += rows;
      col += cols;
    } while (isInside(row + rows, col + cols) && (walksStretch ? isFilled(row + rows, col + cols) : !isFilled(row, col)));
    if (isExtending) this.extend({ row, col });
    else this.set({ row, col });
  }

  /** @returns {Position} the last row and column in which anything stands */
  lastUsed() {
    const used = { row: 0, col: 0 };
    this.model.rows.forEach((_, row) => {
      for (let col = this.model.columns.length - 1; col >= 0; col -= 1) {
        if (isBlank(this.model.at(row, col))) continue;
        used.row = row;
        used.col = Math.max(used.col, col);
        break;
      }
    });
    return used;
  }

  /** @returns {number[]} ids of the selected rows, from top to bottom */
  rowIds() {
    const { top, bottom } = this.range();
    return this.model.rows.slice(top, bottom + 1).map((row) => row.id);
  }

  /** @param {Address | null} address @param {Position} last @returns {Position} */
  #position(address, last) {
    const row = address ? this.model.indexOf(address.row) : -1;
    const col = address ? (this.model.columnIndex.get(address.col) ?? -1) : -1;
    return this.#clamp({ row: row < 0 ? last.row : row, col: col < 0 ? last.col : col });
  }

  /** @param {Position} at @returns {Position} */
  #clamp({ row, col }) {
    return {
      row: Math.max(0, Math.min(row, this.model.rows.length - 1)),
      col: Math.max(0, Math.min(col, this.model.columns.length - 1)),
    };
  }

  /** @param {Position} at @returns {Address | null} */
  #address({ row, col }) {
    const [there, column] = [this.model.rows[row], this.model.columns[col]];
    return there && column ? { row: there.id, col: column.id } : null;
  }
}
