"""The lab as its users see it: two HTTP APIs, a clock that is moved, and the truth for scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from healer.errors import BadInput
from healer.lab import history
from healer.lab.apiserver import Write
from healer.lab.prometheus import PrometheusApi
from healer.lab.scenario import ModelSpec, Scenario
from healer.lab.tsdb import Tsdb
from healer.lab.web import Handler, Server
from healer.lab.world import World


class Lab:
    """Built settled: at `scenario.start` it has its history and nothing is just beginning.

    Raises BadInput where the models do not fit on the nodes.
    """

    def __init__(self, scenario: Scenario, retention: timedelta | None = None) -> None:
        """retention: of samples, for a lab that runs for days; all are kept where none is given."""
        retention_s = float("inf") if retention is None else retention.total_seconds()
        self.scenario = scenario
        self._tsdb = Tsdb(retention_s)
        self.world = World(scenario, self._tsdb)
        self.world.load_at_once()
        if self._left_out():
            self._tsdb = Tsdb(retention_s)
            self.world = World(scenario, self._tsdb, large_first=True)
            self.world.load_at_once()
        for at, model, placed in self._left_out():
            raise BadInput(
                f"expected replicas that fit on the nodes beside the others; {placed} do",
                path=f"models.{at}.replicas",
                value=model.replicas,
            )
        history.fill(self.world)
        self.world.advance(scenario.start)
        self.prometheus_api = PrometheusApi(self._tsdb, self._now_s)
        self._setup_writes = len(self.world.api.write_log)

    def _left_out(self) -> list[tuple[int, ModelSpec, int]]:
        """Number of a model, the model, and how many of its replicas found a node."""
        found = [(m, len(self.world.kubelets.of(m.name))) for m in self.scenario.models]
        return [(at, m, n) for at, (m, n) in enumerate(found) if n < m.replicas]

    @property
    def now(self) -> datetime:
        return self.world.now

    def _now_s(self) -> float:
        return self.world.now.timestamp()

    def turn_to(self, scenario: Scenario) -> None:
        """What breaks from now on, in the same cluster with the same history."""
        self.scenario = scenario
        self.world.turn_to(scenario)

    def advance(self, to: datetime) -> None:
        self.world.advance(to)

    @property
    def prometheus(self) -> Handler:
        return self.prometheus_api.handle

    @property
    def kubernetes(self) -> Handler:
        return self.world.api.handle

    @property
    def write_log(self) -> list[Write]:
        """Every mutating request that came over HTTP since the start."""
        return self.world.api.write_log[self._setup_writes :]

    @contextmanager
    def serve(
        self, prometheus_port: int = 0, kubernetes_port: int = 0
    ) -> Iterator[tuple[str, str]]:
        """Both APIs on loopback sockets: (Prometheus' URL, the API server's URL)."""
        with (
            Server(self.prometheus, prometheus_port) as prometheus,
            Server(self.kubernetes, kubernetes_port) as kubernetes,
        ):
            yield prometheus.url, kubernetes.url
