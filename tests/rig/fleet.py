"""Whole hosts on one machine: they can lose power, be cut off, freeze, and lose their sshd.

A host has a network, PID, mount, UTS, IPC and time namespace and a cgroup of its own; inside, `tini` is process 1 and
a real sshd listens on the host's own address. Each boot has a fresh boot id, an uptime that starts near zero, and
process numbers from 1 again; the home folder and the host key stay, as on a real disk. Losing power means: the link
goes down first, so that no farewell leaves the host, and then every process is killed at once.

Several fleets live side by side: the name of the bridge is the lock, for the kernel lets only one of that name exist,
and the number in it chooses the subnet (198.18.0.0/15 is set aside for such tests by RFC 2544). Everything is undone
on exit, also when setting up failed half-way; only a test run that is itself killed with -9 leaves its hosts behind.
Needs root (`needs_rig`). The wall clock, /tmp, /dev and the installed programs are the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import final

from tests.needs import cgroup_root, program
from tests.rig.light_sshd import greets, make_key
from tests.rig.waiting import wait_for

SSH_PORT = 22
#: Where a host's own disk is mounted there.
HOME = "/root"
FLEETS_MAX = 250

#: What a host does when it is switched on. Arguments: its folder and sshd. All that is mounted goes with the namespace.
BOOT = """\
set -e
mount --make-rprivate /
mount -t proc proc /proc
hostname "$(cat "$1/hostname")"
mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id
test ! -e /etc/machine-id || mount --bind "$1/machine_id" /etc/machine-id
mount --bind "$1/root" /root
mount -t tmpfs -o size=16m tmpfs /run
mkdir /run/sshd
test ! -d "$1/bin" || mount --bind "$1/bin" /usr/local/bin
if test -e "$1/devices"; then
  mount -t tmpfs -o mode=755 tmpfs /dev
  for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "/dev/${node%:*}" c 1 "${node#*:}"; done
  mkdir /dev/pts /dev/shm
  mount -t devpts devpts /dev/pts
  ln -s /proc/self/fd /dev/fd
  while read -r name; do mknod -m 666 "/dev/$name" c 1 3; done < "$1/devices"
