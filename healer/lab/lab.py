"""The lab as its users see it: two HTTP APIs, a clock that is moved, and the truth for scoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from healer.lab import history
from healer.lab.apiserver import Write
from healer.lab.prometheus import PrometheusApi
from healer.lab.scenario import Scenario
from healer.lab.tsdb import Tsdb
from healer.lab.web import Handler, Server
from healer.lab.world import World


class Lab:
    """Built settled: at `scenario.start` it has its history and nothing is just beginning."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._tsdb = Tsdb()
        self.world = World(scenario, self._tsdb)
        self.world.load_at_once()
        history.fill(self.world)
        self.world.advance(scenario.start)
        self.prometheus_api = PrometheusApi(self._tsdb, self._now_s)
        self._setup_writes = len(self.world.api.write_log)

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
