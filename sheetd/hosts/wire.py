r"""Frames: how messages survive a login shell.

Between the daemon and the agent lies whatever the host's shell prints: a banner, conda's greeting, a broken .bashrc.
So each message is a frame that carries the connection's nonce, its length and a hash, and everything outside frames
is noise.

    SHEETD <nonce, 32 hex digits> <length> <first 16 hex digits of the payload's SHA-256>\n<payload>\n

The hash finds damage, not malice: a hostile host may say what it likes, therefore every length is bounded here and
every value is checked where it is used. This module does no input or output and must not learn what messages mean.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from typing import Any

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
#: How much of the latest noise is kept, to be shown when no frame ever comes.
NOISE_KEPT_BYTES = 2000
#: `<length> <hash>\n` is at most 8 + 1 + 16 + 1 bytes long.
_HEADER_MAX_BYTES = 26
_HASH_DIGITS = 16
#: Python needs quadratic time to read a very long number, and a job may have reported one.
_INTEGER_MAX_DIGITS = 40


class ProtocolError(Exception):
    """The other side sent something that no agent sends. The connection cannot be used any more."""


def new_nonce() -> str:
    """Names one connection, so that a frame from another one (or a printed log of one) is noise."""
    return secrets.token_hex(16)


def _hash_of(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest()[:_HASH_DIGITS].encode()


def encode(nonce: str, message: Mapping[str, Any]) -> bytes:
    """One frame. Raises ProtocolError when the message is too long for the other side to accept."""
    payload = json.dumps(message, separators=(",", ":")).encode()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"a message of {len(payload)} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return b"SHEETD %s %d %s\n%s\n" % (nonce.encode(), len(payload), _hash_of(payload), payload)


def _integer(digits: str) -> float:
    """What is too long counts as infinite, which every reader of numbers has to expect anyway."""
    return int(digits) if len(digits) <= _INTEGER_MAX_DIGITS else math.inf


def _message(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame that holds no JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"a frame that holds no object but {type(message).__name__}")
    return message


class Decoder:
    """Finds the frames of one connection in a stream that arrives in pieces of any size.

    Keeps at most one unfinished frame. After a ProtocolError it is of no further use.
    """

    def __init__(self, nonce: str) -> None:
        self._mark = f"SHEETD {nonce} ".encode()
        self._buffer = bytearray()
        self._noise = bytearray()
        #: Payload length and hash of the frame that is being received; None while looking for one.
        self._expected: tuple[int, bytes] | None = None

    @property
    def noise(self) -> str:
        """The latest text outside frames, for people."""
        return bytes(self._noise).decode("utf-8", "replace").strip()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that these bytes complete. Raises ProtocolError."""
        self._buffer += data
        messages = []
        while self._expected is not None or self._find_header():
            payload = self._take_payload()
            if payload is None:
                break
            messages.append(_message(payload))
        return messages

    def _find_header(self) -> bool:
        """Drop noise up to the next frame and read its header. False when more bytes are needed."""
        at = self._buffer.find(self._mark)
        if at < 0:
            # The mark may have arrived in part: everything that cannot be its beginning is noise.
            self._drop_noise(max(0, len(self._buffer) - len(self._mark) + 1))
            return False
        self._drop_noise(at)
        start = len(self._mark)
        end = self._buffer.find(b"\n", start, start + _HEADER_MAX_BYTES)
        if end < 0:
            if len(self._buffer) >= start + _HEADER_MAX_BYTES:
                raise ProtocolError("a frame with an endless header")
            return False
        length, _, digest = bytes(self._buffer[start:end]).partition(b" ")
        if not (length.isdigit() and len(digest) == _HASH_DIGITS):
            raise ProtocolError("a frame with a damaged header")
        if int(length) > MAX_PAYLOAD_BYTES:
            raise ProtocolError(f"a frame of {int(length)} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
        self._expected = int(length), digest
        del self._buffer[: end + 1]
        return True

    def _take_payload(self) -> bytes | None:
        if self._expected is None:
            return None
        length, digest = self._expected
        if len(self._buffer) < length + 1:
            return None
        payload = bytes(self._buffer[:length])
        if self._buffer[length] != ord("\n") or _hash_of(payload) != digest:
            raise ProtocolError("a frame whose content does not match its hash")
        del self._buffer[: length + 1]
        self._expected = None
        return payload

    def _drop_noise(self, count: int) -> None:
        self._noise += self._buffer[:count]
        del self._noise[:-NOISE_KEPT_BYTES]
        del self._buffer[:count]
