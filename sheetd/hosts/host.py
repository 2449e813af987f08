"""A host as the rest of sheetd knows it: `ports.Host`, over a session.

Says what the verbs of `ports.Host` mean in the agent's protocol, and nothing about connections. Every verb may be
repeated without harm; that is the agent's promise (launch is claimed once, code is kept under its hash), not
something kept here.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import TypeAdapter

from sheetd.core.model import Accelerator, AttemptId, HostName, Spec, Value
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    HostFacts,
    HostSeen,
    Observation,
)
from sheetd.errors import HostRefused
from sheetd.hosts import answers
from sheetd.hosts.bootstrap import Place
from sheetd.hosts.local import LocalChannel
from sheetd.hosts.session import Session, Timing
from sheetd.hosts.ssh import SshChannel
from sheetd.hosts.wire import ProtocolError
from sheetd.ports import Chunk, LaunchOrder

#: Small enough to pass in one deadline over a slow line, large enough that the round trips between them do not matter.
CODE_CHUNK_BYTES = 256 * 1024
CODE_DEADLINE_S = 60.0
#: Under this much one `tail` stays far from the limit of a frame.
TAIL_MAX_BYTES = 4 * 1024 * 1024
_USUAL = Timing()
_NO_ENV: Mapping[str, str] = MappingProxyType({})
_SPEC = TypeAdapter(Spec)


def spec_json(
    spec: Spec, *, resume: bool, env: Mapping[str, str], accelerators: Sequence[Accelerator] = ()
) -> dict[str, Any]:
    """The spec as the agent keeps it. A repeated launch must give the same: the agent compares the whole of it."""
    spoken = {
        "argv": list(spec.argv),
        "resume": resume,
        "env": {**env, **spec.env, **({"SHEETD_AFTER": " ".join(spec.after)} if spec.after else {})},
        "params": dict(spec.params),
        "code": spec.code,
        "cwd": spec.cwd,
        "grace_s": spec.grace_s,
        "restarts": dataclasses.asdict(spec.restarts),
        "metrics": [{"name": rule.name, "regex": rule.regex} for rule in spec.metrics if rule.regex is not None],
    }
    if spec.resume_argv:
        spoken["resume_argv"] = list(spec.resume_argv)
    if accelerators:
        spoken["accelerators"] = [_accelerator_json(one) for one in accelerators]
    return spoken


def _accelerator_json(accelerator: Accelerator) -> dict[str, Any]:
    spoken: dict[str, Any] = {"kind": accelerator.kind, "id": accelerator.id}
    return spoken if accelerator.share is None else {**spoken, "share": accelerator.share}


def launch_json(order: LaunchOrder, env: Mapping[str, str]) -> dict[str, Any]:
    """What the agent keeps of a launch: what it executes, and what another daemon has to know to take it over."""
    frozen = {
        "spec": _SPEC.dump_python(order.spec, mode="json"),
        "slots": list(order.slots),
        "accelerators": [_accelerator_json(one) for one in order.accelerators],
        "fingerprint": order.fingerprint,
    }
    spoken = spec_json(order.spec, resume=order.resume, env=env, accelerators=order.accelerators)
    return {**spoken, "frozen": frozen}


def _state(answer: Mapping[str, Any]) -> AttemptSeen:
    return answers.attempt_seen(answer.get("state"))


def _one_state(answer: Mapping[str, Any], attempt: AttemptId) -> AttemptSeen:
    states = answers.attempts_seen(answer)
    if attempt not in states:
        raise ProtocolError("no word of the attempt it was asked about")
    return states[attempt]


def _chunk(answer: Mapping[str, Any], max_bytes: int) -> Chunk:
    try:
        data = base64.b64decode(answer.get("data_base64", ""), validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ProtocolError("bytes that are no base64") from error
    start, end, size = (answers.count(answer, key) for key in ("from", "to", "size"))
    if end - start != len(data) or len(data) > max_bytes:
        raise ProtocolError("other bytes than it was asked for")
    return Chunk(start=start, end=end, size=size, data=data)


def _have(answer: Mapping[str, Any]) -> tuple[int, bool]:
    return answers.count(answer, "have"), answer.get("complete") is True


class AgentHost:
    """`ports.Host` through an agent, however it is reached. `env` is for every job there; a template's wins."""

    def __init__(self, name: HostName, session: Session, env: Mapping[str, str] = _NO_ENV) -> None:
        self.name = name
        self._session = session
        self._env = env
        self._sending_code = threading.Lock()

    def keep(self, report: Callable[[Observation], None]) -> None:
        self._session.keep(report)

    def facts(self) -> HostFacts:
        return self._session.connect().hello()

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        client = self._session.connection().client
        asked = {"max_age_s": max_age_s, "idle_memory_mb": idle_memory_mb}
        return client.request("accelerators", answers.accelerators_seen, **asked)

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        self._session.watch(metrics_offsets)

    def launch(self, order: LaunchOrder) -> AttemptSeen:
        connection = self._session.connection()
        ask = functools.partial(
            connection.client.request,
            "launch",
            _state,
            attempt=order.attempt,
            nonce=order.nonce,
            spec=launch_json(order, self._env),
            secrets=dict(order.secrets),
            epoch=self._session.epoch,
        )
        try:
            return ask(ticket=connection.ticket())
        except HostRefused as error:
            if error.code != "ticket_expired":
                raise
        # The host's clock ran ahead of what we made of its last word: a machine that was asleep, on either side.
        connection.ping()
        return ask(ticket=connection.ticket())

    def stop(self, attempt: AttemptId, grace_s: float) -> AttemptSeen:
        client = self._session.connection().client
        return client.request("stop", _state, attempt=attempt, grace_s=grace_s, epoch=self._session.epoch)

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, Value]) -> AttemptSeen:
        client, epoch = self._session.connection().client, self._session.epoch
        handed = dict(params)
        return client.request("hand_over", _state, attempt=attempt, number=number, params=handed, epoch=epoch)

    def take_over(self, epoch: int) -> HostSeen:
        return self._session.take_over(epoch)

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        client = self._session.connection().client
        return client.request("describe", answers.attempts_kept, attempts=list(attempts))

    def tail(self, attempt: AttemptId, stream: Literal["log", "metrics"], offset: int, max_bytes: int) -> Chunk:
        client, bound = self._session.connection().client, min(max_bytes, TAIL_MAX_BYTES)
        read = functools.partial(_chunk, max_bytes=bound)
        return client.request("tail", read, attempt=attempt, stream=stream, offset=offset, max_bytes=bound)

    def send_code(self, sha: str, archive: Path) -> None:
        client = self._session.connection().client
        with self._sending_code, archive.open("rb") as file:
            total = archive.stat().st_size
            have, is_complete = client.request("has_code", _have, sha=sha)
            while not is_complete:
                file.seek(have)
                data = base64.b64encode(file.read(CODE_CHUNK_BYTES)).decode()
                chunk = {"sha": sha, "offset": have, "total": total, "data_base64": data}
                before = have
                have, _ = client.request("put_code", _have, deadline_s=CODE_DEADLINE_S, **chunk)
                is_complete = have >= total
                if have <= before and not is_complete:
                    raise HostRefused("bad_code", f"{self.name}: the host keeps losing the code that is sent to it")

    def ask(self, verb: str, **fields: Any) -> Mapping[str, Any]:
        """Any verb, for those who look a host over. The answer is as the host sent it: unchecked."""
        return self._session.connection().client.request(verb, dict, epoch=self._session.epoch, **fields)

    def seen(self, attempt: AttemptId) -> AttemptSeen:
        """What there is of one attempt now, asked for and not waited for."""
        read = functools.partial(_one_state, attempt=attempt)
        return self._session.connection().client.request("status", read, attempts=[attempt])

    def close(self) -> None:
        self._session.close()


