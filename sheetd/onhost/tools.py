"""The machine's own programs and device files, for the probe: where they are, and what a program says in time.

Nothing is decided here. Tests put another folder in the place of `/`, and another program first on PATH; the simulator
stands in for the whole of it.
"""

import contextlib
import os
import re
import select
import signal
import sys
import time
from typing import Any, List, NamedTuple, Optional, Tuple

from . import holders, tpu

OUTPUT_BYTES_MAX = 1 << 20
KILL_AFTER_S = 5.0  # after TERM, as `timeout -k 5` does
FOLDERS = (
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/usr/lib/wsl/lib",
)  # a bare login's PATH is short
LISTED_MAX = 256


class Said(NamedTuple):
    """What a program printed, on both of its streams. `hung` when it had to be killed; its exit code is then void."""

    code: int
    text: str
    took_s: float
    hung: bool = False


class Tools:
    """Programs and device files of this machine."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def at(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def find(self, name: str, folders: Tuple[str, ...] = ()) -> Optional[str]:
        """The program's path: on PATH, or in the usual places that a bare login's PATH leaves out."""
        for folder in [*os.environ.get("PATH", "").split(":"), *FOLDERS, *folders]:
            path = os.path.join(folder, name)
            if os.path.isabs(path) and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    def run(self, argv: List[str], deadline_s: float, lock: Optional[int] = None) -> Said:
        """Run a program to its end or the deadline. It inherits the lock: one that cannot be killed keeps it held."""
        import subprocess

        began = time.monotonic()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, LC_ALL="C"),
                cwd="/",
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
            )
        except OSError as error:
            return Said(127, "{}: {}".format(argv[0], error.strerror), time.monotonic() - began)
        text = read_until(process.stdout, began + deadline_s)
        for number, patience_s in ((None, 0.2), (signal.SIGTERM, KILL_AFTER_S), (signal.SIGKILL, 2.0)):
            if number is not None:
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(max(patience_s, began + deadline_s - time.monotonic() if number is None else 0.0))
                return Said(code, text, time.monotonic() - began, hung=number is not None)
        return Said(-1, text, time.monotonic() - began, hung=True)

    # --- what is plugged in ------------------------------------------------------------------------------------------

    def device_files(self, pattern: str) -> List[str]:
        """Names below /dev that match, in the order of their numbers."""
        with contextlib.suppress(OSError):
            names = [name for name in os.listdir(self.at("/dev")) if re.match(pattern + r"\Z", name)]
            return sorted(names, key=lambda name: [int(digits) for digits in re.findall("[0-9]+", name)])[:LISTED_MAX]
        return []

    def cards(self, vendor: str) -> int:
        """How many of the vendor's display or 3D controllers are on the bus."""
        count = 0
        folder = self.at("/sys/bus/pci/devices")
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                place = os.path.join(folder, name)
                if word(place + "/vendor") == vendor and word(place + "/class").startswith("0x03"):
                    count += 1
        return count

    def tpu_chips(self) -> List[tpu.Chip]:
        """Device files of TPU chips, with what the kernel says of the cards behind them."""
        chips = []
        for name in self.device_files("accel[0-9]+"):
            place = os.path.realpath(self.at("/sys/class/accel/{}/device".format(name)))
            if word(place + "/vendor") in (tpu.VENDOR, ""):  # other makers' accelerators have such files too
                chips.append(chip("/dev/" + name, place))
        with contextlib.suppress(OSError):
            groups = sorted((name for name in os.listdir(self.at("/dev/vfio")) if tpu.VFIO.match(name)), key=int)
            for group in groups[:LISTED_MAX]:
                folder = self.at("/sys/kernel/iommu_groups/{}/devices".format(group))
                places = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
                places = [place for place in places if word(place + "/vendor") == tpu.VENDOR]
                chips += [chip("/dev/vfio/" + group, place) for place in places[:1]]
        return chips

    def scan(self, paths: List[str], deadline_s: float, lock: Optional[int]) -> Tuple[str, str]:
        """What `holders.py` prints for these files, as root where that needs no password; and what hindered it."""
        real = [self.at(path) for path in paths]
        program = [sys.executable, "-I", "-S", os.path.abspath(holders.__file__), *real]
        sudo = self.find("sudo")
        if os.geteuid() == 0:
            said = self.run(program, deadline_s, lock)
        elif sudo is None:
            return self.translated(self.run(program, deadline_s, lock).text, "nobody"), "there is no sudo"
        else:
            said = self.run([sudo, "-n", *program], deadline_s, lock)
            if said.code != 0 or said.hung:
                hindrance = said.text.strip().rpartition("\n")[2] or "sudo -n does not answer"
                return self.translated(self.run(program, deadline_s, lock).text, "nobody"), hindrance
        return self.translated(said.text, "done"), ""

    def translated(self, text: str, last: str) -> str:
        """With the files named as they are called below `/`, and `done` only for eyes that saw everything."""
        if self.root != "/":
            text = text.replace(self.root.rstrip("/") + "/", "/")
        lines = text.splitlines()
        whole = bool(lines) and lines[-1] == "done"
        return "\n".join([line for line in lines if line != "done"] + [last if whole else "cut short"]) + "\n"


def chip(path: str, place: str) -> tpu.Chip:
    known = word(place + "/vendor") == tpu.VENDOR
    address = os.path.basename(place) if known else ""
    return tpu.Chip(path, address, word(place + "/device"), word(place + "/subsystem_device"))


def word(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return ""


def read_until(stream: Any, deadline: float) -> str:
    """What is written until the end of file, the deadline, or more than anything sensible. Closes the stream."""
    parts: List[bytes] = []
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    with stream:
        while sum(map(len, parts)) < OUTPUT_BYTES_MAX:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                break
            part = os.read(stream.fileno(), 65536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)[:OUTPUT_BYTES_MAX].decode("utf-8", "replace")
