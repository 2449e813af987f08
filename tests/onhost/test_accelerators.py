"""What the tools of vendors print, and what is made of it: free, ours, foreign, unknown or sick, and why.

Each case is a text as such a tool prints it; no tool is run here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sheetd.onhost import amd, nvidia, tpu
from sheetd.onhost.accelerators import Device, Holder, Reading, complete, described, hung, judge, packed, unpacked

IDLE_MB = 300
KIM = Holder(41877, "kim", "python3")
A100 = "NVIDIA A100-SXM4-80GB"
FIRST, SECOND = "GPU-1b5c7f0e-1111-4c2a-9d10-0a0b0c0d0e01", "GPU-1b5c7f0e-2222-4c2a-9d10-0a0b0c0d0e02"
HEALTHY = f"0, {FIRST}, {A100}, 81920, 4, 0\n1, {SECOND}, {A100}, 81920, 61440, 97\n"
APPS = f"{SECOND}, 41877, 61402, /home/kim/venv/bin/python3\n"
MIG_LIST = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-99aa0000-0000-0000-0000-000000000000)
  MIG 1g.5gb     Device  0: (UUID: MIG-aaaa1111-0000-5000-8000-000000000001)
  MIG 3g.20gb    Device  1: (UUID: MIG-aaaa1111-0000-5000-8000-000000000002)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-99aa0000-0000-0000-0000-000000000001)
"""
MIG_CARDS = """\
0, GPU-99aa0000-0000-0000-0000-000000000000, NVIDIA A100-SXM4-40GB, 40960, {used}, [N/A]
1, GPU-99aa0000-0000-0000-0000-000000000001, NVIDIA A100-SXM4-40GB, 40960, 4, [N/A]
"""
MIG_MODES = """\
GPU-99aa0000-0000-0000-0000-000000000000, Enabled, Default
GPU-99aa0000-0000-0000-0000-000000000001, Enabled, Default
"""
THREE = ("uuid", "mig.mode.current", "compute_mode")


def nvidia_reading(
    text: str,
    *,
    modes: str = "",
    columns: tuple[str, ...] = THREE,
    listed: str = "",
    running: dict[str, list[Holder]] | None = None,
) -> Reading:
    rows, complaints = nvidia.cards(text)
    return nvidia.reading(rows, complaints, nvidia.modes(modes, columns), nvidia.parts_of(listed), running or {})


def holders(text: str) -> dict[str, list[Holder]]:
    found: dict[str, list[Holder]] = {}
    for app in nvidia.apps(text):
        found.setdefault(app.uuid, []).append(Holder(app.pid, "kim", app.name.rpartition("/")[2]))
    return found


def verdicts(devices: list[Device], idle_memory_mb: int = IDLE_MB) -> dict[str, tuple[str, str]]:
    """Of two samples that say the same."""
    return {device.id: judge(device, device, idle_memory_mb) for device in devices}


# --- NVIDIA ----------------------------------------------------------------------------------------------------------


def test_f1_a_healthy_pair_is_free_and_in_use_by_somebody_with_a_name():
    said = verdicts(nvidia_reading(HEALTHY, running=holders(APPS)).devices)
    assert said[FIRST] == ("free", "free in two samples")
    assert said[SECOND] == ("foreign", "used by kim (python3, process 41877)")


def test_f1_what_is_told_of_a_card():
    device = nvidia_reading(HEALTHY, running=holders(APPS)).devices[1]
    assert described(device, ("foreign", "why")) == {
        "kind": "nvidia",
        "id": SECOND,
        "index": 1,
        "model": A100,
        "memory_mb": 81920,
        "used_mb": 61440,
        "busy_pct": 97,
        "state": "foreign",
        "why": "why",
        "holders": [{"pid": 41877, "user": "kim", "command": "python3"}],
        "attempts": [],
    }


def test_f2_an_old_drivers_words_are_no_numbers_and_its_used_memory_decides():
    reading = nvidia_reading("0, GPU-77aa, GeForce GTX 770, [Not Supported], 212, [Not Supported]\n")
    assert (reading.devices[0].memory_mb, reading.devices[0].busy_pct) == (None, None)
    assert verdicts(reading.devices)["GPU-77aa"][0] == "free"


