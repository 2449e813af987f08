"""The tab of hosts shows what `sheetd hosts` says; a word typed into it is obeyed once, for the host beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.colours import HOST_COLOURS
from sheetd.core.grid import Cell, Claim
from sheetd.core.hosts_grid import HEADERS, HostsTab
from sheetd.core.hosts_tab import BY
from sheetd.core.hostwords import state_of
from sheetd.core.model import HostName
from sheetd.core.views import hosts_view
from tests.core.cards import A100, Cards
from tests.core.hosts_table import HostsTable
from tests.core.story import Line, Story

ALPHA, BETA = HostName("alpha"), HostName("beta")
DRAINED = f"drained by {BY}: it gets nothing new until `sheetd host resume`"
#: Long enough for a word to be read, proven, obeyed and answered.
SOON_S = 30.0


def lab(*header: str, **options: object) -> Story:
    options = {"hosts": {"alpha": 2, "beta": 1}, **options}
    story = Story(hosts_table=HostsTable(header), **options)  # type: ignore[arg-type]
    story.wait(SOON_S)
    return story


def tab(story: Story) -> HostsTable:
    assert isinstance(story.hosts_table, HostsTable)
    return story.hosts_table


def shown(story: Story, host: str) -> Line:
    return tab(story).of(host)


def choose(story: Story, host: str, word: str) -> None:
    tab(story).type(shown(story, host), action=word)
    story.wait(SOON_S)


def view_of(story: Story) -> HostsTab:
    assert story.world.hosts_tab is not None
    return story.world.hosts_tab


def words_consumed(story: Story) -> list[tuple[str, str, bool]]:
    return [(one.host, one.action, one.obeyed) for one in story.events if isinstance(one, ev.HostActionConsumed)]


# --- what it shows -----------------------------------------------------------------------------------------------


def test_an_empty_tab_gets_a_header_and_a_row_for_each_host_in_the_order_of_the_configuration():
    story = lab(hosts={"beta": 1, "alpha": 2})
    assert tab(story).header == list(HEADERS)
    assert [line["host"] for line in tab(story).lines] == ["beta", "alpha"]
    assert [(line["state"], line["free"], line["slots"]) for line in tab(story).lines] == [("up", 1, 1), ("up", 2, 2)]


def test_a_row_says_who_of_ours_holds_it_and_how_much_is_free():
    story = lab(hosts={"alpha": 2})
    line = story.table.type(template="train", lr=0.1)
    story.wait(SOON_S)
    attempt = story.experiment(line).attempt
    assert attempt is not None
    assert (shown(story, "alpha")["used by"], shown(story, "alpha")["free"]) == (attempt.id, 1)


def test_a_row_says_which_accelerators_there_are_and_which_others_use_them():
    story = lab(hosts={}, cards={"lab": Cards(A100, A100)})
    assert (shown(story, "lab")["free"], shown(story, "lab")["machine"]) == (2, f"2 x {A100}")
    story.hosts[HostName("lab")].cards[0].user = "kim"
    story.wait(100)
    assert (shown(story, "lab")["others"], shown(story, "lab")["free"]) == ("kim", 1)


def test_a_host_that_takes_nothing_new_has_nothing_free():
    story = lab()
    story.cut_off("alpha")
    story.wait(SOON_S)
    assert (shown(story, "alpha")["state"], shown(story, "alpha")["free"]) == ("down", 0)
    assert str(shown(story, "alpha")["seen"]).startswith("until 2023-11-14 22:")


def test_the_words_are_those_of_the_list_of_hosts():
    story = lab()
    story.cut_off("alpha")
    story.wait(SOON_S)
    for name in (ALPHA, BETA):
        told = hosts_view(story.world, story.now())[name]
        assert (shown(story, name)["state"], shown(story, name)["why"] or "") == (told["state"], told["says"])
        assert told["says"] == state_of(story.world, story.world.hosts[name]).why


def test_what_a_host_says_cannot_become_a_formula():
    story = lab()
    story.world.hosts[ALPHA].notes = ('=IMPORTDATA("http://example.org")\x1b[31m\n' + "x" * 1000,)
    story.wait(SOON_S)
    why = str(shown(story, "alpha")["why"])
    assert why.startswith('"=IMPORTDATA')
    assert len(why) <= 500
    assert why.isprintable()


# --- people rearrange it -----------------------------------------------------------------------------------------


def test_sorted_rows_keep_their_own_words_and_notes():
    story = lab()
    tab(story).header.append("my notes")
    tab(story).type(shown(story, "alpha"), notes="the loud one")
    tab(story).sort(lambda line: -ord(str(line["host"])[0]))
    story.cut_off("alpha")
    story.wait(SOON_S)
    assert [line["host"] for line in tab(story).lines] == ["beta", "alpha"]
    assert (shown(story, "alpha")["state"], shown(story, "beta")["state"]) == ("down", "up")
    assert shown(story, "alpha")["my notes"] == "the loud one"


def test_rows_that_are_sorted_under_a_write_are_put_right():
    story = lab()
    story.cut_off("alpha")

    def sort(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteHostsTab):
            tab(story).lines.reverse()
            tab(story).changed()
            story.meddle = lambda _effect: None

    story.meddle = sort
    story.wait(SOON_S)
    assert (shown(story, "alpha")["state"], shown(story, "beta")["state"]) == ("down", "up")


def test_only_the_columns_that_are_there_are_written():
    story = lab("my notes", "state", "host")
    assert [line.cells.keys() for line in tab(story).lines] == [{"state", "host"}] * 2
    assert tab(story).header == ["my notes", "state", "host"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (("machines", "room"), 'row 1 of the tab "Hosts" lacks host and state'),
        (("host", "state", "host"), 'two columns of the tab "Hosts" are called "host"'),
    ],
)
def test_a_tab_with_another_header_is_a_persons_own(header: tuple[str, ...], says: str):
    story = lab(*header)
    assert tab(story).writes == 0
    assert view_of(story).trouble.startswith(says)


def test_a_row_of_no_host_of_ours_says_so_and_is_not_obeyed():
    story = lab()
    line = tab(story).type(host="gamma", action="drain")
    story.wait(SOON_S)
    assert line["state"] == "unknown"
    assert line["why"] == "there is no host gamma in sheetd.toml: add it there, or delete this row"
    assert line["action"] == "drain"
    assert words_consumed(story) == []


def test_a_word_is_not_cleared_by_a_second_row_above_it():
    """Seed 2025: after an answer that was cut short a host had two rows, and its word was obeyed again."""
    story = lab()
    choose(story, "alpha", "retest")
    row = shown(story, "alpha")
    above = Line({"host": row.cells["host"]})
    tab(story).lines.insert(0, above)
    tab(story).changed()
    story.wait(SOON_S)
    tab(story).lines.remove(above)
    tab(story).changed()
    story.wait(SOON_S)
    assert words_consumed(story) == [("alpha", "retest", True)]


def test_a_copied_row_is_not_the_hosts():
    story = lab()
    copied = tab(story).copy(shown(story, "alpha"))
    tab(story).type(copied, action="drain")
    story.wait(SOON_S)
    assert copied["why"] == "alpha has a row already: delete one of them"
    tab(story).type(shown(story, "alpha"), action="retest")
    story.wait(SOON_S)
    assert shown(story, "alpha")["why"] == "alpha has two rows: no word is obeyed before one is deleted"
    assert words_consumed(story) == []
    tab(story).delete(copied)
    story.wait(SOON_S)
    assert words_consumed(story) == [("alpha", "retest", True)]


def test_a_deleted_row_comes_back_and_a_row_without_a_name_is_cleared():
    story = lab()
    tab(story).delete(shown(story, "beta"))
    tab(story).type(shown(story, "alpha"), host="")
    story.wait(SOON_S)
    first, *others = tab(story).lines
    assert (first["host"], first["state"]) == (None, None)
    assert {line["host"] for line in others} == {"alpha", "beta"}


# --- what people ask for -----------------------------------------------------------------------------------------


def test_a_chosen_word_is_obeyed_once_and_stays_in_its_cell():
    story = lab()
    choose(story, "alpha", "Drain ")
    assert words_consumed(story) == [("alpha", "drain", True)]
    assert story.told(ev.HostDrained) == [ev.HostDrained(host=ALPHA, by=BY)]
    assert (shown(story, "alpha")["state"], shown(story, "alpha")["action"]) == ("drained", "Drain ")
    assert shown(story, "alpha")["why"] == f"{DRAINED}; drain was obeyed: clear the cell to choose it again"
    assert shown(story, "beta")["state"] == "up"
    story.wait(100)
    assert len(words_consumed(story)) == 1


def test_a_drained_host_gets_nothing_new_and_the_row_that_waits_says_why():
    story = lab(hosts={"alpha": 1})
    choose(story, "alpha", "drain")
    line = story.table.type(template="train", lr=0.1)
    story.wait(SOON_S)
    assert line["message"] == f"waits for a host: alpha is drained (by {BY})"
    choose(story, "alpha", "resume")
    assert line["status"] == "running"
    assert shown(story, "alpha")["state"] == "up"


def test_the_same_word_counts_again_after_the_cell_was_empty():
    story = lab()
    choose(story, "alpha", "drain")
    choose(story, "alpha", "")
    assert shown(story, "alpha")["state"] == "drained", "to clear the cell undoes nothing"
    choose(story, "alpha", "resume")
    choose(story, "alpha", "drain")
    assert words_consumed(story) == [("alpha", "drain", True), ("alpha", "resume", True), ("alpha", "drain", True)]
    assert shown(story, "alpha")["state"] == "drained"


def test_a_consumed_word_is_no_new_one_after_sorting_or_a_restart():
    story = lab()
    choose(story, "alpha", "drain")
    story.wait(SOON_S)
    tab(story).lines.reverse()
    tab(story).changed()
    story.wait(SOON_S)
    story.restart_daemon()
    story.wait(SOON_S)
    assert words_consumed(story) == [("alpha", "drain", True)]


def test_words_that_came_back_with_an_older_version_of_the_sheet_are_not_obeyed():
    story = lab()
    choose(story, "alpha", "drain")
    old = story.table.claim
    choose(story, "alpha", "resume")
    line = story.table.type(template="train", lr=0.1)
    story.wait(SOON_S)
    assert line["status"] == "running"
    story.table.claim = old
    story.table.changed()
    choose(story, "alpha", "drain")
    assert words_consumed(story)[-1] == ("alpha", "drain", False)
    assert shown(story, "alpha")["state"] == "up"
    assert shown(story, "alpha")["why"] == (
        "drain stood there before and was not obeyed: clear the cell and choose it again"
    )


def test_words_that_another_daemon_has_seen_are_not_obeyed_after_a_takeover():
    table, hosts = lab().table, HostsTable(HEADERS)
    table.claim = hosts.claim = Claim(epoch=3, owner="another", stamp=40, where="kim@elsewhere")
    table.changed()
    hosts.type(host="alpha", action="drain")
    story = Story(hosts={"alpha": 1}, table=table, hosts_table=hosts)
    story.wait(SOON_S)
    assert words_consumed(story) == [("alpha", "drain", False)]
    choose(story, "alpha", "resume")
    choose(story, "alpha", "drain")
    assert shown(story, "alpha")["state"] == "drained"


def test_an_older_version_of_the_tab_alone_is_found_out_too():
    story = lab()
    choose(story, "alpha", "drain")
    old = tab(story).claim
    choose(story, "alpha", "resume")
    tab(story).claim = old
    choose(story, "alpha", "drain")
    assert words_consumed(story)[-1] == ("alpha", "drain", False)
    assert shown(story, "alpha")["state"] == "up"


def test_a_tab_of_another_daemon_is_left_to_it():
    """Two people with a tab of experiments each, in one spreadsheet."""
    hosts = HostsTable(HEADERS)
    hosts.claim = Claim(epoch=3, owner="another", stamp=40, where="kim@elsewhere")
    hosts.type(host="theirs", action="drain")
    story = Story(hosts={"alpha": 1}, hosts_table=hosts)
    story.wait(SOON_S)
    assert hosts.writes == 0
    assert view_of(story).trouble.startswith('the tab "Hosts" shows the hosts of another daemon (kim@elsewhere)')


def test_the_tab_of_the_daemon_that_was_taken_over_from_is_taken_too():
    table, hosts = lab().table, HostsTable(HEADERS)
    table.claim = Claim(epoch=3, owner="another", stamp=40, where="kim@elsewhere")
    hosts.claim = table.claim
    table.changed()
    story = Story(hosts={"alpha": 1}, table=table, hosts_table=hosts)
    story.wait(SOON_S)
    assert shown(story, "alpha")["state"] == "up"
    story.epoch = story.world.state.epoch
    story.restart_daemon()
    choose(story, "alpha", "drain")
    assert words_consumed(story) == [("alpha", "drain", True)], "also in its next life"


def test_an_old_answer_is_not_obeyed():
    """What a read shows may be of a moment ago; the answer to a write is not."""
    story = lab()
    line = shown(story, "alpha")
    tab(story).type(line, action="drain")

    def change_of_mind(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteHostsTab):
            tab(story).type(line, action="")

    story.meddle = change_of_mind
    story.wait(SOON_S)
    assert words_consumed(story) == []


def test_a_word_beside_which_a_host_was_placed_was_not_meant_for_it():
    """Somebody inserts a row in the moment in which a new host gets its own: it takes the place of another one."""
    story = lab("host", "action", "state", "why")
    tab(story).delete(shown(story, "beta"))

    def insert(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteHostsTab):
            tab(story).type(shown(story, "alpha"), action="drain")
            tab(story).insert(0)
            story.meddle = lambda _effect: None

    story.meddle = insert
    story.wait(SOON_S)
    assert words_consumed(story) == [("beta", "drain", False)]
    assert {line["host"] for line in tab(story).lines} == {None, "alpha", "beta"}
    assert story.told(ev.HostDrained) == []


def test_another_word_is_answered_in_the_row():
    story = lab()
    choose(story, "alpha", "drian")
    assert shown(story, "alpha")["why"] == 'action "drian" is not understood: choose drain, resume or retest'
    choose(story, "alpha", "run")
    assert words_consumed(story) == []


def test_a_retest_looks_at_the_host_again():
    story = lab(hosts={}, cards={"lab": Cards(A100)})
    asked = story.hosts[HostName("lab")].cards.asked
    tab(story).type(shown(story, "lab"), action="retest")
    story.wait(20)
    assert story.hosts[HostName("lab")].cards.asked > asked
    assert words_consumed(story) == [("lab", "retest", True)]


# --- the cycle ---------------------------------------------------------------------------------------------------


def test_a_quiet_lab_reads_it_four_times_a_minute_and_writes_nothing():
    story = lab()
    story.table.reads = tab(story).reads = tab(story).writes = story.table.writes = 0
    story.wait(60)
    assert (tab(story).reads, tab(story).writes) == (4, 0)
    assert (story.table.reads, story.table.writes) == (30, 0)


def test_a_host_that_comes_and_goes_costs_four_writes_a_minute_at_most():
    story = lab()
    tab(story).writes = tab(story).reads = 0
    for _ in range(20):
        story.cut_off("alpha")
        story.wait(1)
        story.back("alpha")
        story.wait(2)
    assert tab(story).writes <= 4
    assert tab(story).reads <= tab(story).writes * 2 + 1


def test_a_daemon_that_does_not_own_the_experiments_leaves_it_alone():
    story = lab()
    story.table.claim = Claim(epoch=9, owner="another", stamp=99, where="kim@elsewhere")
    story.table.changed()
    story.wait(4)
    tab(story).writes = tab(story).reads = 0
    story.wait(60)
    assert (tab(story).reads, tab(story).writes) == (0, 0)


def test_trouble_with_it_never_reaches_the_experiments():
    story = lab()
    story.hosts_tab_error = ("the tab was deleted", True)
    line = story.table.type(template="train", lr=0.1)
    story.wait(SOON_S)
    assert line["status"] == "running"
    assert view_of(story).trouble == "the tab was deleted"
    story.hosts_tab_error = None
    story.wait(400)
    assert view_of(story).trouble == ""
    assert shown(story, "alpha")["free"] == 1


def test_a_lost_answer_is_looked_up():
    story = lab()
    story.loses_answers = True
    tab(story).type(shown(story, "alpha"), action="drain")
    story.wait(SOON_S)
    assert words_consumed(story) == [], "nothing is certain yet"
    story.loses_answers = False
    story.wait(100)
    assert words_consumed(story) == [("alpha", "drain", True)]
    assert shown(story, "alpha")["state"] == "drained"


def test_a_formula_over_a_word_of_ours_is_put_right():
    story = lab()
    line = shown(story, "alpha")
    line.cells["state"] = Cell(value="up", shown="up", formula='="up"')
    tab(story).changed()
    story.wait(SOON_S)
    assert line.cells["state"].formula is None


def test_it_is_dressed_once_and_again_when_columns_move():
    story = lab()
    first = view_of(story).dressed
    assert first is not None
    assert dict(first.colours) == HOST_COLOURS
    assert (first.status_column, first.action_column) == (2, 1)
    story.wait(100)
    assert story.asked(fx.DressHostsTab) == []
    tab(story).header.reverse()
    tab(story).changed()
    story.wait(SOON_S)
    (again,) = story.asked(fx.DressHostsTab)
    assert isinstance(again, fx.DressHostsTab)
    headings = tuple(replace(one, column=9 - one.column) for one in first.headings)
    assert [one.column for one in headings] == list(range(9, -1, -1))
    assert again.dress == replace(
        first,
        status_column=7,
        action_column=8,
        owned_columns=(0, 1, 2, 3, 4, 5, 6, 7, 9),
        headings=headings,
    )
