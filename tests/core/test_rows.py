"""Columns are found by their words, rows by their ids, and what counts in a row is what a person asks for."""

# ruff: noqa: RUF001 - look-alike characters are what is tested here
from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core.grid import BLANK, Cell, CellValue, Grid, Merge
from sheetd.core.rows import ColumnKind, Layout, Row, SheetView, canonical, read_layout, view_grid, without
from tests.core.story import cell

PARAMETERS = ("lr", "Batch_Size")
METRICS = ("loss", "acc")


def layout(*header: CellValue | Cell) -> Layout:
    return read_layout([cell(text) for text in header], PARAMETERS, METRICS)


def grid(header: tuple[str, ...], *rows: tuple[CellValue | Cell, ...]) -> Grid:
    cells = (tuple(cell(value) for value in row) for row in (header, *rows))
    return Grid(tab_id=0, title="t", rows=tuple(cells), row_count=1000, column_count=len(header))


def view(
    header: tuple[str, ...], *rows: tuple[CellValue | Cell, ...], before: SheetView | None = None, now_s: float = 0.0
) -> SheetView:
    return view_grid(grid(header, *rows), layout(*header), before, now_s)


def only_row(header: tuple[str, ...], *values: CellValue | Cell) -> Row:
    return view(header, values).rows[0]


# --- columns -----------------------------------------------------------------------------------------------------

NEEDED = ("id", "status", "message")


@pytest.mark.parametrize("spelling", ["status", "Status", "STATUS", "  status ", "ｓｔａｔｕｓ", "\u00a0status\u00a0"])
def test_a_header_is_found_however_it_is_spelled(spelling: str):
    assert layout("id", spelling, "message").position("status") == 1


@pytest.mark.parametrize("spelling", ["sta tus", "statuѕ", "state", "status:"])
def test_a_look_alike_is_not_the_word(spelling: str):
    found = layout("id", spelling, "message")
    assert found.position("status") is None
    assert "lacks status" in found.problems[0]


def test_columns_may_stand_in_any_order_among_others():
    found = layout("my idea", "message", "", "LR", "id", "todo", "status", "batch_size", "loss:MIN")
    assert not found.problems
    assert [(column.name, column.kind) for column in found.columns if column.kind is not ColumnKind.NOTE] == [
        ("message", ColumnKind.SYSTEM),
        ("lr", ColumnKind.PARAMETER),
        ("id", ColumnKind.SYSTEM),
        ("status", ColumnKind.SYSTEM),
        ("Batch_Size", ColumnKind.PARAMETER),
        ("loss:min", ColumnKind.METRIC),
    ]
    assert [column.position for column in found.columns] == [0, 1, 3, 4, 5, 6, 7, 8]


def test_only_system_and_metric_columns_are_ours_to_write():
    found = layout("template", "action", "where", "lr", "notes", "loss", "acc:max", *NEEDED)
    assert [column.name for column in found.owned] == ["loss:last", "acc:max", "id", "status", "message"]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (("Status", "status"), "status"),
        (("lr", "LR"), "lr"),
        (("action", "Action "), "action"),
        (("loss", "loss:last"), "loss:last"),
        (("id", "ID"), "id"),
    ],
)
def test_a_column_of_ours_that_is_there_twice_stops_all_writing(header: tuple[str, str], name: str):
    rest = [word for word in NEEDED if word != name]
    assert layout(*header, *rest).problems == (f'columns A and B are both called "{name}": rename one of them',)


def test_a_users_own_columns_may_be_there_twice():
    assert not layout("note", "note", *NEEDED).problems


@pytest.mark.parametrize("missing", NEEDED)
def test_a_missing_column_is_named_with_what_to_do(missing: str):
    found = layout(*[word for word in NEEDED if word != missing])
    assert found.problems == (f"the header row lacks {missing}: add these words to row 1, in any column",)


def test_an_empty_tab_has_no_columns():
    assert read_layout([], PARAMETERS, METRICS).problems


def test_an_unknown_view_of_a_metric_is_a_note():
    (note,) = layout("loss:median").columns
    assert note.kind is ColumnKind.NOTE


def test_a_parameter_wins_over_a_metric_of_the_same_name():
    assert read_layout([cell("lr")], ["lr"], ["lr"]).columns[0].kind is ColumnKind.PARAMETER


def test_keywords_ignore_case_width_and_ends():
    assert canonical(" ＲＵＮ\u00a0") == "run"


# --- rows --------------------------------------------------------------------------------------------------------

HEADER = ("template", "lr", "action", "notes", "id", "status", "message", "loss")


@pytest.mark.parametrize(
    "values",
    [
        (),
        (None, None, None, None, None, None, None, None),
        ("", ""),
        (None, None, None, "remember the milk"),
        (None, None, None, None, None, "running", "left here by a write that came late", 0.1),
        (None, None, None, None, "x12345"),
        (Cell(value="", formula='=IF(A2="","",1)'), None),
    ],
)
def test_a_row_in_which_nothing_is_asked_for_is_blank(values: tuple[CellValue | Cell, ...]):
    assert only_row(HEADER, *values).is_blank


