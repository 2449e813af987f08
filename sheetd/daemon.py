"""The only loop: wait for news, look at everything, record, act. `build` is the only place where adapters are made.

One turn: absorb what arrived; then, until nothing is left to decide, append the decided events to the journal and apply
them; check the invariants; start the effects. A crash between any two of these steps is an ordinary start: what was
recorded is planned again, what was not recorded did not happen.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from sheetd.arbiter import Seat
from sheetd.core.absorb import News, absorb, is_void
from sheetd.core.configuration import reconfigure
from sheetd.core.effect import DressSheet, Effect, WriteSheet
from sheetd.core.events import DaemonStarted, Event, TakeoverBegun, TakeoverEnded
from sheetd.core.invariants import violations
from sheetd.core.model import HostName, Phase
from sheetd.core.observation import MetricsReported, Observation
from sheetd.core.outage import Outage
from sheetd.core.ownership import hosts_in_use
from sheetd.core.plan import Chance, Now, Plan
from sheetd.core.quarantine import answer_to
from sheetd.core.reconcile import reconcile, record
from sheetd.core.requests import answer_to_begin, heard
from sheetd.core.views import hosts_view, sheet_view, waits_view, why_unclear
from sheetd.core.world import World
from sheetd.effects import Ports, carry_out
from sheetd.errors import JournalError
from sheetd.lanes import Lanes
from sheetd.ports import Clock, Host, Reconfiguration, Route
from sheetd.systemd import Watchdog, WatchdogPart

log = logging.getLogger(__name__)

#: News that arrive within this time of each other cost one turn.
COALESCE_S = 0.02
#: Numbers of jobs decide nothing, so they can wait a little: whatever jobs report, it costs a few turns a second.
GATHER_NUMBERS_S = 0.25
#: A turn takes in no more than this, however much has piled up.
NEWS_MAX = 1000
#: However often the world changes, other processes are told at most this often.
VIEW_EVERY_S = 0.5
#: The meter of the sheet's quota changes with every request.
METER_EVERY_S = 5.0
#: When the journal could not be written, it is tried again after this long.
RECORD_AGAIN_S = 5.0
#: A plan that still wants to record something after so many rounds is a bug.
ROUNDS_MAX = 50
LANES_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a host's adapter has reported. Void once another has taken its place, however long it lay in the inbox."""

    adapter: Host
    observation: Observation


#: What the loop is handed.
Mail: TypeAlias = News | Reconfiguration | Heard


