"""The tab of runs: one line for each run of a row that stands for several, and when it is read and written.

Nobody is asked anything here, so it needs no claim: a line is found by the id of its run, and one that names none of
ours is left alone, be it a person's or another daemon's. People may sort it and add columns; lines come back where
somebody deletes them, or the tab, and a second line of a run is emptied. It is looked at only when it would say
something new, and seldom otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sheetd.core import effect as fx
from sheetd.core.colours import Dress
from sheetd.core.grid import CellUpdate, CellValue, Grid, SheetWrite
from sheetd.core.headings import RUNS_TAB, headings_by
from sheetd.core.metrics import shown_number
from sheetd.core.model import Experiment
from sheetd.core.plan import Now
from sheetd.core.render import message_of, runtime_text, status_word
from sheetd.core.rows import canonical
from sheetd.core.runs_grid import HEADERS, Lines, RunsTab, RunsView, read_runs
from sheetd.core.sweep_cells import REPEAT_VARIABLE
from sheetd.core.text import cell_text
from sheetd.core.times import wall_text
from sheetd.core.world import World

#: So often it is looked at whether or not there is something new to say: somebody may have deleted it.
LOOK_EVERY_S = 300.0
#: More than this is written in several goes.
UPDATES_MAX = 20_000
#: Rows are added to the grid so many at a time.
ROOM_ROWS = 1000
RETRY_S_MAX = 300.0


# --- what it shows -----------------------------------------------------------------------------------------------


def lines_of(world: World, now: Now) -> Lines:
    """Every run that there is, those of one row together."""
    return {
        member.id: _cells(world, world.state.experiments[group], member, now)
        for group in world.state.sweeps
        for member in world.state.members(group)
    }


def _cells(world: World, group: Experiment, member: Experiment, now: Now) -> dict[str, CellValue]:
    attempt = member.attempt
    cells: dict[str, CellValue] = {
        "run": member.id,
        "group": group.id,
        "status": status_word(world, member),
        "message": cell_text(message_of(world, member, None, now)),
        "host": attempt.host if attempt is not None else None,
        "attempt": float(attempt.number) if attempt is not None else None,
        "started": wall_text(member.started_wall_s) or None,
        "runtime": runtime_text(world, member, now) or None,
    }
    values = {name: value for name, value in member.spec.params.items() if name not in group.spec.params}
    for name, value in values.items():
        cells[_unlike(name, cells, "value")] = cell_text(value) if isinstance(value, str) else _number(value)
    if REPEAT_VARIABLE in member.spec.env:
        cells[_unlike("repeat", cells, "number")] = float(member.spec.env[REPEAT_VARIABLE])
    summaries = {} if attempt is None else world.metrics.get(attempt.id, {})
    for rule in member.spec.metrics:
        if rule.name in summaries:
            cells[_unlike(rule.name, cells, "metric")] = shown_number(summaries[rule.name].last)
    return {name: None if value == "" else value for name, value in cells.items()}


def _number(value: float | bool) -> CellValue:
    return value if isinstance(value, bool) else float(value)


def _unlike(name: str, cells: Mapping[str, CellValue], what: str) -> str:
    """A header that no other column has."""
    taken = {canonical(known) for known in cells}
    return f"{what} {name}" if canonical(name) in taken else name


def write_of(view: RunsView, lines: Lines) -> SheetWrite | None:
    """Everything that differs from what the lines should show, or None. New headers stand behind all columns."""
    wanted = dict.fromkeys([*HEADERS, *(header for cells in lines.values() for header in cells)])
    updates: list[CellUpdate] = []
    columns, width = dict(view.columns), max(map(len, view.grid.rows), default=0)
    for header in wanted:
        if canonical(header) not in columns:
            updates.append(CellUpdate(row=0, column=width, value=header))
            columns[canonical(header)] = width
            width += 1
    free = max(1, len(view.grid.rows))
    placed = {id_: view.by_run.get(id_) for id_ in lines}
    rows: list[tuple[int, Mapping[str, CellValue]]] = [(row, {}) for run, row in view.copies if run in lines]
    for id_, row in placed.items():
        rows.append((free if row is None else row, lines[id_]))
        free += row is None
    for row, cells in rows:
        for header in wanted:
            position, value = columns[canonical(header)], cells.get(header)
            held = view.grid.cell(row, position)
            is_plain = held.formula is None and held.error is None
            if not is_plain or held.value != value or isinstance(held.value, bool) is not isinstance(value, bool):
                updates.append(CellUpdate(row=row, column=position, value=value))
        if len(updates) >= UPDATES_MAX:
            break
    return SheetWrite(tab_id=view.grid.tab_id, updates=tuple(updates)) if updates else None


def _dress_of(view: RunsView) -> Dress | None:
    if view.problem or not view.columns:
        return None
    return Dress(
        tab_id=view.grid.tab_id,
        status_column=view.columns["status"],
        action_column=None,
        template_column=None,
        owned_columns=tuple(view.columns[header] for header in HEADERS if header in view.columns),
        column_count=len(view.grid.rows[0]),
        templates=(),
        actions=(),
        headings=headings_by(RUNS_TAB, view.columns),
    )


# --- what to do --------------------------------------------------------------------------------------------------


def plan_runs(world: World, now: Now) -> fx.RunsEffect | None:
    """What follows from a view that was just read, while it is fresh. Only the owner of the experiments asks."""
    tab = world.runs_tab
    view = None if tab is None else tab.view
    if tab is None or view is None or tab.must_read or view.problem or now.s - view.read_at_s > world.limits.fresh_s:
        return None
    if tab.compared != world.version:
        lines = lines_of(world, now)
        write = write_of(view, lines)
        if write is None:
            tab.shown, tab.compared = lines, world.version
        elif not view.is_answer:
            return _room_for(view, write) or fx.WriteRunsTab(write=write)
    dress = _dress_of(view)
    if dress is not None and dress != tab.dressed and now.s - tab.last_dress_s >= world.limits.ask_again_s:
        return fx.DressRunsTab(dress=dress)
    return None


def _room_for(view: RunsView, write: SheetWrite) -> fx.ReadRunsTab | None:
    """A larger grid, where something is to be written behind its end."""
    rows = 1 + max(update.row for update in write.updates)
    columns = 1 + max(update.column for update in write.updates)
    if rows <= view.grid.row_count and columns <= view.grid.column_count:
        return None
    return fx.ReadRunsTab(rows=rows + ROOM_ROWS, columns=columns)


def plan_runs_read(world: World, now: Now) -> tuple[fx.RunsEffect | None, bool]:
    """The next read if there is something to say, and whether it is overdue."""
    tab = world.runs_tab
    if tab is None or not world.state.sweeps or tab.next_look_s > now.s or not _is_due(world, tab, now):
        return None, False
    is_overdue = now.s - tab.next_look_s > world.limits.hosts_tab_every_s
    return fx.ReadRunsTab(creates=tab.view is None), is_overdue


def _is_due(world: World, tab: RunsTab, now: Now) -> bool:
    view = tab.view
    if view is None or tab.must_read or now.s - view.read_at_s >= LOOK_EVERY_S:
        return True
    if view.problem or tab.compared == world.version:
        return False
    if tab.shown is not None and lines_of(world, now) == tab.shown:
        tab.compared = world.version
        tab.next_look_s = now.s + world.limits.hosts_tab_every_s  # to compare them costs, and may be in vain again
        return False
    return True


def runs_moments(world: World) -> Iterator[float]:
    """When it has to be looked at."""
    tab = world.runs_tab
    if tab is not None and world.state.sweeps:
        yield tab.next_look_s
        if tab.view is not None:
            yield tab.view.read_at_s + LOOK_EVERY_S


# --- how it went -------------------------------------------------------------------------------------------------


def runs_done(world: World, news: fx.RunsTabDone, now_s: float) -> None:
    """The tab as it is, after a read or a write of ours."""
    world.in_flight.pop(news.effect.key, None)
    tab = world.runs_tab
    if tab is None:
        return
    tab.failures, tab.trouble = 0, ""
    if isinstance(news.effect, fx.DressRunsTab):
        tab.last_dress_s, tab.dressed = now_s, news.effect.dress
        return
    is_answer = isinstance(news.effect, fx.WriteRunsTab)
    if is_answer:
        tab.last_write_s = now_s
    tab.must_read, tab.compared, tab.shown = False, None, None
    tab.next_look_s = now_s + world.limits.hosts_tab_every_s
    if news.grid is not None:
        _understand(tab, news.grid, is_answer, now_s)


def _understand(tab: RunsTab, grid: Grid, is_answer: bool, now_s: float) -> None:
    tab.view = read_runs(grid, now_s)
    tab.view.is_answer = is_answer
    tab.trouble = tab.view.problem


def runs_failed(world: World, news: fx.RunsTabFailed, now_s: float) -> None:
    """Whatever is wrong with it, the tab of experiments is none the worse."""
    world.in_flight.pop(news.effect.key, None)
    tab = world.runs_tab
    if tab is None:
        return
    if isinstance(news.effect, fx.DressRunsTab):
        tab.last_dress_s = now_s
    else:
        tab.must_read = True
    if news.lasting and isinstance(news.effect, fx.ReadRunsTab):
        tab.view, tab.dressed = None, None  # it may have been deleted: the next read makes it anew
    tab.failures += 1
    tab.trouble = news.why
    delay_s = world.limits.hosts_tab_every_s * 2 ** min(tab.failures - 1, 10)
    tab.next_look_s = now_s + min(delay_s, RETRY_S_MAX)
