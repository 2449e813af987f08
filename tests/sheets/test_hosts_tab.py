"""The tab of hosts in a real built-in sheet: what a person with gspread sees and types there, and what it costs.

All that the daemon sends is held against Google's own description of its API.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gspread
import pytest

from sheetd.core import events as ev
from sheetd.core.colours import HOST_COLOURS
from sheetd.core.hosts_grid import HEADERS
from sheetd.core.hosts_tab import BY
from tests.core.story import Story
from tests.sheets.builtin_rig import Address, BuiltinPerson, builtin_sheet

SOON_S = 30.0


class Lab:
    """Two hosts, and a spreadsheet whose tab of experiments belongs to the daemon."""

    def __init__(self, sheet: object, address: Address) -> None:
        self.tab = sheet.beside("Hosts")  # type: ignore[attr-defined]
        self.is_new = self.tab.create_tab_if_missing()
        self.story = Story(hosts={"alpha": 2, "beta": 1}, hosts_table=self.tab)
        self.story.wait(SOON_S)
        self.person = BuiltinPerson(address, "Hosts")

    def rows(self) -> dict[str, dict[str, str]]:
        """What the person sees, by host."""
        header, *rows = self.person.tab.get_all_values()
        told = [dict(zip(header, row, strict=True)) for row in rows if any(row)]
        return {row["host"]: row for row in told}

    def type(self, host: str, header: str, text: str) -> None:
        values = self.person.tab.get_all_values()
        column = values[0].index(header)
        row = next(index for index, row in enumerate(values) if row[values[0].index("host")] == host)
        self.person.enter(row, column, text)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with builtin_sheet(tmp_path) as (sheet, address):
        lab = Lab(sheet, address)
        yield lab
        lab.person.close()


def test_the_tab_is_made_beside_the_experiments_and_filled(lab: Lab):
    assert lab.is_new
    assert [tab.title for tab in lab.person.spreadsheet.worksheets()] == ["Sheet1", "Experiments", "Hosts"]
    assert lab.person.tab.row_values(1) == list(HEADERS)
    told = {host: (row["state"], row["free"], row["slots"]) for host, row in lab.rows().items()}
    assert told == {"alpha": ("up", "2", "2"), "beta": ("up", "1", "1")}


def test_a_word_that_a_person_types_drains_the_host_and_is_answered_beside_it(lab: Lab):
    lab.type("beta", "action", "drain")
    lab.story.wait(SOON_S)
    row = lab.rows()["beta"]
    assert (row["action"], row["state"], row["free"]) == ("drain", "drained", "0")
    assert row["why"].startswith(f"drained by {BY}: it gets nothing new until `sheetd host resume`; drain was obeyed")
    assert lab.rows()["alpha"]["state"] == "up"


def test_notes_and_columns_of_a_person_stay_through_sorting(lab: Lab):
    lab.person.tab.insert_cols([["room"]], 1)
    lab.type("alpha", "room", "cellar")
    lab.person.tab.sort((2, "des"), range="A2:K3")
    lab.type("alpha", "action", "drain")
    lab.story.wait(SOON_S)
    rows = lab.rows()
    assert list(rows) == ["beta", "alpha"]
    assert (rows["alpha"]["room"], rows["alpha"]["state"], rows["beta"]["state"]) == ("cellar", "drained", "up")
    assert rows["beta"]["room"] == ""


def test_a_renamed_tab_is_still_ours_and_a_deleted_one_stays_away(lab: Lab):
    lab.person.rename_tab("Machines")
    lab.type("alpha", "action", "drain")
    lab.story.wait(SOON_S)
    assert lab.rows()["alpha"]["state"] == "drained"
    assert lab.story.world.hosts_tab is not None
    assert lab.story.world.hosts_tab.trouble == ""
    lab.person.delete_tab()
    lab.story.wait(400, step_s=5)
    assert lab.story.world.hosts_tab.trouble.startswith("the tab 'Machines' was deleted")
    assert "Machines" not in [tab.title for tab in lab.person.spreadsheet.worksheets()]


def test_states_have_colours_and_actions_a_dropdown(lab: Lab):
    fields = "sheets(properties(title),conditionalFormats,data(rowData(values(dataValidation))))"
    document = lab.person.spreadsheet.fetch_sheet_metadata({"ranges": "Hosts!B2:B2", "fields": fields})
    (sheet,) = [one for one in document["sheets"] if one["properties"]["title"] == "Hosts"]
    formulas = [
        rule["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for rule in sheet["conditionalFormats"]
    ]
    assert formulas == [f'=$C1="{word}"' for word in HOST_COLOURS]
    offered = sheet["data"][0]["rowData"][0]["values"][0]["dataValidation"]["condition"]["values"]
    assert [one["userEnteredValue"] for one in offered] == ["drain", "resume", "retest"]


def test_ten_quiet_minutes_cost_forty_reads_and_a_word_two_writes(lab: Lab):
    lab.tab.client.requests.clear()
    lab.story.wait(600, step_s=5)
    assert lab.tab.client.requests == {"read": 40}
    lab.tab.client.requests.clear()
    lab.type("beta", "action", "drain")
    lab.story.wait(SOON_S)
    assert lab.story.told(ev.HostDrained)
    assert lab.tab.client.requests["read"] <= 4, "two as always, and one to see what is to be answered"
    assert lab.tab.client.requests["write"] == 2, "one that proves the word, one that answers it"


def test_gspread_alone_is_enough_to_read_it(lab: Lab):
    assert isinstance(lab.person.tab, gspread.Worksheet)
    assert [row["host"] for row in lab.person.tab.get_all_records()] == ["alpha", "beta"]