@pytest.mark.parametrize("word", ["[N/A]", "N/A", "[Not Supported]", "[Insufficient Permissions]"])
def test_used_memory_that_cannot_be_read_is_unknown_however_that_is_said(word: str):
    reading = nvidia_reading(f"0, GPU-77aa, NVIDIA X, 24564, {word}, 0\n")
    assert verdicts(reading.devices)["GPU-77aa"] == ("unknown", "how much of its memory is in use cannot be read")


def test_f3_a_card_with_an_unknown_error_is_unknown():
    reading = nvidia_reading("0, GPU-88aa, NVIDIA RTX A5000, 24564, 3, [Unknown Error]\n")
    assert verdicts(reading.devices)["GPU-88aa"] == ("unknown", "nvidia-smi says [Unknown Error] about it")


def test_f4_a_card_in_parts_is_handed_out_in_parts_and_never_whole():
    reading = nvidia_reading(MIG_CARDS.format(used=14), modes=MIG_MODES, listed=MIG_LIST)
    said = verdicts(reading.devices)
    assert said["MIG-aaaa1111-0000-5000-8000-000000000001"][0] == "free"
    assert said["MIG-aaaa1111-0000-5000-8000-000000000002"][0] == "free"
    assert "GPU-99aa0000-0000-0000-0000-000000000000" not in said
    parts = [device for device in reading.devices if device.id.startswith("MIG-")]
    assert [device.memory_mb for device in parts] == [5 * 1024, 20 * 1024]
    assert parts[0].model == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"


def test_f4_mig_without_parts_cannot_be_used():
    said = verdicts(nvidia_reading(MIG_CARDS.format(used=14), modes=MIG_MODES, listed=MIG_LIST).devices)
    state, why = said["GPU-99aa0000-0000-0000-0000-000000000001"]
    assert state == "sick"
    assert "not partitioned" in why


def test_f4_memory_in_use_on_a_card_in_parts_makes_each_part_unknown():
    reading = nvidia_reading(MIG_CARDS.format(used=36537), modes=MIG_MODES, listed=MIG_LIST)
    said = verdicts(reading.devices)
    assert said["MIG-aaaa1111-0000-5000-8000-000000000001"][0] == "unknown"
    assert "36537 MB are in use" in said["MIG-aaaa1111-0000-5000-8000-000000000001"][1]


def test_f4_a_process_on_a_card_in_parts_may_be_on_any_of_them():
    running = {"GPU-99aa0000-0000-0000-0000-000000000000": [KIM]}
    said = verdicts(
        nvidia_reading(MIG_CARDS.format(used=900), modes=MIG_MODES, listed=MIG_LIST, running=running).devices
    )
    assert said["MIG-aaaa1111-0000-5000-8000-000000000001"] == (
        "unknown",
        "process 41877 is on its card, and nvidia-smi does not say on which MIG device",
    )


def test_f4_a_process_on_one_part_leaves_the_others_free():
    first, second = (f"MIG-aaaa1111-0000-5000-8000-00000000000{number}" for number in (1, 2))
    ours = Holder(77, "lab", "python3", "abcd.1")
    reading = nvidia_reading(MIG_CARDS.format(used=3000), modes=MIG_MODES, listed=MIG_LIST, running={first: [ours]})
    assert verdicts(reading.devices)[first] == ("ours", "held by abcd.1")
    assert verdicts(reading.devices)[second][0] == "free"


def test_f4_mig_words_of_cards_that_have_none_change_nothing():
    text = "1, GPU-9aaa, NVIDIA X, 40960, 4, 0\n2, GPU-9bbb, NVIDIA Y, 24564, 4, 0\n"
    modes = "GPU-9aaa, Disabled, Default\nGPU-9bbb, [N/A], Default\n"
    said = verdicts(nvidia_reading(text, modes=modes).devices)
    assert {state for state, _ in said.values()} == {"free"}


def test_mig_ids_of_old_drivers_are_ids_too():
    listed = "GPU 0: X (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-GPU-1/7/0)\n"
    assert nvidia.parts_of(listed) == {"GPU-1": [nvidia.Mig("MIG-GPU-1/7/0", "1g.5gb")]}


