"""What is recorded comes back the same, and what cannot come back is not recorded."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.events import ActionConsumed, Event, RowAccepted, RowVanished
from sheetd.core.model import ExperimentId, Spec
from sheetd.errors import JournalError
from sheetd.journal import codec
from tests.journal.samples import ONE_OF_EACH

KINDS = get_args(Event)
VALUES = st.text() | st.integers() | st.floats() | st.booleans()
SPECS = st.builds(Spec, params=st.dictionaries(st.text(), VALUES), env=st.dictionaries(st.text(), st.text()))
st.register_type_strategy(Spec, SPECS)  # the runs of a sweep too: a mapping of another kind would not come back as one
EVENTS = st.one_of(
    [st.builds(kind, spec=SPECS) if "spec" in kind.__dataclass_fields__ else st.builds(kind) for kind in KINDS]
)


@given(EVENTS)
def test_every_event_comes_back_with_the_same_values_and_types(event: Event) -> None:
    # repr and not ==, since 1 == 1.0 == True, and NaN is not itself.
    assert repr(codec.decode(codec.encode(event), codec.VERSION)) == repr(event)


def test_the_samples_cover_every_kind() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(KINDS)


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "true", float("inf"), 2**80, "", " "])
def test_a_parameter_keeps_its_type(value: str | float | bool) -> None:
    event = RowAccepted(
        experiment=ExperimentId("abcd"),
        spec=Spec(template="t", argv=(), params={"p": value}),
        fingerprint="",
        wall_s=0.0,
    )
    found = codec.decode(codec.encode(event), codec.VERSION)
    assert isinstance(found, RowAccepted)
    assert repr(found.spec.params["p"]) == repr(value)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"kind":"HostPainted","host":"gpu1"}', 1),
        ('{"kind":"RowVanished","experiment":"abcd","colour":"red"}', 1),
        ('{"kind":"RowVanished","experiment":"abcd"}', codec.VERSION + 1),
    ],
    ids=["unknown kind", "unknown field", "later version"],
)
def test_an_event_of_a_newer_sheetd_is_refused_and_says_so(text: str, version: int) -> None:
    with pytest.raises(JournalError, match="newer sheetd"):
        codec.decode(text, version)


@pytest.mark.parametrize("text", ["", "{", '{"kind":"RowVanished"}', '{"kind":"RowVanished","experiment":7}', "[]"])
def test_a_damaged_event_is_refused(text: str) -> None:
    with pytest.raises(JournalError, match="damaged"):
        codec.decode(text, 1)


def test_a_field_that_was_added_later_gets_its_default_from_old_text() -> None:
    old = json.dumps({"kind": "AttemptEnded", "attempt": "abcd.1", "reason": "failed", "proof": "exit_record"})
    assert codec.decode(old, 1).restarts == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "event",
    [
        ActionConsumed(experiment=ExperimentId("abcd"), action="\ud800"),
        ActionConsumed(experiment=7, action="stop"),  # type: ignore[arg-type]
        RowVanished(experiment=object()),  # type: ignore[arg-type]
    ],
    ids=["half a character", "wrong type", "not data"],
)
def test_an_event_that_could_not_be_read_again_is_not_written(event: Event) -> None:
    with pytest.raises(JournalError, match="recorded"):
        codec.encode(event)
