"""The supervisor: keeps one attempt. It starts, waits without polling, restarts, stops, and writes down how it ended.

It outlives every connection and every agent, and may itself be killed at any point: `agent.py` tells why each of its
steps is where it is. It must not signal what it cannot prove to be of its attempt, and must not say that a run ended
before nothing of it is left.

Weak: it wakes for nothing but ends, knocks and deadlines, so a job that fills the disk is not its business.
"""

import contextlib
import errno
import gc
import math
import os
import select
import signal
from typing import Any, Callable, Dict, List, Optional

from . import cgroup, stopping, visibility
from .attempt import Attempt
from .blank import NextRun
from .judgement import Identity, as_bytes, environment, how_it_ended
from .lease import Lease
from .release import Release
from .restarting import Policy, Step, next_step, words
from .shim import Command, Run, shim
from .stopping import Stopping, survivors
from .system import System, close_all_but, dump

LEFTOVER_GRACE_S = 5.0  # between TERM and KILL for what a finished job left behind

Json = Dict[str, Any]


class Supervisor:
    """Keeps one attempt: starts it, waits without polling, restarts it, stops it, and writes down how it ended."""

    def __init__(
        self,
        system: System,
        attempt: Attempt,
        lock: int,
        secrets: Optional[Json],
        umask: int,
        lease: Optional[Lease] = None,
    ) -> None:
        self.system = system
        self.attempt = attempt
        self.lock = lock
        self.secrets = secrets
        self.umask = umask
        self.boot = system.boot()
        self.spec: Json = attempt.load("spec.json") or {}
        self.claim: Json = attempt.load("claim.json") or {}
        self.marker = "SHEETD_MARKER={}".format(self.claim["marker"]).encode("ascii")
        restarts = self.spec.get("restarts") or {}
        self.policy = Policy(
            int(restarts.get("max", 0)),
            float(restarts.get("backoff_s", 1)),
            float(restarts.get("backoff_max_s", 300)),
            float(restarts.get("healthy_s", 600)),
        )
        self.lease = lease or Lease(system, self.spec.get("accelerators") or [])
        self.stopping = Stopping(system, self.marker, os.getpid(), self.claim["at"])
        self.complaint: Optional[str] = None
        self.terminated = False  # SIGTERM came to us: the host is going down, or somebody wants us gone
        self.reaper = False
        self.run: Optional[Run] = None
        self.next_run = NextRun(system, attempt)
        self.noted: Optional[Json] = None
        self.orphan_status: Optional[int] = None  # the job's, when its shim was killed and we inherited it

    def keep(self, ready: int) -> None:
        """The supervisor's whole life."""
        self.settle_in(ready)
        if self.attempt.has("exit.json"):
            return
        runs = self.attempt.runs()
        if runs:
            proc = self.attempt.load("proc.{}.json".format(runs - 1)) or {}
            run = Run(runs - 1, *self.attempt.who(runs - 1), mine=False, cgroup=proc.get("cgroup"))
            self.stopping.follow(run.shim, run.job, run.cgroup)
        else:
            if self.stop_wanted():
                self.system.publish(self.attempt.at("tomb"), b"stopped before its start\n", durable=True)
                return
            run = self.start(0)
        with contextlib.suppress(BrokenPipeError):  # the agent need not wait for us
            os.write(ready, b"1")
        os.close(ready)
        ends: List[Json] = []
        while True:
            if run.k < self.policy.restarts_max:
                self.next_run.lay_out(run.k)
            end = self.follow(run)
            ends = [*ends, end] if ends else self.ends()
            step = next_step(self.policy, ends, self.secrets_lost())
            taken = self.lease.take()
            if taken is not None and step.restart_at is not None:
                step = Step(None, "no restart: {} was leased away while its supervisor was dead".format(taken))
            if step.restart_at is None or not self.pause(end, step.restart_at):
                self.finish(run, end, step)
                return
            former, run = run, self.start(run.k + 1)
            cgroup.remove(former.cgroup)

    def settle_in(self, ready: int) -> None:
        """Nothing of the connection is kept: no descriptor, no directory, no signal of the terminal."""
        getattr(gc, "freeze", gc.disable)()  # a collection would write to every page that is shared with the agent
        null = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(null, handle)
        close_all_but((0, 1, 2, self.lock, ready, *self.lease.handles.values()))
        os.chdir("/")
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        self.wakeup, wakeup_in = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_in, False)
        signal.set_wakeup_fd(wakeup_in)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_terminate)
        self.knock = os.open(self.attempt.at("wake"), os.O_RDWR | os.O_NONBLOCK)  # both ends: never at end of file
        self.reaper = self.system.reap_orphans()
        self.lease.take()  # where we replace another, what its shim does not still have
        former = self.attempt.load("supervisor.json") or {}  # whom we replace was where we go on
        self.note(former.get("phase", "running"), former.get("restart_at"), former.get("reason"))

    def on_terminate(self, *_: Any) -> None:
        self.terminated = True

    def note(self, phase: str, restart_at: Optional[float] = None, reason: Optional[str] = None) -> None:
        """Say who keeps the attempt and what it waits for; read by `state`, never needed for a decision."""
        me = self.system.process(os.getpid())
        content = {
            "keeper": me.identity if me else None,
            "phase": phase,
            "restart_at": restart_at,
            "reason": reason,
            "unkillable": self.complaint is not None,
        }
        if content == self.noted:
            return
        with contextlib.suppress(OSError):  # a full disk must not stop the one who writes down the end
            self.system.replace(self.attempt.at("supervisor.json"), dump(content))
            self.noted = content

    def stop_wanted(self) -> Optional[Json]:
        """The order to stop, if there is one by now."""
        if self.terminated and not self.attempt.has("stop.json"):
            reason = "ended by SIGTERM to its supervisor: the host shuts down, or somebody on it wanted this"
            grace = min(float(self.spec.get("grace_s", 60)), 60.0)
            content = {"at": self.system.boottime(), "grace_s": grace, "asked": False, "reason": reason}
            self.system.replace(self.attempt.at("stop.json"), dump(content))
        return self.attempt.load("stop.json")

    def ends(self) -> List[Json]:
        loaded = [self.attempt.load("exit.{}.json".format(k)) for k in range(self.attempt.runs())]
        return [end for end in loaded if end is not None]

    def secrets_lost(self) -> bool:
        return self.secrets is None and bool(self.claim["secret_names"])

    def start(self, k: int) -> Run:
        """Start run k. Dying anywhere before the gate opens leaves a run that was provably never executed."""
        attempt = self.attempt
        started = {"at": self.system.boottime(), "log": os.stat(attempt.at("log")).st_size}
        started["oom_kills"] = self.system.oom_kills()
        if not self.system.publish(attempt.at("started.{}".format(k)), dump(started)):
            raise RuntimeError(
                "run {} of {} was started by somebody else while we held its lock".format(k, attempt.name)
            )
        self.lease.take()
        command = self.command(k)
        gate, gate_in = os.pipe()
        report_out, report = os.pipe()
        leases = tuple(self.lease.handles.values())
        pid = self.system.fork("shim", lambda: shim(self.system, attempt, k, command, gate, report, leases))
        os.close(gate)
        os.close(report)
        said = os.read(report_out, 32)  # one write; at its end the shim died before
        os.close(report_out)
        parent, child = self.system.process(pid), self.system.process(int(said)) if said else None
        identities = (parent.identity if parent else None, child.identity if child else None)
        run = Run(k, *identities, mine=True, cgroup=command.cgroup)
        if run.shim and run.job:
            proc = {"shim": run.shim, "job": run.job, "boot": self.boot, "cgroup": run.cgroup}
            self.system.replace(attempt.at("proc.{}.json".format(k)), dump(proc))
            self.system.open_gate(gate_in)
        os.close(gate_in)
        self.run, self.orphan_status = run, None
        self.stopping.follow(run.shim, run.job, run.cgroup)
        self.note("running")
        return run

    def command(self, k: int) -> Command:
        attempt, spec = self.attempt, self.spec
        resume = attempt.resume_folder(k, bool(spec.get("resume", True)))
        out = os.path.join(attempt.home, "out")
        home = attempt.working_copy(spec["code"]) if spec.get("code") else out
        place = {
            "id": attempt.experiment,
            "attempt": attempt.name,
            "marker": self.claim["marker"],
            "k": k,
            "resume": resume,
            "out": out,
            "checkpoints": attempt.checkpoints(attempt.number),
            "metrics": attempt.at("metrics.jsonl"),
            "params": attempt.at("params.json"),
            "library": os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"),
        }
        given: List[Json] = (attempt.load("granted.json") or {}).get("accelerators") or []
        port = self.lease.port or self.lease.take_port(attempt.name)
        place.update(visibility.place(given, self.system.cores(), port))
        argv = (resume and spec.get("resume_argv")) or spec["argv"]
        env = environment(dict(os.environb), spec, self.secrets or {}, place)
        # One for each run: a kernel may kill what is born into a cgroup that was killed before (seen on Linux 6.18).
        group = cgroup.make("{}-{}-{}".format(attempt.name, self.claim["marker"][:12], k))
        folder = os.path.join(home, spec.get("cwd") or "")
        return Command([as_bytes(word) for word in argv], env, folder, self.umask, group)

    def follow(self, run: Run) -> Json:
        """Wait for the end of run k, obeying a stop meanwhile, and write it down once nothing of the run is left."""
        done = self.attempt.load("exit.{}.json".format(run.k))
        if done is not None:  # adopted after its end
            return done
        while True:
            alive = [one for one in (run.shim, run.job) if one and self.system.alive(one)]
            if not alive:
                break
            if not run.mine:
                self.lease.take()  # its shim, which had it, may have been killed
            stop = self.stop_wanted()
            # A job that ends before its shim is not news: there is something to do when the shim has testified.
            self.wait(alive[:1], self.obey(stop) if stop is not None else None)
        ended = self.system.boottime()
        self.reap()
        status = self.shim_status(run)
        status = self.orphan_status if status is None else status
        testimony = self.attempt.load("rc.{}".format(run.k))
        started = self.attempt.load("started.{}".format(run.k)) or {}
        end = how_it_ended(testimony, status, recorded=run.job is not None)
        end["witness"] = "supervisor" if run.mine else "shim"
        end["ended"] = (testimony or {}).get("at", ended)
        end["duration_s"] = max(0.0, end["ended"] - started.get("at", ended))
        is_strange = end["signal"] == signal.SIGKILL and not self.stopping.was_killed_by_us()
        end["oom"] = is_strange and self.system.oom_kills() > started.get("oom_kills", 0)
        self.clear(run, thorough=False)
        path = self.attempt.at("exit.{}.json".format(run.k))
        self.surely(lambda: self.system.replace(path, dump(end)))
        return end

    def shim_status(self, run: Run) -> Optional[int]:
        """The shim's wait status, without reaping it.

        It stays a zombie until `clear` is through: as long as it is one, its number, which is also the session's,
        cannot be given to anybody else. None for a shim that was killed: it had nothing to say about the job.
        """
        if not run.mine or run.shim is None:
            return None
        status = os.waitid(os.P_PID, run.shim.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return int(status.si_status) << 8 if status is not None and status.si_code == os.CLD_EXITED else None

    def reap(self) -> List[int]:
        """Reap every ended child but the shim, so that orphans do not pile up; returns the living ones."""
        run = self.run
        children = self.system.children()
        if children is None:
            table = self.stopping.table()
            children = [process.identity.pid for process in table if process.parent == os.getpid()]
        living = []
        for pid in children:
            if run is not None and run.mine and run.shim is not None and pid == run.shim.pid:
                continue
            with contextlib.suppress(ChildProcessError):
                reaped, status = os.waitpid(pid, os.WNOHANG)
                if not reaped:
                    living.append(pid)
                elif run is not None and run.job is not None and pid == run.job.pid:
                    self.orphan_status = status
        return living

    def obey(self, stop: Json) -> float:
        """Carry a stop further. Returns seconds until it needs another look."""
        pause = self.stopping.obey(stop)
        if self.system.boottime() - stop["at"] - stop["grace_s"] > stopping.UNKILLABLE_S:
            self.complain("stopping", survivors(len(self.stopping.targets())))
        return pause

    def complain(self, phase: str, reason: str) -> None:
        """Nothing helps against what still lives: say so, and go on keeping it."""
        if self.complaint != reason:
            self.complaint = reason
            self.note(phase, reason=reason)

    def clear(self, run: Run, thorough: bool) -> None:
        """Return only when nothing of the run is left: TERM, a short grace, KILL, for whatever outlived the job.

        Our own children tell it without a look at the whole process table: as a subreaper we inherit every orphan of
        a run that we forked. That makes a restart prompt; the end of the attempt looks thoroughly.
        """
        begun = self.system.boottime()
        patience = begun + min(float(self.spec.get("grace_s", 60)), LEFTOVER_GRACE_S)
        stop = self.stop_wanted()
        if stop is not None:
            patience = min(patience, stop["at"] + stop["grace_s"])
        while True:
            if not self.reap() and self.reaper and run.mine and not thorough:
                break
            left = self.stopping.targets()
            if not left:
                break
            now = self.system.boottime()
            self.stopping.send(left, signal.SIGTERM if now < patience else signal.SIGKILL)
            if now - patience > stopping.UNKILLABLE_S:
                self.complain("clearing", survivors(len(left)))
            self.wait(left[:32], 0.05 if now - begun < 1.0 else 0.5)
        if run.mine and run.shim is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(run.shim.pid, os.WNOHANG)

    def pause(self, end: Json, until: float) -> bool:
        """Wait out the backoff. False when a stop came first."""
        if until > self.system.boottime():
            self.note("backoff", restart_at=until, reason="crashed with {}".format(words(end)))
        while not self.stop_wanted():
            left = until - self.system.boottime()
            if left <= 0:
                return True
            self.wait([], left)
        return False

    def wait(self, processes: List[Identity], timeout: Optional[float]) -> None:
        """Sleep until one of these ends, a child ends, somebody knocks, or the time is over."""
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        poll.register(self.knock, select.POLLIN)
        pidfds = [handle for handle in (self.system.pidfd(one.pid) for one in processes) if handle is not None]
        for handle in pidfds:
            poll.register(handle, select.POLLIN)
        if processes and not self.system.has_pidfd:
            timeout = 1.0 if timeout is None else min(timeout, 1.0)
        if all(self.system.alive(one) for one in processes):  # after the pidfds were opened: none of them is another's
            poll.poll(None if timeout is None else math.ceil(max(0.0, timeout) * 1000))
        for handle in pidfds:
            os.close(handle)
        for handle in (self.wakeup, self.knock):
            with contextlib.suppress(BlockingIOError):
                os.read(handle, 4096)
        self.reap()

    def finish(self, run: Run, end: Json, step: Step) -> None:
        """Write the end of the attempt, which nothing follows."""
        self.clear(run, thorough=True)
        self.release(run)
        stop = self.stop_wanted()
        if stop is not None and stop["at"] > end["ended"] and step.restart_at is None:
            stop = None  # it came when the end was a fact already
        unseen = words(end) == "unseen" and not end["error"] and not (stop or {}).get("asked")
        reason = stop["reason"] if stop is not None else None
        if unseen and stop is None:
            reason = "nobody saw how it ended: its supervisor and its shim were killed"
            if not end["executed"]:
                reason = "it was never executed: who should have started it was killed, or got no process"
        content = dict(end)
        content.update(
            stopped=stop is not None and stop["asked"],
            lost=unseen,
            gave_up=None if stop is not None else step.gave_up,
            restarts=run.k,
            reason=reason,
            boot=self.boot,
        )
        path = self.attempt.at("exit.json")
        self.surely(lambda: self.system.publish(path, dump(content), durable=True))
        self.next_run.clear_away()

    def release(self, run: Run) -> None:
        """Return only when the accelerators are given back: whoever hears of the end may hand them out again."""
        self.complaint = None
        Release(self.system, self.attempt, self.spec).settle(self.stopping.seen, self.complain, self.wait)
        cgroup.remove(run.cgroup)
        self.lease.give_back()

    def surely(self, write: Callable[[], Any]) -> None:
        """Write down an end, however long it takes: on a full disk the reserve gives back the blocks that it needs."""
        while True:
            try:
                write()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
            else:
                return
            if self.attempt.has("reserve"):
                os.unlink(self.attempt.at("reserve"))
            else:
                self.note("recording", reason="its end cannot be recorded: the disk is full")
                self.wait([], 5.0)
