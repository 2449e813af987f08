"""How an observation or an outcome changes what we know. Decides nothing; `reconcile` does.

That something could not be seen is absorbed as exactly that: it never removes what was known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.hosts_cycle import note_done, note_failed
from sheetd.core.metrics import add_points
from sheetd.core.model import AttemptId, HostName, experiment_of, row_of
from sheetd.core.observation import AttemptSeen, Observation, Seen
from sheetd.core.probing import learn, someone_came_first
from sheetd.core.reachability import close_second_names, note_seen, note_vanished
from sheetd.core.readings import dressed, sheet_failed, sheet_seen, sheet_unseen
from sheetd.core.runs_tab import runs_done, runs_failed
from sheetd.core.strangers import note_described, note_strangers
from sheetd.core.strays import note_stray, note_strays
from sheetd.core.world import OVER, HostView, World

News: TypeAlias = Observation | fx.Outcome

#: Refusals after which the same launch is asked for again.
PASSING_REFUSALS = frozenset({"ticket_expired", "wrong_boot", "no_code", "busy", "only_looks"})
#: Refusals of a launch that say something of the host, and not of what was to be launched.
HOST_FAULTS = frozenset({"disk_full", "internal", "bad_root", "bad_state_dir"})


def absorb(world: World, news: News, now_s: float) -> None:
    """Fold one piece of news into the world."""
    if not isinstance(news, obs.SheetSeen | fx.HostsTabDone | fx.RunsTabDone):
        world.version += 1
    _ABSORB[type(news)](world, news, now_s)


def is_void(world: World, news: News) -> bool:
    """Whether it is about a host that is gone, or answers what a configuration before this one asked for."""
    effect: fx.Effect | None = getattr(news, "effect", None)
    if effect is not None:
        return world.in_flight.get(effect.key) is not effect
    host: HostName | None = getattr(news, "host", None)
    return host is not None and host not in world.hosts


# --- hosts -------------------------------------------------------------------------------------------------------


def _host_seen(world: World, news: obs.HostSeen, now_s: float) -> None:
    host = world.hosts[news.host]
    host.is_up, host.why, host.lasting, host.since_s = True, "", False, now_s
    host.facts, host.facts_at_s, host.must_probe = world.redactor.facts(news.facts), now_s, True
    host.epoch = news.epoch
    note_strangers(world, host, news.attempts)
    note_strays(world, host, news.attempts, now_s)
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
    why = world.redactor.text(news.why)
    host.is_up, host.why, host.lasting = False, why.removeprefix(f"{host.name}: "), news.lasting
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
    seen = world.redactor.seen(seen)
    host.attempts[attempt] = seen
    if seen.started_age_s is not None:
        world.started_at_s.setdefault(attempt, now_s - seen.started_age_s)
    if seen.state in OVER:
        world.ended_at_s[attempt] = now_s


def _accelerators_reported(world: World, news: obs.AcceleratorsReported, now_s: float) -> None:
    learn(world, world.hosts[news.host], world.redactor.accelerators(news), now_s)


def _probed(world: World, news: fx.Probed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    host = world.hosts[news.effect.host]
    host.asked_at_s, host.must_probe = now_s, False
    learn(world, host, world.redactor.accelerators(news.seen), now_s)


def _attempt_reported(world: World, news: obs.AttemptReported, now_s: float) -> None:
    host = world.hosts[news.host]
    note_stray(world, host, news.attempt, news.seen, now_s)
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
    summaries = world.metrics.get(news.attempt, {})
    world.metrics[news.attempt] = add_points(summaries, world.redactor.points(news.points, summaries))
    world.metrics_changed.add(news.attempt)
    world.at_rest.pop(row_of(experiment_of(news.attempt)), None)  # a group shows the numbers of its members


def _host_answered(world: World, news: fx.HostAnswered, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    note_stray(world, world.hosts[news.effect.host], news.effect.attempt, news.seen, now_s)
    if news.effect.attempt in world.state.live:
        _remember(world, world.hosts[news.effect.host], news.effect.attempt, news.seen, now_s)
        if isinstance(news.effect, fx.HandOver) and news.seen.state not in OVER:  # what is over is given nothing
            world.handed_over[news.effect.attempt] = news.effect.number
            world.remarks.pop(experiment_of(news.effect.attempt), None)
    if not isinstance(news.effect, fx.HandOver):
        _hold(world, news.effect, now_s)


def _host_refused(world: World, news: fx.HostRefusedEffect, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    _hold(world, news.effect, now_s)
    why = world.redactor.text(news.why)
    if isinstance(news.effect, fx.TakeOver | fx.Describe):
        return  # asked again; who is right about the epoch is settled by the sheet
    if isinstance(news.effect, fx.Probe):
        world.hosts[news.effect.host].notes = (f"its accelerators cannot be looked at: {why}",)
    if isinstance(news.effect, fx.HandOver):
        world.remarks[experiment_of(news.effect.attempt)] = f"{news.effect.host} refused: {why}"
    if news.code == "stale_daemon":
        world.halted = f"{news.effect.host} is served by a newer daemon: {why}"
    elif isinstance(news.effect, fx.Launch) and news.effect.attempt in world.state.live:
        world.remarks[experiment_of(news.effect.attempt)] = f"{news.effect.host} refused: {why}"
        if news.code == "revoked":  # by a journal that ours does not know; said as a look would say it
            revoked = AttemptSeen(state=Seen.REVOKED)
            _remember(world, world.hosts[news.effect.host], news.effect.attempt, revoked, now_s)
        elif news.code not in PASSING_REFUSALS:
            world.refusals[news.effect.attempt] = f"{news.effect.host} refused it: {why}"
        if news.code in HOST_FAULTS:
            world.host_faults[news.effect.attempt] = why
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
    """What hosts said of it, and of those before it, while they were strangers counts from here on."""
    for one in world.hosts.values():
        for known, told in one.strangers.items():
            if experiment_of(known) == experiment_of(attempt):
                note_stray(world, one, known, told.seen, now_s)
    host = world.hosts.get(name)
    stranger = None if host is None else host.strangers.get(attempt)
    if host is not None and stranger is not None:
        host.attempts.pop(attempt, None)
        _remember(world, host, attempt, stranger.seen, now_s)


def _hold(world: World, effect: fx.HostEffect, now_s: float) -> None:
    """Do not ask the same again at once. What has ended meanwhile is not asked again anyhow."""
    in_question = (world.state.live, world.hosts[effect.host].strays)
    if not isinstance(effect, fx.Launch | fx.Stop) or any(effect.attempt in known for known in in_question):
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


def _begin_requested(world: World, news: obs.BeginRequested, _now_s: float) -> None:
    world.begin_requests.setdefault(news.experiment, news)


def _host_requested(world: World, news: obs.HostRequested, _now_s: float) -> None:
    world.host_requests[news.request] = news
    world.hosts[news.host].must_probe = True


_ABSORB: dict[type, Callable[[World, Any, float], None]] = {
    obs.SheetSeen: sheet_seen,
    obs.SheetUnseen: sheet_unseen,
    obs.HostSeen: _host_seen,
    obs.HostUnseen: _host_unseen,
    obs.AttemptReported: _attempt_reported,
    obs.MetricsReported: _metrics_reported,
    obs.AcceleratorsReported: _accelerators_reported,
    obs.StopRequested: _stop_requested,
    obs.BeginRequested: _begin_requested,
    obs.HostRequested: _host_requested,
    fx.SheetFailed: sheet_failed,
    fx.Dressed: dressed,
    fx.HostsTabDone: note_done,
    fx.HostsTabFailed: note_failed,
    fx.RunsTabDone: runs_done,
    fx.RunsTabFailed: runs_failed,
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
