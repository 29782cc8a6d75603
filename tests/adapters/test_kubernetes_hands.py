from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from kube_world import NAMESPACE, Door, World

from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.adapters.kubernetes.cordons import ANNOTATION, signature
from healer.errors import Permanent, Temporary, UnknownOutcome
from healer.lab.kube.faults import Fault
from healer.lab.mount import MountedPool
from healer.lab.web import Server
from healer.model.actions import (
    Action,
    CordonNode,
    Escalate,
    EvictPod,
    RollbackWorkload,
    ScaleWorkload,
    UncordonNode,
)
from healer.model.target import Kind, Target
from healer.settings import KubernetesSettings

OWNER = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)


class Scene:
    def __init__(self, world: World, url: str = "") -> None:
        """Mounted in process without a url."""
        self.world = world
        self.settings = KubernetesSettings(url=url or "http://mounted")
        self.api = connect(self.settings)
        if not url:
            self.api.rest_client.pool_manager = MountedPool(world.server.handle)
        self.hands = KubernetesHands(self.api, world.clock, timeout_s=(1.0, 0.5))
        self.cluster = KubernetesCluster(self.api, self.settings, world.clock)
        self.cluster.denied()  # asked before any fault, so that none strikes the question

    def fault(self, kind: Any, **more: Any) -> None:
        self.world.server.faults.add(Fault(kind, method="!GET", **more))

    def writes(self) -> list[tuple[str, int]]:
        return [(w.method, w.status) for w in self.world.server.write_log if not w.dry_run]

    def eviction(self) -> EvictPod:
        meta = self.world.pods()[0]["metadata"]
        target = Target(Kind.POD, meta["name"], NAMESPACE, meta["uid"])
        return EvictPod(target, OWNER, meta["uid"])

    def node(self, name: str = "gpu-a") -> Target:
        found = self.world.store.get("nodes", "", name)
        assert found is not None
        return Target(Kind.NODE, name, "", found["metadata"]["uid"])

    def spec_of(self, name: str = "gpu-a") -> dict[str, Any]:
        found = self.world.store.get("nodes", "", name)
        assert found is not None
        return found

    def scaling(self, replicas: int = 4, was: int = 3) -> ScaleWorkload:
        uid = self.world.get("apps/deployments", "llama")["metadata"]["uid"]
        return ScaleWorkload(replace(OWNER, uid=uid), replicas, was, uid)

    def rollback(self) -> RollbackWorkload:
        """After a rollout to a broken image, back to the first revision."""
        self.cluster.view()
        self.world.set_image("vllm:bad")
        self.world.step(3)
        topology = self.cluster.view().topology
        good = next(r for r in topology.of(Kind.REVISION) if r.facts["healthy_seen"])
        uid = self.world.get("apps/deployments", "llama")["metadata"]["uid"]
        return RollbackWorkload(
            replace(OWNER, uid=uid),
            good.target,
            good.target.uid,
            good.facts["template_digest"],
            good.facts["template"],
            "2",
            uid,
        )

    def action(self, verb: str) -> Action:
        match verb:
            case "evict":
                return self.eviction()
            case "cordon":
                return CordonNode(self.node(), self.node().uid, "1", "bad GPU")
            case "scale":
                return self.scaling()
        return self.rollback()


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Door, str]]:
    made = Door()
    with Server(made.handle) as server:
        yield made, server.url


@pytest.fixture
def scene() -> Scene:
    return Scene(populated())


@pytest.fixture
def far(door: tuple[Door, str]) -> Iterator[Scene]:
    """The same behind a real socket, for what only a socket can do."""
    door[0].world = world = populated()
    made = Scene(world, door[1])
    yield made
    world.server.faults.released.set()
    made.api.rest_client.pool_manager.clear()


def populated() -> World:
    world = World()
    for name in ("gpu-a", "gpu-b", "gpu-c"):
        world.node(name)
    world.deployment()
    world.step(3)
    return world


VERBS = ("evict", "cordon", "scale", "rollback")


