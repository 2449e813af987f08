"""`sheetd doctor`: tries every link of the chain, and says what to do about each one that is broken.

Works beside a running daemon: it takes no lock and writes nothing to the sheet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import typer
from rich.text import Text

from sheetd.build import make_host
from sheetd.cli.doctor_sheet import Finding, sheet_findings
from sheetd.cli.terminal import ConfigOption, JsonOption, out, settings_of
from sheetd.config import HostSettings, Settings, default_config_path
from sheetd.errors import ConfigError, SheetdError
from sheetd.journal import JournalReader
from sheetd.journal.lock import holder_of
from sheetd.projects import left_behind
from sheetd.templates import load_templates

HOSTS_AT_ONCE = 8
DISK_LOW_BYTES = 2 << 30


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check configuration, templates, secrets, sheet and every host, and name the next step for what is wrong.

    [dim]Example:[/]  sheetd doctor && sheetd run
    """
    findings = []
    for finding in _all_of(config):
        findings.append(finding)
        if not as_json:
            mark = Text("ok  ", style="green") if finding.ok else Text("BAD ", style="bold red")
            out.print(mark + Text(f"{finding.what}: {finding.detail}", style=""), soft_wrap=True)
    if as_json:
        out.print_json(json.dumps([asdict(finding) for finding in findings]))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _all_of(config: Path | None) -> Iterator[Finding]:
    path = config if config is not None else default_config_path()
    try:
        settings = settings_of(path)
    except ConfigError as error:
        yield Finding("configuration", False, str(error))
        return
    yield from examine(settings)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which a person would mend them."""
    yield Finding("configuration", True, f"{settings.path} is valid, {_count_of_hosts(len(settings.hosts))}")
    loaded = load_templates(settings.daemon.templates)
    templates, problems = loaded.templates, loaded.problems
    for problem in problems:
        yield Finding("template", False, problem)
    if templates or not problems:
        yield Finding("templates", bool(templates), ", ".join(sorted(templates)) or "there is none: add a TOML file")
    for template in templates.values():
        for name in template.secrets:
            if name not in os.environ:
                text = f"template {template.name} needs {name}: set it in the daemon's environment"
                yield Finding("secret", False, text)
    yield _daemon(settings)
    for project in settings.projects:
        whose = f" ({project.sheet.name})" if len(settings.projects) > 1 else ""
        for finding in sheet_findings(project, templates):
            yield replace(finding, what=f"{finding.what}{whose}")
    yield from (Finding("sheet", False, text) for text in left_behind(settings))
    with ThreadPoolExecutor(HOSTS_AT_ONCE) as pool:
        yield from pool.map(lambda host: _host(settings, host), settings.hosts)


def _count_of_hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


def _daemon(settings: Settings) -> Finding:
    if not settings.daemon.state_dir.exists():
        return Finding("daemon", True, f"never started; its state will be kept in {settings.daemon.state_dir}")
    try:
        JournalReader(settings.state_dir)
    except SheetdError as error:
        return Finding("daemon", True, str(error))
    holder = holder_of(settings.daemon.state_dir)
    return Finding("daemon", True, f"runs ({holder})" if holder is not None else "does not run now: `sheetd run`")


def _host(settings: Settings, entry: HostSettings) -> Finding:
    host = make_host(settings, entry, epoch=0)
    try:
        facts = host.facts()
    except SheetdError as error:
        return Finding(f"host {entry.name}", False, str(error).removeprefix(f"{entry.name}: "))
    finally:
        host.close()
    free_bytes = facts.disk_free_bytes or 0
    free_gib = free_bytes / 2**30
    seen = f"{facts.hostname}, Python {facts.python}, {facts.cores} cores, {free_gib:.0f} GiB free"
    if free_bytes < DISK_LOW_BYTES:
        return Finding(f"host {entry.name}", False, f"{seen}: make room, or set root to a larger disk")
    return Finding(f"host {entry.name}", True, seen)
