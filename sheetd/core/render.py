"""What each row should show, and the one write that brings the sheet there.

The desired cells follow from the id in the row and from nothing else, so a write that landed on a moved row is repaired
by the next comparison. Only the daemon's columns are ever touched. Status is derived here and never read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sheetd.core.binding import Binding, bind
from sheetd.core.curve import Curve, curve_of
from sheetd.core.grid import Cell, CellUpdate, ColumnTag, Replacement, SheetWrite, Shown
from sheetd.core.intake import held_back, judgement, parents
from sheetd.core.live_edits import handed_words
from sheetd.core.metrics import MetricSummary, progress, shown_number
from sheetd.core.model import Attempt, Experiment, ExperimentId, Phase, Reason
from sheetd.core.notices import halt, notice
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.core.plan import Now
from sheetd.core.reachability import why_down
from sheetd.core.rows import ColumnKind, Row, SheetView
from sheetd.core.settlement import is_testimony
from sheetd.core.sweep_words import Told, counts, group_cells, group_status
from sheetd.core.text import cell_text
from sheetd.core.times import duration_text, wall_text
from sheetd.core.validation import Refused
from sheetd.core.world import Rest, World

STATUS_OF_REASON: Mapping[Reason, str] = {
    Reason.SUCCEEDED: "succeeded",
    Reason.FAILED: "failed",
    Reason.OUT_OF_MEMORY: "failed",
    Reason.TIMED_OUT: "failed",
    Reason.LAUNCH_FAILED: "failed",
    Reason.HOST_LOST: "failed",
    Reason.HOST_FAULT: "failed",
    Reason.ACCELERATOR_BUSY: "failed",
    Reason.PREEMPTED: "failed",
    Reason.STOPPED_BY_USER: "stopped",
}


def plan_write(world: World, now: Now) -> SheetWrite | None:
    """Everything that differs between what the rows show and what they should, or None."""
    view = world.sheet
    if view is None or view.layout.problems:
        return None
    binding = bind(world, view)
    updates: list[CellUpdate] = []
    restless: list[Row] = []
    for row in _restless(world, view, binding):
        differing = list(_row_updates(world, view, row, binding, now))
        rest = None if differing else _rest(world, view, row, binding)
        if rest is None:
            updates += differing
            restless.append(row)
        else:
            world.at_rest[row.id] = rest
    world.restless = (view, world.version, restless)
    column = view.layout.position("id")
    undone = {} if world.state.takeover is not None else binding.undone
    replacements = tuple(
        Replacement(column=column, old=old, new=new) for old, new in undone.items() if column is not None
    )
    if not updates and not replacements:
        return None
    return SheetWrite(
        tab_id=view.grid.tab_id,
        updates=tuple(updates),
        replacements=replacements,
        guards=_guards(world, view, {*(one.column for one in updates), *(one.column for one in replacements)}),
    )


def _guards(world: World, view: SheetView, columns: set[int]) -> tuple[ColumnTag, ...]:
    """For each column that is written to and was tagged. None for a while where they seem to be what is refused."""
    if world.guards_refused >= world.limits.guards_refused_max:
        return ()
    return tuple(tag for tag in view.layout.tags if tag.column in columns and tag.name in world.tagged)


def _restless(world: World, view: SheetView, binding: Binding) -> list[Row]:
    """The rows that have to be looked at. While nothing happens, those of last time."""
    known = world.restless
    if known is not None and known[0] is view and known[1] == world.version:
        return known[2]
    at_rest: dict[str, Rest] = {}
    restless: list[Row] = []
    for row in view.rows:
        rest = world.at_rest.get(row.id)
        if rest is not None and _is_still(world, view, row, binding, rest):
            at_rest[row.id] = rest
        else:
            restless.append(row)
    world.at_rest = at_rest
    return restless


def _rest(world: World, view: SheetView, row: Row, binding: Binding) -> Rest | None:
    """What the words of a row that shows what it should were made from; None where they depend on more than that.

    What has ended is told by its experiment, its metrics and the row itself, and by nothing else: no host, no time.
    """
    if _id_for(view, row, binding) != row.id:
        return None
    experiment = world.state.experiments.get(ExperimentId(row.id))
    # Whether a rerun or an edit would be accepted is remembered apart from these.
    if experiment is None or experiment.phase is not Phase.ENDED or row.action == "rerun" or experiment.is_paused:
        return None
    summaries = None if experiment.attempt is None else world.metrics.get(experiment.attempt.id)
    return Rest(row=row, experiment=experiment, summaries=summaries)


def _is_still(world: World, view: SheetView, row: Row, binding: Binding, rest: Rest) -> bool:
    """Whether a row that was at rest still is: everything that its words are made from is the same object as then."""
    experiment = rest.experiment
    return (
        rest.row is row
        and _id_for(view, row, binding) == row.id
        and experiment is world.state.experiments.get(experiment.id)
        and (not experiment.attempts or rest.summaries is world.metrics.get(experiment.attempts[-1].id))
    )


def _row_updates(world: World, view: SheetView, row: Row, binding: Binding, now: Now) -> Iterator[CellUpdate]:
    id_ = _id_for(view, row, binding)
    wanted: Mapping[str, Shown] = {}
    if world.state.takeover is not None and (id_ != row.id or is_testimony(world, view, row)):
        return  # it may be of the former owner: what stands in it is all that is known of it
    if id_ is not None and world.state.knows(id_):
        wanted = row_cells(world, view, row, id_, now)
    # What is taken back is taken back by content; and by the id in it, a copy is known for one until it has its own.
    is_kept = row.id in binding.undone or (id_ is None and not row.is_blank and world.state.knows(row.id))
    for column in view.layout.owned:
        if is_kept and column.name == "id":
            continue
        value = wanted.get(column.name)
        if _differs(row.cell(column.position), None if value == "" else value):
            yield CellUpdate(row=row.index, column=column.position, value=value)


def _id_for(view: SheetView, row: Row, binding: Binding) -> ExperimentId | None:
    """Whose words the row is to show, whatever stands in its id cell at the moment."""
    if row.index in binding.homes:
        return binding.homes[row.index]
    if view.by_id.get(row.id) is not row:
        return None
    id_ = ExperimentId(row.id)
    return ExperimentId(binding.undone[id_]) if id_ in binding.undone else id_


def _differs(cell: Cell, value: Shown) -> bool:
    """A formula that happens to show the right value would show another one tomorrow; TRUE is not 1.

    Of a curve only the formula counts: what Google says its value is, or why it cannot draw it, is not ours to mend.
    """
    if isinstance(value, Curve):
        return not value.is_shown_by(cell.formula)
    is_plain = cell.formula is None and cell.error is None
    return not is_plain or cell.value != value or isinstance(cell.value, bool) is not isinstance(value, bool)


def row_cells(world: World, view: SheetView, row: Row, id_: ExperimentId, now: Now) -> dict[str, Shown]:
    """The daemon's cells of one row, by column name."""
    experiment = world.state.experiments.get(id_)
    if experiment is None:
        status, message = draft_words(world, view, row, id_)
        return {"id": id_, "status": status, "message": cell_text(message)}
    attempt = experiment.attempt
    cells: dict[str, Shown] = {
        "id": id_,
        "status": status_word(world, experiment),
        "message": cell_text(message_of(world, experiment, row, now)),
        "code": (experiment.spec.code or "")[:10],
    }
    if id_ in world.state.sweeps:
        told = {member.id: (status_word(world, member), _runtime_s(world, member, now)) for member in _runs(world, id_)}
        return {**cells, **group_cells(world, view.layout, told)}
    if attempt is None:
        return cells
    summaries = world.metrics.get(attempt.id, {})
    cells["host"] = attempt.host
    cells["attempt"] = float(attempt.number)
    cells["started"] = wall_text(experiment.started_wall_s) if attempt.started else ""
    cells["runtime"] = runtime_text(world, experiment, now)
    part = progress(summaries)
    if part is not None:
        cells["progress"] = f"{part:.0%}"
        cells["eta"] = _eta(world, experiment, attempt, part, now)
    for column in view.layout.owned:
        if column.kind is ColumnKind.METRIC:
            name, _, metric_view = column.name.rpartition(":")
            summary = summaries.get(name)
            cells[column.name] = None if summary is None else _metric(summary, metric_view)
    return cells


