"""Which promise is made for which fault of the catalogue, and where it is held: the table in README.md.

python -m tests.faults        write the table into README.md

What is promised is the first line of a test's docstring, so there is no second place to keep it. Tests are found in the
text of the modules, none is imported. A promise that is not kept yet says so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
BEGIN, END = "<!-- table begin -->", "<!-- table end -->"

FAULTS = {
    "G1": "429, too many requests",
    "G2": "500, 502 or 503",
    "G3": "an error body that is HTML, or empty",
    "G4": "no answer, a half-open connection",
    "G5": "the write is applied and its answer lost",
    "G6": "half-applied over several requests",
    "G7": "the token expires",
    "G8": "the token endpoint fails",
    "G9": "the share is revoked, the sheet is in the bin",
    "G10": "the API is disabled, the key is deleted",
    "G11": "DNS, TLS or a proxy fails; a portal answers 200 in HTML",
    "G12": "a read that is cut short, or stale",
    "G13": "400, a limit of cells or of the grid",
    "S1": "the tab is renamed",
    "S2": "the spreadsheet is renamed",
    "S3": "a header is renamed",
    "S4": "a header is there twice",
    "S5": "columns are inserted or moved",
    "S6": "a row is inserted or deleted above",
    "S7": "the sheet is sorted",
    "S8": "the moment between finding a row and writing to it",
    "S9": "a row is copied, with its id",
    "S10": "an id is edited, cleared or pasted over",
    "S11": "a row is deleted while it runs",
    "S12": "the parameters of a running row are edited",
    "S13": "a column of the daemon's is edited",
    "S14": "somebody types while the daemon writes",
    "S15": "cells are merged",
    "S16": "a huge cell, many columns",
    "S17": "decimal commas",
    "S18": "dates, durations, percent, currency",
    "S19": "formulas and their errors",
    "S20": "white space, zero-width characters",
    "S21": "characters that look alike",
    "S22": "a value that begins like a formula",
    "S23": "words for truth; empty and zero",
    "S24": "a row is half typed",
    "S25": "undo, or a restored version",
    "S26": "a protected range",
    "S27": "very many rows at once",
}
NAME = re.compile(r"test_([GS][0-9]+)_\w+")


@dataclass(frozen=True)
class Held:
    """One test: the fault, what is promised, and where. `why_not` is the reason of one that is expected to fail."""

    fault: str
    promise: str
    module: str
    test: str
    why_not: str = ""

    def line(self) -> str:
        promise = f"**Not yet:** {self.promise} ({self.why_not})" if self.why_not else self.promise
        cells = (self.fault, FAULTS[self.fault], promise, f"`{self.module}` `{self.test}`")
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def held() -> list[Held]:
    """Every test of a fault, in the order of the catalogue."""
    found = [one for path in sorted(FOLDER.glob("test_*.py")) for one in _held_by(path)]
    order = list(FAULTS)
    return sorted(found, key=lambda one: order.index(one.fault))


def _held_by(path: Path) -> Iterator[Held]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        named = NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
        if named is not None and isinstance(node, ast.FunctionDef):
            said = (ast.get_docstring(node) or "").split("\n")[0]
            yield Held(named[1], said, path.name, node.name, _why_not(node))


def _why_not(test: ast.FunctionDef) -> str:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.xfail":
            return next(ast.literal_eval(keyword.value) for keyword in decorator.keywords if keyword.arg == "reason")
    return ""


def table() -> str:
    tests = held()
    broken = sum(bool(one.why_not) for one in tests)
    said = f"{len(tests)} promises for {len({one.fault for one in tests})} faults"
    lines = [f"{said}; {broken} of them are not kept yet.", "", "| fault | what happens | promise | held by |"]
    return "\n".join([*lines, "|---|---|---|---|", *[one.line() for one in tests]])


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def write() -> None:
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
