"""Putting a lab's service in its place so that it either runs afterwards, or nothing has changed.

It prints nothing. One lab has one service, and a file that serves anything else is never overwritten.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from sheetd.cli.service_manager import ServiceManager, ServiceState, file_of, is_same, services_of, text_of
from sheetd.cli.unit import Unit, unit_name
from sheetd.clock import SystemClock
from sheetd.config import Settings
from sheetd.core.text import clean_line
from sheetd.errors import SheetdError
from sheetd.journal.lock import holder_of

LAST_WORDS = 15
#: systemd has waited until the daemon was ready; launchd knows no such thing.
SERVING_PATIENCE_S = 30.0

Done = Literal["installed", "updated", "restarted", "unchanged", "started"]


def name_for(manager: ServiceManager, config: Path, wanted: str | None) -> str:
    """The name of the service that serves this configuration already, or the one that it would get."""
    known = services_of(manager, config)
    if wanted is None:
        return known[0] if known else unit_name(config)
    name = unit_name(config, wanted)
    if known and name not in known:
        raise SheetdError(
            f"{config} is served by {known[0]} already ({file_of(manager, known[0])}), and one lab has one daemon:"
            f" first `sheetd service uninstall --name {known[0]}`"
        )
    return name


def refuse_what_is_not_ours(manager: ServiceManager, unit: Unit) -> None:
    """Raise SheetdError when a file of this name serves something else."""
    file = file_of(manager, unit.name)
    text = text_of(file)
    served = manager.config_of(text)
    if not text or is_same(served, unit.config):
        return
    if served is None:
        raise SheetdError(
            f"{file} was not written by `sheetd service install`: move it away, or choose another name with --name"
        )
    raise SheetdError(
        f"{file} serves another configuration, {served}: choose another name for this one with --name,"
        f" or first `sheetd service uninstall --name {unit.name}`"
    )


def refuse_if_served_otherwise(settings: Settings, state: ServiceState) -> None:
    """Raise SheetdError when a daemon that is not this service's holds the state folder."""
    holder = holder_of(settings.daemon.state_dir)
    if holder is None or (state.pid and holder.pid in (0, state.pid)):
        return
    raise SheetdError(
        f"{holder} serves this lab already: end that daemon first (Ctrl-C in its terminal, or the service that keeps"
        " it), and try again. Its jobs go on"
    )


def place(manager: ServiceManager, unit: Unit, settings: Settings, *, restart: bool) -> Done:
    """Write the file and have the daemon run. Raises SheetdError with everything as it was before."""
    file, text = file_of(manager, unit.name), manager.render(unit)
    before, state = text_of(file), manager.state(unit.name)
    is_new = text != before
    began_wall_s = SystemClock().wall_s()
    try:
        if is_new:
            _write(file, text)
        manager.start(unit.name, is_new=is_new, restart=restart or is_new)
        _await_daemon(manager, unit.name, settings.daemon.state_dir)
    except KeyboardInterrupt:
        if is_new:
            _undo(manager, unit.name, before)
        raise
    except SheetdError as error:
        said = manager.last_words(unit.name, LAST_WORDS, since_wall_s=began_wall_s)
        if is_new:
            _undo(manager, unit.name, before)
        raise SheetdError(_why_not(error, said, before, is_new=is_new)) from error
    if is_new:
        return "updated" if before else "installed"
    if not state.running:
        return "started"
    return "restarted" if restart else "unchanged"


def remove(manager: ServiceManager, name: str) -> None:
    """Stop the daemon and forget the service. Jobs go on."""
    manager.stop(name)
    file_of(manager, name).unlink(missing_ok=True)
    manager.forget(name)


def _await_daemon(manager: ServiceManager, name: str, state_dir: Path) -> None:
    """Until the process that the manager names holds the lab: a daemon that has just failed holds nothing."""

    def is_serving() -> bool:
        holder, state = holder_of(state_dir), manager.state(name)
        return holder is not None and state.pid != 0 and holder.pid == state.pid

    patience = stop_after_delay(SERVING_PATIENCE_S)
    is_not = retry_if_result(lambda done: not done)
    if not Retrying(retry=is_not, stop=patience, wait=wait_fixed(0.2), retry_error_callback=lambda _: False)(
        is_serving
    ):
        raise SheetdError(
            f"the daemon runs, but does not hold {state_dir} after {SERVING_PATIENCE_S:.0f} s;"
            " after an edit of state_dir: `sheetd service install --restart`"
        )


def _undo(manager: ServiceManager, name: str, before: str) -> None:
    # What fails here fails for the reason that is being told already.
    if before:
        with suppress(SheetdError):
            _write(file_of(manager, name), before)
            manager.start(name, is_new=True, restart=True)
        return
    with suppress(SheetdError):
        manager.stop(name)
    file_of(manager, name).unlink(missing_ok=True)
    with suppress(SheetdError):
        manager.forget(name)


def _why_not(error: SheetdError, said: list[str], before: str, *, is_new: bool) -> str:
    if not is_new:
        left = "The service is installed as before"
    else:
        left = "The former unit is back in its place" if before else "Nothing was installed"
    lines = [clean_line(line) for line in said if line.strip()]
    log = "\nThe end of its log:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
    return f"the daemon did not start: {error}. {left}.{log}"


def _write(file: Path, text: str) -> None:
    """Whole or not at all: a service manager may look at any moment."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as written:
                written.write(text)
                written.flush()
                os.fsync(written.fileno())
            Path(beside).chmod(0o644)
            Path(beside).replace(file)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SheetdError(f"{file} cannot be written: {error.strerror}") from error
