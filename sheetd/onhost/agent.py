"""The agent: what answers the daemon on a host, and leaves supervisors behind that keep its attempts.

Standard library, Python 3.6 or later, no installation, no port, no root. Stage 0 (bootstrap.py) puts these files below
the state root and runs them; the agent serves framed JSON on stdin and stdout until stdin closes. Its end touches no
job. Any number of agents may serve one root at once, and each reads the world afresh for every answer.

What it is for: **an attempt is started at most once, and how it ended is never invented.** Each step is where it is
for that:

    a/<attempt>/            made by one rename: a claim is there whole or not at all, so a launch may be repeated
      claim.json spec.json  what was asked for, and on which boot of this machine
      sup.lock              flock. Taken by the agent *before* it forks and inherited by the supervisor: while it is
                            held somebody keeps this attempt, while it is free nobody does or is about to
      started.<k>           the point of no return of run k. Made with link(2): of any number of racers one succeeds
      proc.<k>.json         who runs: the shim and the job behind it, as (pid, start ticks). Only now the gate opens
                            and the job is executed. A supervisor that dies earlier closes the gate, and the job's
                            process ends unexecuted: no job ever runs unrecorded
      rc.<k>                the shim's testimony. The shim is the job's parent and survives the supervisor
      exit.<k>.json         how run k ended, written when nothing of it is left
      exit.json | tomb      the end of the attempt: link(2) again, the first writer wins, and nothing starts after it

      granted.json          the accelerators that it got. Their lease (`lease.py`) is taken before the fork as well, and
                            held by supervisor and shim until nothing of the job is left and nothing holds them

    agent ──fork──► supervisor ──fork──► shim ──fork──► job
                    keeps, restarts      waits,         in the shim's session, a group of its own;
                                         testifies      no closed connection reaches any of the three

A dead supervisor is replaced by any agent that notices (`heal`). The new one *adopts*: it waits for what still lives,
goes on within the restart budget (which is counted in files), or settles. Only exit.json says `exited` or `lost`. A
tomb is set only while the lock is free and nothing has started: a revoked attempt never runs, a launch after it is
refused.

Durability: within one boot the page cache is the truth, whatever process is killed, and another boot ends the attempt
by its boot identity. So fsync guards only what must outlive a power cut: claim, tomb, stop, exit, epoch, code.

A stop is TERM, the grace, ABRT to the job alone (Python then says where it hangs), KILL; over the nets of `judgement`
and, where one may be made, a cgroup. Accelerators are looked at by a detached child (`prober.py`), never on the way of
a launch or a stop.

Signals go to proven processes only: (pid, start ticks) is compared through a pidfd and then signalled through it.

Decisions are pure (judgement.py) and everything that touches the world goes through `System`, so that a simulator, or
a test that kills us between any two steps, can stand in for it.

Weak: without a cgroup, a job that clears its environment *and* leaves its session, *after* both its supervisor and its
shim were killed, escapes a stop. The account that jobs share with us could forge any of these files. Without pidfd
(Linux before 5.3) deaths are noticed within a second, not at once.
"""

import base64
import contextlib
import errno
import gc
import hashlib
import math
import os
import select
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .attempt import ATTEMPT, Attempt, Refused, let_go_on_error
from .blank import Blank
from .channel import Channel
from .claim import make_claim, prepare
from .collecting import collect_agents, collect_cgroups
from .fence import Fence
from .granting import grant
from .handing import Handing
from .hostfacts import NETWORK_FILESYSTEMS, filesystem_of, host_facts
from .lease import Lease
from .points import is_number
from .probedesk import ProbeDesk
from .spec import check_environment, checked_spec
from .state import claimed_with, describe, observe, tomb_words
from .stopping import order_stop
from .supervisor import Supervisor
from .system import System, dump, read_range, remove_tree, wait_readable, with_last_words
from .upload import CodeStore
from .watcher import Watcher

PROTOCOL = 1
DYING_S = 2.0  # how long a launch waits for a supervisor that was killed to let go of its lock
READY_S = 15.0  # how long a launch waits to hear that the job was started; it goes on anyway

Json = Dict[str, Any]


