"""As much of Drive v3 as gspread needs: spreadsheets as files to list, make, copy and delete, and who may see them.

There is one user, the owner of this machine's token. Permissions are kept and answered so that `share` works, and grant
nothing: whoever has no token gets nothing, whatever a permission says. `version` is the revision of the spreadsheet.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

from starlette.responses import Response

from sheetd.sheets.builtin.calls import Call
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.fields import ANYTHING, cut, parse_mask
from sheetd.sheets.builtin.model import Spreadsheet
from sheetd.sheets.builtin.problems import ApiError, allow_only, invalid, text, unimplemented

MIME_TYPE = "application/vnd.google-apps.spreadsheet"
_OWNER = {"kind": "drive#permission", "id": "owner", "type": "user", "role": "owner", "emailAddress": "you@localhost"}
_CLAUSE = re.compile(
    r"""\s*(?:(?P<name>mimeType|name|trashed)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|true|false)
    |parents\s+in\s+(?P<folder>"[^"]*"|'[^']*'))\s*(?P<and>and\b|$)""",
    re.VERBOSE | re.IGNORECASE,
)


def time_text(milliseconds: int) -> str:
    """RFC 3339, as Drive writes it: 2024-02-29T12:00:00.000Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def _file(call: Call, book: Spreadsheet) -> dict[str, Any]:
    return {
        "kind": "drive#file",
        "id": book.key,
        "name": book.title,
        "mimeType": MIME_TYPE,
        "version": str(book.rev),
        "createdTime": time_text(book.created_ms),
        "modifiedTime": time_text(book.modified_ms),
        "trashed": False,
        "webViewLink": call.spreadsheet_url(book.key),
    }


def _answer(call: Call, answer: dict[str, Any], default: tuple[str, ...] = ()) -> dict[str, Any]:
    """Cut to `fields`; without it Drive answers a few fields only."""
    mask = parse_mask(call.query.get("fields"), ANYTHING)
    if mask is None and default:
        return {name: answer[name] for name in default if name in answer}
    shortened: dict[str, Any] = cut(answer, mask)
    return shortened


_SHORT = ("kind", "id", "name", "mimeType")


def list_files(call: Call) -> Any:
    """GET files: all spreadsheets that `q` selects, on one page."""
    books = call.store.spreadsheets()
    wanted = _query(call.query.get("q", ""))
    files = [_file(call, book) for book in books]
    files = [item for item in files if all(str(item[name]).lower() == value.lower() for name, value in wanted)]
    if "fields" not in call.query:
        files = [{name: item[name] for name in _SHORT} for item in files]
    return _answer(call, {"kind": "drive#fileList", "incompleteSearch": False, "files": files})


def _query(text_: str) -> list[tuple[str, str]]:
    clauses, at = [], 0
    while at < len(text_):
        match = _CLAUSE.match(text_, at)
        if match is None:
            raise invalid(f"Invalid Value: q={text_}")
        if match["folder"]:
            raise unimplemented("folders of Drive files")
        value = match["value"]
        clauses.append((match["name"], re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "\"'" else value))
        at = match.end()
    return clauses


def get_file(call: Call) -> Any:
    """GET files/{id}."""
    return _answer(call, _file(call, call.store.snapshot(call.path["key"])), _SHORT)


def _name_of(call: Call, default: str) -> str:
    given = call.body if isinstance(call.body, dict) else {}
    if given.get("mimeType", MIME_TYPE) != MIME_TYPE:
        raise unimplemented(f"Drive files of type {given['mimeType']!r}")
    if given.get("parents"):
        raise unimplemented("folders of Drive files")
    return text(given.get("name") or default, "name")


def create_file(call: Call) -> Any:
    """POST files: a new spreadsheet."""
    key = call.store.create_spreadsheet(_name_of(call, "Untitled"))
    return _answer(call, _file(call, call.store.snapshot(key)), _SHORT)


def copy_file(call: Call) -> Any:
    """POST files/{id}/copy."""
    source = call.store.snapshot(call.path["key"])
    key = call.store.create_spreadsheet(_name_of(call, f"Copy of {source.title}"), sheets=source.sheets)
    change = {"named_ranges": source.named_ranges, "next_object": source.next_object, "metadata": source.metadata}
    call.store.transact(key, "api", ("copy",), lambda draft: draft.change(**change))
    return _answer(call, _file(call, call.store.snapshot(key)), _SHORT)


def delete_file(call: Call) -> Any:
    """DELETE files/{id}: gone at once, there is no bin."""
    call.store.delete_spreadsheet(call.path["key"])
    return Response(status_code=204)


def update_file(call: Call) -> Any:
    """PATCH files/{id}: rename."""
    given = allow_only(call.body, frozenset({"name", "mimeType"}), "body")
    key = call.path["key"]
    title = text(given.get("name") or call.store.snapshot(key).title, "name")
    call.store.transact(key, "api", ("rename",), lambda draft: draft.change(title=title))
    return _answer(call, _file(call, call.store.snapshot(key)), _SHORT)


def list_permissions(call: Call) -> Any:
    """GET files/{id}/permissions."""
    book = call.store.snapshot(call.path["key"])
    return _answer(call, {"kind": "drive#permissionList", "permissions": [_OWNER, *book.permissions]})


_PERMISSION = frozenset({"type", "role", "emailAddress", "domain", "withLink", "allowFileDiscovery", "kind", "id"})


def create_permission(call: Call) -> Any:
    """POST files/{id}/permissions: remembered, never granted."""
    given = allow_only(call.body, _PERMISSION, "body")
    given.pop("withLink", None)
    for name in ("type", "role"):
        text(given.get(name), name)

    def change(draft: Draft) -> dict[str, Any]:
        made = {**given, "kind": "drive#permission", "id": str(draft.object_id())}
        draft.change(permissions=(*draft.book.permissions, made))
        return made

    made = call.store.transact(call.path["key"], "api", ("permission",), change).result
    return _answer(call, made or {})


def delete_permission(call: Call) -> Any:
    """DELETE files/{id}/permissions/{permission}."""
    wanted = call.path["permission"]

    def change(draft: Draft) -> None:
        left = tuple(item for item in draft.book.permissions if item["id"] != wanted)
        if len(left) == len(draft.book.permissions):
            raise ApiError(404, f"Permission not found: {wanted}.")
        draft.change(permissions=left)

    call.store.transact(call.path["key"], "api", ("permission",), change)
    return Response(status_code=204)


def comments(call: Call) -> Any:
    """GET files/{id}/comments: there are none; gspread asks when it copies."""
    call.store.snapshot(call.path["key"])
    return _answer(call, {"kind": "drive#commentList", "comments": []})


def refused(call: Call) -> Any:
    """Upload and export."""
    raise unimplemented(f"Drive's {call.path['rest'].rpartition('/')[2] or 'upload'}")
