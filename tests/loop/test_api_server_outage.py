"""The API server goes away in the middle of a fault, and comes back."""

from __future__ import annotations

from datetime import timedelta

from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import FaultSpec, HistorySpec, Scenario
from healer.lab.scoring import changes
from healer.lab.web import Handler, Request, Response

STORY = Scenario(
    "outage",
    duration=timedelta(minutes=14),
    history=HistorySpec(span=timedelta(days=2)),
    faults=(FaultSpec("engine_hang", at=timedelta(minutes=2), target="pod:llama-8b/1"),),
)


class Breakable(Lab):
    down = False

    @property
    def kubernetes(self) -> Handler:
        def answer(request: Request) -> Response:
            if self.down:
                return Response(503, b"upstream connect error", {"Content-Type": "text/plain"})
            return self.world.api.handle(request)

        return answer


def test_while_the_api_server_is_down_it_is_said_and_the_loop_recovers_by_itself() -> None:
    lab = Breakable(STORY)
    with Simulation(lab, lab_settings("sqlite://")) as story:
        while lab.now < STORY.start + timedelta(minutes=1):
            story.step()
        lab.down = True
        for _ in range(12):
            report = story.step()
            assert any(problem.where == "kubernetes" for problem in report.problems)
        assert changes(lab.write_log) == []
        assert story.app.health().database_ok
        lab.down = False
        report = story.step()
        assert not any(problem.where == "kubernetes" for problem in report.problems)
        story.run()
        assert [verb for _, verb, _ in changes(lab.write_log)] == ["evict"]
        assert story.app.store.verify_audit()[1] == ""
