// @ts-check
/** The list of allowed values under the editor of a validated cell. Typing narrows it; it never types by itself. */

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

export class Choices {
  /** @param {HTMLElement} element @param {(value: string) => void} chosen */
  constructor(element, chosen) {
    this.element = element;
    /** @type {string[]} */ this.values = [];
    /** @type {string[]} */ this.listed = [];
    this.highlighted = -1;
    element.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the editor keeps the focus
      const item = event.target instanceof HTMLElement ? event.target.closest(".choice") : null;
      if (item instanceof HTMLElement) chosen(this.listed[Number(item.dataset.index)] ?? "");
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** @returns {string | null} what Enter takes instead of the typed text */
  get value() {
    return this.isOpen ? (this.listed[this.highlighted] ?? null) : null;
  }

  /** @param {string[]} values @param {string} current */
  open(values, current) {
    this.values = values;
    this.listed = values;
    this.highlighted = values.indexOf(current);
    this.#show();
  }

  /** @param {string} text */
  narrow(text) {
    if (this.values.length === 0) return;
    const wanted = text.toLowerCase();
    this.listed = this.values.filter((value) => value.toLowerCase().includes(wanted));
    this.highlighted = -1;
    this.#show();
  }

  /** @param {number} by */
  step(by) {
    const count = this.listed.length;
    this.highlighted = this.highlighted < 0 && by < 0 ? count - 1 : (this.highlighted + by + count) % count;
    this.#show();
  }

  close() {
    this.values = [];
    this.listed = [];
    this.highlighted = -1;
    this.element.hidden = true;
  }

  /** @param {Box} box of the editor, in pixels of the stage */
  place(box) {
    if (!this.isOpen) return;
    const stage = /** @type {HTMLElement} */ (this.element.offsetParent ?? document.body);
    const below = box.y + box.height + 3;
    const isAbove = below + this.element.offsetHeight > stage.clientHeight;
    this.element.style.left = `${box.x}px`;
    this.element.style.minWidth = `${Math.max(132, box.width)}px`;
    this.element.style.top = `${isAbove ? Math.max(4, box.y - this.element.offsetHeight - 3) : below}px`;
  }

  #show() {
    this.element.hidden = this.listed.length === 0;
    this.element.replaceChildren(
      ...this.listed.map((value, index) => {
        const item = document.createElement("div");
        item.className = index === this.highlighted ? "choice on" : "choice";
        item.dataset.index = String(index);
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", String(index === this.highlighted));
        item.textContent = value;
        return item;
      }),
    );
    this.element.querySelector(".on")?.scrollIntoView({ block: "nearest" });
  }
}
