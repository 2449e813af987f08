"""The program of the examples does what its options say, by hand and without a daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "examples" / "01-local" / "train.py"


def command(*options: str) -> list[str]:
    return [sys.executable, str(TRAIN), *options]


def environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SHEETD_", "CHECKPOINT_DIR"))}
    kept = {name: value for name, value in os.environ.items() if name.startswith("SHEETD_TEST")}
    return {**mine, **kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def train(folder: Path, *options: str, pace: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(f"--seconds-per-step={pace}", *options),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def losses(output: str) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in re.findall(r"^step (\d+)  loss (\S+)", output, re.MULTILINE)}


def test_the_loss_falls_and_the_line_is_found(tmp_path: Path) -> None:
    done = train(tmp_path, "--steps=60")
    assert done.returncode == 0, done.stderr
    seen = losses(done.stdout)
    assert list(seen) == list(range(1, 61))
    assert seen[60] < seen[10] < seen[1] / 10
    assert re.fullmatch(r"y = (1\.9|2\.0)\d+ x \+ (0\.9|1\.0)\d+", done.stdout.splitlines()[-1])


def test_a_crash_happens_once_and_the_next_start_goes_on(tmp_path: Path) -> None:
    crashed = train(tmp_path, "--steps=30", "--crash-at-step=15")
    assert crashed.returncode == 1
    assert "crashed on purpose at step 15, once" in crashed.stderr
    resumed = train(tmp_path, "--steps=30", "--crash-at-step=15")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from step_000011.json at step 11" in resumed.stdout
    assert list(losses(resumed.stdout)) == list(range(12, 31))


def test_resuming_computes_what_an_undisturbed_training_computes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train(tmp_path / "a", "--steps=30")
    train(tmp_path / "b", "--steps=30", "--crash-at-step=15")
    resumed = train(tmp_path / "b", "--steps=30", "--crash-at-step=15")
    assert losses(resumed.stdout)[30] == losses(whole.stdout)[30]


@pytest.mark.parametrize("option", ["--fail", "--crash-at-step=-1"])
def test_it_can_fail_for_good(tmp_path: Path, option: str) -> None:
    for _ in range(2):
        assert train(tmp_path, option).returncode == 1


@pytest.mark.parametrize("lr", ["1.0", "1.5"])
def test_too_large_a_learning_rate_diverges_and_says_so(tmp_path: Path, lr: str) -> None:
    for _ in range(2):
        done = train(tmp_path, f"--lr={lr}")
        assert done.returncode == 1
        assert "the loss diverged at step" in done.stderr.splitlines()[-1]


def test_a_stop_saves_a_checkpoint_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("--steps=100000", "--seconds-per-step=0.01"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("step 15 "):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        last = max(losses(process.stdout.read()), default=15)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    newest = max((tmp_path / "checkpoints").iterdir())
    assert newest.name == f"step_{last:06d}.json"
    assert json.loads(newest.read_text())["step"] == last
