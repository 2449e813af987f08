// @ts-check
/** The keyboard, as in other spreadsheets. Decides only what a key means; the doing is elsewhere. */

import { shown } from "./cell.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./actions.js").Actions} Actions */
/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./notice.js").Notice} Notice */

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Keys {
  /** @param {Model} model @param {View} view @param {Selection} selection @param {Actions} actions @param {Editor} editor @param {Notice} notice */
  constructor(model, view, selection, actions, editor, notice) {
    this.model = model;
    this.view = view;
    this.selection = selection;
    this.actions = actions;
    this.editor = editor;
    this.notice = notice;
    const { input } = editor;
    input.addEventListener("keydown", (event) => this.#press(event));
    input.addEventListener("copy", (event) => this.#copy(event, false));
    input.addEventListener("cut", (event) => this.#copy(event, true));
    input.addEventListener("paste", (event) => this.#paste(event));
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.isComposing || event.key === "Process" || this.model.sheet === null) return;
    const isHandled = this.editor.isOpen ? this.#whileEditing(event) : this.#whileMoving(event);
    if (isHandled) event.preventDefault();
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  #whileEditing(event) {
    const { editor, selection } = this;
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") editor.close();
    else if (event.key === "Enter" && (event.altKey || event.ctrlKey || event.metaKey)) {
      editor.input.setRangeText("\n", editor.input.selectionStart, editor.input.selectionEnd, "end");
      editor.place();
    } else if (event.key === "Enter") {
      editor.commit();
      this.#enter(event.shiftKey);
    } else if (event.key === "Tab") {
      editor.commit();
      this.#tab(event.shiftKey);
    } else if (event.key === "F2") editor.isCaretFree = !editor.isCaretFree;
    else if (editor.choices.isOpen && (event.key === "ArrowDown" || event.key === "ArrowUp")) editor.choices.step(event.key === "ArrowDown" ? 1 : -1);
    else if (arrow && !editor.isCaretFree && !event.shiftKey) {
      editor.commit();
      selection.move(...arrow, false);
      this.#moved();
    } else return false;
    return true;
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  #whileMoving(event) {
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && !event.altKey && this.#command(event)) return true;
    if (this.#navigate(event, isCommand)) return true;
    const { editor, actions } = this;
    if (event.key === "F2" || (event.key === "Enter" && !isCommand && !event.altKey && !event.shiftKey)) editor.open();
    else if (event.key === "Delete" || event.key === "Backspace") actions.clear();
    else if (event.key === "Escape") this.notice.clear();
    else if (event.key !== " " || !this.toggle()) return event.key === "Enter"; // an idle textarea must stay empty
    return true;
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  #command(event) {
    const { actions, selection, model } = this;
    const key = event.key.toLowerCase();
    if (key === "z") actions.turn(event.shiftKey ? "redo" : "undo");
    else if (key === "y") actions.turn("redo");
    else if (key === "d") actions.fillDown();
    else if (key === "a") selection.set({ row: 0, col: 0 }, { row: model.rows.length, col: model.columns.length });
    else return false;
    this.view.schedule();
    return true;
  }

  /** @param {KeyboardEvent} event @param {boolean} isCommand @returns {boolean} */
  #navigate(event, isCommand) {
    const { selection, view } = this;
    const arrow = ARROWS[event.key];
    const isExtending = event.shiftKey;
    const go = (/** @type {import("./selection.js").Position} */ to) => (isExtending ? selection.extend(to) : selection.set(to));
    const from = selection.position();
    const here = isExtending ? selection.lastCorner : from;
    if (arrow && event.altKey) {
      if (event.key === "ArrowDown") this.editor.open();
      return true;
    }
    if (arrow && isCommand) selection.jump(...arrow, isExtending);
    else if (arrow) selection.move(...arrow, isExtending);
    else if (event.key === "Tab") return this.#tab(event.shiftKey);
    else if (event.key === "Home") go({ row: isCommand ? 0 : here.row, col: 0 });
    else if (event.key === "End") go({ row: isCommand ? selection.lastUsed().row : here.row, col: selection.lastUsed().col });
    else if (event.key === "PageDown") selection.move(view.pageRows, 0, isExtending);
    else if (event.key === "PageUp") selection.move(-view.pageRows, 0, isExtending);
    else return false;
    this.#moved();
    return true;
  }

  /** @param {boolean} isUp */
  #enter(isUp) {
    const { selection } = this;
    const { row, col } = selection.position();
    selection.set({ row: row + (isUp ? -1 : 1), col: isUp ? col : (selection.tabHome ?? col) });
    this.#moved();
  }

  /** @param {boolean} isBack @returns {true} */
  #tab(isBack) {
    const { selection } = this;
    const { row, col } = selection.position();
    const home = selection.tabHome ?? col;
    selection.set({ row, col: col + (isBack ? -1 : 1) });
    if (!isBack) selection.tabHome = home;
    this.#moved();
    return true;
  }

  #moved() {
    const { selection, view } = this;
    this.notice.clear();
    const { row, col } = selection.lastCorner;
    view.reveal(row, col);
    view.schedule();
  }

  #isCheckbox() {
    const { row, col } = this.selection.position();
    return row >= this.model.frozenRows && this.model.ruleOf(this.model.at(row, col))?.type === "checkbox";
  }

  /** Ticks or unticks the active cell. @returns {boolean} false: it is no checkbox */
  toggle() {
    if (!this.#isCheckbox()) return false;
    const { row, col } = this.selection.position();
    this.actions.put([{ row, col, text: shown(this.model.at(row, col)) === "TRUE" ? "FALSE" : "TRUE" }]);
    return true;
  }

  /** @param {ClipboardEvent} event @param {boolean} isCut */
  #copy(event, isCut) {
    if (this.editor.isOpen || !event.clipboardData) return;
    event.preventDefault();
    event.clipboardData.setData("text/plain", this.actions.copy());
    if (isCut) this.actions.clear();
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    if (this.editor.isOpen || !event.clipboardData) return;
    event.preventDefault();
    this.notice.clear();
    this.actions.paste(event.clipboardData.getData("text/plain"));
  }
}
