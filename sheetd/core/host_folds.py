"""How events about hosts change the state: the part of `state` that knows of no experiment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sheetd.core import events, health

if TYPE_CHECKING:
    from sheetd.core.state import State


def _accelerators_registered(state: State, event: events.AcceleratorsRegistered, _now_s: float) -> None:
    state.health[event.host] = health.registered(state.health_of(event.host), event)


def _host_quarantined(state: State, event: events.HostQuarantined, now_s: float) -> None:
    state.health[event.host] = health.quarantined(state.health_of(event.host), event, now_s)


def _host_released(state: State, event: events.HostReleased, now_s: float) -> None:
    state.health[event.host] = health.released(state.health_of(event.host), now_s)


def _host_trusted(state: State, event: events.HostTrusted, _now_s: float) -> None:
    state.health[event.host] = health.trusted(state.health_of(event.host))


def _host_drained(state: State, event: events.HostDrained, _now_s: float) -> None:
    state.health[event.host] = health.drained(state.health_of(event.host), event.by)


def _host_resumed(state: State, event: events.HostResumed, now_s: float) -> None:
    state.health[event.host] = health.resumed(state.health_of(event.host), now_s)


def _host_action_consumed(state: State, event: events.HostActionConsumed, _now_s: float) -> None:
    state.host_words[event.host] = event


def _host_action_cleared(state: State, event: events.HostActionCleared, _now_s: float) -> None:
    state.host_words.pop(event.host, None)


#: Into the table of `state`.
HOST_FOLDS: dict[type, Callable[[State, Any, float], None]] = {
    events.AcceleratorsRegistered: _accelerators_registered,
    events.HostQuarantined: _host_quarantined,
    events.HostReleased: _host_released,
    events.HostTrusted: _host_trusted,
    events.HostDrained: _host_drained,
    events.HostResumed: _host_resumed,
    events.HostActionConsumed: _host_action_consumed,
    events.HostActionCleared: _host_action_cleared,
}
