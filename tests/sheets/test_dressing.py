"""What a tab wears: everything once, and nothing of a person's taken away."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sheetd.core.colours import ROW_COLOURS, Dress, Heading
from sheetd.sheets.dressing import ACTION_HINT, PROTECTION, dress_ranges, dropdowns, installed, missing_requests
from tests.sheets.builtin_rig import BuiltinPerson, builtin_sheet

Json = dict[str, Any]

DRESS = Dress(
    tab_id=0,
    status_column=2,
    action_column=1,
    template_column=0,
    owned_columns=(2, 3, 5),
    column_count=6,
    templates=("train", "eval"),
    headings=(
        Heading(column=1, note="what to do", width=90),
        Heading(column=2, note="where it is", width=100),
        Heading(column=3, note="why", width=360),
        Heading(column=5, note="its name", width=80),
    ),
)
#: `range` under another name: the API uses that word for an area.
span = range
HEADER = ("template", "action", "status", "message", "lr", "id")


class Tab:
    """Just enough of a tab to carry out the requests of a dress, and to answer as Google does (zeros left out)."""

    def __init__(self, rows: int = 100) -> None:
        self.rows = rows
        self.frozen = 0
        self.notes: dict[int, str] = {}
        self.widths = [100] * 26
        self.rules: list[Json] = []
        self.protections: list[Json] = []
        self.validations: dict[int, dict[int, Json]] = {}
        self.sent: list[str] = []

    def answer(self, dress: Dress = DRESS) -> Json:
        header: list[Json] = [{"formattedValue": text} for text in HEADER] + [{}] * (26 - len(HEADER))
        for column, note in self.notes.items():
            header[column] = {**header[column], "note": note}
        widths = [{"pixelSize": width} for width in self.widths]
        blocks: list[Json] = [{"columnMetadata": widths, "rowData": [{"values": header}]}]
        for dropdown in dropdowns(dress):
            rules = self.validations.get(dropdown.column, {})
            last = max(rules, default=-1)
            cells = [{"values": [{"dataValidation": rules[row]}]} if row in rules else {} for row in range(last + 1)]
            blocks.append({**({"startColumn": dropdown.column} if dropdown.column else {}), "rowData": cells})
        size = {"rowCount": self.rows, "columnCount": 26, **({"frozenRowCount": self.frozen} if self.frozen else {})}
        properties = {"title": "T", "gridProperties": size}
        sheet = {"properties": properties, "data": blocks}
        sheet |= {"conditionalFormats": self.rules} if self.rules else {}
        sheet |= {"protectedRanges": self.protections} if self.protections else {}
        return copy.deepcopy(sheet)

    def missing(self, dress: Dress = DRESS) -> list[Json]:
        return missing_requests(installed(self.answer(dress)), dress)

    def dress(self, dress: Dress = DRESS) -> list[str]:
        """Carry out what is missing; the kinds of requests that this took."""
        requests = self.missing(dress)
        for request in requests:
            ((kind, body),) = request.items()
            getattr(self, kind)(**body)
        return [next(iter(request)) for request in requests]

    def addConditionalFormatRule(self, index: int, rule: Json) -> None:  # noqa: N802
        self.rules.insert(index, rule)

    def deleteConditionalFormatRule(self, sheetId: int, index: int) -> None:  # noqa: N802, N803, ARG002
        del self.rules[index]

    def setDataValidation(self, range: Json, rule: Json) -> None:  # noqa: N802, A002
        kept = {key: value for key, value in rule.items() if value is not False}
        for row in span(range["startRowIndex"], range["endRowIndex"]):
            self.validations.setdefault(range["startColumnIndex"], {})[row] = kept

    def addProtectedRange(self, protectedRange: Json) -> None:  # noqa: N802, N803
        self.protections.append({"protectedRangeId": len(self.protections) + 7, **protectedRange})

    def deleteProtectedRange(self, protectedRangeId: int) -> None:  # noqa: N802, N803
        self.protections = [area for area in self.protections if area["protectedRangeId"] != protectedRangeId]

    def updateSheetProperties(self, properties: Json, fields: str) -> None:  # noqa: N802
        assert fields == "gridProperties.frozenRowCount"
        self.frozen = properties["gridProperties"]["frozenRowCount"]

    def repeatCell(self, **body: Any) -> None:  # noqa: N802
        assert body["fields"] == "userEnteredFormat.textFormat.bold"

    def updateCells(self, start: Json, rows: list[Json], fields: str) -> None:  # noqa: N802
        assert (fields, start["rowIndex"]) == ("note", 0)
        for column, cell in enumerate(rows[0]["values"], start=start["columnIndex"]):
            assert set(cell) == {"note"}
            self.notes[column] = cell["note"]
            if not cell["note"]:
                del self.notes[column]

    def updateDimensionProperties(self, range: Json, properties: Json, fields: str) -> None:  # noqa: N802, A002
        assert (fields, range["dimension"], range["endIndex"]) == ("pixelSize", "COLUMNS", range["startIndex"] + 1)
        self.widths[range["startIndex"]] = properties["pixelSize"]


@pytest.fixture
def dressed() -> Tab:
    tab = Tab()
    tab.dress()
    return tab


def formulas(tab: Tab) -> list[str]:
    return [rule["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for rule in tab.rules]


def colour_rule(formula: str, colour: Json, **where: int) -> Json:
    condition = {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": formula}]}
    shown = {"backgroundColorStyle": {"rgbColor": colour}}
    return {"ranges": [{"sheetId": 0, **where}], "booleanRule": {"condition": condition, "format": shown}}


def test_a_bare_tab_gets_everything_and_then_nothing_more(dressed: Tab):
    assert formulas(dressed) == [f'=$C1="{word}"' for word in ROW_COLOURS]
    assert dressed.frozen == 1
    assert set(dressed.validations) == {0, 1}
    assert {row for rules in dressed.validations.values() for row in rules} == set(range(1, 100))
    assert [(area["range"]["startColumnIndex"], area["range"]["endColumnIndex"]) for area in dressed.protections] == [
        (2, 4),
        (5, 6),
    ]
    assert all(area["description"] == PROTECTION and area["warningOnly"] for area in dressed.protections)
    assert dressed.missing() == []


def test_the_ranges_read_are_the_header_and_the_columns_with_dropdowns():
    assert dress_ranges(DRESS, "T") == ["'T'!1:1", "'T'!B:B", "'T'!A:A"]


def test_a_persons_own_rules_stay_first_and_untouched():
    tab = Tab()
    own = [colour_rule('=$F2="high"', {"red": 1.0}, startRowIndex=1), {"gradientRule": {}, "ranges": []}]
    tab.rules = copy.deepcopy(own)
    tab.dress()
    assert tab.rules[:2] == own
    assert len(tab.rules) == 2 + len(ROW_COLOURS)
    assert tab.missing() == []


def test_a_persons_rule_on_another_column_with_one_of_our_words_stays(dressed: Tab):
    own = colour_rule('=$E2="failed"', {"red": 1.0}, startRowIndex=1)
    dressed.rules.insert(0, own)
    assert dressed.missing() == []


def test_another_colour_for_one_of_our_words_is_a_persons_choice(dressed: Tab):
    dressed.rules[2]["booleanRule"]["format"] = {"backgroundColorStyle": {"rgbColor": {"blue": 1.0}}}
    assert dressed.missing() == []


def test_a_colour_rule_that_was_deleted_comes_back_alone(dressed: Tab):
    del dressed.rules[3]
    assert dressed.dress() == ["addConditionalFormatRule"]
    assert sorted(formulas(dressed)) == sorted(f'=$C1="{word}"' for word in ROW_COLOURS)


def test_a_rule_broken_into_pieces_by_pasting_is_made_whole_with_the_colour_it_had(dressed: Tab):
    chosen = {"backgroundColorStyle": {"rgbColor": {"blue": 1.0}}}
    dressed.rules[0]["booleanRule"]["format"] = chosen
    dressed.rules[0]["ranges"] = [
        {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 5},
        {"sheetId": 0, "startRowIndex": 7},
    ]
    assert dressed.dress() == ["deleteConditionalFormatRule", "addConditionalFormatRule"]
    assert chosen in [rule["booleanRule"]["format"] for rule in dressed.rules]
    assert dressed.missing() == []


def test_two_rules_for_one_word_become_one(dressed: Tab):
    dressed.rules.append(copy.deepcopy(dressed.rules[0]))
    dressed.dress()
    assert len(formulas(dressed)) == len(set(formulas(dressed))) == len(ROW_COLOURS)


def test_a_bounded_range_is_good_until_rows_are_added_below_it(dressed: Tab):
    for rule in dressed.rules:
        rule["ranges"][0] |= {"endRowIndex": 100, "endColumnIndex": 26}
    assert dressed.missing() == []
    dressed.rows = 200
    dressed.dress()
    assert dressed.missing() == []
    assert len(dressed.rules) == len(ROW_COLOURS)


def test_our_rules_move_with_the_status_column(dressed: Tab):
    moved = replace(DRESS, status_column=3)
    dressed.dress(moved)
    assert formulas(dressed) == [f'=$D1="{word}"' for word in ROW_COLOURS]
    assert dressed.missing(moved) == []


def test_a_dropdown_goes_only_where_there_is_none(dressed: Tab):
    for row in (4, 5, 9):
        del dressed.validations[1][row]
    areas = [request["setDataValidation"]["range"] for request in dressed.missing()]
    assert [(area["startRowIndex"], area["endRowIndex"], area["startColumnIndex"]) for area in areas] == [
        (4, 6, 1),
        (9, 10, 1),
    ]


def test_a_persons_own_dropdown_stays(dressed: Tab):
    dressed.validations[1] = {row: {"condition": {"type": "BOOLEAN"}} for row in range(1, 100)}
    assert dressed.missing() == []


def test_a_new_template_is_offered_and_nothing_else_is_sent_again(dressed: Tab):
    wider = replace(DRESS, templates=("train", "eval", "sweep"))
    assert dressed.dress(wider) == ["setDataValidation"]
    assert dressed.missing(wider) == []
    assert dressed.validations[1][1]["inputMessage"] == ACTION_HINT


def test_text_that_is_not_in_the_list_stays_allowed():
    assert [dropdown.rule()["strict"] for dropdown in dropdowns(DRESS)] == [False, False]


def test_a_template_name_never_becomes_a_formula():
    (dropdown,) = dropdowns(replace(DRESS, templates=("=1+1", "ok", ""), action_column=None))
    assert dropdown.words == ("ok",)


def test_status_has_no_dropdown_and_a_tab_without_user_columns_has_none():
    assert DRESS.status_column not in [dropdown.column for dropdown in dropdowns(DRESS)]
    assert dropdowns(replace(DRESS, action_column=None, template_column=None)) == []


def test_more_frozen_rows_are_a_persons_choice(dressed: Tab):
    dressed.frozen = 3
    assert dressed.missing() == []


def test_protection_follows_the_owned_columns_and_leaves_others_alone(dressed: Tab):
    own = {
        "protectedRangeId": 1,
        "range": {"sheetId": 0, "startColumnIndex": 2, "endColumnIndex": 3},
        "description": "mine",
    }
    dressed.protections.append(own)
    more = replace(DRESS, owned_columns=(2, 3, 4, 5))
    dressed.dress(more)
    assert own in dressed.protections
    assert [area["range"]["endColumnIndex"] for area in dressed.protections if area is not own][-1] == 6
    assert dressed.missing(more) == []


def test_bold_is_given_once_and_then_is_a_persons_choice():
    tab = Tab()
    first = tab.dress()
    del tab.rules[0]
    assert "repeatCell" in first
    assert set(tab.dress()) == {"addConditionalFormatRule"}


# --- notes and widths --------------------------------------------------------------------------------------------


def test_each_header_of_ours_gets_its_note_and_no_other_cell_one(dressed: Tab):
    notes = {1: "sheetd: what to do", 2: "sheetd: where it is", 3: "sheetd: why", 5: "sheetd: its name"}
    assert dressed.notes == notes


def test_a_note_of_ours_that_somebody_deleted_or_changed_within_comes_back_alone(dressed: Tab):
    del dressed.notes[3]
    dressed.notes[2] = "sheetd: something else"
    assert dressed.dress() == ["updateCells"]
    assert (dressed.notes[2], dressed.notes[3]) == ("sheetd: where it is", "sheetd: why")


def test_a_note_that_a_person_wrote_stays_on_a_header_of_ours_too():
    tab = Tab()
    tab.notes = {3: "ask Kim", 4: "between 0 and 1"}
    tab.dress()
    assert (tab.notes[3], tab.notes[4]) == ("ask Kim", "between 0 and 1")
    assert tab.missing() == []


def test_a_note_of_ours_goes_where_its_column_goes_and_leaves_headers_that_are_not_ours(dressed: Tab):
    moved = replace(DRESS, headings=(*DRESS.headings[:3], Heading(column=6, note="its name", width=80)))
    assert "updateCells" in dressed.dress(moved)
    assert (5 in dressed.notes, dressed.notes[6]) == (False, "sheetd: its name")
    assert dressed.missing(moved) == []


def test_widths_are_given_to_new_columns_and_then_are_a_persons_choice(dressed: Tab):
    assert dressed.widths[:6] == [100, 90, 100, 360, 100, 80]
    dressed.widths[3] = 200
    assert dressed.missing() == []
    del dressed.notes[3]
    assert dressed.dress() == ["updateCells"]
    assert dressed.widths[3] == 200


def test_a_column_that_a_person_has_widened_before_we_came_stays_as_wide():
    tab = Tab()
    tab.widths[3] = 500
    tab.dress()
    assert tab.widths[3] == 500


def test_a_column_that_is_added_later_gets_its_note_and_width_once(dressed: Tab):
    more = replace(DRESS, headings=(*DRESS.headings, Heading(column=7, note="how long yet", width=75)))
    assert sorted(dressed.dress(more)) == ["updateCells", "updateDimensionProperties"]
    dressed.widths[7] = 100  # somebody likes it as it was
    assert dressed.missing(more) == []


def test_the_built_in_sheet_keeps_notes_and_widths_and_shows_them(tmp_path: Path):
    with builtin_sheet(tmp_path) as (sheet, address):
        sheet.write_header(["template", "action", "status", "message", "lr", "id"])
        dress = replace(DRESS, tab_id=sheet.read().tab_id)
        assert sheet.dress(dress)
        assert not sheet.dress(dress), "nothing is missing then"
        told = BuiltinPerson(address, "Experiments").spreadsheet.fetch_sheet_metadata(
            {"ranges": "Experiments!1:1", "fields": "sheets.data(columnMetadata.pixelSize,rowData.values.note)"}
        )["sheets"][0]["data"][0]
        assert [cell.get("note") for cell in told["rowData"][0]["values"]][:6] == [
            None, "sheetd: what to do", "sheetd: where it is", "sheetd: why", None, "sheetd: its name",
        ]  # fmt: skip
        assert [column["pixelSize"] for column in told["columnMetadata"]][:6] == [100, 90, 100, 360, 100, 80]


def test_a_row_inserted_right_below_the_header_is_coloured_too(tmp_path: Path):
    with builtin_sheet(tmp_path) as (sheet, address):
        sheet.write_header(["template", "action", "status", "message", "lr", "id"])
        assert sheet.dress(replace(DRESS, tab_id=sheet.read().tab_id))
        person = BuiltinPerson(address, "Experiments")
        person.insert_row(1)
        person.enter(1, 2, "running")
        shown = person.spreadsheet.fetch_sheet_metadata(
            {"includeGridData": "true", "ranges": "Experiments!A2:C2", "fields": "sheets.data.rowData.values"}
        )
        cells = shown["sheets"][0]["data"][0]["rowData"][0]["values"]
        red, green, blue = ROW_COLOURS["running"]
        for cell in cells:
            background = cell["effectiveFormat"]["backgroundColor"]
            assert background == pytest.approx({"red": red, "green": green, "blue": blue}, abs=0.01)
