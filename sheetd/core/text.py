"""Making text that came from outside fit for a cell: one line, bounded, harmless.

Everything is sent as a typed string, so a formula never becomes live in the sheet; it could after an export as CSV,
so text that would begin like one is quoted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MESSAGE_MAX = 500
LINE_MAX = 200

#: What may stand between the beginning of a control sequence and its end, by ECMA-48. A string such as a title (OSC)
#: that nothing ends is over with its line, or it would hide all that follows.
_PARAMETERS, _CONTENT, _INTERMEDIATES = r"[0-?]*[ -/]*", r"[^\x07\x1b\x9c\n]*", r"[ -/]*"
_ESCAPES = re.compile(
    rf"\x1b(?:\[{_PARAMETERS}[@-~]|[\]PX^_]{_CONTENT}(?:\x07|\x9c|\x1b\\)?|{_INTERMEDIATES}[0-Z\\-~])"
)
#: For some terminals a single sign begins one too; for others it is nothing, and what follows is shown.
_SINGLE = re.compile(rf"\x9b{_PARAMETERS}[@-~]|[\x90\x98\x9d-\x9f]{_CONTENT}(?:\x07|\x9c|\x1b\\)?|{_ESCAPES.pattern}")
#: The beginning of an escape, as a text that was cut there ends with.
_BEGUN = re.compile(rf"\x1b(?:\[{_PARAMETERS}|[\]PX^_]{_CONTENT}\x1b?|{_INTERMEDIATES})\Z")
#: No escape that means anything is longer.
_BEGUN_MAX = 4096
#: Categories that draw nothing or change how their neighbours are drawn (bidi, zero-width): control, format,
#: surrogate, private use, unassigned, and the line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Signs of other categories that show nothing either: joiners, fillers, variation selectors, a braille without dots.
_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_FORMULA_STARTS = ("=", "+", "-", "@")


def clean_line(text: str, limit: int = LINE_MAX) -> str:
    """What a person would have seen of a line: after the last carriage return, without escapes and invisible marks."""
    shown = text.rstrip("\r\n").rsplit("\r", 1)[-1]
    shown = harmless(shown[: limit * 20]).replace("\t", " ").replace("\n", " ").strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def harmless(text: str) -> str:
    """Text for a terminal: spaces, tabs and line ends as they are, without escapes and invisible marks."""
    if text.isprintable():
        return text
    return "".join(char for char in _ESCAPES.sub("", text) if char in "\t\n" or _is_seen(char))


def seen_places(text: str) -> Iterator[list[int]]:
    """Where in a text the signs stand that a person sees, and spaces: all but escapes and what draws nothing.

    Once for each kind of terminal that would show it in another way. What a backspace goes back to is written over.
    """
    for escapes in (_ESCAPES, _SINGLE) if any("\x80" <= sign <= "\x9f" for sign in text) else (_ESCAPES,):
        places: list[int] = []
        start = 0
        for begin, end in [*(found.span() for found in escapes.finditer(text)), (len(text), len(text))]:
            for at in range(start, begin):
                if text[at] in "\t\n" or (_is_seen(text[at]) and not _EMPTY.match(text, at)):
                    places.append(at)
                elif text[at] == "\b" and places and text[places[-1]] != "\n":
                    places.pop()
            start = end
        yield places


def escape_begun(text: str) -> int:
    """Where an escape begins that the end of the text cuts off; its length if there is none."""
    begun = _BEGUN.search(text, max(0, len(text) - _BEGUN_MAX))
    return len(text) if begun is None else begun.start()


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in _UNSEEN


def begins_formula(text: str) -> bool:
    """Whether a spreadsheet that opens a file with this text could take it for a formula.

    Some skip white space and marks that draw nothing, and take a full-width sign for the usual one.
    """
    for char in harmless(text):
        if not char.isspace():
            return unicodedata.normalize("NFKC", char).startswith(_FORMULA_STARTS)
    return False


def cell_text(text: str, limit: int = MESSAGE_MAX) -> str:
    """Text for a cell of ours."""
    line = clean_line(text.replace("\r", " ").replace("\n", " "), limit)
    return f'"{line}"'[:limit] if begins_formula(line) else line
