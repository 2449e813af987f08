"""The channel: framed JSON on stdin and stdout.

A frame is `SHEETD <nonce> <length> <first 16 hex digits of the payload's sha256>`, a newline, the payload, a newline.
Bytes outside frames are noise (a login shell's greeting) and skipped; a frame that cannot be trusted ends the
connection.
"""

import contextlib
import hashlib
import json
import os
import re
from typing import Any, Dict, Iterator, Optional

FRAME_BYTES_MAX = 32 << 20
HEADER = re.compile(rb"^SHEETD ([0-9a-f]{32}) ([0-9]{1,9}) ([0-9a-f]{16})\Z")

Json = Dict[str, Any]


class Channel:
    """Frames on stdin and stdout. Bytes outside frames are noise and skipped; a broken frame ends the connection."""

    def __init__(self) -> None:
        self.nonce: Optional[bytes] = None  # that of the first frame
        self.incoming = bytearray()
        self.outgoing = bytearray()
        os.set_blocking(1, False)  # a daemon that does not read must not keep us from hearing that it is gone

    def feed(self, data: bytes) -> Iterator[Json]:
        """The requests that are whole by now. SystemExit for a frame that cannot be trusted."""
        self.incoming += data
        while True:
            begin = self.incoming.find(b"SHEETD ")
            if begin < 0:
                del self.incoming[: max(0, len(self.incoming) - 6)]
                return
            del self.incoming[:begin]
            end = self.incoming.find(b"\n", 0, 128)
            if end < 0 and len(self.incoming) < 128:
                return
            head = HEADER.match(bytes(self.incoming[: max(0, end)]))
            if head is None or (self.nonce is not None and head.group(1) != self.nonce):
                del self.incoming[:7]
                continue
            length = int(head.group(2))
            if length > FRAME_BYTES_MAX:
                raise SystemExit("a frame of {} bytes".format(length))
            if len(self.incoming) < end + 1 + length + 1:
                return
            payload = bytes(self.incoming[end + 1 : end + 1 + length])
            if hashlib.sha256(payload).hexdigest()[:16].encode("ascii") != head.group(3):
                raise SystemExit("a damaged frame")
            self.nonce = head.group(1)
            del self.incoming[: end + 1 + length + 1]
            request = json.loads(payload.decode("utf-8"))
            if not isinstance(request, dict):
                raise SystemExit("a request that is no object")
            yield request

    def send(self, answer: Json) -> None:
        payload = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode("ascii")
        digest = hashlib.sha256(payload).hexdigest()[:16].encode("ascii")
        self.outgoing += b"SHEETD %s %d %s\n%s\n" % (self.nonce or b"0" * 32, len(payload), digest, payload)
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes; the rest waits in `outgoing`."""
        with contextlib.suppress(BlockingIOError):
            while self.outgoing:
                del self.outgoing[: os.write(1, self.outgoing[: 1 << 20])]
