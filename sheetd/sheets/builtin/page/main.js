// @ts-check
/**
 * Puts the page together: what arrives goes into the model and is drawn; what a person does goes up as an edit.
 * Everything else is in the module that carries its name.
 */

import { Actions } from "./actions.js";
import { isBlank, rich, shown, typed } from "./cell.js";
import { Choices } from "./choices.js";
import { Editor } from "./editor.js";
import { History } from "./history.js";
import { Keys } from "./keys.js";
import { Menu } from "./menu.js";
import { Model } from "./model.js";
import { Notice } from "./notice.js";
import { labelled } from "./paint.js";
import { Pointer } from "./pointer.js";
import { Selection } from "./selection.js";
import { sheetInAddress, Tabs } from "./tabs.js";
import { Tally } from "./tally.js";
import { View } from "./view.js";
import { Wire } from "./wire.js";

/** @param {string} id @returns {HTMLElement} */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const key = new URLSearchParams(location.search).get("s");
const model = new Model();
const selection = new Selection(model);
const history = new History(model);
const notice = new Notice(part("hint"), part("banner"), part("connection"));
const view = new View(part("grid"), model, selection);
const tally = new Tally(part("tally"), model);
const tabs = new Tabs(part("tabs"), showTab);
/** @type {import("./wire.js").Connection} */ let connection = "connecting";
/** @type {number | null} the tab to ask for; null: the one that is shown, else the first */ let wanted = sheetInAddress();
/** @type {Map<number, [import("./cell.js").Address | null, import("./cell.js").Address | null, number, number]>} */
const places = new Map();
let welcomeKey = "";

const wire = new Wire(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/${encodeURIComponent(key ?? "")}`, {
  hello: () => (wanted === null || wanted === model.sheet ? { sheet: model.sheet, since: model.rev } : { sheet: wanted, since: null }),
  message: receive,
  connection: (state) => {
    connection = state;
    changed();
  },
});
const actions = new Actions(model, wire, history, selection, notice, changed);
const choices = new Choices(part("choices"), (value) => {
  editor.commit(value);
  view.schedule();
});
const editor = new Editor(/** @type {HTMLTextAreaElement} */ (part("editor")), model, view, selection, actions, notice, choices);
const keys = new Keys(model, view, selection, actions, editor, notice);
const menu = new Menu(part("menu"), menuEntries, () => editor.focus());
new Pointer(model, view, selection, actions, editor, keys, menu);

function changed() {
  notice.showConnection(connection, wire.unacknowledged.size);
  view.schedule();
}

/** @param {any} message */
function receive(message) {
  if (message.t === "snapshot") takeSnapshot(message);
  else if (message.t === "patch") takePatch(message);
  else if (message.t === "ack") takeAck(message);
  changed();
}

/** @param {any} snapshot */
function takeSnapshot(snapshot) {
  const isOther = snapshot.sheet !== model.sheet;
  if (isOther && editor.isOpen) editor.commit();
  if (isOther && model.sheet !== null) places.set(model.sheet, [selection.active, selection.corner, view.grid.scrollTop, view.grid.scrollLeft]);
  if (isOther) model.take(snapshot);
  else view.keepingPlace(() => model.take(snapshot));
  wanted = null;
  view.widths.measure();
  view.setWidths();
  if (isOther) showPlace(snapshot.sheet);
}

/** Where the person was when this tab was last shown. @param {number} sheet */
function showPlace(sheet) {
  const [active, corner, top, left] = places.get(sheet) ?? [null, null, 0, 0];
  selection.active = active;
  selection.corner = corner;
  selection.lastActive = { row: model.frozenRows, col: 0 };
  selection.lastCorner = { row: model.frozenRows, col: 0 };
  selection.settle();
  view.draw();
  view.grid.scrollTo(left, top);
  editor.focus();
}

/** @param {any} patch */
function takePatch(patch) {
  if (patch.sheet !== model.sheet || patch.from !== model.rev) {
    if (patch.sheet === model.sheet) wire.hello(); // a gap: ask again from what we have
    return;
  }
  view.keepingPlace(() => model.apply(patch));
  const touched = new Set(patch.ops.flatMap((/** @type {any} */ op) => (op.op === "cells" ? op.cells.map((/** @type {any} */ cell) => cell[1]) : [])));
  if (view.widths.grow(touched)) view.setWidths();
}

/** @param {any} ack */
function takeAck(ack) {
  model.unmask(ack.seq);
  history.settle(ack);
  for (const { code, text, why } of ack.rejected ?? []) {
    if (code === "owned") notice.say(why);
    else notice.offer(why, text ?? "");
  }
  const [conflict] = ack.conflicts ?? [];
  if (conflict) offerTheirs(conflict);
}

/** Somebody changed the cell while it was being typed in; the last writer won, and can give way. @param {[number, number, string]} conflict */
function offerTheirs([row, col, theirs]) {
  const mine = typed(model.cell(row, col));
  const putBack = { label: "Put theirs back", run: () => actions.type(row, col, theirs, mine) };
  notice.offer(`Somebody changed ${placeName(model.indexOf(row), model.columnIndex.get(col) ?? 0)} while you typed. Your text was kept; theirs was:`, theirs, [putBack]);
}

/** @param {number} sheet */
function showTab(sheet) {
  editor.commit();
  wanted = sheet;
  globalThis.history.replaceState(null, "", `#sheet=${sheet}`);
  wire.hello();
  editor.focus();
}

