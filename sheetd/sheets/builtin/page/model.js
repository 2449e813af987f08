// @ts-check
/**
 * The sheet as the server last told it, plus the person's own edits that are still on their way.
 *
 * Everything is addressed by stable row and column ids; positions are looked up when something is drawn or a key is
 * pressed. Patches are taken at once, whatever a person is doing. A cell whose edit is not acknowledged yet is masked:
 * it shows what was typed, because an older value arriving late must not flicker over it.
 * Weak point: positions are rebuilt as a whole when rows come, go or move (10,000 rows: about a millisecond).
 */

import { expected, shown } from "./cell.js";

/** @typedef {import("./cell.js").Cell} Cell */
/** @typedef {import("./cell.js").Column} Column */
/** @typedef {import("./cell.js").Row} Row */
/** @typedef {import("./cell.js").Rule} Rule */
/** @typedef {{sheet: number, title: string, color?: string, hidden?: boolean}} Tab */
/** @typedef {{seq: number, text: string, base: Cell | undefined, cell: Cell}} Mask */

export class Model {
  constructor() {
    /** @type {number | null} */ this.rev = null;
    /** @type {number | null} */ this.sheet = null;
    this.title = "";
    this.frozenRows = 0;
    this.frozenColumns = 0;
    /** @type {Tab[]} */ this.tabs = [];
    /** @type {Column[]} */ this.columns = [];
    /** @type {Row[]} */ this.rows = [];
    /** @type {Record<string, Rule>} */ this.rules = {};
    /** @type {Map<number, Row>} */ this.rowById = new Map();
    /** @type {Map<number, number>} */ this.columnIndex = new Map();
    /** @type {Map<number, number> | null} */ this.positions = null;
    /** +1 with every change of what is shown: what is counted over all rows is counted once per version. */
    this.version = 0;
    /** @type {Map<number, Map<number, Map<number, Mask>>>} sheet, row, column */ this.masks = new Map();
  }

  /** @param {any} snapshot */
  take(snapshot) {
    this.version += 1;
    this.rev = snapshot.rev;
    this.sheet = snapshot.sheet;
    this.title = snapshot.title;
    this.tabs = snapshot.tabs;
    this.frozenRows = Math.min(snapshot.frozen?.rows ?? 0, snapshot.rows.length);
    this.rules = snapshot.rules ?? {};
    const all = snapshot.columns.map((/** @type {any} */ column, /** @type {number} */ at) => ({ ...column, at }));
    this.columns = all.filter((/** @type {Column} */ column) => !column.hidden);
    this.frozenColumns = this.columns.filter((column) => column.at < (snapshot.frozen?.columns ?? 0)).length;
    this.columnIndex = new Map(this.columns.map((column, index) => [column.id, index]));
    this.rows = snapshot.rows.map(asRow);
    this.rowById = new Map(this.rows.map((row) => [row.id, row]));
    this.positions = null;
  }

  /** @param {any} patch */
  apply(patch) {
    this.version += 1;
    for (const op of patch.ops) {
      if (op.op === "cells") this.#setCells(op.cells);
      else if (op.op === "rules") Object.assign(this.rules, op.rules);
      else if (op.op === "tabs") this.tabs = op.tabs;
      else if (op.op === "title") this.title = op.title;
      else this.#moveRows(op);
    }
    this.rev = patch.rev;
  }

