// @ts-check
/**
 * Draws the sheet: only the rows that are in sight, at most once a frame, and in each row only the cells that changed.
 *
 * Whatever happens (a patch, a key, a scroll) calls schedule(); drawing looks at the whole state and never at what
 * happened. Rows that left the sight are taken out of the document and used again for others.
 * Weak point: columns are not virtual; hundreds of columns would be slow to scroll.
 */

import { ACTIVE, BOTTOM, CHIP, IN, LEFT, NUMBERS, OWNED, paint, PICK, RIGHT, TOP } from "./paint.js";
import { isNumeric, Widths } from "./widths.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./selection.js").Range} Range */
/** @typedef {import("./cell.js").Cell} Cell */
/**
 * @typedef {{element: HTMLElement, number: HTMLElement, cells: HTMLElement[], drawn: (Cell | undefined)[], marks: number[],
 *   id: number, index: number}} RowView
 */
/** @typedef {{x: number, y: number, width: number, height: number, isFrozen: boolean}} Box  In pixels of the canvas. */

export const ROW_HEIGHT = 28;
const LETTERS_HEIGHT = 20;
const NUMBER_WIDTH = 42;
const OVERSCAN = 10;

export class View {
  /** @param {HTMLElement} grid @param {Model} model @param {Selection} selection */
  constructor(grid, model, selection) {
    this.grid = grid;
    this.canvas = /** @type {HTMLElement} */ (grid.querySelector("#canvas"));
    this.head = /** @type {HTMLElement} */ (grid.querySelector("#head"));
    this.body = /** @type {HTMLElement} */ (grid.querySelector("#body"));
    this.model = model;
    this.selection = selection;
    this.widths = new Widths(model);
    /** @type {Map<number, RowView>} */ this.inSight = new Map();
    /** @type {RowView[]} */ this.spare = [];
    /** @type {RowView[]} */ this.frozen = [];
    /** @type {HTMLElement[]} */ this.letters = [];
    /** @type {number[]} left edge of each column, then the right edge of the last */ this.edges = [NUMBER_WIDTH];
    this.columnsKey = "";
    this.statusColumn = -1;
    this.isScheduled = false;
    /** @type {(() => void)[]} */ this.afterDrawing = [];
    grid.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(grid);
  }

