"""Whether a person's services outlive the login (loginctl(1)): looked up, explained, and changed only when asked.

Only systemd knows such a thing. Anybody may ask for it; on some machines only root may grant it.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping

import typer

from sheetd.cli.service_manager import call, told_by
from sheetd.cli.terminal import out
from sheetd.errors import SheetdError

WHAT_IT_MEANS = (
    "Without lingering, systemd ends your services, and with them jobs on this machine, a few seconds after your last"
    " logout, and starts none at boot."
)


def user_name() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user id without an entry in the password file
        return str(uid)


def lingers(environment: Mapping[str, str]) -> bool | None:
    """None when nobody can say, as where logind does not run."""
    try:
        done = call(("loginctl", "show-user", user_name(), "--property=Linger", "--value"), environment)
    except SheetdError:
        return None
    if done.returncode != 0:
        return False if "not logged in or lingering" in done.stderr else None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def is_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty()


def settle_linger(environment: Mapping[str, str], wanted: bool | None) -> None:
    """Enable it if the person wants it; `wanted` None asks on a terminal. Raises SheetdError if wanted and refused."""
    if lingers(environment):
        out.print("It goes on while you are logged out, and starts at boot (lingering is enabled).", soft_wrap=True)
        return
    out.print(WHAT_IT_MEANS, soft_wrap=True)
    is_asked = wanted is None and is_terminal()
    if is_asked:
        wanted = typer.confirm("Enable lingering?", default=True)
    if not wanted:
        out.print(f"To enable it: loginctl enable-linger {user_name()}", markup=False, soft_wrap=True)
        return
    done = call(("loginctl", "--no-ask-password", "enable-linger", user_name()), environment)
    if done.returncode == 0:
        out.print("Lingering is enabled: it goes on while you are logged out, and starts at boot.", soft_wrap=True)
        return
    advice = f"lingering could not be enabled ({told_by(done)}). Type: sudo loginctl enable-linger {user_name()}"
    if not is_asked:
        raise SheetdError(f"the service runs, but {advice}")
    out.print(advice, markup=False, soft_wrap=True)
