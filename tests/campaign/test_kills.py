"""A short storm, as a test. Long ones are run by hand: `python -m tests.campaign kills`."""

from __future__ import annotations

import pytest

from tests.campaign.kills import Outcome, Storm, run
from tests.campaign.tally import Tally
from tests.needs import needs_rig

COUNT = 40


@needs_rig
@pytest.mark.timeout(300)
def test_nothing_is_started_twice_lost_or_wrongly_signalled_in_a_storm_of_kills() -> None:
    outcome = Outcome(Storm(count=COUNT, seed=1, hosts=2, gap_s=0.3, daemon_gap_s=6.0), Tally(COUNT))
    run(outcome.storm, outcome, lambda *_: None)
    assert outcome.violations == []
    assert outcome.tally.total >= COUNT
    assert outcome.executions > 0