@pytest.mark.parametrize(
    "complaint",
    [
        "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error",
        "Unable to determine the device handle for GPU0000:34:00.0: Unknown Error",
        "Unable to determine the device handle for GPU 0000:34:00.0: Unknown Error",
        "Unable to determine the device handle for GPU 0000:34:00.0: GPU is lost.  Reboot the system to recover it",
    ],
)
def test_f5_a_broken_card_before_good_rows_is_sick_and_the_good_ones_are_free(complaint: str):
    reading = nvidia_reading(f"{complaint}\n0, {FIRST}, {A100}, 81920, 4, 0\n")
    said = verdicts(complete("nvidia", reading, [], hardware=2))
    assert said[FIRST][0] == "free"
    assert said["PCI-0000:34:00.0"] == ("sick", " ".join(complaint.split()))


def test_f5_a_broken_card_that_had_a_uuid_before_keeps_it():
    complaint = "Unable to determine the device handle for GPU1: 0000:34:00.0: Unknown Error"
    text = f"{complaint}\n0, {FIRST}, {A100}, 81920, 4, 0\n"
    known = nvidia_reading(HEALTHY).devices
    said = verdicts(complete("nvidia", nvidia_reading(text), known, hardware=2))
    assert set(said) == {FIRST, SECOND}
    assert said[SECOND][0] == "sick"
    assert said[SECOND][1].startswith("lost: it was there earlier in this boot (Unable to determine")


def test_a_card_that_is_gone_without_a_word_is_sick():
    known = nvidia_reading(HEALTHY).devices
    rest = nvidia_reading(HEALTHY.splitlines()[0])
    assert verdicts(complete("nvidia", rest, known, hardware=1))[SECOND] == (
        "sick",
        "lost: it was there earlier in this boot",
    )


F6 = [
    ("No devices were found", 6, "sick", "finds no card, and 2 are plugged in"),
    (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest",
        9,
        "sick",
        "the NVIDIA driver is not loaded",
    ),
    (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.173",
        18,
        "sick",
        "the driver was upgraded below the running one",
    ),
    ("Segmentation fault", -11, "sick", "nvidia-smi ends with -11"),
]


@pytest.mark.parametrize(("text", "code", "state", "why"), F6)
def test_f6_a_tool_that_fails_makes_every_known_card_sick(text: str, code: int, state: str, why: str):
    failure = nvidia.failure(code, text, 2)
    known = nvidia_reading(HEALTHY).devices
    for devices in (known, []):  # also on a machine that was never seen healthy
        said = verdicts(complete("nvidia", Reading([], [], failure), devices, hardware=2))
        assert said
        for found, words in said.values():
            assert found == state
            assert why in words


@pytest.mark.parametrize(("text", "code"), [(F6[0][0], 6), (F6[1][0], 9), ("nvidia-smi: not found", 127)])
def test_f6_a_machine_without_cards_is_one_even_with_the_tool_installed(text: str, code: int):
    assert complete("nvidia", Reading([], [], nvidia.failure(code, text, 0)), [], hardware=0) == []


def test_f6_cards_without_the_tool_are_unknown_and_no_tool_and_no_cards_is_a_cpu_host():
    missing = Reading([], [], nvidia.not_installed(1))
    said = verdicts(complete("nvidia", missing, [], hardware=1))
    assert said["nvidia-unseen"][0] == "unknown"
    assert "no nvidia-smi" in said["nvidia-unseen"][1]
    assert complete("nvidia", Reading([], [], nvidia.not_installed(0)), [], hardware=0) == []


def test_f7_odd_rows_of_processes_are_understood():
    found = nvidia.apps(
        "GPU-cc, 1884, [N/A], [Insufficient Permissions]\n"
        "GPU-cc, 99, 256, /opt/app --flag=a,b,c\n"
        "GPU-cc, 23111, 812, [Not Found]\n"
        ", 99, 256, python3\n"
        "not a row\n"
    )
    assert [(app.uuid, app.pid) for app in found] == [("GPU-cc", 1884), ("GPU-cc", 99), ("GPU-cc", 23111), ("", 99)]
    assert found[1].name == "/opt/app --flag=a,b,c"


