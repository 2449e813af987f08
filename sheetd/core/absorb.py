"""How an observation or an outcome changes what we know. Decides nothing; `reconcile` does.

That something could not be seen is absorbed as exactly that: it never removes what was known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.binding import bind, misplaced, print_of
from sheetd.core.grid import Cell, Grid, SheetWrite
from sheetd.core.hosts_cycle import note_done, note_failed
from sheetd.core.metrics import add_points
from sheetd.core.model import AttemptId, ExperimentId, HostName, experiment_of
from sheetd.core.observation import AttemptSeen, Observation, Seen
from sheetd.core.ownership import is_newest, is_old, is_own, is_owner, judge_claim
from sheetd.core.probing import learn, someone_came_first
from sheetd.core.reachability import close_second_names, note_seen, note_vanished
from sheetd.core.rows import Layout, SheetView, read_layout, view_grid, without
from sheetd.core.strangers import note_described, note_strangers
from sheetd.core.world import OVER, HostView, World

News: TypeAlias = Observation | fx.Outcome

RETRY_SHEET_MAX_S = 120.0
#: For so many reads a row that was there is not believed to be gone for good.
UNSHOWN_POLLS = 6
#: Refusals of a launch that say something of the host, and not of what was to be launched.
HOST_FAULTS = frozenset({"disk_full", "internal", "bad_root", "bad_state_dir"})


def absorb(world: World, news: News, now_s: float) -> None:
    """Fold one piece of news into the world."""
    if not isinstance(news, obs.SheetSeen | fx.HostsTabDone):
        world.version += 1
    _ABSORB[type(news)](world, news, now_s)


# --- sheet -------------------------------------------------------------------------------------------------------


def _sheet_seen(world: World, news: obs.SheetSeen, now_s: float) -> None:
    done = world.in_flight.pop((fx.SHEET_LANE, "cycle"), None)
    written = done.write if isinstance(done, fx.WriteSheet) else None
    if written is not None:
        _note_rewritten(world, written)
    is_news = is_newest(world, news.grid)
    if is_old(world, news.grid):
        world.must_read = world.must_read or written is not None
        world.next_read_s = now_s + world.limits.poll_s
        return
    judge_claim(world, news.grid)
    world.must_read = False
    world.sheet_failures = 0
    world.sheet_problem, world.sheet_problem_since_s = "", None
    world.next_read_s = now_s + world.limits.poll_s
    before = world.sheet
    if before is not None and before.grid is news.grid:
        before.read_at_s = now_s
    else:
        world.sheet = _understand(world, news.grid, before, now_s)
    view = world.sheet
    if view is None:
        return
    world.has_owned = world.has_owned or is_owner(world)
    view.is_proven = view.is_proven or is_news
    if view.layout.problems:
        return
    if written is not None and before is not None:
        world.moved_writes = world.moved_writes + 1 if _met_moved_rows(written, before, view) else 0
    _count_missing(world, view, now_s)


def _understand(world: World, grid: Grid, before: SheetView | None, now_s: float) -> SheetView:
    header = grid.rows[0] if grid.rows else ()
    if before is not None and before.grid.rows and before.grid.rows[0] == header:
        layout = before.layout
    else:
        layout = layout_of(world, header)
        if before is not None:
            layout = without(layout, before.layout)
        world.judged.clear()  # a verdict knows which columns there were
    view = view_grid(grid, layout, before, now_s)
    if layout.problems:
        return view
    _settle_copies(world, view)
    world.misplaced = misplaced(world, view)
    _settle_ids(world, view)
    if not is_own(world, grid.claim):
        return view  # ids are doubted until there is a view that something can be done about
    _note_shown(world, view, now_s)
    return view


def _note_shown(world: World, view: SheetView, now_s: float) -> None:
    """Which ids have a row. One that is not shown for a moment still has: a read may leave out the end of a tab."""
    if world.shown is not None:
        patience_s = world.limits.poll_s * UNSHOWN_POLLS
        world.shown -= {id_ for id_, since_s in world.unshown_since_s.items() if now_s - since_s >= patience_s}
    binding = bind(world, view)
    shown = (world.state.experiments.keys() & view.by_id.keys()) | (world.state.drafts.keys() & view.by_id.keys())
    shown.update(binding.homes.values(), (ExperimentId(id_) for id_ in binding.undone.values() if id_))
    unshown = (world.shown or set()) - shown
    world.unshown_since_s = {id_: world.unshown_since_s.get(id_, now_s) for id_ in unshown}
    world.shown = shown | unshown


def _settle_ids(world: World, view: SheetView) -> None:
    """Remember what each row says whose id is in its place."""
    accepted = world.state.fingerprints
    for known, row in view.by_id.items():
        id_ = ExperimentId(known)
        if accepted.get(id_) == row.fingerprint and id_ not in world.prints and id_ not in world.rewritten:
            continue  # nearly every row: it says what it said, and nobody doubted it
        if row.is_blank or id_ in world.misplaced or not world.state.knows(id_):
            continue
        draft = world.state.drafts.get(id_)
        if draft is not None and row.fingerprint == draft.fingerprint:
            world.confirmed.add(id_)
        world.rewritten.discard(id_)
        if row.fingerprint == world.state.print_of(id_):
            world.prints.pop(id_, None)
        else:
            world.prints[id_] = row.fingerprint


def _note_rewritten(world: World, write: SheetWrite) -> None:
    """An id that goes to a row by position may land on another one."""
    column = None if world.sheet is None else world.sheet.layout.position("id")
    for update in write.updates:
        if update.column == column and isinstance(update.value, str):
            id_ = ExperimentId(update.value)
            if id_ in world.state.experiments or id_ in world.confirmed:
                world.rewritten.add(id_)


def _met_moved_rows(write: SheetWrite, before: SheetView, after: SheetView) -> bool:
    """Whether a row that was written to says something else than the row that was meant."""
    indexes = {update.row for update in write.updates}
    return any(_typed(before, index) != _typed(after, index) for index in indexes)


def _typed(view: SheetView, index: int) -> str:
    return view.rows[index - 1].fingerprint if index <= len(view.rows) else ""


def layout_of(world: World, header: Iterable[Cell]) -> Layout:
    """The columns of a header row, by the parameters and metrics that the templates declare."""
    parameters = [name for template in world.templates.values() for name in template.params]
    metrics = [rule.name for template in world.templates.values() for rule in template.metrics]
    return read_layout(header, parameters, metrics)


def _settle_copies(world: World, view: SheetView) -> None:
    """Of several rows with one id, the one that still says what it said keeps it."""
    for position, row in enumerate(view.copies):
        known = print_of(world, ExperimentId(row.id))
        holder = view.by_id[row.id]
        if holder.fingerprint != known and row.fingerprint == known:
            view.by_id[row.id], view.copies[position] = row, holder


def _count_missing(world: World, view: SheetView, now_s: float) -> None:
    missing: dict[ExperimentId, tuple[float, int]] = {}
    for id_ in (*world.state.open, *world.state.drafts):
        row = view.by_id.get(id_)
        if row is None or (row.is_blank and id_ in world.state.drafts):
            since, reads = world.missing.get(id_, (now_s, 0))
            missing[id_] = (since, reads + 1)
    world.missing = missing


def _sheet_unseen(world: World, news: obs.SheetUnseen, now_s: float) -> None:
    world.must_read = True
    world.sheet_failures += 1
    world.sheet_problem = news.why
    if world.sheet_problem_since_s is None:
        world.sheet_problem_since_s = now_s
    delay = min(world.limits.poll_s * 2 ** min(world.sheet_failures, 10), RETRY_SHEET_MAX_S)
    world.next_read_s = now_s + delay


def _sheet_failed(world: World, news: fx.SheetFailed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    if isinstance(news.effect, fx.DressSheet):
        world.last_dress_s = now_s
        return
    if isinstance(news.effect, fx.WriteSheet):
        _note_rewritten(world, news.effect.write)
    _sheet_unseen(world, obs.SheetUnseen(why=news.why, lasting=news.lasting), now_s)


def _dressed(world: World, news: fx.Dressed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    world.last_dress_s = now_s
    world.dressed = news.effect.dress


# --- hosts -------------------------------------------------------------------------------------------------------


def _host_seen(world: World, news: obs.HostSeen, now_s: float) -> None:
    host = world.hosts[news.host]
    host.is_up, host.why, host.lasting, host.since_s = True, "", False, now_s
    host.facts, host.facts_at_s, host.must_probe = news.facts, now_s, True
    host.epoch = news.epoch
    note_strangers(world, host, news.attempts)
    close_second_names(world)
    note_seen(world, host)
    for attempt, seen in news.attempts.items():
        if attempt in world.state.live and _is_there(world, attempt, host):
            _remember(world, host, attempt, seen, now_s)
    for key in [key for key in world.hold_until_s if key[0] == news.host]:
        del world.hold_until_s[key]


def _host_unseen(world: World, news: obs.HostUnseen, now_s: float) -> None:
    host = world.hosts[news.host]
    was_up = host.is_up
    if was_up or not host.since_s:
        host.since_s = now_s
    host.is_up, host.why, host.lasting = False, news.why.removeprefix(f"{host.name}: "), news.lasting
    if was_up:
        note_vanished(world, host, now_s)


def _is_there(world: World, attempt: AttemptId, host: HostView) -> bool:
    """Whether it was given to this host: one machine under two names tells both of everything it keeps."""
    newest = world.state.experiments[experiment_of(attempt)].attempt
    return newest is not None and newest.id == attempt and newest.host == host.name


def _remember(world: World, host: HostView, attempt: AttemptId, seen: AttemptSeen, now_s: float) -> None:
    old = host.attempts.get(attempt)
    if old is not None and old.state in OVER:
        return
    live = world.state.live.get(attempt)
    known = None if live is None else world.state.experiments[live].attempt
    if known is not None and (known.host != host.name or world.is_on_another(known)):
        return  # of the same name, and not the one that we mean
    host.attempts[attempt] = seen
    if seen.started_age_s is not None:
        world.started_at_s.setdefault(attempt, now_s - seen.started_age_s)
    if seen.state in OVER:
        world.ended_at_s[attempt] = now_s


def _accelerators_reported(world: World, news: obs.AcceleratorsReported, now_s: float) -> None:
    learn(world.hosts[news.host], news, now_s)


def _probed(world: World, news: fx.Probed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    host = world.hosts[news.effect.host]
    host.asked_at_s, host.must_probe = now_s, False
    learn(host, news.seen, now_s)


def _attempt_reported(world: World, news: obs.AttemptReported, now_s: float) -> None:
    host = world.hosts[news.host]
    if news.attempt in world.state.live or news.attempt in host.attempts:
        _remember(world, host, news.attempt, news.seen, now_s)


def _metrics_reported(world: World, news: obs.MetricsReported, _now_s: float) -> None:
    if experiment_of(news.attempt) not in world.state.experiments:
        return
    known = world.metrics_offset.get(news.attempt, 0)
    if news.scanned is not None:
        world.scan_offset[news.attempt] = max(world.scan_offset.get(news.attempt, 0), news.scanned)
    elif news.end <= known:
        return  # told twice, as happens when a connection was opened anew
    world.metrics_offset[news.attempt] = max(known, news.end)
    world.metrics[news.attempt] = add_points(world.metrics.get(news.attempt, {}), news.points)
    world.metrics_changed.add(news.attempt)


def _host_answered(world: World, news: fx.HostAnswered, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    if news.effect.attempt in world.state.live:
        _remember(world, world.hosts[news.effect.host], news.effect.attempt, news.seen, now_s)
    _hold(world, news.effect, now_s)


def _host_refused(world: World, news: fx.HostRefusedEffect, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    _hold(world, news.effect, now_s)
    if isinstance(news.effect, fx.TakeOver | fx.Describe):
        return  # asked again; who is right about the epoch is settled by the sheet
    if isinstance(news.effect, fx.Probe):
        world.hosts[news.effect.host].notes = (f"its accelerators cannot be looked at: {news.why}",)
    if news.code == "stale_daemon":
        world.halted = f"{news.effect.host} is served by a newer daemon: {news.why}"
    elif isinstance(news.effect, fx.Launch) and news.effect.attempt in world.state.live:
        world.remarks[experiment_of(news.effect.attempt)] = f"{news.effect.host} refused: {news.why}"
        if news.code == "revoked":  # by a journal that ours does not know; said as a look would say it
            revoked = AttemptSeen(state=Seen.REVOKED)
            _remember(world, world.hosts[news.effect.host], news.effect.attempt, revoked, now_s)
        elif news.code not in ("ticket_expired", "wrong_boot", "no_code"):
            world.refusals[news.effect.attempt] = f"{news.effect.host} refused it: {news.why}"
        if news.code in HOST_FAULTS:
            world.host_faults[news.effect.attempt] = news.why
        if news.code in ("accelerator_busy", "accelerator_gone"):
            world.beaten.add(news.effect.attempt)
            someone_came_first(world, news.effect.host, news.effect.accelerators, now_s)


def _host_silent(world: World, news: fx.HostSilent, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    _hold(world, news.effect, now_s)


def _took_over(world: World, news: fx.TookOver, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    _host_seen(world, news.seen, now_s)


def _described(world: World, news: fx.Described, _now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    note_described(world.hosts[news.effect.host], news.kept)


def adopt(world: World, attempt: AttemptId, name: HostName, now_s: float) -> None:
    """What the host said of the attempt while it was a stranger counts from here on."""
    host = world.hosts.get(name)
    stranger = None if host is None else host.strangers.get(attempt)
    if host is not None and stranger is not None:
        host.attempts.pop(attempt, None)
        _remember(world, host, attempt, stranger.seen, now_s)


def _hold(world: World, effect: fx.HostEffect, now_s: float) -> None:
    """Do not ask the same again at once. What has ended meanwhile is not asked again anyhow."""
    if not isinstance(effect, fx.Launch | fx.Stop) or effect.attempt in world.state.live:
        world.hold_until_s[effect.key] = now_s + world.limits.ask_again_s


def _watching(world: World, news: fx.Watching, _now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    host = world.hosts[news.effect.host]
    host.watching = news.effect.attempts
    for attempt in [known for known in host.attempts if known not in host.watching and known not in world.state.live]:
        del host.attempts[attempt]
        world.started_at_s.pop(attempt, None)
        world.ended_at_s.pop(attempt, None)


# --- code and requests -------------------------------------------------------------------------------------------


def _code_pinned(world: World, news: fx.CodePinned, _now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    for id_, fingerprint in news.effect.rows:
        world.pinned[id_] = (fingerprint, news.sha)
        world.remarks.pop(id_, None)


def _pin_failed(world: World, news: fx.PinFailed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    world.remarks.update({id_: news.why for id_, _ in news.effect.rows})
    world.hold_until_s[news.effect.key] = now_s + world.limits.ask_again_s


def _stop_requested(world: World, news: obs.StopRequested, _now_s: float) -> None:
    world.stop_requests[news.experiment] = news.request


def _host_requested(world: World, news: obs.HostRequested, _now_s: float) -> None:
    world.host_requests[news.request] = news
    world.hosts[news.host].must_probe = True


_ABSORB: dict[type, Callable[[World, Any, float], None]] = {
    obs.SheetSeen: _sheet_seen,
    obs.SheetUnseen: _sheet_unseen,
    obs.HostSeen: _host_seen,
    obs.HostUnseen: _host_unseen,
    obs.AttemptReported: _attempt_reported,
    obs.MetricsReported: _metrics_reported,
    obs.AcceleratorsReported: _accelerators_reported,
    obs.StopRequested: _stop_requested,
    obs.HostRequested: _host_requested,
    fx.SheetFailed: _sheet_failed,
    fx.Dressed: _dressed,
    fx.HostsTabDone: note_done,
    fx.HostsTabFailed: note_failed,
    fx.CodePinned: _code_pinned,
    fx.PinFailed: _pin_failed,
    fx.HostAnswered: _host_answered,
    fx.HostRefusedEffect: _host_refused,
    fx.HostSilent: _host_silent,
    fx.Watching: _watching,
    fx.TookOver: _took_over,
    fx.Described: _described,
    fx.Probed: _probed,
}
