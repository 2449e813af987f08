"""The journal's promises: durable, complete, one writer, and clear about what is wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sheetd.core.events import AttemptAdopted, AttemptEnded, Event, LaunchIntended, RowVanished, TakeoverBegun
from sheetd.core.model import AttemptId, ExperimentId, HostName, Proof, Reason
from sheetd.errors import JournalError
from sheetd.journal import SqliteJournal, lock, migrations, sqlite
from tests.journal.samples import IN_VERSION_1, ONE_OF_EACH

FIXTURES = Path(__file__).parent


def vanished(number: int) -> Event:
    return RowVanished(experiment=ExperimentId(f"row{number:04}"))


def edit(folder: Path, *statements: str) -> None:
    """Change the journal behind sheetd's back."""
    connection = sqlite3.connect(folder / sqlite.JOURNAL_NAME)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_what_was_appended_is_loaded_in_order_by_the_next_daemon(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append(ONE_OF_EACH[:3])
        journal.append([])
        journal.append(ONE_OF_EACH[3:])
    with SqliteJournal(tmp_path) as journal:
        assert tuple(journal.load()) == ONE_OF_EACH


def test_a_takeover_raises_the_epoch_for_good(tmp_path: Path) -> None:
    begun = TakeoverBegun(epoch=41, former_owner="another", former_epoch=40, former_where="elsewhere")
    with SqliteJournal(tmp_path) as journal:
        journal.append([begun])
        assert journal.epoch == 41
    with SqliteJournal(tmp_path) as journal:
        assert journal.epoch == 42


def test_a_folder_keeps_its_name_and_a_copy_of_it_has_another(tmp_path: Path) -> None:
    owners = []
    for _ in range(2):
        with SqliteJournal(tmp_path / "state") as journal:
            owners.append(journal.owner)
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    with SqliteJournal(tmp_path / "copy") as journal:
        owners.append(journal.owner)
    assert owners[0] == owners[1] != owners[2]


def test_each_daemon_has_a_larger_epoch(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        with SqliteJournal(tmp_path) as journal:
            epochs.append(journal.epoch)
    assert epochs == [1, 2, 3]


def test_a_second_daemon_is_refused_and_told_who_holds_the_journal(tmp_path: Path) -> None:
    myself = f"process {os.getpid()} on {socket.gethostname()}"
    with SqliteJournal(tmp_path), pytest.raises(JournalError, match=re.escape(myself)):
        SqliteJournal(tmp_path)
    with SqliteJournal(tmp_path) as successor:
        assert successor.epoch == 2, "the refused daemon must not have raised the epoch"


def test_a_batch_is_recorded_whole_or_not_at_all(tmp_path: Path) -> None:
    unreadable = RowVanished(experiment=7)  # type: ignore[arg-type]
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1)])
        with pytest.raises(JournalError):
            journal.append([vanished(2), unreadable])
        journal.append([vanished(3)])
        assert list(journal.load()) == [vanished(1), vanished(3)]


def test_events_of_several_threads_are_all_there_once(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        threads = [
            threading.Thread(target=lambda n=n: [journal.append([vanished(n * 100 + i)]) for i in range(20)])  # type: ignore[misc]
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(repr, journal.load())) == sorted(
            repr(vanished(n * 100 + i)) for n in range(4) for i in range(20)
        )


def test_a_full_disk_is_named_with_what_to_do_and_passes(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1)])
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(JournalError, match=r"disk that holds .*journal\.sqlite is full.*Free some space"):
            journal.append([vanished(n) for n in range(2, 500)])
        journal._connection.execute("PRAGMA max_page_count=1000000")
        journal.append([vanished(2)])
        assert list(journal.load()) == [vanished(1), vanished(2)]


def test_the_folder_is_private(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"state folder .* cannot be used"):
        SqliteJournal(tmp_path / "file" / "state")


