"""What every store of code promises: `ports.Snapshots`. What is taken into an archive is in `tests/snapshot`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from sheetd.build import CodeStore
from sheetd.errors import ConfigError
from tests.contracts.host_rigs import driven
from tests.daemon.fakes import FakeSnapshots
from tests.sim.service import SimSnapshots
from tests.sim.world import Setting, Simulation


class Rig(Protocol):
    project: Path

    def pin(self) -> str: ...

    def archive(self, sha: str) -> Path: ...

    def edit(self, version: int) -> None:
        """Make the project say something else; the same version is the same content."""

    def spoil(self) -> None:
        """From now on the project cannot be read."""


class RealRig:
    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        self.store = CodeStore(folder / "store")
        self.pin: Callable[[], str] = lambda: self.store.pin(self.project)
        self.archive = self.store.archive

    def edit(self, version: int) -> None:
        (self.project / "train.py").write_text(f"print({version})\n")

    def spoil(self) -> None:
        self.project = self.project / "gone"


class SimulatedRig:
    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.project = Path("/project")
        self.store = SimSnapshots(simulation)
        self.archive = self.store.archive

    def pin(self) -> str:
        return driven(self.simulation.engine, lambda: self.store.pin(self.project))

    def edit(self, version: int) -> None:
        self.simulation.code_versions[self.project] = version

    def spoil(self) -> None:
        self.simulation.rates["J19 code cannot be read"] = 1.0


class FakeRig:
    def __init__(self) -> None:
        self.project = Path("/project")
        self.store = FakeSnapshots()
        self.pin: Callable[[], str] = lambda: self.store.pin(self.project)
        self.archive = self.store.archive

    def edit(self, version: int) -> None:
        self.store.versions[self.project] = version

    def spoil(self) -> None:
        self.store.unreadable.add(self.project)


@contextmanager
def real(folder: Path) -> Iterator[Rig]:
    yield RealRig(folder)


@contextmanager
def simulated(_folder: Path) -> Iterator[Rig]:
    simulation = Simulation(Setting(0, kinds=set(), rows=0))
    yield SimulatedRig(simulation)
    simulation.close()


@contextmanager
def fake(_folder: Path) -> Iterator[Rig]:
    yield FakeRig()


@pytest.fixture(params=[real, simulated, fake], ids=lambda rig: rig.__name__)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path) as rig:
        rig.edit(1)
        yield rig


def test_the_same_code_has_the_same_hash_and_other_code_another(rig: Rig) -> None:
    first = rig.pin()
    assert len(bytes.fromhex(first)) == hashlib.sha256().digest_size
    assert rig.pin() == first
    rig.edit(2)
    second = rig.pin()
    assert second != first
    rig.edit(1)
    assert rig.pin() == first


def test_an_archive_is_found_by_its_hash_after_the_code_was_edited(rig: Rig) -> None:
    first = rig.pin()
    rig.edit(2)
    second = rig.pin()
    assert first in rig.archive(first).name
    assert rig.archive(first) != rig.archive(second)


def test_code_that_cannot_be_read_says_which_folder_and_why(rig: Rig) -> None:
    rig.spoil()
    with pytest.raises(ConfigError, match=f"{rig.project}.*"):
        rig.pin()


@pytest.mark.parametrize("rig", [real], ids=["real"], indirect=True)  # the others have no bytes to hash
def test_an_archive_has_the_hash_that_it_is_kept_under(rig: Rig) -> None:
    sha = rig.pin()
    assert hashlib.sha256(rig.archive(sha).read_bytes()).hexdigest() == sha
