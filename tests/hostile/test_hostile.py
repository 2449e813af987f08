"""A thousand hostile texts through every door: none becomes a command, a path, an environment variable or a formula."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sheetd.cli.export import FIXED, as_csv
from sheetd.core import effect as fx
from sheetd.core.curve import Curve
from sheetd.core.grid import SheetWrite
from sheetd.core.metrics import add_points
from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import AcceleratorSeen, Holder, Use
from sheetd.core.template import Param, Template
from sheetd.core.text import begins_formula, cell_text, clean_line, harmless
from sheetd.core.views import hosts_view
from sheetd.hosts.answers import attempt_seen, metric_points
from sheetd.hosts.host import spec_json
from sheetd.onhost.attempt import Attempt, Refused
from sheetd.onhost.judgement import environment
from sheetd.sheets import wire
from tests.core.story import OWNED_HEADER, Line, Story, Table
from tests.hostile.corpus import MARK, hostile_texts
from tests.onhost.link import Link

TEXTS = hostile_texts()
TAGGED = Template(
    name="train", command=("python", "train.py", "--tag", "{tag}", "--name={tag}"), params={"tag": Param(name="tag")}
)
#: All arguments of a program together are bounded too.
AT_ONCE = 100
HEADER = ("template", "tag", "lr", "seed", "where", "after", "priority", "gpus", "action", "my notes", *OWNED_HEADER)
CONTROLS = ("where", "after", "priority", "gpus", "action", "my notes")
#: What a job's environment may hold beside what its template names.
PLACE: dict[str, Any] = {
    **{name: f"/r/{name}" for name in ("out", "checkpoints", "metrics", "params", "library")},
    "id": "abcd1",
    "attempt": "abcd1.1",
    "marker": "m",
    "k": 0,
    "resume": "",
    "binding": {},
    "sensible": {},
}


def test_there_are_a_thousand_of_them_and_always_the_same() -> None:
    assert len(TEXTS) >= 1000
    assert hostile_texts() == TEXTS


def texts_shown(write: SheetWrite) -> Iterator[Any]:
    """Every value of every cell that the requests for this write would set. No formula among them but a curve."""
    for request in wire.write_requests(write):
        for row in request.get("updateCells", {}).get("rows", ()):
            for one in row["values"]:
                value = one.get("userEnteredValue", {})
                assert "formulaValue" not in value
                yield from value.values()


def is_safe_in_a_cell(text: str) -> bool:
    kinds = {unicodedata.category(sign) for sign in text}
    return not begins_formula(text) and not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"} and len(text) <= 50_000


class Told(Story):
    """A story that keeps every write of a cell of ours."""

    def __init__(self, **told: Any) -> None:
        self.written: list[Any] = []
        super().__init__(table=Table(HEADER), templates=[TAGGED], **told)
        self.meddle = self._keep

    def _keep(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteSheet):
            assert not any(isinstance(update.value, Curve) for update in effect.write.updates)
            self.written += texts_shown(effect.write)


@pytest.fixture(scope="module")
def typed() -> tuple[Told, list[Line]]:
    """Each text as a parameter in a row of its own, and each host answers for what it was given."""
    story = Told(hosts={"alpha": len(TEXTS)})
    lines = [story.table.type(template="train", tag=text) for text in TEXTS]
    story.wait(20)
    return story, lines


def test_a_parameter_is_one_argument_as_it_was_typed_or_the_row_says_why_not(typed: tuple[Told, list[Line]]) -> None:
    story, lines = typed
    launched = {effect.attempt.partition(".")[0]: effect.spec for effect in story.asked(fx.Launch)}  # type: ignore[attr-defined]
    count = 0
    for text, line in zip(TEXTS, lines, strict=True):
        spec = launched.get(str(line["id"]))
        if spec is None:
            assert line["status"] in ("invalid", "draft"), (text, line["status"], line["message"])
            assert line["message"]
            continue
        count += 1
        assert spec.argv == ("python", "train.py", "--tag", text, f"--name={text}")
        assert spec.env == {}
        assert line["status"] == "running"
    assert count > len(TEXTS) * 0.6, "most texts are ordinary arguments"
    assert all(is_safe_in_a_cell(text) for text in story.written if isinstance(text, str))


def test_what_is_sent_to_a_host_is_json_that_names_no_variable(typed: tuple[Told, list[Line]]) -> None:
    story, _ = typed
    usual = set(environment({}, {}, {}, PLACE))
    for effect in story.asked(fx.Launch):
        assert isinstance(effect, fx.Launch)
        sent = json.loads(json.dumps(spec_json(effect.spec, resume=False, env={})))
        assert sent["env"] == {}
        assert set(environment({}, sent, {}, PLACE)) == usual


@pytest.mark.parametrize("column", CONTROLS)
def test_a_control_cell_harms_nobody(column: str) -> None:
    story = Told(hosts={"alpha": 1})
    for text in TEXTS:
        story.table.type(template="train", tag="fine", **{column: text})
    story.wait(12)
    assert all(is_safe_in_a_cell(text) for text in story.written if isinstance(text, str))
    assert all(effect.spec.argv[3] == "fine" for effect in story.asked(fx.Launch))  # type: ignore[attr-defined]


def test_what_jobs_and_hosts_say_is_harmless_in_the_row() -> None:
    story = Told(hosts={"alpha": len(TEXTS)})
    lines = [story.table.type(template="train", tag=f"row {number}") for number in range(len(TEXTS))]
    story.wait(20)
    for text, line in zip(TEXTS, lines, strict=True):
        exit_ = {"rc": 1, "signal": None, "error": text if len(text) % 2 else None}
        told = {"state": "exited", "exit": exit_, "last_lines": [text], "reason": text, "ended_age_s": 1.0}
        seen = attempt_seen(json.loads(json.dumps({**WHOLE, **told})))
        story.report(AttemptId(f"{line['id']}.1"), seen)
    story.wait(30)
    assert all(line["status"] in ("failed", "waiting", "running") for line in lines)
    assert all(is_safe_in_a_cell(text) for text in story.written if isinstance(text, str))
    assert MARK in repr(story.written), "the words arrive, and only as words"


def test_a_metric_is_a_finite_number_whatever_it_is_called() -> None:
    points = metric_points([{"values": {text: 0.5}, "step": 1} for text in TEXTS])
    summaries = add_points({}, points)
    rows = [{**dict.fromkeys(FIXED, ""), "params": {}, "metrics": dict.fromkeys(summaries, VIEWS)}]
    header = next(csv.reader(io.StringIO(as_csv(rows))))
    assert not [name for name in header if begins_formula(name)]


@pytest.mark.parametrize("clean", [harmless, clean_line, cell_text])
def test_a_terminal_and_a_cell_are_shown_nothing_that_they_would_obey(clean: Any) -> None:
    for text in TEXTS:
        shown = clean(text)
        assert not {unicodedata.category(sign) for sign in shown if sign not in "\t\n"} & {"Cc", "Cf", "Cs"}, text


def test_a_host_that_lies_about_its_accelerators_is_harmless_in_the_tab_of_hosts() -> None:
    story = Story(hosts={"alpha": 1})
    for text in TEXTS:
        holder = Holder(pid=1, user=text, command=text)
        seen = AcceleratorSeen(
            kind="nvidia", id="GPU-1", index=0, model=text, memory_mb=1, state=Use.FOREIGN, why=text, holders=(holder,)
        )
        story.world.hosts[HostName("alpha")].accelerators = (seen,)
        json.dumps(hosts_view(story.world, story.now()))
        assert is_safe_in_a_cell(cell_text(f"{text}, {text}"))


def test_no_text_is_a_folder_of_the_agent(tmp_path: Path) -> None:
    for text in TEXTS:
        with pytest.raises(Refused):
            Attempt(str(tmp_path), text)
        with pytest.raises(Refused):
            Attempt(str(tmp_path), f"{text}.1")
    assert list(tmp_path.iterdir()) == []


def is_argument(text: str) -> bool:
    """What the kernel takes for one argument (MAX_ARG_STRLEN), and what is text at all."""
    try:
        return "\0" not in text and len(text.encode()) < 2**17
    except UnicodeEncodeError:
        return False


def test_a_real_agent_hands_every_text_to_a_real_program_byte_for_byte(link: Link, tmp_path: Path) -> None:
    """All that an argument can hold. What a shell would have done, nobody did."""
    texts = [text for text in TEXTS if is_argument(text)]
    assert len(texts) > len(TEXTS) * 0.8
    program = "import json, os, sys; json.dump([sys.argv[2:], sorted(os.environ)], open(sys.argv[1], 'w'))"
    for number, start in enumerate(range(0, len(texts), AT_ONCE)):
        some = texts[start : start + AT_ONCE]
        told = tmp_path / f"told {number}"
        link.launch(f"abcd1.{number + 1}", [sys.executable, "-c", program, str(told), *some])
        end = link.until_ended(f"abcd1.{number + 1}")
        assert end["exit"]["rc"] == 0, end
        heard, names = json.loads(told.read_text())
        assert heard == some
        assert not {"LD_PRELOAD", "A", MARK} & set(names)
    assert not list(Path(os.fspath(tmp_path)).rglob(MARK))


VIEWS = {"last": 0.5, "min": 0.5, "max": 0.5, "mean": 0.5, "count": 1, "step": 1.0}
WHOLE: dict[str, Any] = {"restarts": 0, "supervised": False, "metrics_bytes": 0, "log_bytes": 0, "unkillable": False}
