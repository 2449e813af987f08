"""How the C library hands out memory, for a process that lives for months with four threads for each host.

glibc gives threads that allocate at the same time arenas of their own, up to eight for each core, and keeps in each of
them what was once freed there. A daemon's threads sleep, and hold the interpreter's lock when they do not: they have
no use for them. Nothing where the C library is another.
"""

from __future__ import annotations

import ctypes
import threading

#: From <malloc.h>; mallopt(3).
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 2**16
#: By then the journal and the first sheets have been read, which takes far more room than what is kept of them.
STARTED_S = 30.0


def configure_allocator() -> None:
    """Before the first thread is started: an arena that exists is not given back.

    A large buffer, such as the whole tab of a read, is a mapping of its own, which ends with it. As it is, glibc learns
    from the first ones to carve them out of the heap, and what is kept between them stays scattered.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back_once_started(after_s: float = STARTED_S) -> None:
    """Once, some time after the start: hand freed pages between what is in use back to the system (malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        timer = threading.Timer(after_s, trim, (0,))
        timer.daemon = True
        timer.start()
