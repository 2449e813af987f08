"""The shape of a template file: its keys, their types, their defaults.

Whether the values make sense together is for `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from sheetd.core.template import ParamType
from sheetd.tomlfile import Section

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Text = Annotated[str, Field(strict=True)]


class RestartsSection(Section):
    """restarts: how a crashed process is started again on its host."""

    max: Count = 3
    backoff_s: Seconds = 1.0
    backoff_max_s: Seconds = 300.0
    healthy_s: Seconds = 600.0


class ParamSection(Section):
    """[params.NAME]: one column that a row may fill."""

    type: ParamType = ParamType.TEXT
    default: Any = None
    min: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    choices: tuple[Text, ...] = ()
    pattern: Text | None = None
    max_length: Annotated[int, Field(strict=True, ge=1, le=50_000)] = 4096
    #: An edit while the job runs is handed over to it: `sheetd.params()` gives the new value.
    live: Annotated[bool, Field(strict=True)] = False


class MetricSection(Section):
    """[metrics] NAME: without a regex it is one that the job reports with `sheetd.log`."""

    regex: Text | None = None


class TemplateFile(Section):
    """A whole template file."""

    description: Text = ""
    command: tuple[Text, ...]
    resume_command: tuple[Text, ...] | None = None
    resume_args: tuple[Text, ...] | None = None
    code: Text | None = None
    cwd: Text | None = None
    slots: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    #: Each accelerator has at least so much memory; 0: any host will do.
    memory_gb: Annotated[float, Field(strict=True, ge=0, le=100_000, allow_inf_nan=False)] = 0.0
    #: Up to so many experiments of templates that say so run on one accelerator at once.
    share: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    where: Text = ""
    grace_s: Seconds = 60.0
    restarts: RestartsSection = Field(default_factory=RestartsSection)
    relaunches: Count = 10
    #: Rows that ask for what was done already begin without being told to.
    allow_repeats: Annotated[bool, Field(strict=True)] = False
    env: Mapping[str, Text] = Field(default_factory=dict)
    secrets: tuple[Text, ...] = ()
    params: Mapping[str, ParamSection] = Field(default_factory=dict)
    metrics: Mapping[str, MetricSection] = Field(default_factory=dict)

    @property
    def argument_lists(self) -> dict[str, tuple[str, ...]]:
        """Those of the three lists that the file has, by key."""
        lists = {"command": self.command, "resume_command": self.resume_command, "resume_args": self.resume_args}
        return {key: elements for key, elements in lists.items() if elements is not None}

    @property
    def whole_resume_command(self) -> tuple[str, ...]:
        """What goes on from a checkpoint; empty when it is the same command."""
        if self.resume_args is not None:
            return (*self.command, *self.resume_args)
        return self.resume_command or ()

    @field_validator("command", "resume_command", "resume_args", mode="before")
    @classmethod
    def _is_a_list(cls, command: object) -> object:
        if isinstance(command, str):
            words = ", ".join(f'"{word}"' for word in command.split())
            text = f"must be a list, one element for each argument, as no shell splits it: [{words}]"
            raise ValueError(text)  # noqa: TRY004 - only a ValueError gets its place from pydantic
        return command
