// @ts-check
/** How many rows have which status, in one line at the top: the first question of whoever opens the page. */

import { rich, shown } from "./cell.js";
import { labelled } from "./paint.js";

/** @typedef {import("./model.js").Model} Model */

const MOST_WORDS = 10;

export class Tally {
  /** @param {HTMLElement} element @param {Model} model */
  constructor(element, model) {
    this.element = element;
    this.model = model;
    this.version = -1;
  }

  draw() {
    if (this.version === this.model.version) return;
    this.version = this.model.version;
    const counts = this.#counts();
    this.element.replaceChildren(
      ...counts.slice(0, MOST_WORDS).map(([word, { count, colour }]) => {
        const item = labelled(colour ? "count tint" : "count", `${count} ${word}`);
        item.style.setProperty("--tint", colour ?? null);
        return item;
      }),
    );
  }

  /** @returns {[string, {count: number, colour: string | undefined}][]} most frequent first */
  #counts() {
    const { model } = this;
    const col = model.statusColumn;
    /** @type {Map<string, {count: number, colour: string | undefined}>} */ const counts = new Map();
    for (let row = model.frozenRows; col >= 0 && row < model.rows.length; row += 1) {
      const cell = model.at(row, col);
      const word = shown(cell).slice(0, 40);
      if (word === "") continue;
      const entry = counts.get(word) ?? { count: 0, colour: rich(cell)?.bg };
      entry.count += 1;
      counts.set(word, entry);
    }
    return [...counts].sort((a, b) => b[1].count - a[1].count);
  }
}