@pytest.mark.parametrize(
    "values",
    [
        ("train",),
        (None, 0.0),
        (None, None, "run"),
        (None, Cell(error="REF", shown="#REF!")),
        (None, Cell(formula="=SLOW()", shown="Loading...")),
    ],
)
def test_a_row_in_which_something_is_asked_for_is_not_blank(values: tuple[CellValue | Cell, ...]):
    assert not only_row(HEADER, *values).is_blank


def test_blank_rows_are_no_rows_to_act_upon():
    seen = view(HEADER, (), ("train", 0.1), (None, None, None, "a note"), ())
    assert [row.index for row in seen.unnamed] == [2]
    assert seen.by_id == {}


def test_an_id_is_read_with_its_ends_stripped():
    assert only_row(HEADER, "train", 0.1, None, None, " x123 ").id == "x123"


@pytest.mark.parametrize("value", [None, "", "   ", 0.0, False])
def test_an_id_cell_with_nothing_in_it_is_no_id(value: CellValue):
    assert only_row(HEADER, "train", 0.1, None, None, value).id == ""


def test_of_rows_with_one_id_the_first_counts_and_the_others_are_copies():
    seen = view(HEADER, ("train", 1.0, None, None, "x1"), ("train", 2.0, None, None, "x1"))
    assert seen.by_id["x1"].index == 1
    assert [row.index for row in seen.copies] == [2]


# --- fingerprints ------------------------------------------------------------------------------------------------

TYPED = ("train", 0.1, None, None, None, None, None, None)


@pytest.mark.parametrize(
    "same",
    [
        ("train", 0.1, "stop"),
        ("train", 0.1, None, "a note"),
        ("train", 0.1, None, None, "x123"),
        ("train", 0.1, None, None, None, "running", "hello", 0.5),
        ("train", Cell(value=0.1, shown="10%")),
        ("train", Cell(value=0.1, shown="0.1", formula="=1/10")),
    ],
)
def test_a_fingerprint_is_unmoved_by_action_notes_and_our_own_cells(same: tuple[CellValue | Cell, ...]):
    assert only_row(HEADER, *same).fingerprint == only_row(HEADER, *TYPED).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        ("train", 0.2),
        ("train", "0.1"),
        ("train", None),
        ("other", 0.1),
        ("train", True),
        ("train", Cell(error="REF", shown="#REF!")),
    ],
)
def test_a_fingerprint_changes_with_what_is_asked_for(other: tuple[CellValue | Cell, ...]):
    assert only_row(HEADER, *other).fingerprint != only_row(HEADER, *TYPED).fingerprint


def test_true_is_not_one():
    assert only_row(("lr",), True).fingerprint != only_row(("lr",), 1.0).fingerprint


def test_a_fingerprint_is_unmoved_when_columns_are_moved_or_added():
    here = only_row(("template", "lr", "id"), "train", 0.1)
    there = only_row(("new", "lr", "id", "Batch_Size", "TEMPLATE"), "x", 0.1, None, None, "train")
    assert here.fingerprint == there.fingerprint


def test_values_do_not_wander_between_columns():
    assert only_row(("lr", "Batch_Size"), 1.0).fingerprint != only_row(("lr", "Batch_Size"), None, 1.0).fingerprint


@pytest.mark.parametrize("text", ["\ud800", "\0", "x" * 50_000, "\u202e"])
def test_any_text_has_a_fingerprint(text: str):
    assert len(only_row(("lr",), text).fingerprint) == 24


# --- settling ----------------------------------------------------------------------------------------------------


def test_a_row_is_unchanged_since_it_was_first_seen_so():
    first = view(HEADER, TYPED, now_s=10.0)
    second = view(HEADER, TYPED, before=first, now_s=13.5)
    assert first.unchanged_for_s(first.rows[0]) == 0.0
    assert second.unchanged_for_s(second.rows[0]) == 3.5


def test_each_edit_starts_the_time_anew():
    first = view(HEADER, TYPED, now_s=10.0)
    second = view(HEADER, ("train", 0.2), before=first, now_s=20.0)
    assert second.unchanged_for_s(second.rows[0]) == 0.0


@pytest.mark.parametrize(
    "later",
    [
        ("train", 0.1, None, None, "x9"),
        ("train", 0.1, "run"),
        ("train", 0.1, None, "a note", None, "waiting"),
    ],
    ids=["an id", "an action", "a note"],
)
def test_what_asks_for_nothing_new_does_not(later: tuple[CellValue, ...]):
    first = view(HEADER, TYPED, now_s=10.0)
    second = view(HEADER, later, before=first, now_s=14.0)
    assert second.unchanged_for_s(second.rows[0]) == 4.0


