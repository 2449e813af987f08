"""A server for each module, a spreadsheet and a stand-in for Google for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.sheets.builtin.server import SheetServer
from tests.cli.google_rig import GoogleRig, google_rig


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SheetServer]:
    with SheetServer(tmp_path_factory.mktemp("sheet") / "sheet.sqlite") as running:
        yield running


@pytest.fixture
def rig(server: SheetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleRig]:
    with google_rig(server, tmp_path, monkeypatch) as rig:
        yield rig