def test_f7_a_process_without_a_card_makes_every_idle_card_unknown_unless_it_is_ours():
    text = f"0, {FIRST}, {A100}, 81920, 4, 0\n"
    loose = verdicts(nvidia_reading(text, running={"": [KIM]}).devices)
    assert loose[FIRST] == ("unknown", "process 41877 computes, and this driver does not say on which card")
    ours = verdicts(nvidia_reading(text, running={"": [Holder(77, "lab", "python3", "abcd.1")]}).devices)
    assert ours[FIRST][0] == "free"


def test_f8_memory_in_use_without_a_process_is_unknown():
    said = verdicts(nvidia_reading("0, GPU-dd, NVIDIA X, 24576, 9216, 0\n").devices)
    assert said["GPU-dd"][0] == "unknown"
    assert said["GPU-dd"][1].startswith("9216 MB are in use (idle is up to 300 MB) and no process is listed")


def test_f8_what_counts_as_idle_is_the_operators_word():
    reading = nvidia_reading("0, GPU-dd, NVIDIA X, 24576, 569, 0\n")
    assert verdicts(reading.devices)["GPU-dd"][0] == "unknown"
    assert verdicts(reading.devices, idle_memory_mb=600)["GPU-dd"][0] == "free"


def test_f9_a_name_with_a_comma_does_not_move_the_numbers():
    device = nvidia_reading("0, GPU-ee, NVIDIA Graphics Device, Rev A, 24576, 4, 0\n").devices[0]
    assert (device.model, device.memory_mb, device.used_mb) == ("NVIDIA Graphics Device, Rev A", 24576, 4)


@pytest.mark.parametrize(("times", "state"), [(1, "unknown"), (2, "unknown"), (3, "sick"), (9, "sick")])
def test_f10_a_tool_that_hangs_makes_its_cards_unknown_and_sick_in_the_end(times: int, state: str):
    known = nvidia_reading(HEALTHY).devices
    failure = hung("nvidia-smi", times, 45.0)
    said = verdicts(complete("nvidia", Reading([], [], failure), known, hardware=2))
    assert set(said) == {FIRST, SECOND}
    assert {found for found, _ in said.values()} == {state}
    assert "did not answer within 45 s" in said[FIRST][1]


def test_a_card_that_nobody_may_compute_on_is_reserved():
    said = verdicts(nvidia_reading(HEALTHY, modes=f"{FIRST}, Disabled, Prohibited\n").devices)
    assert said[FIRST][0] == "foreign"
    assert "Prohibited" in said[FIRST][1]


def test_a_card_for_one_process_at_a_time_is_free_and_noted():
    reading = nvidia_reading(HEALTHY, modes=f"{FIRST}, Disabled, Exclusive_Process\n")
    assert verdicts(reading.devices)[FIRST][0] == "free"
    assert reading.notes == ["card 0 is in Exclusive_Process mode: one process at a time"]


@pytest.mark.parametrize("word", ["Reset", "Reboot", "Drain P2P", "Drain and Reset"])
def test_a_card_that_asks_for_a_repair_is_sick_whatever_else_it_says(word: str):
    columns = nvidia.MODES[0]
    said = verdicts(nvidia_reading(HEALTHY, modes=f"{FIRST}, Disabled, Default, 0, {word}\n", columns=columns).devices)
    assert said[FIRST][0] == "sick"


def test_no_repair_and_memory_errors_of_the_past_are_noted_and_no_illness():
    modes = f"{FIRST}, Disabled, Default, 3, None\n"
    reading = nvidia_reading(HEALTHY, modes=modes, columns=nvidia.MODES[0])
    assert verdicts(reading.devices)[FIRST][0] == "free"
    assert reading.notes == ["card 0 has had 3 uncorrectable memory errors since the driver was loaded"]


# --- two samples -----------------------------------------------------------------------------------------------------


def test_free_is_what_two_samples_agree_on():
    idle = Device("nvidia", "GPU-1", 0, used_mb=4, busy_pct=0)
    busy = idle._replace(holders=(KIM,))
    assert judge(idle, idle, IDLE_MB)[0] == "free"
    assert judge(idle, None, IDLE_MB)[0] == "unknown"
    assert judge(idle, busy, IDLE_MB)[0] == "unknown"
    assert judge(busy, idle, IDLE_MB)[0] == "foreign"
    assert judge(idle, idle._replace(trouble=("unknown", "hung")), IDLE_MB)[0] == "unknown"


