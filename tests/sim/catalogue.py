"""Which fault of the catalogue is injected by what, or why by nothing. The table in README.md is made from this.

python -m tests.sim.catalogue        write the table into README.md
"""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- table begin -->", "<!-- table end -->"

#: Every id of the catalogue by section, with how many there are.
SECTIONS = {"G": 13, "S": 27, "H": 21, "D": 24, "J": 20, "M": 15}
RATE, PEOPLE, NETWORK, EVENT, JOB = "rate", "people", "network", "event", "job"
INJECTED: dict[str, str] = {
    **dict.fromkeys(("G1", "G2", "G3", "G4", "G5", "G7", "G8", "G11", "G12", "G13", "S26"), "faults.RATES"),
    **dict.fromkeys(("G9", "G10"), "Nemesis.take_sheet"),
    "S1": "People.rename_tab",
    "S3": "People.rename_header",
    "S4": "People.duplicate_header",
    "S5": "People.move_columns",
    "S6": "People.insert_above, People.delete",
    "S7": "People.sort",
    "S8": "People.meddle (between a read and its write)",
    "S9": "People.copy, People.paste_again",
    "S10": "People.clear_id, People.swap_ids",
    "S11": "People.delete",
    "S12": "People.edit, People.hand",
    "S13": "People.spoil_status",
    "S14": "People.act, People.pause, People.ask_at_a_terminal",
    "S15": "People.merge, People.merge_soon",
    **dict.fromkeys((f"S{n}" for n in range(16, 24)), "People.type_bad (BAD_VALUES)"),
    "S24": "People.half_type, People.finish",
    "S25": "People.undo",
    "S27": "People.many_rows",
    **dict.fromkeys(("H1", "H5", "H10"), "Network.refuses"),
    **dict.fromkeys(("H2", "H3", "H4", "H18"), "Nemesis.refuse"),
    "H6": "Nemesis.cut_network",
    "H7": "Network.hangs",
    "H11": "Network.drops_request, Network.drops_answer",
    "H12": "Network.delays, Machine.slowness",
    "H14": "Network.breaks_push",
    "H15": "Connection.hang_up (while jobs run; nothing of theirs holds it)",
    "H17": "Machine.rate",
    "H19": "Simulation.second_names",
    "H20": "Nemesis.replace_machine, Nemesis.swap_machine",
    "D1": "Nemesis.cut_power",
    "D2": "Nemesis.restart_container",
    "D3": "Nemesis.kill_for_memory",
    "D4": "Simulation._host_boundary",
    "D5": "Nemesis.fill_disk",
    "D7": "Machine.pid_last, Nemesis.reuse_pids",
    "D8": "Machine.end (every child is a zombie first)",
    "D10": "Cards.lose",
    "D11": "Cards.need_reset",
    "D12": "Cards.hang",
    "D13": "Cards.come_and_go",
    "D14": "Nemesis.kill_supervisor",
    "D17": "Nemesis.preempt",
    "D21": "Nemesis.clean_tmp",
    "D22": "Nemesis.log_out",
    "D23": "Nemesis.kill_user",
    **dict.fromkeys(("J1", "J2", "J3", "J4", "J5"), "jobs.Fate (crashes, rc, signal, hangs)"),
    "J6": "jobs.Fate.reports (silence)",
    "J7": "jobs.GARBAGE (NaN, infinity)",
    "J10": "jobs.Fate.term_rc",
    "J11": "jobs.Fate.children",
    "J12": "jobs.Fate.ignores_term, jobs.Fate.child_is_stubborn",
    "J13": "jobs.Fate.child_hides",
    "J14": "Machine.new_process (children inherit descriptors)",
    "J15": "jobs.GARBAGE (70,000 bytes without a newline)",
    "J16": "jobs.GARBAGE (escapes, carriage returns, broken UTF-8)",
    "J17": "jobs.GARBAGE (a forged frame)",
    "J18": "jobs.GARBAGE (a secret)",
    "M1": "Service.boundary",
    "M2": "Nemesis.daemon_power (SQLite's own promise of FULL is taken for granted)",
    "M4": "Nemesis.restore_backup",
    "M5": "Nemesis.start_twice",
    "M6": "Nemesis.second_daemon",
    "M7": "Nemesis.step_wall, Simulation.daemon_rate",
    "M8": "faults.RATES",
    "M10": "Nemesis.suspend",
    "M12": "People.type_bad, jobs.GARBAGE",
    "M14": "Nemesis.cut_all_networks",
    "M15": "Files.edit_files",
}
#: Has no name of its own in a run: it is brought about by these.
WITH_OTHERS = {"M12": "S16 to S23, J7, J15 to J17"}
REASONS: dict[str, str] = {
    "G6": "a cycle is one atomic request; nothing is half applied; tests/faults",
    "S2": "the spreadsheet is opened by key; its title is read nowhere; tests/faults",
    "H8": "no exit status of SSH is used",
    "H9": "no exit status of SSH is used",
    "H13": "sending code is taken for granted here; tests/onhost/test_code.py, tests/hosts",
    "H16": "frames are whole here; tests/onhost/test_channel.py",
    "H21": "descriptors and threads are not simulated; tests/contracts",
    "D6": "told apart from a full disk by nothing in sheetd yet",
    "D9": "no process here survives KILL; tests/onhost/test_stop.py",
    "D15": "cards are bound by UUID; tests/onhost/test_accelerators.py, test_lease.py",
    "D16": "simulated machines have no TPU; tests/onhost/test_probe.py",
    "D18": "no gangs yet",
    "D19": "network filesystems are refused at the greeting; tests/onhost",
    "D20": "network filesystems are refused by the journal; tests/journal",
    "D24": "network filesystems are refused at the greeting; tests/onhost",
    "J8": "which checkpoint is complete is judged by its name; tests/onhost/test_restart.py",
    "J9": "there is no shell between sheetd and a job",
    "J19": "each attempt has folders of its own; what a job does elsewhere is not seen",
    "J20": "each attempt has a port of its own; tests/onhost/test_lease.py",
    "M3": "a damaged journal is refused at the start; tests/journal",
    "M9": "memory and descriptors are not simulated; tests/benchmarks",
    "M11": "one version of the code runs here; tests/hosts",
    "M13": "there are no threads here",
}


def ids() -> list[str]:
    return [f"{section}{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]


def line_of(one: str) -> str:
    return f"| {one} | `{INJECTED[one]}` |" if one in INJECTED else f"| {one} | not: {REASONS[one]} |"


def table() -> str:
    lines = [
        f"{len(INJECTED)} of {len(ids())} can be injected.",
        "",
        "| fault | injected by, or why not |",
        "|---|---|",
    ]
    return "\n".join([*lines, *map(line_of, ids())])


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
