"""What must be true when the faults are over and everything is quiet: sheet, journal and machines agree.

`pending` says in a sentence what is not finished yet; `final` judges when nothing is. The truth is that of
machines and people, as in `checker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sheetd.core.dependencies import is_done
from sheetd.core.model import AttemptId, Experiment, ExperimentId, Phase, experiment_of
from sheetd.core.render import plan_write, row_cells
from tests.sim.people import Order
from tests.sim.sweeps import run_of

if TYPE_CHECKING:
    from tests.sim.checker import Checker


class Ending:
    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self.simulation = checker.simulation
        self.blame = checker.blame

    def pending(self) -> str:
        """What is unfinished, as a sentence; empty when nothing is."""
        simulation = self.simulation
        service = simulation.service
        if service.is_dead or service.daemon is None:
            return "the daemon does not run"
        world = service.daemon.world
        if world.halted:
            return f"the daemon does not act: {world.halted}"
        down = [host.name for host in world.hosts.values() if not host.is_up]
        if down:
            return f"{down[0]} is not up: {world.hosts[down[0]].why}"
        for id_ in world.state.open:
            if self.waits_in_vain(id_):
                continue
            experiment = world.state.experiments[id_]
            seen = world.seen(experiment.attempt) if experiment.attempt else None
            return f"{id_} is {experiment.phase.value} (seen: {seen.state.value if seen else 'nothing'}; {world.waiting.get(id_, '')})"  # noqa: E501 - a text that is matched or sent whole
        for order in simulation.people.orders.values():
            if words := self._order_pending(order):
                return words
        if world.sheet is None or world.must_read or simulation.tab.grid() != world.sheet.grid:
            return "the sheet has not been read as it is"
        if (write := plan_write(world, service.daemon._now())) is not None:
            return f"cells are still to be written: {write.updates[:2]} {write.replacements[:2]}"
        return simulation.hosts_tab.pending() or simulation.runs_tab.pending() or simulation.neighbour.pending()

    def waits_in_vain(self, id_: ExperimentId) -> bool:
        """Whether it runs after something that will not succeed unless somebody asks for it."""
        service = self.simulation.service
        experiment = None if service.daemon is None else service.daemon.world.state.experiments.get(id_)
        if experiment is None:
            return True
        if experiment.phase is Phase.ENDED:
            return not all(is_done(one) for one in self._parts(experiment))
        if any(one.is_live for one in self._parts(experiment)):
            return False
        waiting = [one for one in self._parts(experiment) if one.phase is Phase.WAITING]
        return bool(waiting) and any(self.waits_in_vain(parent) for one in waiting for parent in one.spec.after)

    def _parts(self, experiment: Experiment) -> list[Experiment]:
        """Those that the row asks for, if it stands for several."""
        assert self.simulation.service.daemon is not None
        state = self.simulation.service.daemon.world.state
        ids = state.sweeps[experiment.id].members if experiment.id in state.sweeps else (experiment.id,)
        return [state.experiments[id_] for id_ in ids]

    def _is_held(self, order: Order) -> bool:
        """Whether a word that nobody knows, or a row that it cannot wait for, keeps the row from being accepted."""
        action, status = self.simulation.tab.column("action"), self.simulation.tab.column("status")
        if action is None or status is None or order.seed in self.checker.by_seed:
            return False
        after = self.simulation.tab.column("after")
        waits = after is not None and order.line.get(after).value
        return bool(order.line.get(action).value == "jump" or waits) and order.line.get(status).value == "draft"

    def _order_pending(self, order: Order) -> str:
        column = self.simulation.tab.column("status")
        status = order.line.get(column).value if column is not None else None
        if order.is_deleted or order.is_doubtful or order.is_disputed or not order.is_complete:
            return ""
        if not order.is_valid:
            return (
                ""
                if status in ("invalid", "draft")
                else f"the wrong row {order.seed} is not called invalid but {status}"
            )
        if self._is_held(order):
            return ""
        if order.seed not in self.checker.by_seed:
            return f"row {order.seed} was not accepted (it says {status})"
        return ""

    def final(self) -> None:
        """When everything is quiet: sheet, journal and machines agree."""
        simulation = self.simulation
        self.checker.cells_of_people()
        for machine in simulation.machines.values():
            left = [
                one
                for one in machine.processes.values()
                # A look at the cards is of the whole machine, whoever had it begun.
                if one.attempt
                and one.role not in ("prober", "tool")
                and not one.is_zombie
                and not self.checker.may_escape(one)
            ]
            if left:
                self.blame("I20", f"{left[0].role} {left[0].pid} of {left[0].attempt} is left on {machine.name}")
        for order in simulation.people.orders.values():
            if not order.is_complete or not order.is_valid or order.is_deleted or order.is_doubtful:
                continue
            if order.is_disputed:
                self._done_once(order)
            elif not self._is_held(order):
                self._order_final(order)

    def _done_once(self, order: Order) -> None:
        """Whoever serves the sheet: what has succeeded is not done again unless somebody asks for it."""
        attempts = [attempt for attempt in self.checker.executions if self._seed_of(attempt) == order.seed]
        if any(self.checker.harmed[attempt] for attempt in attempts) or order.marks:
            return  # its host may have lost what it knew, or the row said something else
        if any(experiment_of(AttemptId(attempt)) in self.checker.unwitnessed for attempt in attempts):
            return
        runs = [(attempt, run) for attempt in attempts for run in self.checker.executions[attempt]]
        asked = sum(order.asked[word] for word in ("run", "restart", "rerun", "resume"))
        done: dict[object, list[str]] = {}
        for attempt, run in runs:
            if run.ended is not None and run.status == 0:
                spec = self.checker.ledgers[experiment_of(AttemptId(attempt))].specs[-1]
                done.setdefault(run_of(spec), []).append(attempt)
        for attempts in done.values():
            if len(attempts) > 1 + asked:
                words = f"{len(attempts)} times ({attempts}) and asked for {asked} times again"
                self.blame("I9", f"row {order.seed} was done {words}")

    def _seed_of(self, attempt: str) -> int | None:
        ledger = self.checker.ledgers.get(experiment_of(AttemptId(attempt)))
        return None if ledger is None else int(ledger.specs[-1].params["seed"])

    def _order_final(self, order: Order) -> None:
        simulation = self.simulation
        ids = self.checker.by_seed[order.seed]
        twins = [one for one in simulation.people.orders.values() if one.seed == order.seed]
        if len(ids) > 1 and len(twins) == 1:
            self.blame("I1", f"row {order.seed} became {len(ids)} experiments: {ids}")
        assert simulation.service.daemon is not None
        world = simulation.service.daemon.world
        column = simulation.tab.column("id")
        assert column is not None
        assert world.sheet is not None
        shown = order.line.get(column).value
        if shown not in ids:
            self.blame("I20", f"row {order.seed} shows the id {shown}, and belongs to {ids}")
        experiment = world.state.experiments[ExperimentId(str(shown))]
        view, index = world.sheet, simulation.tab.lines.index(order.line) + 1
        now = simulation.service.daemon._now()
        wanted = row_cells(world, view, view.rows[index - 1], experiment.id, now)
        for name in ("status", "message", "host", "attempt"):
            said = order.line.get(simulation.tab.column(name)).value  # type: ignore[arg-type]
            if said != (wanted.get(name) or None):
                self.blame("I20", f"{name} of row {order.seed} says {said!r}, and should say {wanted.get(name)!r}")
        if wanted["status"] in ("failed", "stopped", "paused") and not wanted["message"]:
            self.blame("never 7", f"row {order.seed} has {wanted['status']} and does not say why")
        if experiment.phase is not Phase.ENDED and not self.waits_in_vain(experiment.id):
            self.blame("I20", f"{experiment.id} has not ended")
        parts, sweeps = self._parts(experiment), self.checker.sweeps
        fingerprint = world.state.fingerprints[experiment.id]
        if experiment.id in world.state.sweeps and view.rows[index - 1].fingerprint == fingerprint:
            lr, repeat = (order.line.get(simulation.tab.column(name)).value for name in ("lr", "repeat"))  # type: ignore[arg-type]
            if not any(map(self.waits_in_vain, experiment.spec.after)):
                sweeps.final(experiment, parts, lr, repeat)
        if wanted["status"] == "succeeded" and not all(map(sweeps.succeeded, parts)):
            self.blame("I10", f"row {order.seed} says succeeded, and no run of its last attempt was a success")
