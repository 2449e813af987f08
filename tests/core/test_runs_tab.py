"""The tab of runs: a line for each run, made when there is one, mended when somebody spoils it, and asked seldom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.colours import ROW_COLOURS
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.model import AttemptId, HostName, MetricRule
from sheetd.core.observation import MetricPoint
from sheetd.core.runs_grid import HEADERS, RunsTab
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.world import Limits
from sheetd.errors import SheetRefused
from tests.core.story import OWNED_HEADER, TRAIN, Line, Story, Table

MEASURED = replace(TRAIN, metrics=(MetricRule(name="loss"),))
SOON_S = 40.0


class RunsTable(Table):
    """There is none at first."""

    title = "Runs"
    tab_id = 9

    def __init__(self, header: Sequence[str] = (), *, is_there: bool = False) -> None:
        super().__init__(header)
        self.is_there = is_there
        self.rows, self.columns = 1000, 26

    @property
    def owned(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self.header) - {"my notes"}

    def create_tab_if_missing(self) -> bool:
        is_new, self.is_there = not self.is_there, True
        return is_new

    def make_room(self, rows: int, columns: int) -> None:
        self.rows, self.columns = max(self.rows, rows), max(self.columns, columns)
        self.changed()

    def delete_tab(self) -> None:
        self.is_there, self.header, self.lines = False, [], []
        self.tab_id += 1
        self.changed()

    def read(self) -> Grid:
        if not self.is_there:
            raise SheetRefused("the tab was deleted")
        grid = super().read()
        rows = grid.rows if any(grid.rows) else ()
        return replace(grid, rows=rows, row_count=self.rows, column_count=self.columns)

    def write(self, write: SheetWrite) -> Grid:
        if not self.is_there or write.tab_id != self.tab_id:
            raise SheetRefused("the tab was deleted")
        below = []
        for update in write.updates:
            assert update.row < self.rows
            assert update.column < self.columns
            if update.row:
                below.append(update)
                continue
            assert update.column == len(self.header), "a header was written over"
            self.header.append(str(update.value))
            self.changed()
        super().write(SheetWrite(tab_id=write.tab_id, updates=tuple(below)))
        return self.read()

    def of(self, run: object) -> Line:
        (line,) = [line for line in self.lines if line["run"] == run]
        return line


def lab(table: RunsTable | None = None, **options: object) -> tuple[Story, RunsTable]:
    table = table or RunsTable()
    header = ("template", "lr", "seed", "action", "repeat", *OWNED_HEADER)
    story = Story(
        hosts={"alpha": 8},
        templates=(MEASURED,),
        table=Table(header),
        runs_table=table,
        limits=Limits(dress_every_s=1e9),
        **options,  # type: ignore[arg-type]
    )
    return story, table


def swept(story: Story, **values: object) -> str:
    line = story.table.type(template="train", **{"lr": "{0.1 | 0.2}", **values})  # type: ignore[arg-type]
    story.wait(SOON_S)
    return str(line["id"])


def tab_of(story: Story) -> RunsTab:
    assert story.world.runs_tab is not None
    return story.world.runs_tab


def asked(story: Story) -> list[type]:
    return [type(effect) for effect in story.started if isinstance(effect, fx.RunsEffect)]


def test_without_several_runs_nobody_asks_for_the_tab():
    story, table = lab()
    story.table.type(template="train", lr=0.1)
    story.wait(2 * SOON_S)
    assert not asked(story)
    assert not table.is_there


def test_each_run_has_a_line_with_what_varies_and_its_numbers():
    story, table = lab()
    id_ = swept(story, seed=7, repeat=2)
    assert table.header == [*HEADERS, "lr", "repeat"]
    assert [(line["run"], line["group"], line["lr"], line["repeat"]) for line in table.lines] == [
        (f"{id_}-1", id_, 0.1, 1.0),
        (f"{id_}-2", id_, 0.1, 2.0),
        (f"{id_}-3", id_, 0.2, 1.0),
        (f"{id_}-4", id_, 0.2, 2.0),
    ]
    story.turn(
        obs.MetricsReported(
            host=HostName("alpha"),
            attempt=AttemptId(f"{id_}-3.1"),
            points=(MetricPoint(step=1, values={"loss": 0.25}),),
            start=0,
            end=10,
        )
    )
    story.exits(f"{id_}-4.1", rc=1)
    story.wait(SOON_S)
    assert table.header == [*HEADERS, "lr", "repeat", "loss"]
    assert table.of(f"{id_}-3")["loss"] == 0.25
    assert (table.of(f"{id_}-4")["status"], table.of(f"{id_}-4")["message"]) == ("failed", "exit code 1")


def test_the_rows_are_coloured_by_their_status():
    story, table = lab()
    swept(story)
    assert table.dressed is not None
    assert table.dressed.colours == tuple(ROW_COLOURS.items())
    assert table.header[table.dressed.status_column] == "status"


def test_a_second_row_is_added_below():
    story, table = lab()
    first, second = swept(story), swept(story, lr="1..2", seed="1..2")
    assert [line["group"] for line in table.lines] == [first] * 2 + [second] * 4
    assert table.header == [*HEADERS, "lr", "seed"]


def test_people_may_sort_it_and_add_columns_and_lines():
    story, table = lab()
    id_ = swept(story)
    table.header.append("my notes")
    table.type(table.lines[0], notes="the best")
    table.type(notes="a line of mine", run="not one of yours")
    table.sort(
        lambda line: str(line["run"]),
    )
    table.lines.reverse()
    table.changed()
    story.exits(f"{id_}-1.1", rc=0)
    story.wait(SOON_S)
    assert table.of(f"{id_}-1")["status"] == "succeeded"
    assert table.of(f"{id_}-1")["my notes"] == "the best"
    assert table.of("not one of yours")["status"] is None
    assert len(table.lines) == 3


def test_what_somebody_spoils_or_deletes_comes_back_in_time():
    story, table = lab()
    id_ = swept(story)
    table.type(table.lines[0], status="mine")
    table.delete(table.lines[1])
    story.wait(310)
    assert [line["status"] for line in table.lines] == ["running", "running"]
    table.delete_tab()
    story.exits(f"{id_}-1.1", rc=0)
    story.wait(2 * SOON_S)
    assert [line["status"] for line in table.lines] == ["succeeded", "running"]
    assert table.header[: len(HEADERS)] == list(HEADERS)


def test_while_nothing_happens_it_is_not_asked_for():
    story, _ = lab()
    id_ = swept(story)
    story.exits(f"{id_}-1.1", rc=0)
    story.exits(f"{id_}-2.1", rc=0)
    story.wait(2 * SOON_S)
    story.started.clear()
    story.wait(200)
    assert not asked(story)


def test_an_answer_that_is_lost_writes_no_line_twice():
    story, table = lab()
    story.loses_answers = True
    story.table.type(template="train", lr="{0.1 | 0.2}")
    story.wait(SOON_S)
    story.loses_answers = False
    story.wait(2 * SOON_S)
    assert len(table.lines) == 2


def test_rows_that_move_under_a_write_are_put_right():
    story, table = lab()
    id_ = swept(story)

    def sort(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteRunsTab):
            story.meddle = lambda _effect: None
            table.lines.reverse()
            table.changed()

    story.meddle = sort
    story.exits(f"{id_}-1.1", rc=0)
    story.wait(2 * SOON_S)
    assert table.of(f"{id_}-1")["status"] == "succeeded"
    assert table.of(f"{id_}-2")["status"] == "running"
    assert len(table.lines) == 2


def test_a_tab_that_holds_something_else_is_left_alone_and_the_rows_go_on():
    table = RunsTable(("name", "distance"), is_there=True)
    table.type(name="marathon")
    story, _ = lab(table)
    swept(story)
    assert table.header == ["name", "distance"]
    assert "lacks run and group and status" in tab_of(story).trouble
    assert len(story.attempts_started()) == 2


def test_the_grid_grows_with_the_runs():
    table = RunsTable()
    table.rows, table.columns = 2, 4
    story, _ = lab(table)
    swept(story)
    assert len(table.lines) == 2


def test_a_parameter_that_is_called_like_a_column_has_one_of_its_own():
    template = Template(
        name="train",
        command=("prog", "{run}"),
        params={"run": Param(name="run", type=ParamType.INTEGER)},
    )
    table = RunsTable()
    story = Story(templates=(template,), table=Table(("run", *OWNED_HEADER)), runs_table=table)
    story.table.type(run="1..2")
    story.wait(SOON_S)
    assert [line["value run"] for line in table.lines] == [1.0, 2.0]


def test_a_second_line_of_a_run_is_emptied():
    story, table = lab()
    id_ = swept(story)
    table.copy(table.lines[0], at=0)
    story.exits(f"{id_}-1.1", rc=0)
    story.wait(SOON_S)
    story.wait(SOON_S)
    assert table.of(f"{id_}-1")["status"] == "succeeded"
    assert len(table.lines) == 3
