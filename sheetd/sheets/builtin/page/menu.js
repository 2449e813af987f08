// @ts-check
/** The context menu: what can be done with the selected rows. */

/** @typedef {{label: string, keys?: string, run: () => void} | null} Entry  null draws a line. */

export class Menu {
  /** @param {HTMLElement} element @param {() => Entry[]} entries @param {() => void} closed gives the focus back */
  constructor(element, entries, closed) {
    this.element = element;
    this.entries = entries;
    this.closed = closed;
    element.addEventListener("mousedown", (event) => event.preventDefault());
    element.addEventListener("keydown", (event) => this.#press(event));
    element.addEventListener("focusout", (event) => {
      if (!element.contains(/** @type {Node | null} */ (event.relatedTarget))) this.close();
    });
  }

  /** @param {{x: number, y: number}} at in pixels of the stage */
  open(at) {
    this.element.replaceChildren(...this.entries().map((entry) => this.#item(entry)));
    this.element.hidden = false;
    const stage = /** @type {HTMLElement} */ (this.element.offsetParent);
    this.element.style.left = `${Math.max(4, Math.min(at.x, stage.clientWidth - this.element.offsetWidth - 4))}px`;
    this.element.style.top = `${Math.max(4, Math.min(at.y, stage.clientHeight - this.element.offsetHeight - 4))}px`;
    /** @type {HTMLElement | null} */ (this.element.querySelector(".entry"))?.focus();
  }

  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.closed();
  }

  /** @param {Entry} entry @returns {HTMLElement} */
  #item(entry) {
    const item = document.createElement("div");
    if (!entry) {
      item.className = "parting";
      item.setAttribute("role", "separator");
      return item;
    }
    const keys = document.createElement("kbd");
    keys.textContent = entry.keys ?? "";
    item.className = "entry";
    item.tabIndex = -1;
    item.setAttribute("role", "menuitem");
    item.append(entry.label, keys);
    item.addEventListener("mouseenter", () => item.focus());
    item.addEventListener("click", () => {
      this.close();
      entry.run();
    });
    return item;
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.element.querySelectorAll(".entry")]);
    const here = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.key === "ArrowDown") items[(here + 1) % items.length]?.focus();
    else if (event.key === "ArrowUp") items[(here - 1 + items.length) % items.length]?.focus();
    else if (event.key === "Enter" || event.key === " ") items[here]?.click();
    else if (event.key === "Escape" || event.key === "Tab") this.close();
    else return;
    event.preventDefault();
  }
}
