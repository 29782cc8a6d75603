"""Scenario files: what is shipped can be played, what cannot be is refused by name and place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from healer.errors import BadInput
from healer.lab.checks import TARGETS
from healer.lab.faults import KINDS
from healer.lab.lab import Lab
from healer.lab.scenario import SHIPPED, load_scenario

DOCS = Path(__file__).parents[2] / "docs" / "scenarios.md"
SMALL = "history: {span: 1h}\nduration: 10m\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(SMALL + text, encoding="utf-8")
    return file


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_scenario_is_accepted(file: Path) -> None:
    scenario = load_scenario(file)
    assert scenario.description
    assert scenario.negative or scenario.expect
    assert not (scenario.negative and scenario.allowed)


def test_every_fault_of_the_table_has_a_scenario_and_eight_or_more_want_nothing_done() -> None:
    shipped = [load_scenario(file) for file in SHIPPED.glob("*.yaml")]
    used = {fault.kind for scenario in shipped for fault in scenario.faults}
    assert used == set(KINDS) - {"unrelated_change"}
    assert sum(scenario.negative for scenario in shipped) >= 8


def test_every_fault_is_documented_with_all_its_options() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    for kind, cls in KINDS.items():
        assert kind in rows, kind
        for option in (f.name for f in dataclasses.fields(cls)):  # type: ignore[arg-type]
            assert f"`{option}`" in rows[kind], f"{kind}.{option}"


def test_every_kind_says_what_it_can_be_aimed_at() -> None:
    assert set(TARGETS) == set(KINDS)


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        ("cluster: {nodes: 0}", "cluster.nodes", "at least 1"),
        ("cluster: {node: 3}", "cluster.node", "did you mean 'nodes'"),
        ("cluster: {gpu: {limit_w: -1}}", "cluster.gpu.limit_w", "more than 0"),
        ("scrape: 1s", "scrape", "at least 0:00:05"),
        ("scrape: soon", "scrape", "a duration"),
        ("perturb: {missing: 1.0}", "perturb.missing", "from 0 to below 1"),
        ("models: []", "models", "at least one"),
        ("models: [{name: A_B}]", "models.0.name", "small letters"),
        ("models: [{name: a}, {name: a}]", "models", "differ"),
        ("models: [{name: a, gpus: 9}]", "models.0.gpus", "from 1 to the 8 GPUs"),
        ("models: [{name: a, replicas: 40}]", "models", "at most the 32 GPUs"),
        ("models: [{name: a, engine: {token_s: 0}}]", "models.0.engine.token_s", "more than 0"),
        ("models: [{name: a, traffic: {swing: 2}}]", "models.0.traffic.swing", "from 0 to 1"),
        ("faults: [{kind: rain, at: 1m}]", "faults.0.kind", "expected one of admin_drain"),
        ("faults: [{kind: engine_hang, at: 10m}]", "faults.0.at", "within the duration"),
        ("faults: [{kind: engine_hang, at: 1m, target: 'node:1'}]", "faults.0.target",
         "pod:MODEL/INDEX"),
        ("faults: [{kind: engine_hang, at: 1m, target: 'pod:gpt/0'}]", "faults.0.target",
         "one of llama-8b, qwen-72b"),
        ("faults: [{kind: engine_hang, at: 1m, target: 'pod:llama-8b/3'}]", "faults.0.target",
         "from 0 to 2"),
        ("faults: [{kind: node_down, at: 1m, target: 'node:4'}]", "faults.0.target",
         "node:0 to node:3"),
        ("faults: [{kind: traffic_surge, at: 1m, options: {factor: 0}}]",
         "faults.0.options.factor", "above 0"),
        ("faults: [{kind: bad_revision, at: 1m, options: {errors: 2}}]",
         "faults.0.options.errors", "from 0 to 1"),
        ("faults: [{kind: telemetry_loss, at: 1m, options: {exporter: nvml}}]",
         "faults.0.options.exporter", "dcgm, node, engine"),
        ("faults: [{kind: rank_death, at: 1m, target: 'pod:qwen-72b/0', options: {rank: 4}}]",
         "faults.0.options.rank", "from -4 to 3"),
        ("faults: [{kind: engine_hang, at: 1m}, {kind: engine_hang, at: 2m}]", "faults.1",
         "give one of the two a `name`"),
        ("expect: [{fault: rain, causes: [a]}]", "expect.0.fault", "no fault"),
        ("allowed: [{verb: reboot}]", "allowed.0.verb", "expected one of evict"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_by_path_and_expectation(
    tmp_path: Path, text: str, path: str, told: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BadInput) as refused:
        load_scenario(file)
    assert str(file) in str(refused.value)
    assert path in str(refused.value)
    assert told in str(refused.value)


@pytest.mark.parametrize("nodes", [2, 3, 12])
def test_models_of_many_gpus_find_room_beside_small_ones(tmp_path: Path, nodes: int) -> None:
    text = f"cluster: {{nodes: {nodes}, gpus: 8}}"
    lab = Lab(load_scenario(written(tmp_path, text)))
    assert [len(lab.world.kubelets.of(name)) for name in ("llama-8b", "qwen-72b")] == [3, 3]


def test_models_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    models = "models: [{name: a, replicas: 5}, {name: b, replicas: 1, gpus: 4}]"
    file = written(tmp_path, "cluster: {nodes: 2, gpus: 4}\n" + models.replace("5", "3"))
    Lab(load_scenario(file))
    crowded = models.replace("replicas: 1, gpus: 4", "replicas: 1, gpus: 3")
    file = written(tmp_path, "cluster: {nodes: 2, gpus: 4}\n" + crowded)
    Lab(load_scenario(file))
    three = "models: [{name: a, replicas: 2, gpus: 3}, {name: b, replicas: 1, gpus: 2}]"
    file = written(tmp_path, "cluster: {nodes: 2, gpus: 4}\n" + three)
    with pytest.raises(BadInput, match=r"models\.1\.replicas"):
        Lab(load_scenario(file))
