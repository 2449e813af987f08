"""A TOML file that a person wrote, into a checked model, with errors that send the person to the right line.

Used for sheetd.toml and for templates. It knows neither: a model says what may be there.

Weak point: TOML readers do not keep positions, so lines are found by a second, simpler look at the text. A key inside
an inline table is reported with the line of that table, and one inside a multi-line string could pass for a real one.
"""

from __future__ import annotations

import difflib
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from sheetd.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
#: Values under these keys are never repeated in an error text.
_PRIVATE = frozenset({"env", "token"})
#: What pydantic says of Python's types, in TOML's words.
_SHAPES = {
    "model_type": "a table, such as { name = value }",
    "mapping_type": "a table, such as { name = value }",
    "tuple_type": 'a list, such as ["a", "b"]',
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
}

Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Base of everything that may stand in a file: frozen, and an unknown key is an error, being a typo mostly."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TomlFile:
    """The content of one file, or the `text` that was read from it. Raises ConfigError when it is no TOML."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = _read(path) if text is None else text
        try:
            self.data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: this is not TOML: {error}. Text needs quotes, lists need [ ]") from error
        self._lines: dict[Key, int] = {}
        for key, line in _lines_of_keys(self.text):
            self._lines.setdefault(key, line)

    def build(self, model: type[Model]) -> Model:
        """The content as this model. Raises ConfigError that names every mistake in the file, one on a line.

        Validators get the file's path as `info.context`, since relative paths in a file are relative to it.
        """
        try:
            return model.model_validate(self.data, context=self.path)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise ConfigError("\n".join(dict.fromkeys(self._sentence(model, one) for one in found))) from error

    def complaint(self, key: Key, text: str) -> str:
        """`path:line: key: text`, with the line of the nearest thing that is in the file."""
        name = "".join(f" #{part + 1}" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
        line = next((self._lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self._lines), None)
        place = f"{self.path}:{line}" if line else f"{self.path}"
        return f"{place}: {name}: {text}" if name else f"{place}: {text}"

    def _sentence(self, model: type[BaseModel], error: ErrorDetails) -> str:
        key = self._key_in_file(error["loc"])
        kind = error["type"]
        if kind == "extra_forbidden":
            return self.complaint(key, _unknown(str(key[-1]), _keys_at(model, key[:-1])))
        if kind == "missing":
            return self.complaint(key, "is missing: add it")
        if kind == "value_error":
            return self.complaint(key, str(error["ctx"]["error"]))
        if kind in _SHAPES:
            return self.complaint(key, f"must be {_SHAPES[kind]}")
        text = error["msg"].replace("Input should be", "must be", 1)
        value = error["input"]
        if isinstance(value, str | int | float) and not _PRIVATE.intersection(key):
            text += f", and is {_short(value)}"
        return self.complaint(key, text)

    def _key_in_file(self, location: tuple[int | str, ...]) -> Key:
        """The location without what pydantic adds to it, such as the names of the members of a union."""
        here: Any = self.data
        key: list[str | int] = []
        for number, part in enumerate(location):
            inside = _child(here, part)
            if inside is None and (number < len(location) - 1 or not isinstance(here, dict)):
                continue
            here = inside
            key.append(part)
        return tuple(key)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8") from error


def _lines_of_keys(text: str) -> Iterator[tuple[Key, int]]:
    table: Key = ()
    counts: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TABLE.match(line):
            table = ()
            for part in _parts(found[2]):
                table = (*table, part)
                if table in counts:
                    table = (*table, counts[table] - 1)
            if found[1] == "[[":
                name = table[:-1] if table and isinstance(table[-1], int) else table
                counts[name] = counts.get(name, 0) + 1
                table = (*name, counts[name] - 1)
                yield name, number
            yield table, number
        elif found := _KEY.match(line):
            yield (*table, *_parts(found[1])), number


def _child(here: Any, part: str | int) -> Any:
    """What TOML holds under this key or position, or None, which TOML cannot hold."""
    if isinstance(here, dict):
        return here.get(part)
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        return here[part]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _keys_at(model: type[BaseModel], key: Key) -> tuple[str, ...]:
    """The keys that the model has at this place."""
    here = model
    for part in key:
        # A position in a list or a free name in a table leads to nothing new: the model inside was found already.
        if part in here.model_fields:
            here = _model_in(here.model_fields[str(part)].annotation) or here
    return tuple(here.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in typing.get_args(annotation) if (found := _model_in(one)) is not None), None)


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f'unknown key; did you mean "{close[0]}"?' if close else f"unknown key; known here: {', '.join(known)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
