"""The cycle of the tab of hosts: when it is read, written and dressed, and what is concluded from how that went.

A cycle of its own, beside that of the experiments, which must not become dearer or slower by it: one read every
`hosts_tab_every_s`, and a write only from a view that was just read. Trouble with this tab never reaches the other one.
"""

from __future__ import annotations

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.hosts_grid import HostsTab, HostsView, read_hosts
from sheetd.core.hosts_tab import dress_of, is_new_word, placed_by, whose, write_of
from sheetd.core.ownership import OLD_ANSWERS_MAX
from sheetd.core.plan import Now
from sheetd.core.world import World

#: A tab that cannot be used is asked for again at most, and at least, this often.
RETRY_S_MAX = 300.0


# --- what to do --------------------------------------------------------------------------------------------------


def plan_answer(world: World, now: Now) -> fx.TabEffect | None:
    """What follows from a view that was just read, while it is fresh. Only the owner of the experiments asks."""
    tab = world.hosts_tab
    view = None if tab is None else tab.view
    if tab is None or view is None or tab.must_read or view.problem:
        return None
    if now.s - view.read_at_s > world.limits.fresh_s:
        return None
    compared = (view.read_at_s, world.version)
    if not tab.is_answer and tab.last_write_s + world.limits.write_gap_s <= now.s and compared != tab.compared:
        write = write_of(world, tab, view, now)
        if write is not None:
            tab.placed |= placed_by(world, view, write)
            return fx.WriteHostsTab(write=write)
        tab.compared = compared
    dress = dress_of(view)
    if dress is not None and dress != tab.dressed and now.s - tab.last_dress_s >= world.limits.ask_again_s:
        return fx.DressHostsTab(dress=dress)
    return None


def plan_read(world: World, now: Now) -> tuple[fx.TabEffect | None, bool]:
    """The next read if it is due, and whether it is overdue."""
    tab = world.hosts_tab
    if tab is None or tab.next_read_s > now.s:
        return None, False
    is_overdue = now.s - tab.next_read_s > world.limits.hosts_tab_every_s
    return fx.ReadHostsTab(creates=tab.view is None), is_overdue


# --- how it went -------------------------------------------------------------------------------------------------


def note_event(world: World, event: ev.Event, now_s: float) -> None:
    """What was recorded may make the words in the tab old, or doubtful."""
    tab = world.hosts_tab
    if tab is None:
        return
    if isinstance(event, ev.TakeoverBegun):
        tab.former_owners[event.former_owner] = event.former_epoch
    elif isinstance(event, ev.HostActionConsumed | ev.HostActionCleared):
        tab.unchosen.discard(event.host)
        # Whoever chose it looks at the row now.
        tab.next_read_s = min(tab.next_read_s, max(now_s, tab.last_write_s + world.limits.write_gap_s))
        if isinstance(event, ev.HostActionConsumed) and event.host in world.hosts:
            world.hosts[event.host].must_probe = True


def note_done(world: World, news: fx.HostsTabDone, now_s: float) -> None:
    """The tab as it is, after a read or a write of ours."""
    world.in_flight.pop(news.effect.key, None)
    tab = world.hosts_tab
    if tab is None:
        return
    tab.failures, tab.trouble = 0, ""
    if isinstance(news.effect, fx.DressHostsTab):
        tab.last_dress_s, tab.dressed = now_s, news.effect.dress
        return
    written = news.effect.write if isinstance(news.effect, fx.WriteHostsTab) else None
    if written is not None:
        tab.last_write_s = now_s
    tab.is_answer, tab.must_read = written is not None, False
    tab.next_read_s = now_s + world.limits.hosts_tab_every_s
    if news.grid is not None:
        _understand(world, tab, news.grid, written, now_s)


def note_failed(world: World, news: fx.HostsTabFailed, now_s: float) -> None:
    """Whatever is wrong with it, the tab of experiments is none the worse."""
    world.in_flight.pop(news.effect.key, None)
    tab = world.hosts_tab
    if tab is None:
        return
    if isinstance(news.effect, fx.DressHostsTab):
        tab.last_dress_s = now_s
    else:
        tab.must_read = True
    if isinstance(news.effect, fx.WriteHostsTab):
        tab.last_write_s = now_s
    tab.failures += 1
    tab.trouble = news.why
    delay_s = world.limits.hosts_tab_every_s * 2 ** min(tab.failures, 10)
    # A write may be refused because another one came first: that is seen in the next read.
    is_lasting = news.lasting and not isinstance(news.effect, fx.WriteHostsTab)
    tab.next_read_s = now_s + (RETRY_S_MAX if is_lasting else min(delay_s, RETRY_S_MAX))


def _understand(world: World, tab: HostsTab, grid: Grid, written: SheetWrite | None, now_s: float) -> None:
    before = tab.view
    is_new, is_old = _judge_claim(world, tab, grid)
    if is_old:
        tab.must_read = tab.must_read or written is not None
        tab.next_read_s = now_s + world.limits.write_gap_s
        return
    view = before if before is not None and before.grid is grid else read_hosts(grid, now_s)
    view.problem = view.problem or whose(world, tab, grid)
    view.read_at_s, view.is_proven = now_s, view.is_proven or is_new
    tab.view, tab.trouble = view, view.problem
    if view.problem:
        return
    claim = grid.claim
    if claim is not None and claim.epoch <= tab.former_owners.get(claim.owner, -1):
        tab.doubt()  # the daemon before us has seen these words
    shown = set(view.by_host)
    if written is not None and (world.hosts.keys() - shown or (before and _met_moved_rows(written, before, view))):
        tab.next_read_s = now_s + world.limits.write_gap_s
    tab.unchosen |= shown if tab.doubts_all else tab.placed & shown
    tab.doubts_all = False
    tab.placed -= shown
    # Beside an empty cell, or a word that was consumed, there is nothing to doubt.
    tab.unchosen = {name for name in tab.unchosen & shown if is_new_word(world, view.by_host[name])}


def _judge_claim(world: World, tab: HostsTab, grid: Grid) -> tuple[bool, bool]:
    """Whether the answer is the first to show our last write, and whether it is older than one that we have seen.

    A few old ones in a row are no delay any more: somebody brought back an older version of the spreadsheet.
    """
    claim = grid.claim
    stamp = (0, 0) if claim is None else (claim.epoch, claim.stamp)
    is_ours = claim is not None and (claim.owner, claim.epoch) == (world.identity.owner, world.state.epoch)
    if stamp >= tab.stamp_seen:
        is_new = is_ours and stamp > tab.stamp_seen
        tab.old_answers, tab.stamp_seen = 0, stamp
        return is_new, False
    tab.old_answers += 1
    if tab.old_answers <= OLD_ANSWERS_MAX:
        return False, True
    tab.old_answers, tab.stamp_seen = 0, stamp
    tab.doubt()
    return False, False


def _met_moved_rows(write: SheetWrite, before: HostsView, after: HostsView) -> bool:
    """Whether cells landed beside another host than the one that they were made for."""
    was = {line.index: line.host for line in before.lines}
    now = {line.index: line.host for line in after.lines}
    return any(update.row in was and was[update.row] != now.get(update.row) for update in write.updates)
