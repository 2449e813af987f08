"""Frames survive what login shells print and how networks cut, and nothing a host sends costs more than its bound."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.hosts.wire import MAX_PAYLOAD_BYTES, NOISE_KEPT_BYTES, Decoder, ProtocolError, encode, new_nonce

NONCE = "0123456789abcdef" * 2
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5)
NOISE = st.binary(max_size=60).filter(lambda noise: b"SHEETD" not in noise)


def frame_of(payload: bytes, digest: bytes | None = None) -> bytes:
    known = digest if digest is not None else hashlib.sha256(payload).hexdigest()[:16].encode()
    return b"SHEETD %s %d %s\n%s\n" % (NONCE.encode(), len(payload), known, payload)


@given(messages=MESSAGES, noise=st.lists(NOISE, min_size=6, max_size=6), data=st.data())
def test_messages_arrive_whole_and_in_order_through_noise_and_cuts_anywhere(
    messages: list[dict[str, object]], noise: list[bytes], data: st.DataObject
) -> None:
    frames = [encode(NONCE, message) for message in messages]
    stream = noise[-1] + b"".join(frame + between for frame, between in zip(frames, noise, strict=False))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder(NONCE)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found == messages


@given(stream=st.binary(max_size=400))
def test_bytes_of_any_kind_are_noise_or_a_protocol_error_and_nothing_else(stream: bytes) -> None:
    decoder = Decoder(NONCE)
    try:
        found = decoder.feed(stream) + decoder.feed(b"SHEETD " + NONCE.encode() + b" " + stream)
    except ProtocolError:
        return
    assert found == []


def test_a_frame_of_another_connection_is_noise() -> None:
    decoder = Decoder(NONCE)
    assert decoder.feed(encode(new_nonce(), {"id": 1}) + encode(NONCE, {"id": 2})) == [{"id": 2}]


@pytest.mark.parametrize("spoil", [b"0" * 16, b"", b"0" * 15, b"zz"])
def test_a_wrong_hash_is_a_protocol_error(spoil: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(NONCE).feed(frame_of(b"{}", spoil))


@pytest.mark.parametrize("length", [MAX_PAYLOAD_BYTES + 1, 99_999_999])
def test_an_overlong_frame_is_refused_at_its_header(length: int) -> None:
    with pytest.raises(ProtocolError, match="limit"):
        Decoder(NONCE).feed(b"SHEETD %s %d %s\n" % (NONCE.encode(), length, b"0" * 16))


def test_a_header_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ProtocolError, match="header"):
        Decoder(NONCE).feed(b"SHEETD %s %s" % (NONCE.encode(), b"1" * 100))


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_no_json_object_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(NONCE).feed(frame_of(payload))


def test_an_endless_number_costs_nothing_and_counts_as_infinite() -> None:
    message = Decoder(NONCE).feed(frame_of(b'{"n": ' + b"9" * 1_000_000 + b"}"))
    assert message == [{"n": math.inf}]


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        encode(NONCE, {"data": "x" * MAX_PAYLOAD_BYTES})


def test_noise_is_kept_for_people_in_bounds() -> None:
    decoder = Decoder(NONCE)
    for _ in range(100):
        decoder.feed(b"x" * 1000)
    decoder.feed(b"bash: python3: command not found\n" + b"." * 100)
    assert "python3: command not found" in decoder.noise
    assert len(decoder.noise) <= NOISE_KEPT_BYTES


def test_a_message_is_one_line_of_json_in_its_frame() -> None:
    head, payload, rest = encode(NONCE, {"id": 7, "text": "two\nlines ü"}).split(b"\n")
    assert head.split()[:2] == [b"SHEETD", NONCE.encode()]
    assert json.loads(payload) == {"id": 7, "text": "two\nlines ü"}
    assert rest == b""
