"""A thousand texts that a hostile or unlucky person, job or host may send, the same ones in every run.

Each family aims at one thing that text must never become: a shell's command, a format, a formula, a path, an
environment variable, a terminal's command, or more than a cell, an argument or a line can hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

MARK = "hostile-mark"

SHELL = [
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"; touch {MARK} #",
    f"&& touch {MARK}",
    f"|| touch {MARK}",
    f"| tee {MARK}",
    f"> {MARK}",
    f"\ntouch {MARK}\n",
    f"' ; touch {MARK} ; '",
    f'" ; touch {MARK} ; "',
    f"$'\\n'touch {MARK}",
    "${IFS}${HOME}",
    "~root",
    "*",
    "{a,b}",
    "!!",
    "-rf",
    "--",
    f"--output={MARK}",
    "\\",
]
FORMATS = [
    "%s%s%s%n",
    "%(id)s",
    "{0.__class__}",
    "{token}",
    "{{token}}",
    "{lr!r:>{width}}",
    "$token",
    "${token}",
    "#{token}",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "\\x41\\u0041",
    "%00",
    "&#61;",
    "{{=1}}",
]
FORMULAS = [
    '=IMPORTDATA("http://127.0.0.1:9/")',
    "=HYPERLINK(A1)",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "=1",
    '=IMAGE("x")',
    "=QUERY(A:A)",
    "=LAMBDA(x,x)(1)",
]
BEFORE = [
    "",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u202e",
    "\x1b[0m",
    "\x1b]0;t\x07",
    "'",
    '"',
    "\u3000",
]
WIDE = str.maketrans("=+-@", "\uff1d\uff0b\uff0d\uff20")
PATHS = [
    "../../../../tmp/" + MARK,
    "/etc/passwd",
    "..",
    ".",
    "a/../../" + MARK,
    "~/.ssh/authorized_keys",
    "/proc/self/environ",
    "/dev/zero",
    "C:\\Windows\\x",
    "file:///etc/passwd",
    "%2e%2e%2f",
    "a\0b",
    "con.txt",
    ".hidden",
    "x" * 300 + "/y",
]
ENVIRONMENT = [
    "LD_PRELOAD=/tmp/x.so",
    "A=B\nLD_PRELOAD=/tmp/x.so",
    "PATH=/tmp",
    "\n[hosts]\nname='x'",
    '"\nsecrets = ["HOME"]\n"',
    '", "argv": ["rm"], "x": "',
    "}\n{",
    "\x00A=B",
    "SHEETD_ID=other",
    "BASH_FUNC_x%%=() { :; }",
]
TERMINAL = [
    "\x1b[2J\x1b[H",
    "\x1b]52;c;aGk=\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x9d52;c;aGk=\x9c",
    "\x1bP$q\x1b\\",
    "\b\b\bcovered",
    "progress 1%\rprogress 99%",
    "\x07\x05\x0e",
    "\x1b[8mhidden\x1b[0m",
    "\x1b[" + "9" * 500 + "m",
]
UNICODE = [
    "\u202egnp.exe",
    "\u2066\u2067x\u2069",
    "a\u0300\u0301" + "\u0336" * 50,
    "\ud800",
    "\udfff\ud800",
    "ﬁ\u00adne",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0440\u0430\u0443\u0440\u0430l",
    "\ufffe\uffff",
    "\u2028\u2029",
    "\U000e0041\U000e007f",
    "K\u212a\u017f",
    "\u0130\u0131",
    "NaN",
    "١٢٣",
    "1\u00a0000",
]
SIZES = [1, 49, 50, 255, 256, 500, 501, 4095, 4096, 9_999, 50_000]


def hostile_texts() -> list[str]:
    """All of them, without doubles, in the order in which they are made."""
    return list(dict.fromkeys(_made()))


def _made() -> Iterator[str]:
    families = (SHELL, FORMATS, FORMULAS, PATHS, ENVIRONMENT, TERMINAL, UNICODE)
    yield from itertools.chain.from_iterable(families)
    for before, formula in itertools.product(BEFORE, FORMULAS):
        yield before + formula
        yield before + formula.translate(WIDE)
    for before, text in itertools.product(BEFORE, [*SHELL, *PATHS, *TERMINAL]):
        yield before + text
    for size, text in itertools.product(SIZES, ["x", "=", "\u202e", "ü", "\U0001f600", "$(x)"]):
        yield (text * size)[:size]
    for one, other in itertools.product([SHELL[0], FORMULAS[0], TERMINAL[0]], [*ENVIRONMENT, *UNICODE, *FORMATS]):
        yield one + other
        yield other + one
