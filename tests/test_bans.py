"""What sheetd's own code never does: each ban with its reason, the way out, and an example that is tried too.

A ban that finds nothing is no ban. An exception stands beside its ban with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tests.check import ROOT
from tests.sources import (
    Find,
    attribute,
    called,
    imported,
    keyword,
    named,
    python,
    reject,
    swallowed,
    text_constant,
    tree,
)


@dataclass(frozen=True)
class Ban:
    name: str
    instead: str
    example: str
    find: Find
    #: A path, or the beginning of one -> why it may.
    allowed: Mapping[str, str] = field(default_factory=dict)


WALL_CLOCKS = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today")

BANS = (
    Ban(
        "host keys are never accepted by themselves",
        "Use paramiko.RejectPolicy; a person pins a key with `sheetd host add`.",
        "client.set_missing_host_key_policy(paramiko.AutoAddPolicy())",
        named("AutoAddPolicy", "WarningPolicy"),
    ),
    Ban(
        "gspread does not retry for us",
        "It repeats writes whose answer was lost, and waits for ever. Retry in the caller: tenacity, and a deadline.",
        "from gspread.http_client import BackOffHTTPClient",
        named("BackOffHTTPClient"),
    ),
    Ban(
        "cells are read typed",
        "get_all_records guesses numbers and trips over double headers. Read the grid with its effective values.",
        "sheet.get_all_records()",
        named("get_all_records"),
    ),
    Ban(
        "data is never parsed by the sheet",
        "USER_ENTERED makes a formula of a job's text. Write typed values with updateCells.",
        "sheet.update(cells, value_input_option='USER_ENTERED')",
        text_constant("USER_ENTERED"),
        {"sheetd/sheets/builtin/": "it implements the API that offers this"},
    ),
    Ban(
        "nothing reaches a shell",
        "Hand over a list of arguments, without shell=True.",
        "subprocess.run(cell, shell=True)",
        keyword("shell", value=True),
    ),
    Ban(
        "no command line as one string",
        "Use subprocess.run with a list of arguments and a timeout.",
        "os.system('nvidia-smi')",
        attribute("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    ),
    Ban(
        "stored data cannot run",
        "Unpickling runs what it reads. Store JSON.",
        "import pickle",
        imported("pickle", "cPickle", "shelve", "dill", "cloudpickle"),
    ),
    Ban(
        "text is not run as code",
        "Parse it: json, ast.literal_eval, a table of functions.",
        "eval(cell)",
        called("eval", "exec"),
        {"sheetd/onhost/bootstrap.py": "stage 0 is handed to a bare interpreter as text"},
    ),
    Ban(
        "time comes from the Clock",
        "Take a Clock (sheetd.ports), or `now` as an argument: a wall clock jumps, and cannot be simulated.",
        "deadline = time.time() + 5",
        attribute(*WALL_CLOCKS),
        {
            "sheetd/clock.py": "the Clock itself",
            "sheetd/journal/requests.py": "a default of the clock that is handed in",
            "sheetd/journal/sqlite.py": "a default of the clock that is handed in",
            "sheetd/sheets/builtin/store.py": "a server of its own, which shows when something changed",
            "sheetd/onhost/": "on a host the wall time is only shown; intervals are measured on the boot clock",
        },
    ),
    Ban(
        "only the command line prints",
        "Raise an error of sheetd.errors, return the text, or log it.",
        "print('done')",
        called("print"),
        {
            "sheetd/cli/": "it is there to print",
            "sheetd/onhost/job.py": "a job that is run by hand, without sheetd, shows its metrics",
        },
    ),
    Ban(
        "no error is swallowed",
        "Name the exceptions that are expected, and turn the others into an outcome that somebody sees.",
        "try:\n    run()\nexcept Exception:\n    pass",
        swallowed,
    ),
)


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_the_ban_is_kept(ban: Ban) -> None:
    paths = [path for path in python("sheetd/") if not path.startswith(tuple(ban.allowed))]
    reject((f"{path}:{line}" for path in paths for line in ban.find(tree(path))), f"{ban.name}. {ban.instead}")


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_the_ban_finds_what_it_forbids(ban: Ban) -> None:
    assert list(ban.find(ast.parse(ban.example)))


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_an_exception_to_a_ban_is_still_there(ban: Ban) -> None:
    gone = [path for path in ban.allowed if not (ROOT / path).exists()]
    reject(gone, "These files are excepted from a ban and do not exist. Take the exception away.")


@pytest.mark.parametrize(
    "harmless",
    [
        "channel.exec_command(line)",
        "pattern.eval()",
        "time.monotonic()",
        "clock.time.wall_s()",
        "run(shell=False)",
        "try:\n    run()\nexcept OSError:\n    pass",
        "try:\n    run()\nexcept Exception as error:\n    report(error)",
        "'USER_ENTERED is never used for data'",
        "self.print()",
    ],
)
def test_no_ban_finds_what_is_harmless(harmless: str) -> None:
    assert [ban.name for ban in BANS if list(ban.find(ast.parse(harmless)))] == []