class Agent:
    """The verbs. Each reads the world afresh, so an agent may die at any time and another go on."""

    def __init__(self, system: System, root: str, umask: int) -> None:
        self.system = system
        self.root = root
        self.fence = Fence(system, root)
        self.umask = umask
        self.boot = system.boot()
        self.healed: Dict[str, Tuple[int, float]] = {}  # attempt: how often, when next at the earliest
        self.blank = Blank(system, root, self.fence)
        self.code = CodeStore(os.path.join(root, "code"))
        self.watcher = Watcher(system, root, self.state)
        self.probes = ProbeDesk(system, root, self.watcher.poll)
        for name in ("a", "x", "code"):
            os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
        self.verbs: Dict[str, Callable[[Json], Json]] = {
            "hello": self.hello,
            "ping": self.ping,
            "has_code": self.code.has_code,
            "put_code": self.put_code,
            "launch": self.launch,
            "status": self.status,
            "stop": self.stop,
            "hand_over": Handing(system, root, self.fence, self.state).answer,
            "watch": self.watch,
            "describe": self.describe,
            "tail": self.tail,
            "forget": self.forget,
            "accelerators": self.probes.answer,
        }

    def answer(self, request: Json) -> Json:
        """The answer to one request; whatever is wrong with it, the agent goes on."""
        number = request.get("id")
        try:
            verb = self.verbs.get(request.get("verb") or "", no_such_verb)
            return {"id": number, "ok": verb(request)}
        except Refused as refused:
            return {"id": number, "error": {"code": refused.code, "message": refused.message}}
        except OSError as error:
            code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "internal"
            return {"id": number, "error": {"code": code, "message": str(error)}}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = "{}: {}".format(type(error).__name__, error)
            return {"id": number, "error": {"code": "bad_request", "message": message}}

    def hello(self, request: Json) -> Json:
        if request.get("protocol") != PROTOCOL:
            raise Refused("bad_request", "this agent speaks protocol {}".format(PROTOCOL))
        kind = filesystem_of(self.root)
        if NETWORK_FILESYSTEMS.match(kind):
            raise Refused("bad_state_dir", "{} is on {}: name a folder on a local disk".format(self.root, kind))
        with self.fence.lock():
            # Epoch 0 is a daemon that only looks: it does not know yet whether it is the one to be obeyed.
            newest = self.fence.newest() if request.get("epoch") == 0 else self.fence.admit(request)
            for name in os.listdir(os.path.join(self.root, "a")):
                if name.startswith(".") and ATTEMPT.match(name[1:]):  # a claim whose agent was killed; the lock is ours
                    remove_tree(os.path.join(self.root, "a", name))
        self.blank.is_due = request.get("epoch") != 0
        attempts = self.attempts()
        for attempt in (Attempt(self.root, name) for name in attempts):
            if not (attempt.has("exit.json") or attempt.has("tomb")):
                self.state(attempt.name)  # replaces a dead supervisor
        known = {"protocol": PROTOCOL, "agent_sha": bundle_sha(), "epoch_max": newest, "attempts": attempts}
        return {**host_facts(self.system, self.root), **known}

    def put_code(self, request: Json) -> Json:
        with self.fence.lock():
            return self.code.put_code(request)

    def ping(self, _: Json) -> Json:
        return {"boottime_s": self.system.boottime()}

    def attempts(self) -> List[str]:
        return sorted(name for name in os.listdir(os.path.join(self.root, "a")) if ATTEMPT.match(name))

    def launch(self, request: Json) -> Json:
        """Start an attempt, once. Repeated, it answers with the state of what the first call started."""
        attempt = Attempt(self.root, request["attempt"])
        spec, secrets = checked_spec(request.get("spec")), request.get("secrets") or {}
        check_environment(secrets)
        deadline = self.system.boottime() + DYING_S
        while True:
            with self.fence.lock():
                self.fence.admit(request)
                undecided, ready = self.begin(attempt, request, spec, secrets)
            if ready is not None:
                wait_readable(ready, READY_S)
                os.close(ready)
                break
            if not undecided or self.system.boottime() > deadline:
                break
            time.sleep(0.01)  # its supervisor is about to start it or to die: no descriptor tells which
        self.watcher.appeared(attempt.name)
        return {"state": self.state(attempt.name)}

    def begin(self, attempt: Attempt, request: Json, spec: Json, secrets: Json) -> Tuple[bool, Optional[int]]:
        """Claim, and fork a supervisor if there is none. Under the host's lock.

        Returns whether the start is still open, and what `detach` returns if a supervisor was forked.
        """
        if not attempt.has("claim.json"):
            self.check_ticket(request)
            prepare(attempt, spec)
            make_claim(self.system, attempt, self.boot, request["nonce"], spec, secrets)
            self.blank.is_due = True
        claim = attempt.load("claim.json") or {}
        if attempt.has("tomb"):
            raise Refused(*tomb_words(attempt))
        if (claim["nonce"], claim["spec_sha"]) != (request["nonce"], hashlib.sha256(dump(spec)).hexdigest()):
            raise Refused("spec_conflict", "{} was claimed here with another spec or nonce".format(attempt.name))
        if claim["boot"] != self.boot or attempt.runs() or attempt.has("exit.json"):
            return False, None
        self.check_ticket(request)
        lock = attempt.lock()
        if lock is None:
            return True, None
        try:
            lease, refusal = grant(self.system, attempt, self.boot, spec)
            if refusal is not None:
                self.bury(attempt, refusal)
        except OSError:
            os.close(lock)
            raise
        if refusal is not None:
            os.close(lock)
            raise Refused(*tomb_words(attempt))
        return True, self.detach(attempt, lock, secrets, lease)

    def check_ticket(self, request: Json) -> None:
        """A launch that was stuck somewhere must not start a job that the daemon has given up meanwhile."""
        ticket = request["ticket"]
        if ticket["boot"] != self.boot:
            raise Refused("wrong_boot", "the host has booted since: say hello again and decide anew")
        if self.system.boottime() > ticket["deadline_boottime_s"]:
            raise Refused("ticket_expired", "the launch came too late: say hello again and decide anew")

    def detach(self, attempt: Attempt, lock: int, secrets: Optional[Json], lease: Optional[Lease] = None) -> int:
        """Fork a supervisor, which inherits lock and lease. Returns what is readable once it has started the job."""
        ready, ready_in = os.pipe()
        leases = list(lease.handles.values()) if lease is not None else []

        def keep() -> None:
            Supervisor(self.system, attempt, lock, secrets, self.umask, lease).keep(ready_in)

        def leave_behind() -> None:
            os.setsid()
            self.system.fork("supervisor", lambda: with_last_words(attempt.at("supervisor.err"), keep))

        try:
            launcher = self.system.fork("launcher", lambda: with_last_words(attempt.at("supervisor.err"), leave_behind))
        except OSError:  # no more processes for this user: let go of the lock, so that a later launch can try again
            for handle in (ready, ready_in, lock, *leases):
                os.close(handle)
            raise
        for handle in (ready_in, lock, *leases):
            os.close(handle)
        os.waitpid(launcher, 0)
        return ready

    def heal(self, attempt: Attempt) -> None:
        """Replace a supervisor that died. Slower each time for one that keeps dying, say on a full disk."""
        now = self.system.boottime()
        times, due = self.healed.get(attempt.name, (0, 0.0))
        if now < due:
            return
        with self.fence.lock(patience_s=0.2):
            lock = attempt.lock()
            if lock is None:  # there is one that has not introduced itself yet
                return
            with let_go_on_error(lock):
                is_over = attempt.has("exit.json") or attempt.has("tomb") or not attempt.runs()
                if is_over and attempt.has("stop.json") and not attempt.has("exit.json"):
                    self.bury(attempt)
            if is_over:
                os.close(lock)
                return
            os.close(self.detach(attempt, lock, None))
        times = 0 if now > due + 60.0 else min(times + 1, 9)
        self.healed[attempt.name] = (times, now + 0.2 * 2.0**times)

    def status(self, request: Json) -> Json:
        wanted = request.get("attempts")
        return {"attempts": {name: self.state(name) for name in (self.attempts() if wanted is None else wanted)}}

    def state(self, name: str) -> Json:
        """The AttemptState, from files and /proc alone; a dead supervisor that it finds is replaced."""
        attempt = Attempt(self.root, name)
        observed = observe(self.system, attempt, self.boot)
        unkept = not observed.facts.supervised and observed.verdict in ("running", "stopping")
        if unkept:
            with contextlib.suppress(Refused, OSError):  # busy, or no process left to fork: whoever looks next tries
                self.heal(attempt)
        elif observed.facts.supervised:
            self.watcher.keep_an_eye_on(name, observed.keeper)
        return describe(attempt, observed, self.system.boottime())

    def stop(self, request: Json) -> Json:
        """End an attempt: never started, it is revoked for good; else its supervisor is told, and the end is pushed."""
        attempt = Attempt(self.root, request["attempt"])
        grace = request.get("grace_s", 60)
        if not is_number(grace) or grace < 0:
            raise Refused("bad_request", "grace_s is no number of at least 0")
        with self.fence.lock():
            self.fence.admit(request)
            if not attempt.has("claim.json"):
                make_claim(self.system, attempt, self.boot, None, None, {})
            claim = attempt.load("claim.json") or {}
            over = attempt.has("exit.json") or attempt.has("tomb") or claim["boot"] != self.boot
            lock = None if over else attempt.lock()
            if lock is not None:
                self.stop_unsupervised(attempt, lock, grace)
            elif not over:
                order_stop(self.system, attempt, grace)
        self.watcher.appeared(attempt.name)
        return {"state": self.state(attempt.name)}

    def stop_unsupervised(self, attempt: Attempt, lock: int, grace: float) -> None:
        """Its supervisor is dead, and its job may live; or nothing of it was ever started."""
        never = not attempt.runs()
        with let_go_on_error(lock):
            self.bury(attempt) if never else order_stop(self.system, attempt, grace)
        os.close(lock if never else self.detach(attempt, lock, None))

    def bury(self, attempt: Attempt, why: str = "stopped before its start") -> None:
        """The tomb of what never started: nothing will, ever. The supervisor's lock is ours."""
        self.system.publish(attempt.at("tomb"), why.encode("ascii") + b"\n", durable=True)

    def describe(self, request: Json) -> Json:
        return {"attempts": {name: claimed_with(Attempt(self.root, name)) for name in request["attempts"]}}

    def watch(self, request: Json) -> Json:
        return {"attempts": self.watcher.follow(request["attempts"])}

    def tail(self, request: Json) -> Json:
        attempt = Attempt(self.root, request["attempt"])
        path = attempt.at({"log": "log", "metrics": "metrics.jsonl"}[request["stream"]])
        offset, most = int(request["offset"]), max(0, min(int(request["max_bytes"]), 8 << 20))
        size = read_range(path, 0, 0)[1]
        begin = max(0, min(size, size + offset if offset < 0 else offset))
        data, size = read_range(path, begin, most)
        return {
            "from": begin,
            "to": begin + len(data),
            "size": size,
            "data_base64": base64.b64encode(data).decode("ascii"),
        }

    def forget(self, request: Json) -> Json:
        """Give back an ended attempt's disk. That it was, and how it ended, stays: its id is never used again."""
        attempt = Attempt(self.root, request["attempt"])
        with self.fence.lock():
            self.fence.admit(request)
            verdict = observe(self.system, attempt, self.boot).verdict  # not `state`: it may want the lock that is ours
            if verdict not in ("exited", "lost", "revoked", "rebooted", "absent"):
                raise Refused("not_ended", "{} is {}: stop it first".format(attempt.name, verdict))
            if verdict != "absent":
                for name in set(os.listdir(attempt.folder)) - {"claim.json", "exit.json", "tomb"}:
                    os.unlink(attempt.at(name))
        return {"state": self.state(attempt.name)}


