from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.grid import BLANK, Cell, Grid, Merge
from sheetd.sheets.answers import GridParser

Json = dict[str, Any]

HOSTILE = ['{"values":[', '"}]}', "\\", '{"values":[{}]},{"values":[', "],", "\u2028", "\x00", "{},"]
TEXT = st.one_of(st.text(), st.sampled_from(HOSTILE))
VALUES = st.one_of(
    st.just(({}, BLANK)),
    TEXT.filter(bool).map(
        lambda text: ({"effectiveValue": {"stringValue": text}, "formattedValue": text}, Cell(text, text))
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(
        lambda number: ({"effectiveValue": {"numberValue": number}, "formattedValue": "n"}, Cell(number, "n"))
    ),
    st.booleans().map(
        lambda truth: (
            {"effectiveValue": {"boolValue": truth}, "formattedValue": str(truth).upper()},
            Cell(truth, str(truth).upper()),
        )
    ),
    TEXT.map(
        lambda text: (
            {
                "userEnteredValue": {"formulaValue": "=" + text},
                "effectiveValue": {"errorValue": {"type": "REF", "message": "gone"}},
                "formattedValue": "#REF!",
            },
            Cell(None, "#REF!", "=" + text, "REF: gone"),
        )
    ),
    TEXT.map(lambda text: ({"userEnteredValue": {"formulaValue": "=" + text}}, Cell(None, "", "=" + text))),
)
ROWS = st.lists(st.lists(VALUES, max_size=5), max_size=8)


def document(rows: list[Json], *, wrapped: bool = False, **properties: Any) -> Json:
    """An answer of the API with these rowData; its quirk of leaving out a sheetId of 0 included."""
    sheet = {
        "properties": {"title": "T", "gridProperties": {"rowCount": 1000, "columnCount": 26}, **properties},
        "data": [{"rowData": rows} if rows else {}],
    }
    inner = {"sheets": [sheet]}
    return {"spreadsheetId": "key", "updatedSpreadsheet": inner} if wrapped else {"spreadsheetId": "key", **inner}


def compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def grid_of(body: bytes, parser: GridParser | None = None) -> Grid:
    grid = (parser or GridParser()).parse(body).grid
    assert grid is not None
    return grid


def row_data(rows: list[list[tuple[Json, Cell]]]) -> list[Json]:
    return [{"values": [data for data, _ in row]} if row else {} for row in rows]


def expected(rows: list[list[tuple[Json, Cell]]]) -> tuple[tuple[Cell, ...], ...]:
    cells = [tuple(cell for _, cell in row) for row in rows]
    trimmed = [row[: max((i + 1 for i, cell in enumerate(row) if not cell.is_blank), default=0)] for row in cells]
    return tuple(trimmed[: max((i + 1 for i, row in enumerate(trimmed) if row), default=0)])


@given(ROWS, st.booleans())
def test_every_kind_of_cell_keeps_its_place_and_type(rows: list[list[tuple[Json, Cell]]], wrapped: bool):
    grid = grid_of(compact(document(row_data(rows), wrapped=wrapped)))
    assert grid.rows == expected(rows)
    for row, meant in zip(grid.rows, expected(rows), strict=True):
        assert [type(cell.value) for cell in row] == [type(cell.value) for cell in meant]


@given(ROWS)
def test_white_space_in_the_answer_changes_nothing(rows: list[list[tuple[Json, Cell]]]):
    pretty = json.dumps(document(row_data(rows)), indent=2).encode()
    assert grid_of(pretty) == grid_of(compact(document(row_data(rows))))


@given(ROWS, ROWS)
def test_what_was_read_before_never_shows_in_what_is_read_now(
    before: list[list[tuple[Json, Cell]]], after: list[list[tuple[Json, Cell]]]
):
    parser = GridParser()
    grid_of(compact(document(row_data(before))), parser)
    assert grid_of(compact(document(row_data(after))), parser).rows == expected(after)


def test_rows_that_stayed_are_the_same_objects():
    rows = [{"values": [{"effectiveValue": {"stringValue": text}, "formattedValue": text}]} for text in "abc"]
    parser = GridParser()
    first = grid_of(compact(document(rows)), parser)
    rows[1]["values"][0]["formattedValue"] = "changed"
    second = grid_of(compact(document(rows)), parser)
    assert second.rows[0] is first.rows[0]
    assert second.rows[1][0].shown == "changed"
    assert second.rows[2] is first.rows[2]


def test_the_answer_of_a_write_shares_rows_with_that_of_a_read():
    rows = [{"values": [{"effectiveValue": {"numberValue": 1}, "formattedValue": "1"}]}]
    parser = GridParser()
    assert grid_of(compact(document(rows, wrapped=True)), parser) == grid_of(compact(document(rows)), parser)


@pytest.mark.parametrize("keys", [("data", "properties"), ("properties", "data")])
def test_the_order_of_keys_does_not_matter(keys: tuple[str, str]):
    value = document([{}, {"values": [{}, {"effectiveValue": {"stringValue": "x"}, "formattedValue": "x"}]}, {}, {}])
    value["sheets"][0] = {key: value["sheets"][0][key] for key in keys}
    value["sheets"][0]["data"][0] = {
        "startRow": 2,
        "startColumn": 1,
        **value["sheets"][0]["data"][0],
        "columnMetadata": [],
    }
    assert grid_of(compact(value)).rows == ((), (), (), (BLANK, BLANK, Cell("x", "x")))


def test_an_empty_tab_has_no_rows():
    grid = grid_of(compact(document([], sheetId=7)))
    assert (grid.tab_id, grid.rows, grid.row_count, grid.column_count) == (7, (), 1000, 26)


def test_integers_of_json_are_doubles_as_in_the_sheet():
    grid = grid_of(
        compact(document([{"values": [{"effectiveValue": {"numberValue": 10**400}, "formattedValue": "x"}]}]))
    )
    assert grid.rows[0][0].value == float("inf")


THEIRS = [{"values": [{"effectiveValue": {"stringValue": "theirs"}, "formattedValue": "theirs"}]}]


@pytest.mark.parametrize("indent", [None, 2])
def test_other_tabs_in_an_answer_are_passed_over(indent: int | None):
    value = document([{"values": [{"effectiveValue": {"stringValue": "ours"}, "formattedValue": "ours"}]}], sheetId=7)
    empty = document([], sheetId=3)["sheets"][0]
    value["sheets"] = [empty, *value["sheets"], {"properties": {"title": "U", "sheetId": 4}}]
    body = json.dumps(value, indent=indent, separators=None if indent else (",", ":")).encode()
    grid = GridParser().parse(body, 7).grid
    assert grid is not None
    assert (grid.tab_id, grid.cell(0, 0).value) == (7, "ours")


def test_rows_of_another_tab_are_never_taken_for_ours():
    value = document(THEIRS, sheetId=3)
    value["sheets"].append({"properties": {"title": "U", "sheetId": 7}, "data": [{}]})
    grid = GridParser().parse(compact(value), 7).grid
    assert grid is not None
    assert (grid.tab_id, grid.rows) == (7, ())


def test_a_tab_whose_cells_were_not_sent_is_not_taken_for_an_empty_one():
    value = document(THEIRS, sheetId=3)
    value["sheets"].append({"properties": {"title": "U", "sheetId": 7}})
    grid = GridParser().parse(compact(value), 7).grid
    assert grid is not None
    assert grid.tab_id == 3


def test_an_answer_without_tabs_has_no_grid():
    assert GridParser().parse(b'{"spreadsheetId":"key"}').grid is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Please log in</body></html>",
        b"[]",
        b"null",
        b'{"hello":"world"}',
        b"\xff\xfe",
        b"[" * 100_000,
        compact(document([{"values": [{}]}]))[:-7],
        b'{"spreadsheetId":"key","sheets":[{"properties":{"title":"T"},"data":[{"rowData":[{"values":["x"]}]}]}]}',
        b'{"spreadsheetId":"key","sheets":[{"properties":{"title":"T"},"data":[]},{"properties":{},"data":[]}]}',
        (
            b'{"spreadsheetId":"key","sheets":[{"data":[{"rowData":[{"values":[{}]}]},{"rowData":[{"values":[{}]}]}],'
            b'"properties":{"title":"T"}}]}'
        ),
    ],
)
def test_anything_else_is_refused_not_guessed(body: bytes):
    with pytest.raises(ValueError, match=r".+"):
        GridParser().parse(body)


