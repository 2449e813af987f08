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
FREED = """\
import re, threading
from pathlib import Path
from sheetd.allocator import give_back_once_started

def held_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

blocks = [bytes(5_000) for _ in range(10_000)]
kept = blocks[-1]  # above all that is freed: without being told to, the C library gives nothing back
del blocks
before_mb = held_mb()
give_back_once_started(after_s=0.0)
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(before_mb - held_mb())
"""
SERVER_LOADED = (
    "import sys, sheetd.cli.run; print('sheetd.sheets.builtin.server' in sys.modules, 'uvicorn' in sys.modules)"
)


def said(source: str) -> str:
    return subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such arenas")
def test_threads_that_allocate_get_no_arenas_of_their_own():
    assert int(said(GROWN)) < 64  # what glibc reserves for a single arena


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such call")
def test_what_the_start_took_and_freed_is_given_back_to_the_system():
    assert int(said(FREED)) > 30  # of fifty


def test_the_server_of_the_built_in_sheet_is_not_loaded_before_it_is_needed():
    assert said(SERVER_LOADED) == "False False"