class Daemon:
    """Drives one world through its ports. Other threads may call `post`, `wake`, `look_again` and `stop` only."""

    def __init__(
        self,
        world: World,
        ports: Ports,
        clock: Clock,
        chance: Chance,
        routes: Mapping[HostName, Route] | None = None,
        seat: Seat | None = None,
        watchdog: Watchdog | WatchdogPart | None = None,
    ) -> None:
        """`seat`, and `watchdog` as a part: its place among several that share the hosts and the process."""
        self.world = world
        self._seat = seat
        self._ports = ports
        self._clock = clock
        self._chance = chance if seat is None else seat.chance(chance)
        self._inbox: queue.SimpleQueue[Mail | BaseException | None] = queue.SimpleQueue()
        self._lanes = Lanes(lambda effect: carry_out(effect, ports), self._inbox.put)
        self._stopping = False
        self._watchdog = watchdog or Watchdog(clock)
        self._views: dict[str, Mapping[str, Any]] = {}
        self._viewed_s = float("-inf")
        self._viewed_version = -1
        self._metered_s = float("-inf")
        self._outage = Outage()
        self._check_requests = True
        self._trouble = ""
        self._unclear = ""
        self._halted = ""
        self._tab_troubles: dict[str, str] = {}
        #: How each host was reached last, those too that are not configured any more.
        self._routes = dict(routes or {})
        self._reconfiguration: Reconfiguration | None = None
        #: Hosts that are somewhere else by the file, and that attempts of ours still run on where they were.
        self._held: set[HostName] = set()

    # --- from other threads --------------------------------------------------------------------------------------

    def post(self, news: Mail) -> None:
        """Hand over what was observed, or what the operator's files say now."""
        self._inbox.put(news)

    def wake(self) -> None:
        """Somebody left a request in the journal."""
        self._check_requests = True
        self.look_again()

    def look_again(self) -> None:
        """Something that nobody posts may have changed, such as what other projects hold."""
        self._inbox.put(None)

    def stop(self) -> None:
        """End the loop after the present turn. Jobs go on running."""
        self._stopping = True
        self._inbox.put(None)

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until `stop`. Raises what an adapter was not allowed to raise, after closing everything."""
        self.recover()
        for host in self._ports.hosts.values():
            self._keep(host)
        self._watchdog.ready()
        try:
            wake_s = self.turn(())
            while not self._stopping:
                wake_s = self.turn(self._wait(wake_s))
        finally:
            self._watchdog.stopping()
            self._keep_views(force=True)
            self._close()

    def recover(self) -> None:
        """Add up the journal and take over. No other path differs between a first start and a start after a crash."""
        now = self._now()
        for event in self._ports.journal.load():
            record(self.world, event, now)
        self._record([DaemonStarted(epoch=self._ports.journal.epoch, wall_s=now.wall_s)], now)
        self._recall_metrics()
        if self._seat is not None:
            self._seat.join(self.world, self.look_again)

    def turn(self, news: Sequence[Mail]) -> float:
        """Absorb, decide, record, act. Returns the monotonic time at which to look again at the latest."""
        now = self._now()
        for one in news:
            self._take(one, now)
        if self._held and self._reconfiguration is not None and not self._held <= hosts_in_use(self.world):
            self._reconfigure(self._reconfiguration, now)
        self._say_halted()
        try:
            # Before an end is recorded: after it nobody asks for the attempt's metrics again.
            self._keep_metrics()
            with nullcontext() if self._seat is None else self._seat.deciding(self.world, now.s):
                plan = self._decide(now)
            self._trouble = ""
        except JournalError as error:
            # What cannot be recorded is not done. Jobs go on, and so do we once there is room again.
            self._say_trouble(str(error))
            return now.s + min(RECORD_AGAIN_S, self._watchdog.interval_s)
        finally:
            self._watchdog.alive()
        broken = violations(self.world)
        if broken:
            self._halt("; ".join(broken))
            plan = reconcile(self.world, now, self._chance)  # what is left when halted: showing
        for effect in plan.effects:
            self._start(effect, now)
        self._say_outage(now)
        self._keep_views(force=False)
        self._say_unclear_sheet()
        self._say_trouble_with_tabs()
        return min(plan.wake_s, now.s + self._watchdog.interval_s)

    def _take(self, one: Mail, now: Now) -> None:
        if isinstance(one, Reconfiguration):
            self._reconfigure(one, now)
            return
        if isinstance(one, Heard):
            if self._ports.hosts.get(one.adapter.name) is not one.adapter:
                return
            one = one.observation
        if not is_void(self.world, one):
            absorb(self.world, one, now.s)

    def _decide(self, now: Now) -> Plan:
        """Record until nothing is left to decide; the plan that then remains."""
        if self._check_requests:
            self._take_requests(now)
        plan = reconcile(self.world, now, self._chance)
        for _ in range(ROUNDS_MAX):
            if not plan.events:
                break
            self._record(plan.events, now)
            plan = reconcile(self.world, now, self._chance)
        else:
            self._halt(f"deciding did not come to an end: {plan.events[:3]}")
        self._answer_requests()
        return plan

    def _wait(self, wake_s: float) -> list[Mail]:
        """The news since the last turn; none when the time is over."""
        arrived: list[Mail | BaseException | None] = []
        until_s = wake_s
        with suppress(queue.Empty):
            while len(arrived) < NEWS_MAX and not self._stopping:
                # A deadline, and not a pause: a storm that never pauses must not keep the loop from turning.
                left_s = until_s - self._clock.monotonic_s()
                one = self._inbox.get(timeout=left_s) if left_s > 0 else self._inbox.get_nowait()
                arrived.append(one)
                is_number = isinstance(one, Heard) and isinstance(one.observation, MetricsReported)
                gather_s = GATHER_NUMBERS_S if is_number else COALESCE_S
                until_s = min(until_s, self._clock.monotonic_s() + gather_s)
        for one in arrived:
            if isinstance(one, BaseException):
                raise one
        return [one for one in arrived if one is not None and not isinstance(one, BaseException)]

    def _now(self) -> Now:
        return Now(s=self._clock.monotonic_s(), wall_s=self._clock.wall_s())

    def _record(self, events: Sequence[Event], now: Now) -> None:
        self._ports.journal.append(events)
        for event in events:
            log.info("%s", event)
            record(self.world, event, now)
            if isinstance(event, TakeoverBegun):
                log.warning(
                    "this sheet was served by %s: taking over, once every host has said what it runs",
                    event.former_where or "another daemon",
                )
            elif isinstance(event, TakeoverEnded):
                log.warning("the sheet is taken over")

    def _start(self, effect: Effect, now: Now) -> None:
        self.world.in_flight[effect.key] = effect
        if isinstance(effect, WriteSheet):
            self.world.last_write_s = now.s
            self.world.has_claimed = self.world.has_claimed or effect.write.claim is not None
        elif isinstance(effect, DressSheet):
            self.world.last_dress_s = now.s
        self._lanes.submit(effect)

    def _say_trouble(self, why: str) -> None:
        """Once, however often it is tried."""
        if why != self._trouble:
            log.error("%s", why)
        self._trouble = why

    def _say_outage(self, now: Now) -> None:
        says = self._outage.heed(self.world.sheet_problem, self.world.sheet_problem_since_s, now)
        if says:
            log.warning("%s", says)

    def _say_unclear_sheet(self) -> None:
        unclear = why_unclear(self.world)
        if unclear != self._unclear:
            log.warning("the sheet is left alone: %s", unclear) if unclear else log.warning("the sheet is clear again")
        self._unclear = unclear

    def _say_trouble_with_tabs(self) -> None:
        for what, tab in (("hosts", self.world.hosts_tab), ("runs", self.world.runs_tab)):
            trouble = "" if tab is None else tab.trouble
            if trouble and trouble != self._tab_troubles.get(what):
                log.warning("the tab of %s is left alone for now: %s", what, trouble)
            self._tab_troubles[what] = trouble

    def _halt(self, why: str) -> None:
        self.world.halted = why
        self._say_halted()

    def _say_halted(self) -> None:
        """Once for each reason, whoever found it."""
        if self.world.halted and self.world.halted != self._halted:
            log.critical("sheetd stops acting on hosts: %s", self.world.halted)
        self._halted = self.world.halted

    def _close(self) -> None:
        for host in self._ports.hosts.values():
            host.close()
        self._lanes.close(LANES_PATIENCE_S)

    # --- what the operator's files say ---------------------------------------------------------------------------

    def _keep(self, host: Host) -> None:
        host.keep(lambda observation: self.post(Heard(host, observation)))

    def _reconfigure(self, news: Reconfiguration, now: Now) -> None:
        """Go by what the files say from now on. Only what runs somewhere else than they say now is not moved."""
        world, ports, found, busy = self.world, self._ports, news.configuration, hosts_in_use(self.world)
        renewed: dict[HostName, Route] = {}
        self._held = set()
        for name, route in news.routes.items():
            known = self._routes.get(name)
            if known is not None and known.place != route.place and name in busy:
                self._held.add(name)
                if name not in world.hosts:  # it was taken out of the file meanwhile
                    renewed[name] = known
            elif known != route or name not in world.hosts:
                renewed[name] = route
        left = {*renewed, *(world.hosts.keys() - {host.name for host in found.hosts})}
        reconfigure(world, found, renewed, now.s)
        for name in sorted(left & ports.hosts.keys()):
            self._lanes.aside(ports.hosts[name].close)
        for name, route in renewed.items():
            self._routes[name] = route
            host = ports.hosts[name] = route.adapter()
            self._keep(host)
        self._reconfiguration = news
        self._check_requests = True  # those that were asked of a host that is gone are answered

    def _configuration_view(self) -> dict[str, Any]:
        """What the files say and what is not gone by, for people."""
        told = self._reconfiguration
        where = "is somewhere else by sheetd.toml; attempts run where it was, and it moves when they have ended"
        return {
            "mistakes": [] if told is None else list(told.mistakes),
            "at_restart": [] if told is None else list(told.at_restart),
            "later": [f"{name} {where}" for name in sorted(self._held)],
        }

    # --- requests, metrics and views -----------------------------------------------------------------------------

    def _take_requests(self, now: Now) -> None:
        self._check_requests = False
        for request in self._ports.journal.pending_requests():
            news = heard(self.world, request.action, request.subject, request.by, request.number, request.wall_s)
            if isinstance(news, str):
                self._ports.journal.finish_request(request.number, news)
            else:
                absorb(self.world, news, now.s)

    def _answer_requests(self) -> None:
        for id_, asked in list(self.world.begin_requests.items()):
            if answer := answer_to_begin(self.world, asked):
                self._ports.journal.finish_request(asked.request, answer)
                del self.world.begin_requests[id_]
                self.wake()  # there may be another one of the same experiment
        for id_, number in list(self.world.stop_requests.items()):
            experiment = self.world.state.experiments[id_]
            if experiment.phase in (Phase.STOPPING, Phase.ENDED):
                self._ports.journal.finish_request(number, experiment.phase.value)
                del self.world.stop_requests[id_]
        for number, request in list(self.world.host_requests.items()) if not self.world.halted else ():
            self._ports.journal.finish_request(number, answer_to(self.world, request))
            del self.world.host_requests[number]

    def _recall_metrics(self) -> None:
        """Those of every row: what has ended shows its numbers too, and is not asked for them again."""
        offsets = self._ports.journal.metrics_offsets()
        for experiment in self.world.state.experiments.values():
            attempt = experiment.attempt
            if attempt is not None and attempt.id in offsets:
                self.world.metrics[attempt.id] = dict(self._ports.journal.metrics(attempt.id))
                self.world.metrics_offset[attempt.id] = offsets[attempt.id]

    def _keep_metrics(self) -> None:
        for attempt in self.world.metrics_changed:
            offset = self.world.metrics_offset[attempt]
            self._ports.journal.cache_metrics(attempt, offset, self.world.metrics[attempt])
        self.world.metrics_changed.clear()

    def _keep_views(self, *, force: bool) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._viewed_s < VIEW_EVERY_S and not force:
            return
        self._viewed_s = now_s
        sheet = {**sheet_view(self.world), "out_since_wall_s": self._outage.began_wall_s}
        views: dict[str, Mapping[str, Any]] = {"sheet": sheet, "configuration": self._configuration_view()}
        if self._ports.usage is not None and (now_s - self._metered_s >= METER_EVERY_S or force):
            self._metered_s = now_s
            views["quota"] = self._ports.usage()
        if self.world.version != self._viewed_version or force:  # idle hosts cost nothing
            views |= {"hosts": hosts_view(self.world, self._now()), "waits": waits_view(self.world)}
        for name, view in views.items():
            if view != self._views.get(name):
                try:
                    self._ports.journal.cache_view(name, view)
                except JournalError as error:
                    self._say_trouble(str(error))  # only others' sight of us is lost
                    return
                self._views[name] = view
        self._viewed_version = self.world.version
