"""A sheet that outlives the daemon, and a lab on this machine that needs neither root nor sshd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.person import Person
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


@pytest.fixture
def person(address: Address) -> Person:
    Person(address, "Sheet1").spreadsheet.sheet1.update_title(TAB)
    person = Person(address, TAB)
    person.write_header()
    return person


@pytest.fixture
def lab(tmp_path: Path, address: Address) -> Iterator[Project]:
    """Two slots on this machine. Whatever still runs at the end is stopped."""
    home = tmp_path / "home"
    home.mkdir()
    project = Project(
        tmp_path / "lab",
        home=str(home),
        sheet=sheet_section(address.base_url, address),
        hosts='[[hosts]]\nname = "here"\nlocal = true\nslots = 2\nroot = "root"\nenv = { LAB = "here" }\n',
    )
    try:
        yield project
    finally:
        project.stop_everything()
        project.close()


def sheet_section(base_url: str, address: Address) -> str:
    return f'url = "{base_url}"\nkey = "{address.key}"\ntoken = "{address.token}"\npoll_s = 0.3\nsettle_s = 0.6'