def no_such_verb(request: Json) -> Json:
    raise Refused("bad_request", "no such verb: {!r}".format(request.get("verb")))


def bundle_sha() -> str:
    """The hash that names what was shipped: stage 0 put it into a folder of this name, agents/<sha>/onhost/."""
    return os.path.basename(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def serve(system: System, root: str) -> None:
    """Answer until stdin closes. Pushes are made while the pipe is empty: a slow reader gets fewer, larger ones."""
    agent = Agent(system, root, os.umask(0o077))
    system.become("agent")
    os.chdir("/")
    collect_agents(root, bundle_sha())
    collect_cgroups()
    channel, watcher, probes = Channel(), agent.watcher, agent.probes
    watcher.poll.register(0, select.POLLIN)
    gc.collect()  # here, once: what supervisors share with us they need not look through
    while True:
        if channel.outgoing:
            watcher.poll.register(1, select.POLLOUT)
        dues = [due for due in (watcher.timeout(), probes.timeout()) if due is not None]
        timeout = None if channel.outgoing or not dues else min(dues)
        ready = {handle for handle, _ in watcher.poll.poll(None if timeout is None else math.ceil(timeout * 1000))}
        if channel.outgoing:
            watcher.poll.unregister(1)
            channel.flush()
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            for request in channel.feed(data):
                channel.send(agent.answer(request))
        watcher.heed(ready)
        probes.heed(ready)
        for push in (*watcher.pushes(), *probes.pushes()) if not channel.outgoing else ():
            channel.send(push)
        agent.blank.lay_out()


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] != "serve":
        sys.exit("usage: agent.py serve ROOT (it is started by the daemon)")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(System(), sys.argv[2])
