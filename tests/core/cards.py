"""The accelerators of a fake host: who really uses them, and what the host says of that when it is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sheetd.core.model import AttemptId
from sheetd.core.observation import AcceleratorSeen, AcceleratorsSeen, Holder, Use

A100 = "NVIDIA A100-SXM4-80GB"
RTX = "NVIDIA RTX A5000"
#: What the driver says of a card of so many gigabytes is a little less than so many gibibytes.
MEMORY_MB = {A100: 81920, RTX: 24564}


@dataclass
class Card:
    """The truth about one."""

    id: str
    model: str = A100
    user: str = ""
    is_sick: bool = False
    is_unclear: bool = False
    ours: set[AttemptId] = field(default_factory=set)

    def seen(self, index: int) -> AcceleratorSeen:
        if self.is_sick:
            state, why = Use.SICK, "nvidia-smi has not answered 3 times in a row"
        elif self.is_unclear:
            state, why = Use.UNKNOWN, "nvidia-smi has not answered"
        elif self.user:
            state, why = Use.FOREIGN, f"{self.user} uses it"
        elif self.ours:
            state, why = Use.OURS, "ours"
        else:
            state, why = Use.FREE, "free in two samples"
        return AcceleratorSeen(
            kind="nvidia",
            id=self.id,
            index=index,
            model=self.model,
            memory_mb=MEMORY_MB[self.model],
            used_mb=4,
            state=state,
            why=why,
            holders=(Holder(pid=41877, user=self.user, command="python3"),) if self.user else (),
            attempts=tuple(sorted(self.ours)),
        )


class Cards:
    """Those of one host. `age_s` is how old its samples are when it is asked."""

    def __init__(self, *models: str, prefix: str = "GPU") -> None:
        self.all = [Card(f"{prefix}-{number}", model) for number, model in enumerate(models)]
        self.age_s: float | None = 0.5
        self.is_probing = False
        self.asked = 0

    def __getitem__(self, number: int) -> Card:
        return self.all[number]

    def seen(self) -> AcceleratorsSeen:
        self.asked += 1
        accelerators = tuple(card.seen(index) for index, card in enumerate(self.all))
        return AcceleratorsSeen(
            accelerators=accelerators if self.age_s is not None else (),
            age_s=self.age_s,
            samples=2,
            is_probing=self.is_probing,
        )

    def started(self, attempt: AttemptId, ids: Collection[str]) -> None:
        for card in self.all:
            if card.id in ids:
                card.ours.add(attempt)

    def ended(self, attempt: AttemptId) -> None:
        for card in self.all:
            card.ours.discard(attempt)
