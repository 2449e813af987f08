"""Can everybody tell the colours apart? Measured: colour blindness, print in grey, and the text on them.

Sources: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, A Physiologically-based Model for Simulation of Color Vision
Deficiency, IEEE TVCG 15(6), 2009, matrices of severity 1.0, over linear RGB; CIE 15 for L*a*b* (D65) and the distance
of 1976; WCAG 2.2 for luminance and contrast. A distance of about 2.3 is just noticeable side by side.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from sheetd.core.colours import HOST_COLOURS, ROW_COLOURS, Rgb

Matrix = tuple[tuple[float, float, float], ...]
VISIONS: dict[str, Matrix] = {
    "common": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
#: Four times what is noticeable: rows are far apart, seen on other screens, and of few pixels.
DISTANCE_MIN = 10.0
#: What one row turns into, or what is looked for beside the other: apart in grey too.
NEIGHBOURS = (
    ("waiting", "launching"), ("launching", "running"), ("waiting", "stopped"), ("waiting", "invalid"),
    ("running", "restarting"), ("running", "unreachable"), ("running", "stopping"), ("running", "succeeded"),
    ("running", "failed"), ("running", "stopped"), ("restarting", "failed"), ("restarting", "unreachable"),
    ("unreachable", "failed"), ("unreachable", "stopping"), ("stopping", "stopped"), ("stopped", "failed"),
    ("stopped", "succeeded"), ("succeeded", "failed"), ("invalid", "failed"),
)  # fmt: skip
LIGHTNESS_MIN, LIGHTNESS_ANY_MIN = 4.0, 2.3
CONTRAST_MIN = 4.5
#: The text on them: Google's and a terminal's, and the built-in sheet's.
INKS: dict[str, Rgb] = {"black": (0.0, 0.0, 0.0), "ink": (0x1B / 255, 0x21 / 255, 0x30 / 255)}


def linear(colour: Rgb) -> Rgb:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return red, green, blue


def seen(colour: Rgb, vision: str) -> Rgb:
    """In linear RGB; what no screen can show is cut off, as a screen would."""
    parts = linear(colour)
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, parts, strict=True))))
        for row in VISIONS[vision]
    )
    return red, green, blue


def lab(light: Rgb) -> Rgb:
    """L*, a*, b* of linear RGB."""
    red, green, blue = light

    def curve(part: float) -> float:
        return part ** (1 / 3) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116

    x = curve((0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047)
    y = curve(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue)
    z = curve((0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def lightness(colour: Rgb) -> float:
    return lab(linear(colour))[0]


def luminance(colour: Rgb) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measures_are_those_of_the_books():
    assert lab(linear((1.0, 0.0, 0.0))) == pytest.approx((53.24, 80.09, 67.20), abs=0.02)
    assert contrast((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) == pytest.approx(21.0)
    assert contrast((0x77 / 255,) * 3, (1.0, 1.0, 1.0)) == pytest.approx(4.48, abs=0.01)
    for vision in VISIONS:
        assert lab(seen((0.5, 0.5, 0.5), vision))[1:] == pytest.approx((0.0, 0.0), abs=0.1), "grey stays grey"


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_statuses_are_told_apart(vision: str):
    for one, other in itertools.combinations(ROW_COLOURS, 2):
        distance = math.dist(lab(seen(ROW_COLOURS[one], vision)), lab(seen(ROW_COLOURS[other], vision)))
        assert distance >= DISTANCE_MIN, f"{one} and {other}"


def test_neighbours_are_told_apart_in_grey_and_no_two_are_alike_there():
    for one, other in NEIGHBOURS:
        difference = abs(lightness(ROW_COLOURS[one]) - lightness(ROW_COLOURS[other]))
        assert difference >= LIGHTNESS_MIN, f"{one} and {other}"
    for one, other in itertools.combinations(ROW_COLOURS, 2):
        difference = abs(lightness(ROW_COLOURS[one]) - lightness(ROW_COLOURS[other]))
        assert difference >= LIGHTNESS_ANY_MIN, f"{one} and {other}"


@pytest.mark.parametrize("ink", INKS)
def test_text_is_readable_on_each(ink: str):
    for word, colour in ROW_COLOURS.items():
        assert contrast(INKS[ink], colour) >= CONTRAST_MIN, word


def test_the_ink_is_that_of_the_page():
    style = Path(__file__).parents[2] / "sheetd/sheets/builtin/page/style.css"
    assert ".cell.tint, .cell.tint.owned {" in style.read_text()
    assert "color: #1b2130" in style.read_text()


def test_the_tab_of_hosts_uses_the_same_colours():
    assert set(HOST_COLOURS.values()) <= set(ROW_COLOURS.values())
    assert len(set(HOST_COLOURS.values())) == len(HOST_COLOURS) - 1, "quarantined and closed: nothing new goes there"
