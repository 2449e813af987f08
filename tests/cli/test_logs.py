"""What `sheetd logs` shows a terminal, however the bytes of a job arrive."""

from __future__ import annotations

import pytest

from sheetd.cli.logs import HarmlessText

PRINTED = "ü\x1b[31mred\x1b[0m 10%\r20%\r\n\x1b]0;a title\x1b\\after\x1b]8;;http://x\x07link\u202e\x9b1m\a.\n"
SHOWN = "üred 10%\n20%\nafterlink1m.\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_what_is_cut_into_pieces_is_shown_as_if_it_had_come_at_once(size: int) -> None:
    text, data = HarmlessText(), PRINTED.encode()
    assert "".join(text.of(data[start : start + size]) for start in range(0, len(data), size)) == SHOWN


def test_a_title_that_nothing_ends_hides_no_more_than_its_line() -> None:
    assert HarmlessText().of(b"before\x1b]0;never\nafter\n") == "before\nafter\n"


def test_an_escape_without_an_end_is_not_waited_for_for_ever() -> None:
    text = HarmlessText()
    assert text.of(b"\x1b[" + b"1;" * 5000) == "[" + "1;" * 5000


def test_a_half_character_is_waited_for_and_a_wrong_one_is_replaced() -> None:
    text = HarmlessText()
    assert (text.of(b"\xe2\x82"), text.of(b"\xac"), text.of(b"\xff.")) == ("", "\u20ac", "\ufffd.")
