"""What the end of a program says of the host it ran on.

Sentences that accelerators' drivers and libraries are known to print when the machine is at fault, as programs that
crashed because of them repeat them. A program can print whatever it likes: what is read here may send an experiment to
another host and count against this one, and nothing more.

Where it is weak: the list is what others have met (TPU: marin's iris; NVIDIA: the driver's own words). A crash by a
signal says as much of the program as of the host, so it counts only if this very experiment ran well elsewhere before.
"""

from __future__ import annotations

from sheetd.core.health import HEALTHY_S
from sheetd.core.model import Attempt, Experiment
from sheetd.core.observation import AttemptSeen, Exit
from sheetd.core.text import clean_line

#: In small letters, as they are searched for.
BAD_HOST = (
    "couldn't open iommu group",
    "open(/dev/vfio",
    "failed to initialize tpu system",
    "tpu initialization failed",
    "the tpu is already in use by process with pid",
    "no accelerator found",
    "/dev/accel0: device or resource busy",
    "gpu is lost",
    "fallen off the bus",
    "unable to determine the device handle for gpu",
    "driver/library version mismatch",
    "couldn't communicate with the nvidia driver",
    "no cuda-capable device is detected",
    "uncorrectable ecc error",
    "all cuda-capable devices are busy or unavailable",
    "no space left on device",
    "disk quota exceeded",
    "read-only file system",
)
#: SIGABRT, SIGBUS, SIGSEGV.
CRASHES = frozenset({6, 7, 11})


def bad_host_line(seen: AttemptSeen) -> str:
    """The last of its lines that points to the host, or nothing."""
    for line in reversed(seen.last_lines):
        lowered = line.casefold()
        if any(sign in lowered for sign in BAD_HOST):
            return clean_line(line)
    return ""


def crash_after_health(experiment: Experiment, attempt: Attempt, ended: Exit) -> str:
    """A crash by a signal of what ran well on another host, as a sentence; or nothing."""
    if ended.signal not in CRASHES:
        return ""
    well = [one.host for one in experiment.attempts if one.host != attempt.host and one.runtime_s >= HEALTHY_S]
    return f"killed by signal {ended.signal}, after it had run well on {well[-1]}" if well else ""
