from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.grid import CellUpdate, CellValue, Replacement, SheetWrite, column_letters
from sheetd.sheets import wire

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(alphabet=st.characters()),
    st.sampled_from(["=1+1", "+1", "@a", "\tx", "-"]),
)
UPDATES = st.lists(
    st.builds(CellUpdate, row=st.integers(0, 8), column=st.integers(0, 8), value=VALUES),
    max_size=60,
)


def keys_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(keys_in, value))
    return set()


@given(UPDATES)
def test_blocks_set_exactly_the_updated_cells_each_once_to_its_last_value(updates: list[CellUpdate]):
    meant = {(update.row, update.column): update.value for update in updates}
    covered: list[tuple[int, int, CellValue]] = [
        (block.row + down, block.column + right, value)
        for block in wire.blocks(updates)
        for down, row in enumerate(block.rows)
        for right, value in enumerate(row)
    ]
    assert len(covered) == len(meant)
    assert all(meant[row, column] is value for row, column, value in covered)


@given(UPDATES)
def test_blocks_are_full_rectangles(updates: list[CellUpdate]):
    assert all(len({len(row) for row in block.rows}) == 1 for block in wire.blocks(updates))


def test_the_same_columns_of_many_rows_become_one_block_each_stretch():
    updates = [CellUpdate(row=row, column=column, value=row) for row in range(1, 1001) for column in (2, 3, 7)]
    assert [(block.row, block.column, len(block.rows)) for block in wire.blocks(updates)] == [
        (1, 2, 1000),
        (1, 7, 1000),
    ]


def test_a_gap_in_the_rows_begins_a_new_block():
    updates = [CellUpdate(row=row, column=0, value="x") for row in (1, 2, 4)]
    assert [(block.row, len(block.rows)) for block in wire.blocks(updates)] == [(1, 2), (4, 1)]


@given(UPDATES)
def test_no_write_ever_holds_a_formula_and_every_write_is_strict_json(updates: list[CellUpdate]):
    body = wire.batch_with_answer(wire.write_requests(SheetWrite(tab_id=0, updates=tuple(updates))), "T")
    assert "formulaValue" not in keys_in(body)
    assert keys_in(body) & {"valueInputOption", "pasteData"} == set()
    json.dumps(body, allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'x", "1,5", "007", "TRUE", "2020-01-01"]
)
def test_text_is_sent_as_text_whatever_it_begins_with(text: str):
    assert wire.cell_data(text) == {"userEnteredValue": {"stringValue": text}}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, {"boolValue": True}),
        (False, {"boolValue": False}),
        (0.0, {"numberValue": 0.0}),
        (3, {"numberValue": 3.0}),
        (float("nan"), {"stringValue": "nan"}),
        (float("-inf"), {"stringValue": "-inf"}),
        ("\ud800x", {"stringValue": "\ufffdx"}),
    ],
)
def test_values_are_typed(value: CellValue, sent: dict[str, Any]):
    assert wire.cell_data(value) == {"userEnteredValue": sent}


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_clears_the_cell(nothing: CellValue):
    assert wire.cell_data(nothing) == {}


def test_replacements_come_before_updates():
    write = SheetWrite(
        tab_id=3,
        updates=(CellUpdate(row=1, column=0, value="x"),),
        replacements=(Replacement(column=4, old="a1b2", new="c3d4"),),
    )
    kinds = [next(iter(request)) for request in wire.write_requests(write)]
    assert kinds == ["findReplace", "updateCells"]


def test_an_id_is_replaced_as_a_whole_cell_within_its_column_and_below_the_header():
    request = wire.find_replace(3, Replacement(column=4, old="a1b2", new=""))["findReplace"]
    assert request["matchEntireCell"]
    assert request["matchCase"]
    assert request["range"] == {"sheetId": 3, "startRowIndex": 1, "startColumnIndex": 4, "endColumnIndex": 5}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a1", "=1+1"),
        ("a1", "123"),
        ("a1", "1e5"),
        ("a1", "A1"),
        ("a1", "a\n"),
        ("", "a1"),
        (".*", "a1"),
        ("a1\n", "b2"),
    ],
)
def test_only_ids_are_replaced_by_content_because_google_parses_the_replacement(old: str, new: str):
    with pytest.raises(ValueError, match="only ids"):
        wire.find_replace(0, Replacement(column=0, old=old, new=new))


@pytest.mark.parametrize(
    ("column", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")]
)
def test_columns_have_letters(column: int, letters: str):
    assert column_letters(column) == letters


def test_a_title_with_an_apostrophe_stays_one_range():
    assert wire.quote_title("Ada's runs!A1") == "'Ada''s runs!A1'"
