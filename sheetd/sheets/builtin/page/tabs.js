// @ts-check
/** The tabs at the bottom, and which one the address names (`#sheet=<id>`), so that a link leads to a tab. */

/** @typedef {import("./model.js").Tab} Tab */

/** @returns {number | null} the tab that the address asks for */
export function sheetInAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)).get("sheet");
  return asked !== null && /^\d+$/.test(asked) ? Number(asked) : null;
}

export class Tabs {
  /** @param {HTMLElement} element @param {(sheet: number) => void} chosen */
  constructor(element, chosen) {
    this.element = element;
    this.chosen = chosen;
    this.key = "";
    element.addEventListener("keydown", (event) => {
      const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      if (by === 0) return;
      const buttons = /** @type {HTMLElement[]} */ ([...element.children]);
      const here = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      buttons[(here + by + buttons.length) % buttons.length]?.focus();
    });
  }

  /** @param {Tab[]} tabs @param {number | null} current */
  draw(tabs, current) {
    const key = JSON.stringify([tabs, current]);
    if (key === this.key) return;
    this.key = key;
    this.element.replaceChildren(...tabs.filter((tab) => !tab.hidden).map((tab) => this.#button(tab, tab.sheet === current)));
  }

  /** @param {Tab} tab @param {boolean} isCurrent */
  #button(tab, isCurrent) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "tab";
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", String(isCurrent));
    button.tabIndex = isCurrent ? 0 : -1;
    if (tab.color) {
      const dot = document.createElement("i");
      dot.style.setProperty("--tint", tab.color);
      button.append(dot);
    }
    button.append(tab.title);
    button.addEventListener("click", () => this.chosen(tab.sheet));
    return button;
  }
}
