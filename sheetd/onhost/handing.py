"""Other parameters for a job that runs: what `sheetd.params()` gives from now on.

The file is replaced whole, so a job that reads it at that moment gets the old values or the new ones. A request that
was stuck somewhere must not bring older values back: `handed.json` says which is the newest, by epoch and number. It is
written second: whoever dies in between is asked again, and writes the same. What the job was started with (`spec.json`)
stays as it is, and so do its arguments, also when it is restarted on this host.
"""

from typing import Any, Callable, Dict

from .attempt import Attempt, Refused
from .fence import Fence
from .system import System, dump

PARAMS_MAX_BYTES = 1 << 20

Json = Dict[str, Any]


class Handing:
    """The verb `hand_over`."""

    def __init__(self, system: System, root: str, fence: Fence, state: Callable[[str], Json]) -> None:
        self.system = system
        self.root = root
        self.fence = fence
        self.state = state

    def answer(self, request: Json) -> Json:
        """Hand over the parameters; repeated, nothing more happens. What has ended, or never was, is left alone."""
        attempt = Attempt(self.root, request["attempt"])
        content = checked_params(request.get("params"))
        number = request.get("number")
        if type(number) is not int or number < 1:
            raise Refused("bad_request", "number is no whole number from 1")
        with self.fence.lock():
            self.fence.admit(request)
            newest = [request["epoch"], number]
            former = (attempt.load("handed.json") or {}).get("newest") or [0, 0]
            over = attempt.has("exit.json") or attempt.has("tomb") or not attempt.has("claim.json")
            if not over and newest > former:
                self.system.replace(attempt.at("params.json"), content)
                self.system.replace(attempt.at("handed.json"), dump({"newest": newest}))
        return {"state": self.state(attempt.name)}


def checked_params(params: Any) -> bytes:
    """Them as the file's content, or a refusal that says what is wrong."""
    good = isinstance(params, dict) and all(isinstance(value, (str, int, float)) for value in params.values())
    content = dump(params) if good else b""
    if not good or len(content) > PARAMS_MAX_BYTES:
        raise Refused("bad_request", "params is no object of texts, numbers and booleans, or too large")
    return content