def _metric(summary: MetricSummary, view: str) -> Shown:
    return curve_of(summary.history) if view == "curve" else shown_number(summary.view(view))


def draft_words(world: World, view: SheetView, row: Row, id_: ExperimentId) -> tuple[str, str]:
    """Status and message of a row that was not accepted yet."""
    verdict = judgement(world, view, id_, row)
    if isinstance(verdict, Refused):
        return "invalid", "; ".join(verdict.problems)
    if id_ in world.remarks:
        return "invalid", world.remarks[id_]
    held = held_back(world, id_, row, verdict) or parents(world, view, row, verdict).problem
    return ("draft", held) if held else ("waiting", "read; starts as soon as it stays unchanged")


# --- status ------------------------------------------------------------------------------------------------------


def status_word(world: World, experiment: Experiment) -> str:
    """The one word for where an experiment is."""
    if experiment.id in world.state.sweeps:
        return group_status([status_word(world, member) for member in _runs(world, experiment.id)])
    attempt = experiment.attempt
    if experiment.is_paused:
        return "paused"
    if experiment.phase is Phase.ENDED:
        if attempt is None or attempt.reason is None or attempt.number < experiment.budget_from:
            return "stopped"
        if experiment.stop_reason and attempt.reason not in (Reason.SUCCEEDED, Reason.FAILED):
            return "stopped"
        return STATUS_OF_REASON[attempt.reason]
    if attempt is None or experiment.phase is Phase.WAITING:
        return "waiting"
    host = world.hosts.get(attempt.host)
    if host is None or not host.is_up or world.is_on_another(attempt):
        return "unreachable" if experiment.phase is not Phase.LAUNCHING or world.seen(attempt) else "launching"
    if experiment.phase is Phase.RUNNING:
        seen = world.seen(attempt)
        return "restarting" if seen is not None and seen.state is Seen.RESTARTING else "running"
    return str(experiment.phase.value)


