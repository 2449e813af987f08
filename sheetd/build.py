"""The only place where adapters are made, but for sheets (`opening`): from settings to projects that can run.

Reads the configuration's files and opens the journal; contacts no host and, but for the built-in sheet, no network.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sheetd import last_good
from sheetd.arbiter import Arbiter, Seat
from sheetd.clock import SystemChance, SystemClock
from sheetd.config import HostSettings, Settings
from sheetd.core.hosts_grid import HostsTab
from sheetd.core.model import HostName
from sheetd.core.runs_grid import RunsTab
from sheetd.core.state import State
from sheetd.core.template import Template
from sheetd.core.world import Identity, World
from sheetd.daemon import Daemon
from sheetd.door import listen_for_wakes
from sheetd.effects import Ports
from sheetd.errors import ConfigError
from sheetd.hosts.host import AgentHost, LocalHost, SshHost
from sheetd.hosts.pins import PINS_NAME
from sheetd.journal import JOURNAL_NAME, hold
from sheetd.loops import run_together
from sheetd.opening import Opener
from sheetd.ports import Host
from sheetd.projects import left_behind
from sheetd.reloading import Reloader, configuration_of, routes_of
from sheetd.sheets.google import GoogleSheet
from sheetd.snapshot import snapshot
from sheetd.systemd import SharedWatchdog, Watchdog, WatchdogPart
from sheetd.templates import Loaded, load_templates
from sheetd.wishes import ProjectJournal, begin_with_drains

if TYPE_CHECKING:
    from sheetd.sheets.builtin.server import SheetServer

SNAPSHOTS_NAME = "code"
#: What sheetd writes to the right of a row's status and metrics, most looked at first.
LATER_HEADERS = ("progress", "eta", "host", "attempt", "runtime", "started", "code", "id")


@dataclass(frozen=True, slots=True)
class Project:
    """One sheet's loop, its journal, and what it reads and writes."""

    settings: Settings
    daemon: Daemon
    journal: ProjectJournal
    sheet: GoogleSheet


@dataclass(slots=True)
class Service:
    """The projects with everything that they need, until `close`."""

    projects: tuple[Project, ...]
    #: The built-in sheet, if a project has one.
    server: SheetServer | None
    #: What is wrong with single templates, and what was left behind; all else works.
    problems: tuple[str, ...]
    #: Has the operator's files read at once.
    look_now: Callable[[], None]
    stack: ExitStack = field(default_factory=ExitStack)

    def run(self) -> None:
        """Work until `stop`. Raises what a loop has failed with."""
        run_together({project.settings.sheet.name: project.daemon for project in self.projects})

    def stop(self) -> None:
        """End every loop after its present turn. From any thread, and from a signal; jobs go on."""
        for project in self.projects:
            project.daemon.stop()

    def wake(self) -> None:
        """Somebody left a request in a journal."""
        for project in self.projects:
            project.daemon.wake()

    def close(self) -> None:
        self.stack.close()


class Among:
    """What the loops of one process share, of which each has its part before any of them starts."""

    def __init__(self, count: int) -> None:
        self._watchdog = SharedWatchdog(Watchdog(SystemClock()))
        self._arbiter = Arbiter() if count > 1 else None

    def place(self, project: str) -> tuple[WatchdogPart, Seat | None]:
        """A single project has all hosts for itself, and asks nobody."""
        return self._watchdog.part(), None if self._arbiter is None else self._arbiter.seat(project)


