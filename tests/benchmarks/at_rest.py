"""What waiting costs: CPU and memory of agent, supervisor and shim per idle job, and of a daemon with nothing to do.

    python -m tests.benchmarks.at_rest [--jobs 20] [--hosts 50] [--rows 1000] [--seconds 60]

Memory is PSS, which counts a page that n processes share as one n-th: the processes of a host are forks of its agent.
The jobs' yardstick is a bare python3 that waits for a signal, and runit's runsv where it is installed. The daemon is
the real `sheetd run` with hosts behind a real sshd, and rows that have all ended over a sheet in another process; its
yardstick is a Python that has imported exactly the modules that such a daemon has, other than sheetd's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sheetd.core import events as ev
from sheetd.core.model import HostName, Proof, Reason, Restarts, SlotName, Spec, attempt_id
from sheetd.journal import SqliteJournal
from sheetd.sheets.google import GoogleSheet
from tests.benchmarks.laboratory import HEADER, TRAIN, Crowd, fill
from tests.benchmarks.many_rows import hosts_up
from tests.benchmarks.sheet_cycle import server_process
from tests.benchmarks.side_by_side import Comparison, proportional_kb, ticks_s
from tests.benchmarks.warm_host import WarmHost, warm_host
from tests.hosts.seen import order
from tests.needs import program
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

#: What the daemon loads; those of its own are left out.
LOADED = "import sys, sheetd.cli.run; print('\\n'.join(n for n in sys.modules if n.partition('.')[0] != 'sheetd'))"
IMPORTS_ONLY = """\
import contextlib, importlib, signal, sys

for name in sys.stdin.read().split():
    with contextlib.suppress(ImportError):  # made by another module, which is in the list as well
        importlib.import_module(name)