  /** @param {[number, number, Cell][]} cells */
  #setCells(cells) {
    for (const [rowId, colId, cell] of cells) {
      const row = this.rowById.get(rowId);
      const column = this.columns[this.columnIndex.get(colId) ?? -1];
      if (!row || !column) continue; // a hidden column, or a row deleted later in the same patch
      while (row.cells.length <= column.at) row.cells.push(null);
      row.cells[column.at] = cell;
    }
  }

  /** @param {any} op */
  #moveRows(op) {
    if (op.op === "delete") {
      const gone = new Set(op.ids);
      this.rows = this.rows.filter((row) => !gone.has(row.id));
      for (const id of op.ids) this.rowById.delete(id);
    } else if (op.op === "insert") {
      const fresh = op.rows.map(asRow);
      const place = op.after === null ? 0 : this.indexOf(op.after) + 1;
      this.rows = [...this.rows.slice(0, place), ...fresh, ...this.rows.slice(place)];
      for (const row of fresh) this.rowById.set(row.id, row);
    } else if (op.op === "order") {
      this.rows = op.rows.flatMap((/** @type {number} */ id) => this.rowById.get(id) ?? []);
    } else {
      throw new Error(`the server sent an operation that this page does not know: ${op.op}`);
    }
    this.positions = null;
  }

  /** @param {number} rowId @returns {number} its position, or -1 when the row is gone */
  indexOf(rowId) {
    this.positions ??= new Map(this.rows.map((row, index) => [row.id, index]));
    return this.positions.get(rowId) ?? -1;
  }

  /** @param {number} rowIndex @param {number} colIndex @returns {Cell} with the person's own edit on top */
  at(rowIndex, colIndex) {
    const row = this.rows[rowIndex];
    const column = this.columns[colIndex];
    if (!row || !column) return null;
    const cell = row.cells[column.at] ?? null;
    const mask = this.masks.size > 0 ? this.masks.get(this.sheet ?? -1)?.get(row.id)?.get(column.id) : undefined;
    if (!mask) return cell;
    if (mask.base !== cell) {
      mask.base = cell;
      mask.cell = expected(cell, mask.text);
    }
    return mask.cell;
  }

  /** @param {number} rowId @param {number} colId @returns {Cell} */
  cell(rowId, colId) {
    return this.at(this.indexOf(rowId), this.columnIndex.get(colId) ?? -1);
  }

  /** @param {number} rowIndex @param {number} colIndex */
  isOwned(rowIndex, colIndex) {
    const column = this.columns[colIndex];
    return Boolean(column?.owned) && rowIndex >= (column?.ownedFrom ?? 0);
  }

  /** @param {Cell} cell @returns {Rule | null} */
  ruleOf(cell) {
    return cell !== null && typeof cell === "object" && cell.d !== undefined ? (this.rules[cell.d] ?? null) : null;
  }

  /** @param {number} colIndex @returns {string} the header text, else the column's letter */
  columnTitle(colIndex) {
    const header = this.frozenRows > 0 ? shown(this.at(0, colIndex)) : "";
    return header || (this.columns[colIndex]?.name ?? "");
  }

  /** @returns {number} the column whose header is "status", or -1 */
  get statusColumn() {
    return this.frozenRows > 0 ? this.columns.findIndex((_, col) => shown(this.at(0, col)).trim().toLowerCase() === "status") : -1;
  }

  /** @param {number} sheet @param {number} seq @param {[number, number, string][]} cells */
  mask(sheet, seq, cells) {
    this.version += 1;
    const rows = this.masks.get(sheet) ?? new Map();
    this.masks.set(sheet, rows);
    for (const [row, col, text] of cells) {
      if (!rows.has(row)) rows.set(row, new Map());
      rows.get(row).set(col, { seq, text, base: undefined, cell: null });
    }
  }

  /** Drops the masks of one edit; a later edit of the same cell keeps its own. @param {number} seq */
  unmask(seq) {
    this.version += 1;
    for (const [sheet, rows] of this.masks) {
      for (const [row, columns] of rows) {
        for (const [col, mask] of columns) if (mask.seq === seq) columns.delete(col);
        if (columns.size === 0) rows.delete(row);
      }
      if (rows.size === 0) this.masks.delete(sheet);
    }
  }
}

/** @param {[number, Cell[]]} entry @returns {Row} */
function asRow([id, cells]) {
  return { id, cells };
}
