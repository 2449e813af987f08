// @ts-check
/**
 * What a cell is on this page: exactly what the server sent, never changed in place, so that "is it still the same?" is
 * one comparison. Plain cells stay strings because a sheet holds hundreds of thousands of them.
 */

/** @typedef {{values: number[], type?: string, color?: string, ymin?: number, ymax?: number}} Spark */
/**
 * @typedef {{v?: string, e?: string, k?: string, bg?: string, fg?: string, bold?: number, italic?: number,
 *   strike?: number, align?: string, wrap?: number, link?: string, note?: string, d?: string, spark?: Spark,
 *   waiting?: boolean}} RichCell
 */
/** @typedef {null | string | RichCell} Cell */
/** @typedef {{type: string, values?: string[], strict?: boolean, help?: string}} Rule */
/**
 * `at` is the column's place in the server's rows: hidden columns are not shown but keep their place there.
 * @typedef {{id: number, name: string, width: number | null, owned?: boolean, ownedFrom?: number, hidden?: boolean,
 *   at: number}} Column
 */
/** @typedef {{id: number, cells: Cell[]}} Row */
/** @typedef {{row: number, col: number}} Address  Stable ids, never positions. */

/** @param {Cell} cell @returns {string} the text that is shown */
export function shown(cell) {
  if (cell === null) return "";
  return typeof cell === "string" ? cell : (cell.v ?? "");
}

/** @param {Cell} cell @returns {string} the text that an editor opens with */
export function typed(cell) {
  if (cell === null) return "";
  return typeof cell === "string" ? cell : (cell.e ?? cell.v ?? "");
}

/** @param {Cell} cell @returns {RichCell | null} */
export function rich(cell) {
  return cell === null || typeof cell === "string" ? null : cell;
}

/** @param {Cell} cell */
export function isBlank(cell) {
  return cell === null || (typeof cell === "string" ? cell === "" : !cell.v && !cell.e && !cell.spark);
}

/**
 * The cell as it will look once the server has taken `text`: same colours and rule, marked as waiting.
 * Only the looks are guessed (a number stands right); what the text means is decided by the server.
 * @param {Cell} base @param {string} text @returns {RichCell}
 */
export function expected(base, text) {
  const looks = rich(base);
  const isNumber = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  return {
    v: text.startsWith("'") ? text.slice(1) : text, e: text, waiting: true, bg: looks?.bg, fg: looks?.fg, d: looks?.d, note: looks?.note,
    bold: looks?.bold, italic: looks?.italic, align: looks?.align, k: isNumber ? "n" : undefined,
  };
}
