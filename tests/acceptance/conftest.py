"""A sheet that outlives the daemon, and a lab on this machine that needs neither root nor sshd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.person import HEADER, Person
from tests.acceptance.project import Project
from tests.builtin.children import watched_children
from tests.sheets.builtin_rig import Address, builtin_server

TAB = "Experiments"


@pytest.fixture(autouse=True)
def _children_are_watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`sheetd run`, `serve` and `demo` have a built-in sheet of their own."""
    with watched_children(tmp_path_factory.mktemp("witness")):
        yield


@pytest.fixture
def address(tmp_path: Path) -> Iterator[Address]:
    with builtin_server(tmp_path) as address:
        yield address


def person_at(address: Address, header: Sequence[str] = HEADER) -> Person:
    """Somebody in front of the tab, with a header in it."""
    Person(address, "Sheet1").spreadsheet.sheet1.update_title(TAB)
    person = Person(address, TAB, list(header))
    person.write_header()
    return person


@contextmanager
def project_in(folder: Path, **told: Any) -> Iterator[Project]:
    """Whatever still runs at the end is stopped."""
    project = Project(folder, **told)
    try:
        yield project
    finally:
        project.stop_everything()
        project.close()


@contextmanager
def lab_at(
    address: Address, folder: Path, *, hosts: Mapping[str, int], sheet: str = "", **told: Any
) -> Iterator[Project]:
    """A project with so many slots on each of these hosts, which are all this machine."""
    with project_in(
        folder / "lab",
        home=str(folder),
        sheet=f"{sheet_section(address.base_url, address)}\n{sheet}",
        hosts="".join(
            f'[[hosts]]\nname = "{name}"\nlocal = true\nslots = {slots}\nroot = "{name}"\n'
            for name, slots in hosts.items()
        ),
        **told,
    ) as project:
        yield project


@pytest.fixture
def person(address: Address) -> Person:
    return person_at(address)


@pytest.fixture
def lab(tmp_path: Path, address: Address) -> Iterator[Project]:
    """Two slots on this machine, which the jobs know by a name."""
    home = tmp_path / "home"
    home.mkdir()
    with project_in(
        tmp_path / "lab",
        home=str(home),
        sheet=sheet_section(address.base_url, address),
        hosts='[[hosts]]\nname = "here"\nlocal = true\nslots = 2\nroot = "root"\nenv = { LAB = "here" }\n',
    ) as project:
        yield project


def sheet_section(base_url: str, address: Address) -> str:
    return f'url = "{base_url}"\nkey = "{address.key}"\ntoken = "{address.token}"\npoll_s = 0.3\nsettle_s = 0.6'
