"""Colours, dropdowns, protection, header, its notes and tags: what a tab wears, and what of it is missing.

Pure: compares what the API says is installed with what should be, and builds requests for the difference alone. That is
not only thrift: sending a validation rule again, even an identical one, wipes the chip colours that a person gave it
(measured by jordfan/gsheets-pro, docs/spikes.md, spike 4).

Everything of ours is told from a person's own things: colour rules by the form of their formula together with our
status words, dropdowns by their input message, protections by their description, notes by their first word. A person's
choices stay: another colour for one of our words, another dropdown on one of our columns, a note of their own on one of
our headers, another width, more frozen rows. Weak: a column is new to us while it has the width of every new column and
no note, so who deletes our note and chooses just that width gets ours again. Weak too: a Dress names columns by
position, so it is good only while the header is the one it was made from; the caller compares (`Installed.header`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sheetd.core.colours import Dress, Rgb
from sheetd.core.grid import column_letters
from sheetd.sheets.column_tags import Tags, tag_requests, tags_of
from sheetd.sheets.wire import Json, quote_title

DRESS_FIELDS = (
    "spreadsheetId,sheets(properties(sheetId,title,gridProperties(rowCount,columnCount,frozenRowCount)),"
    "conditionalFormats,protectedRanges(protectedRangeId,range,description,warningOnly),"
    "data(startRow,startColumn,columnMetadata(pixelSize,developerMetadata(metadataId,metadataKey,metadataValue)),rowData(values(formattedValue,note,dataValidation))))"
)
#: By this a note of ours is known, whatever an earlier version said in it.
NOTE_MARK = "sheetd: "
#: What a column has that nobody has widened, in Google's words and those of the built-in sheet.
DEFAULT_WIDTH_PX = 100
PROTECTION = "sheetd: written by the daemon"
ACTION_HINT = "sheetd: what to do with this row"
TEMPLATE_HINT = "sheetd: the template that this row runs"

_COLOUR_FORMULA = re.compile(r'=\$([A-Z]+)(\d+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropdown:
    """A list of words offered in one column; other text stays allowed, the row says what is wrong with it."""

    column: int
    words: tuple[str, ...]
    hint: str

    def rule(self) -> Json:
        return {
            "condition": {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": word} for word in self.words]},
            "inputMessage": self.hint,
            "strict": False,
            "showCustomUi": True,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What the tab wears now, as the API tells it. The header is trimmed of blank cells at its end."""

    tab_id: int
    row_count: int
    frozen_rows: int
    header: tuple[str, ...]
    colour_rules: Sequence[Json]
    protections: Sequence[Json]
    #: The notes on the header, and the widths of all columns in pixels.
    notes: tuple[str, ...]
    widths: tuple[int, ...]
    #: What columns of ours are known by, wherever they are.
    tags: Tags
    #: Validation rules by column; the list begins with row 1 and may be short.
    validations: Mapping[int, Sequence[Json | None]]


def dropdowns(dress: Dress) -> list[Dropdown]:
    """Status gets none: the daemon writes it, and an arrow beside it would invite people to.

    A word that begins with `=` would be taken for a formula by the rule, so it is not offered.
    """
    wanted = (
        (dress.action_column, dress.actions, ACTION_HINT),
        (dress.template_column, dress.templates, TEMPLATE_HINT),
    )
    found = []
    for column, words, hint in wanted:
        offered = tuple(word for word in words if word and not word.startswith("="))
        if column is not None and offered:
            found.append(Dropdown(column=column, words=offered, hint=hint))
    return found


def dress_ranges(dress: Dress, title: str) -> list[str]:
    """The header, and whole columns that should have a dropdown: a rule can be missing on any row, where somebody
    pasted.
    """
    letters = [column_letters(dropdown.column) for dropdown in dropdowns(dress)]
    return [f"{quote_title(title)}!1:1", *(f"{quote_title(title)}!{letter}:{letter}" for letter in letters)]


def installed(sheet: Mapping[str, Any]) -> Installed:
    """Read the answer to `DRESS_FIELDS` over `dress_ranges`: the first block is the header. Raises KeyError and
    TypeError.
    """
    properties = sheet["properties"]
    size = properties.get("gridProperties", {})
    header, *columns = sheet["data"]
    return Installed(
        tab_id=properties.get("sheetId", 0),
        row_count=size.get("rowCount", 0),
        frozen_rows=size.get("frozenRowCount", 0),
        header=trimmed(cell.get("formattedValue", "") for cell in _first_row(header)),
        colour_rules=sheet.get("conditionalFormats", []),
        protections=sheet.get("protectedRanges", []),
        notes=tuple(cell.get("note", "") for cell in _first_row(header)),
        widths=tuple(column.get("pixelSize", 0) for column in header.get("columnMetadata", [])),
        tags=tags_of(header.get("columnMetadata", [])),
        validations={block.get("startColumn", 0): list(_validations(block)) for block in columns},
    )


