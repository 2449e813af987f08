"""When the sheet cannot be used, as one story with a beginning and an end, however often it is tried meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from sheetd.core.plan import Now
from sheetd.core.times import duration_text

#: An outage is over when the sheet could be used for so long: one that can be read and not be written comes and goes.
OVER_S = 15.0


@dataclass(slots=True)
class Outage:
    """Belongs to whoever tells people; nothing is decided by it."""

    _began: Now | None = None
    _well_since_s: float | None = None

    @property
    def began_wall_s(self) -> float | None:
        """Since when the sheet cannot be used, for showing; None while it can."""
        return self._began.wall_s if self._began is not None and self._well_since_s is None else None

    def heed(self, problem: str, since_s: float | None, now: Now) -> str:
        """What to say now, mostly nothing. `problem` is why the sheet cannot be used, since the monotonic `since_s`."""
        if problem and since_s is not None:
            self._well_since_s = None
            if self._began is not None:
                return ""
            self._began = Now(s=since_s, wall_s=now.wall_s - (now.s - since_s))
            return f"the sheet cannot be used now, and what runs goes on: {problem}"
        if self._began is None:
            return ""
        if self._well_since_s is None:
            self._well_since_s = now.s
        if now.s - self._well_since_s < OVER_S:
            return ""
        lasted = duration_text(self._well_since_s - self._began.s)
        self._began = self._well_since_s = None
        return f"the sheet can be used again, after {lasted}"
