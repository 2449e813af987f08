"""The little of Drive that `sheetd doctor` and `sheetd init` need: who may open a sheet, and to share a new one.

The daemon never calls it: its sign-in does not reach that far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sheetd.errors import SheetUnavailable
from sheetd.sheets.transport import DRIVE_FILES_URL, SPREADSHEETS_URL, SheetHTTPClient

_PAGES_MAX = 20


@dataclass(frozen=True, slots=True)
class Permission:
    """`whom` is Drive's type: user, group, domain or anyone. `role` is reader, commenter, writer or owner."""

    whom: str
    role: str
    domain: str = ""

    @property
    def may_edit(self) -> bool:
        return self.role not in ("reader", "commenter")


def permissions(client: SheetHTTPClient, key: str) -> list[Permission]:
    """Who may open the spreadsheet. Raises SheetError, for a sign-in that may not look as well."""
    found: list[Permission] = []
    params: dict[str, Any] = {
        "fields": "nextPageToken,permissions(type,role,domain)",
        "pageSize": 100,
        "supportsAllDrives": "true",
    }
    for _ in range(_PAGES_MAX):
        answer = _asked(client, "get", f"{DRIVE_FILES_URL}/{key}/permissions", params=params)
        told = answer.get("permissions", [])
        found += [Permission(str(one.get("type")), str(one.get("role")), str(one.get("domain", ""))) for one in told]
        if not answer.get("nextPageToken"):
            break
        params["pageToken"] = answer["nextPageToken"]
    return found


def share(client: SheetHTTPClient, key: str, email: str) -> None:
    """Make this address an editor; Google writes to it. Raises SheetError."""
    body = {"type": "user", "role": "writer", "emailAddress": email}
    _asked(client, "post", f"{DRIVE_FILES_URL}/{key}/permissions", body=body, params={"fields": "id"})


def create_spreadsheet(client: SheetHTTPClient, title: str, tab: str) -> str:
    """A new spreadsheet with one empty tab; its key. Raises SheetError."""
    body = {"properties": {"title": title}, "sheets": [{"properties": {"title": tab}}]}
    answer = _asked(client, "post", SPREADSHEETS_URL, body=body, params={"fields": "spreadsheetId"})
    return str(answer["spreadsheetId"])


def _asked(
    client: SheetHTTPClient, method: str, url: str, *, params: dict[str, Any], body: Any = None
) -> dict[str, Any]:
    answer = client.request(method, url, params=params, json=body)
    try:
        return dict(answer.json())
    except (ValueError, TypeError) as error:
        raise SheetUnavailable("something answered in place of Google: a captive portal or a proxy?") from error
