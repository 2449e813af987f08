"""Many rows of `true` over four sshd hosts with four slots each, beside GNU parallel and HyperQueue.

    python -m tests.benchmarks.many_rows [--rows 500] [--rounds 3]

Ours is the real `sheetd run`: from the write that types `run` into every row's `action`, through journal, launch,
supervision and end on the hosts, until the sheet (the built-in one, over HTTP, in a process of its own) shows every row
as succeeded. GNU parallel runs the same command on the same hosts, over ControlMasters, and remembers exit codes.
HyperQueue keeps workers on this machine, and no SSH, sheet or disk is in its way.

CPU is that of everybody who works on the jobs, the hosts included; the sheet's server is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sheetd.core.grid import CellUpdate, SheetWrite
from sheetd.errors import JournalError
from sheetd.journal import JournalReader
from tests.benchmarks.sheet_cycle import server_process
from tests.benchmarks.side_by_side import Comparison, Samples, take_turns, told
from tests.needs import cgroup_root, program
from tests.rig.fleet import Fleet
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

HOSTS = 4
SLOTS = 4
HEADER = ("n", "action", "status", "message", "host", "attempt", "runtime", "started", "id")
STATUS = HEADER.index("status")
TEMPLATE = """\
command = ["true", "{n}"]
[params.n]
type = "integer"
"""
#: How often the daemon reads the sheet. Its default is for Google's quota; the built-in sheet has none.
POLL_S = 0.5
LOOK_EVERY_S = 0.2
PATIENCE_S = 300.0

#: Arguments: tasks, workers, cores. Prints seconds from handing over to the end of the last.
HYPERQUEUE = """\
import sys, time
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

tasks, workers, cores = map(int, sys.argv[1:])
with LocalCluster() as cluster:
    for _ in range(workers):
        cluster.start_worker(WorkerConfig(cores=cores))
    client, job = cluster.client(), Job()
    for _ in range(tasks):
        job.program(["true"])
    began = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    print(time.monotonic() - began)
"""


class Cage:
    """A cgroup of the benchmark's own: what ran in it, detached or not, is counted and ends with it."""

    def __init__(self, name: str) -> None:
        root = cgroup_root()
        assert root is not None, "needs cgroup v2"
        self._folder = root / f"sdbench{os.getpid()}{name}"
        self._folder.mkdir()

    def inside(self, *argv: str) -> list[str]:
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._folder), *argv]

    def cpu_s(self) -> float:
        usage = (self._folder / "cpu.stat").read_text().split()
        return int(usage[usage.index("usage_usec") + 1]) / 1e6

    def close(self) -> None:
        (self._folder / "cgroup.kill").write_text("1")
        wait_for(self._is_removed, "the cgroup is empty")

    def _is_removed(self) -> bool:
        try:
            self._folder.rmdir()
        except OSError:
            return False
        return True


