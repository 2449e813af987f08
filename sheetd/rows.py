"""For scripts that queue rows: what `sheetd add`, `stop`, `restart` and `rerun` do, from Python.

    from sheetd import rows

    with rows.connect() as lab:
        lab.add(template="train", lr=0.1)
        added = lab.add_many({"lr": lr, "steps": 100} for lr in (0.1, 0.01))
        print(lab.wait(added))  # the ids that the daemon gave them

It types on a person's behalf: into parameter and control columns only, below the last row in use, as typed values.
Nothing runs before the daemon has taken the row in, which it does as with any other row. Errors are `SheetdError`s.
With one from `add`, nothing was typed unless it says otherwise, as where the outcome is unknown.

Weak: a person who moves columns in the second between our read and our write gets the values under other headers. It is
seen at once and said; rows are added by one request that cannot be made to depend on the header.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from sheetd.build import starter_header, usable_templates
from sheetd.config import Settings, default_config_path, load_settings
from sheetd.core.events import AttemptAdopted, Event, IdAssigned, RowAccepted, SweepExpanded
from sheetd.core.grid import Grid
from sheetd.core.model import ExperimentId, Value, experiment_of, row_of
from sheetd.core.proposal import Proposal, propose
from sheetd.core.validation import Refused
from sheetd.door import KEY_NAME, knock, sheet_address
from sheetd.errors import JournalError, SheetdError, SheetRefused, SheetUnavailable
from sheetd.journal import JournalReader
from sheetd.journal.lock import holder_of
from sheetd.journal.requests import RequestStore
from sheetd.opening import Opener
from sheetd.projects import project_of, project_with, projects_of
from sheetd.sheets.google import GoogleSheet, open_builtin

#: How often the journal is looked at while somebody waits for ids: nothing wakes another process when it has grown.
LOOK_EVERY_S = 0.1
WAIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """Rows that were typed. By `fingerprints` and `after`, the journal's last event before, their ids are found."""

    rows: tuple[Mapping[str, Value | None], ...]
    fingerprints: tuple[str, ...]
    after: int
    #: Headers that were added to the sheet for them.
    headers: tuple[str, ...] = ()


def connect(config: Path | str | None = None, *, sheet: str | None = None) -> Lab:
    """The lab of a `sheetd.toml`; if none is given, of the one that `sheetd` on the command line would take.

    `sheet` names one of several sheets in it. Without it, only what is asked of an id can be done where there are
    several: the id says which. Raises ConfigError, and SheetdError when there is no such sheet.
    """
    return Lab(load_settings(Path(config) if config is not None else default_config_path()), sheet=sheet)


