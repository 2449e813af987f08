"""The command line: one short file per verb. Verbs print; nothing below them does."""

from sheetd.cli.app import main

__all__ = ["main"]
