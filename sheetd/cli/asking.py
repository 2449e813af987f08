"""What `sheetd stop`, `restart` and `rerun` share: a request for the daemon, left for each experiment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from sheetd.cli.picture import Picture, refuse_if_halted, take_picture
from sheetd.cli.terminal import out, settings_to_look
from sheetd.core.actions import parts
from sheetd.core.model import Phase
from sheetd.door import knock
from sheetd.errors import SheetdError
from sheetd.journal.requests import RequestStore

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


def ask(action: str, ids: list[str], config: Path | None, *, as_json: bool) -> None:
    """Leave the requests and say what becomes of them. Raises SheetdError for an unknown id, before any is left."""
    settings = settings_to_look(config)
    refuse_if_halted(settings)
    picture = take_picture(settings)
    phases = {id_: _phase_of(picture, action, id_) for id_ in dict.fromkeys(ids)}
    store = RequestStore(settings.daemon.state_dir)
    try:
        numbers = {
            id_: store.ask_once(action, id_) for id_, phase in phases.items() if _is_needed(picture, action, id_, phase)
        }
        is_heard = knock(settings.daemon.state_dir)
        answers = _answers(store, numbers) if is_heard and action != "stop" else {}
    finally:
        store.close()
    refused = [answer for answer in answers.values() if answer.startswith("cannot")]
    if as_json:
        told = [
            {"id": id_, "asked": id_ in numbers, "answer": answers.get(id_), "was": phase}
            for id_, phase in phases.items()
        ]
        out.print_json(json.dumps({"action": action, "daemon_runs": is_heard, "experiments": told}))
    else:
        for id_ in phases:
            if id_ not in numbers:
                out.print(f"{id_} has ended already", markup=False)
            elif answers.get(id_) not in refused:
                out.print(f"{id_} {_BEGUN[action]}", markup=False)
        if numbers and not is_heard:
            out.print(f"The daemon is not running; it will {_LATER[action]} as soon as it is: `sheetd run`")
    if refused:
        raise SheetdError("\n".join(refused))


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