# --- damage -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_journal_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / sqlite.JOURNAL_NAME).write_bytes(b"these are not the bytes you are looking for" * 100)
    with pytest.raises(JournalError, match=r"journal\.sqlite is damaged .*safe place first"):
        SqliteJournal(tmp_path)
    assert lock.holder_of(tmp_path) is None, "a daemon that could not start must not hold the folder"


def test_a_torn_page_is_found_at_the_start(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(n) for n in range(500)])
    path = tmp_path / sqlite.JOURNAL_NAME
    data = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(JournalError, match="damaged"):
        SqliteJournal(tmp_path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM events WHERE number = 2", "event 2 is missing"),
        (
            "UPDATE events SET text = replace(text, 'row0002', 'row0003') WHERE number = 2",
            "event 2 is not what was written",
        ),
    ],
    ids=["an event is gone", "an event was changed"],
)
def test_damage_inside_the_events_is_found_when_they_are_loaded(tmp_path: Path, damage: str, says: str) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1), vanished(2), vanished(3)])
    edit(tmp_path, damage)
    with SqliteJournal(tmp_path) as journal, pytest.raises(JournalError, match=says):
        journal.load()


# --- what the schema itself refuses -------------------------------------------------------------------------------

LATER = AttemptId("k7p2xw.2")


def intent(attempt: str) -> Event:
    return LaunchIntended(attempt=AttemptId(attempt), host=HostName("gpu1"), slots=(), nonce="ab")


def end(attempt: str, proof: Proof = Proof.EXIT_RECORD) -> Event:
    return AttemptEnded(attempt=AttemptId(attempt), reason=Reason.HOST_LOST, proof=proof)


@pytest.mark.parametrize("proof", [proof for proof in Proof if proof is not Proof.SUCCEEDED_BY_ANOTHER])
def test_an_attempt_may_follow_one_that_is_proven_to_be_over(tmp_path: Path, proof: Proof) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([intent("k7p2xw.1"), end("k7p2xw.1", proof), intent("k7p2xw.2")])
        journal.append([end("k7p2xw.2", proof), intent("k7p2xw.3")])
        assert len(journal.load()) == 5


@pytest.mark.parametrize(
    "events",
    [
        [intent("k7p2xw.1"), intent("k7p2xw.2")],
        [intent("k7p2xw.1"), intent("m3q9az.1"), end("m3q9az.1"), intent("k7p2xw.2")],
        [intent("k7p2xw.1"), end("k7p2xw.1"), intent("k7p2xw.2"), intent("k7p2xw.3")],
        [intent("k7p2xw.1"), end("k7p2xw.1"), intent("k7p2xw.1")],
        [intent("k7p2xw.1"), end("k7p2xw.1"), intent("k7p2xw.3")],
        [intent("k7p2xw.2")],
        [intent("k7p2xw.1"), end("k7p2xw.1"), end("k7p2xw.1")],
        [end("k7p2xw.1")],
    ],
    ids=[
        "the one before is not over",
        "only another experiment's is over",
        "the newest is not over",
        "the same twice",
        "a number is left out",
        "a second without a first",
        "one end twice",
        "an end of what was never intended",
    ],
)
def test_no_daemon_can_record_an_attempt_whose_predecessor_may_live(tmp_path: Path, events: list[Event]) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append(events[:-1])
        before = len(journal.load())
        with pytest.raises(JournalError, match=r"proof|intended"):
            journal.append(events[-1:])
        assert len(journal.load()) == before


