"""The state of the daemon as another process sees it, while it runs and after it was killed.

Decisions come from the journal, live details from the views the daemon keeps; words come from the same `render` as in
the sheet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sheetd.clock import SystemClock
from sheetd.config import Settings
from sheetd.core.model import AttemptId, Experiment, ExperimentId, Phase, group_of
from sheetd.core.plan import Now
from sheetd.core.render import message_of, status_word
from sheetd.core.state import State
from sheetd.core.text import clean_line
from sheetd.core.views import restore_hosts, restore_whys
from sheetd.core.world import Limits, World
from sheetd.errors import SheetdError
from sheetd.journal import JOURNAL_NAME, JournalReader
from sheetd.journal.lock import holder_of
from sheetd.journal.requests import REQUESTS_NAME, RequestStore

#: How much of a message fits on a terminal in a few lines.
MESSAGE_MAX = 1000
_PENDING = {"stop": "will be stopped", "restart": "will be restarted", "rerun": "will be run again"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What there is to show. `daemon` names the process that is alive, or is empty."""

    daemon: str
    world: World
    now: Now
    sheet: Mapping[str, Any]
    #: What of the operator's files the daemon does not go by, and why.
    configuration: Mapping[str, list[str]]
    #: Requests of the last minute to a sheet that has a quota.
    quota: Mapping[str, int]
    hosts: Mapping[str, Any]
    reader: JournalReader
    #: What a daemon which is not running was asked to do with experiments.
    pending: Mapping[ExperimentId, str] = field(default_factory=dict)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One plain mapping per experiment, in the order in which they were accepted; runs behind their row."""
        for experiment in self.experiments():
            yield self.row(experiment)

    def experiments(self) -> Iterator[Experiment]:
        state = self.world.state
        for experiment in state.experiments.values():
            if group_of(experiment.id) is None:
                yield experiment
            if experiment.id in state.sweeps:
                yield from state.members(experiment.id)

    def row(self, experiment: Experiment) -> dict[str, Any]:
        attempt = experiment.attempt
        metrics = {} if attempt is None else self.reader.metrics(attempt.id)
        return {
            "id": experiment.id,
            "group": group_of(experiment.id),
            "template": experiment.spec.template,
            "params": dict(experiment.spec.params),
            "status": status_word(self.world, experiment),
            "message": self._message(experiment),
            "host": None if attempt is None else attempt.host,
            "attempt": None if attempt is None else attempt.number,
            "exit_code": None if attempt is None else attempt.exit_code,
            "metrics": {name: summary.last for name, summary in metrics.items()},
        }

    def _message(self, experiment: Experiment) -> str:
        message = message_of(self.world, experiment, None, self.now)
        asked = self.pending.get(experiment.id)
        is_over = experiment.phase is Phase.ENDED and not experiment.is_paused
        if asked is None or (asked == "stop" and is_over):
            return message
        return "; ".join(part for part in (message, f"{_PENDING[asked]} when the daemon runs") if part)

    def drafts(self) -> dict[str, dict[str, str]]:
        """Rows that were not accepted, by id: status and message as the daemon last put them into the sheet."""
        told = self.sheet.get("drafts", {})
        since = "" if self.daemon else " (as last seen; the daemon is not running)"
        return {
            id_: {"status": draft["status"], "message": draft["message"] + since}
            for id_, draft in told.items()
            if id_ not in self.world.state.experiments
        }

    def experiment(self, id_: str) -> Experiment:
        """Raises SheetdError naming what there is, or why the row was not accepted."""
        found = self.world.state.experiments.get(ExperimentId(id_))
        draft = self.drafts().get(id_)
        if found is None and draft is not None:
            raise SheetdError(clean_line(f"{id_} was not accepted yet: {draft['message']}", MESSAGE_MAX))
        if found is None:
            known = ", ".join(list(self.world.state.experiments)[-5:]) or "none yet"
            raise SheetdError(f"there is no experiment {id_}: the newest are {known}; see `sheetd status`")
        return found


def refuse_if_halted(settings: Settings) -> None:
    """Raise SheetdError when the daemon that runs here does not act any more: nobody would do what is asked."""
    if halted := why_halted(settings):
        raise SheetdError(clean_line(f"the daemon that runs here has stopped acting: {halted}", MESSAGE_MAX))


def why_halted(settings: Settings) -> str:
    """Empty while the daemon acts, and also where none runs: what is asked waits for it."""
    if holder_of(settings.state_dir) is None:
        return ""
    view = JournalReader(settings.state_dir).view("sheet")
    return "" if view is None else str(view.value.get("halted", ""))


def take_picture(settings: Settings, mistake: str = "") -> Picture:
    """Read the journal and the views. Raises JournalError when there is nothing to read.

    `mistake` is what is wrong with the file now: the daemon may not have looked at it yet.
    """
    reader = JournalReader(settings.state_dir)
    holder = reader.daemon()
    wall_s = SystemClock().wall_s()
    state = State()
    for recorded in reader.events():
        state.apply(recorded.event, recorded.wall_s - wall_s)  # the clock of this picture stands at 0: pauses pass
    hosts = reader.view("hosts")
    sheet, waits, configuration, quota = (reader.view(name) for name in ("sheet", "waits", "configuration", "quota"))
    told = {} if sheet is None else sheet.value
    world = World(
        state=state,
        templates={},
        limits=Limits(),
        hosts=restore_hosts({} if hosts is None else hosts.value, daemon_alive=holder is not None),
        whys=restore_whys({} if waits is None else waits.value),
        waiting={ExperimentId(id_): why for id_, why in told.get("waiting", {}).items()},
        handed_over={AttemptId(attempt): number for attempt, number in told.get("handed_over", {}).items()},
    )
    return Picture(
        daemon="" if holder is None else str(holder),
        world=world,
        now=Now(s=0.0, wall_s=wall_s),
        sheet=told,
        configuration={} if holder is None else _with(mistake, {} if configuration is None else configuration.value),
        quota={} if holder is None or quota is None or settings.sheet.kind != "google" else quota.value,
        hosts={} if hosts is None else hosts.value,
        reader=reader,
        pending=_pending(settings.state_dir) if holder is None else {},
    )


def take_pictures(projects: Sequence[Settings], mistake: str = "") -> dict[str, Picture]:
    """Those of all that were ever served, by the name of their sheet. Raises JournalError when none was."""
    # One that was added to the file is taken at the daemon's next start.
    served = [project for project in projects if (project.state_dir / JOURNAL_NAME).exists()]
    return {project.sheet.name: take_picture(project, mistake) for project in served or projects}


def _with(mistake: str, told: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {**told, "mistakes": list(dict.fromkeys([*mistake.splitlines(), *told.get("mistakes", ())]))}


def _pending(state_dir: Path) -> dict[ExperimentId, str]:
    if not (state_dir / REQUESTS_NAME).exists():
        return {}  # opening the requests would make them, and this is for looking only
    requests = RequestStore(state_dir)
    try:
        return {ExperimentId(one.subject): one.action for one in requests.pending() if one.action in _PENDING}
    finally:
        requests.close()
