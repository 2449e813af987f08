"""Adds and removes [[hosts]] entries in a sheetd.toml that a person wrote, and leaves every other byte as it is.

TOML has no writer that keeps comments, so the text is cut and pasted by lines, and nothing is taken on trust: the new
text is read again and has to say exactly what was meant. Where it does not (hosts written in one line, a multi-line
string that looks like a table), nothing is written and the person is told what to type.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from sheetd.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Values: TypeAlias = Mapping[str, "str | int | bool | Sequence[str]"]

_ANY_TABLE = re.compile(r"^\s*\[")
_HOSTS = re.compile(r"^\s*\[\[\s*hosts\s*\]\]")
_OF_A_HOST = re.compile(r"^\s*\[\[?\s*hosts\s*\.")


def host_entry(values: Values) -> str:
    """The lines of one entry. JSON's way with strings and lists is TOML's too."""
    return "".join(["[[hosts]]\n", *(f"{key} = {_value(value)}\n" for key, value in values.items())])


def _value(value: str | int | bool | Sequence[str]) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def add_host(path: Path, values: Values) -> None:
    """Append an entry. Raises ConfigError with nothing changed."""
    entry = host_entry(values)
    text = _read(path)
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text.strip() else newline if text.endswith("\n") else newline * 2
    wanted = _parsed(path, text)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    wanted["hosts"] = [*wanted.get("hosts", []), plain]
    _write_if_right(
        path, text + gap + entry.replace("\n", newline), wanted, f"Add these lines to it yourself:\n{entry}"
    )


def remove_host(path: Path, name: str) -> None:
    """Take the entry of this name out. Raises ConfigError with nothing changed, also when there is none."""
    text = _read(path)
    wanted = _parsed(path, text)
    names = [host.get("name") for host in wanted.get("hosts", [])]
    if name not in names:
        raise ConfigError(f"{path} has no host {name}: it has {', '.join(map(str, names)) or 'none'}")
    number = names.index(name)
    del wanted["hosts"][number]
    if not wanted["hosts"]:
        raise ConfigError(f"{name} is the only host in {path}, and sheetd needs one: add another first")
    lines = text.splitlines(keepends=True)
    first, last = _extent(lines, number)
    _write_if_right(path, "".join(lines[:first] + lines[last:]), wanted, f"Remove the entry of {name} yourself.")


def _extent(lines: list[str], number: int) -> tuple[int, int]:
    """From the entry's header to behind its last key. Comments below that may belong to what follows, and stay."""
    headers = [index for index, line in enumerate(lines) if _HOSTS.match(line)]
    if number >= len(headers):
        return 0, 0
    first = headers[number]
    end = first + 1
    while end < len(lines) and (not _ANY_TABLE.match(lines[end]) or _OF_A_HOST.match(lines[end])):
        end += 1
    last = max(index for index in range(first, end) if index == first or _says_something(lines[index])) + 1
    is_below_empty_line = first > 0 and not lines[first - 1].strip()
    if last == len(lines):
        return first - is_below_empty_line, last
    if not lines[last].strip() and (first == 0 or is_below_empty_line):
        last += 1  # of the two empty lines around it one is enough
    return first, last


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _write_if_right(path: Path, text: str, wanted: dict[str, Any], otherwise: str) -> None:
    try:
        is_right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise ConfigError(f"{path} is written in a way that cannot be changed safely; nothing was changed. {otherwise}")
    target = path.resolve()  # behind a link, the file itself is replaced
    mark = b"\xef\xbb\xbf" if target.read_bytes().startswith(b"\xef\xbb\xbf") else b""
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mark + text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            Path(beside).chmod(target.stat().st_mode & 0o7777)
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. {otherwise}") from error
