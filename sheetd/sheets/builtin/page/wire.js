// @ts-check
/**
 * The WebSocket to the server: hello, reconnect, and every edit kept until it is acknowledged.
 *
 * An edit gets its number here and is sent again, unchanged and in order, after each reconnect; the server applies it
 * once per (client, seq). The client id lives as long as this page load: two tabs that shared one would take each
 * other's numbers, and the second edit would be answered with the first one's result.
 * Must not: look into patches or edits. Weak point: edits do not survive a reload, so the page asks before it goes.
 */

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const SILENCE_MS = 20_000; // then ask for a sign of life; a tunnel that died says nothing by itself
const PATIENCE_MS = 10_000;

/** @typedef {"connecting" | "live" | "lost" | "refused" | "missing"} Connection */
/**
 * @typedef {{hello: () => {sheet: number | null, since: number | null}, message: (message: any) => void,
 *   connection: (state: Connection) => void}} Listener
 */

export class Wire {
  /** @param {string} url @param {Listener} listener */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    this.client = crypto.getRandomValues(new Uint32Array(4)).join("-");
    this.seq = 0;
    /** @type {Map<number, string>} */ this.unacknowledged = new Map();
    /** @type {WebSocket | null} */ this.socket = null;
    this.failures = 0;
    this.heard = 0;
    /** @type {number | undefined} */ this.retry = undefined;
    globalThis.addEventListener("online", () => this.connect());
    document.addEventListener("visibilitychange", () => document.hidden || this.connect());
    setInterval(() => this.#checkLife(), PATIENCE_MS / 2);
  }

  /** Connects unless a connection stands or is being made. */
  connect() {
    if (this.socket) return;
    clearTimeout(this.retry);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.heard = performance.now();
    socket.onopen = () => {
      this.hello();
      for (const text of this.unacknowledged.values()) socket.send(text);
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => {
      if (this.socket === socket) this.#lost(event.code);
    };
  }

  /** Asks for the sheet that the page wants to show, from the revision it already has. */
  hello() {
    this.#send(JSON.stringify({ t: "hello", client: this.client, ...this.listener.hello() }));
  }

  /**
   * @param {number} sheet @param {number | null} base @param {object[]} ops @returns {number} the edit's number;
   *   it is on its way, or will be as soon as there is a connection
   */
  edit(sheet, base, ops) {
    this.seq += 1;
    const text = JSON.stringify({ t: "edit", seq: this.seq, base, sheet, ops });
    this.unacknowledged.set(this.seq, text);
    this.#send(text);
    return this.seq;
  }

  /** @param {string} text */
  #send(text) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  /** @param {string} data */
  #receive(data) {
    this.heard = performance.now();
    this.failures = 0;
    const message = JSON.parse(data);
    if (message.t === "ack") this.unacknowledged.delete(message.seq);
    if (message.t === "snapshot" || message.t === "patch") this.listener.connection("live");
    if (message.t !== "pong") this.listener.message(message);
  }

  /** @param {number} code */
  #lost(code) {
    this.socket = null;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.failures, LONGEST_WAIT_MS);
    this.failures += 1;
    // The first drop is usually over before anybody could read a banner; the second is worth a word.
    const states = /** @type {Record<number, Connection>} */ ({ 4401: "refused", 4404: "missing" });
    this.listener.connection(states[code] ?? (this.failures > 1 ? "lost" : "connecting"));
    // Also after a refusal: opening the new link in another tab gives this one its cookie back.
    this.retry = setTimeout(() => this.connect(), wait);
  }

  #checkLife() {
    if (!this.socket) return;
    const silence_ms = performance.now() - this.heard;
    const waits = this.unacknowledged.size > 0 || this.socket.readyState !== WebSocket.OPEN;
    if (silence_ms > (waits ? PATIENCE_MS : SILENCE_MS + PATIENCE_MS)) {
      const socket = this.socket;
      this.#lost(1006); // not waiting for onclose: a dead network may take minutes to report it
      socket.close();
    } else if (silence_ms > SILENCE_MS) {
      this.#send('{"t":"ping"}');
    }
  }
}