class SshHost(AgentHost):
    """A machine behind an alias of the operator's SSH configuration.

    `ssh_config` None means `~/.ssh/config`, `root` None the usual state folder of the user on the host, of which
    `folder` is the part that is used; `pins` is sheetd's own known_hosts.
    """

    def __init__(
        self,
        name: str,
        alias: str,
        ssh_config: Path | None = None,
        *,
        epoch: int,
        pins: Path | None = None,
        use_agent: bool = False,
        root: str | None = None,
        folder: str = "",
        env: Mapping[str, str] = _NO_ENV,
        timing: Timing = _USUAL,
    ) -> None:
        host = HostName(name)
        dial = functools.partial(SshChannel, name, alias, ssh_config, pins, use_agent=use_agent)
        super().__init__(host, Session(host, dial, place=Place(root, folder), epoch=epoch, timing=timing), env)


class LocalHost(AgentHost):
    """The daemon's own machine, with everything the agent keeps in `folder` below `root`."""

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        epoch: int,
        folder: str = "",
        env: Mapping[str, str] = _NO_ENV,
        timing: Timing = _USUAL,
    ) -> None:
        host = HostName(name)
        dial = functools.partial(LocalChannel, name)
        place = Place(str(root.resolve()), folder)
        super().__init__(host, Session(host, dial, place=place, epoch=epoch, timing=timing), env)
