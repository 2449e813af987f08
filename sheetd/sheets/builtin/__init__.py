"""The built-in sheet: a SQLite store, the part of Google's API that gspread speaks, and a page in the browser.

It exists so that sheetd can be tried, tested and used without a Google account. It must never accept a request and
quietly do less than Google would: what it cannot do it refuses by name. It computes no formulas, and it serves one
machine's own user: it is not meant to be put on a network.
"""
