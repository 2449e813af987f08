"""What the daemon does not hold, each seen in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

THREADS = 8
GROWN = f"""\
import re, threading
from pathlib import Path
from sheetd.allocator import configure_allocator

def reserved_mb():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

configure_allocator()
threading.stack_size(256 * 1024)
before_mb, together = reserved_mb(), threading.Barrier({THREADS} + 1)
kept = []

def work():
    kept.append(bytearray(10_000))
    together.wait()
    together.wait()

threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
together.wait()
print(reserved_mb() - before_mb)
together.wait()
"""
SERVER_LOADED = "import sys, sheetd.cli; print('sheetd.sheets.builtin.server' in sys.modules, 'uvicorn' in sys.modules)"


def said(source: str) -> str:
    return subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such arenas")
def test_threads_that_allocate_get_no_arenas_of_their_own():
    assert int(said(GROWN)) < 64  # what glibc reserves for a single arena


def test_the_server_of_the_built_in_sheet_is_not_loaded_before_it_is_needed():
    assert said(SERVER_LOADED) == "False False"
