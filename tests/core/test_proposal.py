"""Rows that a program wants typed become typed cells under the right columns, or are refused with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sheetd.core.grid import Cell, Grid
from sheetd.core.proposal import Proposal, propose
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.validation import Refused

TRAIN = Template(
    name="train",
    command=("python3", "train.py", "--lr={lr}", "--name={name}"),
    params={
        "lr": Param(name="lr", type=ParamType.NUMBER, minimum=0.0),
        "steps": Param(name="steps", type=ParamType.INTEGER, default=100),
        "name": Param(name="name", type=ParamType.TEXT, default="x"),
        "fast": Param(name="fast", type=ParamType.BOOLEAN, default=False),
    },
)
HEADER = ("notes", "lr", "id", "status", "message", "steps", "name", "fast", "where", "priority", "gpus", "action")


def tab(header: tuple[str, ...] = HEADER, *rows: tuple[str, ...]) -> Grid:
    lines = tuple(tuple(Cell(text, text) if text else Cell() for text in line) for line in (header, *rows))
    return Grid(tab_id=0, title="T", rows=lines, row_count=1000, column_count=26)


def propose_one(
    values: Mapping[str, Any], grid: Grid | None = None, templates: tuple[Template, ...] = (TRAIN,), **options: bool
) -> Proposal | Refused:
    return propose([values], grid or tab(), {one.name: one for one in templates}, **options)


def typed(values: Mapping[str, Any], header: tuple[str, ...] = HEADER) -> dict[str, Any]:
    """What stands under which header afterwards."""
    proposal = propose_one(values, tab(header))
    assert isinstance(proposal, Proposal), proposal
    return {name: value for name, value in zip(header, proposal.rows[0], strict=True) if value is not None}


def problems(*arguments: Any, **options: Any) -> str:
    refused = propose_one(*arguments, **options)
    assert isinstance(refused, Refused), refused
    return "; ".join(refused.problems)


def test_a_number_given_as_text_is_typed_as_a_number_and_a_text_stays_text() -> None:
    assert typed({"lr": "1e-3", "name": "007", "steps": 5, "fast": "true"}) == {
        "lr": 0.001,
        "name": "007",
        "steps": 5.0,
        "fast": True,
    }


@pytest.mark.parametrize("text", ["=1+1", "+1", "1e3", "TRUE", "2026-01-02", " padded ", "'quoted"])
def test_a_text_is_typed_as_it_is_whatever_a_sheet_would_make_of_it(text: str) -> None:
    assert typed({"lr": 1, "name": text})["name"] == text


def test_numbers_for_a_text_are_spelled_as_the_command_line_would_spell_them() -> None:
    assert typed({"lr": 1, "name": 0.5})["name"] == "0.5"
    assert typed({"lr": 1, "name": 3})["name"] == "3"


def test_controls_are_typed_and_only_columns_of_the_person_are_filled() -> None:
    told = typed({"lr": 1, "gpus": "2", "priority": -1.5, "where": "a100", "action": "run"})
    assert told == {"lr": 1.0, "gpus": 2.0, "priority": -1.5, "where": "a100", "action": "run"}


@pytest.mark.parametrize("empty", [None, ""])
def test_nothing_leaves_the_cell_empty(empty: str | None) -> None:
    assert typed({"lr": 1, "name": empty}) == {"lr": 1.0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": "0,1"}, "type it with a point, 0.1"),
        ({"lr": -1}, "lr is -1, below 0"),
        ({"steps": 5}, "lr is empty: type a number from 0"),
        ({"lr": float("nan")}, "lr is nan: give a number that a cell can hold"),
        ({"lr": 10**400}, "give a number that a cell can hold"),
        ({"lr": 1, "priority": "1e999"}, "priority is 1e999"),
        ({"lr": 1, "fast": "maybe"}, "type TRUE or FALSE"),
        ({"lr": 1, "gpus": 0}, "gpus is"),
        ({"lr": 1, "action": "stop"}, "only run may be typed into a new row"),
        ({"lr": 1, "LR": 2}, "lr is given twice"),
        ({"lr": 1, "stepz": 5}, "template train has no parameter stepz: did you mean steps?"),
        ({"lr": 1, "status": "done"}, "template train has no parameter status"),
        ({"template": "trian", "lr": 1}, "template is trian: give one of train"),
    ],
)
def test_a_mistake_is_told_before_anything_is_typed(values: dict[str, Any], words: str) -> None:
    assert words in problems(values)


def test_the_row_with_the_mistake_is_named_and_none_is_typed() -> None:
    refused = propose([{"lr": 1}, {"lr": -1}], tab(), {"train": TRAIN})
    assert isinstance(refused, Refused)
    assert refused.problems[0].startswith("row 2: lr is -1, below 0")
    assert len(refused.problems) == 1


def test_a_parameter_without_a_column_says_which_header_to_add() -> None:
    header = ("lr", "id", "status", "message")
    assert problems({"lr": 1, "steps": 5}, tab(header)) == (
        "the sheet has no column steps: add the header steps to row 1, or use --add-columns"
    )


def test_columns_are_added_behind_everything_that_a_row_holds() -> None:
    grid = tab(("lr", "id", "status", "message"), ("1", "", "", "", "", "a remark"))
    proposal = propose_one({"lr": 2, "steps": 5}, grid, add_columns=True)
    assert isinstance(proposal, Proposal)
    assert (proposal.headers, proposal.rows) == (("steps",), ((2.0, None, None, None, None, None, 5.0),))


def test_a_sheet_of_one_template_needs_no_column_for_it_and_one_of_two_does() -> None:
    other = Template(name="other", command=("true",))
    assert typed({"template": "train", "lr": 1}) == {"lr": 1.0}
    assert "the sheet has no column template" in problems({"template": "train", "lr": 1}, templates=(TRAIN, other))
    assert "template is not given: give one of other, train" in problems({"lr": 1}, templates=(TRAIN, other))


def test_an_empty_row_is_no_row() -> None:
    assert "an empty row is not run" in problems({}, templates=(Template(name="other", command=("true",)),))
    assert "0 rows at once" in "".join(getattr(propose([], tab(), {"train": TRAIN}), "problems", ()))


def test_a_header_that_the_daemon_does_not_understand_gets_no_rows() -> None:
    assert "the header row lacks id" in problems({"lr": 1}, tab(("lr", "status", "message")))
