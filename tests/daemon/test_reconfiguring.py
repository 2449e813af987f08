"""A daemon whose operator edits the files: which hosts are reached, and how, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sheetd.core.configuration import Configuration
from sheetd.core.model import ExperimentId, HostName, Phase, SlotName, attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, Exit, HostUnseen, Seen
from sheetd.core.world import HostView
from sheetd.errors import HostUnreachable
from sheetd.ports import Reconfiguration, Route
from tests.daemon.fakes import HOST, FakeHost, Request, Rig
from tests.daemon.test_daemon import phase, running, until

BETA = HostName("beta")
ROW = ExperimentId("row1")


class Lab:
    """A rig, and every adapter that was made for it."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.made: list[FakeHost] = []
        self.rig.daemon._routes = dict(self.routes({HOST: "home"}))

    def routes(self, places: dict[HostName, str], way: str = "usual") -> dict[HostName, Route]:
        def adapter(name: HostName) -> Callable[[], Any]:
            def make() -> FakeHost:
                self.made.append(FakeHost(self.rig.calls, name))
                return self.made[-1]

            return make

        return {name: Route(place=place, way=way, adapter=adapter(name)) for name, place in places.items()}

    def save(self, places: dict[HostName, str], *, way: str = "usual", mistakes: Sequence[str] = ()) -> None:
        world = self.rig.daemon.world
        hosts = tuple(HostView(name=name, slots=(SlotName(f"{name}/0"),)) for name in places)
        found = Configuration(templates=world.templates, limits=world.limits, hosts=hosts)
        routes = self.routes(places, way)
        self.rig.daemon.post(Reconfiguration(configuration=found, routes=routes, mistakes=tuple(mistakes)))

    def begin(self) -> None:
        self.rig.sheet.table.type(template="train", lr=0.1)
        until(lambda: phase(self.rig) is Phase.RUNNING, "the row runs")

    def end(self) -> None:
        seen = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))
        self.rig.daemon.post(AttemptReported(host=HOST, attempt=attempt_id(ROW, 1), seen=seen))
        until(lambda: phase(self.rig) is Phase.ENDED, "the row ends")

    def view(self) -> dict[str, Any]:
        self.rig.clock.s += 1  # others are told now and then
        self.rig.daemon.wake()
        return dict(self.rig.journal.views.get("configuration", {}))

    def hosts(self) -> set[HostName]:
        return set(self.rig.daemon.world.hosts)


def test_a_new_host_is_connected_to_and_one_that_is_gone_is_closed_and_asked_nothing() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.begin()
        lab.save({BETA: "home"})
        until(lambda: lab.hosts() == {BETA}, "the hosts are those of the file")
        until(lambda: "host closed" in lab.rig.calls, "the connection to the former one is closed")
        assert [host.name for host in lab.made] == [BETA]
        lab.rig.sheet.table.type(template="train", lr=0.2)
        until(lambda: lab.made[0].launched, "what comes next runs there")
    assert phase(lab.rig) is Phase.RUNNING


def test_the_same_way_keeps_the_connection_and_another_one_opens_it_anew() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.save({HOST: "home"})
        lab.save({HOST: "home", BETA: "home"})
        until(lambda: lab.hosts() == {HOST, BETA}, "both are there")
        assert [host.name for host in lab.made] == [BETA]
        lab.save({HOST: "home", BETA: "home"}, way="another")
        until(lambda: len(lab.made) == 3, "both are opened anew")
        until(lambda: lab.rig.calls.count("host closed") == 2, "the former connections are closed")


def test_what_a_former_connection_still_says_is_not_heard() -> None:
    lab = Lab()
    with running(lab.rig):
        former = lab.rig.host.report
        lab.save({HOST: "home"}, way="another")
        until(lambda: lab.made and lab.rig.daemon.world.hosts[HOST].is_up, "it is connected to")
        former(HostUnseen(host=HOST, why="closed"))
        lab.begin()  # a word that was posted before has been heard by now
        assert lab.rig.daemon.world.hosts[HOST].is_up


def test_nor_what_it_had_said_before_the_daemon_came_to_take_another() -> None:
    """Seed 302788: while the journal could not be written, news of the former connection came to lie behind the edit.

    The new one was then taken to obey our epoch, and a launch over it stopped the daemon for good.
    """
    lab = Lab()
    daemon, former = lab.rig.daemon, lab.rig.host
    daemon.recover()
    daemon._keep(former)
    lab.save({HOST: "home"}, way="another")
    former.report(HostUnseen(host=HOST, why="of the former connection"))
    daemon.turn(daemon._wait(daemon._clock.monotonic_s()))
    assert [host.name for host in lab.made] == [HOST]
    assert daemon.world.hosts[HOST].why != "of the former connection"
    daemon._close()


def test_an_answer_that_comes_when_its_host_is_gone_harms_nobody() -> None:
    lab = Lab()
    lab.rig.host.trouble = HostUnreachable("its connection was closed")
    launch = lab.rig.host.launch

    def slow(order: Any) -> Any:
        lab.save({BETA: "home"})
        until(lambda: lab.hosts() == {BETA}, "the file is taken")
        return launch(order)

    lab.rig.host.launch = slow  # type: ignore[method-assign]
    with running(lab.rig) as died:
        lab.rig.sheet.table.type(template="train", lr=0.1)
        until(lambda: "launch" in lab.rig.calls, "its launch is under way")
        lab.save({HOST: "home", BETA: "home"})
        until(lambda: lab.hosts() == {HOST, BETA}, "it is put back")
        until(lambda: phase(lab.rig) is Phase.RUNNING, "and asked again")
    assert died == []


def test_a_host_is_not_moved_while_something_runs_where_it_was() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.begin()
        lab.save({HOST: "elsewhere"})
        until(lambda: lab.view().get("later"), "it is told")
        assert lab.view()["later"] == [
            "alpha is somewhere else by sheetd.toml; attempts run where it was, and it moves when they have ended"
        ]
        assert lab.made == []
        lab.end()
        until(lambda: [host.name for host in lab.made] == [HOST], "then it moves")
        until(lambda: not lab.view()["later"], "and nothing is told any more")


def test_a_host_that_is_put_back_somewhere_else_is_reached_where_something_runs() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.begin()
        lab.save({BETA: "home"})
        until(lambda: lab.hosts() == {BETA}, "it is gone")
        lab.save({BETA: "home", HOST: "elsewhere"})
        until(lambda: lab.hosts() == {BETA, HOST}, "it is back")
        assert lab.rig.daemon._routes[HOST].place == "home"
        lab.end()
        until(lambda: lab.rig.daemon._routes[HOST].place == "elsewhere", "then it moves")


def test_a_request_to_a_host_that_is_gone_is_answered() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.save({BETA: "home"})
        until(lambda: lab.hosts() == {BETA}, "it is gone")
        lab.rig.journal.requests.append(Request(1, "drain", HOST))
        lab.rig.daemon.wake()
        until(lambda: 1 in lab.rig.journal.answers, "somebody waits for that")
    assert "there is no host alpha in the configuration" in lab.rig.journal.answers[1]


def test_mistakes_are_told_for_as_long_as_they_are_there() -> None:
    lab = Lab()
    with running(lab.rig):
        lab.save({HOST: "home"}, mistakes=["sheetd.toml:3: sheet.tab: is wrong"])
        until(lambda: lab.view().get("mistakes") == ["sheetd.toml:3: sheet.tab: is wrong"], "it is told")
        lab.save({HOST: "home"})
        until(lambda: lab.view().get("mistakes") == [], "it is put right")
