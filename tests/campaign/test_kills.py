"""A short storm, as a test. Long ones are run by hand: `python -m tests.campaign kills`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.kills import Outcome, Storm, run
from tests.campaign.tally import Tally
from tests.check import ROOT
from tests.needs import needs_rig
from tests.rig.waiting import wait_for

COUNT = 40


@needs_rig
@pytest.mark.timeout(300)
def test_nothing_is_started_twice_lost_or_wrongly_signalled_in_a_storm_of_kills() -> None:
    outcome = Outcome(Storm(count=COUNT, seed=1, hosts=2, gap_s=0.3, daemon_gap_s=6.0), Tally(COUNT))
    run(outcome.storm, outcome, lambda *_: None)
    assert outcome.violations == []
    assert outcome.tally.total >= COUNT
    assert outcome.executions > 0


@needs_rig
@pytest.mark.timeout(180)
def test_an_interrupted_campaign_says_so_in_its_last_line_and_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.campaign", "kills", "--count", "100000", "--seed", "1", "--hosts", "1"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as campaign:
        wait_for(lambda: list(tmp_path.glob("*/fleet/host0/root/ledger")), "the first job runs", within_s=90)
        campaign.send_signal(signal.SIGINT)
        said, _ = campaign.communicate(timeout=60)
    assert campaign.returncode == 130
    assert json.loads(said.splitlines()[-1])["interrupted"]
    assert not list(tmp_path.iterdir())
