"""A short storm of people, as a test, and what it would find. Long ones: `python -m tests.campaign storm`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.campaign import storm
from tests.campaign.crowd import PagePerson, ScriptPerson
from tests.campaign.storm import Outcome, Storm, Weather, run

SHORT = Storm(minutes=0.2, seed=5, experiments=8, copies=4, pause_s=1.0)


@pytest.mark.timeout(240)
def test_no_cell_row_or_run_is_lost_or_doubled_in_a_storm_of_people() -> None:
    outcome = Outcome(SHORT)
    run(SHORT, outcome, lambda *_: None)
    assert outcome.violations == []
    assert outcome.experiments >= SHORT.experiments
    assert outcome.executions > 0
    assert outcome.cells_checked > 0
    assert outcome.requests["read"] > 0
    assert outcome.requests["write"] > 0
    assert outcome.held_against_google >= sum(outcome.requests.values())


@pytest.fixture
def weather(tmp_path: Path) -> Iterator[Weather]:
    """Rows that were typed and moved, and no daemon that could have touched them."""
    with ExitStack() as undo:
        weather = Weather(SHORT, tmp_path, undo)
        first, second, script = weather.people
        assert isinstance(first, PagePerson)
        assert isinstance(second, PagePerson)
        assert isinstance(script, ScriptPerson)
        for person in (first, second):
            for act in (person.type, person.type, person.insert_a_remark, person.sort, person.undo):
                person.do(act)
        script.sort()
        yield weather


def said(weather: Weather) -> list[str]:
    return list(storm._cells_are_as_typed(weather, Outcome(SHORT)))


def test_rows_that_only_people_moved_are_as_they_were_typed(weather: Weather) -> None:
    assert said(weather) == []


def test_a_cell_that_somebody_else_changed_is_found(weather: Weather) -> None:
    row = next(index for index, one in enumerate(weather.person.rows(), start=2) if one["notes"] == "a 1")
    weather.person.tab.update_cell(row, 5, "not theirs")
    assert said(weather) == ["cells: remark of 'a 1' says 'not theirs', and '' was typed"]


def test_a_row_that_is_lost_or_doubled_is_found(weather: Weather) -> None:
    index = next(index for index, one in enumerate(weather.person.rows(), start=2) if one["notes"] == "b 1")
    copy = weather.person.tab.row_values(index)
    weather.person.tab.append_row(copy, table_range="A1")
    assert "rows: 'b 1' is there 2 times, and should be 1 times" in said(weather)
    for _ in range(2):
        found = weather.person.tab.find("b 1", in_column=4)
        weather.person.tab.delete_rows(found.row)
    assert "rows: 'b 1' is there 0 times, and should be 1 times" in said(weather)


def test_a_second_execution_and_a_row_that_never_ran_are_found(weather: Weather) -> None:
    (weather.home / "starts").write_text("a-1 x7f2qm.1 0\na-1 x7f2qm.2 0\nb-1 xother.1 0\nb-2 xthird.1 0\n")
    assert list(storm._each_ran_once(weather, Outcome(SHORT))) == [
        "twice: x7f2qm was executed 2 times",
        "twice: a-1 was executed 2 times",
        "rows: a-2 never ran",
    ]
