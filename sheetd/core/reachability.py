"""What hosts tell about each other: two names of one machine, and a loss that is rather our own network's.

Only words come of it, and that no new attempt goes to the second name of a machine. Nothing is ever ended, failed or
moved for what is concluded here: a host that vanished is presumed to run on, alone or with all the others.
"""

from __future__ import annotations

from sheetd.core.world import HostView, World

#: A dead network is noticed host by host: one that was just heard is asked only after `quiet_s`, and given a deadline.
TOGETHER_S = 30.0
#: Of fewer hosts, half may well break at once by chance.
HOSTS_MIN = 3


def close_second_names(world: World) -> None:
    """Of several names for one machine the first configured keeps it: on another, its accelerators were used twice."""
    earlier: list[HostView] = []
    for host in world.hosts.values():
        host.second_names = frozenset()
        first = next((other for other in earlier if _is_same_machine(other, host)), None)
        if first is not None:
            first.second_names |= {host.name}
            host.closed = (
                f"it is the same machine as {first.name} (machine id {_short_id(host)}): keep one name, and remove the "
                f"other with `sheetd host remove {host.name}`"
            )
        else:
            host.closed = ""
            earlier.append(host)


def _is_same_machine(one: HostView, other: HostView) -> bool:
    """Same id *and* same boot: copied machines share the id, and machines that were on before share nothing."""
    if one.facts is None or other.facts is None or not one.facts.machine_id:
        return False
    if one.may_share and other.may_share:
        return False
    return (one.facts.machine_id, one.facts.boot) == (other.facts.machine_id, other.facts.boot)


def _short_id(host: HostView) -> str:
    return "" if host.facts is None else f"{host.facts.machine_id[:8]}…"


def note_vanished(world: World, host: HostView, now_s: float) -> None:
    """`host` was up until now, and cannot be reached. Say so if too many vanished with it to be chance."""
    host.vanished_s = now_s
    gone = [
        one
        for one in world.hosts.values()
        if not one.is_up and not one.lasting and one.vanished_s is not None and now_s - one.vanished_s <= TOGETHER_S
    ]
    known = len(gone) + sum(one.is_up for one in world.hosts.values())
    if known >= HOSTS_MIN and 2 * len(gone) >= known:
        world.outage = (
            f"{len(gone)} of {known} hosts vanished within {TOGETHER_S:.0f} s: "
            "probably this machine's own network; it goes on by itself when that is back"
        )
        world.outage_hosts = {*world.outage_hosts, *(one.name for one in gone)}


def note_seen(world: World, host: HostView) -> None:
    """One of those that vanished together answers: our own network works, whatever is the matter with the others."""
    host.vanished_s = None
    if host.name in world.outage_hosts:
        world.outage, world.outage_hosts = "", set()


def why_down(world: World, host: HostView) -> str:
    """Why a host is not up, with what is known of the others."""
    why = host.why or "cannot be reached"
    return f"{why}; {world.outage}" if world.outage and host.name in world.outage_hosts else why
