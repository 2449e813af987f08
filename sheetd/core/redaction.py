"""Secrets that a job prints, taken out of what hosts say before it is kept: no row, journal or log holds them (J18).

Two nets: the values that our own templates hand to jobs, and the shapes that tokens have. The log on the host stays as
it was written; it is its owner's. Weak: a secret of no known shape that the job got elsewhere looks like any word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sheetd.core.observation import AttemptSeen

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


@dataclass(frozen=True, slots=True)
class Redactor:
    """Takes secrets out of text. `values` are those that are known, the longest first."""

    values: tuple[str, ...] = ()

    @staticmethod
    def of(values: Iterable[str]) -> Redactor:
        """One that knows these: of a value with several lines each line, since jobs are heard line by line."""
        lines = {line.strip() for value in values for line in value.splitlines()}
        return Redactor(tuple(sorted((line for line in lines if len(line) >= VALUE_MIN), key=len, reverse=True)))

    def text(self, text: str) -> str:
        for value in self.values:
            text = text.replace(value, REDACTED)
        return _NAMED.sub(rf"\1{REDACTED}", _TOKEN.sub(REDACTED, text))

    def seen(self, seen: AttemptSeen) -> AttemptSeen:
        """What a host says of an attempt, as it may be kept. The same object where nothing had to be taken out."""
        lines = tuple(map(self.text, seen.last_lines))
        reason = seen.reason and self.text(seen.reason)
        if lines != seen.last_lines or reason != seen.reason:
            seen = replace(seen, last_lines=lines, reason=reason)
        exit_ = seen.exit
        if exit_ is not None and exit_.error and (error := self.text(exit_.error)) != exit_.error:
            seen = replace(seen, exit=replace(exit_, error=error))
        return seen
