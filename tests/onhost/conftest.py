from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link, clean_up


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A state root of the test's own; whatever works below it is killed in the end."""
    place = tmp_path / "root"
    place.mkdir(mode=0o700)
    yield place
    clean_up(place)


@pytest.fixture
def connect(root: Path) -> Iterator[Callable[..., Link]]:
    """Open connections to agents on this root; each has said hello."""
    links: list[Link] = []

    def connect(**options: Any) -> Link:
        link = Link(root, **options)
        links.append(link)
        link.boot_up()
        link.hello()
        return link

    yield connect
    for link in links:
        link.kill()


@pytest.fixture
def link(connect: Callable[..., Link]) -> Link:
    return connect()
