"""The simulated cluster in steps: controllers, kubelets, traffic, engines, GPUs, faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from healer.lab import exposition, objects
from healer.lab.apiserver import ApiServer
from healer.lab.controllers import Controllers
from healer.lab.engine import E2E, Histogram, Request, Work, sample
from healer.lab.exposition import Scraper
from healer.lab.faults import KINDS
from healer.lab.faults.base import Fault, NotYet
from healer.lab.gpu import Gpu
from healer.lab.kubelet import Kubelets, Replica
from healer.lab.objects import NAMESPACE, node_name
from healer.lab.scenario import FaultSpec, ModelSpec, Scenario
from healer.lab.traffic import rate
from healer.lab.tsdb import Tsdb
from healer.values import build

STEP = timedelta(seconds=5)
SETTLE = timedelta(minutes=12)
"""The world runs that long before its start, so that nothing at the start is a beginning."""
CPUS = 128
LONGEST_OUTPUT = 4_000.0
"""Tokens; every engine has such a limit."""


@dataclass(slots=True)
class Broken:
    """A fault that has begun. For scoring; Healer never sees it."""

    spec: FaultSpec
    fault: Fault
    what: str
    at: datetime
    ended: bool = False
    pods: tuple[str, ...] = ()


@dataclass(slots=True)
class World:
    scenario: Scenario
    tsdb: Tsdb
    large_first: bool = False
    """Whether models of many GPUs were there before the small ones, which leave no room for them
    where they are spread over all nodes."""
    now: datetime = field(init=False)
    api: ApiServer = field(init=False)
    kubelets: Kubelets = field(init=False)
    gpus: list[Gpu] = field(init=False)
    surges: dict[str, tuple[datetime, float, float]] = field(default_factory=dict)
    """Model → (since, factor, ramp in seconds)."""
    longer: dict[str, float] = field(default_factory=dict)
    """Model → how much longer its prompts are."""
    releases: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Image tag → (speed, share of errors)."""
    silenced: set[tuple[str, str]] = field(default_factory=set)
    """(exporter, node) that do not answer; an empty node means all."""
    weights: dict[str, float] = field(default_factory=dict)
    """Pod → how often it is chosen against its siblings."""
    wordier: dict[str, float] = field(default_factory=dict)
    """Model → how much longer its outputs are."""
    leaks: dict[str, float] = field(default_factory=dict)
    """Model → share of its memory limit that each of its pods loses in an hour."""
    misled: set[str] = field(default_factory=set)
    """Nodes whose GPU exporter tells of faults that are not there."""
    slow_gateway: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Model → (seconds that a request waits before any engine sees it, share that gets through)."""
    later: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    """What a fault has yet to come."""
    broken: list[Broken] = field(default_factory=list)
    service: list[tuple[datetime, bool]] = field(default_factory=list)
    """Each step: whether clients of every model were well served. The truth, for scoring."""

    def __post_init__(self) -> None:
        self.now = self.scenario.start - SETTLE
        self.api = ApiServer(lambda: self.now)
        self.gpus = [
            Gpu(
                spec=self.scenario.cluster.gpu,
                uuid=f"GPU-{self.scenario.seed:08x}-0000-4000-8000-{node:06x}{index:06x}",
                index=index,
                node=node_name(node),
                pci_bus_id=f"00000000:{0x18 + index * 8:02X}:00.0",
                ambient_c=self.scenario.cluster.gpu.ambient_c,
            )
            for node in range(self.scenario.cluster.nodes)
            for index in range(self.scenario.cluster.gpus)
        ]
        self.kubelets = Kubelets(self.scenario, self.api.store, self.gpus)
        self._controllers = Controllers(self.api.store)
        self._rng = np.random.default_rng(self.scenario.seed)
        perturb = self.scenario.perturb
        self._scraper = Scraper(self.tsdb, perturb.missing, self.scenario.seed)
        self._next_scrape = self.now
        self._pending = sorted(self.scenario.faults, key=lambda f: f.at)
        self._cpu_busy_s: dict[str, float] = {}
        self._gateway: dict[str, float] = {}
        self._furnish()

    _controllers: Controllers = field(init=False)
    _rng: np.random.Generator = field(init=False)
    _scraper: Scraper = field(init=False)
    _next_scrape: datetime = field(init=False)
    _pending: list[FaultSpec] = field(init=False)
    _cpu_busy_s: dict[str, float] = field(init=False)
    _gateway: dict[str, float] = field(init=False)
    _waited: dict[str, Histogram] = field(default_factory=dict)

    # time

    def advance(self, to: datetime) -> None:
        """Step by step up to `to`; scrapes come when they are due."""
        while self.now + STEP <= to:
            self.now += STEP
            self._break(self.now)
            self._controllers.step(self.now)
            self._leak(STEP)
            self.kubelets.step(self.now)
            self._serve(STEP.total_seconds())
            if self.now >= self._next_scrape:
                self._scrape(self.now)
                self._next_scrape += self.scenario.scrape

    def turn_to(self, scenario: Scenario) -> None:
        """What breaks from now on; cluster, models and history have to be the same."""
        assert not self.broken
        self.scenario = scenario
        self._pending = sorted(scenario.faults, key=lambda f: f.at)

    def load_at_once(self) -> None:
        """Bring the first replicas up without waiting: the settled world."""
        self._controllers.step(self.now)
        self.kubelets.step(self.now)
        for replica in self.kubelets.replicas.values():
            replica.ready_at = self.now
        self.kubelets.step(self.now)
        self._controllers.step(self.now)

    def note_cpu(self, node: str, busy_s: float) -> None:
        """Where a node's CPU counter stands when the live part begins."""
        self._cpu_busy_s[node] = busy_s

    def note_gateway(self, model: str, requests: float) -> None:
        self._gateway[model] = requests

    def waited(self, model: str) -> Histogram:
        """How long clients of a model waited, as the gateway sees it."""
        return self._waited.setdefault(model, Histogram(E2E))

    # inside

    def _furnish(self) -> None:
        store = self.api.store
        store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        for index in range(self.scenario.cluster.nodes):
            store.create("nodes", objects.node(self.scenario, index))
        self.kubelets.step(self.now)
        for model in sorted(self.scenario.models, key=lambda m: -m.gpus * self.large_first):
            store.create("apps/deployments", objects.deployment(model))
            store.create("services", objects.service(model))
            store.create("policy/poddisruptionbudgets", objects.budget(model))
            if self.large_first:
                self._controllers.step(self.now)

    def _break(self, now: datetime) -> None:
        for spec in [each for each in self._pending if now >= self.scenario.start + each.at]:
            fault = build(KINDS[spec.kind], spec.options)
            before = tuple(r.name for r in self.kubelets.replicas.values())
            try:
                what = fault.begin(self, spec.target, now)
            except NotYet:
                continue
            self._pending.remove(spec)
            self.broken.append(Broken(spec, fault, what, now, pods=before))
        due = [each for each in self.later if each[0] <= now]
        self.later = [each for each in self.later if each[0] > now]
        for _, happen in due:
            happen()
        for one in self.broken:
            if one.spec.duration and not one.ended and now >= one.at + one.spec.duration:
                one.fault.end(self, one.spec.target, now)
                one.ended = True

    def _leak(self, span: timedelta) -> None:
        """Host memory that is never given back, until the kernel ends the container."""
        for replica in self.kubelets.replicas.values():
            per_hour = self.leaks.get(replica.model.name, 0.0)
            if per_hour and replica.ready:
                replica.memory_share += per_hour * (span / timedelta(hours=1))
                if replica.memory_share >= 1.0:
                    self.kubelets.crash(replica, self.now, "OOMKilled", 137, for_good=False)

    def _serve(self, dt_s: float) -> None:
        """Traffic and engines by the second, GPUs and clients' verdict by the step."""
        start_s = self.now.timestamp() - dt_s
        spent: dict[str, list[Work]] = {}
        for second in range(int(dt_s)):
            for model in self.scenario.models:
                self._serve_model(model, start_s + second, spent)
        well = all(self._is_well(m, self.kubelets.of(m.name)) for m in self.scenario.models)
        self.service.append((self.now, well))
        busy: dict[str, float] = {}
        work: dict[str, Work] = {}
        for replica in self.kubelets.replicas.values():
            if replica.uid in spent:
                mean = Work.mean(spent[replica.uid])
                work.update((gpu.uuid, mean) for gpu in replica.gpus)
                share = mean.prefill + 0.3 * mean.decode
                busy[replica.node] = busy.get(replica.node, 0.0) + share
        for gpu in self.gpus:
            if gpu.present:
                gpu.step(dt_s, work.get(gpu.uuid, Work() if gpu.holder else None))
        for index in range(self.scenario.cluster.nodes):
            name = node_name(index)
            share = min(0.9, 0.04 + 0.03 * busy.get(name, 0.0) + 0.01 * float(self._rng.random()))
            self._cpu_busy_s[name] = self._cpu_busy_s.get(name, 0.0) + share * CPUS * dt_s

    def _serve_model(self, model: ModelSpec, start_s: float, spent: dict[str, list[Work]]) -> None:
        replicas = self.kubelets.of(model.name)
        self._arrive(model, [r for r in replicas if r.ready], start_s, 1.0)
        for replica in replicas:
            if not replica.ready and not replica.ending:
                continue
            speed, errors = self._pace(replica)
            replica.engine.step(
                start_s,
                1.0,
                speed=speed,
                error_share=errors,
                patience_s=model.traffic.patience.total_seconds(),
                rng=self._rng,
            )
            spent.setdefault(replica.uid, []).append(replica.engine.work)

    def _pace(self, replica: Replica) -> tuple[float, float]:
        speed, errors = self.releases.get(replica.image.rpartition(":")[2], (1.0, 0.0))
        return speed * min((g.speed for g in replica.gpus), default=1.0), errors

    def _arrive(self, model: ModelSpec, ready: list[Replica], start_s: float, dt_s: float) -> None:
        mean = float(rate(model.traffic, np.array([start_s]))[0]) * self._surge(model.name)
        count = int(self._rng.poisson(mean * dt_s))
        self._gateway[model.name] = self._gateway.get(model.name, 0.0) + count
        wait_s, through = self.slow_gateway.get(model.name, (0.0, 1.0))
        if count:
            spread = self._rng.lognormal(0.0, exposition.GATEWAY_SIGMA, count)
            self.waited(model.name).observe(wait_s + exposition.GATEWAY_S * spread)
        count = int(self._rng.binomial(count, through))
        if not ready or not count:
            return
        prompts, outputs = sample(model.traffic, count, self._rng, self.longer.get(model.name, 1.0))
        outputs = np.minimum(outputs * self.wordier.get(model.name, 1.0), LONGEST_OUTPUT)
        when = np.sort(self._rng.uniform(start_s, start_s + dt_s, count))
        weights = np.array([self.weights.get(r.name, 1.0) for r in ready])
        chosen = self._rng.choice(len(ready), count, p=weights / weights.sum())
        for at, prompt, output, index in zip(when, prompts, outputs, chosen, strict=True):
            ready[index].engine.submit(Request(float(at), float(prompt), float(output)))

    def _surge(self, model: str) -> float:
        if model not in self.surges:
            return 1.0
        since, factor, ramp_s = self.surges[model]
        done = min(1.0, (self.now - since).total_seconds() / max(ramp_s, 1e-9))
        return 1.0 + (factor - 1.0) * done

    def _is_well(self, model: ModelSpec, replicas: list[Replica]) -> bool:
        """The truth about service, for scoring: long waits, stuck or failing requests."""
        at_s = self.now.timestamp()
        serving = [r for r in replicas if r.ready]
        oldest = max(
            (at_s - r.engine.waiting[0].arrived_s for r in serving if r.engine.waiting),
            default=0.0,
        )
        slowest = max(
            (
                (model.engine.token_s + model.engine.token_s_per_running * len(r.engine.running))
                / self._pace(r)[0]
                for r in serving
            ),
            default=0.0,
        )
        usual = model.engine.token_s + model.engine.token_s_per_running * model.engine.max_running
        failing = any(self._pace(r)[1] > 0.02 for r in serving)
        stuck = any(r.engine.hung for r in serving)
        short = len(serving) < model.replicas
        return not (oldest > 10.0 or slowest > 1.25 * usual or failing or stuck or short)

    # scrapes

    def _scrape(self, now: datetime) -> None:
        at_s, scraper = now.timestamp(), self._scraper
        seen: set[str] = set()
        for replica in self.kubelets.replicas.values():
            source = f"engine/{replica.name}"
            if replica.ready or (replica.ending and not replica.crashed):
                base = exposition.engine_base(replica.name, replica.ip, replica.model.name)
                up = not self._mute("engine", replica.node)
                self._one(source, base, exposition.engine(replica) if up else None, now)
                seen.add(source)
            if not replica.crashed and replica.node not in self.kubelets.silent:
                memory = f"memory/{replica.name}"
                base = exposition.memory_base(replica)
                scraper.scrape(memory, base, exposition.memory(replica), at_s)
                seen.add(memory)
        for index in range(self.scenario.cluster.nodes):
            name = node_name(index)
            self._scrape_gpus(name, now)
            busy_s = self._cpu_busy_s.get(name, 0.0)
            uptime = (now - self.scenario.start).total_seconds() + 30 * 86_400
            page = exposition.host(busy_s, CPUS, 0.08, uptime)
            up = not self._mute("node", name)
            self._one(f"host/{name}", exposition.node_base(index), page if up else None, now)
            seen |= {f"host/{name}", f"gpu/{name}", f"gpus/{name}"}
        items = {r: self.api.store.list(r) for r in ("pods", "nodes", "apps/deployments")}
        self._one("ksm", exposition.KSM_BASE, exposition.cluster(items), now)
        for name, count in self._gateway.items():
            labels = {
                "envoy_cluster_name": name,
                "namespace": NAMESPACE,
                "service": name,
                "envoy_response_code_class": "2",
            }
            page = iter([("envoy_cluster_upstream_rq_xx", labels, count)])
            if self.scenario.cluster.gateway:
                self._scrape_gateway(name, count, at_s)
                seen.add(f"picker/{name}")
            scraper.scrape(
                f"gateway/{name}", {"job": "gateway", "instance": "10.1.0.2:9901"}, page, at_s
            )
            seen.add(f"gateway/{name}")
        for source in scraper.sources - seen - {"ksm"}:
            if not source.startswith("up/"):
                scraper.vanish(source, at_s)
                scraper.vanish(f"up/{source}", at_s)

    def _scrape_gateway(self, model: str, count: float, at_s: float) -> None:
        """The inference gateway's endpoint picker: what clients wait, engines and all."""
        labels = {"model_name": model, "target_model_name": model}
        waited = self.waited(model)
        name = "inference_objective_request_duration_seconds"
        page = [
            ("inference_objective_request_total", labels, count),
            *((n, {**labels, **more}, v) for n, more, v in exposition.buckets(name, waited)),
        ]
        self._scraper.scrape(f"picker/{model}", exposition.PICKER_BASE, iter(page), at_s)

    def _scrape_gpus(self, node: str, now: datetime) -> None:
        base = exposition.gpu_base(node)
        up = not self._mute("dcgm", node)
        mine = [g for g in self.gpus if g.node == node]
        self._one(f"gpu/{node}", base, exposition.gpus(mine) if up else None, now)
        counts = exposition.gpu_counts(self, node) if up else iter(())
        if up and node in self.misled:
            counts = exposition.no_gpus(len(mine))
        at_s = self._at_node(node, now)
        self._scraper.scrape(f"gpus/{node}", {**base, "job": "healer-exporter"}, counts, at_s)

    def _one(self, source: str, base: exposition.Labels, page: object, now: datetime) -> None:
        """One target: its page and `up`, or only `up` 0 when it does not answer."""
        at_s = self._at_node(base.get("node", ""), now)
        if page is None:
            self._scraper.vanish(source, at_s)
        else:
            self._scraper.scrape(source, base, page, at_s)  # type: ignore[arg-type]
        labels = {k: v for k, v in base.items() if k not in ("model_name", "engine", "Hostname")}
        up = iter([("up", labels, float(page is not None))])
        self._scraper.scrape(f"up/{source}", {}, up, at_s)

    def _at_node(self, node: str, now: datetime) -> float:
        """When the sample is stamped: an agent on the node stamps with the node's own clock."""
        skew = self.scenario.perturb.skew.total_seconds()
        if not skew or not node:
            return now.timestamp()
        odd = int(node.rpartition("-")[2]) % 2
        return now.timestamp() + (skew if odd else -skew)

    def _mute(self, exporter: str, node: str) -> bool:
        return (exporter, node) in self.silenced or (exporter, "") in self.silenced
