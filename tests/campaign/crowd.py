"""People who type, sort, insert, delete, copy, paste and undo at random, and a book of what they are owed for it.

Two sit at the page and speak its live protocol; one has a script over the API. What was typed last into a cell, by the
order in which the sheet took it, has to be there at the end.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sheetd.sheets.builtin.server import SheetServer
from tests.builtin.page_client import Page

#: Columns that belong to people. What stands in `notes` names a row for good; `remark` is edited all the time.
PEOPLE = ("token", "seconds", "ending", "notes", "remark")
KEPT_ROWS = 3


@dataclass
class Book:
    """What people are owed. One of them acts at a time, so the order in the book is the order in the sheet."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    #: By the notes of a row: what stands in the cells of people, and whether the row is there.
    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    is_there: dict[str, bool] = field(default_factory=dict)
    #: Rows that were typed and so have to run, by their notes; and how often each token was pasted as a row of its own.
    wanted: dict[str, str] = field(default_factory=dict)
    pasted: Counter[str] = field(default_factory=Counter)
    #: Tokens of rows that were copied with their ids: which of them is the row, people cannot say any more.
    copied: set[str] = field(default_factory=set)
    #: Rows of which a copy with another value was made. Without them the copy would be the row, and edited.
    pinned: set[str] = field(default_factory=set)
    acts: Counter[str] = field(default_factory=Counter)

    def made(self, values: dict[str, str]) -> None:
        key = values["notes"]
        self.cells[key] = {name: values.get(name, "") for name in PEOPLE}
        self.is_there[key] = True


class PagePerson:
    """One person at the page. Edits the rows that they made; moves everybody's."""

    def __init__(self, server: SheetServer, key: str, name: str, book: Book, chance: random.Random) -> None:
        self.page = Page(server, key, client=f"storm-person-{name}")
        self.name, self.book, self.chance = name, book, chance
        self.mine: list[str] = []
        self.gone: dict[str, int] = {}
        self.count = 0
        self.undos: list[Callable[[], None]] = []
        self.page.hello()

    def close(self) -> None:
        self.page.__exit__(None, None, None)

    def act(self, may_type: bool) -> None:
        """One thing that people do. `may_type`: whether one more experiment is wanted."""
        acts: list[tuple[int, Callable[[], None]]] = [
            (3 if may_type else 0, self.type),
            (2, self.edit),
            (1, self.sort),
            (1, self.insert_a_remark),
            (1, self.paste),
            (1, self.delete),
            (2, self.undo),
        ]
        (act,) = self.chance.choices([act for _, act in acts], weights=[weight for weight, _ in acts])
        self.do(act)

    def do(self, act: Callable[[], None]) -> None:
        with self.book.lock:
            self.catch_up()
            act()
            self.book.acts[act.__name__.replace("_", " ")] += 1

    def catch_up(self) -> None:
        """See what others have done."""
        self.page.settle(self.page.edit({"op": "cells", "cells": []})["rev"])

    def column(self, name: str) -> int:
        """The number of a column, wherever it stands now."""
        header = self.page.rows[0]
        return next(int(column["id"]) for column in self.page.columns if self._text(header, column["id"]) == name)

    def _text(self, row: int, column: int) -> str:
        cell = self.page.cells.get((row, column))
        return cell if isinstance(cell, str) else str((cell or {}).get("v", ""))

    def row(self, key: str) -> int:
        """The number of a row, wherever it stands now. A sort over the API moves what rows say, and not the rows."""
        column = self.column("notes")
        return next(row for row in self.page.rows if self._text(row, column) == key)

    def _edit(self, *ops: dict[str, Any]) -> dict[str, Any]:
        ack = self.page.edit(*ops)
        assert ack["rejected"] == [], ack
        self.page.settle(ack["rev"])
        return ack

    def _insert(self, **values: str) -> str:
        self.count += 1
        key = values["notes"] = f"{self.name} {self.count}"
        after = self.chance.choice(self.page.rows[: len(self.book.cells) + 1])
        cells = [["n", self.column(name), text, None] for name, text in values.items()]
        self._edit({"op": "insert", "after": after, "rows": 1, "as": ["n"]}, {"op": "cells", "cells": cells})
        self.book.made(values)
        self.undos.append(lambda: self._delete(key))
        return key

    def _delete(self, key: str) -> None:
        if self.book.is_there[key] and key not in self.book.pinned:
            row = self.row(key)
            self._edit({"op": "delete", "ids": [row]})
            self.book.is_there[key] = False
            self.gone[key] = row

    def _bring_back(self, key: str) -> None:
        if not self.book.is_there[key]:
            self._edit({"op": "restore", "ids": [self.gone.pop(key)]})
            self.book.is_there[key] = True

    def _remark(self, key: str, text: str) -> None:
        if self.book.is_there[key]:
            self._edit({"op": "cells", "cells": [[self.row(key), self.column("remark"), text, None]]})
            self.book.cells[key]["remark"] = text

    def _one_of_mine(self) -> str | None:
        there = [key for key in self.mine if self.book.is_there[key]]
        return self.chance.choice(there) if len(there) > KEPT_ROWS else None

    # --- what people do ------------------------------------------------------------------------------------------

    def type(self) -> None:
        token = f"{self.name}-{len(self.mine) + 1}"
        key = self._insert(token=token, seconds=self.chance.choice(["0.1", "0.5", "2"]))
        self.mine.append(key)
        self.book.wanted[key] = token

    def edit(self) -> None:
        if key := self._one_of_mine():
            before = self.book.cells[key]["remark"]
            self._remark(key, f"{self.name} says {self.chance.randrange(10_000)}")
            self.undos.append(lambda: self._remark(key, before))

    def sort(self) -> None:
        before = list(self.page.rows)
        column = self.column(self.chance.choice(["token", "remark", "status", "id"]))
        self._edit({"op": "sort", "colId": column, "desc": self.chance.random() < 0.5})

        def back() -> None:
            kept = [row for row in before if row in set(self.page.rows)]
            self._edit({"op": "order", "rows": kept + [row for row in self.page.rows if row not in set(kept)]})

        self.undos.append(back)

    def insert_a_remark(self) -> None:
        self._insert(remark="a remark between the rows")

    def paste(self) -> None:
        """What may be pasted of a row at the page: its cells, as a row of its own."""
        if key := self._one_of_mine():
            copied = self.book.cells[key]
            self._insert(**{name: copied[name] for name in PEOPLE if copied[name]})
            self.book.pasted[copied["token"]] += 1

    def delete(self) -> None:
        if key := self._one_of_mine():
            self._delete(key)
            self.undos.append(lambda: self._bring_back(key))

    def undo(self) -> None:
        if self.undos:
            self.undos.pop()()
        del self.undos[:-20]


