"""Nothing that a job prints puts a secret into a row, the journal or the log (J18)."""

from __future__ import annotations

import pytest

from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.redaction import REDACTED, Redactor
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


def test_everything_that_a_host_says_of_an_attempt_goes_through_it():
    seen = AttemptSeen(
        state=Seen.EXITED,
        exit=Exit(rc=1, error="cannot execute hunter2x"),
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


@pytest.mark.parametrize("word", ["a", "://", "secret", "eyJ", "password=", "bearer ", "AKIA", "://a:"])
def test_a_hostile_line_costs_little(word: str):
    Redactor().text(word * 20_000)
