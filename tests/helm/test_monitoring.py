"""The chart's rules, read and run by the genuine promtool, and its dashboards, name by name."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charts
import promql_parser
import pytest
import servers
import yaml
from charts import Object, of, one, rendered

from exporters.table import load_table
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.telemetry import Telemetry

pytestmark = pytest.mark.server
ON: Object = {
    "monitoring": {
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
    },
    "existingSecret": "tokens",
}
STORIES = Path(__file__).parent / "alerts.yaml"
EXPORTER_PAGE = re.compile(r"`((?:healer_gpu|DCGM_FI|DCGM_EXP)\w+)`")


@pytest.fixture(autouse=True)
def _servers() -> None:
    servers.need("helm", "promtool")


def rules(**values: Any) -> Object:
    given = {"monitoring": {"prometheusRule": {"enabled": True, **values}}}
    return dict(one(rendered(given), "PrometheusRule")["spec"])


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(servers.binary("promtool")), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def alerts(spec: Object) -> dict[str, Object]:
    return {r["alert"]: r for g in spec["groups"] for r in g["rules"] if "alert" in r}


def test_promtool_takes_the_rendered_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    done = promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alert_fires_when_it_should_and_is_silent_when_it_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    (tmp_path / "alerts.yaml").write_text(STORIES.read_text())
    done = promtool("test", "rules", "alerts.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    fires, silent = set(), set()
    for story in yaml.safe_load(STORIES.read_text())["tests"]:
        for check in story["alert_rule_test"]:
            (fires if check.get("exp_alerts") else silent).add(check["alertname"])
    assert fires == silent == set(alerts(rules()))


def test_thresholds_come_from_the_values() -> None:
    found = alerts(rules(latencyP95Seconds=2.5, errorRatio=0.05, gpuTemperatureCelsius=80))
    assert found["LLMLatencyHigh"]["expr"] == "llm:e2e_p95 > 2.5"
    assert found["LLMErrorsHigh"]["expr"].count("> 0.05") == 2
    assert found["GPUTemperatureHigh"]["expr"].endswith("> 80")
    plain = alerts(rules())
    assert plain["LLMLatencyHigh"]["expr"].endswith("> 5")
    assert plain["LLMErrorsHigh"]["expr"].endswith("> 0.01")
    assert plain["GPUTemperatureHigh"]["expr"].endswith("> 85")
    assert plain["GPUUtilizationHigh"]["expr"].endswith("> 90")
    assert plain["GPUUtilizationHigh"]["labels"] == {"severity": "info"}
    assert plain["GPUUtilizationHigh"]["for"] == "5m"


def test_without_recording_rules_no_alert_reads_them() -> None:
    spec = rules(recordingRules=False)
    assert "llm:" not in yaml.safe_dump(spec)
    assert "HealerDown" in alerts(spec)


def test_the_exporter_alone_brings_no_alert_about_a_daemon_that_nobody_asked_for() -> None:
    given = {"monitoring": {"prometheusRule": {"enabled": True}}}
    alone = alerts(one(rendered({**given, "daemon": {"enabled": False}}), "PrometheusRule")["spec"])
    assert "HealerDown" not in alone
    assert {"HealerExporterStale", "GPUSilent", "LLMLatencyHigh"} <= set(alone)


def test_every_alert_has_its_runbook_in_both_languages() -> None:
    spec = rules(runbooks="https://wiki.example/runbooks")
    for name, alert in alerts(spec).items():
        address = alert["annotations"]["runbook_url"]
        assert address == f"https://wiki.example/runbooks#{name.lower()}"
        for page in ("docs/runbooks.md", "docs/zh/runbooks.md"):
            assert re.search(rf"^## {name}$", (charts.ROOT / page).read_text(), re.M), (page, name)


def exposed() -> set[str]:
    """Every series that Healer, its exporter, dcgm-exporter and the engines are known to show."""
    own = {sample.name for family in Telemetry().registry.collect() for sample in family.samples}
    for family in Telemetry().registry.collect():  # those with labels have no sample yet
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        own |= {family.name + s for s in suffixes.get(family.type, ("",))}
    exporter = {row.name for row in load_table()}
    exporter |= set(EXPORTER_PAGE.findall((charts.ROOT / "docs" / "exporter.md").read_text()))
    watched = {m for s in load_signals((), (), ("detectors",)) for m in s.metrics}
    recorded = {r["record"] for g in rules()["groups"] for r in g["rules"] if "record" in r}
    return own | exporter | watched | recorded


def series(query: str) -> set[str]:
    """The names that a query selects."""
    plain = re.sub(r"\$(\w+)", "x", query)
    return {found for found in _names(promql_parser.parse(plain)) if found}


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield str(node.vector_selector.name)
    for part in ("lhs", "rhs", "expr", "param", "args"):
        below = getattr(node, part, None)
        for each in below if isinstance(below, list) else [below]:
            if each is not None and not isinstance(each, str | float):
                yield from _names(each)


def dashboards() -> dict[str, Object]:
    return {
        name: json.loads(text)
        for each in of(rendered(ON), "ConfigMap")
        if "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }


def test_dashboards_and_alerts_ask_for_nothing_that_nobody_shows() -> None:
    known = exposed()
    asked = {
        (panel["title"], name)
        for board in dashboards().values()
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for name in series(target["expr"])
    }
    asked |= {
        (name, each) for name, alert in alerts(rules()).items() for each in series(alert["expr"])
    }
    assert len(asked) > 50
    assert {each for each in asked if each[1] not in known} == set()


def test_a_name_that_nobody_shows_would_be_noticed() -> None:
    assert series("sum(rate(healer_nothing_total[5m])) or 2 * llm:e2e_p95") == {
        "healer_nothing_total",
        "llm:e2e_p95",
    }
    assert "healer_nothing_total" not in exposed()


def test_three_dashboards_have_panels_that_lie_beside_each_other() -> None:
    found = dashboards()
    assert set(found) == {"healer-gpu.json", "healer-serving.json", "healer-itself.json"}
    for board in found.values():
        taken: set[tuple[int, int]] = set()
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(numbers) == len(set(numbers))
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, (board["title"], panel["title"])
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_monitors_select_the_pods_and_ports_that_there_are() -> None:
    objects = rendered(ON)
    labels = one(objects, "Service")["metadata"]["labels"]
    monitor = one(objects, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["endpoints"][0]["port"] == one(objects, "Service")["spec"]["ports"][0]["name"]
    pods = one(objects, "DaemonSet")["spec"]["template"]
    monitor = one(objects, "PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    (port,) = charts.container(one(objects, "DaemonSet"))["ports"]
    assert monitor["podMetricsEndpoints"][0]["port"] == port["name"]


def test_an_alertmanager_config_sends_everything_to_the_intake_with_the_token() -> None:
    on = {"existingSecret": "tokens", "monitoring": {"alertmanagerConfig": {"enabled": True}}}
    spec = one(rendered(on), "AlertmanagerConfig")["spec"]
    assert spec["route"]["continue"] is True
    (webhook,) = spec["receivers"][0]["webhookConfigs"]
    assert webhook["url"] == "http://r-healer.watch.svc:8088/api/v1/intake/alertmanager"
    assert (webhook["sendResolved"], webhook["maxAlerts"]) == (True, 0)
    token = webhook["httpConfig"]["authorization"]["credentials"]
    assert token == {"name": "tokens", "key": "ingest"}
