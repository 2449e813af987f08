"""Everything that a campaign runs on: a fleet of sshd hosts, a fault proxy before each, a sheet, a person, a daemon.

The daemon reaches a host through its proxy and nothing else. Left in any way, nothing of it stays but, when asked for,
the folder.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.campaign.decoy import KEEPER
from tests.rig.fault_proxy import FaultProxy
from tests.rig.fleet import HOME, SSH_PORT, Fleet, FleetHost
from tests.sheets.builtin_rig import builtin_server

TAB = "Experiments"
PATIENCE_S = 20.0
OF_EVERY_HOST = ("sshd", "tini", "sleep", "nsenter", "ps")
HEADER = [
    *("template", "token", "seconds", "ending", "notes", "action"),
    *("id", "status", "message", "host", "attempt", "loss", "loss:min"),
]
DEVICES = ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "accel0", "accel1")
#: Two healthy, idle cards, whatever is asked for; enough for a campaign in which no fault comes from a card.
NVIDIA_SMI = """\
#!/bin/sh
case "$*" in
*query-compute-apps*) ;;
*query-gpu*) echo "0, GPU-00000000-0000-0000-0000-000000000000, NVIDIA A100-SXM4-80GB, 81920, 4, 0"
             echo "1, GPU-11111111-1111-1111-1111-111111111111, NVIDIA A100-SXM4-80GB, 81920, 4, 0" ;;
esac
"""


@final
class Laboratory:
    """`with Laboratory(hosts=4, slots=3, ...) as lab:` has all of it up but the daemon."""

    def __init__(self, *, hosts: int, slots: int, program: str, templates: Callable[[Path], dict[str, str]]) -> None:
        """`templates` is told the folder that this machine and all hosts see."""
        self.folder = Path(tempfile.mkdtemp(prefix="sheetd-campaign-"))
        self.alive = self.folder / "alive"
        self.keeper = self.folder / "decoy_keeper.py"
        self.keep_folder = False
        self._count, self._slots, self._program, self._templates = hosts, slots, program, templates
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Laboratory:
        with self._undo as undo:
            undo.callback(self._remove_folder)
            self._set_up(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _set_up(self, undo: contextlib.ExitStack) -> None:
        self.alive.mkdir()
        shutil.copy(KEEPER, self.keeper)
        self.fleet = undo.enter_context(Fleet(self.folder, self._count, prepare=_equip))
        self.proxies = {host.alias: undo.enter_context(FaultProxy(SSH_PORT, host.address)) for host in self.fleet}
        address = undo.enter_context(builtin_server(self.folder))
        Person(address, "Sheet1").spreadsheet.sheet1.update_title(TAB)
        self.person = Person(address, TAB, HEADER)
        self.person.write_header()
        self.project = Project(
            self.folder / "lab",
            home=HOME,
            sheet=f'url = "{address.base_url}"\nkey = "{address.key}"\ntoken = "{address.token}"\n'
            "poll_s = 0.3\nsettle_s = 0.2",
            hosts="".join(f'[[hosts]]\nname = "{host.alias}"\nslots = {self._slots}\n' for host in self.fleet),
            daemon=f'ssh_config = "{self._write_ssh_config()}"',
            program=self._program,
            templates=self._templates(self.folder),
        )
        undo.callback(self.project.close)

    def _write_ssh_config(self) -> Path:
        known, config = self.folder / "known_hosts", self.folder / "ssh_config"
        keys = [
            f"[127.0.0.1]:{self.proxies[host.alias].port} {host.host_key.with_suffix('.pub').read_text()}"
            for host in self.fleet
        ]
        known.write_text("".join(keys))
        hosts = [
            f"Host {host.alias}\n HostName 127.0.0.1\n Port {self.proxies[host.alias].port}\n" for host in self.fleet
        ]
        key = self.fleet.folder / "id_ed25519"
        config.write_text("".join(hosts) + f"Host *\n User root\n IdentityFile {key}\n UserKnownHostsFile {known}\n")
        return config

    def strays_at_rest(self) -> list[str]:
        """Processes on the hosts that are still there some time after the daemon has ended in peace."""
        until_s = time.monotonic() + PATIENCE_S
        while (found := self._strays()) and time.monotonic() < until_s:
            time.sleep(0.1)
        return found

    def cpu_s(self) -> float:
        """What the campaign has used up to now: hosts, daemons that have ended, and this process with the sheet."""
        here = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return self.fleet.cpu_s() + sum(one.ru_utime + one.ru_stime for one in here)

    def _strays(self) -> list[str]:
        return [
            f"{host.alias}: {line.strip()}"
            for host in self.fleet
            for line in host.run("ps", "-e", "-ww", "-o", "comm=,pid=,args=").splitlines()
            if line.split()[0] not in OF_EVERY_HOST and self.keeper.name not in line
        ]

    def _remove_folder(self) -> None:
        if not self.keep_folder:
            shutil.rmtree(self.folder)


def _equip(host: FleetHost) -> None:
    host.equip(NVIDIA_SMI, DEVICES)
