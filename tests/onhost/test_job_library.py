"""What a job imports, inside and outside sheetd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sheetd

VARIABLES = (
    "SHEETD_METRICS_FILE",
    "SHEETD_PARAMS_FILE",
    "SHEETD_OUTPUT_DIR",
    "CHECKPOINT_DIR",
    "SHEETD_RESUME_DIR",
    "SHEETD_ATTEMPT",
    "RANK",
)


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("SHEETD_METRICS_FILE", str(path))
    monkeypatch.setenv("SHEETD_RESTART", "2")
    return path


class Tensor:
    """Like torch's: a number only through float()."""

    def __float__(self) -> float:
        return 0.25


def points(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_appends_one_line_with_the_restart(metrics: Path):
    sheetd.log(3, loss=0.5, tokens=12, acc=Tensor())
    sheetd.log(loss=1)
    first, second = points(metrics)
    assert (first["k"], first["step"]) == (2, 3)
    assert first["values"] == {"loss": 0.5, "tokens": 12, "acc": 0.25}
    assert second["step"] is None


def test_only_finite_numbers_are_values(metrics: Path):
    sheetd.log(1, a=float("nan"), b=float("-inf"), c=10**400, d=1.0)
    (point,) = points(metrics)
    assert point["values"] == {"d": 1.0}
    assert point["nonfinite"] == {"a": "nan", "b": "-inf", "c": "inf"}


@pytest.mark.parametrize("value", ["0.5", None, [1], object()])
def test_what_is_no_number_is_an_error_that_names_it(metrics: Path, value: object):
    with pytest.raises(TypeError, match="loss="):
        sheetd.log(1, loss=value)
    assert not metrics.exists()


def test_lines_of_many_processes_never_mix(metrics: Path):
    program = "import sheetd\nfor step in range(2000): sheetd.log(step, loss=step, name_of_some_length=1.5)"
    env = {**os.environ, "PYTHONPATH": str(Path(sheetd.__file__).parents[1])}
    for process in [subprocess.Popen([sys.executable, "-c", program], env=env) for _ in range(4)]:
        assert process.wait() == 0
    assert len(points(metrics)) == 8000


def test_only_the_first_rank_reports(metrics: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    sheetd.log(1, loss=1)
    assert not metrics.exists()


def test_a_full_disk_warns_and_does_not_stop_the_training(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHEETD_METRICS_FILE", "/dev/full")
    with pytest.warns(RuntimeWarning, match="cannot write /dev/full"):
        sheetd.log(1, loss=1)


def test_outside_sheetd_log_prints_and_the_rest_has_local_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sheetd.log(10, loss=0.5, acc=float("nan"))
    assert capsys.readouterr().out == "step 10  loss 0.5  acc nan\n"
    assert sheetd.params() == {}
    assert sheetd.attempt() == 1
    assert sheetd.resume_from() is None
    assert sheetd.checkpoint_dir() == Path("checkpoints")
    assert sheetd.output_dir() == Path("output")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "output"}


def test_params_and_attempt_come_from_the_launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "params.json").write_text('{"lr": 0.001, "name": "né"}')
    monkeypatch.setenv("SHEETD_PARAMS_FILE", str(tmp_path / "params.json"))
    monkeypatch.setenv("SHEETD_ATTEMPT", "abcd1.7")
    assert sheetd.params() == {"lr": 0.001, "name": "né"}
    assert sheetd.attempt() == 7


def test_a_checkpoint_is_there_whole_or_not_at_all():
    path = sheetd.save_checkpoint("step_1.pt", b"one")
    assert path.read_bytes() == b"one"

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        sheetd.save_checkpoint("step_1.pt", fail)
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in path.parent.iterdir()] == ["step_1.pt"]


def test_a_function_writes_a_checkpoint_into_a_folder_of_its_name():
    path = sheetd.save_checkpoint("last/model.pt", lambda file: file.write(b"state"))
    assert path == Path("checkpoints/last/model.pt")
    assert path.read_bytes() == b"state"


def test_the_latest_checkpoint_is_the_newest_complete_one():
    assert sheetd.latest_checkpoint() is None
    for age, name in enumerate(
        ["step_10", "step_9", ".step_11.1.tmp", "step_12.tmp", "step_13.orbax-checkpoint-tmp-1"]
    ):
        path = sheetd.checkpoint_dir() / name
        path.touch()
        os.utime(path, ns=(age, age))
    assert sheetd.latest_checkpoint() == Path("checkpoints/step_9")


def test_resuming_prefers_the_attempts_own_checkpoint_to_an_older_attempts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    older = tmp_path / "a1"
    older.mkdir()
    (older / "step_5").touch()
    monkeypatch.setenv("SHEETD_RESUME_DIR", str(older))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "a2"))
    assert sheetd.resume_from() == older / "step_5"
    sheetd.save_checkpoint("step_6", b"")
    assert sheetd.resume_from() == tmp_path / "a2" / "step_6"


def test_the_rows_that_it_runs_after_are_those_that_are_on_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for attempt, step in ((1, "step_1"), (2, "step_2")):
        folder = tmp_path / "xone" / "checkpoints" / f"a{attempt}"
        folder.mkdir(parents=True)
        (folder / step).touch()
        os.utime(folder / step, ns=(10 - attempt, 10 - attempt))
    (tmp_path / "xtwo").mkdir()
    folders = os.pathsep.join(str(tmp_path / name) for name in ("xtwo", "xgone", "xone"))
    monkeypatch.setenv("SHEETD_AFTER_DIRS", folders)
    two, one = sheetd.parents()
    assert (two.id, two.output, two.checkpoint) == ("xtwo", tmp_path / "xtwo" / "out", None)
    assert one.checkpoint == tmp_path / "xone" / "checkpoints" / "a1" / "step_1", "the newest, whoever wrote it"
    monkeypatch.delenv("SHEETD_AFTER_DIRS")
    assert sheetd.parents() == []
