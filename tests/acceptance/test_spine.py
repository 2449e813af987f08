"""From a typed row to a coloured row, over three real hosts, while everything around it dies and moves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sheetd.core.colours import ROW_COLOURS
from tests.acceptance.conftest import sheet_section
from tests.acceptance.meddler import Meddler
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.needs import needs_rig
from tests.rig.fleet import Fleet
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

KILLS = 10
ROWS = [
    *({"token": f"good-{n}", "seconds": 1.6 + n / 4, "notes": f"note {n}"} for n in range(8)),
    {"token": "crashes", "seconds": 1, "ending": "crash-once", "notes": "comes back"},
    {"token": "fails", "seconds": 0.5, "ending": "fail", "notes": "for good"},
    {"token": "invalid", "seconds": "1,5", "notes": "a comma"},
    {"token": "$(touch x); \"'", "seconds": 0.5, "notes": "hostile"},
    {"token": '=IMPORTDATA("http://x")', "seconds": 0.5, "notes": "=1+1"},
]
EXPECTED = {row["token"]: "succeeded" for row in ROWS} | {"fails": "failed", "invalid": "invalid"}


def starts_on(fleet: Fleet) -> list[str]:
    """Every line that a job wrote when it started, on any host."""
    return [line for host in fleet for line in host.run("cat", "/root/starts").splitlines()]


@needs_rig
@pytest.mark.timeout(400)
def test_rows_end_right_while_daemon_and_sshd_die_and_people_move_rows(
    tmp_path: Path, address: Address, person: Person
) -> None:
    with Fleet(tmp_path, 3) as fleet, Meddler(address.base_url, person.meddle) as meddled:
        for host in fleet:
            host.run("touch", "/root/starts")
        project = Project(
            tmp_path / "lab",
            home="/root",
            sheet=sheet_section(meddled, address),
            daemon=f'ssh_config = "{fleet.ssh_config}"',
            hosts="".join(f'[[hosts]]\nname = "{host.alias}"\nslots = 2\n' for host in fleet),
        )
        try:
            person.type_rows(ROWS)
            for kill in range(KILLS):
                project.start()
                wait_for_progress(project, kill)
                project.kill()
                if kill == 3:
                    fleet[1].stop_sshd()
                if kill == 6:
                    fleet[1].start_sshd()
            project.start()
            wait_for(lambda: statuses(person) == EXPECTED, "every row ends as expected", within_s=90)
            # Somebody moves rows under the very last write too: what it left in others' rows is cleared with the next.
            wait_for(lambda: not stained(person), "nothing of ours stands in a remark", within_s=60)
            check_the_sheet(person, fleet)
            check_the_starts(starts_on(fleet))
            assert project.stop() == 0
        finally:
            project.close()


def wait_for_progress(project: Project, kill: int) -> None:
    """Let the daemon record at least one event more than ever before, another number of them each time."""
    before = project.events()
    process = project.process
    assert process is not None

    def moved_on() -> bool:
        assert process.poll() is None, "the daemon ended by itself"
        return project.events() > before + kill % 3

    wait_for(moved_on, f"the daemon records something before kill {kill}")


def statuses(person: Person) -> dict[str, str]:
    return {row["token"]: row["status"] for row in person.rows() if row["token"]}


def stained(person: Person) -> list[dict[str, str]]:
    """Remarks that hold cells of ours."""
    remarks = [row for row in person.rows() if not row["token"]]
    return [row for row in remarks if row["id"] or row["status"] or row["message"]]


def check_the_sheet(person: Person, fleet: Fleet) -> None:
    """What people typed is untouched, and each row shows what is its own."""
    assert Counter(person.typed_now()) == Counter(person.typed)
    rows = {row["token"]: row for row in person.rows() if row["token"]}
    ids = [row["id"] for row in rows.values()]
    assert len(set(ids)) == len(ids) == len(ROWS)
    colours = person.colours()
    for token, row in rows.items():
        red, green, blue = ROW_COLOURS[row["status"]]
        assert colours[token] == pytest.approx({"red": red, "green": green, "blue": blue}, abs=0.01)
        if row["status"] == "succeeded":
            assert row["host"] in {host.alias for host in fleet}
            assert (float(row["loss"]), float(row["loss:min"])) == (0.1, 0.1)
    assert "exit code 4" in rows["fails"]["message"]
    assert "1.5" in rows["invalid"]["message"]
    assert "restarted once" in rows["crashes"]["message"]


def check_the_starts(starts: list[str]) -> None:
    """One line for each run of each attempt: nothing was ever started twice, nothing was relaunched without need."""
    assert len(set(starts)) == len(starts)
    ran: dict[str, list[str]] = {}
    for line in starts:
        token, attempt, restart = line.rsplit(" ", 2)
        ran.setdefault(token, []).append(f"{attempt.rpartition('.')[2]}/{restart}")
    twice = {"crashes": ["1/0", "1/1"], "fails": ["1/0", "1/1"]}
    wanted = {name: twice.get(name, ["1/0"]) for name, status in EXPECTED.items() if status != "invalid"}
    assert {token: sorted(runs) for token, runs in ran.items()} == wanted
