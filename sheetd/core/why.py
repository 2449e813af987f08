"""Why an experiment waits, as data: what it needs, and what stands in the way on each host. And the one sentence of it.

The row's message, `sheetd explain` and the views for other processes are all made from these, so they cannot disagree.
Nothing is decided here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from sheetd.core.model import ExperimentId, HostName, Spec

#: What stands in the way, in words that can be counted.
OURS = "ours"
KEPT = "kept"
#: So many hosts are told of in a sentence; `sheetd explain` tells of all.
HOSTS_TOLD = 3


class Strategy(str, Enum):
    """Where small requests go: to hosts that are in use already, or to where most is free."""

    PACK = "pack"
    SPREAD = "spread"


class Block(str, Enum):
    """What stands in the way of an experiment: on a whole host, or on one thing that it could hand out."""

    #: Nothing: it is free.
    NONE = "none"
    DOWN = "down"
    CLOSED = "closed"
    DRAINED = "drained"
    QUARANTINED = "quarantined"
    ON_TRIAL = "on trial"
    UNSEEN = "not looked at yet"
    ELSEWHERE = "not what where asks for"
    TOO_SMALL = "too small"
    TAKEN = "taken"
    FOREIGN = "used by others"
    COOLING = "left by others lately"
    UNKNOWN = "unknown"
    SICK = "sick"
    KEPT = "kept for another"


#: These are of the host as a whole.
OF_HOST = frozenset({Block.DOWN, Block.CLOSED, Block.DRAINED, Block.QUARANTINED, Block.ON_TRIAL, Block.UNSEEN})


class Need(NamedTuple):
    """What an experiment asks of a host. Those that ask for the same wait for the same."""

    slots: int = 1
    where: str = ""
    memory_gb: float = 0.0
    share: int = 1
    #: One of these hosts, if any is named.
    places: frozenset[HostName] = frozenset()

    @staticmethod
    def of(spec: Spec, places: frozenset[HostName] = frozenset()) -> Need:
        return Need(spec.slots, spec.where.strip(), spec.memory_gb, spec.share, places)

    @property
    def words(self) -> str:
        if self.memory_gb:
            return f"{self.slots} x >= {self.memory_gb:g} GB"
        return f"{self.slots} slot{'s' if self.slots > 1 else ''}"


class Sentence(NamedTuple):
    """Why somebody waits. Where there is a queue, how many are ahead is said in between."""

    line: str
    rest: str = ""
    is_queue: bool = False

    def told(self, ahead: int) -> str:
        queue = f", {about(ahead)} ahead of it" if self.is_queue and ahead else ""
        return f"{self.line}{queue}{self.rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWhy:
    """What one host says to a need. `block` is NONE where only too few are free."""

    host: HostName
    block: Block = Block.NONE
    #: The sentence that says `block`, without the host's name.
    words: str = ""
    is_plain: bool = True
    #: Whether it was ever seen what it has.
    is_known: bool = True
    #: How many would do if they were free, and how many of these are.
    fitting: int = 0
    free: int = 0
    total: int = 0
    #: The others that would do, by what is in the way: in words that can be counted.
    taken: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Everything that stands in the way of one need at the moment."""

    need: Need
    hosts: tuple[HostWhy, ...] = ()
    #: For whom slots are kept, if that is in the way too.
    kept_for: ExperimentId | None = None

    def told(self, ahead: int = 0) -> str:
        return self.sentence().told(ahead)

    def sentence(self) -> Sentence:
        """The words for the row: what it needs, what each host says, and what happens next."""
        allowed = [one for one in self.hosts if one.block is not Block.ELSEWHERE]
        if not allowed:
            return Sentence(_nobody(self.need))
        if all(one.is_known and one.fitting < self.need.slots for one in allowed):
            return Sentence(self._too_much(allowed))
        open_ = [one for one in allowed if one.block not in OF_HOST and one.fitting >= self.need.slots]
        closed = [f"{one.host} {one.words}" for one in allowed if one.block in OF_HOST]
        kept = f"; some are kept for {self.kept_for}, which has waited longest" if self.kept_for else ""
        if not open_:
            return Sentence(f"waits for a host: {_some(closed)}")
        if all(one.is_plain for one in open_):
            free, total = sum(one.free for one in open_), sum(one.total for one in open_)
            line = f"waits for {self.need.words}: {total - free} of {total} are taken{_by_others(open_)}"
            return Sentence(line, (f"; {'; '.join(closed[:2])}" if closed else "") + kept, is_queue=True)
        return Sentence(f"needs {self.need.words}; {_some([*map(_free_words, open_), *closed])}", kept, is_queue=True)

    def _too_much(self, allowed: list[HostWhy]) -> str:
        most = max(one.fitting for one in allowed)
        return f"needs {self.need.words} on one host; the largest host it may use has {most}"

    def as_data(self) -> dict[str, Any]:
        """Plain JSON, for programs and for other processes."""
        return {
            "needs": {"slots": self.need.slots, "where": self.need.where, "memory_gb": self.need.memory_gb},
            "places": sorted(self.need.places),
            "share": self.need.share,
            "kept_for": self.kept_for,
            "hosts": [
                {
                    "host": one.host,
                    "block": one.block.value,
                    "words": one.words,
                    "is_plain": one.is_plain,
                    "is_known": one.is_known,
                    "fitting": one.fitting,
                    "free": one.free,
                    "total": one.total,
                    "taken": dict(one.taken),
                }
                for one in self.hosts
            ],
        }


