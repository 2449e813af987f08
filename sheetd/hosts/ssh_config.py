"""The text of the operator's SSH configuration, with `Include` lines replaced by what they name.

paramiko reads ssh_config but not `Include`, which VS Code, cloud tools and many labs rely on. As ssh_config(5) has
it: a pattern may match several files or none, a relative one is looked for in ~/.ssh, and after an included file the
block goes on in which the Include stood. Not read: the system-wide /etc/ssh/ssh_config.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

#: As deep as OpenSSH goes; deeper is a circle.
_DEPTH_MAX = 16
_LINE = re.compile(r"^\s*(\w+)\s*(?:=|\s)\s*(.*?)\s*$")


def expanded(path: Path, depth: int = 0) -> str:
    """Raises OSError when a file cannot be read, ValueError when files include each other in a circle."""
    if depth > _DEPTH_MAX:
        raise ValueError(f"{path} is included more than {_DEPTH_MAX} files deep")
    lines, block = [], "Host *"
    for line in path.read_text("utf-8").splitlines():
        found = _LINE.match(line)
        keyword = found.group(1).lower() if found else ""
        if found and keyword == "include":
            lines += [expanded(included, depth + 1) for included in _named(found.group(2))]
            lines.append(block)
            continue
        if keyword in {"host", "match"}:
            block = line
        lines.append(line)
    return "\n".join(lines)


def _named(patterns: str) -> list[Path]:
    base = Path("~/.ssh").expanduser()
    found = []
    for pattern in shlex.split(patterns):
        path = base / Path(pattern).expanduser()
        found += sorted(file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file())
    return found
