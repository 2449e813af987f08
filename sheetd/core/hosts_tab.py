"""The tab of hosts: what each row should show, and what a word in its action column brings about.

The words are those of `hostwords` and `views`, which `sheetd hosts` and waiting rows use too, so they cannot disagree.
Only the daemon's columns are written, by position in the grid that was just read; whatever lands beside a wrong host
because people sorted in that moment is put right after the next read.

A word in an action cell is obeyed once, as in the rows of experiments: it stays where it is, and counts again when the
cell has held another. It is only obeyed when an answer that shows our last write has shown it, and the tab of
experiments, read after that, was no older version. For that the tab has a claim, like that of the experiments: it comes
with every write. Where another daemon has it, from which we took nothing over, the tab is another's.

Weak: a row is placed by position. Where somebody inserts one in that very moment, and the daemon dies before it hears
so, a word that stood there for another host is taken for its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sheetd.core import events as ev
from sheetd.core.colours import HOST_COLOURS, Dress
from sheetd.core.grid import Cell, CellUpdate, CellValue, Claim, ClaimChange, Grid, SheetWrite
from sheetd.core.headings import HOSTS_TAB, headings_by
from sheetd.core.hosts_grid import HEADERS, WRITTEN, HostLine, HostsTab, HostsView
from sheetd.core.hostwords import state_of
from sheetd.core.model import AttemptId, HostName, SlotName
from sheetd.core.ownership import may_begin
from sheetd.core.plan import Now
from sheetd.core.quarantine import HOST_ACTIONS, obey
from sheetd.core.text import cell_text
from sheetd.core.times import wall_text
from sheetd.core.views import held_slots, hosts_view
from sheetd.core.why import OF_HOST, Block
from sheetd.core.world import HostView, World

#: Who it was, as far as a sheet tells.
BY = "the tab of hosts"
LIST_MAX = 200
CHOICES = f"choose {', '.join(HOST_ACTIONS[:-1])} or {HOST_ACTIONS[-1]}"


# --- what people ask for -----------------------------------------------------------------------------------------


def decide_host_words(world: World, now: Now) -> Iterator[ev.Event]:
    """The words in the action column that are new, each obeyed once."""
    del now
    tab = world.hosts_tab
    if tab is None or not may_begin(world) or not _is_certain(world, tab):
        return
    for line in _lines_of_hosts(world, tab.view):
        if _is_cleared(world, line):
            yield ev.HostActionCleared(host=line.host)
        if is_new_word(world, line):
            is_chosen = line.host not in tab.unchosen
            yield ev.HostActionConsumed(host=line.host, action=line.action, obeyed=is_chosen)
            if is_chosen:
                yield from obey(world, line.host, line.action, BY)


def needs_proof(world: World, view: HostsView) -> bool:
    """Whether a word was chosen or cleared, by a view that may be an old one: a write of ours will tell."""
    if view.is_proven or "action" not in view.columns:
        return False
    return any(is_new_word(world, line) or _is_cleared(world, line) for line in _lines_of_hosts(world, view))


def _is_cleared(world: World, line: HostLine) -> bool:
    """Whether the consumed word is gone from the row of the host."""
    consumed = world.state.host_words.get(line.host)
    return consumed is not None and line.action != consumed.action


def _is_certain(world: World, tab: HostsTab) -> bool:
    """Whether what people chose is seen as it is, and in no older version of the spreadsheet."""
    view, sheet = tab.view, world.sheet
    if view is None or not view.is_proven or view.problem or tab.must_read or tab.doubts_all:
        return False
    if sheet is None or world.must_read:
        return False
    return "action" in view.columns and sheet.read_at_s > view.read_at_s and world.old_answers == 0


def is_new_word(world: World, line: HostLine) -> bool:
    """Whether a word of ours stands there that was not consumed."""
    consumed = world.state.host_words.get(line.host)
    return line.action in HOST_ACTIONS and (consumed is None or consumed.action != line.action)


def _lines_of_hosts(world: World, view: HostsView | None) -> Iterator[HostLine]:
    """The row of each configured host. Of one that has two nobody can tell which is meant: neither is asked.

    A person has copied it, or a write of ours met rows that had moved, or an answer that was cut short.
    """
    if view is not None:
        counts = Counter(line.host for line in view.lines)
        yield from (view.by_host[name] for name in world.hosts if counts[name] == 1)


# --- what the rows show ------------------------------------------------------------------------------------------


def write_of(world: World, tab: HostsTab, view: HostsView, now: Now) -> SheetWrite | None:
    """Everything that differs from what the rows should show, or None. In an empty tab, the header too."""
    columns = view.columns or {name: position for position, name in enumerate(HEADERS)}
    updates: list[CellUpdate] = []
    if not view.columns:
        updates += [CellUpdate(row=0, column=position, value=name) for name, position in columns.items()]
    wanted = host_cells(world, tab, now)
    for line in view.lines:
        updates += _line_updates(line, columns, _shown(world, view, line, wanted))
    missing = [name for name in world.hosts if name not in view.by_host]
    for row, name in enumerate(missing, start=max(1, len(view.grid.rows))):
        cells: dict[str, CellValue] = {**wanted[name], "host": name}
        updates += [
            CellUpdate(row=row, column=position, value=cells[header])
            for header, position in columns.items()
            if cells.get(header) not in (None, "")
        ]
    if not updates and not needs_proof(world, view):
        return None
    return SheetWrite(tab_id=view.grid.tab_id, updates=tuple(updates), claim=_claim(world, tab, view))


def placed_by(world: World, view: HostsView, write: SheetWrite) -> set[HostName]:
    """The hosts that the write gives a row to."""
    column = view.columns.get("host", HEADERS.index("host"))
    return {name for name in world.hosts for update in write.updates if (update.column, update.value) == (column, name)}


def _claim(world: World, tab: HostsTab, view: HostsView) -> ClaimChange:
    old = view.grid.claim
    stamp = max(0 if old is None else old.stamp, tab.stamp_seen[1]) + 1
    who = world.identity
    return ClaimChange(
        old=old, new=Claim(epoch=world.state.epoch, owner=who.owner, stamp=stamp, where=who.where, events=0)
    )


def whose(world: World, tab: HostsTab, grid: Grid) -> str:
    """Why the tab is not ours to write, as a sentence; empty if it is."""
    claim = grid.claim
    if claim is None or claim.owner in tab.former_owners:
        return ""
    if claim.owner == world.identity.owner and claim.epoch <= world.state.epoch:
        return ""
    return (
        f'the tab "{grid.title}" shows the hosts of another daemon ({claim.where}): name another one with hosts_tab in'
        " sheetd.toml, or delete the tab if that daemon is gone, and restart sheetd"
    )


def _line_updates(line: HostLine, columns: Mapping[str, int], shown: Mapping[str, CellValue]) -> Iterator[CellUpdate]:
    for header in WRITTEN:
        position = columns.get(header)
        value = shown.get(header)
        if position is not None and _differs(line.cell(position), None if value == "" else value):
            yield CellUpdate(row=line.index, column=position, value=value)


def _differs(cell: Cell, value: CellValue) -> bool:
    """As in rows of experiments: a formula that shows the right value would show another one tomorrow."""
    is_plain = cell.formula is None and cell.error is None
    return not is_plain or cell.value != value or isinstance(cell.value, bool) is not isinstance(value, bool)


def _shown(
    world: World, view: HostsView, line: HostLine, wanted: Mapping[HostName, Mapping[str, CellValue]]
) -> Mapping[str, CellValue]:
    """A row that names no host of ours, or one that has a row already, says so and nothing else."""
    if not line.host:
        return {}
    if line.host not in wanted:
        why = f"there is no host {line.host} in sheetd.toml: add it there, or delete this row"
        return {"state": "unknown", "why": cell_text(why)}
    if view.by_host[line.host] is not line:
        return {"why": f"{line.host} has a row already: delete one of them"}
    is_alone = all(other is line or other.host != line.host for other in view.lines)
    remark = _remark(world, line) if is_alone else f"{line.host} has two rows: no word is obeyed before one is deleted"
    if not remark:
        return wanted[line.host]
    why = "; ".join(part for part in (str(wanted[line.host]["why"] or ""), remark) if part)
    return {**wanted[line.host], "why": cell_text(why)}


def _remark(world: World, line: HostLine) -> str:
    """What became of the word in the action cell."""
    consumed = world.state.host_words.get(line.host)
    if not line.action:
        return ""
    if line.action not in HOST_ACTIONS:
        return f'action "{cell_text(line.typed, 40)}" is not understood: {CHOICES}'
    if consumed is None or consumed.action != line.action:
        return ""  # about to be decided
    if not consumed.obeyed:
        return f"{line.action} stood there before and was not obeyed: clear the cell and choose it again"
    return f"{line.action} was obeyed: clear the cell to choose it again"


def host_cells(world: World, tab: HostsTab, now: Now) -> dict[HostName, dict[str, CellValue]]:
    """The daemon's cells of each host's row, by header."""
    told, held = hosts_view(world, now), held_slots(world)
    cells: dict[HostName, dict[str, CellValue]] = {}
    for name, host in world.hosts.items():
        mine = held.get(name, {})
        cells[name] = {**_cells(told[name]), **_counts(world, host, told[name], mine), "seen": _since(tab, host, now)}
    return cells


def _cells(told: Mapping[str, Any]) -> dict[str, CellValue]:
    others = sorted({user for one in told["accelerators"] if one["state"] == "foreign" for user in one["users"]})
    return {
        "state": told["state"],
        "why": cell_text(told["says"]),
        "others": cell_text(", ".join(others), LIST_MAX),
        "machine": cell_text(_machine(told), LIST_MAX),
    }


def _counts(
    world: World, host: HostView, told: Mapping[str, Any], mine: Mapping[SlotName, AttemptId]
) -> dict[str, CellValue]:
    """How many things it has to hand out, how many of them somebody could have now, and who of ours has the others."""
    accelerators = told["accelerators"]
    if accelerators:
        slots = len(accelerators)
        free = sum(one["state"] == "free" and not one["attempts"] for one in accelerators)
    else:
        slots, free = len(host.slots), max(0, len(host.slots) - len(mine))
    block = state_of(world, host).block
    is_open = block not in OF_HOST or (block is Block.ON_TRIAL and not mine)
    return {
        "free": float(free if is_open else 0),
        "slots": float(slots),
        "used by": cell_text(", ".join(sorted(set(mine.values()))), LIST_MAX),
    }


def _machine(told: Mapping[str, Any]) -> str:
    facts = told["facts"] or {}
    cores, memory = facts.get("cores"), facts.get("memory_bytes")
    models = Counter(one["model"] for one in told["accelerators"])
    parts = [f"{cores} cores, {memory / 2**30:.0f} GiB"] if cores and memory else []
    return "; ".join([*parts, *(f"{count} x {model}" for model, count in models.items())])


def _since(tab: HostsTab, host: HostView, now: Now) -> str:
    """When it was connected to, or heard of last."""
    if host.facts is None:
        return "never"
    known = tab.since.get(host.name)
    if known is None or known[0] != host.since_s:
        known = host.since_s, wall_text(now.wall_s - (now.s - host.since_s))
        tab.since[host.name] = known
    return f"{'since' if host.is_up else 'until'} {known[1]}"


def dress_of(view: HostsView) -> Dress | None:
    """What the tab should wear. None while there is no header, or an unclear one."""
    if view.problem or not view.columns:
        return None
    return Dress(
        tab_id=view.grid.tab_id,
        status_column=view.columns["state"],
        action_column=view.columns.get("action"),
        template_column=None,
        owned_columns=tuple(sorted(at for name, at in view.columns.items() if name != "action")),
        column_count=len(view.grid.rows[0]),
        templates=(),
        colours=tuple(HOST_COLOURS.items()),
        actions=HOST_ACTIONS,
        headings=headings_by(HOSTS_TAB, view.columns),
    )
