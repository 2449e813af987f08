// @ts-check
/**
 * Everything a person can do to the sheet, as edits that go up: each action is one message, one undo step. Cells that
 * sheetd writes are left out here with a plain hint; the server refuses them as well, this only says so sooner.
 */

import { isBlank, shown, typed } from "./cell.js";
import { fromTsv, toTsv } from "./clipboard.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./wire.js").Wire} Wire */
/** @typedef {import("./history.js").History} History */
/** @typedef {import("./history.js").Step} Step */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./notice.js").Notice} Notice */
/** @typedef {{row: number, col: number, text: string}} Put  Positions. */

export class Actions {
  /**
   * @param {Model} model @param {Wire} wire @param {History} history @param {Selection} selection
   * @param {Notice} notice @param {() => void} changed draw again
   */
  constructor(model, wire, history, selection, notice, changed) {
    this.model = model;
    this.wire = wire;
    this.history = history;
    this.selection = selection;
    this.notice = notice;
    this.changed = changed;
    /** what was copied here, as typed: pasting it back keeps '007 a text. */
    this.copied = { tsv: "", cells: /** @type {string[][]} */ ([]) };
  }

  /** @param {object[]} ops @param {Partial<Step>} [step] what undo needs; without it the edit is not undone */
  #send(ops, step) {
    const { model } = this;
    if (model.sheet === null || ops.length === 0) return;
    const seq = this.wire.edit(model.sheet, model.rev, ops);
    if (step) this.history.record(seq, { sheet: model.sheet, cells: [], inserted: [], deleted: [], order: null, ...step });
    const cells = ops.flatMap((/** @type {any} */ op) => (op.op === "cells" ? op.cells : []));
    model.mask(model.sheet, seq, cells.filter((/** @type {any} */ [row, col]) => typeof row === "number" && typeof col === "number"));
    this.changed();
  }

  /** @param {number} rowId @param {number} colId @param {string} text @param {string} was */
  type(rowId, colId, text, was) {
    this.#send([{ op: "cells", cells: [[rowId, colId, text, was]] }], { cells: [{ row: rowId, col: colId, before: was, after: text }] });
  }

  /** @param {number} col position */
  refuseOwned(col) {
    const title = this.model.columnTitle(col);
    this.notice.say(`sheetd writes the column \u201c${title}\u201d by itself, so it cannot be edited here. To steer a row, type run, stop or restart into its action cell.`);
  }

  /** Writes cells inside the sheet, leaving out sheetd's own. @param {Put[]} puts */
  put(puts) {
    const { model } = this;
    const mine = puts.filter(({ row, col }) => !model.isOwned(row, col));
    const changing = mine.filter(({ row, col, text }) => typed(model.at(row, col)) !== text);
    const address = (/** @type {Put} */ { row, col }) => ({ row: model.rows[row]?.id ?? -1, col: model.columns[col]?.id ?? -1 });
    const cells = changing.map((put) => ({ ...address(put), before: typed(model.at(put.row, put.col)), after: put.text }));
    if (mine.length < puts.length && mine.length === 0) this.refuseOwned(puts[0]?.col ?? 0);
    if (cells.length > 0) this.#send([{ op: "cells", cells: cells.map(({ row, col, before, after }) => [row, col, after, before]) }], { cells });
  }

  /** Delete key. */
  clear() {
    const { top, bottom, left, right } = this.selection.range();
    /** @type {Put[]} */ const puts = [];
    for (let row = top; row <= bottom; row += 1) {
      for (let col = left; col <= right; col += 1) {
        const isEmpty = isBlank(this.model.at(row, col));
        if (!isEmpty || top === bottom) puts.push({ row, col, text: "" });
      }
    }
    this.put(puts);
  }

  /** Ctrl+D: the first selected row into the others. */
  fillDown() {
    const { top, bottom, left, right } = this.selection.range();
    /** @type {Put[]} */ const puts = [];
    for (let row = top + 1; row <= bottom; row += 1) {
      for (let col = left; col <= right; col += 1) puts.push({ row, col, text: typed(this.model.at(top, col)) });
    }
    this.put(puts);
  }

  /** @returns {string} the selection as tab-separated text */
  copy() {
    const { top, bottom, left, right } = this.selection.range();
    const pick = (/** @type {(cell: import("./cell.js").Cell) => string} */ of) =>
      Array.from({ length: bottom - top + 1 }, (_, r) => Array.from({ length: right - left + 1 }, (__, c) => of(this.model.at(top + r, left + c))));
    this.copied = { tsv: toTsv(pick(shown)), cells: pick(typed) };
    return this.copied.tsv;
  }

  /** Pastes at the selection; one value fills it all; what reaches beyond the sheet makes it grow. @param {string} tsv */
  paste(tsv) {
    if (tsv === "") return;
    const { model } = this;
    const range = this.selection.range();
    let cells = tsv === this.copied.tsv ? this.copied.cells : fromTsv(tsv);
    const only = cells.length === 1 && cells[0]?.length === 1 ? (cells[0][0] ?? "") : null;
    if (only !== null) {
      cells = Array.from({ length: range.bottom - range.top + 1 }, () => Array.from({ length: range.right - range.left + 1 }, () => only));
    }
    const width = Math.max(...cells.map((row) => row.length));
    const newRows = Math.max(0, range.top + cells.length - model.rows.length);
    const newColumns = Math.max(0, range.left + width - model.columns.length);
    if (newRows + newColumns > 0) this.#pasteBeyond(cells, range.top, range.left, newRows, newColumns);
    else this.put(cells.flatMap((row, r) => row.map((text, c) => ({ row: range.top + r, col: range.left + c, text }))));
    const corner = { row: range.top + cells.length - 1, col: range.left + width - 1 };
    this.selection.set({ row: range.top, col: range.left }, corner);
    this.changed();
  }

  /** @param {string[][]} cells @param {number} top @param {number} left @param {number} newRows @param {number} newColumns */
  #pasteBeyond(cells, top, left, newRows, newColumns) {
    const { model } = this;
    const rowNames = Array.from({ length: newRows }, (_, index) => `r${index}`);
    const columnNames = Array.from({ length: newColumns }, (_, index) => `c${index}`);
    const ops = [];
    if (newRows > 0) ops.push({ op: "insert", after: model.rows.at(-1)?.id ?? null, rows: newRows, as: rowNames });
    if (newColumns > 0) ops.push({ op: "insertColumns", after: model.columns.at(-1)?.id ?? null, columns: newColumns, as: columnNames });
    const written = cells.flatMap((line, r) =>
      line.flatMap((after, c) => {
        const [rowIndex, colIndex] = [top + r, left + c];
        if (model.isOwned(rowIndex, colIndex)) return [];
        const row = model.rows[rowIndex]?.id ?? rowNames[rowIndex - model.rows.length] ?? "";
        const col = model.columns[colIndex]?.id ?? columnNames[colIndex - model.columns.length] ?? "";
        return [{ row, col, before: typed(model.at(rowIndex, colIndex)), after }];
      }),
    );
    ops.push({ op: "cells", cells: written.map(({ row, col, after }) => [row, col, after, null]) });
    this.#send(ops, { cells: written, inserted: newRows > 0 ? null : [] });
  }

  /** @param {"above" | "below"} side as many rows as are selected */
  insertRows(side) {
    const { top, bottom } = this.selection.range();
    const after = side === "above" ? (this.model.rows[top - 1]?.id ?? null) : (this.model.rows[bottom]?.id ?? null);
    this.#send([{ op: "insert", after, rows: bottom - top + 1 }], { inserted: null });
  }

  /** Deletes the selected rows; the header is not among them. */
  deleteRows() {
    const deleted = this.selection.rowIds().filter((id) => this.model.indexOf(id) >= this.model.frozenRows);
    if (deleted.length === 0) this.notice.say("The header row stays: sheetd finds its columns by it. Clear a cell with Delete instead.");
    else this.#send([{ op: "delete", ids: deleted }], { deleted });
  }

  /** @param {boolean} isDescending sorts whole rows by the active cell's column */
  sort(isDescending) {
    const { model } = this;
    const column = model.columns[this.selection.position().col];
    if (!column) return;
    // Undo needs the order that was; what comes out is decided by the server, so redo sorts by hand to it.
    this.#send([{ op: "sort", colId: column.id, desc: isDescending }], { inserted: null, order: { before: model.rows.map((row) => row.id), after: [] } });
  }

  /** @param {number} col position @param {number} width pixels */
  setColumnWidth(col, width) {
    const column = this.model.columns[col];
    if (column) this.#send([{ op: "width", colId: column.id, width }]);
  }

  /** @param {"undo" | "redo"} direction */
  turn(direction) {
    const { model } = this;
    if (model.sheet === null) return;
    const turn = this.history[direction](model.sheet);
    if (!turn) return this.notice.say(`Nothing to ${direction}: only edits made on this page are undone here.`);
    if (turn.kept > 0) this.notice.say(`${turn.kept === 1 ? "One cell was" : `${turn.kept} cells were`} changed by somebody else since and stay as they are.`);
    this.#send(turn.ops);
  }
}
