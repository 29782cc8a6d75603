"""What Healer relies on in a Kubernetes API, asserted by its outcomes alone.

Runs against the simulator; against a genuine cluster when HEALER_TEST_CLUSTER=1 and KUBECONFIG
name one, in a namespace and on nodes of its own that it removes again; and against a control plane
of its own when KUBEBUILDER_ASSETS names the folder of its programs.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import charts
import pytest
import servers
import yaml
from control_plane import Agents, control_plane, missing
from kube_world import World
from kubernetes.client import ApiClient

from healer.adapters.clocks import SystemClock
from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.adapters.kubernetes.errors import read, write
from healer.lab.mount import MountedPool
from healer.model.actions import (
    CordonNode,
    DeletePod,
    EvictPod,
    QuarantinePod,
    ReleasePod,
    RestartWorkload,
    RollbackWorkload,
    ScaleWorkload,
    SetFloor,
    UncordonNode,
)
from healer.model.target import Kind, Target
from healer.ports import Clock
from healer.settings import KubernetesSettings

IMAGES = ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10")
BAD_IMAGE = "registry.invalid/no-such-image:1"
PATIENCE_S = 120.0
Install = Callable[[Path, str], tuple[ApiClient, ApiClient]]

pytestmark = pytest.mark.filterwarnings(
    "ignore::urllib3.exceptions.InsecureRequestWarning"  # a KUBECONFIG may ask for it
)


@dataclass
class Backend:
    """A cluster with a namespace of ours, reached through the API only."""

    api: ApiClient
    settings: KubernetesSettings
    clock: Clock
    namespace: str
    node_name: str
    settle: Callable[[], None]
    reading: ApiClient | None = None
    acting: ApiClient | None = None
    """With the rights that Healer has there; by default those of whoever runs the tests."""

    def __post_init__(self) -> None:
        reading, acting = self.reading or self.api, self.acting or self.api
        armed = (self.namespace,)
        self.cluster = KubernetesCluster(reading, self.settings, self.clock, armed, acting)
        self.hands = KubernetesHands(acting, self.clock)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = write(self.api, "POST", path, body)
        assert answer.ok, answer.message
        return answer.body

    def get(self, path: str) -> dict[str, Any]:
        answer = read(self.api, path)
        assert answer.ok, answer.message
        return answer.body

    def eventually(self, holds: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + PATIENCE_S
        for _ in range(1000):
            if holds():
                return
            assert time.monotonic() < ends, f"never: {what}"
            self.settle()
        pytest.fail(f"never: {what}")

    # what the tests work on

    @property
    def apps(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments"

    def deploy(self, replicas: int = 2) -> Target:
        container = {"name": "main", "image": IMAGES[0]}
        template = {"metadata": {"labels": {"app": "c"}}, "spec": {"containers": [container]}}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "c"}},
            "template": template,
        }
        made = self.create(self.apps, {"metadata": {"name": "c"}, "spec": spec})
        self.eventually(lambda: self.available() == replicas, "the replicas are available")
        return Target(Kind.WORKLOAD, "deployment/c", self.namespace, made["metadata"]["uid"])

    def available(self) -> int:
        found = self.get(f"{self.apps}/c").get("status") or {}
        return int(found.get("availableReplicas", 0))

    def set_image(self, image: str) -> None:
        body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
        kind = "application/strategic-merge-patch+json"
        answer = write(self.api, "PATCH", f"{self.apps}/c", body, content_type=kind)
        assert answer.ok, answer.message

    def budget(self, least: int) -> None:
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "c"}}}
        self.create(path, {"metadata": {"name": "c"}, "spec": spec})

        def counted() -> bool:
            status = self.get(f"{path}/c").get("status") or {}
            return int(status.get("currentHealthy", 0)) >= least

        self.eventually(counted, "the budget is counted")

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def eviction(self) -> EvictPod:
        meta = self.pods()[0]["metadata"]
        target = Target(Kind.POD, meta["name"], self.namespace, meta["uid"])
        owner = Target(Kind.WORKLOAD, "deployment/c", self.namespace)
        return EvictPod(target, owner, meta["uid"])

    def node(self) -> Target:
        meta = self.get(f"/api/v1/nodes/{self.node_name}")["metadata"]
        return Target(Kind.NODE, self.node_name, "", meta["uid"])

    def cordoned(self) -> bool:
        spec = self.get(f"/api/v1/nodes/{self.node_name}").get("spec") or {}
        return bool(spec.get("unschedulable"))


def simulated() -> Iterator[Backend]:
    world = World(broken_images={BAD_IMAGE})
    for name in ("node-a", "node-b", "spare"):
        world.node(name)
    world.store.create("namespaces", {"metadata": {"name": "contract"}})
    settings = KubernetesSettings(url="http://mounted")
    api = connect(settings)
    api.rest_client.pool_manager = MountedPool(world.server.handle)

    def settle() -> None:
        world.step()

    # Kubelets of the small world live in one namespace; here they serve this one.
    world.set_ready = _ready_in(world, "contract")  # type: ignore[method-assign]
    yield Backend(api, settings, world.clock, "contract", "spare", settle)


def _ready_in(world: World, namespace: str) -> Callable[[str, bool], None]:
    def set_ready(name: str, ready: bool) -> None:
        now = {"type": "Ready", "status": str(ready)}
        world.store.patch_status("pods", namespace, name, {"phase": "Running", "conditions": [now]})

    return set_ready


def genuine() -> Iterator[Backend]:
    if os.environ.get("HEALER_TEST_CLUSTER") != "1" or not os.environ.get("KUBECONFIG"):
        pytest.skip("a genuine cluster needs HEALER_TEST_CLUSTER=1 and KUBECONFIG")
    yield from _named_by(Path(os.environ["KUBECONFIG"]))


def _named_by(kubeconfig: Path, install: Install | None = None) -> Iterator[Backend]:
    """A namespace and nodes of our own, which are taken away again."""
    settings = KubernetesSettings(kubeconfig=kubeconfig)
    api = connect(settings)
    namespace = f"healer-contract-{uuid.uuid4().hex[:8]}"
    assert write(api, "POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}).ok
    agents = Agents(api, namespace, frozenset({BAD_IMAGE}))
    played = not _has_kubelets(api)
    nodes = [f"{namespace}-{each}" for each in ("a", "b", "spare")] if played else [namespace]
    for name in nodes:
        # Without a kubelet a node object is enough to be cordoned.
        agents.node(name, ready=played)

    def settle() -> None:
        if played:
            agents.work()
        time.sleep(0.2)

    rights = install(kubeconfig, namespace) if install else (None, None)
    try:
        yield Backend(api, settings, SystemClock(), namespace, nodes[-1], settle, *rights)
    finally:
        write(api, "DELETE", f"/api/v1/namespaces/{namespace}", {})
        for _ in range(50):
            if not played or read(api, f"/api/v1/namespaces/{namespace}").code == 404:
                break
            settle()
        for name in nodes:
            write(api, "DELETE", f"/api/v1/nodes/{name}", {})
        api.rest_client.pool_manager.clear()


def _has_kubelets(api: ApiClient) -> bool:
    """Whether a kubelet has renewed its lease lately."""
    found = read(api, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
    since = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    return any((lease["spec"].get("renewTime") or "") > since for lease in found.body["items"])


def played() -> Iterator[Backend]:
    """The simulator, with its kubelets played over the API as on a control plane of our own."""
    world = World(broken_images={BAD_IMAGE})
    world.store.create("namespaces", {"metadata": {"name": "contract"}})
    settings = KubernetesSettings(url="http://mounted")
    api = connect(settings)
    api.rest_client.pool_manager = MountedPool(world.server.handle)
    agents = Agents(api, "contract", frozenset({BAD_IMAGE}))
    for name in ("node-a", "node-b", "spare"):
        agents.node(name)

    def settle() -> None:
        world.controllers.step(world.clock.now())
        agents.work()
        world.controllers.step(world.clock.now())
        world.clock.move(timedelta(seconds=5))

    yield Backend(api, settings, world.clock, "contract", "spare", settle)


def built() -> Iterator[Backend]:
    """A genuine control plane without kubelets."""
    for kubeconfig in _built():
        yield from _named_by(kubeconfig)


def _built() -> Iterator[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets:
        pytest.skip("a control plane of our own needs KUBEBUILDER_ASSETS")
    if lacking := missing(assets):
        pytest.skip(f"{assets} lacks {', '.join(lacking)}")
    with control_plane(assets) as kubeconfig:
        yield kubeconfig


def chartered() -> Iterator[Backend]:
    """A genuine control plane on which Healer has what the chart gives it, and nothing else."""
    for kubeconfig in _built():
        yield from _named_by(kubeconfig, _installed)


def _installed(kubeconfig: Path, namespace: str) -> tuple[ApiClient, ApiClient]:
    """Clients of the identity that reads and of the one that acts, with everything armed."""
    names = yaml.safe_load((charts.CHART / "values.yaml").read_text())["remediation"]["actions"]
    armed = {"namespaces": [namespace], "actions": {name: {"enabled": True} for name in names}}
    text = charts.template({"remediation": armed}, "--kube-version", "1.36.0")

    def kubectl(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [servers.binary("kubectl"), "--kubeconfig", kubeconfig, *arguments],
            input=given, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    kubectl("create", "namespace", charts.NAMESPACE)
    kubectl("apply", "-f", "-", given=text)
    token = kubectl("create", "token", "r-healer", "--namespace", charts.NAMESPACE)
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    own = kubeconfig.with_name("healer.kubeconfig")
    own.write_text(yaml.safe_dump(config))
    given = KubernetesSettings(kubeconfig=own)
    user = f"system:serviceaccount:{charts.NAMESPACE}:r-healer-act"
    return connect(given), connect(given, user)


@pytest.fixture(
    params=[
        pytest.param(simulated, id="simulator", marks=pytest.mark.sim_only),
        pytest.param(played, id="played", marks=pytest.mark.sim_only),
        pytest.param(genuine, id="genuine", marks=pytest.mark.real_ok),
        pytest.param(built, id="built", marks=pytest.mark.real_ok),
        pytest.param(chartered, id="chartered", marks=pytest.mark.real_ok),
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    yield from request.param()


def test_the_view_knows_the_workload_its_revision_and_its_pods(backend: Backend) -> None:
    target = backend.deploy()
    view = backend.cluster.view()
    assert view.ok
    topology = view.topology
    assert len(topology.related(target, Kind.POD)) == 2
    (revision,) = topology.related(target, Kind.REVISION)
    assert topology.fact(revision, "healthy_seen") is True
    for pod in topology.related(target, Kind.POD):
        assert topology.related(pod, Kind.NODE)


def test_we_may_do_all_that_we_can(backend: Backend) -> None:
    assert backend.cluster.denied() == {}


def test_an_evicted_pod_is_replaced_by_another(backend: Backend) -> None:
    backend.deploy()
    action = backend.eviction()
    before = {pod["metadata"]["uid"] for pod in backend.pods()}
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.holds(action, "i") is False
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(
        lambda: (
            backend.available() == 2
            and action.uid not in {pod["metadata"]["uid"] for pod in backend.pods()}
        ),
        "the replacement is available",
    )
    assert {pod["metadata"]["uid"] for pod in backend.pods()} - before


def test_a_used_up_budget_refuses_in_rehearsal_and_in_earnest(backend: Backend) -> None:
    backend.deploy()
    backend.budget(2)
    action = backend.eviction()
    for do in (backend.hands.rehearse, backend.hands.carry_out):
        receipt = do(action, "i")
        assert (receipt.ok, receipt.gone) == (False, False)
        assert receipt.retry_after_s is not None
    assert backend.hands.holds(action, "i") is False


def test_an_eviction_for_another_uid_does_nothing(backend: Backend) -> None:
    backend.deploy()
    action = backend.eviction()
    path = f"/api/v1/namespaces/{backend.namespace}/pods/{action.target.name}/eviction"
    options = {"preconditions": {"uid": str(uuid.uuid4())}}
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": action.target.name},
        "deleteOptions": options,
    }
    assert write(backend.api, "POST", path, body).code == 409
    assert backend.hands.holds(action, "i") is False


def test_a_cordon_comes_and_goes(backend: Backend) -> None:
    target = backend.node()
    action = CordonNode(target, target.uid, "", "test")
    assert backend.hands.rehearse(action, "i7").ok
    assert not backend.cordoned()
    assert backend.hands.carry_out(action, "i7").ok
    assert backend.cordoned()
    assert backend.hands.carry_out(UncordonNode(target, target.uid, "other"), "i8").gone
    assert backend.cordoned()
    assert backend.hands.carry_out(UncordonNode(target, target.uid, "i7"), "i8").ok
    assert not backend.cordoned()


def test_a_stale_version_loses(backend: Backend) -> None:
    path = f"/api/v1/nodes/{backend.node_name}"
    stale = backend.get(path)["metadata"]["resourceVersion"]
    kind = "application/merge-patch+json"
    body: dict[str, Any] = {"metadata": {"labels": {"healer.dev/touched": "yes"}}}
    assert write(backend.api, "PATCH", path, body, content_type=kind).ok
    body = {"metadata": {"resourceVersion": stale}, "spec": {"unschedulable": True}}
    assert write(backend.api, "PATCH", path, body, content_type=kind).code == 409
    assert not backend.cordoned()


def test_scaling_is_to_an_absolute_number(backend: Backend) -> None:
    target = backend.deploy()
    action = ScaleWorkload(target, 3, 2, target.uid)
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.holds(action, "i") is False
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(lambda: backend.available() == 3, "three replicas are available")
    assert backend.hands.carry_out(ScaleWorkload(target, 5, 2, target.uid), "i").gone


def test_a_rollback_restores_the_healthy_revision(backend: Backend) -> None:
    target = backend.deploy()
    good = backend.cluster.view().topology.related(target, Kind.REVISION)[0]
    backend.set_image(BAD_IMAGE)

    def rolled() -> bool:
        return len(backend.cluster.view().topology.related(target, Kind.REVISION)) == 2

    backend.eventually(rolled, "the new revision appears")
    topology = backend.cluster.view().topology
    action = RollbackWorkload(
        target,
        good,
        good.uid,
        topology.fact(good, "template_digest"),
        topology.fact(good, "template"),
        "2",
        target.uid,
    )
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.holds(action, "i") is False
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(
        lambda: {p["spec"]["containers"][0]["image"] for p in backend.pods()} == {IMAGES[0]},
        "only the healthy image runs",
    )
    active = [
        r
        for r in backend.cluster.view().topology.related(target, Kind.REVISION)
        if backend.cluster.view().topology.fact(r, "active")
    ]
    assert active == [good]


def test_a_deletion_passes_a_used_up_budget_and_holds_to_its_uid(backend: Backend) -> None:
    target = backend.deploy()
    backend.budget(2)
    pod = backend.eviction().target
    other = replace(pod, uid=str(uuid.uuid4()))
    assert backend.hands.carry_out(DeletePod(other, target, other.uid), "i").gone
    action = DeletePod(pod, target, pod.uid)
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.holds(action, "i") is False
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(
        lambda: pod.uid not in {p["metadata"]["uid"] for p in backend.pods()}, "it is gone"
    )


def test_a_restart_replaces_all_pods(backend: Backend) -> None:
    target = backend.deploy()
    before = {pod["metadata"]["uid"] for pod in backend.pods()}
    action = RestartWorkload(target, "2026-03-04T12:00:00+00:00", target.uid)
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.holds(action, "i") is False
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(
        lambda: not before & {p["metadata"]["uid"] for p in backend.pods()}, "all are new"
    )


def test_an_autoscalers_minimum_goes_up_and_back(backend: Backend) -> None:
    target = backend.deploy()
    path = f"/apis/autoscaling/v2/namespaces/{backend.namespace}/horizontalpodautoscalers"
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "c"},
        "minReplicas": 1,
        "maxReplicas": 4,
    }
    made = backend.create(path, {"metadata": {"name": "c"}, "spec": spec})
    uid = made["metadata"]["uid"]
    action = SetFloor(target, "horizontalpodautoscaler/c", 3, 1, uid)
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(lambda: backend.available() == 3, "the autoscaler follows")
    back = replace(action, floor=1, was=3, takes_back="i")
    assert backend.hands.carry_out(back, "i2").ok
    assert backend.get(f"{path}/c")["spec"]["minReplicas"] == 1


def test_a_quarantined_pod_is_replaced_and_taken_back(backend: Backend) -> None:
    target = backend.deploy()
    pod = backend.eviction().target
    action = QuarantinePod(pod, ("app",), target, pod.uid)
    assert backend.hands.rehearse(action, "i").ok
    assert backend.hands.carry_out(action, "i").ok
    assert backend.hands.holds(action, "i") is True
    backend.eventually(lambda: len(backend.pods()) == 3, "it is replaced and kept")
    assert backend.hands.carry_out(ReleasePod(pod, pod.uid, "i"), "i2").ok
    backend.eventually(
        lambda: len([p for p in backend.pods() if "deletionTimestamp" not in p["metadata"]]) == 2,
        "one too many goes",
    )


MERGE = "application/merge-patch+json"


@pytest.fixture
def chart() -> Iterator[Backend]:
    yield from chartered()


@pytest.mark.real_ok
def test_what_the_chart_does_not_give_is_refused_by_the_api_server(chart: Backend) -> None:
    chart.deploy()
    node, pod = f"/api/v1/nodes/{chart.node_name}", chart.pods()[0]["metadata"]["name"]
    pods = f"/api/v1/namespaces/{chart.namespace}/pods"
    reading, acting = chart.reading, chart.acting
    assert reading is not None
    assert acting is not None

    def policed(path: str, body: dict[str, Any], api: ApiClient = acting) -> bool:
        answer = write(api, "PATCH", path, body, content_type=MERGE, dry_run=True)
        return "ValidatingAdmissionPolicy" in answer.message

    labelled = {"metadata": {"labels": {"pool": "mine"}}}
    chart.eventually(lambda: policed(node, labelled), "the policies are in force")
    for path, body in (
        (node, {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}),
        (node, {"metadata": {"annotations": {"another": "note"}}}),
        (f"{pods}/{pod}", {"spec": {"activeDeadlineSeconds": 1}}),
        (f"{chart.apps}/c", {"spec": {"paused": True}}),
        (f"{chart.apps}/c", {"spec": {"replicas": 0}}),
    ):
        assert policed(path, body), (path, body)
    for api, method, path in (
        (acting, "POST", pods),
        (acting, "DELETE", f"{chart.apps}/c"),
        (acting, "POST", "/api/v1/namespaces/default/pods/x/eviction"),
        (acting, "DELETE", "/api/v1/namespaces/default/pods/x"),
        (reading, "PATCH", node),
        (reading, "POST", f"{pods}/{pod}/eviction"),
    ):
        kind = MERGE if method == "PATCH" else "application/json"
        answer = write(api, method, path, {}, content_type=kind, dry_run=True)
        assert answer.code == 403, (method, path, answer.message)
    for path in (f"/api/v1/namespaces/{chart.namespace}/secrets", "/api/v1/secrets"):
        assert read(reading, path).code == 403
        assert read(acting, path).code == 403