class Lab:
    """A daemon over a tab, with the rows typed in and nothing started yet."""

    def __init__(self, folder: Path, fleet: Fleet, address: Address, cage: Cage, rows: int) -> None:
        self._rows = rows
        self._folder = folder
        tab = folder.name
        self._person = address.open(tab)
        self._write_rows()
        (folder / "templates").mkdir(parents=True)
        (folder / "templates" / "true.toml").write_text(TEMPLATE)
        hosts = "".join(f'[[hosts]]\nname = "{host.alias}"\nslots = {SLOTS}\n' for host in fleet)
        (folder / "sheetd.toml").write_text(
            f'[sheet]\nurl = "{address.base_url}"\nkey = "{address.key}"\ntoken = "{address.token}"\ntab = "{tab}"\n'
            f'ready = "explicit"\npoll_s = {POLL_S}\n'
            f'[daemon]\nstate_dir = "state"\nssh_config = "{fleet.ssh_config}"\n{hosts}'
        )
        argv = [sys.executable, "-m", "sheetd", "run", "--config", str(folder / "sheetd.toml")]
        self._log = (folder / "daemon.log").open("wb")
        self._daemon = subprocess.Popen(
            cage.inside(*argv), stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )
        wait_for(lambda: hosts_up(folder / "state") == len(fleet), "every host is connected", within_s=60.0)
        # The row's ids are there as well: what is measured is the running.
        wait_for(lambda: self._count("id", lambda text: text != "") == rows, "every row has its id", within_s=60.0)

    def _write_rows(self) -> None:
        self._person.create_tab_if_missing(len(HEADER))
        self._person.write_header(HEADER)
        grid = self._person.read()
        if self._rows >= grid.row_count:
            append = {"sheetId": grid.tab_id, "dimension": "ROWS", "length": self._rows + 1 - grid.row_count}
            self._person.client.batch_update(self._person.key, {"requests": [{"appendDimension": append}]})
        self._type("n", range(1, self._rows + 1))

    def _type(self, header: str, values: Sequence[int | str]) -> None:
        column = HEADER.index(header)
        updates = tuple(CellUpdate(row=row, column=column, value=value) for row, value in enumerate(values, start=1))
        self._person.write(SheetWrite(tab_id=self._person.read().tab_id, updates=updates))

    def _count(self, header: str, such_that: Callable[[str], bool]) -> int:
        column = HEADER.index(header)
        cells = (row[column].shown for row in self._person.read().rows[1:] if len(row) > column)
        return sum(such_that(text) for text in cells)

    def run_all(self) -> float:
        """Start every row; seconds until every row says that it succeeded."""
        began_s = time.monotonic()
        self._type("action", ["run"] * self._rows)
        while (done := self._count("status", "succeeded".__eq__)) < self._rows:
            if time.monotonic() - began_s > PATIENCE_S or self._daemon.poll() is not None:
                log = (self._folder / "daemon.log").read_text()[-2000:]
                raise AssertionError(f"{done} of {self._rows} rows have succeeded; the daemon said: {log}")
            time.sleep(LOOK_EVERY_S)
        return time.monotonic() - began_s

    def close(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        self._log.close()
        self._person.close()


def hosts_up(state_dir: Path) -> int:
    try:
        view = JournalReader(state_dir).view("hosts")
    except JournalError:
        return 0  # not made yet
    return 0 if view is None else sum(host["is_up"] for host in view.value.values())


class Bench:
    """Four hosts and a sheet, on which each contender runs once per round."""

    def __init__(self, folder: Path, fleet: Fleet, address: Address, rows: int) -> None:
        self._folder = folder
        self._fleet = fleet
        self._address = address
        self._rows = rows
        self._round = 0

    def sheetd(self) -> Mapping[str, float]:
        self._round += 1
        folder = self._folder / f"lab{self._round}"
        folder.mkdir()
        with (
            contextlib.closing(Cage("sheetd")) as cage,
            contextlib.closing(Lab(folder, self._fleet, self._address, cage, self._rows)) as lab,
        ):
            hosts_s, daemon_s = self._hosts_cpu_s(), cage.cpu_s()
            elapsed_s = lab.run_all()
            spent_s = self._hosts_cpu_s() - hosts_s, cage.cpu_s() - daemon_s
        return self._figures(elapsed_s, hosts_cpu=spent_s[0], own_cpu=spent_s[1])

    def parallel(self) -> Mapping[str, float]:
        config = self._folder / "masters_config"
        auto = f"Host *\n ControlMaster auto\n ControlPath {self._folder}/master-%n\n ControlPersist 60\n"
        config.write_text(self._fleet.ssh_config.read_text() + auto)
        ssh = f"ssh -F {config}"
        with contextlib.closing(Cage("parallel")) as cage:
            for host in self._fleet:
                subprocess.run(cage.inside(*ssh.split(), host.alias, "true"), check=True, stderr=subprocess.DEVNULL)
            hosts_s, own_s, began_s = self._hosts_cpu_s(), cage.cpu_s(), time.monotonic()
            logins = ",".join(f"{SLOTS}/{ssh} {host.alias}" for host in self._fleet)
            numbers = "".join(f"{number}\n" for number in range(self._rows))
            joblog = self._folder / "joblog"
            argv = ("parallel", "--will-cite", "--joblog", str(joblog), "-S", logins, "true {}")
            subprocess.run(cage.inside(*argv), input=numbers, text=True, check=True, capture_output=True)
            elapsed_s = time.monotonic() - began_s
            figures = self._figures(elapsed_s, hosts_cpu=self._hosts_cpu_s() - hosts_s, own_cpu=cage.cpu_s() - own_s)
        assert len(joblog.read_text().splitlines()) == self._rows + 1, "not every job was run"
        return figures

    def hyperqueue(self) -> Mapping[str, float]:
        with contextlib.closing(Cage("hyperqueue")) as cage:
            argv = (sys.executable, "-c", HYPERQUEUE, str(self._rows), str(HOSTS), str(SLOTS))
            # It puts two files for each task into the folder that it is started in.
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                told = subprocess.run(cage.inside(*argv), cwd=folder, text=True, check=True, capture_output=True).stdout
            return self._figures(float(told.split()[-1]), hosts_cpu=0.0, own_cpu=cage.cpu_s())

    def _hosts_cpu_s(self) -> float:
        return sum(host.cpu_s() for host in self._fleet)

    def _figures(self, elapsed_s: float, *, hosts_cpu: float, own_cpu: float) -> Mapping[str, float]:
        return {
            "jobs_per_s": self._rows / elapsed_s,
            "cpu_ms": (hosts_cpu + own_cpu) / self._rows * 1000,
            "own_cpu_ms": own_cpu / self._rows * 1000,
            "hosts_cpu_ms": hosts_cpu / self._rows * 1000,
        }


@contextlib.contextmanager
def bench(folder: Path, rows: int) -> Iterator[Bench]:
    with server_process() as address, Fleet(folder, HOSTS) as fleet:
        yield Bench(folder, fleet, address, rows)


def rivals() -> tuple[list[str], dict[str, str]]:
    missing = {}
    if program("parallel") is None:
        missing["parallel"] = "not installed (Debian: parallel)"
    if importlib.util.find_spec("hyperqueue") is None:
        missing["hyperqueue"] = "not installed (pip install hyperqueue)"
    return [name for name in ("parallel", "hyperqueue") if name not in missing], missing


def compared(taken: Mapping[str, Mapping[str, Samples]], rows: int, missing: Mapping[str, str]) -> Comparison:
    ours = taken["sheetd"]
    names = ("jobs_per_s", "cpu_ms", "own_cpu_ms", "hosts_cpu_ms")
    lines = [
        (
            name,
            *(told(figures[column]) for column in names),
            f"{ours['jobs_per_s'].median / figures['jobs_per_s'].median:.2f}",
            f"{ours['cpu_ms'].median / figures['cpu_ms'].median:.2f}",
        )
        for name, figures in taken.items()
    ]
    medians = {name: {figure: samples.median for figure, samples in figures.items()} for name, figures in taken.items()}
    return Comparison(
        title=f"{rows} jobs of `true` over {HOSTS} hosts x {SLOTS} slots: median (least..most)",
        columns=("", "jobs/s", "CPU ms a job", "at home", "on the hosts", "rate: sheetd / it", "CPU: sheetd / it"),
        rows=lines,
        figures={
            "benchmark": "many_rows",
            "rows": rows,
            "rate_ratios": {
                name: ours["jobs_per_s"].median / figures["jobs_per_s"].median for name, figures in taken.items()
            },
            "medians": medians,
        },
        missing=missing,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="store_true", help="sheetd alone, to look at itself")
    options = parser.parse_args()
    here, missing = ([], {}) if options.only else rivals()
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder), options.rows) as contest:
        contenders = {name: getattr(contest, name) for name in ("sheetd", *here)}
        compared(take_turns(options.rounds, contenders), options.rows, missing).tell()


if __name__ == "__main__":
    main()