print("ready", flush=True)
signal.pause()
"""
SETTLE_S = 20.0
WAITS = "import signal; print('ready', flush=True); signal.pause()"


@dataclass(frozen=True)
class Idle:
    """One kind of process: how many there are, what each holds and takes, in the mean."""

    name: str
    count: int
    pss_kb: float
    cpu_share: float


def watch_idle(groups: dict[str, list[int]], seconds: float) -> dict[str, Idle]:
    """Let them be for a while, and see what they took."""
    before = {pid: ticks_s(pid) for pids in groups.values() for pid in pids}
    began_s = time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began_s
    return {
        name: Idle(
            name,
            len(pids),
            sum(map(proportional_kb, pids)) / len(pids),
            sum(ticks_s(pid) - before[pid] for pid in pids) / len(pids) / passed_s,
        )
        for name, pids in groups.items()
    }


def named(root: Path, name: str) -> list[int]:
    """The processes of a state folder that go by this name (proc(5), comm). Forks keep the agent's command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = str(root).encode() in (folder / "cmdline").read_bytes().split(b"\0")
            if is_ours and (folder / "comm").read_text().strip() == name:
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def waiting(argv: list[str], text: str = "") -> Iterator[int]:
    """A process that says that it is ready, by its number."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(text)
            child.stdin.close()
            assert child.stdout.readline() == "ready\n"
            yield child.pid
        finally:
            child.kill()


@contextlib.contextmanager
def runsv(folder: Path) -> Iterator[int]:
    (folder / "service").mkdir(parents=True)
    run = folder / "service" / "run"
    run.write_text("#!/bin/sh\nexec sleep 1000\n")
    run.chmod(0o755)
    keeper = subprocess.Popen([str(program("runsv")), str(folder / "service")], start_new_session=True)
    try:
        wait_for((folder / "service" / "supervise" / "pid").exists, "runsv keeps the service")
        yield keeper.pid
    finally:
        keeper.terminate()
        keeper.wait()


def measure_jobs(folder: Path, jobs: int, seconds: float) -> dict[str, Idle]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(LightSshd(folder))
        warm: WarmHost = stack.enter_context(warm_host(server))
        attempts = [warm.new_attempt() for _ in range(jobs)]
        for attempt in attempts:
            warm.host.launch(order(attempt, "sleep", "1000"))
        warm.host.watch(dict.fromkeys(attempts, 0))

        def at_rest() -> dict[str, list[int]] | None:
            """None while somebody is still what it was forked from."""
            found = {name: named(warm.root, f"sheetd-{name}"[:15]) for name in ("agent", "supervisor", "shim")}
            return found if [len(pids) for pids in found.values()] == [1, jobs, jobs] else None

        groups = wait_for(at_rest, "each job has a supervisor and a shim, and no more")
        groups["python3"] = [stack.enter_context(waiting(["python3", "-I", "-S", "-c", WAITS]))]
        if program("runsv"):
            groups["runsv"] = [stack.enter_context(runsv(folder))]
        return watch_idle(groups, seconds)


# --- the daemon --------------------------------------------------------------------------------------------------


def all_ended(ids: Iterable[str], fingerprints: Iterable[str]) -> Iterator[ev.Event]:
    """The journal of rows that have all been run, on a host that has other work by now."""
    spec = Spec(template=TRAIN.name, argv=("python3", "train.py"), restarts=Restarts(max=0))
    for number, (id_, print_) in enumerate(zip(ids, fingerprints, strict=True)):
        attempt = attempt_id(id_, 1)  # type: ignore[arg-type]
        yield ev.IdAssigned(experiment=id_, fingerprint=print_)  # type: ignore[arg-type]
        yield ev.RowAccepted(experiment=id_, spec=spec, fingerprint=print_, wall_s=1.7e9)  # type: ignore[arg-type]
        yield ev.LaunchIntended(
            attempt=attempt, host=HostName("host0"), slots=(SlotName("host0/0"),), nonce=f"{number:032x}"
        )
        yield ev.AttemptStarted(attempt=attempt, wall_s=1.7e9)
        yield ev.AttemptEnded(
            attempt=attempt,
            reason=Reason.SUCCEEDED,
            proof=Proof.EXIT_RECORD,
            exit_code=0,
            detail="",
            runtime_s=60.0 + number,
        )


def write_template(folder: Path) -> None:
    params = "".join(
        f"[params.{name}]\ntype = {json.dumps(param.type.value)}\n" for name, param in TRAIN.params.items()
    )
    metrics = "[metrics]\nloss = {}\nacc = {}\n"
    command = f"command = {json.dumps(list(TRAIN.command))}\n"
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / f"{TRAIN.name}.toml").write_text(command + params + metrics)


@contextlib.contextmanager
def daemon(folder: Path, server: LightSshd, address: Address, hosts: int, rows: int) -> Iterator[int]:
    """`sheetd run` that has connected to every host and written every row, by its number."""
    sheet = address.open("Rest")
    write_template(folder)
    crowd = Crowd(rows)
    typed = fill(sheet, crowd)
    with SqliteJournal(folder / "state") as journal:
        journal.append(list(all_ended(crowd.ids(), (row.fingerprint for row in typed))))
    aliases = "".join(f"Host host{number}\n HostName 127.0.0.1\n Port {server.port}\n" for number in range(hosts))
    (folder / "ssh_config").write_text(aliases + server.ssh_config.read_text())
    roots = "".join(
        f'[[hosts]]\nname = "host{number}"\nroot = "{server.folder}/root/{number}"\n' for number in range(hosts)
    )
    (folder / "sheetd.toml").write_text(
        f'[sheet]\nurl = "{address.base_url}"\nkey = "{address.key}"\ntoken = "{address.token}"\ntab = "Rest"\n'
        f'[daemon]\nstate_dir = "state"\nssh_config = "ssh_config"\n{roots}'
    )
    argv = [sys.executable, "-m", "sheetd", "run", "--config", str(folder / "sheetd.toml")]
    with (folder / "daemon.log").open("wb") as log:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: hosts_up(folder / "state") == hosts, "every host is connected", within_s=120.0)
        wait_for(lambda: _written(sheet) == rows, "every row shows its status", within_s=60.0)
        yield child.pid
    finally:
        child.terminate()
        child.wait()
        sheet.close()


def _written(sheet: GoogleSheet) -> int:
    column = HEADER.index("status")
    rows = sheet.read().rows[1:]
    return sum(len(row) > column and row[column].shown == "succeeded" for row in rows)


def measure_daemon(folder: Path, hosts: int, rows: int, seconds: float) -> dict[str, Idle]:
    loaded = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout
    with (
        server_process() as address,
        LightSshd(folder) as server,
        daemon(folder / "lab", server, address, hosts, rows) as pid,
        waiting([sys.executable, "-c", IMPORTS_ONLY], loaded) as imports_only,
    ):
        time.sleep(SETTLE_S)  # what follows from the start, such as the second look at accelerators, is no rest
        return watch_idle({"daemon": [pid], "imports only": [imports_only]}, seconds)


def compared(jobs: dict[str, Idle], lone: dict[str, Idle]) -> Comparison:
    everyone = {**jobs, **lone}
    per_job_kb = jobs["supervisor"].pss_kb + jobs["shim"].pss_kb
    ratio = lone["daemon"].pss_kb / lone["imports only"].pss_kb
    rows = [
        (one.name, str(one.count), f"{one.pss_kb / 1000:.2f}", f"{one.cpu_share * 100:.3f} %")
        for one in everyone.values()
    ]
    rows.append(("supervisor + shim, for each job", "", f"{per_job_kb / 1000:.2f}", ""))
    return Comparison(
        title=f"At rest, each in the mean. The daemon holds {ratio:.2f} of what its libraries alone do",
        columns=("", "how many", "PSS MB", "of a core"),
        rows=rows,
        figures={
            "benchmark": "at_rest",
            "pss_mb": {one.name: one.pss_kb / 1000 for one in everyone.values()},
            "cpu_share": {one.name: one.cpu_share for one in everyone.values()},
            "job_pss_mb": per_job_kb / 1000,
            "daemon_ratio": ratio,
        },
        missing={} if "runsv" in jobs else {"runsv": "not installed (Debian: runit)"},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "jobs").mkdir()
        (Path(folder) / "daemon").mkdir()
        jobs = measure_jobs(Path(folder) / "jobs", options.jobs, options.seconds)
        lone = measure_daemon(Path(folder) / "daemon", options.hosts, options.rows, options.seconds)
    compared(jobs, lone).tell()


if __name__ == "__main__":
    main()
