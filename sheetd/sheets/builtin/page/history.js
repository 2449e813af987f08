// @ts-check
/**
 * Undo and redo of the person's own edits, one step per message. A cell is put back only while it still holds what
 * this page wrote: what somebody else has written since is not ours to take away.
 * Weak point: the steps live as long as the page; columns that were added by a paste stay.
 */

import { typed } from "./cell.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {{row: number | string, col: number | string, before: string, after: string}} Written */
/**
 * @typedef {{sheet: number, cells: Written[], inserted: number[] | null, deleted: number[],
 *   order: {before: number[], after: number[]} | null}} Step  `inserted` is null until the server has answered.
 */
/** @typedef {{ops: object[], kept: number}} Turn  What to send, and how many cells are left because others changed them. */

const DEEPEST = 500;

export class History {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Step[]} */ this.done = [];
    /** @type {Step[]} */ this.undone = [];
    /** @type {Map<number, Step>} */ this.bySeq = new Map();
  }

  /** @param {number} seq @param {Step} step */
  record(seq, step) {
    this.done.push(step);
    if (this.done.length > DEEPEST) this.done.shift();
    this.undone = [];
    this.bySeq.set(seq, step);
  }

  /** Learns what the server made of an edit: real ids for new rows, parsed texts, refused cells. @param {any} ack */
  settle(ack) {
    const step = this.bySeq.get(ack.seq);
    this.bySeq.delete(ack.seq);
    if (!step) return;
    const ids = ack.ids ?? {};
    for (const cell of step.cells) {
      if (typeof cell.row === "string") cell.row = ids[cell.row] ?? -1;
      if (typeof cell.col === "string") cell.col = ids[cell.col] ?? -1;
    }
    step.inserted ??= ack.inserted ?? [];
    if (step.order && this.model.sheet === step.sheet) step.order.after = this.model.rows.map((row) => row.id);
    const fixed = new Map((ack.fixed ?? []).map((/** @type {any} */ [row, col, cell]) => [`${row}:${col}`, typed(cell)]));
    const rejected = new Set((ack.rejected ?? []).map((/** @type {any} */ entry) => String(entry.cell?.join(":"))));
    step.cells = step.cells.filter((cell) => !rejected.has(`${cell.row}:${cell.col}`));
    for (const cell of step.cells) cell.after = fixed.get(`${cell.row}:${cell.col}`) ?? cell.after;
    const wasRefused = (ack.rejected ?? []).some((/** @type {any} */ entry) => entry.cell === null);
    if (wasRefused || (step.cells.length + step.deleted.length + (step.inserted?.length ?? 0) === 0 && !step.order)) {
      this.done = this.done.filter((other) => other !== step);
    }
  }

  /** @param {number} sheet @returns {Turn | null} null: nothing to undo, or the server has not answered yet */
  undo(sheet) {
    const step = this.#pop(this.done, sheet);
    if (!step) return null;
    this.undone.push(step);
    const turn = this.#cells(step, (cell) => [cell.after, cell.before]);
    if (step.order) turn.ops.push({ op: "order", rows: step.order.before });
    if (step.deleted.length > 0) turn.ops.push({ op: "restore", ids: step.deleted });
    if (step.inserted && step.inserted.length > 0) turn.ops.push({ op: "delete", ids: step.inserted });
    return turn;
  }

  /** @param {number} sheet @returns {Turn | null} */
  redo(sheet) {
    const step = this.#pop(this.undone, sheet);
    if (!step) return null;
    this.done.push(step);
    const restored = step.inserted && step.inserted.length > 0 ? [{ op: "restore", ids: step.inserted }] : [];
    const turn = this.#cells(step, (cell) => [cell.before, cell.after]);
    turn.ops = [...restored, ...turn.ops];
    if (step.order) turn.ops.push({ op: "order", rows: step.order.after });
    if (step.deleted.length > 0) turn.ops.push({ op: "delete", ids: step.deleted });
    return turn;
  }

  /** @param {Step[]} stack @param {number} sheet @returns {Step | null} */
  #pop(stack, sheet) {
    const index = stack.findLastIndex((step) => step.sheet === sheet);
    const step = stack[index];
    if (!step || step.inserted === null) return null;
    stack.splice(index, 1);
    return step;
  }

  /** @param {Step} step @param {(cell: Written) => [string, string]} direction from, to @returns {Turn} */
  #cells(step, direction) {
    const returning = new Set(step.inserted);
    const ops = [];
    let kept = 0;
    for (const cell of step.cells) {
      const [from, to] = direction(cell);
      const row = Number(cell.row);
      const col = Number(cell.col);
      const isThere = this.model.indexOf(row) >= 0;
      const isOurs = isThere ? typed(this.model.cell(row, col)) === from : returning.has(row);
      if (isOurs) ops.push([row, col, to, isThere ? from : null]);
      else kept += 1;
    }
    return { ops: ops.length > 0 ? [{ op: "cells", cells: ops }] : [], kept };
  }
}
