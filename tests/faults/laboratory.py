"""The real core over the real adapter, over HTTP, before a built-in sheet; hosts and time are the story's own.

A `Lab` has a spreadsheet of its own, a person in front of it, and a daemon's core that reads and writes it. In a lab
with a `Between` the adapter is the one for Google: it signs in with a key file, and everything between it and the sheet
can fail as it does at Google.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tenacity.wait import wait_none

from sheetd.core import effect as fx
from sheetd.core.absorb import News
from sheetd.core.model import AttemptId, Phase
from sheetd.core.views import sheet_view
from sheetd.effects import Ports, carry_out
from sheetd.sheets.google import GoogleSheet, open_google
from tests.core.story import Story, Table
from tests.faults.people import HEADER, TAB, Person
from tests.sheets.builtin_rig import Address
from tests.sheets.key_file import key_file
from tests.sheets.unruly import Forward, Move, Reply, UnrulyServer, google_error, serving

#: Long enough for a row to be read, named, confirmed, accepted, launched and shown.
SOON_S = 12.0
PROTECTED = google_error(
    400, "You are trying to edit a protected cell or object. Please contact the spreadsheet owner to remove protection"
)


class SheetStory(Story):
    """A story whose sheet is a port: what it raises becomes an outcome as in the daemon."""

    def __init__(self, sheet: GoogleSheet, **told: Any) -> None:
        unused = cast("Any", None)
        self.ports = Ports(sheet=sheet, hosts={}, journal=unused, snapshots=unused, secret=str)
        super().__init__(table=cast("Table", sheet), **{"hosts": {"alpha": 20}, **told})
        self.meddle = nothing

    def _sheet(self, effect: fx.ReadSheet | fx.WriteSheet | fx.DressSheet) -> News:
        return carry_out(effect, self.ports)


class Between(UnrulyServer):
    """Stands between the adapter and the sheet, and is the token endpoint too. Passes on what it was not told about."""

    def __init__(self, address: Address) -> None:
        super().__init__([], behind=address.base_url.removeprefix("http://"))
        self.address = address
        #: The next moves for requests of each kind, and what is done about all the others.
        self.reads: list[Move] = []
        self.writes: list[Move] = []
        self.tokens: list[Move] = []
        self.otherwise: Move = Forward()
        #: Whether somebody has protected our columns: every write that holds a cell is refused, all of it.
        self.is_protected = False

    def next_move(self, method: str, path: str, body: bytes) -> Move:
        if path == "/token":
            return self.tokens.pop(0) if self.tokens else self.token()
        if self.is_protected and (b'"updateCells"' in body or b'"findReplace"' in body):
            return PROTECTED
        moves = self.reads if method == "GET" else self.writes
        return moves.pop(0) if moves else self.otherwise

    def token(self, token: str = "", lives_s: int = 3600) -> Reply:
        return Reply(body={"access_token": token or self.address.token, "expires_in": lives_s})

    def kinds(self) -> list[str]:
        """What has arrived, in order, as words."""
        words = {"GET": "read", "POST": "write"}
        return ["sign in" if path == "/token" else words[method] for method, path, _ in self.seen]


@dataclass
class Lab:
    address: Address
    person: Person
    sheet: GoogleSheet
    story: SheetStory
    #: None where nothing stands between the adapter and the sheet.
    between: Between | None = None

    @property
    def faults(self) -> Between:
        assert self.between is not None
        return self.between

    def wait(self, seconds: float = SOON_S, step_s: float = 1.0) -> None:
        self.story.wait(seconds, step_s)

    def running(self, *names: str) -> list[str]:
        """Rows that run already; their ids."""
        self.person.type_all({name: {"template": "train", "lr": f"0.{number}"} for number, name in enumerate(names, 1)})
        self.wait()
        assert self.person.status(*names) == ["running"] * len(names)
        return self.ids(*names)

    def ids(self, *names: str) -> list[str]:
        rows = self.person.rows()
        return [rows[name]["id"] for name in names]

    def phase(self, id_: str) -> Phase:
        return self.story.experiment_by(id_).phase

    @property
    def problem(self) -> str:
        """What `sheetd status` says of the sheet."""
        return str(sheet_view(self.story.world)["problem"])

    @property
    def attempts(self) -> list[AttemptId]:
        """Everything that hosts have started."""
        return self.story.attempts_started()

    @property
    def stops(self) -> list[fx.Effect]:
        return self.story.asked(fx.Stop)

    def before_the_next(self, kind: type[fx.Effect], act: Callable[[], object]) -> None:
        """Once, after such an effect was decided on and before it is carried out."""
        self._before(lambda effect: isinstance(effect, kind), act)

    def before_the_write_of(self, header: str, act: Callable[[], object]) -> None:
        """Once, between a read of ours and the write that follows from it and puts something into this column."""

        def is_meant(effect: fx.Effect) -> bool:
            view = self.story.world.sheet
            place = None if view is None else view.layout.position(header)
            return isinstance(effect, fx.WriteSheet) and any(
                update.column == place and update.value is not None for update in effect.write.updates
            )

        self._before(is_meant, act)

    def _before(self, is_meant: Callable[[fx.Effect], bool], act: Callable[[], object]) -> None:
        def meddle(effect: fx.Effect) -> None:
            if is_meant(effect):
                self.story.meddle = nothing
                act()

        self.story.meddle = meddle

    def nobody_meddled(self) -> bool:
        """Whether what was to happen in between has still not happened."""
        return self.story.meddle is not nothing


def nothing(_effect: fx.Effect) -> None:
    """What people do in between, when they do not."""


def new_spreadsheet(base_url: str, token: str) -> tuple[Address, Person]:
    """One with a tab of experiments whose header a person has typed."""
    made = Address(base_url, token, "").client()
    answer = made.request("post", f"{base_url}/v4/spreadsheets", json={"properties": {"title": "Lab"}}).json()
    made.close()
    address = Address(base_url, token, answer["spreadsheetId"])
    person = Person(address, "Sheet1")
    person.rename_tab(TAB)
    person.tab.update([list(HEADER)], "A1")
    return address, person


@contextmanager
def lab_of(base_url: str, token: str, **told: Any) -> Iterator[Lab]:
    """The adapter speaks to the built-in sheet."""
    address, person = new_spreadsheet(base_url, token)
    sheet = address.open(TAB)
    try:
        yield Lab(address, person, sheet, SheetStory(sheet, **told))
    finally:
        person.close()
        sheet.close()


@contextmanager
def google_between(base_url: str, token: str, folder: Path) -> Iterator[tuple[Person, GoogleSheet, Between]]:
    """A person at the built-in sheet, and an adapter that believes that it speaks to Google."""
    address, person = new_spreadsheet(base_url, token)
    with serving(Between(address)) as between:
        sheet = open_google(address.key, TAB, key_file(folder / "key.json", f"{between.base_url}/token"))
        client = sheet.client
        google = "https://sheets.googleapis.com"
        client._redirected = lambda endpoint: endpoint.replace(google, between.base_url)  # type: ignore[method-assign]
        # Seconds pass in the story only.
        client._jitter = wait_none()  # type: ignore[assignment]
        client._quota = {}
        try:
            yield person, sheet, between
        finally:
            person.close()
            sheet.close()


@contextmanager
def lab_with_faults(base_url: str, token: str, folder: Path, **told: Any) -> Iterator[Lab]:
    """A lab whose adapter believes that it speaks to Google."""
    with google_between(base_url, token, folder) as (person, sheet, between):
        yield Lab(person.address, person, sheet, SheetStory(sheet, **told), between)
