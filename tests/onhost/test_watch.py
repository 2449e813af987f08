"""Pushes come at once, miss nothing, and everything in them can be asked for again."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sheetd.onhost.system import System
from sheetd.onhost.watcher import Watcher
from tests.onhost.link import ENDED, Link, data_of, until
from tests.onhost.test_stop import keeper_of

A = "abcd1.1"
PROMPT_S = 0.3


def points_until(link: Link, count: int) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    while len(points) < count:
        points += link.next_push("metrics")["points"]
    return points


def watch(link: Link, **offsets: int) -> dict[str, Any]:
    states: dict[str, Any] = link.ask("watch", attempts={A: offsets})["attempts"]
    return states


def test_an_end_is_pushed(link: Link, tmp_path: Path):
    link.launch(A, ["sh", "-c", f"while ! test -e {tmp_path}/go; do sleep 0.02; done; exit 4"])
    assert watch(link)[A]["state"] == "running"
    (tmp_path / "go").touch()
    push = link.next_push("attempt")
    while push["state"]["state"] not in ENDED:
        push = link.next_push("attempt")
    assert (push["attempt"], push["state"]["exit"]["rc"]) == (A, 4)


def test_an_attempt_that_is_not_there_yet_is_pushed_when_another_agent_makes_it(connect: Callable[..., Link]):
    first, second = connect(), connect()
    assert watch(first)[A]["state"] == "absent"
    second.launch(A, ["sleep", "60"])
    push = first.next_push("attempt")
    while push["state"]["state"] != "running":
        push = first.next_push("attempt")
    assert push["state"]["pid"]


def test_restarts_are_pushed(link: Link):
    watch(link)
    link.launch(
        A, ["sh", "-c", 'test "$SHEETD_RESTART" = 1 && exec sleep 60; exit 3'], restarts={"max": 1, "backoff_s": 0.5}
    )
    seen = []
    while "restarting" not in seen or seen[-1] != "running":
        state = link.next_push("attempt")["state"]
        seen.append(state["state"])
    assert state["restarts"] == 1


def test_a_supervisors_death_is_noticed_and_mended_without_a_request(link: Link, root: Path):
    link.launch(A, ["sleep", "60"])
    watch(link)
    former = keeper_of(root)
    os.kill(former, signal.SIGKILL)
    while not link.next_push("attempt")["state"]["supervised"] or keeper_of(root) == former:
        continue
    assert link.state(A)["state"] == "running"


def test_metrics_are_pushed_promptly_line_by_line(link: Link, tmp_path: Path):
    program = (
        "import os, sheetd, sys, time\n"
        "for step in range(5):\n"
        f"    while not os.path.exists('{tmp_path}/%d' % step): time.sleep(0.002)\n"
        "    sheetd.log(step, loss=1.0 / (step + 1), lr=1e-3)\n"
        "time.sleep(60)\n"
    )
    link.launch(A, [sys.executable, "-c", program])
    watch(link, metrics_offset=0)
    waits = []
    for step in range(5):
        (tmp_path / str(step)).touch()
        begun = time.monotonic()
        (point,) = points_until(link, 1)
        waits.append(time.monotonic() - begun)
        assert (point["k"], point["step"], point["values"]) == (0, step, {"loss": 1.0 / (step + 1), "lr": 1e-3})
    print(f"log() to push: {[round(wait * 1000) for wait in waits]} ms")
    assert sorted(waits)[2] < PROMPT_S


def test_no_point_is_lost_or_doubled_under_a_flood_and_the_offsets_join(link: Link):
    program = "import sheetd\nfor step in range(20000): sheetd.log(step, loss=step * 0.5)\n"
    link.launch(A, [sys.executable, "-c", program])
    watch(link, metrics_offset=0)
    steps, offset = [], 0
    while len(steps) < 20000:
        push = link.next_push("metrics")
        assert (push["source"], push["from"]) == ("file", offset)
        assert push["to"] - push["from"] <= 64 << 10
        offset = push["to"]
        steps += [point["step"] for point in push["points"]]
    assert steps == list(range(20000))


def test_a_watch_goes_on_from_the_offset_it_names(link: Link):
    link.launch(A, [sys.executable, "-c", "import sheetd\nfor step in range(10): sheetd.log(step, loss=1)"])
    link.until_ended(A)
    whole = link.ask("tail", attempt=A, stream="metrics", offset=0, max_bytes=10000)
    lines = base64.b64decode(whole["data_base64"]).splitlines(keepends=True)
    watch(link, metrics_offset=sum(map(len, lines[:7])))
    assert [point["step"] for point in points_until(link, 3)] == [7, 8, 9]


def test_hostile_metric_lines_are_passed_over(link: Link):
    good = json.dumps({"values": {"loss": 1}, "step": 1})
    lines = [
        "not json",
        "[1, 2]",
        '{"values": 3}',
        '{"values": {"loss": "=IMPORTDATA(1)"}}',
        '{"values": {"loss": 1e999}}',
        '{"values": {"loss": true}}',
        json.dumps({"values": {f"m{number}": number for number in range(1000)}}),
        '{"values": {"%s": 1}}' % ("x" * 1000),
        "[" * 100000,
        "9" * 3000000,
        good,
    ]
    program = "import os,sys\nfd = os.open(os.environ['SHEETD_METRICS_FILE'], os.O_APPEND | os.O_WRONLY)\n"
    program += "for name in sys.argv[1:]: os.write(fd, open(name, 'rb').read() + b'\\n')"
    paths = []
    for number, line in enumerate(lines):
        path = link.root / f"line{number}"
        path.write_text(line)
        paths.append(str(path))
    link.launch(A, [sys.executable, "-c", program, *paths])
    link.until_ended(A)
    watch(link, metrics_offset=0)
    assert [point["values"] for point in points_until(link, 1)] == [{"loss": 1}]


def test_nan_is_told_apart_from_numbers(link: Link):
    link.launch(A, [sys.executable, "-c", "import sheetd; sheetd.log(1, loss=float('nan'), acc=0.5, g=float('inf'))"])
    watch(link, metrics_offset=0)
    (point,) = points_until(link, 1)
    assert (point["values"], point["nonfinite"]) == ({"acc": 0.5}, {"loss": "nan", "g": "inf"})


def test_a_templates_regexes_find_metrics_in_the_log_of_every_run(link: Link):
    script = 'k="$SHEETD_RESTART"; printf "step=$k loss=0.$k\\rbar 50%%\\n"; echo "loss=nan"; echo noise; exit 1'
    metrics = [{"name": "loss", "regex": r"loss=(\S+)"}, {"name": "step", "regex": r"step=(\d+)"}]
    link.launch(A, ["sh", "-c", script], metrics=metrics, restarts={"max": 1, "backoff_s": 0})
    watch(link, scan_offset=0)
    points = points_until(link, 4)
    assert [(point["k"], point["step"], point["values"]) for point in points[::2]] == [
        (0, 0, {"loss": 0.0}),
        (1, 1, {"loss": 0.1}),
    ]
    assert points[1]["nonfinite"] == {"loss": "nan"}


def test_the_log_is_pushed_byte_for_byte(link: Link):
    text = bytes(range(256)) * 2000
    program = "import os,sys,time\nfor _ in range(2000): os.write(1, bytes(range(256)))\n"
    link.launch(A, [sys.executable, "-c", program])
    watch(link, log_offset=0)
    got = b""
    while len(got) < len(text):
        push = link.next_push("log")
        assert push["from"] == len(got)
        got += data_of(push)
    assert got == text


def test_tail_reads_any_range_and_counts_from_the_end(link: Link):
    link.launch(A, ["sh", "-c", "printf 0123456789"])
    link.until_ended(A)

    def tail(offset: int, most: int) -> tuple[int, int, int, bytes]:
        answer = link.ask("tail", attempt=A, stream="log", offset=offset, max_bytes=most)
        return answer["from"], answer["to"], answer["size"], base64.b64decode(answer["data_base64"])

    assert tail(2, 3) == (2, 5, 10, b"234")
    assert tail(-4, 100) == (6, 10, 10, b"6789")
    assert tail(50, 3) == (10, 10, 10, b"")
    assert tail(-50, 2) == (0, 2, 10, b"01")


def test_a_reader_that_sleeps_costs_nothing_and_misses_nothing(link: Link, root: Path):
    """The pipe fills, the agent waits, and what was not pushed meanwhile comes later."""
    program = "import os\nfor _ in range(64): os.write(1, b'x' * 65536)\n"
    link.launch(A, [sys.executable, "-c", program])
    watch(link, log_offset=0)
    until("the job wrote all", lambda: (root / "a" / A / "log").stat().st_size == 64 * 65536)
    got = 0
    while got < 64 * 65536:
        got += len(data_of(link.next_push("log")))
    assert link.ask("ping")["boottime_s"] > 0


def test_a_new_watch_replaces_the_old_one(link: Link):
    link.launch(A, ["sleep", "60"])
    watch(link)
    link.ask("watch", attempts={})
    link.stop(A, grace_s=0)
    link.until_ended(A)
    assert link.pushes == []


def test_a_watch_that_goes_on_costs_nothing_and_repeats_nothing(link: Link, tmp_path: Path):
    program = (
        "import sheetd, os, time\nsheetd.log(1, loss=1)\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(0.02)\nsheetd.log(2, loss=1)"
    )
    link.launch(A, [sys.executable, "-c", program])
    assert list(watch(link, metrics_offset=0)) == [A]
    assert [point["step"] for point in points_until(link, 1)] == [1]
    other = "abcd2.1"
    states = link.ask("watch", attempts={A: {"metrics_offset": 0}, other: {}})["attempts"]
    assert list(states) == [other]
    (tmp_path / "go").touch()
    assert [point["step"] for point in points_until(link, 1)] == [2]


def test_what_is_no_longer_watched_and_then_again_begins_at_the_named_offset(link: Link):
    link.launch(A, [sys.executable, "-c", "import sheetd\nsheetd.log(1, loss=1)"])
    link.until_ended(A)
    for _ in range(2):
        assert list(watch(link, metrics_offset=0)) == [A]
        assert [point["step"] for point in points_until(link, 1)] == [1]
        link.ask("watch", attempts={})


class _Blind:
    """A machine without inotify and pidfd, whose time a test sets."""

    has_pidfd = False
    libc = SimpleNamespace(inotify_init1=lambda _flags: -1)
    now = 100.0

    def boottime(self) -> float:
        return self.now


def test_where_the_kernel_says_nothing_everything_is_looked_at_once_a_second_however_often_somebody_asks(root: Path):
    looked: list[float] = []
    machine = _Blind()

    def state(_name: str) -> dict[str, Any]:
        looked.append(machine.now)
        return {"state": "absent", "supervised": False}

    watcher = Watcher(cast("System", machine), str(root), state)
    watcher.follow({A: {"metrics_offset": None}})
    looked.clear()
    for _ in range(40):  # four seconds, in which a chatty daemon keeps us awake
        list(watcher.pushes())
        assert watcher.timeout() is not None
        machine.now += 0.1
    assert len(looked) == 4
