// @ts-check
/**
 * The cell editor: one textarea that always has the focus and is visible only while it edits.
 *
 * Because it is focused before the first key, no key is ever lost between two cells, however fast they come, and input
 * methods work from the first stroke. While open it is bound to (rowId, colId): patches move it with its row and never
 * touch its text. If its row is deleted meanwhile, the text is offered back instead of being written anywhere else.
 */

import { typed } from "./cell.js";
import { textWidth } from "./widths.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./actions.js").Actions} Actions */
/** @typedef {import("./notice.js").Notice} Notice */
/** @typedef {import("./choices.js").Choices} Choices */

const WIDEST = 520;
const HIGHEST = 220;

export class Editor {
  /**
   * @param {HTMLTextAreaElement} input @param {Model} model @param {View} view @param {Selection} selection
   * @param {Actions} actions @param {Notice} notice @param {Choices} choices
   */
  constructor(input, model, view, selection, actions, notice, choices) {
    this.input = input;
    this.model = model;
    this.view = view;
    this.selection = selection;
    this.actions = actions;
    this.notice = notice;
    this.choices = choices;
    /** @type {{row: number, col: number, was: string} | null} */ this.cell = null;
    /** Whether arrows move in the text (F2) or to the next cell (typed over). */
    this.isCaretFree = false;
    /** @type {import("./view.js").Box} */ this.lastBox = { x: 0, y: 0, width: 80, height: 28, isFrozen: false };
    input.addEventListener("input", () => this.#typed());
    input.addEventListener("compositionstart", () => this.isOpen || this.#begin(false));
    view.afterDrawing.push(() => this.place());
  }

  get isOpen() {
    return this.cell !== null;
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** Opens on the active cell with its text, caret at the end. */
  open() {
    if (this.isOpen || !this.#begin(true) || !this.cell) return;
    this.input.value = this.cell.was;
    this.input.setSelectionRange(this.input.value.length, this.input.value.length);
    this.place();
  }

  /** A key arrived. The first one begins an edit that replaces the cell. */
  #typed() {
    if (!this.isOpen && !this.#begin(false)) {
      this.input.value = "";
      return;
    }
    this.choices.narrow(this.input.value);
    this.place();
  }

  /** @param {boolean} isCaretFree @returns {boolean} false: the cell cannot be edited, and the person was told why */
  #begin(isCaretFree) {
    const { row, col } = this.selection.position();
    const address = this.selection.active;
    if (!address) return false;
    this.notice.clear();
    if (this.model.isOwned(row, col)) {
      this.actions.refuseOwned(col);
      return false;
    }
    const cell = this.model.at(row, col);
    this.cell = { ...address, was: typed(cell) };
    this.isCaretFree = isCaretFree;
    this.view.reveal(row, col);
    this.input.classList.add("open");
    const rule = row >= this.model.frozenRows ? this.model.ruleOf(cell) : null;
    if (rule?.type === "list") this.choices.open(rule.values ?? [], this.cell.was);
    this.place();
    return true;
  }

  /** Writes what was typed, if it differs. Does nothing when closed. @param {string} [text] */
  commit(text = this.choices.value ?? this.input.value) {
    if (!this.cell) return;
    const { row, col, was } = this.cell;
    this.close();
    if (text === was) return;
    if (this.model.indexOf(row) >= 0) this.actions.type(row, col, text, was);
    else this.notice.offer("This row was deleted while you typed, so your text was not written anywhere.", text);
  }

  /** Forgets what was typed. */
  close() {
    this.cell = null;
    this.input.value = "";
    this.input.classList.remove("open");
    this.choices.close();
    this.view.schedule();
  }

  /** Puts the editor over its cell, or, while closed, over the active one: input methods open their window there. */
  place() {
    const { model, view, input } = this;
    const address = this.cell ?? this.selection.active;
    if (!address) return;
    const row = model.indexOf(address.row);
    const col = model.columnIndex.get(address.col) ?? -1;
    if (row >= 0 && col >= 0) this.lastBox = view.box(row, col);
    const { x, y, width, height, isFrozen } = this.lastBox;
    input.classList.toggle("high", isFrozen);
    input.style.left = `${x - 1}px`;
    input.style.top = `${y - 1}px`;
    if (!this.isOpen) {
      input.style.width = `${width}px`;
      input.style.height = `${height}px`;
      return;
    }
    const room = Math.max(width, view.grid.clientWidth - (x - view.grid.scrollLeft) - 12);
    const longest = Math.max(...input.value.split("\n").map((line) => textWidth(line)));
    const wide = Math.min(Math.max(width + 1, longest + 26), Math.max(width + 1, Math.min(WIDEST, room)));
    input.style.width = `${wide}px`;
    input.style.height = `${height + 1}px`;
    input.style.height = `${Math.min(HIGHEST, Math.max(height + 1, input.scrollHeight + 4))}px`;
    this.choices.place({ x: x - view.grid.scrollLeft, y: y - view.grid.scrollTop, width: wide, height: input.offsetHeight });
  }
}
