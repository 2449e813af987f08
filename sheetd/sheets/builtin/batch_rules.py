"""batchUpdate requests for what lies over cells: conditional formats, protected ranges, named ranges.

Rules are addressed by their index in the tab's list, as at Google, so a client must re-read before it changes one. A
protection never stops the API, whose callers are editors; it stops the page from editing columns that sheetd owns.
"""

from __future__ import annotations

from typing import Any

from sheetd.sheets.builtin.conditional import normalise_rule
from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.fields import ANYTHING, parse_mask
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, items, text, unimplemented
from sheetd.sheets.builtin.ranges import from_grid_range, to_grid_range

_PROTECTED = frozenset(
    {
        *("protectedRangeId", "range", "namedRangeId", "tableId", "description", "warningOnly"),
        *("requestingUserCanEdit", "unprotectedRanges", "editors"),
    }
)
MOST_RULES = 500
"""Rules, protections or named ranges per tab: each rule is evaluated for each row that is shown."""


def _checked_rule(draft: Draft, value: Any) -> tuple[SheetDraft, dict[str, Any]]:
    rule = normalise_rule(value, "rule")
    sheet = draft.sheet(rule["ranges"][0].get("sheetId", 0))
    for part in rule["ranges"]:
        draft.close(sheet, from_grid_range(part, "rule.ranges"))
    return sheet, rule


def add_conditional_format_rule(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"rule", "index"}), "addConditionalFormatRule")
    sheet, rule = _checked_rule(draft, given.get("rule"))
    rules = list(sheet.meta.rules)
    index = integer(given.get("index", 0), "index")
    if index > len(rules) or len(rules) >= MOST_RULES:
        raise invalid(f"index {index} is beyond the {len(rules)} rules of the sheet (at most {MOST_RULES})")
    sheet.change(rules=(*rules[:index], rule, *rules[index:]))
    return {}


def update_conditional_format_rule(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"rule", "index", "newIndex", "sheetId"}), "updateConditionalFormatRule")
    index = integer(given.get("index", 0), "index")
    if ("rule" in given) == ("newIndex" in given):
        raise invalid("exactly one of 'rule' and 'newIndex' must be set")
    if "rule" in given:
        sheet, new = _checked_rule(draft, given["rule"])
        rules, old = _rule_at(sheet, index)
        rules[index] = new
        new_index = index
    else:
        sheet = draft.sheet(integer(given.get("sheetId", 0), "sheetId"))
        rules, old = _rule_at(sheet, index)
        new_index = integer(given["newIndex"], "newIndex")
        if new_index >= len(rules):
            raise invalid(f"newIndex {new_index} is beyond the {len(rules)} rules of the sheet")
        new = rules.pop(index)
        rules.insert(new_index, new)
    sheet.change(rules=tuple(rules))
    reply = {"oldRule": old, "oldIndex": index, "newRule": new, "newIndex": new_index}
    if "rule" in given:
        del reply["oldIndex"]
    return {"updateConditionalFormatRule": reply}


def delete_conditional_format_rule(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"index", "sheetId"}), "deleteConditionalFormatRule")
    sheet = draft.sheet(integer(given.get("sheetId", 0), "sheetId"))
    index = integer(given.get("index", 0), "index")
    rules, old = _rule_at(sheet, index)
    del rules[index]
    sheet.change(rules=tuple(rules))
    return {"deleteConditionalFormatRule": {"rule": old}}


def _rule_at(sheet: SheetDraft, index: int) -> tuple[list[Any], Any]:
    rules = list(sheet.meta.rules)
    if index >= len(rules):
        raise invalid(f"No conditional format on sheet: {sheet.base.id} at index: {index}")
    return rules, rules[index]


def _protected(draft: Draft, value: Any, where: str) -> tuple[SheetDraft, dict[str, Any]]:
    given = allow_only(value, _PROTECTED, where)
    for name in ("namedRangeId", "tableId", "unprotectedRanges"):
        if given.get(name):
            raise unimplemented(f"protected ranges with {name}")
    region = from_grid_range(given.get("range"), f"{where}.range")
    sheet = draft.sheet(region.sheet_id)
    draft.close(sheet, region)
    kept: dict[str, Any] = {"range": to_grid_range(region)}
    if given.get("description"):
        kept["description"] = text(given["description"], f"{where}.description")
    if boolean(given.get("warningOnly", False), f"{where}.warningOnly"):
        kept["warningOnly"] = True
    elif given.get("editors"):
        kept["editors"] = _editors(given["editors"], f"{where}.editors")
    kept["requestingUserCanEdit"] = True
    return sheet, kept


