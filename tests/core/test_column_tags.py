"""Writes name the columns that they are meant for (S5), and go on where that turns out to be what is refused."""

from __future__ import annotations

from sheetd.core import effect as fx
from sheetd.core.grid import ColumnTag, SheetWrite
from sheetd.core.world import Limits
from tests.core.story import HEADER, Line, Story


def writes(story: Story) -> list[SheetWrite]:
    return [effect.write for effect in story.asked(fx.WriteSheet) if isinstance(effect, fx.WriteSheet)]


def columns_of(write: SheetWrite) -> list[int]:
    return [update.column for update in write.updates]


def dresses(story: Story) -> int:
    return len(story.asked(fx.DressSheet))


def changed(story: Story, line: Line) -> None:
    """Something in the row is to be written anew."""
    story.table.type(line, status="typed by somebody")


def refused(story: Story, line: Line, times: int) -> list[SheetWrite]:
    """So many writes in a row are refused, and then none is."""
    changed(story, line)
    story.started.clear()

    def refuse(effect: fx.Effect) -> None:
        is_refused = isinstance(effect, fx.WriteSheet) and len([one for one in writes(story) if one.updates]) <= times
        story.sheet_error = ("refused", True) if is_refused else None

    story.meddle = refuse
    for _ in range(600):
        story.wait(1)
        if line["status"] == "running":
            break
    story.meddle = lambda _effect: None
    story.sheet_error = None
    return [write for write in writes(story) if write.updates]


def started(**limits: float) -> tuple[Story, Line]:
    story = Story(limits=Limits(dress_every_s=limits.pop("dress_every_s", 1e9)))
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert line["status"] == "running"
    return story, line


def test_a_write_names_each_column_that_it_writes_to():
    story, line = started()
    changed(story, line)
    story.started.clear()
    story.wait(5)
    write = next(write for write in writes(story) if write.updates)
    assert [tag.name for tag in write.guards] == [HEADER[column] for column in sorted({*columns_of(write)})]
    assert ColumnTag(HEADER.index("status"), "status") in write.guards


def test_what_no_dress_has_tagged_is_not_named():
    story, line = started()
    story.world.tagged = frozenset({"message"})
    changed(story, line)
    story.started.clear()
    story.wait(5)
    assert writes(story)[0].guards == ()


def test_one_refusal_is_a_column_that_has_moved_and_nothing_else_is_concluded():
    story, line = started()
    tries = refused(story, line, 1)
    assert [bool(write.guards) for write in tries] == [True, True]
    assert dresses(story) == 0


def test_after_two_refusals_the_tags_are_looked_at_again():
    story, line = started()
    tries = refused(story, line, 2)
    assert [bool(write.guards) for write in tries] == [True, True, True]
    assert dresses(story) == 1


def test_showing_goes_before_guarding_until_the_tab_is_dressed_the_next_time():
    story, line = started(dress_every_s=300.0)
    tries = refused(story, line, 4)
    assert [bool(write.guards) for write in tries] == [True, True, True, True, False]
    changed(story, line)
    story.wait(5)
    assert writes(story)[-1].guards == ()
    story.wait(310)
    changed(story, line)
    story.wait(5)
    assert writes(story)[-1].guards != ()


def test_where_guards_are_not_what_is_refused_they_are_sent_again():
    story, line = started()
    tries = refused(story, line, 6)
    assert [bool(write.guards) for write in tries] == [True, True, True, True, False, True, True]


def test_a_column_that_is_typed_anew_under_an_old_name_is_tagged_before_it_is_named():
    story, line = started()
    header = story.table.header
    story.table.header = ["gone" if name == "runtime" else name for name in header]
    story.table.changed()
    story.wait(5)
    story.started.clear()
    story.table.header = header
    story.table.changed()
    story.wait(10)
    dressing = next(index for index, effect in enumerate(story.started) if isinstance(effect, fx.DressSheet))
    before, after = (
        {tag.name for effect in part if isinstance(effect, fx.WriteSheet) for tag in effect.write.guards}
        for part in (story.started[:dressing], story.started[dressing:])
    )
    assert "runtime" not in before
    assert "runtime" in after
    assert line["status"] == "running"


def test_a_write_waits_for_its_columns_to_be_tagged():
    """Seeds 961512, 961920 and 2004063 of the simulator: columns moved under a write after a failed dressing."""
    story, line = started()
    story.restart_daemon()
    story.dress_error = ("429", False)
    changed(story, line)
    story.started.clear()
    story.wait(50)
    assert [write for write in writes(story) if write.updates] == []
    story.dress_error = None
    story.wait(8)
    assert line["status"] == "running"
    assert all(write.guards for write in writes(story) if write.updates)


def test_where_somebody_will_not_have_the_tab_dressed_rows_are_shown_all_the_same():
    story, line = started()
    story.restart_daemon()
    story.dress_error = ("you may not edit this", True)
    changed(story, line)
    story.started.clear()
    story.wait(30)
    assert dresses(story) >= 3
    assert line["status"] == "running"


def test_a_dressing_that_is_too_much_for_the_server_stops_the_showing_for_a_minute_and_no_longer():
    story, line = started()
    story.restart_daemon()
    story.dress_error = ("500", False)
    changed(story, line)
    story.wait(90)
    assert line["status"] == "running"
