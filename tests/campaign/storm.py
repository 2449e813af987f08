"""`python -m tests.campaign storm`: people type, sort, insert, delete, copy, paste and undo while experiments run.

The daemon runs in a process of its own, at the pace that Google would allow, over a built-in sheet that it reaches
through a gate which counts. At the end every cell of a person holds what was typed last, every row has run once,
nothing has passed that Google's documents do not allow, and two cycles after the last job the sheet says what the
journal says.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sheetd.cli.picture import take_picture
from sheetd.config import load_settings
from sheetd.core.dependencies import is_done
from sheetd.sheets.builtin.server import SheetServer
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.builtin import witness
from tests.campaign.crowd import PEOPLE, Book, PagePerson, ScriptPerson
from tests.campaign.tollgate import Tollgate
from tests.sheets.builtin_rig import Address

TAB = "Experiments"
HEADER = [*PEOPLE, "id", "status", "message", "host", "attempt", "loss", "loss:min"]
GRANTED_A_MINUTE = 60
HOSTS = 2
ENDED = ("succeeded", "failed", "stopped")
LOOK_S = 0.5
#: A cycle is a read, and a write where that found something to say.
CYCLES, REQUESTS_OF_A_CYCLE = 2, 2
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Storm:
    minutes: float = 10.0
    seed: int = 1
    experiments: int = 200
    slots: int = 4
    #: Rows that the script copies with their ids. More than that is not a sheet that people work in.
    copies: int = 40
    #: Between two acts of one person, in the mean.
    pause_s: float = 0.4
    rest_s: float = 180.0
    keep: bool = False


@dataclass
class Outcome:
    storm: Storm
    experiments: int = 0
    deleted: int = 0
    executions: int = 0
    acts: dict[str, int] = field(default_factory=dict)
    cells_checked: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    #: Requests of the daemon that were held against Google's documents, each with its answer.
    held_against_google: int = 0
    busiest_minute: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    kept: str | None = None
    is_interrupted: bool = False
    broken: str | None = None

    def summary(self) -> dict[str, Any]:
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("storm", "violations")}
        asked = {"minutes": self.storm.minutes, "seed": self.storm.seed}
        return {
            "campaign": "storm",
            **asked,
            **told,
            "seconds": round(self.seconds, 1),
            "violations_total": len(self.violations),
            "violations": self.violations[:20],
            "interrupted": self.is_interrupted,
        }


class PacedProject(Project):
    """A project whose daemon asks the sheet as seldom as it would ask Google."""

    def start(self, **environment: str) -> None:
        argv = [sys.executable, "-m", "tests.campaign.paced", "run", "-v", "--config", str(self.config)]
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "PYTHONPATH": root, **environment}
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env)


class Weather:
    """Everything that a storm runs on."""

    def __init__(self, storm: Storm, folder: Path, undo: ExitStack) -> None:
        self.storm, self.folder = storm, folder
        self.home = folder / "home"
        self.home.mkdir()
        self.server = SheetServer(folder / "sheet.sqlite")
        self.server.start()
        undo.callback(self.server.stop)
        key = self.server.store.create_spreadsheet("Lab")
        self.address = Address(self.server.base_url, self.server.token, key)
        Person(self.address, "Sheet1").spreadsheet.sheet1.update_title(TAB)
        self.person = Person(self.address, TAB, HEADER)
        self.person.write_header()
        self.gate = Tollgate(self.server.base_url)
        url = undo.enter_context(self.gate)
        hosts = "".join(
            f'[[hosts]]\nname = "here{n}"\nlocal = true\nslots = {storm.slots}\nroot = "root{n}"\n'
            for n in range(HOSTS)
        )
        sheet = f'url = "{url}"\nkey = "{key}"\ntoken = "{self.address.token}"\npoll_s = 2.5\nsettle_s = 1'
        self.lab = PacedProject(folder / "lab", home=str(self.home), sheet=sheet, hosts=hosts)
        undo.callback(self.lab.close)
        undo.callback(self.lab.stop_everything)
        self.book = Book()
        self.people: list[PagePerson | ScriptPerson] = [
            PagePerson(self.server, key, name, self.book, random.Random(f"{storm.seed} {name}")) for name in "ab"
        ]
        self.people.append(ScriptPerson(self.person.tab, self.book, random.Random(f"{storm.seed} c"), storm.copies))
        for one in self.people:
            undo.callback(one.close)

    def world(self) -> Any:
        return take_picture(load_settings(self.lab.config))


def blow(weather: Weather, tell: Tell) -> None:
    """The storm itself. What goes wrong in a person's thread is raised here."""
    storm, began_s = weather.storm, time.monotonic()
    ends_s = began_s + storm.minutes * 60
    over, failures = threading.Event(), []

    def live(person: PagePerson | ScriptPerson, chance: random.Random) -> None:
        try:
            while not over.is_set() and (now_s := time.monotonic()) < ends_s:
                wanted = storm.experiments * min(1.0, 1.1 * (now_s - began_s) / (ends_s - began_s))
                person.act(len(weather.book.wanted) < min(wanted, storm.experiments))
                over.wait(chance.expovariate(1 / storm.pause_s))
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)
            over.set()

    threads = [
        threading.Thread(target=live, args=(one, random.Random(f"{storm.seed} pause {number}")))
        for number, one in enumerate(weather.people)
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            over.wait(LOOK_S)
            tell(len(weather.book.wanted), storm.experiments, f"{sum(weather.book.acts.values())} acts")
            if over.is_set():
                break
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    typist = next(one for one in weather.people if isinstance(one, PagePerson))
    while len(weather.book.wanted) < storm.experiments:
        typist.do(typist.type)


def rest(weather: Weather, tell: Tell) -> Iterator[str]:
    """Everything that may run must end. Then two cycles are enough for the sheet."""
    ends_s = time.monotonic() + weather.storm.rest_s
    while True:
        rows = {row["notes"]: row["status"] for row in weather.person.rows()}
        book = weather.book  # of a row and its exact copy either may be the one that ran
        either = {*book.copied, *book.pasted}
        waiting = [key for key, token in book.wanted.items() if book.is_there[key] and token not in either]
        left = [key for key in waiting if rows.get(key) not in ENDED]
        still_open = weather.world().world.state.open
        live = [id_ for id_ in still_open if weather.world().world.state.experiments[id_].missing_since_s is None]
        if not left and not live:
            break
        if time.monotonic() > ends_s:
            yield f"stuck: {', '.join([*left, *live][:10])} had not ended {weather.storm.rest_s:g} s after the storm"
            return
        tell(len(waiting) - len(left), len(waiting), "at rest")
        time.sleep(LOOK_S)
    weather.gate.wait_for(CYCLES * REQUESTS_OF_A_CYCLE, within_s=60.0)


def examine(weather: Weather, outcome: Outcome) -> Iterator[str]:
    yield from _rows_are_as_the_journal_says(weather)
    yield from _cells_are_as_typed(weather, outcome)
    yield from _each_ran_once(weather, outcome)
    for kind in ("read", "write"):
        outcome.requests[kind] = len(weather.gate.passed[kind])
        outcome.busiest_minute[kind] = weather.gate.busiest_minute(kind)
        if outcome.busiest_minute[kind] >= GRANTED_A_MINUTE / 2:
            yield f"quota: {outcome.busiest_minute[kind]} {kind}s within a minute"


def _rows_are_as_the_journal_says(weather: Weather) -> Iterator[str]:
    picture = weather.world()
    experiments, seen = picture.world.state.experiments, set()
    for row in weather.person.rows():
        if row["id"] and row["id"] in seen:
            yield f"sheet: the id {row['id']} stands in two rows"
        seen.add(row["id"])
        if row["id"] in experiments:
            told = picture.row(experiments[row["id"]])
            if row["status"] != told["status"]:
                yield f"sheet: {row['id']} says {row['status']!r}, and the journal {told['status']!r}"
            token = experiments[row["id"]].spec.params["token"]
            if row["token"] != token:
                yield f"sheet: {row['id']} of {token} stands beside {row['token']}"
        elif row["token"] and row["status"] not in ("draft", "invalid", "waiting"):
            yield f"sheet: a row of {row['token']} says {row['status']!r}, and the journal does not know it"


def _cells_are_as_typed(weather: Weather, outcome: Outcome) -> Iterator[str]:
    book, rows = weather.book, weather.person.rows()
    count = Counter(row["notes"] for row in rows)
    by_key = {row["notes"]: row for row in rows}
    for key, is_there in book.is_there.items():
        if count[key] != is_there:
            yield f"rows: {key!r} is there {count[key]} times, and should be {int(is_there)} times"
    for key in set(by_key) - set(book.cells):
        yield f"rows: nobody made the row {by_key[key]}"
    for key, cells in book.cells.items():
        for name, text in cells.items() if key in by_key else ():
            outcome.cells_checked += 1
            if by_key[key][name] != text:
                yield f"cells: {name} of {key!r} says {by_key[key][name]!r}, and {text!r} was typed"


def _each_ran_once(weather: Weather, outcome: Outcome) -> Iterator[str]:
    """By what the jobs themselves wrote down. Nobody asked for a second time.

    What was pasted is a row of its own, and runs only if the other one did not succeed: it was deleted meanwhile.
    """
    runs = [line.split() for line in (weather.home / "starts").read_text().splitlines()]
    book = weather.book
    by_token, by_experiment = Counter(run[0] for run in runs), Counter(run[1].partition(".")[0] for run in runs)
    yield from (f"twice: {id_} was executed {n} times" for id_, n in by_experiment.items() if n > 1)
    for token, n in by_token.items():
        if n > 1 and token not in book.copied and not (book.pasted[token] and n <= 1 + _in_vain(weather, token)):
            yield f"twice: {token} was executed {n} times"
    there = {token for key, token in book.wanted.items() if book.is_there[key]}
    yield from (f"rows: {token} never ran" for token in sorted(there - set(by_token)))
    outcome.executions = len(runs)
    outcome.experiments, outcome.deleted = len(book.wanted), len(book.wanted) - len(there)
    outcome.acts = dict(sorted(book.acts.items()))


def _in_vain(weather: Weather, token: str) -> int:
    experiments = weather.world().world.state.experiments.values()
    return sum(one.spec.params["token"] == token and not is_done(one) for one in experiments)


def run(storm: Storm, outcome: Outcome, tell: Tell) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sheetd-storm-"))
    began_s = time.monotonic()
    witness.install()
    before = witness.WITNESS.ours
    try:
        with ExitStack() as undo:
            weather = Weather(storm, folder, undo)
            weather.lab.begin()
            blow(weather, tell)
            outcome.violations += rest(weather, tell)
            outcome.violations += examine(weather, outcome)
            outcome.held_against_google = witness.WITNESS.ours - before
            outcome.violations += [f"google: {found}" for found in witness.WITNESS.findings()]
    finally:
        outcome.seconds = time.monotonic() - began_s
        if storm.keep or outcome.violations:
            outcome.kept = str(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=Storm.minutes)
    parser.add_argument("--seed", type=int, default=Storm.seed)
    parser.add_argument("--experiments", type=int, default=Storm.experiments)
    parser.add_argument("--copies", type=int, default=Storm.copies, help="rows that the script copies with their ids")
    parser.add_argument("--slots", type=int, default=Storm.slots, help="of each of the two hosts")
    parser.add_argument("--pause-s", type=float, default=Storm.pause_s, help="mean time between acts of a person")
    parser.add_argument("--rest-s", type=float, default=Storm.rest_s, help="after this long at rest a row is stuck")
    parser.add_argument("--keep", action="store_true", help="keep the folder, whatever was found")


def main(chosen: argparse.Namespace, tell: Tell) -> Outcome:
    storm = Storm(**{one.name: getattr(chosen, one.name) for one in fields(Storm)})
    outcome = Outcome(storm)
    try:
        run(storm, outcome, tell)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    except Exception:  # noqa: BLE001 - told in the summary, which must come whatever happens
        outcome.broken = traceback.format_exc()
    return outcome
