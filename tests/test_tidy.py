"""Layers, limits and manners as tests, each with the way out in its message.

What code may not call is in `tests/test_bans.py`, what the README promises in `tests/test_readme.py`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests import check
from tests.sources import called, files, imported, imports, project, python, reject, text, tree

LONGEST_FUNCTION = 70
LONGEST_MODULE = 400

NAMELESS = {"util", "utils", "helper", "helpers", "misc", "common", "stuff"}


# Who may import what

ROOMS = {
    "gspread": ("sheetd/sheets/google.py", "sheetd/sheets/transport.py"),
    "google_auth_oauthlib": ("sheetd/sheets/consent.py",),
    "oauthlib": ("sheetd/sheets/consent.py",),
    "paramiko": ("sheetd/hosts/ssh.py", "sheetd/hosts/ssh_errors.py", "sheetd/hosts/ssh_login.py"),
    "torch": (),
}

PURE = {
    "__future__", "abc", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum",
    "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "statistics", "string",
    "struct", "textwrap", "types", "typing", "unicodedata",
}  # fmt: skip


def test_imports_run_one_way() -> None:
    layers = next(linter for linter in check.LINTERS if linter.name == "import layers")
    verdict = check.run(check.Check(layers.name, (*layers.command, "--no-cache")))
    assert verdict.passed, f"Imports run one way; the contracts are in pyproject.toml.\n{verdict.output}"


@pytest.mark.parametrize("package", ROOMS)
def test_a_foreign_library_stays_in_its_room(package: str) -> None:
    paths = [path for path in python("sheetd/") if path not in ROOMS[package]]
    reject(
        (f"{path}:{line}" for path in paths for line in imported(package)(tree(path))),
        f"Only {' and '.join(ROOMS[package]) or 'jobs'} may import {package}; others go through sheetd.ports.",
    )


def test_the_core_is_pure() -> None:
    """An allow-list, beside import-linter's list of what is forbidden: something new and impure is found too."""

    def is_pure(name: str) -> bool:
        return name.partition(".")[0] in PURE or f"{name}.".startswith(("sheetd.core.", "sheetd.errors."))

    reaches_out = called("open", "input", "print", "breakpoint", "__import__")
    paths = python("sheetd/core/")
    found = [f"{path}:{line}: {name}" for path in paths for line, name in imports(tree(path)) if not is_pure(name)]
    found += [f"{path}:{line}" for path in paths for line in reaches_out(tree(path))]
    reject(found, "The core has no I/O, clock, chance, environment or logging. Take the value as an argument.")


def test_what_is_shipped_to_hosts_needs_only_the_standard_library() -> None:
    """Its own package apart, which travels whole. Stage 0 and the job library stand alone: each is loaded by itself."""
    alone = ("sheetd/onhost/bootstrap.py", "sheetd/onhost/job.py")

    def is_there(path: str, name: str) -> bool:
        is_sibling = name.startswith(".") and not name.startswith("..") and path not in alone
        return is_sibling or name.partition(".")[0] in sys.stdlib_module_names

    paths = python("sheetd/onhost/")
    found = [
        f"{path}:{line}: {name}" for path in paths for line, name in imports(tree(path)) if not is_there(path, name)
    ]
    reject(found, "A host has python3 and nothing else.")


def test_everything_that_is_shipped_is_checked_for_old_python() -> None:
    old_python = next(linter for linter in check.LINTERS if linter.name == "Python 3.6")
    assert set(python("sheetd/onhost/")) <= set(old_python.command)


def test_torch_is_only_an_extra() -> None:
    metadata = project()["project"]
    assert any(need.startswith("torch") for need in metadata["optional-dependencies"]["torch"])
    always = metadata["dependencies"] + metadata["optional-dependencies"]["test"]
    heavy = [need for need in always if re.match(r"torch\b|sheetd\[", need)]
    reject(heavy, "torch is gigabytes; neither the daemon nor the tests may need it.")


# How a file is written

BLANKET_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")
OPEN_POINT = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.>})*\]-])/(?:work\b(?![-\w])|root/)")