def _runs(world: World, group: ExperimentId) -> list[Experiment]:
    """Those that the group's row asks for."""
    return [world.state.experiments[id_] for id_ in world.state.sweeps[group].members]


def message_of(world: World, experiment: Experiment, row: Row | None, now: Now) -> str:
    """Why the row is where it is and what happens next. Never empty while something waits, fails or restarts."""
    parts = [
        halt(world, experiment),
        notice(world, experiment, row),
        handed_words(world, experiment),
        _story(world, experiment, now),
    ]
    return "; ".join(part for part in parts if part)


def _why_out_of_sight(world: World, experiment: Experiment, attempt: Attempt) -> str:
    """Why nobody can say how a live attempt is; empty if somebody can."""
    host = world.hosts.get(attempt.host)
    what = "launching" if experiment.phase is Phase.LAUNCHING else "presumed running"
    if host is None:
        return (
            f"{attempt.host} is no longer in sheetd.toml: put it back, and the row goes on from what is there; {what},"
            " nothing is started elsewhere; if that machine is gone for good, choose stop"
        )
    if world.is_on_another(attempt):
        return (
            f"another machine answers as {attempt.host} than the one that this was started on: presumed running there,"
            " nothing is started elsewhere; if that machine is gone for good, choose restart, rerun or stop"
        )
    if not host.is_up:
        return f"{attempt.host} {why_down(world, host)}; {what}, nothing is started elsewhere"
    return ""


