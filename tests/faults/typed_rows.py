"""A row that is typed in some way, and what became of it."""

from __future__ import annotations

from sheetd.core.template import Param, ParamType, Template
from tests.faults.laboratory import Lab

NOTED = Template(
    name="noted",
    command=("python", "note.py", "{seed}", "--lr={lr}"),
    params={
        "seed": Param(name="seed", max_length=4000),
        "lr": Param(name="lr", type=ParamType.BOOLEAN, default=False),
    },
)


def refused(lab: Lab, **typed: str) -> str:
    """What a row that was typed so says, when it was not started."""
    lab.person.type("bad", **{"template": "train", "lr": "0.1", **typed})
    lab.person.type("good", template="train", lr="0.5")
    lab.wait()
    bad, good = lab.person.see("bad"), lab.person.see("good")
    assert (bad["status"], bad["host"], good["status"]) == ("invalid", "", "running")
    assert lab.attempts == [f"{good['id']}.1"]
    return bad["message"]


def accepted(lab: Lab, **typed: str) -> dict[str, object]:
    """The parameters that a row typed so runs with."""
    lab.person.type("row", **{"template": "train", "lr": "0.1", **typed})
    lab.wait()
    assert lab.person.status("row") == ["running"]
    return dict(lab.story.experiment_by(lab.ids("row")[0]).spec.params)
