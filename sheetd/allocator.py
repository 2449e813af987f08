"""How the C library hands out memory, for a process that lives for months with four threads for each host.

glibc gives threads that allocate at the same time arenas of their own, up to eight for each core, and keeps in each of
them what was once freed there. A daemon's threads sleep, and hold the interpreter's lock when they do not: they have
no use for them. Nothing where the C library is another.
"""

from __future__ import annotations

import ctypes

#: From <malloc.h>; mallopt(3).
_M_ARENA_MAX = -8


def share_one_arena() -> None:
    """Before the first thread is started: an arena that exists is not given back."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
