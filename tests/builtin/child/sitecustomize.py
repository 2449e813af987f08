"""Puts the witness around the built-in sheet of another process, which a test has started as a user would.

Python imports this at its start where the folder is on PYTHONPATH (see `tests.builtin.children`), in jobs too. It must
cost nothing in all the processes that have no sheet, so it waits until one imports the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

SERVER = "sheetd.sheets.builtin.server"


class _Watching(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        sys.path.append(str(Path(__file__).parents[3]))
        from tests.builtin.witness import report_to  # noqa: PLC0415 - it imports the server, which is there only now

        report_to(os.environ["SHEETD_TEST_FINDINGS"])


class _Waiting(MetaPathFinder):
    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name != SERVER:
            return None
        sys.meta_path.remove(self)
        found = find_spec(name)
        if found is not None and found.loader is not None:
            found.loader = _Watching(found.loader)
        return found


if "SHEETD_TEST_FINDINGS" in os.environ:
    sys.meta_path.insert(0, _Waiting())
