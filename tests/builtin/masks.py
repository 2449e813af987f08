"""Field masks held against a schema: `fields` of a request (what is answered) and of an update (what is changed).

One grammar for both, as Google takes it: `a.b`, `a/b`, `a(b,c)`, `*`. A name must exist where it stands; below a scalar
and below a free-form value there is none. Weak: Google's documents do not say which fields an update may really name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tests.builtin.mismatch import MismatchError

#: Name -> what is chosen below it; an empty one chooses everything.
Tree = dict[str, "Tree"]

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[*(),/.])\s*")


@lru_cache(maxsize=1024)
def parse(text: str) -> Tree:
    """The tree of a mask; MismatchError for what is none."""
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise MismatchError(f"{text!r} is not a field mask (at character {at})")
        tokens.append(match[1])
        at = match.end()
    tree: Tree = {}
    _list(iter([*tokens, ""]), tree, "", text)
    return tree


def _list(tokens: Iterator[str], into: Tree, ends_with: str, text: str) -> None:
    """Entries separated by commas, up to the closing token, which is taken too."""
    while True:
        node = into
        while True:
            name = next(tokens)
            if name in {"", "(", ")", ",", "/", "."}:
                raise MismatchError(f"{text!r} is not a field mask: a name is missing")
            node = node.setdefault(name, {})
            after = next(tokens)
            if after not in {"/", "."}:
                break
        if after == "(":
            _list(tokens, node, ")", text)
            after = next(tokens)
        if after == ends_with:
            return
        if after != ",":
            raise MismatchError(f"{text!r} is not a field mask: {after!r} is out of place")


def check(document: Mapping[str, Any], schema: Mapping[str, Any], text: str, *, is_update: bool = False) -> None:
    """Raise MismatchError unless every path of the mask exists. An update cannot reach into a list."""
    _check(document, schema, parse(text), text, is_update=is_update)


def _check(
    document: Mapping[str, Any], schema: Mapping[str, Any], tree: Tree, text: str, *, is_update: bool = False
) -> None:
    schema = _resolved(document, schema)
    if schema.get("type") == "array":
        if is_update:
            raise MismatchError(f"{text!r} reaches into a list: an update names the list as a whole")
        schema = _resolved(document, schema["items"])
    properties, free = schema.get("properties", {}), schema.get("additionalProperties")
    for name, below in tree.items():
        if name == "*":
            if is_update and below:
                raise MismatchError(f"{text!r}: nothing can follow * in an update")
            for one in properties.values() if below else ():
                _check(document, one, below, text, is_update=is_update)
            continue
        found = properties.get(name, free)
        if found is None:
            raise MismatchError(f"{text!r} names {name!r}, which {schema.get('id', 'a scalar')} does not have")
        if below:
            _check(document, found, below, text, is_update=is_update)


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["schemas"][schema["$ref"]] if "$ref" in schema else schema
    return found