class ScriptPerson:
    """One with a script over the API: sorts the whole tab, and appends copies of rows with everything in them."""

    def __init__(self, tab: Any, book: Book, chance: random.Random, copies: int) -> None:
        self.tab, self.book, self.chance, self.copies = tab, book, chance, copies
        self.count = 0

    def act(self, _may_type: bool) -> None:
        act = self.chance.choice([self.sort, self.append_a_copy])
        with self.book.lock:
            act()
            self.book.acts[f"script: {act.__name__.replace('_', ' ')}"] += 1

    def close(self) -> None:
        pass

    def sort(self) -> None:
        spec = {
            "dimensionIndex": self.chance.randrange(len(PEOPLE)),
            "sortOrder": self.chance.choice(["ASCENDING", "DESCENDING"]),
        }
        rows = {"sheetId": self.tab.id, "startRowIndex": 1}
        self.tab.spreadsheet.batch_update({"requests": [{"sortRange": {"range": rows, "sortSpecs": [spec]}}]})

    def append_a_copy(self) -> None:
        """Of a row that has run, with its id, its status and all; every other time with another value."""
        header, *rows = self.tab.get_all_values()
        shown = [dict(zip(header, row, strict=False)) for row in rows]
        is_changed, book = self.count % 2 == 1, self.book
        avoided = book.copied if is_changed else {book.cells[key]["token"] for key in book.pinned}
        fit = [row for row in shown if row["notes"] in book.wanted and row["status"] and row["token"] not in avoided]
        if not fit or self.count >= self.copies:
            return
        copy = dict(self.chance.choice(fit))
        self.count += 1
        original, key = copy["notes"], f"script {self.count}"
        copy["notes"] = key
        if is_changed:
            book.pinned.add(original)
            copy["token"] = book.wanted[key] = f"c-{self.count}"
        else:
            book.copied.add(copy["token"])
        self.tab.append_rows([[copy[name] for name in header]], value_input_option="RAW", table_range="A1")
        book.made(copy)
