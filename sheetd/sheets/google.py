"""One tab of a spreadsheet through the Sheets API: Google's own, or the built-in sheet that speaks it. The only
gspread, with `transport`.

An idle cycle is one request and, when the bytes of the answer are those of last time, no work at all. A changing cycle
is one more: an atomic batchUpdate that is answered with the tab as it is afterwards, so a write that hit the wrong row
is seen at once.

A tab is known by its numeric id from the first read on; its title is only how ranges are spelled, so it may be renamed.
Must not use row numbers of an older grid, the Drive API, `values.*` calls, or anything that parses text as if typed.
Weak: that an answer shows exactly the state after the write is undocumented; a later state costs a needless repair, and
the next read covers the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gspread.exceptions import NoValidUrlKeyFound
from gspread.http_client import ParamsType
from gspread.urls import SPREADSHEET_BATCH_UPDATE_URL, SPREADSHEET_URL
from gspread.utils import extract_id_from_url

from sheetd.core.colours import Dress
from sheetd.core.grid import CellUpdate, CellValue, Grid, SheetWrite
from sheetd.errors import SheetRefused, SheetUnavailable
from sheetd.sheets import wire
from sheetd.sheets.answers import GridParser, digest_of
from sheetd.sheets.dressing import DRESS_FIELDS, dress_ranges, installed, missing_requests, trimmed
from sheetd.sheets.quota import Quotas
from sheetd.sheets.signin import SHEETS, GoogleSession, account_of
from sheetd.sheets.transport import USER_AGENT, RangeRefused, SheetHTTPClient, loopback_session

T = TypeVar("T")


def open_google(
    url: str,
    tab: str,
    credentials: Path,
    *,
    quotas: Quotas | None = None,
    now_s: Callable[[], float] = time.monotonic,
) -> GoogleSheet:
    """A tab of a Google spreadsheet, by its address or its key, with a key file, a sign-in or "application-default".
    Sends nothing yet. Sheets that are given the same `quotas` keep to one quota for each account.

    Raises SheetRefused when the address or the credentials cannot be used.
    """
    try:
        key = extract_id_from_url(url) if "/" in url else url
    except NoValidUrlKeyFound as error:
        raise SheetRefused(f"{url} is not the address of a Google spreadsheet: copy it from the browser") from error
    return GoogleSheet(google_client(credentials, quotas=quotas, now_s=now_s), key, tab)


def google_client(
    credentials: Path,
    scopes: Sequence[str] = (SHEETS,),
    *,
    quotas: Quotas | None = None,
    now_s: Callable[[], float] = time.monotonic,
) -> SheetHTTPClient:
    """Google's API for whoever the credentials are of (`signin.account_of`). Sends nothing yet; raises SheetRefused."""
    account = account_of(credentials, scopes)
    session = GoogleSession(account)
    session.headers["User-Agent"] = USER_AGENT
    quota = (quotas or Quotas()).of(account.email or str(credentials))
    client = SheetHTTPClient(
        session, identity=account.email, renew=account.renew, quota=quota.buckets, meter=quota.meter, now_s=now_s
    )
    session.hear(client.note_date)
    return client


def open_builtin(base_url: str, token: str, key: str, tab: str) -> GoogleSheet:
    """A tab of a built-in sheet that runs on this machine. Its quota is the machine's own."""
    return GoogleSheet(SheetHTTPClient(loopback_session(base_url, token), base_url=base_url), key, tab)


