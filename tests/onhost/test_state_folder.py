"""The state folder is ours alone, says how to mend it where it is not, and keeps no agents that nobody uses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sheetd.onhost.collecting import UNUSED_DAYS, collect_agents
from tests.onhost.link import Link, bundle, until

A = "abcd1.1"


def refusal(root: Path) -> str:
    """What stage 0 says of this root."""
    link = Link(root)
    try:
        error = link.boot_up()["error"]
    finally:
        link.close()
    assert error["code"] == "bad_root"
    message: str = error["message"]
    assert str(root) in message
    return message


def test_a_new_root_is_made_for_us_alone(tmp_path: Path):
    link = Link(tmp_path / "new" / "root")
    link.boot_up()
    link.hello()
    assert (tmp_path / "new" / "root").stat().st_mode & 0o777 == 0o700
    link.close()


def test_a_root_that_others_can_read_is_closed_to_them(root: Path):
    root.chmod(0o755)
    link = Link(root)
    link.boot_up()
    link.hello()
    assert root.stat().st_mode & 0o777 == 0o700
    link.close()


def test_a_link_in_the_roots_place_is_refused(tmp_path: Path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    message = refusal(tmp_path / "link")
    assert f"it leads to {tmp_path}/real: name that folder as `root`, or rm {tmp_path}/link" in message
    assert list((tmp_path / "real").iterdir()) == []


def test_daemons_that_share_a_root_have_folders_of_their_own_below_it_for_us_alone(root: Path):
    links = [Link(root, folder=folder) for folder in ("", "projects/vision", "projects/speech")]
    for link in links:
        link.boot_up()
    assert [Path(link.hello()["root"]) for link in links] == [root, root / "projects/vision", root / "projects/speech"]
    for link in links:
        link.close()
    assert {path.stat().st_mode & 0o777 for path in (root / "projects", *(root / "projects").iterdir())} == {0o700}


def test_a_folder_below_the_usual_root_which_only_the_host_knows(tmp_path: Path):
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    roots = []
    for folder in ("", "projects/vision"):
        link = Link(tmp_path, env=env, folder=folder)
        link.boot_up(names_root=False)
        roots.append(Path(link.hello()["root"]))
        link.close()
    assert roots[0].parent == tmp_path / "sheetd"
    assert roots[1] == roots[0] / "projects/vision"


def test_a_link_on_the_way_to_a_folder_below_the_root_is_refused(root: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (root / "projects").symlink_to(tmp_path / "elsewhere")
    link = Link(root, folder="projects/vision")
    error = link.boot_up()["error"]
    link.close()
    assert error["code"] == "bad_root"
    assert "symbolic link" in error["message"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("folder", ["..", "a/../b", "/etc", "a//b", "a/", "A b", "x\n", 7, None])
def test_a_folder_below_the_root_is_a_path_of_plain_names(root: Path, folder: object):
    link = Link(root, folder=folder)
    assert link.boot_up()["error"]["code"] == "bad_request"
    link.close()
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_root_that_others_may_write_to_is_refused_with_the_command_that_mends_it(root: Path, mode: int):
    root.chmod(mode)
    assert f"chmod 700 {root}" in refusal(root)
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_root_is_refused(root: Path):
    os.chown(root, 12345, 12345)
    message = refusal(root)
    assert "belongs to user 12345" in message
    assert f"sudo chown -R {os.geteuid()} {root}" in message


def test_a_root_that_anybody_can_exchange_is_refused(tmp_path: Path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "root").mkdir(mode=0o700)
    assert f"chmod o-w {tmp_path}/open" in refusal(tmp_path / "open" / "root")


def test_a_file_in_the_roots_place_is_refused(tmp_path: Path):
    (tmp_path / "root").write_text("")
    assert "cannot open" in refusal(tmp_path / "root")


# --- agents of several versions --------------------------------------------------------------------------------------


def other_version() -> bytes:
    files: dict[str, str] = json.loads(bundle())
    files["agent.py"] += "# another version\n"
    return json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def connected(root: Path, blob: bytes) -> Link:
    link = Link(root)
    link.boot_up(blob=blob)
    link.hello()
    return link


def test_agents_of_two_versions_serve_one_root_side_by_side(root: Path, tmp_path: Path):
    old, new = connected(root, other_version()), connected(root, bundle())
    assert len(list((root / "agents").iterdir())) == 2
    old.launch(A, ["sleep", "60"])
    assert new.launch(A, ["sleep", "60"])["pid"] == old.state(A)["pid"]
    new.launch("abcd1.2", ["sh", "-c", f"echo x >> {tmp_path}/runs; exit 1"], restarts={"max": 1, "backoff_s": 0})
    assert old.until_ended("abcd1.2")["restarts"] == 1
    new.stop(A, grace_s=1)
    assert old.until_ended(A)["exit"]["stopped"]
    for link in (old, new):
        assert link.close() == 0


def age(path: Path, days: float = UNUSED_DAYS + 1) -> None:
    long_ago = time.time() - days * 86400
    os.utime(path, (long_ago, long_ago))


def test_an_agent_that_nobody_used_for_a_month_is_removed_by_the_next(root: Path):
    for name, days in (("0" * 64, UNUSED_DAYS + 1), ("1" * 64, UNUSED_DAYS - 1)):
        (root / "agents" / name / "onhost").mkdir(parents=True)
        age(root / "agents" / name, days)
    link = connected(root, bundle())
    until("it is removed", lambda: not (root / "agents" / ("0" * 64)).exists())
    assert (root / "agents" / ("1" * 64)).exists()
    assert (root / "agents" / hashlib.sha256(bundle()).hexdigest()).exists()
    link.close()


def test_an_agent_whose_supervisor_lives_is_not_removed_however_old(root: Path):
    old = connected(root, other_version())
    old.launch(A, ["sleep", "60"])
    old.close()
    place = root / "agents" / hashlib.sha256(other_version()).hexdigest()
    age(place)
    new = connected(root, bundle())
    new.state(A)
    assert place.exists()
    new.stop(A, grace_s=1)
    new.until_ended(A)
    until("its supervisor is gone", lambda: collect_agents(str(root), "none", time.time()) == [place.name])
    new.close()


def test_an_agent_that_a_job_still_imports_from_is_not_removed(tmp_path: Path):
    place = tmp_path / "agents" / ("0" * 64)
    place.mkdir(parents=True)
    age(place)
    job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"PYTHONPATH": f"{place}/lib"})
    until("it is executed", lambda: str(place).encode() in Path(f"/proc/{job.pid}/environ").read_bytes())
    assert collect_agents(str(tmp_path), "none") == []
    job.kill()
    job.communicate()
    assert collect_agents(str(tmp_path), "none") == [place.name]
