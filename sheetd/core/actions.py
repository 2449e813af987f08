"""What the words of an action cell do to an experiment, or to every member of a group (`sweeps`).

Here nothing is begun that was not accepted: that is for `intake`, which also knows which word is obeyed and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sheetd.core import events as ev
from sheetd.core.dependencies import is_done
from sheetd.core.model import Afterwards, Experiment, Phase
from sheetd.core.state import State

#: Who asks, in the words of a message.
CELL, COMMAND_LINE = "its action cell", "the command line"


def parts(state: State, experiment: Experiment) -> list[Experiment]:
    """What is executed for a row: the experiment itself, or the members of the group that it is."""
    return state.members(experiment.id) if experiment.id in state.sweeps else [experiment]


def stop_all(
    state: State, experiment: Experiment, why: str, then: Afterwards, *, by_person: bool = False
) -> Iterator[ev.Event]:
    """Stop whatever is executed for a row."""
    for part in parts(state, experiment):
        yield from stop(part, why, then, by_person=by_person)


def stop(experiment: Experiment, why: str, then: Afterwards, *, by_person: bool = False) -> Iterator[ev.Event]:
    """The event that stops an experiment, wherever it is. None when there is nothing to stop.

    A person's wish overrules a relaunch that is under way, and a plain stop overrules every other one.
    """
    if experiment.phase is Phase.WAITING:
        if then is Afterwards.END:
            yield ev.ExperimentWithdrawn(experiment=experiment.id, why=why)
        return
    if then is Afterwards.END:
        is_overruled = experiment.afterwards is not Afterwards.END
    else:
        is_overruled = experiment.afterwards is Afterwards.RELAUNCH and then is not Afterwards.RELAUNCH
    is_new_wish = by_person and not experiment.stop_by_person
    is_stoppable = experiment.phase is not Phase.STOPPING or is_overruled or is_new_wish
    if experiment.is_live and experiment.attempt is not None and is_stoppable:
        yield ev.StopIntended(attempt=experiment.attempt.id, why=why, then=then, by_person=by_person)


def obey(state: State, experiment: Experiment, word: str, asker: str = CELL) -> Iterator[ev.Event]:
    """The events that a word calls for, which include that it was obeyed as soon as it can be."""
    if experiment.id in state.sweeps:
        yield from _obey_for_all(state, experiment, word, asker)
    elif word in _OBEY:
        yield from _OBEY[word](experiment, asker)


def _obey_for_all(state: State, group: Experiment, word: str, asker: str) -> Iterator[ev.Event]:
    """`run` and the end of `rerun` are for `intake`: the row may ask for other members by now."""
    if word == "stop":
        yield _consume(group, word)
        yield from stop_all(state, group, f"stopped by {asker}", Afterwards.END, by_person=True)
    elif word == "rerun":
        why = f"{asker} asks for a fresh start"
        for member in state.members(group.id):
            if member.phase is Phase.WAITING:
                yield ev.ExperimentWithdrawn(experiment=member.id, why=why)
            else:
                yield from stop(member, why, Afterwards.RERUN, by_person=True)
    elif word == "restart":
        yield from _restart_all(state, group, asker)


def _restart_all(state: State, group: Experiment, asker: str) -> Iterator[ev.Event]:
    """Those that have not succeeded. What the row does not ask for any more is stopped, now by a person's word."""
    members = state.sweeps[group.id].members
    asked_for = [state.experiments[id_] for id_ in members]
    if any(member.phase is Phase.STOPPING and member.stop_by_person for member in asked_for):
        return  # obeyed when they have stopped
    yield _consume(group, "restart")
    for member in asked_for:
        if member.phase is not Phase.ENDED:
            yield from stop(member, f"restarted by {asker}", Afterwards.RESTART, by_person=True)
        elif not is_done(member):
            yield ev.ExperimentReopened(experiment=member.id, resume=True)
    for id_ in sorted(state.sweeps[group.id].open.difference(members)):
        yield from stop(state.experiments[id_], "its row was restarted without it", Afterwards.END, by_person=True)


def _consume(experiment: Experiment, action: str) -> ev.Event:
    return ev.ActionConsumed(experiment=experiment.id, action=action)


def _obey_stop(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    yield _consume(experiment, "stop")
    yield from stop(experiment, f"stopped by {asker}", Afterwards.END, by_person=True)


def _obey_restart(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    if experiment.phase is Phase.STOPPING and experiment.stop_by_person:
        return  # obeyed when it has stopped
    yield _consume(experiment, "restart")
    if experiment.phase is Phase.ENDED:
        yield ev.ExperimentReopened(experiment=experiment.id, resume=True)
    else:
        yield from stop(experiment, f"restarted by {asker}", Afterwards.RESTART, by_person=True)


def _obey_run(experiment: Experiment, _asker: str) -> Iterator[ev.Event]:
    if experiment.phase is Phase.STOPPING:
        return
    yield _consume(experiment, "run")
    if experiment.phase is Phase.ENDED:
        yield ev.ExperimentReopened(experiment=experiment.id, resume=True)


def _obey_rerun(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    """Not consumed before the fresh start is recorded (`_acceptances`), so a crash in between forgets nothing."""
    if experiment.phase is Phase.WAITING:
        yield ev.ExperimentWithdrawn(experiment=experiment.id, why=f"{asker} asks for a fresh start")
    else:
        yield from stop(experiment, f"{asker} asks for a fresh start", Afterwards.RERUN, by_person=True)


_OBEY: dict[str, Callable[[Experiment, str], Iterator[ev.Event]]] = {
    "run": _obey_run,
    "stop": _obey_stop,
    "restart": _obey_restart,
    "rerun": _obey_rerun,
}
