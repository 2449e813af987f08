"""Everything sheetd raises on purpose.

    SheetdError
     +-- ConfigError            a file that a person wrote is wrong: names file, key and what to do
     +-- JournalError           the journal cannot be trusted or is held by another daemon
     +-- SheetError             the spreadsheet could not be read or written
     |    +-- SheetUnavailable      it may work again by itself: network, quota, server error
     |    +-- SheetRefused          it will not work until a person changes something: access, missing tab
     +-- HostError              a host could not do what was asked
     |    +-- HostUnreachable       we could not ask; says nothing about what runs there
     |    +-- HostRefused           the host answered, and the answer is no; carries the agent's code
     +-- IllegalTransition      a bug: an event that the lifecycle table does not allow

Foreign exceptions end at the adapter that met them, chained with `from`.
"""

from __future__ import annotations


class SheetdError(Exception):
    """Base of all errors that a user is meant to read. The text says what happened and what to do next."""


class ConfigError(SheetdError):
    """A configuration or template file is wrong."""


class JournalError(SheetdError):
    """The journal cannot be opened, is damaged, or belongs to another daemon."""


class SheetError(SheetdError):
    """The spreadsheet could not be read or written."""


class SheetUnavailable(SheetError):  # noqa: N818 - a state of the world, not our mistake
    """May pass by itself. A write that ends so has an unknown outcome: read before writing again."""


class SheetRefused(SheetError):  # noqa: N818
    """Will not pass by itself: the text names the person's next step."""


class HostError(SheetdError):
    """A host could not do what was asked."""


class HostUnreachable(HostError):  # noqa: N818
    """We could not ask. Unreachable is not dead: nothing may be concluded about what runs there."""


class HostRefused(HostError):  # noqa: N818
    """The host answered no. `code` is the agent's word for why, such as `spec_conflict` or `disk_full`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class IllegalTransition(SheetdError):  # noqa: N818
    """An event met a phase in which it cannot happen. Nothing was changed."""
