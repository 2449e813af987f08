"""What a test may need of the machine, and the one rule for what happens when it is missing.

On a laptop such a test is skipped with a plain reason. Where SHEETD_TEST_REQUIRE_ALL is set (CI) a missing need is a
failure: a green run must never mean that nothing was tried.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any] | type[Any])

SYSTEMD = Path("/lib/systemd/systemd")
CGROUP_ROOTS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


def require_all() -> bool:
    return bool(os.environ.get("SHEETD_TEST_REQUIRE_ALL"))


def program(name: str) -> str | None:
    """The program's path, also where a plain user's PATH leaves out the sbin folders."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def cgroup_root() -> Path | None:
    """Where cgroup v2 is mounted, or None."""
    return next((root for root in CGROUP_ROOTS if (root / "cgroup.procs").exists()), None)


def _missing(names: tuple[str, ...]) -> str | None:
    absent = [name for name in names if program(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def _rig_missing() -> str | None:
    if sys.platform != "linux":
        return "needs Linux namespaces"
    if os.geteuid() != 0:
        return "needs root, for hosts of their own with network and process namespaces"
    if cgroup_root() is None:
        return "needs cgroup v2"
    return _missing(("sshd", "ssh-keygen", "ip", "nft", "unshare", "tini"))


def _systemd_missing() -> str | None:
    if sys.platform != "linux":
        return "needs Linux namespaces"
    if os.geteuid() != 0:
        return "needs root, for a systemd in namespaces of its own"
    if cgroup_root() is None:
        return "needs cgroup v2"
    if not SYSTEMD.exists():
        return f"not installed: {SYSTEMD}"
    return _missing(("systemctl", "journalctl", "unshare", "nsenter"))


def _needs(mark: str, missing: str | None) -> Callable[[Test], Test]:
    def decorate(test: Test) -> Test:
        marked: Test = getattr(pytest.mark, mark)(test)
        if missing is None or require_all():
            return marked
        skipped: Test = pytest.mark.skip(reason=missing)(marked)
        return skipped

    return decorate


needs_sshd = _needs("sshd", _missing(("sshd", "ssh-keygen")))
needs_rig = _needs("rig", _rig_missing())
needs_shells = _needs("sshd", _missing(("tcsh", "fish", "zsh", "dash")))
needs_systemd = _needs("systemd", _systemd_missing())
needs_systemd_analyze = _needs("systemd", _missing(("systemd-analyze",)))
needs_browser = _needs("browser", _missing(("chromium",)))
