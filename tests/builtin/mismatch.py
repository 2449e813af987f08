"""What the check against Google's documents raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MismatchError(AssertionError):
    """Something that Google would not send or take. `where` grows from the inside out while it is raised."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.where: list[str] = []

    def __str__(self) -> str:
        """One sentence, with the place first: `sheets.spreadsheets.get answer.sheets[0].data: a list is wanted`."""
        place = "".join(reversed(self.where))
        return f"{place}: {self.what}" if place else self.what


@contextmanager
def at(place: str) -> Iterator[None]:
    """What is raised inside is about this place."""
    try:
        yield
    except MismatchError as error:
        error.where.append(place)
        raise