class Lab:
    """One configuration's sheets and journals, for `with`. Not for several threads at once."""

    def __init__(self, settings: Settings, *, sheet: str | None = None) -> None:
        self.settings = settings
        projects_of(settings, sheet)  # which says so when there is none of this name
        self._named = sheet
        self._stack = ExitStack()
        self._sheet: GoogleSheet | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._sheet = None
        self._stack.close()

    def add(self, /, **values: Value | None) -> Added:
        """Type one row. Names are parameters of its template, or template, where, gpus, priority, after, action."""
        return self.add_many([values])

    def add_many(
        self, rows: Iterable[Mapping[str, Value | None]], *, add_columns: bool = False, dry_run: bool = False
    ) -> Added:
        """Type any number of rows in one request: all of them, or none. `dry_run` only checks them.

        `add_columns` first adds the headers that they need and the sheet lacks.
        """
        wanted = tuple(dict(row) for row in rows)
        self._only()
        loaded = usable_templates(self.settings)
        sheet = self._connected()
        grid = sheet.read()
        proposal = propose(wanted, grid, loaded.templates, add_columns=add_columns)
        if isinstance(proposal, Refused):
            broken = f"\n({'; '.join(loaded.problems)})" if loaded.problems else ""
            raise SheetdError("nothing was added: " + "\n".join(proposal.problems) + broken)
        added = Added(
            rows=wanted, fingerprints=proposal.fingerprints, after=self._last_event(), headers=proposal.headers
        )
        if not dry_run:
            _type(sheet, grid, proposal)
        return added

    def wait(self, added: Added, *, timeout_s: float = WAIT_S) -> list[str]:
        """The ids of added rows, in their order, once the daemon has accepted them all.

        Raises SheetdError when no daemon runs, or when it has not accepted them in time, saying why it does not.
        """
        self._only()
        until_s = time.monotonic() + timeout_s
        while True:
            named, accepted = self._taken_in(added)
            if len(accepted) >= len(added.fingerprints):
                return _in_order(added, accepted)
            if not self._is_daemon_alive():
                raise SheetdError(
                    "the rows are in the sheet, and no daemon runs here that would take them in: start it, `sheetd run`"
                )
            if time.monotonic() >= until_s:
                why = "; ".join(dict.fromkeys(self._drafts_of(set(named) - set(accepted))))
                raise SheetdError(
                    f"the rows are in the sheet, but after {timeout_s:g} s the daemon has accepted {len(accepted)} of "
                    f"{len(added.fingerprints)}: {why or 'see `sheetd status`'}"
                )
            time.sleep(LOOK_EVERY_S)

    def stop(self, id_: str) -> None:
        """Ask for an experiment to be stopped, as the word `stop` in its action cell does; at once if a daemon runs.

        Raises SheetdError when none of this id was accepted.
        """
        self._ask("stop", id_)

    def restart(self, id_: str) -> None:
        """Likewise that it start again from its last checkpoint. What is asked already is not asked twice."""
        self._ask("restart", id_)

    def rerun(self, id_: str) -> None:
        """Likewise that it run again from nothing, with what its row says then."""
        self._ask("rerun", id_)

    def _ask(self, action: str, id_: str) -> None:
        project = project_with(self.settings, id_, self._named)
        reader = _reader_of(project)
        own, row = ExperimentId(id_), row_of(ExperimentId(id_))
        recorded = () if reader is None else (*reader.events(experiment=own), *reader.events(experiment=row))
        # A row that waits to be told so has an id, and is no experiment yet: rerun begins it.
        is_draft = action == "rerun" and any(isinstance(one.event, IdAssigned) for one in recorded)
        if not is_draft and not any(_brings(one.event, own) for one in recorded):
            raise SheetdError(f"there is no experiment {id_} to {action}: see `sheetd ls`")
        requests = RequestStore(project.state_dir)
        try:
            requests.ask_once(action, id_)
        finally:
            requests.close()
        knock(self.settings.daemon.state_dir)

    # --- the sheet ---------------------------------------------------------------------------------------------------

    def _only(self) -> Settings:
        """The sheet that rows are typed into. Raises SheetdError when it is not clear which."""
        return project_of(self.settings, self._named)

    def _connected(self) -> GoogleSheet:
        if self._sheet is None:
            self._sheet = self._served() or self._opened()
        return self._sheet

    def _served(self) -> GoogleSheet | None:
        """The built-in sheet that a daemon or `sheetd serve` has open; None when nobody has."""
        project = self._only()
        wanted = project.sheet
        if wanted.kind != "builtin":
            return None
        folder = self.settings.daemon.state_dir
        try:
            address, key = urlsplit(sheet_address(self.settings)), (folder / KEY_NAME).read_text().strip()
            (token,) = parse_qs(address.query)["token"]
        except (OSError, ValueError, KeyError):
            return None
        sheet = open_builtin(f"{address.scheme}://{address.netloc}", token, key, wanted.tab)
        try:
            sheet.read()
        except (SheetUnavailable, SheetRefused) as error:
            sheet.close()
            if holder_of(folder) is None:
                return None  # left by a daemon that was killed; its port may be anybody's by now
            if holder_of(project.state_dir) is None:
                raise SheetdError(
                    f"the sheet {wanted.name} is new: the daemon takes it when it is started again"
                ) from error
            raise
        self._stack.callback(sheet.close)
        return sheet

    def _opened(self) -> GoogleSheet:
        project = self._only()
        sheet = Opener(self._stack).open(project)
        if project.sheet.kind == "builtin":
            sheet.create_tab_if_missing()
            sheet.write_header(starter_header(project, usable_templates(project).templates))
        return sheet

    # --- the journal -------------------------------------------------------------------------------------------------

    def _reader(self) -> JournalReader | None:
        return _reader_of(self._only())

    def _last_event(self) -> int:
        reader = self._reader()
        return 0 if reader is None else reader.last_number()

    def _is_daemon_alive(self) -> bool:
        reader = self._reader()
        return reader is not None and reader.daemon() is not None

    def _taken_in(self, added: Added) -> tuple[dict[str, str], dict[str, str]]:
        """Rows that were given an id since, and of these the accepted ones: fingerprints by id."""
        reader = self._reader()
        left, named, accepted = Counter(added.fingerprints), {}, {}
        for recorded in () if reader is None else reader.events(after=added.after):
            event = recorded.event
            if isinstance(event, IdAssigned) and left[event.fingerprint] > 0:
                named[str(event.experiment)] = event.fingerprint
                left[event.fingerprint] -= 1
            elif (
                isinstance(event, RowAccepted | SweepExpanded) and named.get(str(event.experiment)) == event.fingerprint
            ):
                accepted[str(event.experiment)] = event.fingerprint
        return named, accepted

    def _drafts_of(self, ids: set[str]) -> list[str]:
        reader = self._reader()
        view = None if reader is None else reader.view("sheet")
        drafts = {} if view is None else view.value.get("drafts", {})
        return [f"{id_}: {draft['message']}" for id_, draft in drafts.items() if id_ in ids]


def _reader_of(project: Settings) -> JournalReader | None:
    try:
        return JournalReader(project.state_dir)
    except JournalError:
        return None  # no daemon has run here yet


def _brings(event: Event, id_: ExperimentId) -> bool:
    """Whether from this event on there is something with this id, a row's or that of one of its runs."""
    match event:
        case RowAccepted(experiment=known):
            return known == id_
        case SweepExpanded(experiment=known, begun=begun):
            return id_ in (known, *(member.id for member in begun))
        case AttemptAdopted(attempt=attempt):
            return id_ in (experiment_of(attempt), row_of(experiment_of(attempt)))
        case _:
            return False


def _type(sheet: GoogleSheet, grid: Grid, proposal: Proposal) -> None:
    width = max(map(len, grid.rows))
    if proposal.headers:
        sheet.add_headers(grid, width, proposal.headers)
    sheet.append_rows(proposal.rows)
    header = [cell.shown for cell in grid.rows[0]]
    header += [*[""] * (width - len(header)), *proposal.headers] if proposal.headers else []
    now = sheet.read()
    if [now.cell(0, column).shown for column in range(len(header))] != header:
        raise SheetdError(
            f"somebody changed the header while {len(proposal.rows)} row(s) were added: "
            "look at the last rows of the sheet, and delete them if their values are in wrong columns"
        )


def _in_order(added: Added, accepted: Mapping[str, str]) -> list[str]:
    by_fingerprint: dict[str, list[str]] = {}
    for id_, fingerprint in accepted.items():
        by_fingerprint.setdefault(fingerprint, []).append(id_)
    return [by_fingerprint[fingerprint].pop(0) for fingerprint in added.fingerprints]
