"""What `sheetd stop`, `restart` and `rerun` share: a request for the daemon, left for each experiment."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from sheetd.cli.picture import Picture, refuse_if_halted, take_picture
from sheetd.cli.terminal import out, settings_to_look
from sheetd.config import Settings
from sheetd.core.actions import parts
from sheetd.core.model import Phase
from sheetd.door import knock
from sheetd.errors import SheetdError
from sheetd.journal.requests import RequestStore
from sheetd.projects import project_with

Ids = Annotated[list[str], typer.Argument(help="Ids of experiments, from the id column; k7f2qm-2 is one run of a row.")]
#: How long to wait for a refusal: a daemon that runs answers within a turn what it can answer at all.
ANSWER_S, LOOK_EVERY_S = 3.0, 0.05
DRAFT = "draft"
_BEGUN = {
    "stop": "is being stopped",
    "restart": "is being restarted from its last checkpoint",
    "rerun": "is being run again from nothing",
}
_LATER = {"stop": "stop them", "restart": "restart them", "rerun": "run them again"}


@dataclass(slots=True)
class _Asked:
    """What is asked of one project."""

    project: Settings
    picture: Picture
    phases: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


def ask(action: str, ids: list[str], config: Path | None, *, sheet: str | None = None, as_json: bool = False) -> None:
    """Leave the requests and say what becomes of them. Raises SheetdError for an unknown id, before any is left."""
    settings = settings_to_look(config)
    asked: dict[str, _Asked] = {}
    whose: dict[str, _Asked] = {}
    for id_ in dict.fromkeys(ids):
        project = project_with(settings, id_, sheet)
        name = project.sheet.name
        if name not in asked:
            refuse_if_halted(project)
            asked[name] = _Asked(project, take_picture(project))
        whose[id_] = asked[name]
        whose[id_].phases[id_] = _phase_of(whose[id_].picture, action, id_)
    is_heard = _leave(action, list(asked.values()), settings.daemon.state_dir)
    answers = {id_: answer for one in asked.values() for id_, answer in one.answers.items()}
    numbers = {id_ for one in asked.values() for id_ in one.numbers}
    refused = [answer for answer in answers.values() if answer.startswith("cannot")]
    if as_json:
        told = [
            {"id": id_, "asked": id_ in numbers, "answer": answers.get(id_), "was": one.phases[id_]}
            for id_, one in whose.items()
        ]
        out.print_json(json.dumps({"action": action, "daemon_runs": is_heard, "experiments": told}))
    else:
        for id_ in whose:
            if id_ not in numbers:
                out.print(f"{id_} has ended already", markup=False)
            elif answers.get(id_) not in refused:
                out.print(f"{id_} {_BEGUN[action]}", markup=False)
        if numbers and not is_heard:
            out.print(f"The daemon is not running; it will {_LATER[action]} as soon as it is: `sheetd run`")
    if refused:
        raise SheetdError("\n".join(refused))


def _leave(action: str, asked: Sequence[_Asked], state_dir: Path) -> bool:
    """Whether a daemon has heard of it. It is told once everything is there."""
    with ExitStack() as stack:
        stores = []
        for one in asked:
            store = RequestStore(one.project.state_dir)
            stack.callback(store.close)
            stores.append(store)
            for id_, phase in one.phases.items():
                if _is_needed(one.picture, action, id_, phase):
                    one.numbers[id_] = store.ask_once(action, id_)
        is_heard = knock(state_dir)
        for one, store in zip(asked, stores, strict=True):
            one.answers = _answers(store, one.numbers) if is_heard and action != "stop" else {}
    return is_heard


def _phase_of(picture: Picture, action: str, id_: str) -> str:
    """Raises SheetdError for what is no experiment. `rerun` begins a row too that waits to be told so: a draft."""
    draft = picture.drafts().get(id_)
    if action == "rerun" and draft is not None and draft["status"] == DRAFT:
        return DRAFT
    return picture.experiment(id_).phase.value


def _is_needed(picture: Picture, action: str, id_: str, phase: str) -> bool:
    """What has ended need not be stopped, unless something of it was only paused."""
    if action != "stop" or phase != Phase.ENDED.value:
        return True
    return any(one.is_paused for one in parts(picture.world.state, picture.experiment(id_)))


def _answers(store: RequestStore, numbers: dict[str, int]) -> dict[str, str]:
    """What the daemon has said by now. What takes longer, such as a stop before a new start, goes on without us."""
    until_s = time.monotonic() + ANSWER_S
    while True:
        told = {id_: store.answer(number) for id_, number in numbers.items()}
        answers = {id_: answer for id_, answer in told.items() if answer is not None}
        if len(answers) == len(numbers) or time.monotonic() >= until_s:
            return answers
        time.sleep(LOOK_EVERY_S)
