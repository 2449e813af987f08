"""Leases: one holder for each accelerator of a machine, whoever on it uses sheetd.

A lease is the name of a socket in the kernel's abstract namespace, unix(7). It is there as long as a process has the
socket: the supervisor of an attempt and its shim. Nothing is left behind by a crash, and it reaches across users and
state folders. A share of an accelerator has a name of its own; the whole and its shares exclude each other, which both
sides see because each takes its own name first and looks at the other's then.

Weak: containers with network namespaces of their own do not see each other's leases. Any user of the machine could
take a name to be in the way, which stops launches on that accelerator and nothing else.
"""

import zlib
from typing import Any, Dict, List, Optional, Tuple

SHARES_MAX = 16
PORT_FIRST, PORT_COUNT = 20000, 10000  # below those that the kernel hands out by itself
PORT_TRIES = 64

Json = Dict[str, Any]


def lease_name(accelerator: str, share: Optional[int] = None) -> str:
    return "sheetd-lease-{}{}".format(accelerator, "" if share is None else "#{}".format(share))


def rivals(accelerator: str, share: Optional[int]) -> List[str]:
    """The names that exclude this one, besides itself."""
    if share is not None:
        return [lease_name(accelerator)]
    return [lease_name(accelerator, number) for number in range(SHARES_MAX)]


def is_leased(system: Any, accelerator: str) -> bool:
    """Whether somebody has the accelerator or a share of it."""
    return any(map(system.is_bound, [lease_name(accelerator), *rivals(accelerator, None)]))


class Lease:
    """What one attempt leases, with a port of its own for its processes to meet at."""

    def __init__(self, system: Any, wanted: List[Json]) -> None:
        self.system = system
        self.wanted: List[Tuple[str, Optional[int]]] = [(one["id"], one.get("share")) for one in wanted]
        self.handles: Dict[str, int] = {}
        self.port: Optional[int] = None

    def take(self) -> Optional[str]:
        """Take what is not held yet. Returns the id of the first accelerator that somebody else has, or None."""
        for accelerator, share in self.wanted:
            name = lease_name(accelerator, share)
            if name in self.handles:
                continue
            handle = self.system.bind(name)
            if handle is None:
                return accelerator
            self.handles[name] = handle
            if any(map(self.system.is_bound, rivals(accelerator, share))):
                return accelerator
        return None

    def take_port(self, attempt: str) -> Optional[int]:
        """A port that no other attempt on the machine was given and nobody listens on; None when there is none."""
        first = zlib.crc32(attempt.encode("ascii"))
        for step in range(PORT_TRIES):
            port = PORT_FIRST + (first + step) % PORT_COUNT
            handle = self.system.bind("sheetd-port-{}".format(port))
            if handle is None:
                continue
            if self.system.is_port_free(port):
                self.handles["port"] = handle
                self.port = port
                return port
            self.system.unbind(handle)
        return None

    def give_back(self) -> None:
        for handle in self.handles.values():
            self.system.unbind(handle)
        self.handles = {}