fi
cd /
"$2" -f "$1/sshd_config" -E "$1/sshd.log"
exec tini -s -- sleep infinity
"""

SSHD_CONFIG = """\
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile /root/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
"""

PARTITION = """\
table inet rig {
  chain arriving { type filter hook input priority 0; policy drop; }
  chain leaving { type filter hook output priority 0; policy drop; }
}
"""


def _do(*argv: str, text: str | None = None) -> str:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@final
class FleetHost:
    """One host. Created switched off."""

    def __init__(self, folder: Path, alias: str, *, bridge: str, number: int, subnet: str, cgroup: Path) -> None:
        self.alias = alias
        self.address = f"{subnet}.{number + 1}"
        #: The host's home folder, as seen from outside. It outlives a loss of power.
        self.home = folder / "root"
        self.host_key = folder / "host_key"
        self._folder = folder
        self._bridge = bridge
        self._namespace = f"{bridge}h{number}"
        self._link = f"{bridge}v{number}"
        # A machine keeps its MAC address over a reboot; a new one is unreachable until stale ARP entries time out.
        self._mac = "02:73:{:02x}:{:02x}:{:02x}:{:02x}".format(*(int(part) for part in self.address.split(".")))
        self._cgroup = cgroup
        self._life: subprocess.Popen[bytes] | None = None

    # --- power -----------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Switch on, and wait until sshd answers."""
        if self._life is not None:
            raise RuntimeError(f"{self.alias} is on already")
        self._plug_in()
        self._cgroup.mkdir(exist_ok=True)
        (self._folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        uptime_s = int(time.clock_gettime(time.CLOCK_BOOTTIME))
        inside = [
            *("ip", "netns", "exec", self._namespace),
            *("unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"),
            *("--time", "--boottime", str(1 - uptime_s)),
            *("sh", str(self._folder / "boot.sh"), str(self._folder), str(program("sshd"))),
        ]
        with (self._folder / "boot.log").open("ab") as log:
            self._life = subprocess.Popen(
                ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._cgroup), *inside],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        self._await_sshd()

    def power_off(self) -> None:
        """Lose power: nothing is said to anybody, and nothing survives but the disk. Harmless when off."""
        life, self._life = self._life, None
        if life is None:
            return
        _do("ip", "link", "set", self._link, "down")
        (self._cgroup / "cgroup.kill").write_text("1")
        life.wait()
        wait_for(lambda: not self.pids(), f"every process of {self.alias} is gone")
        self._unplug()

    # --- faults that jobs survive ----------------------------------------------------------------------------------

    def cut(self) -> None:
        """Drop every packet, both ways. Connections stay open on both sides."""
        _do("ip", "netns", "exec", self._namespace, "nft", "-f", "-", text=PARTITION)

    def heal(self) -> None:
        _do("ip", "netns", "exec", self._namespace, "nft", "delete", "table", "inet", "rig")

    def freeze(self) -> None:
        """Stop every process. The kernel goes on acknowledging what arrives."""
        (self._cgroup / "cgroup.freeze").write_text("1")

    def thaw(self) -> None:
        (self._cgroup / "cgroup.freeze").write_text("0")

    def stop_sshd(self) -> None:
        """Kill the listening sshd and the sshd of every connection. Whatever left its session lives on."""
        for pid in self._pids_of("sshd"):
            with contextlib.suppress(ProcessLookupError):  # the child of one that was killed a moment ago
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._pids_of("sshd"), f"sshd of {self.alias} is gone")

    def start_sshd(self) -> None:
        self.run(str(program("sshd")), "-f", f"{self._folder}/sshd_config", "-E", f"{self._folder}/sshd.log")
        self._await_sshd()

    # --- looking inside --------------------------------------------------------------------------------------------

    def run(self, *argv: str) -> str:
        """What a command prints when root types it at the host's own console."""
        return _do(*self.console(*argv))

    def console(self, *argv: str) -> tuple[str, ...]:
        """The command that, executed on this machine, executes the given one on the host."""
        init = next(pid for pid in self.pids() if _number_inside(pid) == "1")
        enter = ("nsenter", "--target", str(init), *("--mount", "--uts", "--ipc", "--net", "--pid", "--time"))
        return ("sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._cgroup), *enter, *argv)

    def pids(self) -> list[int]:
        """Every process of the host, by its number outside."""
        return [int(pid) for pid in (self._cgroup / "cgroup.procs").read_text().split()]

    def cpu_s(self) -> float:
        """What every process that ever ran on the host has used of a CPU."""
        usage = (self._cgroup / "cpu.stat").read_text().split()
        return int(usage[usage.index("usage_usec") + 1]) / 1e6

    def _pids_of(self, name: str) -> list[int]:
        return [pid for pid in self.pids() if _name_of(pid) == name]

    def _await_sshd(self) -> None:
        life = self._life
        assert life is not None
        what = f"sshd of {self.alias} answers"
        wait_for(lambda: life.poll() is not None or greets(self.address, SSH_PORT), what, within_s=60.0)
        if life.poll() is not None:
            raise RuntimeError(f"{self.alias} did not boot: {(self._folder / 'boot.log').read_text()[-500:]}")

    # --- wiring ----------------------------------------------------------------------------------------------------

    def make_disk(self, key: Path) -> None:
        """What a host has before it is ever switched on."""
        (self.home / ".ssh").mkdir(parents=True)
        (self.home / ".ssh" / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        make_key(self.host_key)
        (self._folder / "hostname").write_text(f"{self.alias}\n")
        (self._folder / "machine_id").write_text(f"{uuid.uuid4().hex}\n")
        (self._folder / "boot.sh").write_text(BOOT)
        config = SSHD_CONFIG.format(address=self.address, port=SSH_PORT, folder=self._folder)
        (self._folder / "sshd_config").write_text(config)

    def equip(self, nvidia_smi: str, devices: Sequence[str]) -> None:
        """From the next boot on: this program, alone in /usr/local/bin, and a /dev of its own with these devices."""
        (self._folder / "bin").mkdir()
        program_file = self._folder / "bin" / "nvidia-smi"
        program_file.write_text(nvidia_smi)
        program_file.chmod(0o755)
        (self._folder / "devices").write_text("".join(f"{device}\n" for device in devices))

    def _plug_in(self) -> None:
        _do("ip", "netns", "add", self._namespace)
        far = ("peer", "name", "eth0", "address", self._mac, "netns", self._namespace)
        _do("ip", "link", "add", self._link, "type", "veth", *far)
        _do("ip", "-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _do("ip", "-n", self._namespace, "link", "set", "lo", "up")
        _do("ip", "-n", self._namespace, "link", "set", "eth0", "up")
        _do("ip", "link", "set", self._link, "master", self._bridge, "up")

    def _unplug(self) -> None:
        """Also what was only half plugged in. Sockets that still linger in the namespace vanish with it."""
        with contextlib.suppress(RuntimeError):  # never made
            _do("ip", "link", "del", self._link)
        with contextlib.suppress(RuntimeError):
            _do("ip", "netns", "del", self._namespace)

    def scrap(self) -> None:
        """Leave nothing of the host but its folder."""
        self.power_off()
        self._unplug()
        if self._cgroup.exists():
            wait_for(lambda: _removed(self._cgroup), f"the cgroup of {self.alias} is empty")


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # ended meanwhile


def _number_inside(pid: int) -> str:
    """The number of a process in its own pid namespace: the first of a host is whatever it has become by now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]


def _removed(cgroup: Path) -> bool:
    """A cgroup stays busy for a moment after its last process has gone."""
    try:
        cgroup.rmdir()
    except OSError:
        return False
    return True


@final
class Fleet(Sequence[FleetHost]):
    """`with Fleet(tmp_path, 3) as fleet:` has three hosts up; `fleet.ssh_config` leads to `fleet[i].alias`."""

    def __init__(self, folder: Path, count: int, *, prepare: Callable[[FleetHost], object] | None = None) -> None:
        """`prepare` sees each host before it is switched on for the first time."""
        self.folder = folder / "fleet"
        self.ssh_config = self.folder / "ssh_config"
        self.known_hosts = self.folder / "known_hosts"
        self._count = count
        self._prepare = prepare
        self._hosts: list[FleetHost] = []
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Fleet:
        with self._undo as undo:  # runs everything that is on it if this fails half-way
            self._set_up(undo.callback)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, index: int) -> FleetHost:  # type: ignore[override] # nobody slices a fleet
        return self._hosts[index]

    def __iter__(self) -> Iterator[FleetHost]:
        return iter(self._hosts)

    def cpu_s(self) -> float:
        """What all processes of all hosts have used up to now, also those that have ended."""
        usage = next(line for line in (self._cgroup / "cpu.stat").read_text().splitlines() if "usage_usec" in line)
        return int(usage.split()[1]) / 1e6

    def _set_up(self, on_exit: Callable[..., object]) -> None:
        self.folder.mkdir()
        key = make_key(self.folder / "id_ed25519")
        bridge, subnet = _new_bridge()
        on_exit(_do, "ip", "link", "del", bridge)
        _do("ip", "addr", "add", f"{subnet}.254/24", "dev", bridge)
        _do("ip", "link", "set", bridge, "up")
        root = cgroup_root()
        assert root is not None, "needs cgroup v2"
        cgroup = self._cgroup = root / bridge
        cgroup.mkdir()
        on_exit(wait_for, lambda: _removed(cgroup), "the cgroup of the fleet is empty")
        for number in range(self._count):
            folder = self.folder / f"host{number}"
            folder.mkdir()
            host = FleetHost(
                folder, f"host{number}", bridge=bridge, number=number, subnet=subnet, cgroup=cgroup / f"h{number}"
            )
            on_exit(host.scrap)
            host.make_disk(key)
            if self._prepare is not None:
                self._prepare(host)
            self._hosts.append(host)
        self._write_ssh_config(key)
        for host in self._hosts:
            host.boot()

    def _write_ssh_config(self, key: Path) -> None:
        keys = [f"{host.address} {host.host_key.with_suffix('.pub').read_text()}" for host in self._hosts]
        self.known_hosts.write_text("".join(keys))
        hosts = [f"Host {host.alias}\n HostName {host.address}\n" for host in self._hosts]
        common = f"Host *\n User root\n IdentityFile {key}\n UserKnownHostsFile {self.known_hosts}\n"
        self.ssh_config.write_text("".join(hosts) + common)


def _new_bridge() -> tuple[str, str]:
    """A bridge that was not there before, and the subnet that goes with its name."""
    for number in range(FLEETS_MAX):
        bridge = f"sdrig{number}"
        with contextlib.suppress(RuntimeError):  # taken by a fleet beside us
            _do("ip", "link", "add", bridge, "type", "bridge")
            return bridge, f"198.18.{number}"
    raise RuntimeError("no bridge can be made: `ip link add sdrig0 type bridge` says why")