/** @param {number} row @param {number} col */
function placeName(row, col) {
  const title = model.columnTitle(col);
  return row < model.frozenRows ? `header \u00b7 ${title || "empty"}` : `${title || "empty"} \u00b7 ${row + 1}`;
}

/** @returns {import("./menu.js").Entry[]} */
function menuEntries() {
  const { top, bottom, left } = selection.range();
  const count = bottom - top + 1;
  const rows = count === 1 ? "row" : `${count} rows`;
  const title = model.columnTitle(left);
  return [
    { label: `Insert ${rows} above`, run: () => actions.insertRows("above") },
    { label: `Insert ${rows} below`, run: () => actions.insertRows("below") },
    { label: `Delete ${rows}`, run: () => actions.deleteRows() },
    null,
    { label: "Clear", keys: "Del", run: () => actions.clear() },
    { label: "Fill down", keys: "Ctrl+D", run: () => actions.fillDown() },
    null,
    { label: `Sort by ${title}, A to Z`, run: () => actions.sort(false) },
    { label: `Sort by ${title}, Z to A`, run: () => actions.sort(true) },
    null,
    { label: "Undo", keys: "Ctrl+Z", run: () => actions.turn("undo") },
    { label: "Redo", keys: "Ctrl+Y", run: () => actions.turn("redo") },
  ];
}

/** The line at the top: the active cell in full, with its note and, for web addresses only, its link. */
function drawLine() {
  const { row, col } = selection.lastActive;
  const cell = model.at(row, col);
  const looks = rich(cell);
  part("place").textContent = placeName(row, col);
  const text = shown(cell) || typed(cell);
  /** @type {(Node | string)[]} */ const content = [text];
  if (looks?.link && /^https?:\/\//i.test(looks.link)) {
    const link = document.createElement("a");
    link.href = looks.link;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = text || looks.link;
    content[0] = link;
  }
  if (looks?.note) content.push("  ", labelled("note", looks.note));
  part("full").replaceChildren(...content);
  editor.input.setAttribute("aria-activedescendant", "active-cell");
  editor.input.setAttribute("aria-label", placeName(row, col));
}

/** An empty sheet says what to do next. Looked at once per change, because it looks at every row. */
function drawWelcome() {
  const seen = `${model.version} ${editor.isOpen}`;
  if (seen === welcomeKey) return;
  welcomeKey = seen;
  const headers = model.columns.map((_, col) => shown(model.at(0, col)));
  const hasRows = model.rows.some((_, row) => row > 0 && model.columns.some((__, col) => !isBlank(model.at(row, col))));
  let sentence = "";
  if (headers.every((header) => header === "")) {
    sentence = "Type column names into the first row, such as template, lr and action, and an experiment into the row below.";
  } else if (headers.includes("template") || headers.includes("status")) {
    sentence = "Type an experiment into the first empty row, one value per column: sheetd picks it up a few seconds after your last key and answers in its message cell.";
  }
  part("welcome").hidden = hasRows || editor.isOpen || sentence === "";
  part("welcome").textContent = sentence;
}

view.afterDrawing.push(() => {
  document.title = `${model.title} \u00b7 sheetd`;
  part("title").textContent = model.title;
  tabs.draw(model.tabs, model.sheet);
  tally.draw();
  drawLine();
  drawWelcome();
  notice.place();
});

notice.beside = () => {
  const { x, y, width } = editor.lastBox;
  return { x: x - view.grid.scrollLeft, y: y - view.grid.scrollTop, width };
};

globalThis.addEventListener("hashchange", () => {
  const asked = sheetInAddress();
  if (asked !== null && asked !== model.sheet) showTab(asked);
});
globalThis.addEventListener("beforeunload", (event) => {
  if (wire.unacknowledged.size > 0 || editor.isOpen) event.preventDefault();
});

if (key === null) {
  part("welcome").textContent = "There is no spreadsheet yet: start sheetd with a sheetd.toml, and it makes one and prints its link.";
  part("welcome").hidden = false;
} else {
  wire.connect();
}
