"""Cell formats: what may be written, how colours are said, and what a cell finally looks like.

Google keeps every colour twice (the old `backgroundColor`, the new `backgroundColorStyle`), answers with both, and
leaves zero channels out; `normalise` makes the one form that is stored. Theme colours are refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sheetd.sheets.builtin.model import canonical, read_json
from sheetd.sheets.builtin.problems import allow_only, invalid, unimplemented

Format = dict[str, Any]

WHITE = {"red": 1, "green": 1, "blue": 1}
DEFAULT_FORMAT: Format = {
    "backgroundColor": WHITE,
    "backgroundColorStyle": {"rgbColor": WHITE},
    "padding": {"top": 2, "right": 3, "bottom": 2, "left": 3},
    "verticalAlignment": "BOTTOM",
    "wrapStrategy": "OVERFLOW_CELL",
    "textFormat": {
        "foregroundColor": {},
        "foregroundColorStyle": {"rgbColor": {}},
        "fontFamily": "Arial",
        "fontSize": 10,
        "bold": False,
        "italic": False,
        "strikethrough": False,
        "underline": False,
    },
}
_CHANNELS = ("red", "green", "blue", "alpha")
_FORMAT_KEYS = frozenset(
    {
        *("numberFormat", "backgroundColor", "backgroundColorStyle", "borders", "padding", "horizontalAlignment"),
        *("verticalAlignment", "wrapStrategy", "textDirection", "textFormat", "hyperlinkDisplayType", "textRotation"),
    }
)
_TEXT_KEYS = frozenset(
    {
        *("foregroundColor", "foregroundColorStyle", "fontFamily", "fontSize", "bold", "italic", "strikethrough"),
        *("underline", "link"),
    }
)


def colour(value: Any, where: str) -> dict[str, float]:
    """Google's Color without its zero channels; ApiError 400 outside 0..1."""
    given = allow_only(value, frozenset(_CHANNELS), where)
    answer: dict[str, float] = {}
    for name in _CHANNELS:
        channel = given.get(name, 0)
        if isinstance(channel, bool) or not isinstance(channel, (int, float)) or not 0 <= channel <= 1:
            raise invalid(f"Invalid value at '{where}.{name}': a colour channel lies between 0 and 1")
        if channel:
            answer[name] = channel
    return answer


def colour_style(value: Any, where: str) -> dict[str, Any]:
    """Google's ColorStyle, of which only rgbColor can be shown here."""
    given = allow_only(value, frozenset({"rgbColor", "themeColor"}), where)
    if "themeColor" in given:
        raise unimplemented(f"theme colours (at '{where}')")
    return {"rgbColor": colour(given.get("rgbColor", {}), f"{where}.rgbColor")}


def both_colours(holder: dict[str, Any], name: str, where: str) -> None:
    """Make `name` and `nameStyle` say the same in place; the newer form wins, as it does at Google."""
    style = holder.pop(f"{name}Style", None)
    plain = holder.pop(name, None)
    if style is not None:
        chosen = colour_style(style, f"{where}.{name}Style")
    elif plain is not None:
        chosen = {"rgbColor": colour(plain, f"{where}.{name}")}
    else:
        return
    holder[name] = chosen["rgbColor"]
    holder[f"{name}Style"] = chosen


def normalise(value: Any, where: str) -> Format:
    """A CellFormat of a request, checked, with both forms of each colour."""
    given = dict(allow_only(value, _FORMAT_KEYS, where))
    both_colours(given, "backgroundColor", where)
    if "textFormat" in given:
        letters = dict(allow_only(given["textFormat"], _TEXT_KEYS, f"{where}.textFormat"))
        both_colours(letters, "foregroundColor", f"{where}.textFormat")
        given["textFormat"] = letters
    return given


def hex_colour(value: dict[str, float] | None) -> str | None:
    """#rrggbb of a Color; None for none."""
    if value is None:
        return None
    return "#" + "".join(f"{round(value.get(name, 0) * 255):02x}" for name in _CHANNELS[:3])


def merge(under: Format, over: Format) -> Format:
    """`under` with everything that `over` says; text formats merge by part."""
    merged = under | over
    if "textFormat" in under and "textFormat" in over:
        merged["textFormat"] = under["textFormat"] | over["textFormat"]
    return merged


@lru_cache(maxsize=4096)
def effective(user: str | None, conditional: str | None, alignment: str) -> Format:
    """Google's effectiveFormat: the default, what was set, and what a conditional rule lays over it."""
    answer = merge(DEFAULT_FORMAT, {"horizontalAlignment": alignment})
    for layer in (user, conditional):
        if layer:
            answer = merge(answer, read_json(layer))
    return answer


def text_of(value: Format) -> str | None:
    """The canonical text of a format, None for an empty one."""
    return canonical(value) if value else None