@pytest.mark.parametrize("verb", VERBS)
def test_a_rehearsal_asks_everything_and_changes_nothing(verb: str, scene: Scene) -> None:
    action = scene.action(verb)
    version = scene.world.store.version
    receipt = scene.hands.rehearse(action, "i1")
    assert (receipt.ok, receipt.dry_run) == (True, True)
    assert scene.world.store.version == version
    assert scene.hands.holds(action, "i1") is False


@pytest.mark.parametrize("verb", VERBS)
def test_carried_out_it_is_there_with_before_and_after(verb: str, far: Scene) -> None:
    action = far.action(verb)
    receipt = far.hands.carry_out(action, "i1")
    assert (receipt.ok, receipt.dry_run) == (True, False)
    assert receipt.before
    assert receipt.after
    assert receipt.before != receipt.after
    assert far.hands.holds(action, "i1") is True
    assert len(far.writes()) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_a_lost_answer_is_an_unknown_outcome_and_never_sent_again(verb: str, far: Scene) -> None:
    action = far.action(verb)
    far.fault("lose_answer")
    with pytest.raises(UnknownOutcome):
        far.hands.carry_out(action, "i1")
    assert len(far.writes()) == 1
    assert far.hands.holds(action, "i1") is True


@pytest.mark.parametrize("verb", VERBS)
def test_no_answer_in_time_is_an_unknown_outcome(verb: str, far: Scene) -> None:
    action = far.action(verb)
    far.fault("hang", hang_s=5)
    with pytest.raises(UnknownOutcome):
        far.hands.carry_out(action, "i1")
    assert far.hands.holds(action, "i1") is False


@pytest.mark.parametrize("verb", VERBS)
def test_a_server_error_is_an_unknown_outcome(verb: str, scene: Scene) -> None:
    scene.fault("error")
    with pytest.raises(UnknownOutcome, match="etcdserver"):
        scene.hands.carry_out(scene.action(verb), "i1")
    assert len(scene.writes()) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_a_rehearsal_without_an_answer_is_only_temporary(verb: str, scene: Scene) -> None:
    scene.fault("lose_request")
    with pytest.raises(Temporary) as raised:
        scene.hands.rehearse(scene.action(verb), "i1")
    assert not isinstance(raised.value, UnknownOutcome)


@pytest.mark.parametrize(("given", "wanted"), [(7, 7.0), (None, 5.0)])
def test_throttling_says_when_to_come_back(given: int | None, wanted: float, scene: Scene) -> None:
    scene.fault("throttle", retry_after_s=given)
    receipt = scene.hands.carry_out(scene.eviction(), "i1")
    assert (receipt.ok, receipt.gone, receipt.retry_after_s) == (False, False, wanted)


def test_a_server_that_is_not_there_is_temporary_because_nothing_was_sent(scene: Scene) -> None:
    away = KubernetesHands(connect(KubernetesSettings(url="http://127.0.0.1:1")), scene.world.clock)
    with pytest.raises(Temporary) as raised:
        away.carry_out(scene.eviction(), "i1")
    assert not isinstance(raised.value, UnknownOutcome)
    assert away.holds(scene.eviction(), "i1") is None


@pytest.mark.parametrize("verb", ["create", "patch"])
def test_what_is_forbidden_is_permanent(verb: str, scene: Scene) -> None:
    scene.world.server.access.deny(verb, "*")
    action = scene.eviction() if verb == "create" else scene.scaling()
    with pytest.raises(Permanent, match=f"cannot {verb} resource"):
        scene.hands.rehearse(action, "i1")


# ------------------------------------------------------------------ evict


def test_a_used_up_budget_says_later_and_changes_nothing(scene: Scene) -> None:
    scene.world.budget(minAvailable=3)
    scene.world.step()
    receipt = scene.hands.carry_out(scene.eviction(), "i1")
    assert (receipt.ok, receipt.gone) == (False, False)
    assert receipt.retry_after_s == 10.0
    assert "needs 3 healthy pods and has 3 currently" in receipt.detail
    assert len(scene.world.pods()) == 3


