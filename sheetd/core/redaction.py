"""Secrets that a job prints, taken out of what hosts say before it is kept: no row, journal or log holds them (J18).

Two nets: the values that our own templates hand to jobs, and the shapes that tokens have. Both are cast over the text
as it is and as a person sees it, so that colours or invisible signs between its letters hide no secret. The log on the
host stays as it was written; it is its owner's. Weak: a secret of no known shape that the job got elsewhere looks like
any word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from sheetd.core.observation import (
    AcceleratorSeen,
    AcceleratorsReported,
    AcceleratorsSeen,
    AttemptSeen,
    HostFacts,
    MetricPoint,
)
from sheetd.core.text import clean_line, seen_places

REDACTED = "[redacted]"
#: A shorter value would take away ordinary words and numbers.
VALUE_MIN = 6
_TOKEN = re.compile(
    r"""
      \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                              # AWS
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,}        # GitHub
    | \bglpat-[\w-]{16,}                                         # GitLab
    | \bhf_[A-Za-z0-9]{20,}                                      # Hugging Face
    | \bsk-[\w-]{20,} | \bsk_live_\w{16,}                        # OpenAI and others, Stripe
    | \bxox[abeoprs]-[\w-]{10,}                                  # Slack
    | \bAIza[\w-]{30,} | \bya29\.[\w-]{20,}                      # Google
    | \beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*                       # a JSON Web Token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*
    """,
    re.VERBOSE,
)
#: What is named before it; the name stays.
_NAMED = re.compile(
    r"""(?ix)
    ( \bauthorization["']?\s{0,4}[:=]\s{0,4}["']?(?:(?:bearer|basic|token)\s{1,4})?
    | \bbearer\s{1,4}
    | (?:passwd|password|api[_-]?key|secret|access[_-]?token|auth[_-]?token)[a-z_-]{0,20}["']?\s{0,4}[:=]\s{0,4}["']?
    | ://[^\s/:@]{0,64}:(?=[^\s/@]{1,200}@)
    )
    (?!\[redacted\]|(?:bearer|basic|token)\b) [^\s"'@,;]{6,}
    """
)


AcceleratorsTold = TypeVar("AcceleratorsTold", AcceleratorsSeen, AcceleratorsReported)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Takes secrets out of text. `values` are those that are known, the longest first."""

    values: tuple[str, ...] = ()

    @staticmethod
    def of(values: Iterable[str]) -> Redactor:
        """One that knows these: of a value with several lines each line, since jobs are heard line by line."""
        lines = {line.strip() for value in values for line in value.splitlines()}
        # As they are searched for, too.
        lines |= {"".join(line[at] for at in places).strip() for line in lines for places in seen_places(line)}
        return Redactor(tuple(sorted((line for line in lines if len(line) >= VALUE_MIN), key=len, reverse=True)))

    def text(self, text: str) -> str:
        spans = list(self._spans(text))
        if not (text.isascii() and text.isprintable()):
            for places in seen_places(text):
                if len(places) < len(text):
                    shown = "".join(map(text.__getitem__, places))
                    spans += [(places[start], places[end - 1] + 1) for start, end in self._spans(shown)]
        return _without(text, spans) if spans else text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the secrets are, in no order; none is empty."""
        for value in self.values:
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value)
                start = text.find(value, start + len(value))
        yield from (found.span() for found in _TOKEN.finditer(text))
        yield from ((found.end(1), found.end()) for found in _NAMED.finditer(text))

    def seen(self, seen: AttemptSeen) -> AttemptSeen:
        """What a host says of an attempt, as it may be kept. The same object where nothing had to be taken out."""
        lines = tuple(map(self.text, seen.last_lines))
        reason = seen.reason and self.text(seen.reason)
        if lines != seen.last_lines or reason != seen.reason:
            seen = replace(seen, last_lines=lines, reason=reason)
        exit_ = seen.exit
        if exit_ is not None:
            error, gave_up = exit_.error and self.text(exit_.error), exit_.gave_up and self.text(exit_.gave_up)
            if (error, gave_up) != (exit_.error, exit_.gave_up):
                seen = replace(seen, exit=replace(exit_, error=error, gave_up=gave_up))
        return seen

    def facts(self, facts: HostFacts) -> HostFacts:
        """What a host says of itself. Its identity stays: it is compared, and shown nowhere."""
        user, hostname, python = map(self.text, (facts.user, facts.hostname, facts.python))
        return replace(facts, user=user, hostname=hostname, python=python, root=self.text(facts.root))

    def accelerators(self, told: AcceleratorsTold) -> AcceleratorsTold:
        """What a host says of its cards, and of whoever uses them."""
        cards = tuple(map(self._accelerator, told.accelerators))
        return replace(told, accelerators=cards, notes=tuple(map(self.text, told.notes)))

    def _accelerator(self, card: AcceleratorSeen) -> AcceleratorSeen:
        holders = tuple(replace(one, user=self.text(one.user), command=self.text(one.command)) for one in card.holders)
        return replace(card, model=self.text(card.model), why=self.text(card.why), holders=holders)

    def points(self, points: Iterable[MetricPoint], known: Collection[str]) -> tuple[MetricPoint, ...]:
        """What a job reports, under names of one harmless line. Those in `known` have been through this."""
        return tuple(
            point if all(name in known for name in point.values) else self._renamed(point, known) for point in points
        )

    def _renamed(self, point: MetricPoint, known: Collection[str]) -> MetricPoint:
        named = {name: name if name in known else clean_line(self.text(name)) for name in point.values}
        return replace(point, values={named[name]: value for name, value in point.values.items()})


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with each of these pieces taken out; those that touch are one."""
    left: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if start > at or not left:
            left.append(text[at:start])
        at = max(at, end)
    return REDACTED.join([*left, text[at:]])
