"""What a host says of itself in `hello`."""

import os
import pwd
import re
import sys
import time
from typing import Any, Dict

from .system import System, read_range

NETWORK_FILESYSTEMS = re.compile(r"^(nfs|cifs|smb|lustre|gpfs|beegfs|ceph|afs|9p|glusterfs|fuse\.(?!fuse-overlayfs))")

Json = Dict[str, Any]


def host_facts(system: System, root: str) -> Json:
    """Identity, clocks and capacity. Clocks are for comparison within the answer; `wall_s` is only for show."""
    disk, memory = os.statvfs(root), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = read_range("/etc/machine-id", 0, 64)[0].decode("ascii", "replace").strip()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "machine_id": machine or None,
        "hostname": os.uname().nodename,
        "boot": system.boot(),
        "boottime_s": system.boottime(),
        "wall_s": time.time(),
        "cores": len(os.sched_getaffinity(0)),
        "load": list(os.getloadavg()),
        "memory_bytes": memory,
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "user": user_name(),
        "root": root,
    }


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's bare number
        return str(os.geteuid())


def filesystem_of(path: str) -> str:
    """The type of the filesystem that holds path.

    The longest mount point above it in /proc/self/mountinfo (proc(5)).
    """
    best, kind = "", ""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            point = fields.split()[4].encode("ascii", "replace").decode("unicode_escape")
            above = path == point or path.startswith(point.rstrip("/") + "/")
            if above and len(point) >= len(best):
                best, kind = point, rest.split()[0]
    return kind
