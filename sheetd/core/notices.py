"""What the row's message says before it tells how its experiment is: of what a person typed there, and of ourselves."""

from __future__ import annotations

from sheetd.core.colours import ACTIONS
from sheetd.core.intake import judgement, parents
from sheetd.core.live_edits import why_not_live
from sheetd.core.model import Experiment, Phase
from sheetd.core.rows import Row
from sheetd.core.validation import Refused, lost_column
from sheetd.core.world import World

#: These begin what has ended once more.
_BEGIN_AGAIN = frozenset({"run", "restart", "rerun", "resume"})


def halt(world: World, experiment: Experiment) -> str:
    """That nothing is done on hosts at the moment; empty otherwise."""
    if not world.halted or experiment.phase is Phase.ENDED:
        return ""
    return f"sheetd has stopped acting on hosts ({world.halted[:200]}): restart it, and report this if it comes back"


def notice(world: World, experiment: Experiment, row: Row | None) -> str:
    """What was deleted, chosen or edited there and is not, or not yet, what happens."""
    if experiment.missing_since_s is not None and experiment.phase is not Phase.ENDED:
        grace_min = world.limits.deleted_row_grace_s / 60
        return (
            f"its row was deleted: it is stopped after {grace_min:g} min, unless the row returns or somebody stops it"
        )
    if row is None:
        return ""
    if row.merged:
        return row.merged
    if row.action and row.action not in ACTIONS:
        return f'action "{row.action[:20]}" is not known: choose {", ".join(ACTIONS)}'
    return _of_its_word(world, experiment, row) or _of_its_edit(world, experiment, row)


def _of_its_word(world: World, experiment: Experiment, row: Row) -> str:
    begins = row.action == "rerun" or (row.action == "run" and experiment.id in world.state.sweeps)
    if begins and experiment.phase is Phase.ENDED and experiment.id in world.remarks:
        return f"cannot {row.action}: {world.remarks[experiment.id]}"
    is_consumed = world.state.consumed.get(experiment.id) == row.action
    if is_consumed and experiment.id in world.state.unobeyed:
        return world.state.unobeyed[experiment.id] or (
            f"{row.action} was there before and was not done again: empty the action cell before choosing it"
        )
    is_over = experiment.phase is Phase.ENDED and row.action in _BEGIN_AGAIN
    if is_over and is_consumed:
        return f"{row.action} was obeyed: empty the action cell before choosing it again"
    if begins and (why_not := _why_no_rerun(world, experiment, row)):
        return f"cannot {row.action}: {why_not}"
    return ""


def _why_no_rerun(world: World, experiment: Experiment, row: Row) -> str:
    if experiment.id not in world.judged or world.sheet is None:
        return ""
    _, verdict = world.judged[experiment.id]
    if isinstance(verdict, Refused):
        return "; ".join(verdict.problems)
    return parents(world, world.sheet, row, verdict).problem


def _of_its_edit(world: World, experiment: Experiment, row: Row) -> str:
    if row.fingerprint == world.state.fingerprints.get(experiment.id):
        return ""
    if experiment.id in world.state.sweeps:
        return "edited after it was accepted: choose run to add the runs that are missing, or rerun for all anew"
    if experiment.is_to_begin:
        return _why_not_revised(world, experiment, row)
    if world.sheet is not None and (why := why_not_live(world, world.sheet, experiment, row)):
        return why
    return "edited after it was accepted: it runs the old values, choose rerun for the new ones"


def _why_not_revised(world: World, experiment: Experiment, row: Row) -> str:
    """Of a row that has not begun: what it says now is what runs, once it can be."""
    if world.sheet is None or experiment.id not in world.state.edited:
        return "edited: read again as soon as it stays unchanged"
    verdict = judgement(world, world.sheet, experiment.id, row)
    if isinstance(verdict, Refused):
        why = "; ".join(verdict.problems)
    elif verdict.runs > 1:
        return (
            f"edited, and makes {verdict.runs:,} runs now: choose rerun to start them; until then it is one, as it was"
        )
    else:
        lost = lost_column(world.sheet.layout, experiment.spec, verdict.spec)
        why = lost or world.remarks.get(experiment.id, "") or parents(world, world.sheet, row, verdict).problem
    return f"edited, and runs the old values until this is mended: {why}" if why else "edited: its new values are taken"
