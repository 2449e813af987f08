"""A person's sheetd.toml keeps every byte that is not the entry's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sheetd.errors import ConfigError
from sheetd.tomledit import add_host, host_entry, remove_host

MINE = """\
# my lab
[sheet]   # where we look
poll_s = 2.0

# the old box
[[hosts]]
name = "gpu1"   # under the desk
labels = [
  "a100",
]

# shared with the other group
[[hosts]]
name = "gpu2"

[hosts.env]
LAB = "two"

# third
[[hosts]]
name = "gpu3"
# nothing below
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sheetd.toml"
    path.write_text(MINE)
    return path


def test_an_entry_goes_to_the_end(file: Path) -> None:
    add_host(file, {"name": "gpu4", "slots": 2, "labels": ("a100", "big")})
    assert file.read_text() == MINE + '\n[[hosts]]\nname = "gpu4"\nslots = 2\nlabels = ["a100", "big"]\n'


def test_a_file_without_a_last_newline_and_one_with_other_line_ends_stay_in_style(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf[[hosts]]\r\nname = "a"')
    add_host(file, {"name": "b"})
    assert file.read_bytes() == b'\xef\xbb\xbf[[hosts]]\r\nname = "a"\r\n\r\n[[hosts]]\r\nname = "b"\r\n'


def test_the_first_entry_of_an_empty_file_stands_at_its_top(file: Path) -> None:
    file.write_text("")
    add_host(file, {"name": "b"})
    assert file.read_text() == host_entry({"name": "b"})


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("gpu1", '[[hosts]]\nname = "gpu1"   # under the desk\nlabels = [\n  "a100",\n]\n'),
        ("gpu2", '[[hosts]]\nname = "gpu2"\n\n[hosts.env]\nLAB = "two"\n'),
        ("gpu3", '[[hosts]]\nname = "gpu3"\n'),
    ],
)
def test_removing_takes_the_entry_and_no_comment_of_others(file: Path, name: str, gone: str) -> None:
    remove_host(file, name)
    assert file.read_text() == MINE.replace(gone, "")


def test_adding_and_removing_leaves_nothing(file: Path) -> None:
    add_host(file, {"name": "gpu4"})
    remove_host(file, "gpu4")
    assert file.read_text() == MINE


@pytest.mark.parametrize(
    "text",
    [
        'hosts = [{name = "a"}, {name = "b"}]\n',
        'note = """\n[[hosts]]\n"""\n[[hosts]]\nname = "a"\n[[hosts]]\nname = "b"\n',
    ],
)
def test_what_cannot_be_cut_out_safely_is_left_to_the_person(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"nothing was changed\. Remove the entry of b yourself"):
        remove_host(file, "b")
    assert file.read_text() == text


def test_hosts_in_one_line_are_added_to_by_the_person_who_is_told_what_to_type(file: Path) -> None:
    file.write_text('hosts = [{name = "a"}]\n')
    with pytest.raises(ConfigError, match=r'yourself:\n\[\[hosts\]\]\nname = "b"'):
        add_host(file, {"name": "b"})


def test_the_last_host_and_an_unknown_one_are_not_removed(file: Path) -> None:
    with pytest.raises(ConfigError, match="no host gpu9: it has gpu1, gpu2, gpu3"):
        remove_host(file, "gpu9")
    file.write_text(host_entry({"name": "a"}))
    with pytest.raises(ConfigError, match="add another first"):
        remove_host(file, "a")


def test_a_link_stays_a_link_and_rights_stay_as_they_are(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    add_host(link, {"name": "gpu4"})
    assert link.is_symlink()
    assert "gpu4" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.toml", "sheetd.toml"]


def test_text_is_quoted(file: Path) -> None:
    add_host(file, {"name": "gpu4", "root": '/data/"mine"\\é'})
    assert 'root = "/data/\\"mine\\"\\\\é"' in file.read_text()
