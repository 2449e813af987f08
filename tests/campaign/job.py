"""What the rows of a campaign run, and the templates that name it.

Each execution tells on itself in two places that sheetd knows nothing of. In the ledger of its host, a file on the
disk that a loss of power leaves, it writes a line when it starts and one just before it ends. And as long as it or
any child of it lives it holds a lock that all hosts of the fleet share: whoever finds it held is a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_TELLING = """\
import fcntl, os, signal, sys, time

ledger, alive, token, seconds, ending = sys.argv[1:6]
attempt, k = os.environ["SHEETD_ATTEMPT"], os.environ["SHEETD_RESTART"]
with open("/proc/sys/kernel/random/boot_id") as file:
    boot = file.read().strip()


def note(word, more="-"):
    fields = (word, attempt, k, token, os.getpid(), boot, time.monotonic(), more)
    handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, (" ".join(map(str, fields)) + "\\n").encode())
    os.close(handle)


def end(rc):
    note("exit", rc)
    os._exit(rc)


note("start")
only_one = os.open(os.path.join(alive, token), os.O_RDWR | os.O_CREAT, 0o644)
try:
    fcntl.flock(only_one, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("twice", os.pread(only_one, 100, 0).decode().strip().replace(" ", "_") or "-")
os.pwrite(only_one, "{} {} {:<60}".format(attempt, k, os.uname()[1]).encode(), 0)

import sheetd
"""

#: For a storm: short, and over whatever happens.
SHORT = (
    _TELLING
    + """
if ending == "leave-child" and os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
for step in range(1, 6):
    sheetd.log(step=step, loss=1.0 / step)
    time.sleep(float(seconds) / 5)
end(4 if ending == "fail" else 3 if ending == "crash-once" and k == "0" else 0)
"""
)

#: For an absence: what happens is told by two files beside the ledger, `away` and `back`.
PATIENT = (
    _TELLING
    + """
def wait_for(name):
    while not os.path.exists(os.path.join(os.path.dirname(ledger), name)):
        time.sleep(0.1)


sheetd.log(step=1, loss=1.0)
wait_for("away")
sheetd.log(step=2, loss=0.01)
note("away")
if ending == "fail":
    end(4)
if ending == "end":
    end(0)
if int(k) < {"crash-once": 1, "crash-twice": 2}.get(ending, 0):
    end(3)
wait_for("back")
sheetd.log(step=3, loss=0.5)
end(0)
"""
)

_TEMPLATE = """\
command = ["python3", "{program}", "{{home}}/ledger", "{alive}", "{{{{token}}}}", "{{{{seconds}}}}", "{{{{ending}}}}"]
{code}
restarts = {{{{ max = {restarts_max}, backoff_s = 0.05, backoff_max_s = 1.0 }}}}
relaunches = 1000
grace_s = 1

[params.token]
type = "text"
[params.seconds]
type = "number"
[params.ending]
type = "text"

[metrics]
loss = {{{{}}}}
"""

#: What each ending must come to, whatever happens on the way: only one that fails by itself may fail.
STATUS_OF_ENDING: Mapping[str, str] = MappingProxyType(
    {"succeed": "succeeded", "crash-once": "succeeded", "leave-child": "succeeded", "fail": "failed"}
)
#: Endings and how often each is typed. One that fails is of the template that gives up after one restart.
ENDINGS: Mapping[str, int] = MappingProxyType({"succeed": 6, "crash-once": 2, "leave-child": 1, "fail": 1})


def template_of(ending: str) -> str:
    return "fragile" if ending == "fail" else "steady"


def templates(shared: Path) -> dict[str, str]:
    """`steady` reads its program where it lies on the shared disk; `fragile` has its code sent to each host."""
    program, alive = shared / "lab" / "code" / "job.py", shared / "alive"
    return {
        "steady": _TEMPLATE.format(program=program, alive=alive, restarts_max=1000, code=""),
        "fragile": _TEMPLATE.format(program="job.py", alive=alive, restarts_max=1, code='code = "../code"'),
    }
