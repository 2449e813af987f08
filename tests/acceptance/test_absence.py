"""Nobody is there: no daemon, no sshd, no network. For ten minutes by hand: `python -m tests.campaign absence`."""

from __future__ import annotations

import pytest

from tests.campaign.absence import TRUTHS, Outcome, run
from tests.needs import needs_rig


@needs_rig
@pytest.mark.timeout(300)
def test_an_absence_changes_nothing_for_jobs_and_afterwards_the_rows_show_all_of_it() -> None:
    outcome = Outcome(minutes=0.05, hosts=2)
    run(outcome, len(TRUTHS), lambda *_: None)
    assert outcome.violations == []
    assert outcome.experiments == 2 * len(TRUTHS)