@given(st.binary())
def test_bytes_from_anywhere_end_in_a_value_error_or_an_answer(body: bytes):
    try:
        GridParser().parse(body)
    except ValueError:
        return


def test_the_same_text_in_many_rows_is_kept_once():
    row = {"values": [{"effectiveValue": {"stringValue": "succeeded"}, "formattedValue": "succeeded"}]}
    other = {"values": [row["values"][0], {"effectiveValue": {"numberValue": 1}, "formattedValue": "1"}]}
    grid = GridParser().parse(json.dumps(document([row, other]), separators=(",", ":")).encode()).grid
    assert grid is not None
    assert grid.cell(0, 0) is grid.cell(1, 0)


def test_a_number_does_not_become_the_truth_that_looks_the_same():
    truth = {"values": [{"effectiveValue": {"boolValue": True}, "formattedValue": "x"}]}
    number = {"values": [{"effectiveValue": {"numberValue": 1}, "formattedValue": "x"}]}
    grid = GridParser().parse(json.dumps(document([truth, number]), separators=(",", ":")).encode()).grid
    assert grid is not None
    assert grid.cell(0, 0).value is True
    assert type(grid.cell(1, 0).value) is float


@pytest.mark.parametrize("wrapped", [False, True])
def test_merged_cells_are_told_with_what_is_left_out_of_their_area(wrapped: bool):
    answer = document([{"values": [{"effectiveValue": {"stringValue": "x"}}]}], wrapped=wrapped)
    sheet = answer.get("updatedSpreadsheet", answer)["sheets"][0]
    area = {"startRowIndex": 1, "endRowIndex": 3, "startColumnIndex": 2, "endColumnIndex": 5}
    sheet["merges"] = [area, {"startRowIndex": 9}]
    assert grid_of(compact(answer)).merges == (Merge(1, 2, 3, 5), Merge(9, 0, 1000, 26))
    assert [merge.a1 for merge in grid_of(compact(answer)).merges] == ["C2:E3", "A10:Z1000"]


@pytest.mark.parametrize("merges", ["A1:B2", [None], {"a": 1}, [{"startRowIndex": "one"}]])
def test_merges_in_another_form_are_refused(merges: object):
    answer = document([])
    answer["sheets"][0]["merges"] = merges
    with pytest.raises(ValueError, match=r"in the form|invalid literal"):
        grid_of(compact(answer))
