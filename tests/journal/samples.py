"""One event of every kind, as this version of sheetd writes them. `journal_v1.sql` holds the first of these."""

from __future__ import annotations

from sheetd.core.events import (
    AcceleratorsRegistered,
    ActionCleared,
    ActionConsumed,
    AttemptAdopted,
    AttemptEnded,
    AttemptStarted,
    DaemonStarted,
    Event,
    ExperimentReopened,
    ExperimentWithdrawn,
    HostActionCleared,
    HostActionConsumed,
    HostDrained,
    HostQuarantined,
    HostReleased,
    HostResumed,
    HostTrusted,
    IdAssigned,
    IdWithdrawn,
    LaunchIntended,
    RepeatFound,
    RequestObeyed,
    RowAccepted,
    RowEdited,
    RowReturned,
    RowRevised,
    RowVanished,
    StopIntended,
    SweepExpanded,
    TakeoverBegun,
    TakeoverEnded,
)
from sheetd.core.model import (
    AttemptId,
    ExperimentId,
    HostName,
    MetricRule,
    Proof,
    Reason,
    Restarts,
    SlotName,
    Spec,
    SweepMember,
)

K7 = ExperimentId("k7p2xw")
M3 = ExperimentId("m3q9az")
S4 = ExperimentId("s4weep")
GPU1 = HostName("gpu1")
K7_1 = AttemptId("k7p2xw.1")

SPEC = Spec(
    template="python-script",
    argv=("python3", "train.py", "--lr=0.1", 'naïve "text" $(touch x)\n', ""),
    resume_argv=("python3", "train.py", "--resume"),
    params={"lr": 0.1, "steps": 100, "whole": 1.0, "debug": True, "note": "1"},
    env={"OMP_NUM_THREADS": "1"},
    secrets=("WANDB_API_KEY",),
    code="c0de" * 16,
    cwd="src",
    slots=2,
    where="a100",
    priority=1.5,
    grace_s=30.0,
    restarts=Restarts(max=5, backoff_s=0.5, backoff_max_s=60.0, healthy_s=120.0),
    relaunches=2,
    metrics=(MetricRule(name="loss"), MetricRule(name="acc", regex="acc=([0-9.]+)")),
)

ONE_OF_EACH: tuple[Event, ...] = (
    DaemonStarted(epoch=1, wall_s=1.7e9),
    IdAssigned(experiment=K7, fingerprint="f1"),
    IdAssigned(experiment=M3, fingerprint="f1", copied_from=K7),
    IdWithdrawn(experiment=M3),
    RowAccepted(experiment=K7, spec=SPEC, fingerprint="f1", wall_s=1.7e9 + 5),
    LaunchIntended(
        attempt=K7_1, host=HostName("gpu1"), slots=(SlotName("gpu1/0"), SlotName("gpu1/1")), nonce="ab" * 16
    ),
    AttemptStarted(attempt=K7_1, wall_s=1.7e9 + 6),
    ActionConsumed(experiment=K7, action="stop"),
    StopIntended(attempt=K7_1, why="you asked for it"),
    AttemptEnded(
        attempt=K7_1,
        reason=Reason.STOPPED_BY_USER,
        proof=Proof.EXIT_RECORD,
        exit_code=-15,
        detail="stopped",
        restarts=2,
        runtime_s=12.5,
        relaunch_delay_s=None,
    ),
    ActionCleared(experiment=K7),
    ExperimentReopened(experiment=K7, resume=True),
    ExperimentReopened(experiment=K7, resume=False, spec=SPEC),
    RowVanished(experiment=K7),
    RowReturned(experiment=K7),
    ExperimentWithdrawn(experiment=K7, why="its row was deleted"),
    # Those above are in `journal_v1.sql`, which stays as it is; what came later follows.
    RowEdited(experiment=K7, fingerprint="f2"),
    TakeoverBegun(epoch=1, former_owner="0123456789abcdef", former_epoch=0, former_where="kim@lab1:/home/kim/lab"),
    AttemptAdopted(
        attempt=AttemptId("k7p2xw.2"),
        host=HostName("gpu2"),
        slots=(SlotName("gpu2/0"),),
        nonce="cd" * 16,
        machine="9f" * 16,
        spec=SPEC,
        fingerprint="f2",
        wall_s=1.7e9 + 90,
    ),
    TakeoverEnded(),
    AcceleratorsRegistered(host=GPU1, accelerators=("GPU-1", "GPU-2")),
    HostQuarantined(
        host=GPU1, why="1 of its 2 accelerators is gone", until_wall_s=1.7e9 + 300, for_s=300.0, lost=("GPU-2",)
    ),
    HostReleased(host=GPU1, why="its time is over"),
    HostTrusted(host=GPU1, why="an attempt has run well"),
    HostDrained(host=GPU1, by="kim"),
    HostResumed(host=GPU1, by="kim"),
    HostActionConsumed(host=GPU1, action="drain"),
    HostActionCleared(host=GPU1),
    SweepExpanded(
        experiment=S4,
        spec=SPEC,
        members=(ExperimentId("s4weep-1"), ExperimentId("s4weep-2")),
        begun=(
            SweepMember(id=ExperimentId("s4weep-1"), spec=SPEC),
            SweepMember(id=ExperimentId("s4weep-2"), spec=SPEC),
        ),
        fingerprint="f3",
        wall_s=1.7e9 + 95,
    ),
    ExperimentWithdrawn(experiment=S4, why="paused by its action cell", pauses=True),
    RowRevised(experiment=S4, spec=SPEC, fingerprint="f4"),
    ActionConsumed(experiment=S4, action="resume", obeyed=False, why_not="nothing was paused here"),
    IdAssigned(experiment=ExperimentId("r3peat"), fingerprint="f2"),
    RepeatFound(experiment=ExperimentId("r3peat"), of=K7, fingerprint="f2"),
    RequestObeyed(experiment=K7, action="restart", request=7, wall_s=1.7e9 + 99),
)
#: How many of them `journal_v1.sql` holds.
IN_VERSION_1 = 16
