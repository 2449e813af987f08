"""`sheetd explain ID`: why an experiment waits, host by host, or what became of its attempts.

Says what the row's message says, from the same data, and everything for which a cell has no room.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sheetd.cli.picture import MESSAGE_MAX, Picture, take_picture
from sheetd.cli.status import headline
from sheetd.cli.terminal import ConfigOption, JsonOption, SheetOption, out, settings_to_look, status_style
from sheetd.core import events as ev
from sheetd.core.hostwords import quarantine_text
from sheetd.core.model import Attempt, Experiment, Phase
from sheetd.core.template import as_argument
from sheetd.core.text import clean_line
from sheetd.core.times import duration_text, wall_text
from sheetd.core.why import Block, HostWhy, Need, Why, host_words
from sheetd.projects import project_with


def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The experiment, from the id column.")],
    sheet: SheetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a row waits, or what it does: each host's answer, each attempt and how it ended.

    [dim]Examples:[/]  sheetd explain k7f2qm   sheetd explain k7f2qm-3 --json
    """
    picture = take_picture(project_with(settings_to_look(config), id_, sheet))
    draft = picture.drafts().get(id_)
    data = {"id": id_, **draft, "waits": None, "attempts": []} if draft else as_data(picture, picture.experiment(id_))
    if as_json:
        out.print_json(json.dumps({"daemon": picture.daemon or None, **data}))
        return
    out.print(headline(picture), soft_wrap=True)
    out.print(Text.assemble(f"{id_} ", (data["status"], status_style(data["status"]))))
    message = clean_line(str(data["message"]), MESSAGE_MAX)
    if message:
        out.print(Padding(Text(message), (0, 0, 0, 2), expand=False))
    if data["waits"]:
        out.print(Text(f"\nneeds {data['waits']['words']}" + _asked(data)))
        out.print(_hosts_table(data["waits"]["hosts"]))
    if data.get("runs"):
        out.print()
        out.print(_runs_table(data["runs"]))
    if data["attempts"]:
        out.print()
        out.print(_attempts_table(data["attempts"]))


def _asked(data: dict[str, Any]) -> str:
    where = f', where "{clean_line(data["where"])}"' if data["where"] else ""
    priority = f", priority {data['priority']:g}" if data["priority"] else ""
    return f"{where}{priority}"


def _hosts_table(hosts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("host")
    table.add_column("says", overflow="fold")
    for host in hosts:
        table.add_row(host["host"], Text(host["says"]))
    return table


def _runs_table(runs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "status", "params", "message"):
        table.add_column(name, overflow="fold")
    for one in runs:
        params = " ".join(f"{name}={as_argument(value)}" for name, value in one["params"].items())
        message = clean_line(str(one["message"]), MESSAGE_MAX)
        table.add_row(
            one["id"], Text(one["status"], status_style(one["status"])), Text(clean_line(params)), Text(message)
        )
    return table


def _attempts_table(attempts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("attempt", "host", "started", "ran", "restarts", "how it is or ended", "proof"):
        table.add_column(name, overflow="fold")
    for one in attempts:
        ran = duration_text(one["runtime_s"]) if one["reason"] and one["started"] else ""
        how = ": ".join(part for part in (one["reason"] or one["phase"], clean_line(one["detail"] or "")) if part)
        table.add_row(
            str(one["number"]), one["host"], one["started"], ran, str(one["restarts"]), Text(how), one["proof"] or ""
        )
    return table


def as_data(picture: Picture, experiment: Experiment) -> dict[str, Any]:
    """Everything there is to say, as plain JSON."""
    spec = experiment.spec
    state = picture.world.state
    members = state.members(experiment.id) if experiment.id in state.sweeps else []
    why = picture.world.whys.get(experiment.id) if experiment.phase is Phase.WAITING else None
    return {
        **picture.row(experiment),
        "accepted": wall_text(experiment.accepted_wall_s),
        "where": spec.where,
        "priority": spec.priority,
        "after": list(spec.after),
        "runs": [picture.row(run) for run in members],
        "waits": None if why is None else _waits(picture, why, why.need),
        "attempts": list(_attempts(picture, experiment)),
    }


def _waits(picture: Picture, why: Why, need: Need) -> dict[str, Any]:
    data = why.as_data()
    says = {one.host: _says(picture, one, need) for one in why.hosts}
    return {**data, "words": need.words, "hosts": [{**host, "says": says[host["host"]]} for host in data["hosts"]]}


def _says(picture: Picture, one: HostWhy, need: Need) -> str:
    words = host_words(one, need)
    health = picture.world.state.health_of(one.host)
    return f"is {quarantine_text(health)}" if one.block is Block.QUARANTINED and health.quarantine else words


def _attempts(picture: Picture, experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Each attempt as the journal has it, with the times at which it was recorded."""
    recorded = picture.reader.events(experiment=experiment.id)
    starts = {one.event.attempt: one.event.wall_s for one in recorded if isinstance(one.event, ev.AttemptStarted)}
    ends = {one.event.attempt: one for one in recorded if isinstance(one.event, ev.AttemptEnded)}
    for attempt in experiment.attempts:
        seen, end = picture.world.seen(attempt), ends.get(attempt.id)
        yield {
            "attempt": attempt.id,
            "number": attempt.number,
            "host": attempt.host,
            "slots": list(attempt.slots),
            "accelerators": [one.id for one in attempt.accelerators],
            "phase": _phase(experiment, attempt),
            "started": wall_text(starts.get(attempt.id)),
            "ended": wall_text(None if end is None else end.wall_s),
            "runtime_s": attempt.runtime_s,
            "restarts": attempt.restarts if seen is None else max(attempt.restarts, seen.restarts),
            "reason": None if attempt.reason is None else attempt.reason.value,
            "detail": attempt.detail,
            "exit_code": attempt.exit_code,
            "proof": None if attempt.proof is None else attempt.proof.value,
            "host_fault": end.event.host_fault if end is not None and isinstance(end.event, ev.AttemptEnded) else "",
        }


def _phase(experiment: Experiment, attempt: Attempt) -> str:
    return Phase.ENDED.value if attempt.reason is not None else experiment.phase.value
