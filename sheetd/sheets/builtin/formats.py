"""Cell formats: what may be written, how colours are said, and what a cell finally looks like.

Google keeps every colour twice (the old `backgroundColor`, the new `backgroundColorStyle`), answers with both, and
leaves zero channels out; `normalise` makes the one form that is stored. Theme colours are refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sheetd.sheets.builtin.model import canonical, read_json
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, text, unimplemented, word

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
_WORDS = {
    "horizontalAlignment": frozenset({"LEFT", "CENTER", "RIGHT"}),
    "verticalAlignment": frozenset({"TOP", "MIDDLE", "BOTTOM"}),
    "wrapStrategy": frozenset({"OVERFLOW_CELL", "LEGACY_WRAP", "CLIP", "WRAP"}),
    "textDirection": frozenset({"LEFT_TO_RIGHT", "RIGHT_TO_LEFT"}),
    "hyperlinkDisplayType": frozenset({"LINKED", "PLAIN_TEXT"}),
}
_NUMBER_TYPES = frozenset({"TEXT", "NUMBER", "PERCENT", "CURRENCY", "DATE", "TIME", "DATE_TIME", "SCIENTIFIC"})


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
    for name in ("borders", "textRotation"):
        if name in given:
            raise unimplemented(f"{name} of cells (at '{where}')")
    for name, known in _WORDS.items():
        if name in given:
            word(given[name], f"{where}.{name}", known)
    if "textFormat" in given:
        given["textFormat"] = _letters(given["textFormat"], f"{where}.textFormat")
    if "numberFormat" in given:
        parts = allow_only(given["numberFormat"], frozenset({"type", "pattern"}), f"{where}.numberFormat")
        word(parts.get("type"), f"{where}.numberFormat.type", _NUMBER_TYPES)
        text(parts.get("pattern", ""), f"{where}.numberFormat.pattern")
        given["numberFormat"] = parts
    if "padding" in given:
        sides = allow_only(given["padding"], frozenset({"top", "right", "bottom", "left"}), f"{where}.padding")
        given["padding"] = {side: integer(size, f"{where}.padding.{side}") for side, size in sides.items()}
    return given


def _letters(value: Any, where: str) -> dict[str, Any]:
    """A TextFormat."""
    letters = dict(allow_only(value, _TEXT_KEYS, where))
    both_colours(letters, "foregroundColor", where)
    for name in ("bold", "italic", "strikethrough", "underline"):
        if name in letters:
            boolean(letters[name], f"{where}.{name}")
    if "fontFamily" in letters:
        text(letters["fontFamily"], f"{where}.fontFamily")
    if "fontSize" in letters:
        letters["fontSize"] = integer(letters["fontSize"], f"{where}.fontSize", least=1)
    if "link" in letters:
        letters["link"] = allow_only(letters["link"], frozenset({"uri"}), f"{where}.link")
        text(letters["link"].get("uri"), f"{where}.link.uri")
    return letters


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
