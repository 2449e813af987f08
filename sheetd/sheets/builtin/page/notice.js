// @ts-check
/**
 * What the page says to the person: one line of connection state, one calm banner while edits wait, and hints beside
 * the cell that they are about. A hint that holds somebody's text stays until it is dismissed; the others go by
 * themselves with the next key or click.
 */

/** @typedef {import("./wire.js").Connection} Connection */
/** @typedef {{label: string, run: () => void}} Choice */

const WORDS = { connecting: "connecting", live: "live", lost: "offline", refused: "signed out", missing: "not found" };

export class Notice {
  /** @param {HTMLElement} hint @param {HTMLElement} banner @param {HTMLElement} connection */
  constructor(hint, banner, connection) {
    this.hint = hint;
    this.banner = banner;
    this.connection = connection;
    this.isKept = false;
    /** @type {() => {x: number, y: number, width: number}} the active cell, in pixels of the stage */
    this.beside = () => ({ x: 60, y: 60, width: 100 });
  }

  /** @param {Connection} state @param {number} waiting how many edits are not acknowledged */
  showConnection(state, waiting) {
    this.connection.dataset.state = state;
    this.connection.dataset.waiting = String(waiting);
    this.connection.textContent = WORDS[state];
    const edits = waiting === 1 ? "1 edit waits" : `${waiting} edits wait`;
    const texts = {
      connecting: "",
      live: "",
      lost: `Connection lost \u2013 your edits are kept and will be sent${waiting > 0 ? ` (${edits})` : ""}.`,
      refused: `sheetd was restarted: open the link that it printed; this page then goes on${waiting > 0 ? ` and sends what is kept (${edits})` : ""}.`,
      missing: "There is no such spreadsheet: open the link that sheetd printed.",
    };
    this.banner.textContent = texts[state];
    this.banner.hidden = texts[state] === "";
  }

  /** @param {string} text a plain sentence that also says what to do */
  say(text) {
    if (!this.isKept) this.#open(text, []);
  }

  /** Keeps a text that could not be written where the person can still take it. @param {string} why @param {string} text @param {Choice[]} [choices] */
  offer(why, text, choices = []) {
    const copy = { label: "Copy my text", run: () => void navigator.clipboard?.writeText(text) };
    const shownText = text.length > 300 ? `${text.slice(0, 300)}\u2026` : text;
    this.#open(`${why}\n\u201c${shownText}\u201d`, [...(text ? [copy] : []), ...choices, { label: "Dismiss", run: () => {} }]);
    this.isKept = true;
  }

  /** Puts away a hint that nobody has to answer. */
  clear() {
    if (!this.isKept) this.hint.hidden = true;
  }

  /** @param {string} text @param {Choice[]} choices */
  #open(text, choices) {
    const message = document.createElement("div");
    message.className = "message";
    message.textContent = text;
    const buttons = choices.map(({ label, run }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        this.isKept = false;
        this.hint.hidden = true;
        run();
      });
      return button;
    });
    this.hint.replaceChildren(message, ...buttons);
    this.hint.hidden = false;
    this.place();
  }

  place() {
    if (this.hint.hidden) return;
    const stage = /** @type {HTMLElement} */ (this.hint.offsetParent ?? document.body);
    const { x, y } = this.beside();
    const below = y + 36;
    const top = below + this.hint.offsetHeight > stage.clientHeight ? y - this.hint.offsetHeight - 8 : below;
    this.hint.style.left = `${Math.max(8, Math.min(x, stage.clientWidth - this.hint.offsetWidth - 8))}px`;
    this.hint.style.top = `${Math.max(8, top)}px`;
  }
}
