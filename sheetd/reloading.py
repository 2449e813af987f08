"""Looks whether the operator has edited sheetd.toml or a template, and hands over what they say now.

A file is read when two looks in a row have seen it the same, so that one which is being saved is not read by half. One
with a mistake counts as it was before, and the others are taken; what is wrong is told until it is put right. What the
daemon holds open for all its life (the sheet, its state folder) is taken at its next start. Nothing here decides what
becomes of rows and hosts: that is `core/configuration`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from sheetd import last_good
from sheetd.config import DaemonSettings, HostSettings, Settings, load_settings
from sheetd.core.configuration import Configuration
from sheetd.core.model import HostName, SlotName
from sheetd.core.redaction import Redactor
from sheetd.core.rows import canonical
from sheetd.core.template import Template
from sheetd.core.why import Strategy
from sheetd.core.world import HostView, Limits
from sheetd.errors import ConfigError
from sheetd.ports import Host, Reconfiguration, Route
from sheetd.sheet_settings import SheetSettings
from sheetd.sheets.quota import READS_A_MINUTE
from sheetd.templates import Loaded, load_templates

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
#: A file that has changed is looked at again after so long.
SAME_FOR_S = 0.3
_PATIENCE_S = 5.0
#: As often as the quota allows in the long run: whoever asks more often waits before each request.
GOOGLE_POLL_S = 60.0 / READS_A_MINUTE
#: Google counts requests per minute; the built-in sheet does not, so a person sees a change sooner.
BUILTIN_WRITE_GAP_S = 0.25
HOSTS_TAB_EVERY_S, BUILTIN_HOSTS_TAB_EVERY_S = 15.0, 10.0
#: Of [sheet], what the connection to it is made from.
CONNECTED_BY = ("url", "tab", "hosts_tab", "runs_tab", "key", "token", "credentials")

#: Of each file: when it was changed, how large it is, and which file it is.
Look: TypeAlias = Mapping[Path, tuple[int, int, int]]
OpenHost: TypeAlias = Callable[[Settings, HostSettings], Host]


def configuration_of(settings: Settings, templates: Mapping[str, Template]) -> Configuration:
    """The files as the core knows them."""
    sheet = settings.sheet
    is_google = sheet.kind == "google"
    poll_s = max(sheet.poll_s, GOOGLE_POLL_S * _sharers(settings)) if is_google else sheet.poll_s
    limits = Limits(
        poll_s=poll_s,
        settle_s=sheet.settle_s,
        explicit_only=sheet.ready == "explicit",
        sweep_max=sheet.sweep_max,
        write_gap_s=poll_s if is_google else BUILTIN_WRITE_GAP_S,
        fresh_s=min(0.5, sheet.poll_s),
        hosts_tab_every_s=HOSTS_TAB_EVERY_S if is_google else BUILTIN_HOSTS_TAB_EVERY_S,
        deleted_row_grace_s=sheet.deleted_row_grace_s,
        strategy=Strategy(settings.placement.strategy),
        reserve_after_s=settings.placement.reserve_after_s,
    )
    hosts = tuple(
        HostView(
            name=HostName(host.name),
            slots=tuple(SlotName(f"{host.name}/{index}") for index in range(host.plain_slots)),
            labels=frozenset(host.labels),
            may_share=host.local or host.root is not None,
            looks=host.looks,
            idle_memory_mb=host.idle_memory_mb,
            cooldown_s=host.cooldown_s,
        )
        for host in settings.hosts
    )
    # Those that are not in the environment refuse a launch when it comes to that.
    secrets = (os.environ.get(name, "") for template in templates.values() for name in template.secrets)
    return Configuration(templates=templates, limits=limits, hosts=hosts, redactor=Redactor.of(secrets))


def _sharers(settings: Settings) -> int:
    """How many of the file's sheets live on the quota of this one's account."""
    return sum(one.kind == "google" and one.credentials == settings.sheet.credentials for one in settings.sheets)


def routes_of(settings: Settings, open_host: OpenHost) -> dict[HostName, Route]:
    """How each host is reached by these settings."""

    def route(host: HostSettings) -> Route:
        env = tuple(sorted(host.env.items()))
        return Route(
            place=f"{'here' if host.local else 'there'}: {host.root or ''}",
            way=(host.use_ssh_agent, env, None if host.local else settings.daemon.ssh_config),
            adapter=lambda: open_host(settings, host),
        )

    return {HostName(host.name): route(host) for host in settings.hosts}


class Reloader:
    """Knows what was loaded last. `look` and `load` are for one thread; `look_now` is for a signal too."""

    def __init__(
        self,
        settings: Settings,
        loaded: Loaded,
        open_host: OpenHost,
        posts: Sequence[Callable[[Reconfiguration], None]],
    ) -> None:
        """`posts` hand over to the loop of each project, in the order of `settings.projects`."""
        self._started_with = settings
        self._settings = settings
        self._templates = dict(loaded.templates)
        self._open_host = open_host
        self._posts = posts
        self._mistakes: tuple[str, ...] = ()
        self._at_restart: tuple[str, ...] = ()
        self._logged: set[str] = set(loaded.problems)
        self._seen: Look | None = None
        self._loaded: Look | None = None
        self._must_load = False
        self._wake = threading.Event()
        self._is_over = False

    # --- the thread ----------------------------------------------------------------------------------------------

    def start(self) -> Callable[[], None]:
        """Look from now on, in a thread. Returns what ends it."""
        last_good.keep(self._settings.daemon.state_dir, self._settings.text)
        thread = threading.Thread(target=self._run, name="sheetd-reload", daemon=True)
        thread.start()

        def end() -> None:
            self._is_over = True
            self._wake.set()
            thread.join(_PATIENCE_S)

        return end

    def look_now(self) -> None:
        """Somebody says that the files are ready: they are read whether or not they look different."""
        self._must_load = True
        self._wake.set()

    def _run(self) -> None:
        while not self._is_over:
            try:
                wait_s = self.look()
            except Exception:
                log.exception("the configuration could not be looked at; the last one stays in force")
                wait_s = LOOK_EVERY_S
            self._wake.wait(wait_s)
            self._wake.clear()

    # --- looking and loading -------------------------------------------------------------------------------------

    def look(self) -> float:
        """One look; what has changed, and is the same as at the last look, is loaded. Returns when to look again."""
        seen, before = dict(self._look()), self._seen
        self._seen = seen
        if seen == self._loaded and not self._must_load:
            return LOOK_EVERY_S
        if seen != before:
            return SAME_FOR_S
        self._loaded, self._must_load = seen, False
        self.load()
        return LOOK_EVERY_S

    def _look(self) -> Iterator[tuple[Path, tuple[int, int, int]]]:
        folders = self._settings.daemon.templates
        files = [file for folder in folders for file in sorted(folder.glob("*.toml"))]
        for path in (self._settings.path, *folders, *files):
            with suppress(OSError):  # it is gone, or out of reach: that too is to be seen
                seen = path.stat()
                yield path, (seen.st_mtime_ns, 0 if path in folders else seen.st_size, seen.st_ino)

    def load(self) -> None:
        """Read everything, and hand it over if it says something else than before."""
        mistakes: list[str] = []
        at_restart: list[str] = []
        settings = self._settings
        try:
            settings = self._as_connected(load_settings(self._settings.path), at_restart)
            if settings.text != self._settings.text and not at_restart:
                last_good.keep(settings.daemon.state_dir, settings.text)
        except ConfigError as error:
            mistakes += str(error).splitlines()
            at_restart += self._at_restart
        templates = self._load_templates(settings, mistakes)
        told = tuple(mistakes), tuple(at_restart)
        is_same = settings == self._settings and templates == self._templates
        before, self._settings = self._settings, settings
        if is_same and told == (self._mistakes, self._at_restart):
            return
        self._say(before, settings, templates, *told)
        self._templates = templates
        self._mistakes, self._at_restart = told
        for project, post in zip(settings.projects, self._posts, strict=True):
            post(
                Reconfiguration(
                    configuration=configuration_of(project, templates),
                    routes=routes_of(project, self._open_host),
                    mistakes=self._mistakes,
                    at_restart=self._at_restart,
                )
            )

    def _as_connected(self, found: Settings, at_restart: list[str]) -> Settings:
        """The settings, but for what was decided when the daemon started."""
        old = self._started_with
        keys: list[str] = []
        now = {sheet.folder: sheet for sheet in found.sheets}
        sheets = tuple(
            last if (new := now.pop(first.folder, None)) is None else _sheet_as_connected(first, last, new, keys)
            for first, last in zip(old.sheets, self._settings.sheets, strict=True)
        )
        if found.daemon.state_dir != old.daemon.state_dir:
            keys.append("daemon.state_dir")
        at_restart += [f"{found.path}: {key}: was changed, and is taken when sheetd is started again" for key in keys]
        there = {sheet.folder for sheet in found.sheets}
        at_restart += [
            f'{found.path}: the sheet "{sheet.name}" is not there any more, and is served until sheetd is started again'
            for sheet in old.sheets
            if sheet.folder not in there
        ]
        at_restart += [
            f'{found.path}: the sheet "{sheet.name}" is new, and is taken when sheetd is started again'
            for sheet in now.values()
        ]
        daemon: DaemonSettings = found.daemon.model_copy(update={"state_dir": old.daemon.state_dir})
        return replace(found, sheet=sheets[0], sheets=sheets, daemon=daemon)

    def _load_templates(self, settings: Settings, mistakes: list[str]) -> dict[str, Template]:
        loaded = load_templates(settings.daemon.templates)
        mistakes += loaded.problems
        templates = dict(loaded.templates)
        taken = {canonical(name) for name in templates}
        for name in loaded.broken:
            if name in self._templates and canonical(name) not in taken:
                templates[name] = self._templates[name]
        if templates:
            return templates
        if not loaded.problems:
            mistakes.append(f"there is no template in {settings.daemon.templates[0]}: add one")
        return self._templates

    def _say(
        self,
        before: Settings,
        settings: Settings,
        templates: Mapping[str, Template],
        mistakes: tuple[str, ...],
        at_restart: tuple[str, ...],
    ) -> None:
        """Into the log, each thing once."""
        for text in (*mistakes, *at_restart):
            if text not in self._logged:
                log.error("%s%s", text, "; until then the last good configuration counts" if text in mistakes else "")
        self._logged = {*mistakes, *at_restart}
        changes = [*_changes("template", self._templates, templates)]
        changes += _changes("host", {h.name: h for h in before.hosts}, {h.name: h for h in settings.hosts})
        pairs = zip(before.sheets, settings.sheets, strict=True)
        changes += ["[sheet]" if not new.folder else f'sheet "{new.name}"' for old, new in pairs if old != new]
        sections = ("daemon", "placement")
        changes += [f"[{name}]" for name in sections if getattr(settings, name) != getattr(before, name)]
        if self._mistakes and not mistakes:
            changes.append("no mistake is left")
        if changes:
            log.warning("read anew: %s", ", ".join(changes))


def _sheet_as_connected(
    first: SheetSettings, last: SheetSettings, new: SheetSettings, keys: list[str]
) -> SheetSettings:
    """What a sheet's settings say now, but for what they said at `first`; `keys` gets what has to wait."""
    section = "sheet" if not new.folder else f'sheets "{new.name}"'
    keys += [f"{section}.{key}" for key in CONNECTED_BY if getattr(new, key) != getattr(first, key)]
    if new.kind != first.kind:
        return last  # what is allowed of one kind may be too often for the other
    return new.model_copy(update={key: getattr(first, key) for key in CONNECTED_BY})


def _changes(what: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{what} {name} is gone"
        elif name not in old:
            yield f"{what} {name} is new"
        elif old[name] != new[name]:
            yield f"{what} {name}"
