// @ts-check
/** Mouse, pen and touch on the grid: select, drag a range, open the editor, resize a column, ask for the menu. */

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./selection.js").Position} Position */
/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./keys.js").Keys} Keys */
/** @typedef {import("./menu.js").Menu} Menu */
/** @typedef {import("./actions.js").Actions} Actions */

import { naturalWidth } from "./widths.js";

const NARROWEST = 28;

export class Pointer {
  /** @param {Model} model @param {View} view @param {Selection} selection @param {Actions} actions @param {Editor} editor @param {Keys} keys @param {Menu} menu */
  constructor(model, view, selection, actions, editor, keys, menu) {
    this.model = model;
    this.view = view;
    this.selection = selection;
    this.actions = actions;
    this.editor = editor;
    this.keys = keys;
    this.menu = menu;
    view.grid.addEventListener("mousedown", (event) => this.#down(event));
    view.grid.addEventListener("dblclick", (event) => this.#double(event));
    view.grid.addEventListener("contextmenu", (event) => this.#menu(event));
  }

  /** @param {MouseEvent} event @returns {{place: Position, isRow: boolean, isColumn: boolean} | null} what is under it */
  #under(event) {
    const target = event.target instanceof Element ? event.target.closest(".cell, .number, .letter") : null;
    if (!(target instanceof HTMLElement)) return null;
    const rowId = /** @type {HTMLElement | null} */ (target.closest(".row"))?.dataset.row;
    const row = rowId === undefined ? 0 : this.model.indexOf(Number(rowId));
    const isCorner = target.classList.contains("corner");
    const col = target.dataset.col ? (this.model.columnIndex.get(Number(target.dataset.col)) ?? 0) : Number(target.dataset.letter ?? 0);
    return { place: { row, col }, isRow: isCorner || target.classList.contains("number"), isColumn: isCorner || target.classList.contains("letter") };
  }

  /** @param {MouseEvent} event */
  #down(event) {
    if (event.target === this.editor.input) return;
    const grip = event.target instanceof HTMLElement ? event.target.dataset.grip : undefined;
    const under = this.#under(event);
    if (!under && grip === undefined) return; // a scroll bar
    event.preventDefault(); // the editor keeps the focus
    this.editor.commit();
    this.editor.focus();
    this.editor.notice.clear();
    this.menu.close();
    if (grip !== undefined) return this.#resize(event, Number(grip));
    if (!under) return;
    if (event.button === 2 && this.#isSelected(under.place)) return;
    this.#select(under, event.shiftKey);
    const isOnPick = event.target instanceof Element && event.target.closest(".pick-mark");
    if (event.button !== 0) return;
    if (isOnPick) return this.editor.open();
    this.#drag(under);
  }

  /** @param {{place: Position, isRow: boolean, isColumn: boolean}} under @param {boolean} isExtending */
  #select({ place, isRow, isColumn }, isExtending) {
    const { selection, model, view } = this;
    const end = { row: isColumn ? model.rows.length - 1 : place.row, col: isRow ? model.columns.length - 1 : place.col };
    if (isExtending) selection.extend(end);
    else selection.set({ row: isColumn ? 0 : place.row, col: isRow ? 0 : place.col }, end);
    view.schedule();
  }

  /** @param {{isRow: boolean, isColumn: boolean}} from */
  #drag(from) {
    const stop = new AbortController();
    const move = (/** @type {MouseEvent} */ event) => {
      if (event.buttons === 0) return stop.abort();
      const under = this.#under(event);
      if (under) this.#select({ ...under, isRow: from.isRow, isColumn: from.isColumn }, true);
    };
    addEventListener("mousemove", move, { signal: stop.signal });
    addEventListener("mouseup", () => stop.abort(), { signal: stop.signal });
  }

  /** @param {MouseEvent} event @param {number} col */
  #resize(event, col) {
    const stop = new AbortController();
    const before = this.view.widths.of(col);
    let width = before;
    const move = (/** @type {MouseEvent} */ now) => {
      width = Math.round(Math.max(NARROWEST, before + now.clientX - event.clientX));
      this.view.widths.set(col, width);
      this.view.setWidths();
      this.view.schedule();
    };
    const end = () => {
      stop.abort();
      if (width !== before) this.actions.setColumnWidth(col, width);
    };
    addEventListener("mousemove", move, { signal: stop.signal });
    addEventListener("mouseup", end, { signal: stop.signal });
  }

  /** @param {Position} place */
  #isSelected({ row, col }) {
    const range = this.selection.range();
    return row >= range.top && row <= range.bottom && col >= range.left && col <= range.right;
  }

  /** @param {MouseEvent} event */
  #double(event) {
    const grip = event.target instanceof HTMLElement ? event.target.dataset.grip : undefined;
    if (grip !== undefined) {
      const col = Number(grip);
      this.view.widths.set(col, naturalWidth(this.model, col));
      this.view.setWidths();
      this.actions.setColumnWidth(col, this.view.widths.of(col));
      return;
    }
    const under = this.#under(event);
    if (!under || under.isRow || under.isColumn || event.target === this.editor.input) return;
    if (this.keys.toggle()) return;
    this.editor.open();
  }

  /** @param {MouseEvent} event */
  #menu(event) {
    if (event.target === this.editor.input && this.editor.isOpen) return; // the browser's own, for text
    event.preventDefault();
    const stage = /** @type {HTMLElement} */ (this.view.grid.parentElement).getBoundingClientRect();
    const isByKey = event.target === this.editor.input;
    const box = this.editor.lastBox;
    const at = isByKey
      ? { x: box.x - this.view.grid.scrollLeft + 8, y: box.y - this.view.grid.scrollTop + box.height }
      : { x: event.clientX - stage.left, y: event.clientY - stage.top };
    this.menu.open(at);
  }
}
