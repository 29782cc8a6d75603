"""The lab and the daemon side by side on one stepped clock.

Each step moves the world first, then lets Healer look at it. The daemon gets nothing from the lab
but its two APIs; what is known beyond that is used for scoring only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType

from healer.adapters.clocks import SteppedClock
from healer.adapters.kubernetes import connect
from healer.app import App, open_world
from healer.lab.lab import Lab
from healer.lab.mount import MountedPool, MountedSession
from healer.lab.scenario import Scenario
from healer.model.report import Report
from healer.settings import (
    Arming,
    DetectorSettings,
    KubernetesSettings,
    Mode,
    PrometheusSettings,
    RemediationSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)

MOUNTED = "http://lab"
HEALING = ("restart_pod", "cordon_node", "drain_node", "scale", "rollback_model")
LEARN_EVERY = timedelta(minutes=10)


def lab_settings(
    store_url: str,
    prometheus_url: str = MOUNTED,
    kubernetes_url: str = MOUNTED,
    mode: Mode = Mode.ENFORCE,
    namespaces: tuple[str, ...] = ("serving",),
) -> Settings:
    """What somebody would write who arms everything in the serving namespace, without asking."""
    arm = {name: Arming(mode=mode, namespaces=namespaces, approval=False) for name in HEALING}
    return Settings(
        prometheus=PrometheusSettings(url=prometheus_url),
        kubernetes=KubernetesSettings(url=kubernetes_url),
        detectors=DetectorSettings(backend="threading"),
        remediation=RemediationSettings(
            mode=mode,
            arm=arm,
            cooldown=timedelta(minutes=5),
            # a day's worth of faults comes within the hour
            max_per_hour={"target": 6, "namespace": 20, "cluster": 30},
        ),
        store=StoreSettings(url=store_url),
        server=ServerSettings(port=0, anonymous_read=True),
    )


@dataclass
class Simulation:
    """`step()` moves everything by one tick. Sockets are used where `settings` name their URLs."""

    lab: Lab
    settings: Settings
    clock: SteppedClock = field(init=False)
    app: App = field(init=False)
    _learned: datetime | None = None

    def __post_init__(self) -> None:
        self.clock = SteppedClock(self.lab.now)
        session = api = None
        if self.settings.prometheus.url == MOUNTED:
            session = MountedSession(self.lab.prometheus)
            api = connect(self.settings.kubernetes)
            setattr(api.rest_client, "pool_manager", MountedPool(self.lab.kubernetes))  # noqa: B010
        world = open_world(self.settings, self.clock, session, api)
        self.app = App(self.settings, world)
        self.app.begin()

    @property
    def scenario(self) -> Scenario:
        return self.lab.scenario

    @property
    def ended(self) -> bool:
        return self.lab.now >= self.scenario.start + self.scenario.duration

    def step(self) -> Report:
        interval = self.settings.loop.interval
        self.clock.move(interval)
        self.lab.advance(self.clock.now())
        report = self.app.tick()
        self.app.post()
        now = self.clock.now()
        if self._learned is None or now - self._learned >= LEARN_EVERY:
            self._learned = now
            self.app.learn()
        return report

    def turn_to(self, scenario: Scenario) -> None:
        """Another story in the same world: nothing may have been broken yet."""
        self.lab.turn_to(scenario)

    def run(
        self,
        watch: Callable[[Report], None] = lambda _report: None,
        until: Callable[[Report], bool] = lambda _report: False,
    ) -> None:
        """To the end of the scenario as fast as it goes, or until a report says so."""
        late = self.scenario.perturb.late
        if late and self.scenario.faults:
            first = min(fault.at for fault in self.scenario.faults)
            self.lab.advance(self.scenario.start + first + late)
            self.clock.move_to(self.lab.now)
        while not self.ended:
            report = self.step()
            watch(report)
            if until(report):
                return

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.app.close()
