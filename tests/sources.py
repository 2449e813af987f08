"""The project's own files as text and as syntax trees, and how a thing is found in them: for the tests of tidiness.

Found without git, so that an unpacked release can be checked too. Weak: names are compared as text, so `getattr` and a
renamed import go unseen; this is for people who mean well.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.check import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = {".py", ".pyi", ".js", ".css", ".html", ".svg", ".toml", ".md", ".sql", ".sh", ".json", ".yml", ".yaml", ".txt"}
NOT_OURS = {".git", "venv", "build", "dist", "__pycache__", ".hypothesis"}

Find = Callable[[ast.AST], Iterable[int]]


@functools.cache
def files() -> tuple[str, ...]:
    """Every text file that is ours, as a path from the root."""
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if is_ours(Path(folder) / name)]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in names if is_text(name)]
    return tuple(sorted([*found, ".ci/run"]))


def is_ours(folder: Path) -> bool:
    is_hidden_cache = folder.name.startswith(".") and folder.name != ".ci"
    is_environment = (folder / "pyvenv.cfg").exists()
    return not (folder.name in NOT_OURS or folder.name.endswith(".egg-info") or is_hidden_cache or is_environment)


def is_text(name: str) -> bool:
    return Path(name).suffix in TEXT


def python(*folders: str) -> list[str]:
    return [path for path in files() if path.endswith(".py") and path.startswith(folders)]


@functools.cache
def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def tree(path: str) -> ast.Module:
    return ast.parse(text(path), path)


def reject(findings: Iterable[str], instead: str) -> None:
    listed = list(findings)
    if listed:
        pytest.fail("\n".join([instead, *(f"  {finding}" for finding in listed)]), pytrace=False)


def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


def named(*names: str) -> Find:
    """A name, an attribute or an import of one of these names."""

    def find(module: ast.AST) -> Iterator[int]:
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                used = {alias.name for alias in node.names}
            elif isinstance(node, ast.Name | ast.Attribute):
                used = {dotted(node).rpartition(".")[2]}
            else:
                continue
            if used & set(names):
                yield node.lineno

    return find


def dotted(node: ast.AST) -> str:
    """`datetime.datetime.now` for that expression, and "" for anything that is not names and dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def attribute(*endings: str) -> Find:
    """`a.b`, called or handed on, or imported by `from a import b`."""

    def find(module: ast.AST) -> Iterator[int]:
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                used = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                used = [".".join(dotted(node).split(".")[-2:])]
            else:
                continue
            if set(used) & set(endings):
                yield node.lineno

    return find


def called(*names: str) -> Find:
    """A built-in function by its bare name."""

    def find(module: ast.AST) -> Iterator[int]:
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node.lineno

    return find


def text_constant(value: str) -> Find:
    def find(module: ast.AST) -> Iterator[int]:
        return (node.lineno for node in ast.walk(module) if isinstance(node, ast.Constant) and node.value == value)

    return find


def keyword(name: str, value: object) -> Find:
    def find(module: ast.AST) -> Iterator[int]:
        for node in ast.walk(module):
            if isinstance(node, ast.keyword) and node.arg == name and getattr(node.value, "value", None) is value:
                yield node.value.lineno

    return find


def imports(module: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, wherever in the file. Relative imports keep their dots."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def imported(*packages: str) -> Find:
    def find(module: ast.AST) -> Iterator[int]:
        return (line for line, name in imports(module) if name.partition(".")[0] in packages)

    return find


def swallowed(module: ast.AST) -> Iterator[int]:
    """`except:` of anything, and a handler or `suppress` of every exception that does nothing with it."""
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler):
            does_nothing = all(isinstance(step, ast.Pass | ast.Continue) or is_ellipsis(step) for step in node.body)
            if node.type is None or (does_nothing and is_everything(node.type)):
                yield node.lineno
        elif (
            isinstance(node, ast.Call) and dotted(node.func).endswith("suppress") and any(map(is_everything, node.args))
        ):
            yield node.lineno


def is_everything(caught: ast.expr) -> bool:
    return bool({"Exception", "BaseException"} & {dotted(part) for part in ast.walk(caught)})


def is_ellipsis(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) and step.value.value is ...
