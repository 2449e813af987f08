"""A server for each module, a spreadsheet for each test; and after each, no cell of the person may have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sheetd.sheets.builtin.server import SheetServer
from tests.faults.laboratory import Lab, lab_of, lab_with_faults

OpenLab: TypeAlias = Callable[..., Lab]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SheetServer]:
    with SheetServer(tmp_path_factory.mktemp("sheet") / "sheet.sqlite") as running:
        yield running


@pytest.fixture
def open_lab(server: SheetServer) -> Iterator[OpenLab]:
    """`hosts`, `templates`, `limits` and the like are those of `Story`."""
    yield from _labs(lambda told: lab_of(server.base_url, server.token, **told))


@pytest.fixture
def open_lab_with_faults(server: SheetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenLab]:
    monkeypatch.setenv("no_proxy", "*")
    yield from _labs(lambda told: lab_with_faults(server.base_url, server.token, tmp_path, **told))


def _labs(opening: Callable[[dict[str, Any]], Any]) -> Iterator[OpenLab]:
    labs: list[Lab] = []
    with ExitStack() as stack:

        def open_one(**told: Any) -> Lab:
            labs.append(stack.enter_context(opening(told)))
            return labs[-1]

        yield open_one
        for lab in labs:
            assert lab.person.untouched(), "a cell that a person owns was changed"
            assert not lab.nobody_meddled(), "what the test is about never happened"


@pytest.fixture
def lab(open_lab: OpenLab) -> Lab:
    return open_lab()


@pytest.fixture
def lab_over_faults(open_lab_with_faults: OpenLab) -> Lab:
    return open_lab_with_faults()