  schedule() {
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => this.draw());
  }

  get headHeight() {
    return LETTERS_HEIGHT + this.model.frozenRows * ROW_HEIGHT;
  }

  /** @returns {number} how many rows fit below the header */
  get pageRows() {
    return Math.max(1, Math.floor((this.grid.clientHeight - this.headHeight) / ROW_HEIGHT) - 1);
  }

  draw() {
    this.isScheduled = false;
    const { model } = this;
    if (model.sheet === null) return;
    this.#prepareColumns();
    this.statusColumn = model.statusColumn;
    const range = this.selection.range();
    const height = this.headHeight + (model.rows.length - model.frozenRows) * ROW_HEIGHT;
    this.canvas.style.height = `${height}px`;
    this.canvas.style.width = `${this.edges.at(-1)}px`;
    this.body.style.top = `${this.headHeight}px`;
    this.head.classList.toggle("lifted", this.grid.scrollTop > 0);
    this.grid.dataset.rev = String(model.rev);
    this.grid.setAttribute("aria-rowcount", String(model.rows.length));
    this.grid.setAttribute("aria-colcount", String(model.columns.length));
    this.letters.forEach((letter, index) => letter.classList.toggle("near", index >= range.left && index <= range.right));
    this.frozen.forEach((view, index) => this.#drawRow(view, index, range));
    this.#drawBody(range);
    for (const action of this.afterDrawing) action();
  }

  /** @param {Range} range */
  #drawBody(range) {
    const { model, grid } = this;
    const first = Math.max(model.frozenRows, model.frozenRows + Math.floor(grid.scrollTop / ROW_HEIGHT) - OVERSCAN);
    const end = Math.min(model.rows.length, first + Math.ceil((grid.clientHeight - this.headHeight) / ROW_HEIGHT) + 2 * OVERSCAN);
    const wanted = new Set(model.rows.slice(first, end).map((row) => row.id));
    for (const [id, view] of this.inSight) {
      if (wanted.has(id)) continue;
      this.inSight.delete(id);
      this.spare.push(view);
    }
    for (let index = first; index < end; index += 1) {
      const id = /** @type {import("./cell.js").Row} */ (model.rows[index]).id;
      let view = this.inSight.get(id);
      if (!view) {
        view = this.spare.pop() ?? this.#makeRow(false);
        this.inSight.set(id, view);
        if (!view.element.isConnected) this.body.append(view.element);
      }
      view.element.style.top = `${(index - model.frozenRows) * ROW_HEIGHT}px`;
      this.#drawRow(view, index, range);
    }
    // Only now: most rows that leave the sight are the ones that have just come in at the other end.
    for (const view of this.spare) view.element.remove();
  }

  /** @param {RowView} view @param {number} index @param {Range} range */
  #drawRow(view, index, range) {
    const { model } = this;
    const row = model.rows[index];
    if (!row) return;
    if (view.index !== index) {
      view.index = index;
      view.number.textContent = String(index + 1);
      view.element.setAttribute("aria-rowindex", String(index + 1));
    }
    if (view.id !== row.id) {
      view.id = row.id;
      view.element.dataset.row = String(row.id);
    }
    const isNear = index >= range.top && index <= range.bottom;
    view.number.classList.toggle("near", isNear);
    const isHeader = index < model.frozenRows;
    for (let col = 0; col < view.cells.length; col += 1) {
      const cell = model.at(index, col);
      const marks = this.#marks(index, col, range, cell);
      if (view.drawn[col] === cell && view.marks[col] === marks) continue;
      view.drawn[col] = cell;
      view.marks[col] = marks;
      const element = /** @type {HTMLElement} */ (view.cells[col]);
      paint(element, cell, model.ruleOf(cell), marks, isHeader);
      if (marks & ACTIVE) element.id = "active-cell";
      else element.removeAttribute("id");
    }
  }

  /** @param {number} row @param {number} col @param {Range} range @param {Cell} cell */
  #marks(row, col, range, cell) {
    const isOwned = this.model.isOwned(row, col);
    let marks = isOwned ? OWNED : 0;
    if (row < this.model.frozenRows && isNumeric(this.model, col)) marks |= NUMBERS;
    if (row >= this.model.frozenRows && col === this.statusColumn) marks |= CHIP;
    if (row < range.top || row > range.bottom || col < range.left || col > range.right) return marks;
    const active = this.selection.lastActive;
    if (row === active.row && col === active.col) {
      marks |= ACTIVE;
      if (!isOwned && row >= this.model.frozenRows && this.model.ruleOf(cell)?.type === "list") marks |= PICK;
    }
    if (range.top === range.bottom && range.left === range.right) return marks;
    marks |= IN;
    if (row === range.top) marks |= TOP;
    if (row === range.bottom) marks |= BOTTOM;
    if (col === range.left) marks |= LEFT;
    if (col === range.right) marks |= RIGHT;
    return marks;
  }

  /** Rows are built for one set of columns; another set starts from nothing. */
  #prepareColumns() {
    const { model } = this;
    const key = JSON.stringify([model.sheet, model.frozenRows, model.frozenColumns, model.columns.map((column) => [column.id, column.name])]);
    if (key === this.columnsKey) return;
    this.columnsKey = key;
    this.inSight.clear();
    this.spare = [];
    this.body.replaceChildren();
    this.setWidths();
    const strip = document.createElement("div");
    strip.className = "row letters";
    strip.setAttribute("role", "presentation");
    const corner = document.createElement("div");
    corner.className = "letter number corner";
    this.letters = model.columns.map((column, index) => {
      const letter = document.createElement("div");
      letter.className = "letter";
      letter.textContent = column.name;
      letter.dataset.letter = String(index);
      const grip = document.createElement("div");
      grip.className = "grip";
      grip.dataset.grip = String(index);
      letter.append(grip);
      return letter;
    });
    strip.append(corner, ...this.letters);
    this.frozen = Array.from({ length: model.frozenRows }, () => this.#makeRow(true));
    this.head.replaceChildren(strip, ...this.frozen.map((view) => view.element));
  }

  /** Column widths, and where each column begins. */
  setWidths() {
    this.edges = [NUMBER_WIDTH];
    const sizes = this.model.columns.map((_, index) => this.widths.of(index));
    for (const size of sizes) this.edges.push(/** @type {number} */ (this.edges.at(-1)) + size);
    this.canvas.style.setProperty("--columns", `${NUMBER_WIDTH}px ${sizes.map((size) => `${size}px`).join(" ")}`);
    for (let col = 0; col < this.model.frozenColumns; col += 1) this.canvas.style.setProperty(`--pin-${col}`, `${this.edges[col]}px`);
  }

  /** @param {boolean} isHeader @returns {RowView} */
  #makeRow(isHeader) {
    const element = document.createElement("div");
    element.className = "row";
    element.setAttribute("role", "row");
    const number = document.createElement("div");
    number.className = "number";
    number.setAttribute("role", "rowheader");
    const cells = this.model.columns.map((column, index) => {
      const cell = document.createElement("div");
      cell.setAttribute("role", isHeader ? "columnheader" : "gridcell");
      cell.setAttribute("aria-colindex", String(index + 1));
      cell.dataset.col = String(column.id);
      if (index < this.model.frozenColumns) {
        cell.dataset.pin = "1";
        cell.style.left = `var(--pin-${index})`;
      }
      return cell;
    });
    element.append(number, ...cells);
    return { element, number, cells, drawn: [], marks: [], id: -1, index: -1 };
  }

  /** @param {number} row @param {number} col @returns {Box} where the cell is on the canvas now */
  box(row, col) {
    const isFrozen = row < this.model.frozenRows;
    const y = isFrozen ? LETTERS_HEIGHT + row * ROW_HEIGHT + this.grid.scrollTop : this.headHeight + (row - this.model.frozenRows) * ROW_HEIGHT;
    return { x: this.edges[col] ?? 0, y, width: this.widths.of(col), height: ROW_HEIGHT, isFrozen };
  }

  /** Scrolls as little as needed. @param {number} row @param {number} col */
  reveal(row, col) {
    const { grid } = this;
    const box = this.box(row, col);
    // The canvas may not have grown yet to where we want to go.
    if (!box.isFrozen) {
      const top = box.y - this.headHeight;
      const bottom = box.y + box.height - grid.clientHeight;
      if (grid.scrollTop > top) grid.scrollTop = top;
      else if (grid.scrollTop < bottom) grid.scrollTop = bottom + 4;
    }
    const pinned = (this.edges[this.model.frozenColumns] ?? NUMBER_WIDTH);
    if (col < this.model.frozenColumns) return;
    if (grid.scrollLeft > box.x - pinned) grid.scrollLeft = box.x - pinned;
    else if (grid.scrollLeft < box.x + box.width - grid.clientWidth) grid.scrollLeft = Math.min(box.x - pinned, box.x + box.width - grid.clientWidth + 4);
  }

  /** Does `change`, which may add or remove rows, while the first row in sight stays where it is. @param {() => void} change */
  keepingPlace(change) {
    const { grid, model } = this;
    const offset = grid.scrollTop % ROW_HEIGHT;
    const firstIndex = model.frozenRows + Math.floor(grid.scrollTop / ROW_HEIGHT);
    const survivors = grid.scrollTop === 0 ? [] : model.rows.slice(firstIndex, firstIndex + 50).map((row) => row.id);
    change();
    const found = survivors.find((id) => model.indexOf(id) >= 0);
    if (found === undefined) return;
    const top = (model.indexOf(found) - model.frozenRows) * ROW_HEIGHT + offset;
    this.canvas.style.height = `${this.headHeight + (model.rows.length - model.frozenRows) * ROW_HEIGHT}px`;
    if (grid.scrollTop !== top) grid.scrollTop = top;
  }
}