def test_an_end_without_a_proof_cannot_be_written_even_behind_our_back(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([intent("k7p2xw.1")])
    forged = """INSERT INTO events VALUES (2, 1, 0, 1, 'AttemptEnded', 'k7p2xw', 0,
        '{"attempt":"k7p2xw.1","reason":"host_lost","proof":"it was silent for long","kind":"AttemptEnded"}')"""
    with pytest.raises(sqlite3.IntegrityError, match="proof"):
        edit(tmp_path, forged)


def test_what_an_older_sheetd_recorded_is_held_to_the_same_rule(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / sqlite.JOURNAL_NAME)
    connection.executescript((FIXTURES / "journal_v1.sql").read_text(encoding="utf-8"))
    connection.close()
    with SqliteJournal(tmp_path) as journal:
        journal.append([intent(LATER)])
        with pytest.raises(JournalError, match="proof"):
            journal.append([intent("k7p2xw.3")])


# --- other versions -----------------------------------------------------------------------------------------------


def test_the_journal_of_version_1_loads_for_ever(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / sqlite.JOURNAL_NAME)
    connection.executescript((FIXTURES / "journal_v1.sql").read_text(encoding="utf-8"))
    connection.close()
    with SqliteJournal(tmp_path) as journal:
        assert tuple(journal.load()) == ONE_OF_EACH[:IN_VERSION_1]
        assert journal.epoch == 2
        journal.append([vanished(1)])
        assert journal.load()[-1] == vanished(1)


def test_a_journal_of_a_newer_sheetd_is_refused_and_left_alone(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1)])
    edit(tmp_path, "INSERT INTO migrations VALUES (999, 'from the future', '99.0', 0)")
    with pytest.raises(JournalError, match=r"newer sheetd \(99\.0"):
        SqliteJournal(tmp_path)
    edit(tmp_path, "DELETE FROM migrations WHERE number = 999")
    with SqliteJournal(tmp_path) as journal:
        assert journal.epoch == 2


def test_an_event_of_a_newer_sheetd_is_refused_with_its_place(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1)])
    edit(tmp_path, "UPDATE events SET version = 2")
    with SqliteJournal(tmp_path) as journal, pytest.raises(JournalError, match=r"event 1: .*newer sheetd"):
        journal.load()


def test_a_migration_that_fails_leaves_no_half_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([vanished(1)])
    good = migrations.MIGRATIONS
    number = good[-1].number + 1
    broken = migrations.Migration(number, "broken", ("CREATE TABLE extra (a)", "CREATE TABLE events (a)"))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*good, broken))
    with pytest.raises(JournalError, match="events"):
        SqliteJournal(tmp_path)
    mended = migrations.Migration(number, "mended", ("CREATE TABLE extra (a)",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*good, mended))
    with SqliteJournal(tmp_path) as journal:
        assert list(journal.load()) == [vanished(1)]


# --- where it may be ----------------------------------------------------------------------------------------------

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/me/local\\040disk xfs rw 0 0
me@gpu1: /mnt/gpu1 fuse.sshfs rw 0 0
tmpfs /mnt/gpu1/over tmpfs rw 0 0
C:\\134 /mnt/c 9p rw 0 0
first /twice ext4 rw 0 0
second /twice nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/sheetd", "ext4"),
        ("/home/me/state", "nfs4"),
        ("/home/me/local disk/state", "xfs"),
        ("/homeless", "ext4"),
        ("/mnt/gpu1", "fuse.sshfs"),
        ("/mnt/gpu1/over/state", "tmpfs"),
        ("/mnt/c/state", "9p"),
        ("/twice/state", "nfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert lock.file_system(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(lock, "MOUNTS", mounts)
    with pytest.raises(JournalError, match=rf"network file system \({kind}\).*local disk"):
        SqliteJournal(tmp_path / "state")


def adopted(attempt: str) -> Event:
    return replace(
        next(event for event in ONE_OF_EACH if isinstance(event, AttemptAdopted)), attempt=AttemptId(attempt)
    )


def test_an_attempt_may_follow_one_that_was_adopted_and_has_ended(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([intent("k7p2xw.1"), adopted("k7p2xw.4"), end("k7p2xw.4"), intent("k7p2xw.5")])
        with pytest.raises(JournalError, match="only the newest attempt can end"):
            journal.append([end("k7p2xw.4")])


def test_no_attempt_follows_one_that_was_adopted_and_may_live(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append([intent("k7p2xw.1"), end("k7p2xw.1"), adopted("k7p2xw.2")])
        with pytest.raises(JournalError, match="without proof"):
            journal.append([intent("k7p2xw.3")])