def missing_requests(now: Installed, dress: Dress) -> list[Json]:
    """The one batch that completes the dress; empty when nothing is missing."""
    colours, is_first = _colour_requests(now, dress)
    requests = [*colours, *_dropdown_requests(now, dress), *_protection_requests(now, dress)]
    requests += [*_note_requests(now, dress), *_width_requests(now, dress)]
    if dress.tags:
        requests += tag_requests(dress.tab_id, now.tags, dress.tags)
    if now.frozen_rows == 0:
        requests.append(
            {
                "updateSheetProperties": {
                    "properties": {"sheetId": dress.tab_id, "gridProperties": {"frozenRowCount": 1}},
                    "fields": "gridProperties.frozenRowCount",
                }
            }
        )
    # Only once: a person who wants a plain header keeps it.
    return requests + ([_bold_header(dress)] if is_first else [])


def _bold_header(dress: Dress) -> Json:
    header = {"sheetId": dress.tab_id, "startRowIndex": 0, "endRowIndex": 1}
    bold = {"userEnteredFormat": {"textFormat": {"bold": True}}}
    return {"repeatCell": {"range": header, "cell": bold, "fields": "userEnteredFormat.textFormat.bold"}}


def _note_at(now: Installed, column: int) -> str:
    return now.notes[column] if column < len(now.notes) else ""


def _note_requests(now: Installed, dress: Dress) -> list[Json]:
    """Ours on each header of ours that has none of a person's; and taken from every other cell of the header."""
    wanted = {heading.column: NOTE_MARK + heading.note for heading in dress.headings}
    put: dict[int, str] = {}
    for column in sorted({*range(len(now.notes)), *wanted}):
        there, note = _note_at(now, column), wanted.get(column, "")
        is_a_persons = there and not there.startswith(NOTE_MARK)
        if there != note and not is_a_persons:
            put[column] = note
    requests: list[Json] = []
    for start, end in _spans(put):
        cells = [{"note": put[column]} for column in range(start, end)]
        at = {"sheetId": dress.tab_id, "rowIndex": 0, "columnIndex": start}
        requests.append({"updateCells": {"start": at, "rows": [{"values": cells}], "fields": "note"}})
    return requests


def _width_requests(now: Installed, dress: Dress) -> list[Json]:
    """For columns that are new to us: as wide as every new column is, and without any note."""
    requests: list[Json] = []
    for heading in dress.headings:
        width = now.widths[heading.column] if heading.column < len(now.widths) else 0
        is_new = width == DEFAULT_WIDTH_PX and not _note_at(now, heading.column)
        if is_new and heading.width != width:
            span = {
                "sheetId": dress.tab_id,
                "dimension": "COLUMNS",
                "startIndex": heading.column,
                "endIndex": heading.column + 1,
            }
            change = {"range": span, "properties": {"pixelSize": heading.width}, "fields": "pixelSize"}
            requests.append({"updateDimensionProperties": change})
    return requests


def _colour_requests(now: Installed, dress: Dress) -> tuple[list[Json], bool]:
    """One rule for each status word over whole rows; and whether none of ours was there.

    Rules are addressed by position, so ours are deleted from the last to the first. New ones go behind those that stay:
    a person's rule wins.
    """
    column = column_letters(dress.status_column)
    palette = dict(dress.colours)
    formats: dict[str, Json] = {}
    good: set[str] = set()
    stale: list[int] = []
    for index, rule in enumerate(now.colour_rules):
        word, rule_column = _colour_word(rule)
        if word not in palette:
            continue
        is_ours = rule_column == column or _is_near(_background(rule), palette[word])
        if not is_ours:
            continue
        if rule_column == column and word not in good and _covers_rows(rule.get("ranges", []), now.row_count, dress):
            good.add(word)
        else:
            stale.append(index)
            formats.setdefault(word, rule["booleanRule"].get("format", {}))
    kept = len(now.colour_rules) - len(stale)
    requests: list[Json] = [
        {"deleteConditionalFormatRule": {"sheetId": dress.tab_id, "index": index}} for index in reversed(stale)
    ]
    absent = [(word, colour) for word, colour in dress.colours if word not in good]
    for offset, (word, colour) in enumerate(absent):
        rule = _colour_rule(dress.tab_id, column, word, formats.get(word) or _format(colour))
        requests.append({"addConditionalFormatRule": {"index": kept + offset, "rule": rule}})
    return requests, not good and not stale


