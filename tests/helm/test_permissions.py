"""Whom the chart allows what: for every combination of switches, exactly the verbs that are used.

Three things are kept in step here: the roles that Helm renders, the table beside the executor,
and the requests that the hands really send.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import charts
import pytest
import servers
import yaml
from charts import NAMESPACE, Object, Right, armed, bound, of, one, rendered

from healer.adapters.kubernetes.listing import SOURCES
from healer.adapters.kubernetes.permissions import FURTHER, NEEDED
from healer.adapters.kubernetes.toggles import CLUSTER_SCOPED, TOGGLES
from healer.model.actions import VERBS

pytestmark = pytest.mark.server
READS = {"get", "list", "watch"}
OWN_NAMESPACE_WRITES = {"leases", "events", "configmaps"}
"""What a default install might write in its own namespace: its Lease, Events and intents."""
MOST = 512
"""Combinations that are rendered; with more switches, all of up to three and their complements."""


@pytest.fixture(autouse=True)
def _helm() -> None:
    servers.need("helm")


def combinations() -> list[tuple[str, ...]]:
    names = tuple(TOGGLES)
    sizes: Sequence[int] = range(len(names) + 1)
    if 2 ** len(names) > MOST:
        sizes = [n for n in sizes if n <= 3 or n >= len(names) - 3]
    return [each for size in sizes for each in itertools.combinations(names, size)]


def observed() -> set[Right]:
    """What the watch reads."""
    return {
        (verb, path[2] if path[1] == "apis" else "", path[-1])
        for source in SOURCES
        for path in [source.path.split("/")]
        for verb in READS
    }


def needed(toggles: Sequence[str], *, cluster: bool) -> set[Right]:
    """What the verbs behind these switches send, on nodes or inside a namespace."""
    return {
        (right.verb, right.group, right.resource)
        for toggle in toggles
        for verb in TOGGLES[toggle]
        for right in (*NEEDED[verb], *FURTHER.get(verb, ()))
        if (right.resource in CLUSTER_SCOPED) is cluster
    }


def expected(toggles: Sequence[str], name: str) -> dict[str, dict[str, set[Right]]]:
    """Account → where → rights, of a release whose objects are called `name`."""
    found: dict[str, dict[str, set[Right]]] = {name: {"*": observed()}}
    if toggles:
        impersonation = {("impersonate", "", f"serviceaccounts:{name}-act")}
        found[name][NAMESPACE] = impersonation
        everywhere, inside = (needed(toggles, cluster=c) for c in (True, False))
        places = {"*": everywhere, "serving": inside, "chat": inside}
        found[f"{name}-act"] = {where: rights for where, rights in places.items() if rights}
    return found


def test_every_combination_of_switches_gives_exactly_the_verbs_that_are_used(
    tmp_path: Path,
) -> None:
    wanted = combinations()
    for at, (toggles, objects) in enumerate(
        zip(wanted, charts.many_rights([armed(*each) for each in wanted], tmp_path), strict=True)
    ):
        assert bound(objects) == expected(toggles, f"r-c{at:04}"), toggles


@pytest.mark.parametrize("toggles", [*((name,) for name in TOGGLES), tuple(TOGGLES)], ids=" ".join)
def test_the_whole_chart_gives_the_same_rights_as_its_rbac_templates_alone(
    toggles: tuple[str, ...],
) -> None:
    assert bound(rendered(armed(*toggles))) == expected(toggles, "r-healer")


def test_one_verb_too_many_or_too_few_is_noticed(tmp_path: Path) -> None:
    """The comparison above is worth something."""
    (objects,) = charts.many_rights([armed("restartPod")], tmp_path)
    role = next(r for r in of(objects, "Role") if r["metadata"]["namespace"] == "serving")
    role["rules"][0]["verbs"].append("delete")
    assert bound(objects) != expected(("restartPod",), "r-c0000")
    role["rules"][0]["verbs"] = []
    assert bound(objects) != expected(("restartPod",), "r-c0000")


def test_a_default_install_reads_what_the_daemon_lists_and_can_change_nothing() -> None:
    objects = rendered()
    assert bound(objects) == {"r-healer": {"*": observed()}}
    assert [each["metadata"]["name"] for each in of(objects, "ServiceAccount")] == ["r-healer"]
    writes = [
        (where, right)
        for where, rights in bound(objects)["r-healer"].items()
        for right in rights
        if right[0] not in READS
    ]
    assert [each for each in writes if each[0] != NAMESPACE] == []
    assert {right[2].partition(":")[0] for _, right in writes} <= OWN_NAMESPACE_WRITES


def test_a_shared_database_brings_the_lease_and_nothing_else() -> None:
    may = bound(rendered({"database": {"existingSecret": "db"}, "replicaCount": 2}))
    group = "coordination.k8s.io"
    lease = {("get", group, "leases:healer"), ("update", group, "leases:healer")}
    assert may["r-healer"].pop(NAMESPACE) == lease | {("create", group, "leases")}
    assert may == {"r-healer": {"*": observed()}}


def test_service_account_tokens_are_reviewed_only_where_the_settings_take_them() -> None:
    def delegations(values: Object) -> list[str]:
        return [
            each["subjects"][0]["name"]
            for each in of(rendered(values), "ClusterRoleBinding")
            if each["roleRef"]["name"] == "system:auth-delegator"
        ]

    assert delegations({}) == []
    assert delegations({"settings": {"server": {"kubernetes_audience": "healer"}}}) == ["r-healer"]


def test_every_verb_that_writes_has_a_switch_and_every_switch_a_value() -> None:
    assert set(NEEDED) == set(VERBS)
    assert {verb for verbs in TOGGLES.values() for verb in verbs} == {
        verb for verb, permissions in NEEDED.items() if permissions
    }
    values = yaml.safe_load((charts.CHART / "values.yaml").read_text())
    actions = values["remediation"]["actions"]
    assert set(actions) == set(TOGGLES)
    assert not any(each["enabled"] for each in actions.values())


def test_no_pod_runs_as_who_acts_and_the_settings_name_it() -> None:
    objects = rendered(armed("scale"))
    daemon = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert daemon["serviceAccountName"] == "r-healer"
    settings = yaml.safe_load(one(objects, "ConfigMap")["data"]["healer.yaml"])
    assert settings["kubernetes"]["act_as"] == "system:serviceaccount:watch:r-healer-act"
    actor = next(a for a in of(objects, "ServiceAccount") if a["metadata"]["name"] != "r-healer")
    assert actor["automountServiceAccountToken"] is False
    assert "kubernetes" not in yaml.safe_load(one(rendered(), "ConfigMap")["data"]["healer.yaml"])


def test_switches_without_namespaces_are_refused_unless_they_mean_nodes_alone() -> None:
    for toggle in TOGGLES:
        values: Object = armed(toggle, namespaces=())
        if needed((toggle,), cluster=False):
            assert "expected the namespaces in which it may act" in charts.refusal(values)
        else:
            assert "serving" not in bound(rendered(values))["r-healer-act"]


def test_admission_limits_every_resource_that_is_patched_whole() -> None:
    """Subresources limit themselves; whole objects are limited to fields."""
    patched = {
        (right.group, right.resource)
        for permissions in (*NEEDED.values(), *FURTHER.values())
        for right in permissions
        if right.verb in ("patch", "update") and "/" not in right.resource
    }
    objects = rendered(armed(*TOGGLES), "--kube-version", "1.30.0")
    limited = {
        (rule["apiGroups"][0], rule["resources"][0])
        for policy in of(objects, "ValidatingAdmissionPolicy")
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
    }
    assert limited == patched
    for policy in of(objects, "ValidatingAdmissionPolicy"):
        (condition,) = policy["spec"]["matchConditions"]
        assert '"system:serviceaccount:watch:r-healer-act"' in condition["expression"]
        assert policy["spec"]["failurePolicy"] == "Fail"
    bindings = of(objects, "ValidatingAdmissionPolicyBinding")
    assert {b["spec"]["policyName"] for b in bindings} == {
        p["metadata"]["name"] for p in of(objects, "ValidatingAdmissionPolicy")
    }


def test_admission_is_left_out_where_it_is_unknown_or_nothing_can_be_changed() -> None:
    for objects in (
        rendered(armed(*TOGGLES), "--kube-version", "1.29.9"),
        rendered(None, "--kube-version", "1.34.0"),
    ):
        assert not of(objects, "ValidatingAdmissionPolicy")