def test_a_card_that_computes_without_a_process_is_unknown():
    device = Device("nvidia", "GPU-1", 0, used_mb=4, busy_pct=60)
    assert judge(device, device, IDLE_MB) == ("unknown", "it is 60 % busy, and no process is listed")


def test_ours_is_only_what_nobody_else_holds():
    ours = Holder(77, "lab", "python3", "abcd.1")
    device = Device("nvidia", "GPU-1", 0, used_mb=4000, holders=(ours,))
    assert judge(device, device, IDLE_MB) == ("ours", "held by abcd.1")
    shared = device._replace(holders=(ours, KIM, KIM))
    assert judge(shared, shared, IDLE_MB) == ("foreign", "used by kim (python3, process 41877) and 1 more")


def test_a_lease_holds_an_accelerator_that_nobody_uses_yet():
    idle = Device("nvidia", "GPU-1", 0, used_mb=4)
    mine = idle._replace(leased_by=("abcd.1",))
    assert judge(mine, mine, IDLE_MB) == ("ours", "leased by abcd.1")
    others = idle._replace(leased_by=())
    assert judge(others, others, IDLE_MB) == ("foreign", "leased by another sheetd on this host")


def test_a_device_is_kept_in_a_file_as_it_is():
    device = Device("nvidia", "GPU-1", 0, "X", 1, 2, 3, ("sick", "why"), (KIM,), ("abcd.1",))
    assert unpacked(json.loads(json.dumps(packed(device)))) == device
    assert unpacked(json.loads(json.dumps(packed(device._replace(trouble=None, leased_by=None))))).trouble is None


def test_what_processes_and_tools_call_themselves_is_cut_and_made_printable():
    device = Device("nvidia", "GPU-1", 0, "X\x1b[31m\n" + "y" * 5000)
    assert described(device, ("free", "a\u202eb"))["model"].startswith("X [31m yyy")
    assert len(described(device, ("free", ""))["model"]) <= 200
    assert described(device, ("free", "a\u202eb"))["why"] == "a b"


# --- AMD -------------------------------------------------------------------------------------------------------------

AMD_CARDS = """\
WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

{"card0": {"GPU use (%)": "0", "VRAM Total Memory (B)": "206158430208", "VRAM Total Used Memory (B)": "297766912"},
 "card1": {"GPU use (%)": "97", "VRAM Total Memory (B)": "206158430208", "VRAM Total Used Memory (B)": "151397597184"}}
"""
AMD_PIDS = '{"system": {"PID28411": "python3, 1, 2353860608, 11011, 0"}}'


def amd_verdicts(text: str, running: list[Holder]) -> dict[str, tuple[str, str]]:
    cards, words = amd.devices(text)
    return verdicts(amd.reading(cards, words, running, IDLE_MB).devices)


def test_amd_an_idle_and_a_busy_card():
    said = amd_verdicts(AMD_CARDS, [Holder(28411, "kim", "python3")])
    assert said["AMD-card0"][0] == "free"
    assert said["AMD-card1"] == ("foreign", "used by kim (python3, process 28411)")
    assert amd.pids(AMD_PIDS) == [28411]


def test_amd_a_low_power_warning_is_no_trouble_and_another_one_is_noted():
    assert amd.devices(AMD_CARDS)[1] == []
    assert amd.devices("WARNING: something else\n" + AMD_CARDS)[1] == ["WARNING: something else"]


def test_amd_a_busy_card_is_ours_when_all_that_computes_is():
    said = amd_verdicts(AMD_CARDS, [Holder(28411, "lab", "python3", "abcd.1")])
    assert said["AMD-card1"] == ("ours", "held by abcd.1")


def test_amd_nobody_computing_is_said_without_json():
    assert amd.pids("WARNING: No JSON data to report\n") == []
    assert amd_verdicts(AMD_CARDS, [])["AMD-card1"][0] == "unknown"


def test_amd_what_cannot_be_read_is_unknown():
    odd = {"card0": {"GPU use (%)": "N/A", "Memory Activity": "N/A", "Unique ID": "N/A"}}
    assert amd_verdicts(json.dumps(odd), [])["AMD-card0"][0] == "unknown"


