"""A person at the sheet, with gspread: types, sorts, inserts, deletes, copies, merges, protects, renames.

Rows are known by what stands in the column `my notes`, wherever they are. What a person typed is remembered as the
sheet showed it, so that `untouched` can say whether anybody else has changed it since.
"""

from __future__ import annotations

from typing import Any

from gspread.utils import rowcol_to_a1

from tests.core.story import OWNED, OWNED_HEADER
from tests.sheets.builtin_rig import Address, BuiltinPerson

TAB = "Experiments"
NAME = "my notes"
#: The person's own columns on both sides of the daemon's: a write that goes astray has something to hit.
HEADER = ("template", "lr", "seed", "action", *OWNED_HEADER, NAME)

Cells = dict[str, str]
Json = dict[str, Any]


class Person(BuiltinPerson):
    def __init__(self, address: Address, tab: str = TAB) -> None:
        super().__init__(address, tab)
        self.mine: dict[str, Cells] = {}

    # --- looking -------------------------------------------------------------------------------------------------

    def grid(self) -> list[list[str]]:
        """What is shown, header first; each row as wide as the header."""
        return self.tab.get_all_values()

    def rows(self) -> dict[str, Cells]:
        header, *lines = self.grid()
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        return {row[NAME]: row for row in rows if row.get(NAME)}

    def see(self, name: str) -> Cells:
        return self.rows()[name]

    def status(self, *names: str) -> list[str]:
        rows = self.rows()
        return [rows[name]["status"] for name in names]

    def line(self, name: str) -> int:
        """Where the row is now, counted from 0, which is the header."""
        header, *lines = self.grid()
        place = header.index(NAME)
        return 1 + next(number for number, line in enumerate(lines) if line[place] == name)

    def column(self, header: str) -> int:
        return self.tab.row_values(1).index(header)

    def cell(self, name: str, header: str) -> Json:
        """Everything that the API says of one cell."""
        where = rowcol_to_a1(self.line(name) + 1, self.column(header) + 1)
        fields = "sheets(data(rowData(values(userEnteredValue,effectiveValue,formattedValue))))"
        answer = self.spreadsheet.fetch_sheet_metadata({"ranges": f"'{self.tab.title}'!{where}", "fields": fields})
        rows = answer["sheets"][0]["data"][0].get("rowData", [{}])
        return dict(rows[0].get("values", [{}])[0])

    def untouched(self) -> bool:
        """Whether each of the person's own cells shows what it showed when the person had typed it."""
        rows = self.rows()
        return all(
            name in rows and all(rows[name].get(header, text) == text for header, text in cells.items())
            for name, cells in self.mine.items()
        )

    def remember(self, *names: str) -> None:
        """These rows, or all, are as the person wants them now."""
        rows = self.rows()
        for name in names or rows:
            self.mine[name] = {header: text for header, text in rows[name].items() if header not in OWNED}

    # --- typing --------------------------------------------------------------------------------------------------

    def type(self, name: str, **values: str) -> None:
        """Type into the row of that name; a new one below all others when there is none."""
        header, *lines = self.grid()
        place = header.index(NAME)
        names = [line[place] for line in lines]
        if name not in names:
            values[NAME] = name
        at = names.index(name) if name in names else len(lines)
        self._enter({(at + 1, header.index(column)): text for column, text in values.items()})
        shown = self.see(name)
        self.mine.setdefault(name, {}).update({column: shown[column] for column in values if column not in OWNED})

    def type_all(self, rows: dict[str, Cells]) -> None:
        """Paste many new rows at once, from the clipboard."""
        header, *lines = self.grid()
        block = [[{NAME: name, **cells}.get(column, "") for column in header] for name, cells in rows.items()]
        self.tab.update(block, f"A{len(lines) + 2}", raw=False)
        self.remember(*rows)

    def rename_header(self, old: str, new: str) -> None:
        self.enter(0, self.column(old), new)

    def _enter(self, cells: dict[tuple[int, int], str]) -> None:
        ranges = [
            {"range": rowcol_to_a1(row + 1, column + 1), "values": [[text]]} for (row, column), text in cells.items()
        ]
        self.tab.batch_update(ranges, raw=False)

    def clear_column(self, header: str) -> None:
        place = self.column(header)
        below = {"startRowIndex": 1, "startColumnIndex": place, "endColumnIndex": place + 1}
        self.batch({"updateCells": {"range": {"sheetId": self.tab.id, **below}, "fields": "userEnteredValue"}})

    # --- rows and columns ----------------------------------------------------------------------------------------

    def insert_above(self, name: str) -> None:
        at = self.line(name)
        self.batch(self._insert("ROWS", at))

    def delete(self, *names: str) -> None:
        for name in names:
            at = self.line(name)
            self.batch({"deleteDimension": {"range": self._span("ROWS", at)}})
            del self.mine[name]

    def cut(self, name: str) -> list[Json]:
        """Delete the row, and keep what stood in it for `paste`."""
        cells = self.copied(name)
        self.delete(name)
        return cells

    def copied(self, name: str) -> list[Json]:
        """The whole row on the clipboard, with the id and all."""
        fields = "sheets(data(rowData(values(userEnteredValue))))"
        where = f"'{self.tab.title}'!A{self.line(name) + 1}:{self.line(name) + 1}"
        answer = self.spreadsheet.fetch_sheet_metadata({"ranges": where, "fields": fields})
        return list(answer["sheets"][0]["data"][0]["rowData"][0]["values"])

    def paste(self, cells: list[Json], at: int, name: str) -> None:
        """Insert a row at this place and paste into it; the row gets a name of its own in the same moment."""
        place = self.column(NAME)
        named = [*cells, *[{}] * (place + 1 - len(cells))]
        named[place] = {"userEnteredValue": {"stringValue": name}}
        start = {"sheetId": self.tab.id, "rowIndex": at, "columnIndex": 0}
        write = {"updateCells": {"start": start, "rows": [{"values": named}], "fields": "userEnteredValue"}}
        self.batch(self._insert("ROWS", at), write)
        self.remember(name)

    def sort_by(self, header: str, *, descending: bool = False) -> None:
        size = {"startRowIndex": 1, "endRowIndex": len(self.grid())}
        order = {"dimensionIndex": self.column(header), "sortOrder": "DESCENDING" if descending else "ASCENDING"}
        self.batch({"sortRange": {"range": {"sheetId": self.tab.id, **size}, "sortSpecs": [order]}})

    def insert_column(self, before: str) -> None:
        self.batch(self._insert("COLUMNS", self.column(before)))

    def move_column(self, header: str, before: str) -> None:
        at = self.column(header)
        self.batch({"moveDimension": {"source": self._span("COLUMNS", at), "destinationIndex": self.column(before)}})

    # --- going back in time --------------------------------------------------------------------------------------

    def version(self) -> Json:
        """The tab as the version history keeps it: what stands in each cell, and the metadata of the tab."""
        fields = "sheets(properties(sheetId),developerMetadata,data(rowData(values(userEnteredValue))))"
        answer = self.spreadsheet.fetch_sheet_metadata({"ranges": f"'{self.tab.title}'", "fields": fields})
        return dict(answer["sheets"][0])

    def restore(self, version: Json) -> None:
        """Bring that version back, all of it."""
        rows = [{"values": row.get("values", [])} for row in version["data"][0]["rowData"]]
        rows += [{}] * (len(self.grid()) - len(rows))
        cells = {"rows": rows, "range": {"sheetId": self.tab.id, "startRowIndex": 0, "endRowIndex": len(rows)}}
        claims = [
            {
                "updateDeveloperMetadata": {
                    "dataFilters": [{"developerMetadataLookup": {"metadataId": entry["metadataId"]}}],
                    "developerMetadata": {"metadataValue": entry["metadataValue"]},
                    "fields": "metadataValue",
                }
            }
            for entry in version["developerMetadata"]
        ]
        self.batch({"updateCells": {**cells, "fields": "userEnteredValue"}}, *claims)
        self.mine.clear()
        self.remember()

    def _span(self, dimension: str, at: int) -> Json:
        return {"sheetId": self.tab.id, "dimension": dimension, "startIndex": at, "endIndex": at + 1}

    def _insert(self, dimension: str, at: int) -> Json:
        return {"insertDimension": {"range": self._span(dimension, at), "inheritFromBefore": False}}
