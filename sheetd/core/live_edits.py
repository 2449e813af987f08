"""Parameters that change while their job runs: those of which the template says `live = true`.

An edit is judged like a new row. What it changes of these parameters is recorded, becomes what later attempts run, and
is handed over to the attempt that runs now, until its host has said that it has it. Everything else that the edit
changes stays as it was accepted, and the row says so. Rows that stand for several runs are no part of this: another
value makes another run of them.

While a launch is on its way its spec must not change, or it could not be repeated: such an edit is taken when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sheetd.core import events as ev
from sheetd.core.intake import judgement
from sheetd.core.model import Attempt, Experiment, Phase, Spec, is_same
from sheetd.core.ownership import may_begin
from sheetd.core.rows import Row, SheetView
from sheetd.core.template import Template, as_argument, fill
from sheetd.core.validation import Accepted, Refused, lost_column
from sheetd.core.world import World


def decide_live_edits(world: World) -> Iterator[ev.Event]:
    """What settled edits of rows that have begun change of their live parameters."""
    view = world.sheet
    if view is None or view.layout.problems or world.must_read or not may_begin(world):
        return
    for experiment, typed in world.state.revisable():
        row, template = view.by_id.get(experiment.id), _template_of(world, experiment)
        if row is None or row.fingerprint != typed or row.is_blank or experiment.id in world.misplaced:
            continue
        if view.unchanged_for_s(row) >= world.limits.settle_s and template is not None:
            verdict = judgement(world, view, experiment.id, row)
            if not isinstance(verdict, Accepted) or verdict.runs > 1:
                continue
            if not lost_column(view.layout, experiment.spec, verdict.spec):
                yield from _revision(experiment, verdict.spec, template, row.fingerprint)


def _template_of(world: World, experiment: Experiment) -> Template | None:
    """The template of an experiment that takes live edits; None for any other."""
    if experiment.id in world.state.sweeps or not experiment.takes_live_edits or experiment.is_to_begin:
        return None
    template = world.templates.get(experiment.spec.template)
    return template if template is not None and any(param.live for param in template.params.values()) else None


def _revision(experiment: Experiment, wanted: Spec, template: Template, fingerprint: str) -> Iterator[ev.Event]:
    old = experiment.spec
    if wanted.template != old.template:
        return
    changed = {
        name: value
        for name, value in wanted.params.items()
        if name in old.params and template.params[name].live and not is_same(value, old.params[name])
    }
    new = replace(old, params={**old.params, **changed})
    if fill(template.command, old.params) == old.argv:  # else the template says something else by now
        new = replace(new, argv=fill(template.command, new.params))
    if fill(template.resume_command, old.params) == old.resume_argv:
        new = replace(new, resume_argv=fill(template.resume_command, new.params))
    is_whole = all(is_same(value, new.params.get(name, value)) for name, value in wanted.params.items())
    is_whole = is_whole and (
        (new.slots, new.where, new.priority, new.env) == (wanted.slots, wanted.where, wanted.priority, wanted.env)
    )
    if changed or is_whole:
        yield ev.RowRevised(experiment=experiment.id, spec=new, fingerprint=fingerprint if is_whole else "")


def is_to_hand_over(world: World, experiment: Experiment, attempt: Attempt) -> bool:
    """Whether the host of a running attempt has not said yet that it has the newest values."""
    return experiment.phase is Phase.RUNNING and world.handed_over.get(attempt.id, 0) < experiment.handovers


def handed_words(world: World, experiment: Experiment) -> str:
    """For the row: what was, or is about to be, handed over to the job that runs."""
    attempt = experiment.attempt
    if attempt is None or experiment.phase is not Phase.RUNNING or not experiment.handed:
        return ""
    values = ", ".join(f"{name} = {as_argument(value)[:60]}" for name, value in experiment.handed.items())
    if not is_to_hand_over(world, experiment, attempt):
        return f"{values} was handed over to it"
    why = world.remarks.get(experiment.id, "")
    return f"{values} is being handed over to it" + (f" ({why})" if why else "")


def why_not_live(world: World, view: SheetView, experiment: Experiment, row: Row) -> str:
    """Why an edit of a row with live parameters is not taken, or not yet, as a sentence; empty for any other row."""
    if _template_of(world, experiment) is None:
        return ""
    if world.state.edited.get(experiment.id) != row.fingerprint:
        return "edited: read again as soon as it stays unchanged"
    verdict = judgement(world, view, experiment.id, row)
    lost = "" if isinstance(verdict, Refused) else lost_column(view.layout, experiment.spec, verdict.spec)
    why = "; ".join(verdict.problems) if isinstance(verdict, Refused) else lost
    return f"edited, and runs the old values until this is mended: {why}" if why else ""