@pytest.mark.parametrize(
    ("card", "identity"),
    [
        ({"Unique ID": "0x9246cdeeb5e0e1b9", "PCI Bus": "0000:03:00.0"}, "GPU-9246cdeeb5e0e1b9"),
        ({"Unique ID": "N/A", "PCI Bus": "0000:03:00.0"}, "PCI-0000:03:00.0"),
        ({"Unique ID": "0x0"}, "AMD-card3"),
        ({}, "AMD-card3"),
    ],
)
def test_amd_a_card_is_known_by_the_best_that_it_says(card: dict[str, str], identity: str):
    assert amd.devices(json.dumps({"card3": card}))[0][0].id == identity


def test_amd_a_tool_that_fails_counts_only_where_there_are_cards():
    assert amd.failure(1, "ERROR: driver not initialized", 1) == (
        "sick",
        "rocm-smi ends with 1: ERROR: driver not initialized",
    )
    assert amd.failure(1, "ERROR: driver not initialized", 0) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"card0": 7}', "WARNING: x\n{broken"])
def test_amd_text_that_is_no_answer_is_no_card(text: str):
    assert amd.devices(text)[0] == []


# --- TPU -------------------------------------------------------------------------------------------------------------

CHIPS = [tpu.Chip(f"/dev/accel{n}", f"0000:00:0{4 + n}.0", "0x005e", "") for n in range(4)]


def tpu_verdicts(lines: str, *, saw_all: bool, trouble: str = "") -> dict[str, tuple[str, str]]:
    found, whole = tpu.table(lines + ("done\n" if saw_all else "nobody\n"))
    open_by = {path: [Holder(pid, f"u{uid}", command) for pid, uid, command in held] for path, held in found.items()}
    return verdicts(tpu.reading(CHIPS, tpu.Scan(open_by, whole, trouble)).devices)


def test_tpu_nobody_seen_with_roots_eyes_is_free():
    said = tpu_verdicts("", saw_all=True)
    assert list(said) == [f"TPU-0000:00:0{4 + n}.0" for n in range(4)]
    assert {state for state, _ in said.values()} == {"free"}


def test_tpu_nobody_seen_without_roots_eyes_is_unknown():
    state, why = tpu_verdicts("", saw_all=False, trouble="sudo: a password is required")["TPU-0000:00:04.0"]
    assert state == "unknown"
    assert why.startswith("whether another user holds it cannot be seen (sudo: a password is required)")


def test_tpu_a_holder_is_a_holder_whoever_looked():
    for saw_all in (True, False):
        said = tpu_verdicts("/dev/accel0\t4711\t1001\tpython3\n", saw_all=saw_all)
        assert said["TPU-0000:00:04.0"] == ("foreign", "used by u1001 (python3, process 4711)")


def test_tpu_generations_are_told_by_the_kernel_alone():
    v2 = tpu.device_of(tpu.Chip("/dev/accel0", "0000:00:04.0", "0x0027", "0x004e"), 0)
    v5e = tpu.device_of(tpu.Chip("/dev/vfio/3", "0000:00:05.0", "0x0063", ""), 1)
    unknown = tpu.device_of(tpu.Chip("/dev/accel7", "", "", ""), 2)
    assert [(one.model, one.memory_mb) for one in (v2, v5e)] == [("TPU v2", 16384), ("TPU v5e", 16384)]
    assert (unknown.model, unknown.id) == ("TPU", "TPU-accel7")


def test_tpu_a_scan_that_was_cut_short_saw_not_everything():
    assert tpu.table("/dev/accel0\t1\t2\tx\ndone\n")[1]
    assert not tpu.table("/dev/accel0\t1\t2\tx\n")[1]
    assert not tpu.table("")[1]


def noise() -> list[Any]:
    return ["", "\n\n", "\x00\xff", "," * 400, "GPU-", "0, GPU-x", "MIG 1g.5gb", "{" * 2000, "PID", "\t" * 9]


@pytest.mark.parametrize("text", noise())
def test_noise_is_never_free_and_never_an_exception(text: str):
    assert not [state for state, _ in verdicts(nvidia_reading(text).devices).values() if state == "free"]
    assert nvidia.parts_of(text) == {}
    assert nvidia.modes(text, THREE) == {}
    nvidia.apps(text)
    amd.devices(text)
    amd.pids(text)
    tpu.table(text)
