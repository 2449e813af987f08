// @ts-check
/**
 * Tab-separated text, as every spreadsheet puts it on the clipboard: quoted when a cell holds a tab, a line break or
 * a leading quote.
 */

/** @param {string[][]} rows @returns {string} */
export function toTsv(rows) {
  const quote = (/** @type {string} */ text) => (/[\t\n\r]|^"/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => row.map(quote).join("\t")).join("\n");
}

/** @param {string} text @returns {string[][]} every row as long as it was written; a last line break ends the last row */
export function fromTsv(text) {
  const source = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").replace(/\n$/, "");
  /** @type {string[][]} */ const rows = [[]];
  let at = 0;
  while (at <= source.length) {
    const [cell, end] = readCell(source, at);
    /** @type {string[]} */ (rows.at(-1)).push(cell);
    if (source[end] === "\n") rows.push([]);
    at = end + 1;
  }
  return rows;
}

/** @param {string} source @param {number} start @returns {[string, number]} the cell and where its separator stands */
function readCell(source, start) {
  if (source[start] === '"') {
    const quoted = /"((?:[^"]|"")*)"(?=[\t\n]|$)/y;
    quoted.lastIndex = start;
    const match = quoted.exec(source);
    if (match) return [(match[1] ?? "").replaceAll('""', '"'), quoted.lastIndex];
  }
  const separator = /[\t\n]/g;
  separator.lastIndex = start;
  const end = separator.exec(source)?.index ?? source.length;
  return [source.slice(start, end), end];
}
