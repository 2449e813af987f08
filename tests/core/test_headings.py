"""Each column of ours is explained on its header, in one sentence; what is a person's is not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sheetd.core import effect as fx
from sheetd.core.colours import ACTIONS, Heading
from sheetd.core.grid import Cell
from sheetd.core.headings import COLUMNS, HOSTS_TAB, METRICS, RUNS_TAB, About, headings
from sheetd.core.hosts_grid import HEADERS as HOSTS_HEADERS
from sheetd.core.rows import CONTROL_HEADERS, METRIC_VIEWS, SYSTEM_HEADERS, read_layout
from sheetd.core.runs_grid import HEADERS as RUNS_HEADERS
from tests.core.story import Story

ALL = [about for table in (COLUMNS, METRICS, HOSTS_TAB, RUNS_TAB) for about in table.values()]


def test_every_header_that_we_know_is_explained():
    assert set(COLUMNS) == {*CONTROL_HEADERS, *SYSTEM_HEADERS}
    assert set(METRICS) == set(METRIC_VIEWS)
    assert set(HOSTS_TAB) == set(HOSTS_HEADERS)
    assert set(RUNS_TAB) == set(RUNS_HEADERS)


@pytest.mark.parametrize("about", ALL, ids=lambda about: about.note[:30])
def test_a_note_is_one_short_sentence_and_a_width_fits_on_a_screen(about: About):
    assert 15 <= len(about.note) <= 110
    assert not about.note.endswith(".")
    assert ". " not in about.note
    assert 50 <= about.width <= 400


@pytest.mark.parametrize("tab", [COLUMNS, HOSTS_TAB, RUNS_TAB], ids=["experiments", "hosts", "runs"])
def test_a_column_is_wide_enough_for_its_header(tab: Mapping[str, About]):
    """In bold letters of 13 pixels, with room at the sides and for the mark of the note."""
    assert [name for name, about in tab.items() if about.width < 9 * len(name) + 20] == []


def test_the_note_on_action_names_every_word():
    assert [word for word in ACTIONS if word not in COLUMNS["action"].note] == []


def test_parameters_and_a_persons_own_columns_have_none():
    header = [Cell(text, text) for text in ("LR", "status", "my notes", "acc:max", "action")]
    layout = read_layout(header, ["lr"], ["acc"])
    assert [(one.column, one.note) for one in headings(layout.columns)] == [
        (1, COLUMNS["status"].note),
        (3, "the largest value of acc so far"),
        (4, COLUMNS["action"].note),
    ]


def test_the_tab_is_dressed_with_them_when_columns_move_and_not_each_cycle():
    story = Story()
    story.table.type(template="train", lr=0.1)
    story.wait(20)
    story.table.header.reverse()
    story.table.changed()
    story.wait(60)
    (effect,) = story.asked(fx.DressSheet)
    at = story.table.header.index("message")
    assert isinstance(effect, fx.DressSheet)
    assert Heading(column=at, note=COLUMNS["message"].note, width=360) in effect.dress.headings
    assert len(effect.dress.headings) == len({*CONTROL_HEADERS, *SYSTEM_HEADERS}.intersection(story.table.header))
