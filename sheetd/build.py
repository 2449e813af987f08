"""The only place where adapters are made: from settings to a daemon that can run.

Reads the configuration's files and opens the journal; contacts no host and, but for the built-in sheet, no network.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sheetd.clock import SystemChance, SystemClock
from sheetd.config import HostSettings, Settings
from sheetd.core.hosts_grid import HostsTab
from sheetd.core.model import HostName
from sheetd.core.runs_grid import RunsTab
from sheetd.core.state import State
from sheetd.core.template import Template
from sheetd.core.world import Identity, World
from sheetd.daemon import Daemon
from sheetd.door import KEY_NAME, URL_NAME, listen_for_wakes
from sheetd.effects import Ports
from sheetd.errors import ConfigError, SheetRefused
from sheetd.hosts.host import AgentHost, LocalHost, SshHost
from sheetd.hosts.pins import PINS_NAME
from sheetd.journal import SqliteJournal
from sheetd.ports import Host
from sheetd.reloading import Reloader, configuration_of, routes_of
from sheetd.sheets.google import GoogleSheet, open_builtin, open_google
from sheetd.snapshot import snapshot
from sheetd.templates import Loaded, load_templates

if TYPE_CHECKING:
    from sheetd.sheets.builtin.server import SheetServer

STORE_NAME = "sheet.sqlite"
PORT_NAME = "sheet.port"
SNAPSHOTS_NAME = "code"
PORT_MAX = 65535
#: What sheetd writes to the right of a row's status and metrics, most looked at first.
LATER_HEADERS = ("progress", "eta", "host", "attempt", "runtime", "started", "code", "id")


@dataclass(slots=True)
class Service:
    """A daemon with everything that it needs, until `close`."""

    daemon: Daemon
    journal: SqliteJournal
    sheet: GoogleSheet
    server: SheetServer | None
    #: What is wrong with single templates; the others work.
    problems: tuple[str, ...]
    #: Has the operator's files read at once.
    look_now: Callable[[], None]
    stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.stack.close()


def build(settings: Settings, *, port: int = 0, take_over: bool = False) -> Service:
    """Open the journal and put a daemon together. Raises a SheetdError with nothing left open.

    `take_over`: the operator says that whoever served the sheet before is gone for good, with all that it runs.
    """
    loaded = usable_templates(settings)
    templates, problems = loaded.templates, loaded.problems
    with ExitStack() as stack:
        journal = SqliteJournal(settings.daemon.state_dir)
        stack.callback(journal.close)
        sheet, server = open_sheet(settings, stack, port=port)
        if server is not None:
            sheet.create_tab_if_missing()
            sheet.write_header(starter_header(settings, templates))
        routes = routes_of(settings, open_host)
        hosts: dict[HostName, Host] = {name: route.adapter() for name, route in routes.items()}
        world = make_world(settings, templates)
        world.identity = Identity(
            owner=journal.owner,
            where=f"{getpass.getuser()}@{socket.gethostname()}:{settings.daemon.state_dir}"[:200],
            takes_over=take_over,
        )
        ports = Ports(
            sheet=sheet,
            hosts=hosts,
            journal=journal,
            snapshots=CodeStore(settings.daemon.state_dir / SNAPSHOTS_NAME),
            secret=secret_of,
            hosts_tab=sheet.beside(settings.sheet.hosts_tab) if settings.sheet.hosts_tab else None,
            runs_tab=sheet.beside(settings.sheet.runs_tab) if settings.sheet.runs_tab else None,
            usage=sheet.client.usage if settings.sheet.kind == "google" else None,
        )
        daemon = Daemon(world, ports, SystemClock(), SystemChance(), routes)
        stack.callback(sheet.close)
        stack.callback(listen_for_wakes(settings.daemon.state_dir, daemon.wake))
        reloader = Reloader(settings, loaded, open_host, daemon.post)
        stack.callback(reloader.start())
        return Service(
            daemon=daemon,
            journal=journal,
            sheet=sheet,
            server=server,
            problems=problems,
            look_now=reloader.look_now,
            stack=stack.pop_all(),
        )


def usable_templates(settings: Settings) -> Loaded:
    """Raises ConfigError when there is none that works."""
    loaded = load_templates(settings.daemon.templates)
    if not loaded.templates:
        folder = settings.daemon.templates[0]
        raise ConfigError("; ".join(loaded.problems) or f"there is no template in {folder}: add one")
    return loaded


def open_sheet(settings: Settings, stack: ExitStack, *, port: int = 0) -> tuple[GoogleSheet, SheetServer | None]:
    """The sheet that the settings name; the built-in one is started here, and stopped with the stack."""
    wanted = settings.sheet
    if wanted.kind == "google":
        assert wanted.credentials is not None  # noqa: S101 - checked by the settings; said for the type checker
        return open_google(wanted.url, wanted.tab, wanted.credentials), None
    if wanted.kind == "server":
        return open_builtin(wanted.url, wanted.token or "", wanted.key or "", wanted.tab), None
    # Here, because a daemon over a sheet elsewhere need not hold the server and its libraries: 3 MB.
    from sheetd.sheets.builtin.model import new_sheet  # noqa: PLC0415

    state_dir = settings.daemon.state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = _started_server(state_dir, port)
    stack.callback(server.stop)
    (state_dir / PORT_NAME).write_text(f"{server.port}\n")
    stack.callback((state_dir / URL_NAME).unlink, missing_ok=True)
    _write_privately(state_dir / URL_NAME, server.url + "\n")
    title = settings.path.parent.name
    key = server.store.newest_key() or server.store.create_spreadsheet(title, sheets=[new_sheet(0, wanted.tab)])
    (state_dir / KEY_NAME).write_text(f"{key}\n")  # by which another process opens the same spreadsheet
    return open_builtin(server.base_url, server.token, key, wanted.tab), server


def _started_server(state_dir: Path, port: int) -> SheetServer:
    """With port 0 at the port of the last time, so that an open page finds it; or at a free one if that is taken."""
    from sheetd.sheets.builtin.server import SheetServer  # noqa: PLC0415 - as in `open_sheet`
    from sheetd.sheets.builtin.store import StoreInUseError  # noqa: PLC0415

    kept = _kept_port(state_dir) if port == 0 else 0
    try:
        if kept:
            with suppress(OSError):
                return SheetServer(state_dir / STORE_NAME, port=kept).start()
        return SheetServer(state_dir / STORE_NAME, port=port).start()
    except StoreInUseError as error:
        raise SheetRefused(f"{error} (`sheetd serve`, or another daemon?)") from error
    except OSError as error:
        raise SheetRefused(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error


def _kept_port(state_dir: Path) -> int:
    """The port of the last time, or 0."""
    try:
        text = (state_dir / PORT_NAME).read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdigit() and int(text) <= PORT_MAX else 0


def _write_privately(path: Path, text: str) -> None:
    """For this user's eyes from its first byte on: the page's address holds the token."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def starter_header(settings: Settings, templates: Mapping[str, Template]) -> list[str]:
    """The header row of a new tab: what the user types first, then what sheetd writes, then the metrics."""
    params = list(dict.fromkeys(name for template in templates.values() for name in template.params))
    metrics = list(dict.fromkeys(rule.name for template in templates.values() for rule in template.metrics))
    metrics = [name for name in metrics if name not in params]
    where = ["where"] if any(host.labels for host in settings.hosts) else []
    return ["template", *params, *where, "action", "status", "message", *metrics, *LATER_HEADERS]