def test_rows_may_move_while_they_settle():
    first = view(HEADER, TYPED, ("train", 0.2), now_s=10.0)
    second = view(HEADER, ("train", 0.2), (), TYPED, before=first, now_s=14.0)
    assert [second.unchanged_for_s(row) for row in (second.rows[0], second.rows[2])] == [4.0, 4.0]


def test_a_row_that_happens_to_say_the_same_as_an_older_one_is_still_being_typed():
    old = ("train", 0.1, None, None, "x1")
    first = view(HEADER, old, now_s=10.0)
    second = view(HEADER, old, ("train", 0.1), before=first, now_s=100.0)
    third = view(HEADER, old, ("train", 0.1), before=second, now_s=101.0)
    assert third.unchanged_for_s(third.rows[0]) == 91.0
    assert third.unchanged_for_s(third.rows[1]) == 1.0


def test_one_more_row_without_an_id_makes_its_twin_wait_too_since_nobody_can_tell_them_apart():
    first = view(HEADER, TYPED, now_s=10.0)
    second = view(HEADER, TYPED, TYPED, before=first, now_s=12.0)
    assert [second.unchanged_for_s(row) for row in second.rows] == [0.0, 0.0]


def test_a_named_row_that_is_edited_into_a_settled_one_is_still_being_typed():
    first = view(HEADER, ("train", 0.2, None, None, "x1"), TYPED, now_s=10.0)
    second = view(HEADER, ("train", 0.1, None, None, "x1"), TYPED, before=first, now_s=20.0)
    assert second.unchanged_for_s(second.rows[0]) == 0.0


def test_so_is_one_that_is_edited_into_what_a_row_said_that_went_away():
    first = view(HEADER, ("train", 0.2, None, None, "x1"), ("train", 0.1, None, None, "x2"), now_s=10.0)
    second = view(HEADER, ("train", 0.1, None, None, "x1"), before=first, now_s=20.0)
    assert second.unchanged_for_s(second.rows[0]) == 0.0


def test_a_row_that_did_not_change_is_not_understood_anew():
    """An adapter hands out the same cells for a row that did not change."""
    first = view(HEADER, *[("train", float(n)) for n in range(50)])
    changed = (*first.grid.rows[:20], tuple(cell(value) for value in ("train", 0.5)), *first.grid.rows[21:])
    second = view_grid(replace(first.grid, rows=changed), first.layout, first, 1.0)
    same = [old is new for old, new in zip(first.rows, second.rows, strict=True)]
    assert same == [index != 19 for index in range(50)]


def test_a_row_that_moved_is_known_at_its_new_place():
    first = view(HEADER, ("train", 0.1, "stop", None, "x1"), ("train", 0.2))
    header, *rows = first.grid.rows
    second = view_grid(replace(first.grid, rows=(header, *reversed(rows))), first.layout, first, 1.0)
    assert second.rows == tuple(replace(row, index=3 - row.index) for row in reversed(first.rows))
    assert second.by_id["x1"].index == 2


def test_cells_beyond_a_ragged_row_are_blank():
    row = only_row(HEADER, "train")
    assert row.cell(7) is BLANK
    assert row.cell(None) is BLANK


def test_a_header_that_nearly_names_a_parameter_is_a_lost_column():
    layout = read_layout([cell("id"), cell("status"), cell("message"), cell("secconds")], ["seconds", "lr"], [])
    assert layout.lost == {"seconds": 'there is no column "seconds", but one called "secconds": rename it'}


def test_a_column_that_was_there_and_is_gone_is_lost_until_it_comes_back():
    full = read_layout([cell("id"), cell("status"), cell("message"), cell("seconds")], ["seconds"], [])
    renamed = read_layout([cell("id"), cell("status"), cell("message"), cell("time")], ["seconds"], [])
    gone = without(renamed, full)
    assert set(gone.lost) == {"seconds"}
    assert without(full, gone).lost == {}


def test_a_merge_is_told_of_each_row_that_lacks_a_cell_by_it_and_no_longer_than_it_is_there():
    header = ("id", "lr", "notes")
    found = layout(*header)
    plain = grid(header, ("", 0.1, ""), ("", 0.2, ""), ("", 0.3, ""))
    merged = replace(plain, merges=(Merge(top=1, left=1, bottom=3, right=3), Merge(top=3, left=2, bottom=4, right=4)))
    before = view_grid(plain, found, None, 0.0)
    now = view_grid(merged, found, before, 1.0)
    assert [row.merged.partition(":")[0] for row in now.rows] == ["", "lr is inside the merged cells B2", ""]
    assert now.rows[1].fingerprint == before.rows[1].fingerprint, "by which it is recognised"
    assert now.rows[1].judged_as != before.rows[1].judged_as
    assert now.rows[0] is before.rows[0]
    assert view_grid(merged, found, now, 2.0).rows[1] is now.rows[1]
    assert [row.merged for row in view_grid(plain, found, now, 2.0).rows] == ["", "", ""]
