"""What a seed does to the hosts and to the daemon. One thread for each host and one for the daemon; no thread judges.

A host's nemesis waits a random moment, or lies in ambush until something new has been forked, and then kills one of
sheetd's processes, a job or sshd, breaks the network, or cuts the power. After many of its kills a decoy takes over
the number of the dead process. The seed decides what is drawn and when; what is alive at that moment is real life's.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

from tests.acceptance.project import Project
from tests.campaign.decoy import Decoys
from tests.campaign.laboratory import Laboratory
from tests.campaign.tally import Tally
from tests.campaign.victims import FAMILY, Victim, strike, victims
from tests.rig.fleet import SSH_PORT, FleetHost
from tests.rig.light_sshd import greets

#: All that keeps one attempt, and its job, and perhaps the agent: then decoys have their numbers before anybody looks.
FAMILY_AT_ONCE = "family"
#: How often each is drawn.
KILLS = {"job": 26, "shim": 22, "supervisor": 26, "agent": 5, "sshd": 4, "launcher": 3, FAMILY_AT_ONCE: 12}
FAULTS = {"reboot": 2, "reset": 2, "stall": 2, "lost answers": 2, "lost bytes": 2, "delay": 2}
WEIGHTS = KILLS | FAULTS
AMBUSH = 0.4
AMBUSH_S = 0.5
DECOY = 0.6


class Thread(threading.Thread, ABC):
    """Ends when told, and keeps what went wrong for whoever joins it."""

    def __init__(self, name: str, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = stop
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as trouble:  # noqa: BLE001 - raised again by the main thread
            self.trouble = trouble
            self.stopping.set()

    @abstractmethod
    def work(self) -> None:
        """What it does until it is told to stop."""

    def pause(self, seconds: float) -> bool:
        """Whether to go on afterwards."""
        return not self.stopping.wait(seconds)


@final
class HostNemesis(Thread):
    def __init__(
        self, lab: Laboratory, host: FleetHost, seed: int, gap_s: float, tally: Tally, stop: threading.Event
    ) -> None:
        super().__init__(f"nemesis of {host.alias}", stop)
        self.draw = random.Random(f"{seed} {host.alias}")
        self.lab, self.host, self.tally, self.gap_s = lab, host, tally, gap_s
        self.proxy = lab.proxies[host.alias]
        self.decoys = Decoys(host, lab.keeper)
        self.is_listening = True
        self.network: dict[str, Callable[[], None]] = {
            "reset": self.reset,
            "stall": self.stall,
            "lost answers": self.lose_answers,
            "lost bytes": self.lose_bytes,
            "delay": self.delay,
        }

    def work(self) -> None:
        try:
            while self.pause(self.draw.expovariate(1.0 / self.gap_s)) and not self.tally.is_enough:
                kind = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
                if kind == "reboot":
                    self.reboot()
                elif kind in self.network:
                    self.tally.fault(self.host.alias, kind)
                    self.network[kind]()
                else:
                    self.kill(kind)
        finally:
            self.make_whole()

    def make_whole(self) -> None:
        """No fault outlives the storm; the decoys stay, for what rests next to them must come to rest all the same.

        Connections that may be half open are reset, as by a network that comes back.
        """
        self.proxy.cut()
        self.proxy.heal()
        if not self.is_listening:
            self.host.start_sshd()

    def close_decoys(self) -> None:
        self.decoys.close()

    # --- kills -----------------------------------------------------------------------------------------------------

    def kill(self, role: str) -> None:
        """One kill, of this role if there is anybody, else of somebody who keeps or is a job."""
        is_new = self.lie_in_ambush() if self.draw.random() < AMBUSH else lambda _: False
        there = [one for one in victims(self.host) if one.attempt or one.role not in FAMILY]
        wanted = [one for one in there if one.role == role] or [one for one in there if one.role in FAMILY]
        fresh = [one for one in wanted if is_new(one)] or wanted
        if not fresh:
            return
        chosen = self.draw.choice(fresh)
        dead = [one for one in self.struck_with(chosen, there, role) if strike(one)]
        for one in dead:
            self.tally.kill(self.host.alias, one.role, one.inner_pid, one.attempt, one.k)
        if any(one.role == "sshd" for one in dead):
            self.mend_sshd()
        elif self.draw.random() < DECOY or role == FAMILY_AT_ONCE:
            for one in dead:
                if self.decoys.plant(one.inner_pid, one.role):
                    self.tally.decoy(one.role)

    def struck_with(self, chosen: Victim, there: list[Victim], role: str) -> list[Victim]:
        if role != FAMILY_AT_ONCE:
            return [chosen]
        with_agent = self.draw.random() < 0.7
        return [one for one in there if one.attempt == chosen.attempt or (with_agent and one.role == "agent")]

    def lie_in_ambush(self) -> Callable[[Victim], bool]:
        """Return soon after the host forked something, with what tells the new from the old."""
        before = set(self.host.pids())
        until_s = time.monotonic() + AMBUSH_S
        while time.monotonic() < until_s and set(self.host.pids()) <= before:
            time.sleep(0.002)
        time.sleep(self.draw.uniform(0.0, 0.03))
        return lambda victim: victim.pid not in before

    def mend_sshd(self) -> None:
        """When it was the listener, a new one, after a while in which nobody can connect."""
        if greets(self.host.address, SSH_PORT):
            return
        self.is_listening = False
        self.pause(self.draw.uniform(0.1, 2.0))
        self.host.stop_sshd()  # sessions that outlive their listener keep nobody from listening, but are dead ends
        self.host.start_sshd()
        self.is_listening = True

    # --- power and network -----------------------------------------------------------------------------------------

    def reboot(self) -> None:
        self.tally.fault(self.host.alias, "reboot")
        self.host.power_off()
        self.decoys.close()
        self.pause(self.draw.uniform(0.0, 1.0))
        self.host.boot()
        self.is_listening = True
        self.decoys = Decoys(self.host, self.lab.keeper)
        if self.draw.random() < 0.7:  # else the connection stays half open until somebody says something
            self.reset()

    def reset(self) -> None:
        self.proxy.cut()
        self.pause(self.draw.choice([0.0, 0.0, self.draw.uniform(0.0, 2.0)]))
        self.proxy.heal()

    def stall(self) -> None:
        self.proxy.stall()
        self.pause(self.draw.uniform(0.1, 4.0))
        if self.draw.random() < 0.3:
            self.proxy.cut()
        self.proxy.heal()

    def lose_answers(self) -> None:
        """Requests are obeyed, and nobody hears of it."""
        self.proxy.stall_answers()
        self.pause(self.draw.uniform(0.1, 2.0))
        self.proxy.cut()
        self.proxy.heal()

    def lose_bytes(self) -> None:
        self.proxy.lose(self.draw.choice([1, 40, 1000]))

    def delay(self) -> None:
        self.proxy.latency_s = self.draw.uniform(0.01, 0.3)
        self.pause(self.draw.uniform(0.5, 3.0))
        self.proxy.heal()


@final
class DaemonNemesis(Thread):
    """Kills the daemon at any moment of its life, and starts the next one."""

    def __init__(self, project: Project, seed: int, gap_s: float, tally: Tally, stop: threading.Event) -> None:
        super().__init__("nemesis of the daemon", stop)
        self.draw = random.Random(f"{seed} daemon")
        self.project, self.tally, self.gap_s = project, tally, gap_s

    def work(self) -> None:
        while self.pause(self.draw.choice([self.gap_s, self.gap_s, 0.4]) * self.draw.uniform(0.2, 1.8)):
            if self.tally.is_enough:
                return
            self.kill()
            self.pause(self.draw.choice([0.0, 0.0, self.draw.uniform(0.0, 2.0)]))
            self.project.start()

    def kill(self) -> None:
        process = self.project.process
        if process is None or process.poll() is not None:
            raise RuntimeError("the daemon ended by itself: its log is lab/daemon.log")
        self.project.kill()
        self.tally.kill("daemon", "daemon", process.pid)
