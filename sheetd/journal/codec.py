"""Events to text and back.

What was written once must load for ever, and what cannot be loaded must never be written: `encode` reads its own text
back before it lets it through, so that one malformed value cannot make a journal that no daemon can open.

Writing is done by hand and reading by pydantic. Not pydantic both ways: its JSON writer turns True into 1 in a field
that may be a number or a boolean, and a flag would come back as a number.

Weak point: an event from a newer sheetd is refused whole, even if the field that is new to us would not matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sheetd.core.events import Event
from sheetd.errors import JournalError

#: Grows when the meaning of an event's text changes so much that an older sheetd must not read it.
VERSION = 1

_EVENT: TypeAdapter[Event] = TypeAdapter(
    Annotated[Event, Field(discriminator="kind")],
    config=ConfigDict(extra="forbid", allow_inf_nan=True),
)
_NEWER = ("union_tag_invalid", "unexpected_keyword_argument", "extra_forbidden")


def encode(event: Event) -> str:
    """The event as JSON text. Raises JournalError when this text could not be read back."""
    try:
        text = json.dumps(_plain(event), ensure_ascii=False, separators=(",", ":"))
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise JournalError(f"{type(event).__name__} cannot be recorded: {error}") from error
    try:
        decode(text, VERSION)
    except JournalError as error:
        raise JournalError(
            f"{type(event).__name__} would not be readable again, so it was not recorded: {error}"
        ) from error
    return text


def decode(text: str, version: int) -> Event:
    """The event that `encode` was given. Raises JournalError when it is damaged or comes from a newer sheetd."""
    if version > VERSION:
        raise JournalError(
            f"the journal is from a newer sheetd: it holds events of version {version} and this sheetd knows"
            f" versions up to {VERSION}. Start the newer sheetd again"
        )
    try:
        return _EVENT.validate_json(text)
    except ValidationError as error:
        raise JournalError(_explained(error)) from error


def _explained(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "union_tag_invalid":
        where = f"the event {first['ctx']['tag']}"
    if first["type"] in _NEWER:
        return f"the journal is from a newer sheetd, which knows {where}. Start the newer sheetd again"
    return f"an event in it is damaged ({where or 'text'}: {first['msg']})"


def _plain(value: Any) -> Any:
    """Dataclasses, mappings, tuples and enums as what JSON has. The rest is left for `json` to accept or refuse."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
