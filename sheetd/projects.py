"""Which of the sheets of a sheetd.toml a person means: by its name, or by the id of an experiment, which is in one.

Ids are drawn at random and so unique over all sheets; a person may copy one into another sheet all the same, and is
asked then. Looks into journals, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sheetd.config import Settings
from sheetd.core.model import ExperimentId, row_of
from sheetd.core.state import State
from sheetd.errors import JournalError, SheetdError
from sheetd.journal import JOURNAL_NAME, JournalReader
from sheetd.sheet_settings import PROJECTS

NAMED_MAX = 5


def projects_of(settings: Settings, sheet: str | None = None) -> tuple[Settings, ...]:
    """Those of all sheets, or of the one that is named. Raises SheetdError when there is none of this name."""
    if sheet is None:
        return settings.projects
    found = tuple(one for one in settings.projects if one.sheet.name.casefold() == sheet.strip().casefold())
    if not found:
        raise SheetdError(f"there is no sheet {sheet} in {settings.path}: it names {_names(settings.projects)}")
    return found


def project_of(settings: Settings, sheet: str | None = None) -> Settings:
    """The named one, or the only one. Raises SheetdError when there are several and none is named."""
    found = projects_of(settings, sheet)
    if len(found) > 1:
        raise SheetdError(f"{settings.path} has several sheets: say which with --sheet, one of {_names(found)}")
    return found[0]


def project_with(settings: Settings, id_: str, sheet: str | None = None) -> Settings:
    """The one that has this experiment. Raises SheetdError when none of several has it, or more than one."""
    found = projects_of(settings, sheet)
    if len(found) == 1:
        return found[0]  # whoever looks for the id there says what is known
    having = [one for one in found if has(one, id_)]
    if not having:
        raise SheetdError(f"there is no experiment {id_} in any of {_names(found)}: see `sheetd ls`")
    if len(having) > 1:
        raise SheetdError(f"{id_} is in several sheets: say which with --sheet, one of {_names(having)}")
    return having[0]


def has(project: Settings, id_: str) -> bool:
    """Whether this project has recorded the experiment, its row, or a row that was not accepted yet."""
    try:
        reader = JournalReader(project.state_dir)
    except JournalError:
        return False  # no daemon has served it yet
    own = ExperimentId(id_)
    if any(reader.events(experiment=one) for one in dict.fromkeys((own, row_of(own)))):
        return True
    view = reader.view("sheet")
    return view is not None and id_ in view.value.get("drafts", {})


def left_behind(settings: Settings) -> Iterator[str]:
    """Of sheets that were taken out of the file while they had something on hosts: whose, what, and what to do."""
    folders = {sheet.folder for sheet in settings.sheets}
    for journal in sorted((settings.daemon.state_dir / PROJECTS).glob(f"*/{JOURNAL_NAME}")):
        name = journal.parent.name
        if f"{PROJECTS}/{name}" not in folders and (left := _left_in(journal.parent)):
            yield (
                f'the sheet "{name}" is not in {settings.path} any more, and nobody looks after what it had on hosts:'
                f" {left}. Put it back until that has ended, or to stop it"
            )


def _left_in(folder: Path) -> str:
    """The ids that live by this journal, or why they are not known."""
    state = State()
    try:
        for recorded in JournalReader(folder).events():
            state.apply(recorded.event, 0.0)
    except JournalError as error:
        return str(error)
    live = sorted(state.live.values())
    return ", ".join(live[:NAMED_MAX]) + (f" and {len(live) - NAMED_MAX} more" if len(live) > NAMED_MAX else "")


def _names(projects: tuple[Settings, ...] | list[Settings]) -> str:
    return ", ".join(project.sheet.name for project in projects)
