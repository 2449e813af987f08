"""The two sheets that a person may type into: Google's, and the one that sheetd serves itself.

Both are reached through gspread by the same code, so nothing above this package may know which of them it talks to.
"""