def _story(world: World, experiment: Experiment, now: Now) -> str:
    attempt = experiment.attempt
    if experiment.id in world.state.sweeps:
        return _group_story(world, experiment.id, now)
    if experiment.phase is Phase.WAITING:
        return _why_waiting(world, experiment, attempt, now)
    if experiment.phase is Phase.ENDED:
        return _why_ended(experiment, attempt)
    if attempt is None:
        return ""
    if out_of_sight := _why_out_of_sight(world, experiment, attempt):
        return out_of_sight
    if experiment.phase is Phase.LAUNCHING:
        return world.remarks.get(experiment.id, f"asking {attempt.host} to start it")
    if experiment.phase is Phase.STOPPING:
        seen = world.seen(attempt)
        if seen is not None and seen.unkillable:
            return f"{experiment.stop_reason}; {_unkillable_words(attempt, seen)}"
        return f"{experiment.stop_reason}; waiting for every process to end, at most {experiment.spec.grace_s:g} s"
    seen = world.seen(attempt)
    if seen is not None and seen.unkillable:
        return _unkillable_words(attempt, seen)
    return _running_words(seen)


def _group_story(world: World, group: ExperimentId, now: Now) -> str:
    told = counts([Told(run.id, status_word(world, run), _story(world, run, now)) for run in _runs(world, group)])
    asked_for = set(world.state.sweeps[group].members)
    left = sorted(world.state.sweeps[group].open - asked_for)
    if not left:
        return told
    more = f" and {len(left) - 1} more are" if len(left) > 1 else " is"
    why = _story(world, world.state.experiments[left[0]], now)
    return f"{told}; {left[0]}{more} not asked for any more: {why}"


def _unkillable_words(attempt: Attempt, seen: AttemptSeen) -> str:
    why = seen.reason or "a process of it survives SIGKILL"
    return f"{why}; its slot on {attempt.host} stays taken until that is over, which may need a reboot"


def _why_waiting(world: World, experiment: Experiment, attempt: Attempt | None, now: Now) -> str:
    before = ""
    if attempt is not None and attempt.reason is not None and attempt.number >= experiment.budget_from:
        before = f"attempt {attempt.number} ended: {attempt.detail or attempt.reason.value}; "
    if experiment.not_before_s > now.s:
        return f"{before}starts again shortly"
    return before + (world.waiting.get(experiment.id) or "next to be launched")


def _why_ended(experiment: Experiment, attempt: Attempt | None) -> str:
    if experiment.is_paused:
        what_next = "queues it again" if experiment.is_to_begin else "goes on from its newest checkpoint"
        return f"{experiment.stop_reason}; resume {what_next}"
    if attempt is None or attempt.reason is None or attempt.number < experiment.budget_from:
        return experiment.stop_reason
    if attempt.reason is Reason.SUCCEEDED:
        return f"restarted {_times(attempt.restarts)} on the way" if attempt.restarts else ""
    said = dict.fromkeys((experiment.stop_reason, attempt.detail or attempt.reason.value))
    return "; ".join(text for text in said if text)


def _running_words(seen: AttemptSeen | None) -> str:
    if seen is None:
        return ""
    if seen.state is Seen.RESTARTING:
        crash = f"exit code {seen.exit.rc}" if seen.exit is not None and seen.exit.rc is not None else "it crashed"
        return f"{crash}; restart {seen.restarts + 1} follows on the same host"
    if seen.restarts:
        return f"crashed and was restarted {_times(seen.restarts)}"
    return ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


# --- times -------------------------------------------------------------------------------------------------------


def runtime_text(world: World, experiment: Experiment, now: Now) -> str:
    runtime_s = _runtime_s(world, experiment, now)
    return "" if runtime_s is None else duration_text(runtime_s)


def _runtime_s(world: World, experiment: Experiment, now: Now) -> float | None:
    """How long the newest attempt has run. None where nobody can say."""
    attempt = experiment.attempt
    if attempt is None or attempt.reason is not None:
        return attempt.runtime_s if attempt is not None and attempt.started else None
    started_s = world.started_at_s.get(attempt.id)
    return None if started_s is None else now.s - started_s


def _eta(world: World, experiment: Experiment, attempt: Attempt, part: float, now: Now) -> str:
    started_s = world.started_at_s.get(attempt.id)
    if experiment.phase is not Phase.RUNNING or started_s is None or part <= 0.0:
        return ""
    return duration_text((now.s - started_s) * (1 - part) / part)
