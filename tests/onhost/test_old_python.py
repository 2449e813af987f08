"""What is shipped runs on the oldest Python that clusters still have, and on nothing but its standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.onhost.link import ONHOST

SHIPPED = sorted(ONHOST.glob("*.py"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_need_no_more_than_python_3_6(path: Path):
    checked = subprocess.run(
        [sys.executable, "-c", "import vermin; vermin.main()", "-t=3.6-", "--violations", "--no-tips", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_import_the_standard_library_and_each_other_only(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in sys.stdlib_module_names for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert str(node.module).split(".")[0] in sys.stdlib_module_names


def test_no_shipped_function_is_longer_than_a_screen():
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 70, f"{path.name}: {node.name}"