def test_two_budgets_are_for_a_person_to_sort_out(scene: Scene) -> None:
    scene.world.budget(minAvailable=1)
    scene.world.store.create(
        "policy/poddisruptionbudgets",
        {
            "metadata": {"name": "second", "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": "llama"}}, "minAvailable": 1},
        },
    )
    scene.world.step()
    with pytest.raises(Permanent, match="more than one PodDisruptionBudget"):
        scene.hands.carry_out(scene.eviction(), "i1")


def test_a_successor_of_the_same_name_is_left_alone(scene: Scene) -> None:
    action = scene.eviction()
    stale = replace(action, uid="00000000-0000-0000-0000-000000000000")
    receipt = scene.hands.carry_out(stale, "i1")
    assert (receipt.ok, receipt.gone) == (False, True)
    assert scene.writes() == []
    assert scene.hands.holds(stale, "i1") is True


def test_a_pod_that_is_gone_is_gone(scene: Scene) -> None:
    action = scene.eviction()
    scene.world.store.delete("pods", NAMESPACE, action.target.name)
    assert scene.hands.carry_out(action, "i1").gone


def test_a_pod_that_nobody_would_replace_is_refused(scene: Scene) -> None:
    with pytest.raises(Permanent, match="no controller"):
        scene.hands.carry_out(replace(scene.eviction(), owner=None), "i1")
    action = scene.eviction()
    with pytest.raises(Permanent, match="no UID"):
        scene.hands.carry_out(replace(action, uid="", target=replace(action.target, uid="")), "i1")
    assert scene.writes() == []