def make_world(settings: Settings, templates: Mapping[str, Template]) -> World:
    found = configuration_of(settings, templates)
    return World(
        state=State(),
        templates=found.templates,
        limits=found.limits,
        hosts={host.name: host for host in found.hosts},
        hosts_tab=HostsTab() if settings.sheet.hosts_tab else None,
        runs_tab=RunsTab() if settings.sheet.runs_tab else None,
        redactor=found.redactor,
    )


def make_host(settings: Settings, host: HostSettings, *, epoch: int) -> AgentHost:
    """The adapter for one [[hosts]] entry. Connects to nothing yet; with epoch 0 it will only look."""
    if host.local:
        root = Path(host.root) if host.root else settings.daemon.state_dir / "hosts" / host.name
        return LocalHost(host.name, root, epoch=epoch, env=host.env)
    return SshHost(
        host.name,
        host.name,
        settings.daemon.ssh_config,
        epoch=epoch,
        pins=settings.daemon.state_dir / PINS_NAME,
        use_agent=host.use_ssh_agent,
        root=host.root,
        env=host.env,
    )


def open_host(settings: Settings, host: HostSettings) -> AgentHost:
    """As a daemon begins with it. Epoch 0 looks only: a host obeys us from when the sheet has said that it is ours."""
    return make_host(settings, host, epoch=0)


class CodeStore:
    """`ports.Snapshots`: archives in one folder, named by their hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pin(self, folder: Path) -> str:
        return snapshot(folder, self._folder).sha

    def archive(self, sha: str) -> Path:
        return self._folder / f"{sha}.tar.gz"


def secret_of(name: str) -> str:
    """A secret is a variable of the daemon's own environment. Raises ConfigError when it is not set."""
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigError(f"the secret {name} is not in the daemon's environment: set it there and restart") from None
