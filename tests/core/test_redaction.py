"""Nothing that a job prints puts a secret into a row, the journal or the log (J18)."""

from __future__ import annotations

import pytest

from sheetd.core import effect as fx
from sheetd.core.absorb import absorb
from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import (
    AcceleratorSeen,
    AcceleratorsReported,
    AttemptSeen,
    Exit,
    Holder,
    HostFacts,
    HostSeen,
    HostUnseen,
    MetricPoint,
    MetricsReported,
    Seen,
    Use,
)
from sheetd.core.redaction import REDACTED, Redactor
from sheetd.core.strangers import UNRECORDED_MAX
from tests.core.story import Story

SHAPES = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 6,
    "glpat-" + "x1Y2" * 5,
    "hf_" + "aBcD" * 8,
    "sk-proj-" + "aB1_" * 8,
    "xoxb-1234567890-abcdef",
    "AIza" + "Sy1-" * 9,
    "ya29." + "a0Af" * 8,
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
]
NAMED = [
    "Authorization: Bearer s3cr3t-value",
    'headers: {"authorization": "Token s3cr3t-value"}',
    "bearer s3cr3t-value",
    "WANDB_API_KEY=s3cr3t-value",
    "api-key: 's3cr3t-value'",
    "db_password = s3cr3t-value",
    "https://me:s3cr3t-value@example.org/repo",
    "client_secret: s3cr3t-value, next",
]
PLAIN = [
    "epoch 3: loss 0.25, 12 tokens/s, token ids 4 5 6",
    "commit 923099c108f2d1e5b6a7923099c108f2d1e5b6a7",
    "s3://bucket/run:7/model.pt",
    "https://example.org:8080/path",
    "the secret of good training: patience",
    "password:",
    "sk-learn",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_has_the_shape_of_a_token_is_taken_out(shape: str):
    said = Redactor().text(f"login with {shape}")
    assert said == f"login with {REDACTED}"


@pytest.mark.parametrize("line", NAMED)
def test_what_is_named_a_secret_is_taken_out_and_the_name_stays(line: str):
    said = Redactor().text(line)
    assert "s3cr3t-value" not in said
    assert REDACTED in said
    assert said[:4] == line[:4]
    assert Redactor().text(said) == said


@pytest.mark.parametrize("line", PLAIN)
def test_ordinary_lines_stay(line: str):
    assert Redactor().text(line) == line


def test_known_values_are_taken_out_wherever_they_stand_the_longest_first():
    redactor = Redactor.of(["hunter2x", "hunter2xlong", "short", "first line\nsecond line\n"])
    assert redactor.text("a=hunter2xlong&b=hunter2x") == f"a={REDACTED}&b={REDACTED}"
    assert redactor.text("short is too short to be one") == "short is too short to be one"
    assert redactor.text("> second line") == f"> {REDACTED}"


BETWEEN = [
    "\x1b[31m",
    "\x1b[0m\x1b[1m",
    "\u200b",
    "\u2060\u200d",
    "\u202e",
    "\0",
    "\ufe0f",
    "\u034f",
    "\u3164",
    "\x9b",
    "\x1b]0;t\x07",
    "\x1b(B",
    "\x1b#8",
    "\x1b=",
    "\x1b7",
    "\x1bc",
    "\x9b31m",
    "\x9d0;t\x07",
    "\x1bPq\x1b\\",
    "\x1b_x\x9c",
    "x\b",
]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("secret", [*SHAPES[:-1], "hunter2x"])
def test_what_nobody_sees_between_its_letters_hides_no_secret(secret: str, between: str):
    redactor = Redactor.of(["hunter2x"])
    for line in (between.join(secret), f"{secret[:5]}{between}{secret[5:]}", f"{secret[:-2]}{between}{secret[-2:]}"):
        said = redactor.text(f"key {between}{line}{between} used")
        assert said.replace(between, "") == f"key {REDACTED} used"
        assert redactor.text(said) == said


def test_colours_between_a_name_and_its_secret_or_within_the_name_hide_neither():
    assert Redactor().text("pass\x1b[1mword=\x1b[31ms3cr3t-value\x1b[0m") == (
        f"pass\x1b[1mword=\x1b[31m{REDACTED}\x1b[0m"
    )


def test_colours_elsewhere_stay_for_whoever_shows_the_line():
    line = "\x1b[32mok\x1b[0m key 👍\ufe0f"
    assert Redactor().text(line) is line
    assert Redactor.of(["hunter2x"]).text(f"{line} hunter2x") == f"{line} {REDACTED}"


def test_a_known_value_that_holds_an_invisible_sign_itself_is_found_with_it_and_without():
    redactor = Redactor.of(["hunter\u200b2xyz"])
    assert redactor.text("a hunter\u200b2xyz b hunter2xyz") == f"a {REDACTED} b {REDACTED}"


def test_everything_that_a_host_says_of_an_attempt_goes_through_it():
    seen = AttemptSeen(
        state=Seen.EXITED,
        exit=Exit(rc=1, error="cannot execute hunter2x", gave_up="after hunter2x"),
        last_lines=("fine", "hunter2x"),
        reason="hunter2x was here",
    )
    redactor = Redactor.of(["hunter2x"])
    kept = redactor.seen(seen)
    assert "hunter2x" not in repr(kept)
    assert kept.last_lines[0] == "fine"
    assert redactor.seen(kept) is kept


def test_neither_row_nor_journal_holds_what_a_job_printed():
    story = Story()
    story.world.redactor = Redactor.of(["hunter2x"])
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.exits(f"{line['id']}.1", rc=1, last_lines=("using key hunter2x",))
    story.wait(10)
    assert line["status"] == "failed"
    assert str(line["message"]).endswith(f"last line: using key {REDACTED}")
    assert "hunter2x" not in repr(story.journal)


SAID = "hun\x1b[1mter2x"


@pytest.fixture
def knowing() -> Story:
    story = Story()
    story.world.redactor = Redactor.of(["hunter2x"])
    return story


def is_kept_anywhere(story: Story, word: str = "ter2x") -> bool:
    return word in repr((story.world.hosts, story.world.remarks, story.world.refusals, story.world.host_faults)) or (
        word in repr((story.world.metrics, story.world.halted, story.journal))
    )


def test_the_name_of_a_metric_holds_no_secret_and_is_one_harmless_line(knowing: Story):
    line = knowing.table.type(template="train", lr=0.1)
    knowing.wait(12)
    attempt = AttemptId(f"{line['id']}.1")
    point = MetricPoint(values={"loss": 0.5, f"key {SAID}": 1.0, "\x1b[31ma\nb\u202ec": 2.0})
    absorb(
        knowing.world,
        MetricsReported(host=HostName("alpha"), attempt=attempt, start=0, end=9, points=(point,)),
        knowing.now_s,
    )
    assert set(knowing.world.metrics[attempt]) == {"loss", f"key {REDACTED}", "a bc"}
    assert not is_kept_anywhere(knowing)


def test_the_errors_of_a_host_hold_no_secret(knowing: Story):
    knowing.hosts[HostName("alpha")].refusal = ("disk_full", f"cannot write {SAID}")
    line = knowing.table.type(template="train", lr=0.1)
    knowing.wait(12)
    assert REDACTED in str(line["message"])
    absorb(knowing.world, HostUnseen(host=HostName("alpha"), why=f"alpha: it said {SAID}"), knowing.now_s)
    assert knowing.world.hosts[HostName("alpha")].why == f"it said {REDACTED}"
    assert not is_kept_anywhere(knowing)


def test_the_cards_of_a_host_and_whoever_uses_them_are_named_without_secrets(knowing: Story):
    holder = Holder(pid=1, user=SAID, command=f"train --key {SAID}")
    card = AcceleratorSeen(
        kind="nvidia", id="GPU-1", index=0, model=SAID, state=Use.FOREIGN, why=f"used by {SAID}", holders=(holder,)
    )
    told = AcceleratorsReported(host=HostName("alpha"), accelerators=(card,), notes=(SAID,), age_s=0.0)
    absorb(knowing.world, told, knowing.now_s)
    assert knowing.world.hosts[HostName("alpha")].accelerators[0].why == f"used by {REDACTED}"
    assert not is_kept_anywhere(knowing)


def test_what_a_host_calls_itself_and_its_user_holds_no_secret(knowing: Story):
    facts = HostFacts(boot="b", hostname=SAID, user=SAID, python=SAID, root=f"/home/{SAID}")
    absorb(knowing.world, HostSeen(host=HostName("alpha"), facts=facts, epoch=1), knowing.now_s)
    kept = knowing.world.hosts[HostName("alpha")].facts
    assert kept is not None
    assert kept.root == f"/home/{REDACTED}"
    assert not is_kept_anywhere(knowing)


def test_attempts_that_a_host_makes_up_anew_with_each_greeting_are_not_kept_for_ever(knowing: Story):
    line = knowing.table.type(template="train", lr=0.1)
    knowing.wait(12)
    facts = HostFacts(boot="b")
    for greeting in range(3):
        numbers = range(10 + greeting * UNRECORDED_MAX, 10 + (greeting + 1) * UNRECORDED_MAX)
        attempts = {AttemptId(f"{line['id']}.{number}"): AttemptSeen(state=Seen.RUNNING) for number in numbers}
        absorb(knowing.world, HostSeen(host=HostName("alpha"), facts=facts, attempts=attempts, epoch=1), knowing.now_s)
    assert len(knowing.world.unrecorded) == UNRECORDED_MAX
    assert not [effect for effect in knowing.started if isinstance(effect, fx.Stop)]


@pytest.mark.parametrize("word", ["a", "://", "secret", "eyJ", "password=", "bearer ", "AKIA", "://a:"])
def test_a_hostile_line_costs_little(word: str):
    Redactor().text(word * 20_000)
