"""Hundreds of hostile texts all the way: from a sheet over HTTP through a real daemon and sshd to programs, and back.

Each text is a parameter, a line that the program prints and the name of a metric that it reports. Nothing is told
again here but Google's servers, and those by the built-in sheet.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sheetd.core.rows import SYSTEM_HEADERS
from sheetd.core.sweep_cells import BadSweep, alternatives
from sheetd.core.template import ParamType
from sheetd.core.text import begins_formula
from tests.acceptance.conftest import sheet_section
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.hostile.corpus import MARK, hostile_texts
from tests.hostile.test_hostile import is_argument, is_safe_in_a_cell
from tests.needs import needs_sshd
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import builtin_server

#: So many parameters has a row; all that it holds is one line of arguments.
PER_ROW, CHARACTERS_MAX, ROWS = 60, 2000, 10
NAMES = [f"p{number}" for number in range(PER_ROW)]
HEADER = ["token", *NAMES, "id", "status", "message", "host", "loss"]
TAB = "Experiments"

PROGRAM = """\
import json, os, sys
import sheetd

told, texts = sys.argv[1], [argument.partition("=")[2] for argument in sys.argv[2:]]
heard = {"texts": [os.fsencode(text).hex() for text in texts], "environment": sorted(os.environ)}
with open(os.path.join(told, os.environ["SHEETD_ID"]), "w") as file:
    json.dump(heard, file)
for text in texts:
    sheetd.log(**{text[:60]: 0.5})
    os.write(1, os.fsencode(text) + b"\\n")
sys.exit(1)
"""
TEMPLATE = (
    'command = ["python3", "job.py", "{home}/told", '
    + ", ".join(f'"--{name}={{{{{name}}}}}"' for name in NAMES)
    + ']\ncode = "../code"\nrestarts = {{ max = 0 }}\nrelaunches = 0\n'
    + "[params.token]\ntype = 'text'\n"
    + "".join(f"[params.{name}]\ntype = 'text'\ndefault = ''\n" for name in NAMES)
    + "[metrics]\nloss = {{}}\n"
)


def stands_for_itself(text: str) -> bool:
    """Whether it is one value to a row, and not refused: what is refused holds up its whole row."""
    try:
        is_one = alternatives(text, ParamType.TEXT) is None
    except BadSweep:
        return False
    return is_one and is_argument(text) and 0 < len(text) <= CHARACTERS_MAX


class Outcome(NamedTuple):
    lab: Project
    folder: Path
    #: By its token: what was typed in the row, and what the program of that row heard.
    typed: dict[str, list[str]]
    heard: dict[str, dict[str, Any]]
    #: The rows as they are shown, and every cell as it was entered.
    rows: list[dict[str, str]]
    entered: list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("way")
    home = folder / "home"
    (home / "told").mkdir(parents=True)
    with builtin_server(folder) as address, LightSshd(folder) as sshd:
        Person(address, "Sheet1").spreadsheet.sheet1.update_title(TAB)
        person = Person(address, TAB, HEADER)
        person.tab.resize(cols=len(HEADER) + 2)
        person.write_header()
        texts = [text for text in hostile_texts() if stands_for_itself(text)]
        texts = texts[:: max(1, len(texts) // (PER_ROW * ROWS))][: PER_ROW * ROWS]
        typed = {f"row {n}": texts[n * PER_ROW : (n + 1) * PER_ROW] for n in range(ROWS)}
        typed["tame"] = [f"word {n}" for n in range(PER_ROW)]
        person.type_rows([{"token": token, **dict(zip(NAMES, some, strict=True))} for token, some in typed.items()])
        lab = Project(
            folder / "lab",
            home=str(home),
            sheet=sheet_section(address.base_url, address),
            daemon=f'ssh_config = "{sshd.ssh_config}"',
            hosts=f'[[hosts]]\nname = "{sshd.alias}"\nroot = "{folder / "root"}"\nslots = 4\n',
            program=PROGRAM,
            templates={"job": TEMPLATE},
        )
        try:
            lab.start()
            wait_for(lambda: {row["status"] for row in person.rows()} == {"failed"}, "every row has run", within_s=60)
            rows = person.rows()
            tokens = {row["id"]: row["token"] for row in rows}
            heard = {tokens[told.name]: json.loads(told.read_text()) for told in (home / "told").iterdir()}
            fields = "sheets.data.rowData.values.userEnteredValue"
            got = person.spreadsheet.fetch_sheet_metadata({"ranges": f"'{TAB}'", "fields": fields})
            entered = [row.get("values", []) for row in got["sheets"][0]["data"][0]["rowData"]]
            yield Outcome(lab, folder, typed, heard, rows, entered)
        finally:
            lab.stop_everything()
            lab.close()


@needs_sshd
def test_every_program_is_given_its_texts_byte_for_byte(outcome: Outcome) -> None:
    given = {token: [bytes.fromhex(text) for text in heard["texts"]] for token, heard in outcome.heard.items()}
    assert given == {token: [text.encode() for text in texts] for token, texts in outcome.typed.items()}
    assert len(set().union(*outcome.typed.values())) >= 500


@needs_sshd
def test_no_text_is_executed_by_a_shell_or_becomes_a_path(outcome: Outcome) -> None:
    for folder in (outcome.folder, Path.cwd()):
        assert not list(folder.rglob(f"*{MARK}*"))
    names = {name for _, folders, files in os.walk(outcome.folder) for name in (*folders, *files)}
    assert not {name for name in names if not re.fullmatch(r"[\w.@:+-]+", name, re.ASCII)}


@needs_sshd
def test_no_text_is_the_name_of_a_variable(outcome: Outcome) -> None:
    usual = outcome.heard["tame"]["environment"]
    assert all(heard["environment"] == usual for heard in outcome.heard.values())


@needs_sshd
def test_no_cell_holds_a_formula_and_people_find_what_they_typed(outcome: Outcome) -> None:
    values = [[cell.get("userEnteredValue", {}) for cell in row] for row in outcome.entered]
    assert not [value for row in values for value in row if "formulaValue" in value]
    header, *lines = [[value.get("stringValue", "") for value in row] for row in values]
    first = header.index(NAMES[0])
    assert {line[0]: line[first : first + PER_ROW] for line in lines} == outcome.typed
    ours = [row[name] for row in outcome.rows for name in row if name in SYSTEM_HEADERS]
    assert all(is_safe_in_a_cell(text) for text in ours)
    assert all(row["message"].startswith("exit code 1") for row in outcome.rows)


@needs_sshd
def test_what_is_written_for_other_programs_holds_no_formula(outcome: Outcome) -> None:
    table = list(csv.reader(io.StringIO(outcome.lab.command("export"))))
    assert len(table) == len(outcome.typed) + 1
    assert sum(name.endswith(":min") for name in table[0]) > 200, "hundreds of names of metrics"
    assert not [
        text for row in table for text in row if begins_formula(text) and not re.fullmatch(r"-?[\d.e+-]+", text)
    ]


@needs_sshd
def test_the_log_of_the_daemon_and_what_it_tells_people_holds_nothing_that_a_terminal_obeys(outcome: Outcome) -> None:
    log = (outcome.folder / "lab" / "daemon.log").read_text("utf-8")
    for shown in (log, outcome.lab.command("status"), outcome.lab.command("ls")):
        assert not {unicodedata.category(sign) for sign in shown if sign not in "\t\n"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