class GoogleSheet:
    """The `Sheet` of `ports`. Belongs to one thread; only `close` may be called from another."""

    def __init__(self, client: SheetHTTPClient, key: str, tab: str) -> None:
        self.client = client
        self.key = key
        self._title = tab
        self._tab_id: int | None = None
        self._parser = GridParser()
        #: Stands for the last answer: a large tab's would be as large as everything that is made of it.
        self._digest = b""
        self._grid: Grid | None = None

    def beside(self, tab: str) -> GoogleSheet:
        """Another tab of the same spreadsheet, over the same connection and within the same quota."""
        return GoogleSheet(self.client, self.key, tab)

    def read(self) -> Grid:
        """The whole tab in one request; the same object while nothing changed."""
        body = self._get_range()
        digest = digest_of(body)
        if digest == self._digest and self._grid is not None:
            return self._grid
        grid = self._parsed(body)
        if grid is None or self._is_another(grid):
            # The title belongs to another tab by now.
            self._title = self._title_now()
            body = self._get_range()
            digest = digest_of(body)
            grid = self._parsed(body)
        if grid is None or self._is_another(grid):
            raise SheetUnavailable("the tab was renamed while it was read")
        self._digest = digest
        return self._keep(grid)

    def write(self, write: SheetWrite) -> Grid:
        """One atomic request, answered by the tab as it is afterwards; an empty write is a read.

        Raises SheetUnavailable when the outcome is unknown, SheetRefused when nothing was applied, ValueError for a
        write made from another tab's grid. A claim that is another's by now is refused, or the answer shows whose it
        is: which of the two Google does has not been measured.
        """
        if self._tab_id is not None and write.tab_id != self._tab_id:
            raise ValueError(f"a write for tab {write.tab_id} was given to tab {self._tab_id}")
        demands = wire.write_requests(write)
        if not demands:
            return self.read()

        def send(title: str) -> bytes:
            return self._post(wire.batch_with_answer(demands, title), wire.WRITE_FIELDS)

        if write.claim is None:
            return self._answered(self._addressed(send))
        try:
            body = send(self._title)
        except RangeRefused:
            # The server may have applied it all the same, and a claim that went through is refused the second time.
            grid = self.read()
            if grid.claim == write.claim.new:
                return grid
            if grid.claim != write.claim.old:
                raise SheetUnavailable("the tab was renamed and claimed by another while it was written") from None
            body = send(self._title)
        return self._answered(body)

    def _answered(self, body: bytes) -> Grid:
        """The tab that a write was answered with, else the tab as it is read."""
        try:
            grid = self._parsed(body)
            if grid is None or self._is_another(grid):
                return self.read()
        except SheetRefused as error:
            # Refused would mean that nothing was applied.
            raise SheetUnavailable(f"the sheet was written, but {error}") from error
        # The body of the last read stands for an older grid from here on, even if its bytes come again.
        self._digest = b""
        return self._keep(grid)

    def dress(self, dress: Dress) -> bool:
        """Send what is missing of colours, dropdowns, protection and header. One read, and one write if there is
        something.
        """
        body = self._addressed(lambda title: self._get(dress_ranges(dress, title), DRESS_FIELDS))
        try:
            now = installed(self._document(body)["sheets"][0])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise SheetUnavailable(f"the sheet's server answered in an unknown form ({error!r})") from error
        if now.tab_id != dress.tab_id or self._header_moved(now.header):
            return False
        demands = missing_requests(now, dress)
        if demands:
            self._post({"requests": demands}, "spreadsheetId")
        return bool(demands)

    def create_tab_if_missing(self, columns: int = 26) -> bool:
        """Add the tab when the spreadsheet has none of that title. True when it was added."""
        tabs = list(self.tabs())
        if any(self._title == title or self._tab_id == id_ for id_, title in tabs):
            return False
        self._tab_id, self._grid, self._digest = None, None, b""  # one of ours that somebody has deleted
        size = {"rowCount": 1000, "columnCount": max(26, columns), "frozenRowCount": 1}
        added = {"addSheet": {"properties": {"title": self._title, "gridProperties": size}}}
        self._post({"requests": [added]}, "spreadsheetId")
        return True

    def make_room(self, rows: int, columns: int) -> None:
        """Make the grid at least so large. Nothing in it changes."""
        grid = self.read()
        lacking = {"ROWS": rows - grid.row_count, "COLUMNS": columns - grid.column_count}
        demands = [
            {"appendDimension": {"sheetId": grid.tab_id, "dimension": dimension, "length": length}}
            for dimension, length in lacking.items()
            if length > 0
        ]
        if demands:
            self._post({"requests": demands}, "spreadsheetId")

    def write_header(self, headers: Sequence[str]) -> bool:
        """Put these headers into row 1 of an empty tab. False, with nothing written, when anything is there."""
        grid = self.read()
        if grid.rows:
            return False
        if grid.column_count < len(headers):
            more = {"sheetId": grid.tab_id, "dimension": "COLUMNS", "length": len(headers) - grid.column_count}
            self._post({"requests": [{"appendDimension": more}]}, "spreadsheetId")
        updates = tuple(CellUpdate(row=0, column=column, value=text) for column, text in enumerate(headers))
        self.write(SheetWrite(tab_id=grid.tab_id, updates=updates))
        return True

    def append_rows(self, rows: Sequence[Sequence[CellValue]]) -> None:
        """What a person has typed elsewhere, as typed cells below the last row in use. One atomic request, which
        overwrites nothing, whoever else writes.

        Never sent twice: SheetUnavailable with "outcome unknown" means that the rows may be there.
        """
        if self._tab_id is None:
            self.read()
        # The answer is not asked for the tab: a range whose tab was just renamed would have the request sent anew.
        self._post({"requests": [wire.append_cells(self._tab_id or 0, rows)]}, "spreadsheetId")

    def add_headers(self, grid: Grid, column: int, headers: Sequence[str]) -> None:
        """Put these headers into row 1 from an unused column on, which is added where the tab ends before it."""
        lacking = column + len(headers) - grid.column_count
        more = {"sheetId": grid.tab_id, "dimension": "COLUMNS", "length": lacking}
        demands: list[wire.Json] = [{"appendDimension": more}] if lacking > 0 else []
        demands.append(wire.update_cells(grid.tab_id, wire.Block(0, column, (tuple(headers),))))
        self._post({"requests": demands}, "spreadsheetId")

    def close(self) -> None:
        """Ends any waiting between retries; later calls raise SheetUnavailable."""
        self.client.close()

    def _keep(self, grid: Grid) -> Grid:
        """Remember the newest grid, as the same object where nothing changed."""
        self._tab_id = grid.tab_id
        self._title = grid.title
        if self._grid is None or grid != self._grid:
            self._grid = grid
        return self._grid

    def _header_moved(self, header: tuple[str, ...]) -> bool:
        """Whether columns are no longer where the last grid had them: then the next cycle dresses the tab."""
        if self._grid is None or not self._grid.rows:
            return False
        return header != trimmed(cell.shown for cell in self._grid.rows[0])

    def _is_another(self, grid: Grid) -> bool:
        return self._tab_id is not None and grid.tab_id != self._tab_id

    def _get_range(self) -> bytes:
        return self._addressed(lambda title: self._get([wire.quote_title(title)], wire.READ_FIELDS))

    def _addressed(self, ask: Callable[[str], T]) -> T:
        """Ask by title; where the API does not know it any more, look the tab up by its id and ask again."""
        try:
            return ask(self._title)
        except RangeRefused:
            self._title = self._title_now()
            # Also a write: it was refused as a whole, and would set the same values if it were not.
            return ask(self._title)

    def _title_now(self) -> str:
        """The tab's present title. Raises SheetRefused when there is no such tab."""
        tabs = self.tabs()
        for tab_id, title in tabs:
            if tab_id == self._tab_id or (self._tab_id is None and title == self._title):
                return title
        names = ", ".join(repr(title) for _, title in tabs)
        if self._tab_id is None:
            raise SheetRefused(
                f"there is no tab {self._title!r}, only {names}: name one of these in the settings, or rename it"
            )
        raise SheetRefused(
            f"the tab {self._title!r} was deleted (there are {names}): bring it back with undo or the version history, "
            "or restart sheetd to begin with a new one"
        )

    def tabs(self) -> list[tuple[int, str]]:
        """Id and title of each tab, as they stand in the spreadsheet. One request."""
        document = self._document(self._get([], wire.TABS_FIELDS))
        properties = [sheet.get("properties", {}) for sheet in document.get("sheets", [])]
        return [(tab.get("sheetId", 0), tab.get("title", "")) for tab in properties]

    def _get(self, ranges: list[str], fields: str) -> bytes:
        params: ParamsType = {"ranges": ranges, "fields": fields, "prettyPrint": "false"}
        return self.client.request("get", SPREADSHEET_URL % self.key, params=params).content

    def _post(self, body: wire.Json, fields: str) -> bytes:
        params: ParamsType = {"fields": fields, "prettyPrint": "false"}
        url = SPREADSHEET_BATCH_UPDATE_URL % self.key
        return self.client.request("post", url, params=params, json=body).content

    def _parsed(self, body: bytes) -> Grid | None:
        try:
            answer = self._parser.parse(body, self._tab_id)
        except ValueError as error:
            raise SheetUnavailable(f"{_NOT_THE_SHEET} ({str(error)[:100]})") from error
        self._check_key(answer.spreadsheet_id)
        return answer.grid

    def _document(self, body: bytes) -> dict[str, Any]:
        try:
            document = json.loads(body)
            self._check_key(document["spreadsheetId"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SheetUnavailable(f"{_NOT_THE_SHEET} ({str(error)[:100]})") from error
        return dict(document)

    def _check_key(self, key: str) -> None:
        if key != self.key:
            raise SheetUnavailable(f"{_NOT_THE_SHEET} (it names the spreadsheet {key!r})")


_NOT_THE_SHEET = "something answered in place of the sheet: a captive portal or a proxy?"
