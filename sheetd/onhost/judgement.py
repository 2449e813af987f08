"""Judgement: facts in, verdict out. Every decision about an attempt on a host, and not one system call.

What state is it in, how did a run end, who is signalled, what does a job see: each is a function of its arguments, so
that a simulator can put a thousand odd worlds before it. Whether a job is restarted is decided in `restarting`.
"""

import os
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set

Json = Dict[str, Any]

# What a job gets of the login's environment. Not RANK, SLURM_* and their like: an agent inside an allocation must not
# make every job believe that it is a part of it. Proxies and library paths are how clusters are wired.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)


class Identity(NamedTuple):
    """A process that cannot be mistaken for a later one with the same number (within one boot)."""

    pid: int
    ticks: int  # start, in clock ticks after boot: field 22 of /proc/PID/stat, proc(5)


class Process(NamedTuple):
    """One line of the process table."""

    identity: Identity
    parent: int
    session: int
    dead: bool  # a zombie has ended, whatever its parent does
    marked: bool  # same user, and its environment names the attempt


class Facts(NamedTuple):
    """What the files of an attempt and /proc say."""

    ending: Optional[Json]  # exit.json
    claimed: bool
    tomb: bool
    same_boot: bool
    supervised: bool
    runs: int
    recorded: bool  # who executes the last run
    alive: bool  # its shim or its job
    stop: bool
    backoff: bool


def judge(facts: Facts) -> str:
    """The state's name. Endings first: they are final; then what cannot be true any more; then what lives."""
    if facts.ending is not None:
        return "lost" if facts.ending["lost"] else "exited"
    if not facts.claimed:
        return "absent"
    if facts.tomb:
        return "revoked"
    if not facts.same_boot:
        return "rebooted"
    if facts.stop:
        return "stopping"
    if not facts.runs or (facts.runs == 1 and facts.supervised and not facts.recorded):
        return "claimed"  # the second: started this moment, and about to be executed
    if facts.supervised and facts.backoff and not facts.alive:
        return "restarting"
    return "running"  # without a supervisor, too: only exit.json says that it ended


def how_it_ended(testimony: Optional[Json], status: Optional[int], recorded: bool) -> Json:
    """Rc, signal, error and executed of a run, from the best witness.

    The shim's file is exact. A wait status seen by the supervisor is the second best: the shim's, which mirrors the
    job's, or the orphaned job's own. Without either nobody knows, unless the run was never recorded: then the gate
    never opened.
    """
    end: Json = {"rc": None, "signal": None, "error": None, "executed": recorded}
    if testimony is not None and testimony.get("unstarted"):
        end["executed"] = False
    elif testimony is not None:
        end.update({name: testimony.get(name) for name in ("rc", "signal", "error")})
        end["executed"] = end["error"] is None
    elif status is not None and recorded:
        if os.WIFSIGNALED(status):
            end["signal"] = os.WTERMSIG(status)
        else:
            end["rc"] = os.WEXITSTATUS(status)
    return end


def who_to_signal(
    table: Iterable[Process], known: Set[Identity], keeper: int, contained: Iterable[int] = ()
) -> List[Identity]:
    """The living processes of an attempt. Six nets, because real jobs have slipped through each of them alone.

    `known` are the shim and job on record, `keeper` the supervisor asking. Ours is what is known, carries the marker,
    is in the attempt's cgroup (`contained`), is in the session of a known process that is still in the table (a zombie
    holds its number too, so the session cannot be another's), is a child of the supervisor (a subreaper gets orphans),
    or descends from any of these. Never the supervisor itself or its ancestors.
    """
    by_pid = {process.identity.pid: process for process in table}
    spared = set()
    above = by_pid.get(keeper)
    while above is not None and above.identity.pid not in spared:
        spared.add(above.identity.pid)
        above = by_pid.get(above.parent)
    sessions = {one.pid for one in known if one.pid in by_pid and by_pid[one.pid].identity == one}
    inside = set(contained)
    ours: Set[int] = set()
    grown = True
    while grown:
        grown = False
        for process in by_pid.values():
            pid = process.identity.pid
            if pid in ours or pid in spared or pid == 1:
                continue
            born_here = process.parent in ours or process.parent == keeper
            caught = process.marked or pid in inside or process.session in sessions
            if process.identity in known or caught or born_here:
                ours.add(pid)
                grown = True
    return sorted(by_pid[pid].identity for pid in ours if not by_pid[pid].dead)


def environment(login: Dict[bytes, bytes], spec: Json, secrets: Json, place: Json) -> Dict[bytes, bytes]:
    """A job's environment: a little of the login's, then the template's, then secrets, then what names the attempt."""
    env = {name: login[name] for name in map(str.encode, INHERITED) if name in login}
    given = dict(spec.get("env") or {})
    given.update(secrets)
    given = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "WANDB_RESUME": "allow", **given}
    given.setdefault("WANDB_RUN_ID", place["id"])
    for name, value in place["sensible"].items():
        given.setdefault(name, value)
    library = given.get("PYTHONPATH")
    given["PYTHONPATH"] = place["library"] + (":" + library if library else "")
    given.update(
        SHEETD_ID=place["id"],
        SHEETD_ATTEMPT=place["attempt"],
        SHEETD_MARKER=place["marker"],
        SHEETD_RESTART=str(place["k"]),
        SHEETD_RESUME="1" if place["resume"] else "0",
        SHEETD_OUTPUT_DIR=place["out"],
        CHECKPOINT_DIR=place["checkpoints"],
        SHEETD_METRICS_FILE=place["metrics"],
        SHEETD_PARAMS_FILE=place["params"],
    )
    given.update(place["binding"])
    if place["resume"]:
        given["SHEETD_RESUME_DIR"] = place["resume"]
    if "SHEETD_AFTER" in given:
        experiments = os.path.dirname(os.path.dirname(place["out"]))
        folders = [os.path.join(experiments, parent) for parent in given["SHEETD_AFTER"].split()]
        given["SHEETD_AFTER_DIRS"] = ":".join(folders)
    env.update({as_bytes(name): as_bytes(value) for name, value in given.items()})
    return env


def as_bytes(text: str) -> bytes:
    """UTF-8 whatever the host's locale says, so that a cell reaches argv byte for byte."""
    return text.encode("utf-8", "surrogateescape")
