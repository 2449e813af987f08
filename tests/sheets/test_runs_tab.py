"""The tab of runs in a real built-in sheet: made when there is something to list, grown, and made again.

All that the daemon sends is held against Google's own description of its API.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.core.colours import ROW_COLOURS
from sheetd.core.runs_grid import HEADERS
from sheetd.core.world import Limits
from tests.core.story import OWNED_HEADER, Story, Table
from tests.sheets.builtin_rig import Address, BuiltinPerson, builtin_sheet

SOON_S = 40.0


class Lab:
    """A spreadsheet in which the tab of runs is the daemon's; the rows themselves are a story's."""

    def __init__(self, sheet: object, address: Address) -> None:
        self.address = address
        self.tab = sheet.beside("Runs")  # type: ignore[attr-defined]
        self.story = Story(
            hosts={"alpha": 4},
            table=Table(("template", "lr", "repeat", "action", *OWNED_HEADER)),
            runs_table=self.tab,
            limits=Limits(dress_every_s=1e9, sweep_max=2000),
        )

    def type(self, **values: object) -> str:
        line = self.story.table.type(template="train", **values)  # type: ignore[arg-type]
        self.story.wait(SOON_S)
        return str(line["id"])

    def person(self) -> BuiltinPerson:
        return BuiltinPerson(self.address, "Runs")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with builtin_sheet(tmp_path) as (sheet, address):
        yield Lab(sheet, address)


def test_it_is_made_with_colours_when_there_is_something_to_list(lab: Lab):
    id_ = lab.type(lr="{0.1 | 0.2}")
    person = lab.person()
    header, *lines = person.tab.get_all_values()
    assert header == [*HEADERS, "lr"]
    assert [(line[0], line[2], line[-1]) for line in lines] == [
        (f"{id_}-1", "running", "0.1"),
        (f"{id_}-2", "running", "0.2"),
    ]
    fields = "sheets(properties(title),conditionalFormats)"
    document = person.spreadsheet.fetch_sheet_metadata({"fields": fields})
    (sheet,) = [one for one in document["sheets"] if one["properties"]["title"] == "Runs"]
    formulas = [
        rule["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for rule in sheet["conditionalFormats"]
    ]
    assert formulas == [f'=$C1="{word}"' for word in ROW_COLOURS]
    person.close()


def test_it_grows_beyond_what_a_new_tab_holds(lab: Lab):
    lab.type(lr=0.1, repeat=1100)
    person = lab.person()
    assert len(person.tab.get_all_values()) == 1101
    person.close()


def test_one_that_a_person_deleted_is_made_again(lab: Lab):
    id_ = lab.type(lr="{0.1 | 0.2}")
    person = lab.person()
    person.delete_tab()
    person.close()
    lab.story.exits(f"{id_}-1.1", rc=0)
    lab.story.wait(3 * SOON_S)
    again = lab.person()
    assert [line[2] for line in again.tab.get_all_values()[1:]] == ["succeeded", "running"]
    again.close()


def test_it_costs_nothing_while_nothing_happens(lab: Lab):
    id_ = lab.type(lr="{0.1 | 0.2}")
    for number in (1, 2):
        lab.story.exits(f"{id_}-{number}.1", rc=0)
    lab.story.wait(SOON_S)
    lab.tab.client.requests.clear()
    lab.story.wait(600, step_s=5)
    assert lab.tab.client.requests == {"read": 2}
