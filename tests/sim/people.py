"""People at the sheet: what they type, move, spoil and undo, and what they are owed for it.

An `Order` is one line that somebody filled in, and what may be expected of it. It is *doubtful* from the moment at
which nobody could say any more which row is which or how often it was asked for: of such an order less is demanded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sheetd.core.grid import BLANK, Cell, CellValue, Claim
from tests.core.story import cell
from tests.sim.jobs import Fate, draw_fate
from tests.sim.sheet import Column, Line
from tests.sim.sweeps import draw_values

if TYPE_CHECKING:
    from tests.sim.world import Simulation

#: Columns of which the template takes a value.
PARAMETERS = ("lr", "seed")
#: Of which cells are merged.
MERGED = ("tag", "tag", "tag", "lr", "seed", "template", "id", "status")


@dataclass(eq=False)
class Order:
    """A line, the seed in it (unique unless copied) and what was done to it."""

    line: Line
    seed: int
    is_complete: bool = True
    is_valid: bool = True
    is_doubtful: bool = False
    #: There are two journals of the sheet: whose it is, is not for people to say.
    is_disputed: bool = False
    is_deleted: bool = False
    #: Its tag was lost in a merge once: without one it is not what anybody typed.
    has_lost_tag: bool = False
    #: What was done to it of which only one thing at a time can be seen through.
    marks: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)


BAD_VALUES: dict[str, CellValue | Cell] = {
    "S16": "9" * 5000,
    "S17": "0,001",
    "S18": Cell(value="2026-01-01", shown="2026-01-01"),
    "S19": Cell(value=None, shown="#REF!", formula="=Z9", error="REF"),
    "S20": "0.1\u00a0",
    "S21": "\u2013lr",
    "S22": '=IMPORTDATA("http://example.org")',
    "S23": True,
}


class People:
    """All of them, in one draw."""

    def __init__(self, simulation: Simulation, kinds: set[str]) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.chance = self.engine.stream("people")
        self.tab = simulation.tab
        self.kinds = kinds
        self.orders: dict[Line, Order] = {}
        self.fates: dict[int, Fate] = {}
        self.count = 0
        self.history: list[tuple[list[Line], list[dict[Column, Cell]], Claim | None]] = []
        self.pending_columns: list[Callable[[], None]] = []
        self.moves_under_a_write: list[Callable[[], None]] = []
        #: Undoes each merge of cells that is there.
        self.unmerges: list[Callable[[], None]] = []
        #: What was drawn and left out is chosen too, and not done: all else is done when it would have been.
        drawn = kinds | simulation.drawn
        named = {
            "": [self.type_row] * 4 + [self.note],
            "S1": [self.rename_tab],
            "S3": [self.rename_header],
            "S4": [self.duplicate_header],
            "S5": [self.move_columns],
            "S6": [self.insert_above, self.delete],
            "S7": [self.sort] * 2,
            "S9": [self.copy],
            "S10": [self.clear_id, self.swap_ids],
            "S11": [self.delete],
            "S12": [self.edit],
            "S13": [self.spoil_status],
            "S14": [self.act] * 4,
            "S15": [self.merge] * 2,
            "S24": [self.half_type] * 2 + [self.finish] * 3,
            "S25": [self.undo],
            "S27": [self.many_rows],
        }
        self.acts: list[tuple[str, Callable[[], None]]] = [
            (kind, act) for kind, acts in named.items() if not kind or kind in drawn for act in acts
        ]
        self.acts += [(kind, self.type_bad(kind)) for kind in BAD_VALUES if kind in drawn]

    def do_something(self) -> None:
        kind, act = self.engine.stream("people").choice(self.acts)
        if kind and kind not in self.kinds:
            return
        self.chance = self.engine.stream(f"people {kind}")
        self.snapshot()
        if kind:
            self.engine.fault(f"{kind} {act.__name__.replace('_', ' ')}")
        act()

    def snapshot(self) -> None:
        if "S25" in self.kinds and not self.unmerges:
            cells = [dict(line.cells) for line in self.tab.lines]
            self.history.append((list(self.tab.lines), cells, self.tab.claim))
            del self.history[:-6]

    # --- typing --------------------------------------------------------------------------------------------------

    def put(self, line: Line, **values: CellValue | Cell) -> None:
        for name, value in values.items():
            column = self.tab.column(name.replace("notes", "my notes"))
            if column is not None:
                self.tab.enter(line, column, value)

    def fresh(self) -> int:
        self.count += 1
        self.fates[self.count] = draw_fate(self.engine.stream(f"fate {self.count}"), self.kinds)
        return self.count

    def new_line(self) -> Line:
        self.unmerge_all()
        line = Line()
        self.tab.lines.insert(self.chance.randrange(len(self.tab.lines) + 1), line)
        if self.chance.random() < 0.6:
            self.tab.lines.remove(line)
            self.tab.lines.append(line)
        return line

    def has_columns(self) -> bool:
        return all(self.tab.column(name) is not None for name in ("template", "lr", "seed", "action"))

    def type_row(self) -> None:
        if len(self.orders) >= self.simulation.rows_max or not self.has_columns():
            return
        line = self.new_line()
        seed = self.fresh()
        template = "coded" if "J19" in self.kinds and self.chance.random() < 0.3 else "train"
        self.put(line, template=template, lr=self.chance.choice([0.1, 0.25]), seed=seed)
        if self.chance.random() < 0.3:
            self.put(line, tag=self.chance.choice(["a b", "$(reboot)", "; rm -rf ~", "ü\u202e", "%s{lr}", "'\"`"]))
        order = self.orders[line] = Order(line, seed, is_disputed=self.simulation.is_disputed)
        self.engine.log(f"row {seed} typed")
        self.sweep(order)
        self.run_after(order)
        self.think_again(order)
        self.paste_again(order)
        self.merge_soon(order)
        self.ask_at_a_terminal(order)

    def ask_at_a_terminal(self, order: Order) -> None:
        """Some are begun again from the command line, be the daemon there or not: it hears of it when it comes."""
        chance = self.engine.stream("terminal")

        def ask() -> None:
            service, ids = self.simulation.service, self.simulation.checker.by_seed.get(order.seed)
            if self.simulation.is_calm[0] or not ids or service.is_dead or service.journal is None:
                return
            word = chance.choice(["restart", "rerun", "stop"])
            self.engine.fault(f"S14 {word} from the command line")
            order.asked[word] += 1
            service.journal.real.add_request(word, ids[-1])
            if service.daemon is not None and chance.random() < 0.8:  # else the knock is not heard
                service.daemon.wake()
                service.post(None)

        if "S14" in self.kinds and chance.random() < 0.3:
            self.engine.at(chance.uniform(10.0, 200.0), ask)

    def paste_again(self, order: Order) -> None:
        """Some are typed or pasted a second time, without the id and without a word: nobody wants them done twice."""
        chance = self.engine.stream("again")

        def paste() -> None:
            if self.simulation.is_calm[0] or order.is_deleted or not self.has_columns():
                return
            self.engine.fault("S9 pastes the same again")
            columns = [self.tab.column(name) for name in ("template", "lr", "seed", "tag", "repeat", "after")]
            line = self.new_line()
            for column in columns:
                if column is not None:
                    self.tab.enter(line, column, order.line.get(column))
            order.is_doubtful = True
            self.orders[line] = Order(line, order.seed, order.is_complete, order.is_valid, is_doubtful=True)

        if "S9" in self.kinds and chance.random() < 0.3:
            self.engine.at(chance.uniform(5.0, 150.0), paste)

    def sweep(self, order: Order) -> None:
        """Some rows stand for several runs."""
        chance = self.engine.stream("sweeps")
        if chance.random() < 0.2:
            lr, repeat = draw_values(chance)
            self.put(order.line, lr=lr, repeat=repeat)
            if "S12" in self.kinds and chance.random() < 0.8:
                self.engine.at(chance.uniform(10.0, 100.0), lambda: self.ask_for_others(order))

    def ask_for_others(self, order: Order) -> None:
        """What else should be run: some of it is there, and some is not asked for any more."""
        chance = self.engine.stream("sweeps")
        if self.simulation.is_calm[0] or order.is_deleted or not self.has_columns():
            return
        self.engine.fault("S12 asks for other runs")
        lr, repeat = draw_values(chance)
        self.put(order.line, lr=lr, repeat=repeat)
        self.mark(order, "it was edited")
        word = chance.choice(["run", "run", "run", "rerun"])

        def ask() -> None:
            if not self.simulation.is_calm[0] and not order.is_deleted and self.has_columns():
                self.choose(order, word)

        self.choose(order, "")
        self.engine.at(chance.uniform(1.0, 20.0), ask)

    def run_after(self, order: Order) -> None:
        """Some rows wait for others, of which some never succeed."""
        chance = self.engine.stream("after")
        column = self.tab.column("id")
        if chance.random() < 0.2:
            other = chance.choice(list(self.orders.values()))
            id_ = None if column is None else other.line.get(column).value
            self.put(order.line, after=id_ if isinstance(id_, str) and chance.random() < 0.6 else "previous")

    def think_again(self, order: Order) -> None:
        """Some stop what they have just typed: perhaps while its launch is still on its way."""
        chance = self.engine.stream("second thoughts")

        def stop() -> None:
            if not self.simulation.is_calm[0] and not order.is_deleted and self.has_columns():
                self.choose(order, "stop")

        if "S14" in self.kinds and chance.random() < 0.3:
            self.engine.at(chance.uniform(8.0, 90.0), stop)
        self.change_its_mind(order)

    def change_its_mind(self, order: Order) -> None:
        """Some pause what they have typed, or give it another tag: mostly while it runs."""

        def may(act: Callable[[], None]) -> None:
            if not self.simulation.is_calm[0] and not order.is_deleted and self.has_columns():
                act()

        pauses, live = self.engine.stream("pauses of new rows"), self.engine.stream("live edits of new rows")
        if "S14" in self.kinds and pauses.random() < 0.3:
            self.engine.at(pauses.uniform(8.0, 60.0), lambda: may(lambda: self.pause(order)))
        if "S12" in self.kinds and live.random() < 0.5:
            for _ in range(live.choice([1, 1, 2, 3])):
                tag = f"tag {live.randrange(1000)}"
                self.engine.at(live.uniform(8.0, 60.0), lambda tag=tag: may(lambda: self.hand(order, tag)))  # type: ignore[misc]

    def many_rows(self) -> None:
        for _ in range(8):
            self.type_row()

    def half_type(self) -> None:
        if len(self.orders) < self.simulation.rows_max and self.has_columns():
            line = self.new_line()
            self.put(line, template="train")
            self.orders[line] = Order(line, self.fresh(), is_complete=False, is_disputed=self.simulation.is_disputed)

    def finish(self) -> None:
        half = [order for order in self.orders.values() if not order.is_complete and not order.is_deleted]
        if half and self.has_columns():
            order = self.chance.choice(half)
            self.put(order.line, lr=0.1, seed=order.seed)
            order.is_complete = True

    def type_bad(self, kind: str) -> Callable[[], None]:
        def type_bad_value() -> None:
            if len(self.orders) < self.simulation.rows_max and self.has_columns():
                line = self.new_line()
                seed = self.fresh()
                self.put(line, template="train", lr=BAD_VALUES[kind], seed=seed)
                self.orders[line] = Order(line, seed, is_valid=False, is_disputed=self.simulation.is_disputed)

        return type_bad_value

    def note(self) -> None:
        if order := self.pick():
            self.put(order.line, notes=f"note {self.chance.randrange(100)}")

    # --- choosing ------------------------------------------------------------------------------------------------

    def pick(self) -> Order | None:
        orders = [order for order in self.orders.values() if not order.is_deleted]
        return self.chance.choice(orders) if orders else None

    # --- moving and spoiling -------------------------------------------------------------------------------------

    def sort(self) -> None:
        self.unmerge_all()
        order = {line: self.chance.random() for line in self.tab.lines}
        self.tab.lines.sort(key=order.__getitem__)
        self.tab.changed()

    def insert_above(self) -> None:
        if len(self.tab.lines) < 200:
            self.unmerge_all()
            self.tab.lines.insert(self.chance.randrange(len(self.tab.lines) + 1), Line())
            self.tab.changed()

    def delete(self) -> None:
        if order := self.pick():
            self.unmerge_all()
            self.tab.lines.remove(order.line)
            order.is_deleted = order.is_doubtful = True
            self.tab.changed()
            self.engine.log(f"row {order.seed} deleted")

    def copy(self) -> None:
        if order := self.pick():
            self.unmerge_all()
            line = Line()
            line.cells, line.mine = dict(order.line.cells), dict(order.line.mine)
            self.tab.lines.insert(self.chance.randrange(len(self.tab.lines) + 1), line)
            self.tab.changed()
            order.is_doubtful = True
            twin = Order(line, order.seed, order.is_complete, order.is_valid, is_doubtful=True)
            self.orders[line] = twin
            if self.chance.random() < 0.5 and self.has_columns() and order.is_complete:
                twin.seed = self.fresh()
                self.put(line, seed=twin.seed)
                self.put(line, action="")

    def merge(self) -> None:
        """Cells of neighbouring rows become one."""
        at = self.chance.randrange(max(1, len(self.tab.lines) - 1))
        self.merge_lines(self.tab.lines[at : at + self.chance.choice([2, 2, 3])], self.chance.choice(MERGED))

    def merge_soon(self, order: Order) -> None:
        """Some merge what they have just typed with the row above, before anybody has begun it."""
        chance = self.engine.stream("merges of new rows")

        def merge() -> None:
            if self.simulation.is_calm[0] or order.is_deleted or order.line not in self.tab.lines[1:]:
                return
            self.engine.fault("S15 merges a new row")
            at = self.tab.lines.index(order.line)
            self.merge_lines(self.tab.lines[at - 1 : at + 1], chance.choice(MERGED))

        if "S15" in self.kinds and chance.random() < 0.4:
            self.engine.at(chance.uniform(0.5, 8.0), merge)

    def merge_lines(self, lines: list[Line], header: str) -> None:
        """Somebody undoes it later, and types again what was lost by it."""
        column = self.tab.column(header)
        if column is None or self.unmerges or len(lines) < 2:
            return
        lost = [(line, line.get(column)) for line in lines[1:] if line.get(column) != BLANK]
        self.tab.merge(lines, [column])
        for line, _ in lost:
            if (order := self.orders.get(line)) and column.header != "status":
                order.has_lost_tag = order.has_lost_tag or column.header == "tag"
                self.mark(order, "its id was cleared" if column.header == "id" else "it was edited")

        def unmerge() -> None:
            self.unmerges.remove(unmerge)
            self.tab.unmerge(lines)
            for line, held in lost:
                if not column.is_owned and line.get(column) == BLANK:
                    self.tab.enter(line, column, held)

        self.unmerges.append(unmerge)
        self.later(unmerge)

    def unmerge_all(self) -> None:
        """Before anything is sorted, inserted or deleted: Google refuses to tear merged cells apart."""
        for unmerge in list(self.unmerges):
            self.put_back(unmerge)

    def clear_id(self) -> None:
        if order := self.pick():
            self.put(order.line, id=self.chance.choice(["", "", "my own idea", "7"]))
            self.mark(order, "its id was cleared")

    @staticmethod
    def mark(order: Order, what: str) -> None:
        """An edited row whose id is gone is recognised only by a daemon that saw both happen (README, Open points).

        Seed 598: a parameter's header was renamed and an id cleared while the API gave no answer.
        """
        order.marks.add(what)
        order.is_doubtful = order.is_doubtful or len(order.marks) > 1

    def swap_ids(self) -> None:
        one, other = self.pick(), self.pick()
        column = self.tab.column("id")
        if one and other and column is not None and one is not other:
            first, second = one.line.get(column), other.line.get(column)
            self.tab.enter(one.line, column, second)
            self.tab.enter(other.line, column, first)
            one.is_doubtful = other.is_doubtful = True

    def edit(self) -> None:
        """New values in an accepted row are for a rerun; in one that was not accepted yet they are what runs."""
        if (order := self.pick()) and order.is_complete and order.is_valid:
            live = self.engine.stream("live edits")
            if live.random() < 0.4:
                self.hand(order, f"tag {live.randrange(1000)}")
                return
            sweeps = self.engine.stream("sweeps")
            is_several = sweeps.random() < 0.3
            self.put(order.line, lr=draw_values(sweeps)[0] if is_several else self.chance.choice([0.1, 0.2, 0.5]))
            self.mark(order, "it was edited")

    def hand(self, order: Order, tag: str) -> None:
        """Another tag, of which a running job is told."""
        if self.tab.column("tag") is not None:
            self.put(order.line, tag=tag)
            self.mark(order, "it was edited")
            self.engine.log(f"row {order.seed} tag {tag!r}")

    def spoil_status(self) -> None:
        if order := self.pick():
            self.put(order.line, status=self.chance.choice(["succeeded", "", "mine"]), message="so they say")

    def act(self) -> None:
        order = self.pick()
        if order is None or not self.has_columns():
            return
        word = self.chance.choice(["stop", "stop", "restart", "rerun", "run", "", "", "jump"])
        if self.engine.stream("pauses").random() < 0.25:
            self.pause(order)
        else:
            self.choose(order, word)

    def pause(self, order: Order) -> None:
        """Mostly what runs, to go on with it later; sometimes what cannot be paused, and sometimes for good."""
        chance = self.engine.stream("pauses")
        self.choose(order, chance.choice(["pause", "pause", "pause", "resume"]))

        def go_on() -> None:
            if not self.simulation.is_calm[0] and not order.is_deleted and self.has_columns():
                self.choose(order, chance.choice(["resume", "resume", "resume", "run", "restart", "rerun"]))

        if chance.random() < 0.8:
            self.engine.at(chance.uniform(2.0, 60.0), go_on)

    def choose(self, order: Order, word: str) -> None:
        column = self.tab.column("action")
        assert column is not None
        if order.line.get(column).value != (word or None):
            order.asked[word] += 1
        self.put(order.line, action=word)
        self.engine.log(f"row {order.seed} action {word!r}")

    def let_go(self) -> None:
        """Whoever reads that another machine answers in place of theirs, and knows that theirs is gone, says so."""
        message, action = self.tab.column("message"), self.tab.column("action")
        if message is None or action is None:
            return
        for line in self.tab.lines:
            if "another machine answers as" in str(line.get(message).value):
                word = "" if line.get(action).value else "restart"
                if line in self.orders:
                    self.orders[line].asked[word] += 1
                self.put(line, action=word)

    def undo(self) -> None:
        """A version restore: every cell as it was, the daemon's too."""
        if not self.history:
            return
        self.unmerge_all()
        lines, cells, claim = self.history[0]
        self.history.clear()
        if self.chance.random() < 0.5:  # whether Google brings it back too is not known
            self.tab.claim = claim
        action = self.tab.column("action")
        for line, held in zip(lines, cells, strict=True):
            if action is not None and line.get(action) != held.get(action, cell(None)):
                word = held.get(action, cell(None)).value
                if line in self.orders:
                    self.orders[line].asked[str(word or "")] += 1
            line.cells = {column: one for column, one in held.items() if column in self.tab.columns}
            line.mine = {column: one for column, one in line.cells.items() if not column.is_owned}
        gone = set(self.tab.lines) - set(lines)
        self.tab.lines[:] = lines
        self.tab.changed()
        for line, order in self.orders.items():
            order.is_doubtful = True
            order.is_deleted = line not in lines
            if line in gone:
                self.engine.log(f"row {order.seed} undone")

    # --- the header ----------------------------------------------------------------------------------------------

    def rename_tab(self) -> None:
        self.tab.title = self.chance.choice(["Experiments", "It's A1", "Plan B"])
        self.tab.changed()

    def later(self, back: Callable[[], None]) -> None:
        """Somebody notices, and puts it back."""
        self.simulation.repairs.append(back)
        self.engine.at(self.chance.uniform(5.0, 60.0), lambda: self.put_back(back))

    def put_back(self, back: Callable[[], None]) -> None:
        if back in self.simulation.repairs:
            self.simulation.repairs.remove(back)
            back()
            self.tab.changed()

    def rename_header(self) -> None:
        column = self.chance.choice(
            [one for one in self.tab.columns if one.header not in ("", "my notes", "renamed")] or [None]
        )
        if column is None or self.simulation.repairs:
            return
        was = column.header

        def rename(to: str) -> None:
            column.header = to
            for line in self.orders if column.is_owned else ():  # the daemon's again, whatever people put there
                line.mine.pop(column, None)

        def change() -> None:
            rename("renamed")
            if was in (*PARAMETERS, "repeat"):  # every row says something else now
                for order in self.orders.values():
                    self.mark(order, "its header was renamed")
            self.later(lambda: rename(was))

        self.pending_columns.append(change)

    def duplicate_header(self) -> None:
        name = self.chance.choice(["id", "status", "lr"])
        if self.simulation.repairs:
            return
        extra = Column(name)

        def remove() -> None:
            if extra in self.tab.columns:
                self.tab.columns.remove(extra)
                self.move_values(extra)

        def add() -> None:
            self.tab.columns.append(extra)
            self.later(remove)

        self.pending_columns.append(add)

    def move_values(self, gone: Column) -> None:
        """Who removes a column of theirs takes along what was typed there meanwhile."""
        kept = self.tab.column(gone.header)
        for line in self.tab.lines:
            held = line.cells.get(gone)
            if held is not None and not gone.is_owned and kept is not None:
                self.tab.enter(line, kept, held)
            line.mine.pop(gone, None)

    def move_columns(self) -> None:
        """Columns are moved, or one is inserted: just before a read, or in the moment between a read and its write.

        Then only while every column of ours is tagged, and while nothing but that has writes refused.
        """

        def move() -> None:
            if self.chance.random() < 0.5 and len(self.tab.columns) < 24:
                self.tab.columns.insert(self.chance.randrange(len(self.tab.columns)), Column("extra"))
            else:
                self.chance.shuffle(self.tab.columns)

        is_guarded = all(column.tag for column in self.tab.columns if column.is_owned)
        if is_guarded and not {"S26", "G13"} & self.kinds and self.chance.random() < 0.5:
            self.moves_under_a_write.append(move)
        else:
            self.pending_columns.append(move)

    def before_read(self) -> None:
        if self.pending_columns and not self.simulation.is_calm[0]:
            for change in self.pending_columns:
                change()
            self.tab.changed()
        self.pending_columns.clear()

    def meddle(self) -> None:
        """Something in the moment between a read and the write that was planned from it."""
        for move in self.moves_under_a_write if not self.simulation.is_calm[0] else ():
            self.engine.log("columns move under a write")
            move()
            self.tab.changed()
        self.moves_under_a_write.clear()
        if "S8" in self.kinds and not self.simulation.is_calm[0] and self.chance.random() < 0.15:
            self.engine.fault("S8 rows move under a write")
            self.do_something()
