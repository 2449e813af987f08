"""Who has device files open, from /proc alone. It is also a program, so that root can be asked to look:
`holders.py PREFIX...` prints a line `file<TAB>pid<TAB>uid<TAB>command` for each open file below a prefix, and `done`.

It must import nothing of ours and change nothing: with `sudo -n` it runs as root.
"""

import os
import sys
from typing import Iterator, List, Optional, Tuple


def open_files(prefixes: Tuple[str, ...], pids: Optional[List[int]] = None) -> Iterator[Tuple[str, int]]:
    """Each open file below a prefix, with the process. Processes whose files we may not see are passed over."""
    names = [name for name in os.listdir("/proc") if name.isdigit()] if pids is None else map(str, pids)
    for name in names:
        seen = set()
        try:
            for handle in os.listdir("/proc/{}/fd".format(name)):
                path = link(name, handle)
                if path.startswith(prefixes) and path not in seen:
                    seen.add(path)
                    yield path, int(name)
        except OSError:  # ended meanwhile, or another user's
            continue


def link(name: str, handle: str) -> str:
    try:
        return os.readlink("/proc/{}/fd/{}".format(name, handle))
    except OSError:  # closed meanwhile
        return ""


def owner(pid: int) -> Optional[int]:
    try:
        return os.stat("/proc/{}".format(pid)).st_uid
    except OSError:
        return None


def command(pid: int) -> str:
    """The program's name without its arguments, which may hold secrets."""
    try:
        with open("/proc/{}/cmdline".format(pid), "rb") as file:
            first = file.read(4096).split(b"\0")[0]
        if not first:  # the kernel's own, or a zombie
            with open("/proc/{}/comm".format(pid), "rb") as file:
                first = file.read(64).strip()
    except OSError:
        return ""
    return os.path.basename(first).decode("utf-8", "replace")


def main() -> None:
    for path, pid in open_files(tuple(sys.argv[1:])):
        uid = owner(pid)
        if uid is not None:
            sys.stdout.write("\t".join((path, str(pid), str(uid), command(pid).replace("\n", " "))) + "\n")
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