def _editors(value: Any, where: str) -> dict[str, Any]:
    given = allow_only(value, frozenset({"users", "groups", "domainUsersCanEdit"}), where)
    boolean(given.get("domainUsersCanEdit", False), f"{where}.domainUsersCanEdit")
    for name in ("users", "groups"):
        for address in items(given.get(name), f"{where}.{name}"):
            text(address, f"{where}.{name}")
    return given


def add_protected_range(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"protectedRange"}), "addProtectedRange")
    sheet, kept = _protected(draft, given.get("protectedRange"), "protectedRange")
    wanted = given["protectedRange"].get("protectedRangeId")
    number = draft.object_id() if wanted is None else integer(wanted, "protectedRange.protectedRangeId")
    if len(sheet.meta.protected) >= MOST_RULES or any(
        item["protectedRangeId"] == number for other in draft.metas() for item in other.protected
    ):
        raise invalid(f"Protected range {number} exists already, or there are more than {MOST_RULES} on the sheet")
    kept = {"protectedRangeId": number, **kept}
    sheet.change(protected=(*sheet.meta.protected, kept))
    return {"addProtectedRange": {"protectedRange": kept}}


def _find_protected(draft: Draft, number: int) -> tuple[SheetDraft, dict[str, Any]]:
    for sheet in draft.metas():
        for item in sheet.protected:
            if item["protectedRangeId"] == number:
                return draft.sheet(sheet.id), item
    raise invalid(f"No protected range with ID: {number}")


def update_protected_range(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"protectedRange", "fields"}), "updateProtectedRange")
    mask = parse_mask(text(given.get("fields", ""), "fields") or None, dict.fromkeys(_PROTECTED, ANYTHING))
    if mask is None:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    new = allow_only(given.get("protectedRange"), _PROTECTED, "protectedRange")
    sheet, old = _find_protected(draft, integer(new.get("protectedRangeId", 0), "protectedRange.protectedRangeId"))
    names = _PROTECTED if "*" in mask else set(mask)
    merged = {name: item for name, item in old.items() if name not in names} | {
        name: item for name, item in new.items() if name in names
    }
    merged.setdefault("range", old["range"])
    target, kept = _protected(draft, merged, "protectedRange")
    kept = {"protectedRangeId": old["protectedRangeId"], **kept}
    sheet.change(protected=tuple(item for item in sheet.meta.protected if item is not old))
    target.change(protected=(*target.meta.protected, kept))
    return {}


def delete_protected_range(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"protectedRangeId"}), "deleteProtectedRange")
    sheet, old = _find_protected(draft, integer(given.get("protectedRangeId", 0), "protectedRangeId"))
    sheet.change(protected=tuple(item for item in sheet.meta.protected if item is not old))
    return {}


def add_named_range(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"namedRange"}), "addNamedRange")
    named = allow_only(given.get("namedRange"), frozenset({"namedRangeId", "name", "range"}), "namedRange")
    name = text(named.get("name", ""), "namedRange.name")
    if not name.isidentifier() or any(item["name"].lower() == name.lower() for item in draft.book.named_ranges):
        raise invalid(f"The name {name!r} is invalid or taken")
    region = from_grid_range(named.get("range"), "namedRange.range")
    draft.close(draft.sheet(region.sheet_id), region)
    number = named.get("namedRangeId") or str(draft.object_id())
    kept = {"namedRangeId": text(number, "namedRange.namedRangeId"), "name": name, "range": to_grid_range(region)}
    draft.change(named_ranges=(*draft.book.named_ranges, kept))
    return {"addNamedRange": {"namedRange": kept}}


def delete_named_range(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"namedRangeId"}), "deleteNamedRange")
    left = tuple(item for item in draft.book.named_ranges if item["namedRangeId"] != given.get("namedRangeId"))
    if len(left) == len(draft.book.named_ranges):
        raise invalid(f"No named range with ID: {given.get('namedRangeId')}")
    draft.change(named_ranges=left)
    return {}


KINDS = {
    "addConditionalFormatRule": add_conditional_format_rule,
    "updateConditionalFormatRule": update_conditional_format_rule,
    "deleteConditionalFormatRule": delete_conditional_format_rule,
    "addProtectedRange": add_protected_range,
    "updateProtectedRange": update_protected_range,
    "deleteProtectedRange": delete_protected_range,
    "addNamedRange": add_named_range,
    "deleteNamedRange": delete_named_range,
}