def test_a_static_pod_is_refused(scene: Scene) -> None:
    def mark(pod: dict[str, Any]) -> None:
        pod["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}

    action = scene.eviction()
    scene.world.store.modify("pods", NAMESPACE, action.target.name, mark)
    with pytest.raises(Permanent, match="static pod"):
        scene.hands.carry_out(action, "i1")


# ------------------------------------------------------------------ cordon


def test_a_cordon_is_signed_in_the_same_request(scene: Scene) -> None:
    scene.hands.carry_out(CordonNode(scene.node(), scene.node().uid, "", "Xid 79"), "i7")
    node = scene.spec_of()
    assert node["spec"]["unschedulable"] is True
    signed = signature(node)
    assert signed is not None
    assert (signed["intent"], signed["owner"], signed["reason"]) == ("i7", "healer", "Xid 79")
    assert signed["prior_unschedulable"] is False
    (write,) = scene.world.server.write_log
    assert write.body["metadata"]["resourceVersion"]


def test_somebody_elses_cordon_stays_theirs(scene: Scene) -> None:
    scene.world.store.modify("nodes", "", "gpu-a", lambda n: n["spec"].update(unschedulable=True))
    receipt = scene.hands.carry_out(CordonNode(scene.node(), scene.node().uid), "i7")
    assert receipt.ok
    assert "somebody else" in receipt.detail
    assert ANNOTATION not in scene.spec_of()["metadata"].get("annotations", {})
    undo = UncordonNode(scene.node(), scene.node().uid, "i7")
    assert scene.hands.carry_out(undo, "i8").gone
    assert scene.writes() == []


def test_our_own_cordon_is_taken_back_whole(scene: Scene) -> None:
    scene.hands.carry_out(CordonNode(scene.node(), scene.node().uid), "i7")
    other = UncordonNode(scene.node(), scene.node().uid, "i9")
    assert scene.hands.carry_out(other, "i8").gone
    undo = UncordonNode(scene.node(), scene.node().uid, "i7")
    assert scene.hands.holds(undo, "i8") is False
    assert scene.hands.carry_out(undo, "i8").ok
    assert scene.hands.holds(undo, "i8") is True
    assert "unschedulable" not in scene.spec_of()["spec"]
    assert ANNOTATION not in scene.spec_of()["metadata"].get("annotations", {})


def test_a_node_that_is_being_removed_is_not_opened_again(scene: Scene) -> None:
    scene.hands.carry_out(CordonNode(scene.node(), scene.node().uid), "i7")
    taint = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
    scene.world.store.modify("nodes", "", "gpu-a", lambda n: n["spec"].update(taints=[taint]))
    receipt = scene.hands.carry_out(UncordonNode(scene.node(), "", "i7"), "i8")
    assert (receipt.gone, "karpenter" in receipt.detail) == (True, True)


def test_another_node_of_the_same_name_is_not_cordoned(scene: Scene) -> None:
    assert scene.hands.carry_out(CordonNode(scene.node(), "other-uid"), "i7").gone
    assert scene.writes() == []


def test_a_race_for_the_node_is_lost_politely(scene: Scene) -> None:
    scene.fault("conflict")
    receipt = scene.hands.carry_out(CordonNode(scene.node(), scene.node().uid), "i7")
    assert (receipt.ok, receipt.gone, receipt.retry_after_s) == (False, False, 1.0)


# ------------------------------------------------------------------ scale


def test_scaling_twice_to_the_same_number_is_once(scene: Scene) -> None:
    assert scene.hands.carry_out(scene.scaling(), "i1").ok
    again = scene.hands.carry_out(scene.scaling(), "i1")
    assert (again.ok, again.detail) == (True, "4 replicas already")
    assert len(scene.writes()) == 1


def test_a_workload_that_somebody_else_scaled_is_planned_anew(scene: Scene) -> None:
    scene.world.store.modify(
        "apps/deployments", NAMESPACE, "llama", lambda obj: obj["spec"].update(replicas=6)
    )
    receipt = scene.hands.carry_out(scene.scaling(), "i1")
    assert (receipt.ok, receipt.gone) == (False, True)
    assert "has 6 replicas, decided on 3" in receipt.detail


def test_nothing_is_ever_scaled_to_zero(scene: Scene) -> None:
    with pytest.raises(Permanent, match="end the service"):
        scene.hands.rehearse(scene.scaling(0), "i1")


def test_what_has_no_scale_is_refused(scene: Scene) -> None:
    daemon = Target(Kind.WORKLOAD, "daemonset/exporter", NAMESPACE)
    with pytest.raises(Permanent, match="cannot be scaled"):
        scene.hands.carry_out(ScaleWorkload(daemon, 2, 1), "i1")


# ------------------------------------------------------------------ rollback


def test_a_rollback_restores_template_and_keeps_annotations(scene: Scene) -> None:
    action = scene.rollback()
    assert scene.hands.carry_out(action, "i1").ok
    deployment = scene.world.get("apps/deployments", "llama")
    assert deployment["spec"]["template"] == action.template
    notes = deployment["metadata"]["annotations"]
    assert notes["deployment.kubernetes.io/revision"] == "2"
    assert action.revision.name in notes["kubernetes.io/change-cause"]
    scene.world.step(4)
    images = {p["spec"]["containers"][0]["image"] for p in scene.world.pods()}
    assert images == {"vllm:1"}


def test_a_rollback_after_yet_another_rollout_is_planned_anew(scene: Scene) -> None:
    action = scene.rollback()
    scene.world.set_image("vllm:3")
    scene.world.step(3)
    assert scene.hands.carry_out(action, "i1").gone
    assert scene.writes() == []


def test_a_revision_that_is_no_longer_there_is_not_gone_back_to(scene: Scene) -> None:
    action = replace(scene.rollback(), revision_uid="other")
    assert scene.hands.carry_out(action, "i1").gone


def test_a_template_that_is_not_the_one_decided_on_is_refused(scene: Scene) -> None:
    action = replace(scene.rollback(), template={"spec": {"containers": []}})
    with pytest.raises(Permanent, match="is not that of"):
        scene.hands.carry_out(action, "i1")


def test_a_paused_deployment_is_left_to_its_owner(scene: Scene) -> None:
    action = scene.rollback()
    scene.world.store.modify(
        "apps/deployments", NAMESPACE, "llama", lambda obj: obj["spec"].update(paused=True)
    )
    with pytest.raises(Permanent, match="paused"):
        scene.hands.carry_out(action, "i1")


def test_escalating_touches_nothing(scene: Scene) -> None:
    action = Escalate(scene.node(), "nobody knows")
    assert scene.hands.carry_out(action, "i1").ok
    assert scene.hands.holds(action, "i1") is True
    assert scene.world.server.write_log == []