def build(settings: Settings, *, port: int = 0, take_over: bool = False) -> Service:
    """Open the journals and put a daemon together for each. Raises a SheetdError with nothing left open.

    `take_over`: the operator says that whoever served the sheet before is gone for good, with all that it runs.
    """
    loaded = usable_templates(settings)
    with ExitStack() as stack:
        _hold_state_folder(settings, stack)
        journals = [stack.enter_context(closing(ProjectJournal(project.state_dir))) for project in settings.projects]
        last_good.keep(settings.daemon.state_dir, settings.text)  # at once: who looks from now on goes by it
        begin_with_drains(journals)
        opener = Opener(stack, port=port)
        among = Among(len(journals))
        projects = tuple(
            _project(project, loaded, opener, journal, among, take_over=take_over)
            for project, journal in zip(settings.projects, journals, strict=True)
        )
        reloader = Reloader(settings, loaded, open_host, [project.daemon.post for project in projects])
        service = Service(
            projects=projects,
            server=opener.server,
            problems=(*loaded.problems, *left_behind(settings)),
            look_now=reloader.look_now,
        )
        for journal in journals:
            journal.pass_on([other for other in journals if other is not journal], service.wake)
        stack.callback(listen_for_wakes(settings.daemon.state_dir, service.wake))
        stack.callback(reloader.start())
        service.stack = stack.pop_all()
        return service


def _hold_state_folder(settings: Settings, stack: ExitStack) -> None:
    """One process for each state folder. Raises ConfigError where a project of before would be forgotten."""
    folder = settings.daemon.state_dir
    if any(sheet.folder == "" for sheet in settings.sheets):
        return  # its journal is there, and is locked
    if (folder / JOURNAL_NAME).exists():
        raise ConfigError(
            f"{settings.path}: {folder} holds the journal of the sheet that was [sheet], and the file has only"
            " [[sheets]], which begin with nothing: what it runs would be forgotten. Put [sheet] back and leave"
            f" [[sheets]] beside it; or, if it is done with, move {folder / JOURNAL_NAME} away"
        )
    stack.callback(hold(folder).release)


def _project(
    settings: Settings,
    loaded: Loaded,
    opener: Opener,
    journal: ProjectJournal,
    among: Among,
    *,
    take_over: bool,
) -> Project:
    wanted, templates = settings.sheet, loaded.templates
    sheet = opener.open(settings)
    if wanted.kind == "builtin":
        sheet.create_tab_if_missing()
        sheet.write_header(starter_header(settings, templates))
    routes = routes_of(settings, open_host)
    hosts: dict[HostName, Host] = {name: route.adapter() for name, route in routes.items()}
    world = make_world(settings, templates)
    world.identity = Identity(
        owner=journal.owner,
        where=f"{getpass.getuser()}@{socket.gethostname()}:{settings.state_dir}"[:200],
        folder=wanted.folder,
        takes_over=take_over,
    )
    ports = Ports(
        sheet=sheet,
        hosts=hosts,
        journal=journal,
        snapshots=CodeStore(settings.daemon.state_dir / SNAPSHOTS_NAME),
        secret=secret_of,
        hosts_tab=sheet.beside(wanted.hosts_tab) if wanted.hosts_tab else None,
        runs_tab=sheet.beside(wanted.runs_tab) if wanted.runs_tab else None,
        usage=sheet.client.usage if wanted.kind == "google" else None,
    )
    watchdog, seat = among.place(wanted.name)
    daemon = Daemon(world, ports, SystemClock(), SystemChance(), routes, seat, watchdog)
    return Project(settings, daemon, journal, sheet)


def usable_templates(settings: Settings) -> Loaded:
    """Raises ConfigError when there is none that works."""
    loaded = load_templates(settings.daemon.templates)
    if not loaded.templates:
        folder = settings.daemon.templates[0]
        raise ConfigError("; ".join(loaded.problems) or f"there is no template in {folder}: add one")
    return loaded


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
        return LocalHost(host.name, root, epoch=epoch, folder=settings.sheet.folder, env=host.env)
    return SshHost(
        host.name,
        host.name,
        settings.daemon.ssh_config,
        epoch=epoch,
        pins=settings.daemon.state_dir / PINS_NAME,
        use_agent=host.use_ssh_agent,
        root=host.root,
        folder=settings.sheet.folder,
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
