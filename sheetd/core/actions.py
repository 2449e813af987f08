"""What the words of an action cell do to an experiment, or to every member of a group (`sweeps`).

Here nothing is begun that was not accepted: that is for `intake`, which also knows which word is obeyed and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sheetd.core import events as ev
from sheetd.core.dependencies import is_done
from sheetd.core.model import Afterwards, Experiment, Phase
from sheetd.core.state import State

#: The stops that are under way, by what follows them, which another one changes.
_OVERRULED = {
    Afterwards.END: frozenset(Afterwards) - {Afterwards.END},
    Afterwards.PAUSE: frozenset(Afterwards) - {Afterwards.END, Afterwards.PAUSE},
    Afterwards.RESTART: frozenset({Afterwards.RELAUNCH}),
    Afterwards.RERUN: frozenset({Afterwards.RELAUNCH}),
    Afterwards.RELAUNCH: frozenset[Afterwards](),
}
NOT_PAUSED = "resume was not done: nothing was paused here (restart goes on from the newest checkpoint)"
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

    A person's wish overrules a relaunch that is under way, a plain stop overrules every other one, and a pause every
    other one but that. What is paused can only be stopped.
    """
    if experiment.phase is Phase.WAITING or experiment.is_paused:
        if then is Afterwards.END or (then is Afterwards.PAUSE and not experiment.is_paused):
            yield ev.ExperimentWithdrawn(experiment=experiment.id, why=why, pauses=then is Afterwards.PAUSE)
        return
    is_overruled = experiment.afterwards in _OVERRULED[then]
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
    elif word in _OBEY_FOR_ALL:
        yield from _OBEY_FOR_ALL[word](state, group, asker)


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
            yield reopened(member)
    yield from _stop_left_out(state, group, "its row was restarted without it")


def _stop_left_out(state: State, group: Experiment, why: str) -> Iterator[ev.Event]:
    for id_ in sorted(state.sweeps[group.id].open.difference(state.sweeps[group.id].members)):
        yield from stop(state.experiments[id_], why, Afterwards.END, by_person=True)


def _pause_all(state: State, group: Experiment, asker: str) -> Iterator[ev.Event]:
    """Those that have not ended. What the row does not ask for any more is stopped, now by a person's word."""
    asked_for = [state.experiments[id_] for id_ in state.sweeps[group.id].members]
    pausing = [
        event for member in asked_for for event in stop(member, f"paused by {asker}", Afterwards.PAUSE, by_person=True)
    ]
    is_vain = not pausing and not any(_is_paused_or_will_be(member) for member in asked_for)
    yield _consume(group, "pause", "pause was not done: every run had ended" if is_vain else "")
    yield from pausing
    yield from _stop_left_out(state, group, "its row was paused without it")


def _resume_all(state: State, group: Experiment, _asker: str) -> Iterator[ev.Event]:
    asked_for = [state.experiments[id_] for id_ in state.sweeps[group.id].members]
    if any(_is_pausing(member) for member in asked_for):
        return  # obeyed when they have stopped
    paused = [member for member in asked_for if member.is_paused]
    yield _consume(group, "resume", "" if paused else NOT_PAUSED)
    for member in paused:
        yield reopened(member)


_OBEY_FOR_ALL: dict[str, Callable[[State, Experiment, str], Iterator[ev.Event]]] = {
    "restart": _restart_all,
    "pause": _pause_all,
    "resume": _resume_all,
}


def _consume(experiment: Experiment, action: str, why_not: str = "") -> ev.Event:
    return ev.ActionConsumed(experiment=experiment.id, action=action, obeyed=not why_not, why_not=why_not)


def reopened(experiment: Experiment) -> ev.ExperimentReopened:
    """It goes on from its newest checkpoint; what was paused before it began begins as it would have."""
    resume = experiment.resume if experiment.is_paused else True
    return ev.ExperimentReopened(experiment=experiment.id, resume=resume)


def _is_pausing(experiment: Experiment) -> bool:
    return experiment.phase is Phase.STOPPING and experiment.afterwards is Afterwards.PAUSE


def _is_paused_or_will_be(experiment: Experiment) -> bool:
    return experiment.is_paused or _is_pausing(experiment)


def _obey_stop(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    yield _consume(experiment, "stop")
    yield from stop(experiment, f"stopped by {asker}", Afterwards.END, by_person=True)


def _obey_restart(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    if experiment.phase is Phase.STOPPING and experiment.stop_by_person:
        return  # obeyed when it has stopped
    yield _consume(experiment, "restart")
    if experiment.phase is Phase.ENDED:
        yield reopened(experiment)
    else:
        yield from stop(experiment, f"restarted by {asker}", Afterwards.RESTART, by_person=True)


def _obey_run(experiment: Experiment, _asker: str) -> Iterator[ev.Event]:
    if experiment.phase is Phase.STOPPING:
        return
    yield _consume(experiment, "run")
    if experiment.phase is Phase.ENDED:
        yield reopened(experiment)


def _obey_rerun(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    """Not consumed before the fresh start is recorded (`_acceptances`), so a crash in between forgets nothing."""
    if experiment.phase is Phase.WAITING:
        yield ev.ExperimentWithdrawn(experiment=experiment.id, why=f"{asker} asks for a fresh start")
    else:
        yield from stop(experiment, f"{asker} asks for a fresh start", Afterwards.RERUN, by_person=True)


def _obey_pause(experiment: Experiment, asker: str) -> Iterator[ev.Event]:
    pausing = list(stop(experiment, f"paused by {asker}", Afterwards.PAUSE, by_person=True))
    is_vain = not pausing and not _is_paused_or_will_be(experiment)
    how = "had ended" if experiment.phase is Phase.ENDED else "was being stopped"
    yield _consume(experiment, "pause", f"pause was not done: it {how} already" if is_vain else "")
    yield from pausing


def _obey_resume(experiment: Experiment, _asker: str) -> Iterator[ev.Event]:
    if _is_pausing(experiment):
        return  # obeyed when it has stopped
    yield _consume(experiment, "resume", "" if experiment.is_paused else NOT_PAUSED)
    if experiment.is_paused:
        yield reopened(experiment)


_OBEY: dict[str, Callable[[Experiment, str], Iterator[ev.Event]]] = {
    "run": _obey_run,
    "stop": _obey_stop,
    "restart": _obey_restart,
    "rerun": _obey_rerun,
    "pause": _obey_pause,
    "resume": _obey_resume,
}