def comments(path: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_an_ignored_type_error_is_named() -> None:
    found = [f"{path}:{line}" for path in python("") for line, said in comments(path) if BLANKET_IGNORE.search(said)]
    reject(found, "Name the error: `# type: ignore[arg-type]`. A blanket one hides the next error too.")


def test_open_points_live_in_the_tracker() -> None:
    reject(matches(OPEN_POINT, files()), "Do it, or put it into the tracker; here nobody finds it again.")


def test_no_path_of_one_machine() -> None:
    allowed = ("tests/rig/", "tests/acceptance/")  # whose hosts have a /root of their own
    found = matches(MACHINE_PATH, [path for path in files() if not path.startswith(allowed)])
    reject(found, "This path exists on one machine only.")


@pytest.mark.parametrize(
    ("pattern", "line", "is_found"),
    [
        (BLANKET_IGNORE, "# type: " + "ignore", True),
        (BLANKET_IGNORE, "# type: " + "ignore[arg-type]", False),
        (OPEN_POINT, "# TO" + "DO: later", True),
        (OPEN_POINT, "what is to do", False),
        (MACHINE_PATH, "cd " + "/wo" + "rk/main", True),
        (MACHINE_PATH, "key = '" + "/ro" + "ot/.ssh/id'", True),
        (MACHINE_PATH, "x/<id>/work/<sha>", False),
        (MACHINE_PATH, "/workspace and /roots/", False),
    ],
)
def test_a_pattern_finds_just_what_it_forbids(pattern: re.Pattern[str], line: str, *, is_found: bool) -> None:
    assert bool(pattern.search(line)) is is_found


def matches(pattern: re.Pattern[str], paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        for number, line in enumerate(text(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{number}: {line.strip()[:100]}"


def is_invisible(sign: str) -> bool:
    """Controls that turn the direction of text, joiners, spaces that are none: what a reviewer cannot see."""
    return sign not in " \n\t" and unicodedata.category(sign) in {"Cc", "Cf", "Co", "Cn", "Zs", "Zl", "Zp"}


def test_a_source_holds_nothing_that_cannot_be_seen() -> None:
    found = [
        f"{path}:{number}: U+{ord(sign):04X} {unicodedata.name(sign, 'without a name')}"
        for path in files()
        for number, line in enumerate(text(path).split("\n"), 1)
        for sign in line
        if is_invisible(sign)
    ]
    reject(found, "Write it as an escape (\\u202e), so that a reader sees what is there.")


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\ufeff", "\u00a0", "\u00ad", "\x1b", "\r"])
def test_an_invisible_sign_is_seen(sign: str) -> None:
    assert is_invisible(sign)


def test_a_module_opens_with_a_docstring_of_its_own() -> None:
    by_docstring = defaultdict(list)
    for path in python("sheetd/"):
        by_docstring[ast.get_docstring(tree(path)) or ""].append(path)
    found = [f"{path}: has none" for path in by_docstring.pop("", [])]
    found += [f"{paths[0]}: {said!r} is too short to say why" for said, paths in by_docstring.items() if len(said) < 30]
    found += [f"{' and '.join(paths)}: the same one" for paths in by_docstring.values() if len(paths) > 1]
    reject(found, "Say why the file exists, what it must not do, and where it is weak.")


def test_a_file_is_named_for_what_it_holds() -> None:
    found = [path for path in files() if NAMELESS & {part.partition(".")[0].lower() for part in Path(path).parts}]
    reject(found, "Such a name says nothing and so collects everything. Name the file for what it holds.")


def long_functions(module: ast.AST) -> Iterator[tuple[int, str, int]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield node.lineno, node.name, lines


def test_a_function_fits_on_a_screen() -> None:
    found = [
        f"{path}:{line}: {name} has {lines} lines"
        for path in python("sheetd/", "tests/", "examples/")
        for line, name, lines in long_functions(tree(path))
    ]
    reject(found, f"At most {LONGEST_FUNCTION} lines: pull out the part that has a name.")


@pytest.mark.parametrize(("lines", "is_long"), [(LONGEST_FUNCTION, False), (LONGEST_FUNCTION + 1, True)])
def test_the_limit_of_a_function_is_exact(lines: int, *, is_long: bool) -> None:
    assert bool(list(long_functions(ast.parse("def f():\n" + "    pass\n" * (lines - 1))))) is is_long


def test_a_module_can_be_read_in_one_sitting() -> None:
    found = []
    for path in files():
        if path.startswith("sheetd/") and path.endswith((".py", ".js")):
            lines = text(path).count("\n")
            found += [f"{path}: {lines} lines, at most {LONGEST_MODULE}"] if lines > LONGEST_MODULE else []
    reject(found, "Split the module where its parts have names of their own.")