def why_from(data: dict[str, Any]) -> Why:
    """What `as_data` gave."""
    needs = data["needs"]
    return Why(
        need=Need(needs["slots"], needs["where"], needs["memory_gb"], data["share"], frozenset(data.get("places", ()))),
        kept_for=data["kept_for"],
        hosts=tuple(
            HostWhy(**{**one, "block": Block(one["block"]), "taken": tuple(one["taken"].items())})
            for one in data["hosts"]
        ),
    )


def host_words(one: HostWhy, need: Need) -> str:
    """What one host says to the need, as a line of its own."""
    if one.block in OF_HOST or one.block is Block.ELSEWHERE:
        return one.words
    if one.fitting < need.slots:
        return f"has {one.fitting} of the {need.words} at most"
    return _free_words(one).removeprefix(f"{one.host} ")


def count_words(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(words).items())


def about(count: int) -> str:
    """A number of rows. A large one is rounded, or every launch would change the message of everybody who waits."""
    if count < 10:
        return str(count)
    step = 10 ** (len(str(count)) - 1)
    return f"at least {count // step * step}"


def _nobody(need: Need) -> str:
    if need.places:
        also = f', and where is "{need.where[:60]}"' if need.where else ""
        return f"what the rows it runs after wrote lies on {_some(sorted(need.places))}{also}: no such host is there"
    if not need.where:
        return "no host is configured: add one with a [[hosts]] entry"
    return f'where is "{need.where[:60]}": no host has this name, label or model'


def _free_words(one: HostWhy) -> str:
    others = ", ".join(f"{count} {words}" for words, count in one.taken)
    return f"{one.host} has {one.free} free{f' ({others})' if others else ''}"


def _by_others(hosts: Iterable[HostWhy]) -> str:
    """How many plain slots are not ours, and whose they are: that of our own needs no saying."""
    counts: Counter[str] = Counter()
    for one in hosts:
        counts.update({words: count for words, count in one.taken if words not in (OURS, KEPT)})
    return f" ({', '.join(f'{count} {words}' for words, count in counts.items())})" if counts else ""


def _some(told: list[str]) -> str:
    more = len(told) - HOSTS_TOLD
    return ", ".join(told[:HOSTS_TOLD]) + (f", and {more} more" if more > 0 else "")