def _colour_rule(tab_id: int, column: str, word: str, shown: Json) -> Json:
    """From the header on, which holds no status word: a row inserted at a range's upper edge is left outside."""
    formula = f'=${column}1="{word}"'
    return {
        "ranges": [{"sheetId": tab_id, "startRowIndex": 0, "startColumnIndex": 0}],
        "booleanRule": {
            "condition": {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": formula}]},
            "format": shown,
        },
    }


def _colour_word(rule: Mapping[str, Any]) -> tuple[str, str]:
    """The status word and the column letters of a rule in our form, or two empty texts."""
    condition = rule.get("booleanRule", {}).get("condition", {})
    values = condition.get("values", [])
    if condition.get("type") != "CUSTOM_FORMULA" or len(values) != 1:
        return "", ""
    found = _COLOUR_FORMULA.fullmatch(values[0].get("userEnteredValue", ""))
    return (found[3], found[1]) if found else ("", "")


def _covers_rows(ranges: Sequence[Mapping[str, int]], row_count: int, dress: Dress) -> bool:
    """Pasting and dragging breaks a range into pieces; a formula counts from the first row of the first piece."""
    if len(ranges) != 1:
        return False
    area = ranges[0]
    return (
        area.get("startRowIndex", 0) == 0
        and area.get("startColumnIndex", 0) == 0
        and area.get("endRowIndex", row_count) >= row_count
        and area.get("endColumnIndex", dress.column_count) >= dress.column_count
    )


def _format(colour: Rgb) -> Json:
    return {"backgroundColorStyle": {"rgbColor": dict(zip(("red", "green", "blue"), colour, strict=True))}}


def _background(rule: Mapping[str, Any]) -> Rgb:
    """Colour channels of zero are left out by Google."""
    style = rule["booleanRule"].get("format", {}).get("backgroundColorStyle", {}).get("rgbColor", {})
    return (style.get("red", 0.0), style.get("green", 0.0), style.get("blue", 0.0))


def _is_near(left: Rgb, right: Rgb) -> bool:
    """Google keeps a channel with the precision of a byte or so."""
    return all(abs(a - b) < 1 / 200 for a, b in zip(left, right, strict=True))


def _dropdown_requests(now: Installed, dress: Dress) -> list[Json]:
    requests: list[Json] = []
    for dropdown in dropdowns(dress):
        rules = now.validations.get(dropdown.column, ())
        lacking = [row for row in range(1, now.row_count) if _lacks(rules[row] if row < len(rules) else None, dropdown)]
        for start, end in _spans(lacking):
            area = {
                "sheetId": dress.tab_id,
                "startRowIndex": start,
                "endRowIndex": end,
                "startColumnIndex": dropdown.column,
                "endColumnIndex": dropdown.column + 1,
            }
            requests.append({"setDataValidation": {"range": area, "rule": dropdown.rule()}})
    return requests


def _lacks(rule: Mapping[str, Any] | None, dropdown: Dropdown) -> bool:
    """Whether the cell needs our rule: it has none, or has ours with other words. A person's own rule stays."""
    if rule is None:
        return True
    if rule.get("inputMessage") != dropdown.hint:
        return False
    condition = rule.get("condition", {})
    words = tuple(value.get("userEnteredValue", "") for value in condition.get("values", []))
    return condition.get("type") != "ONE_OF_LIST" or words != dropdown.words


def _protection_requests(now: Installed, dress: Dress) -> list[Json]:
    """Warning-only protection from row 2 on: headers may be moved, values are ours."""
    ours = [area for area in now.protections if str(area.get("description", "")).startswith("sheetd")]
    covered: set[int] = set()
    for area in ours:
        where = area.get("range", {})
        whole = where.get("startRowIndex", 0) <= 1 and where.get("endRowIndex", now.row_count) >= now.row_count
        if whole:
            covered.update(range(where.get("startColumnIndex", 0), where.get("endColumnIndex", dress.column_count)))
    if covered == set(dress.owned_columns):
        return []
    gone = [area.get("protectedRangeId", 0) for area in ours]
    requests: list[Json] = [{"deleteProtectedRange": {"protectedRangeId": area_id}} for area_id in gone]
    for start, end in _spans(sorted(dress.owned_columns)):
        where = {"sheetId": dress.tab_id, "startRowIndex": 1, "startColumnIndex": start, "endColumnIndex": end}
        protection = {"range": where, "description": PROTECTION, "warningOnly": True}
        requests.append({"addProtectedRange": {"protectedRange": protection}})
    return requests


def trimmed(header: Iterable[str]) -> tuple[str, ...]:
    """Without blank cells at the end, which come and go with formats."""
    texts = list(header)
    while texts and not texts[-1]:
        texts.pop()
    return tuple(texts)


def _spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as half-open stretches."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number:
            spans[-1] = (spans[-1][0], number + 1)
        else:
            spans.append((number, number + 1))
    return spans


def _first_row(block: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = block.get("rowData", [])
    return rows[0].get("values", []) if rows else []


def _validations(block: Mapping[str, Any]) -> Iterable[Json | None]:
    yield from [None] * block.get("startRow", 0)
    for row in block.get("rowData", []):
        values = row.get("values", [])
        yield values[0].get("dataValidation") if values else None
