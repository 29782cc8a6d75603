"""Rule files: what they may say, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from builders import NOW

from healer.adapters.rule_tests import load_tests
from healer.adapters.rulebook import load_file, load_rules
from healer.errors import BadInput
from healer.model.event import Event
from healer.model.expression import Call, Compare, On, Within, parse
from healer.model.incident import Severity
from healer.model.rule import RuleBook
from healer.model.target import Kind, Target
from healer.stages.rehearse import RuleTest
from healer.stages.rule_lint import lint

GPU = Target(Kind.GPU, "GPU-1")

GOOD = """rules:
- id: mine
  scope: pod
  prior: 0.1
  title: Mine
  explains: [ttft_p95]
  reference: https://example.org
  evidence:
  - {if: high(ttft_p95), for: 2}
"""


def folder(tmp_path: Path, text: str = GOOD, name: str = "mine.yaml") -> Path:
    (tmp_path / "causes").mkdir(exist_ok=True)
    (tmp_path / "causes" / name).write_text(text)
    return tmp_path


def test_our_rules_load_and_every_one_cites_its_source():
    book = load_rules()

    assert {"engine_hang", "no_fault", "telemetry_fault", "unknown"} <= {r.id for r in book.rules}
    assert all(rule.reference and rule.title_zh for rule in book.rules)
    assert all(not rule.proposes for rule in book.rules if rule.is_null)


def test_a_folder_of_ones_own_is_loaded_after_ours(tmp_path):
    assert "mine" in {r.id for r in load_rules([folder(tmp_path)]).rules}


def test_a_rule_of_ones_own_replaces_ours_of_that_id(tmp_path):
    book = load_rules([folder(tmp_path, GOOD.replace("mine", "engine_hang"))])
    rule = book.rule("engine_hang")

    assert rule is not None
    assert rule.title == "Mine"


def test_disabled_rules_are_left_out():
    assert load_rules(disabled=["engine_hang"]).rule("engine_hang") is None


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("scope: pod", "scope: pud", 3, "did you mean 'pod'?"),
        ("prior: 0.1", "prior: 2", 4, "less than 1"),
        ("prior: 0.1", "prier: 0.1", 2, "prior"),
        ("high(ttft_p95)", "hihg(ttft_p95)", 9, "no such function as 'hihg'; did you mean 'high'?"),
        ("high(ttft_p95)", '"high(ttft_p95"', 9, "at column 14: expected `)`"),
        ("high(ttft_p95)", "high(ttft_p95) on pots", 9, "no such relation as 'pots'"),
        ("high(ttft_p95)", "high()", 9, "high takes 1 arguments, not 0"),
        ("high(ttft_p95)", '"share(high(x), high(y)) > 1"', 9, "share takes a relation first"),
        ("high(ttft_p95)", "\"event(alert, message ~ '(') > 0\"", 9, "a regular expression"),
        (", for: 2", ", for: -2", 9, "greater than or equal to 0"),
        (", for: 2", "", 9, "a weight"),
        (", for: 2", ", for: 2, missing: -1", 9, "missing"),
        (", for: 2", ", for: 2, decisive: hihg(x)", 9, "did you mean 'high'?"),
        ("explains: [ttft_p95]", "via: [nowhere]", 6, "no such relation"),
    ],
)
def test_a_wrong_rule_is_refused_with_file_and_line(tmp_path, old, new, line, said):
    with pytest.raises(BadInput) as caught:
        load_rules([folder(tmp_path, GOOD.replace(old, new))])

    message = str(caught.value)
    assert f"mine.yaml:{line}: rules.mine" in message
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: 3", "a list of rules"),
        ("rule: []", "a mapping with `rules:`"),
        ("rules: [", "valid YAML"),
        ("rules: [3]", "rules[0]: a mapping"),
        (GOOD + GOOD.removeprefix("rules:\n"), "it is there twice"),
        (
            GOOD.replace("scope: pod", "scope: incident") + "  action: {propose: [scale]}\n",
            "a scope",
        ),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    with pytest.raises(BadInput, match=r"mine\.yaml") as caught:
        load_rules([folder(tmp_path, text)])

    assert said in str(caught.value)


def test_two_files_must_not_define_one_rule(tmp_path):
    folder(tmp_path)
    with pytest.raises(BadInput, match=r"other.yaml:2.*mine.yaml:2 has it too"):
        load_rules([folder(tmp_path, name="other.yaml")])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        load_rules([tmp_path / "nowhere"])


def opens(xid: str, *folders: Path) -> Severity | None:
    return load_rules(folders).opens(Event("xid", GPU, NOW, attributes={"xid": xid}))


@pytest.mark.parametrize(
    ("xid", "grave"),
    [("79", True), ("95", True), ("31", True), ("43", False), ("45", False), ("63", False)],
)
def test_the_xid_table_says_what_opens_an_incident(xid, grave):
    assert (opens(xid) is not None) is grave


def test_a_site_may_decide_otherwise_about_an_xid(tmp_path):
    mine = folder(tmp_path)
    (mine / "xid.yaml").write_text("override: {63: reset, 31: ignore}\n")
    (mine / "incidents.yaml").write_text("opens_on_xid: [reset]\n")
    book = load_rules([mine])

    assert book.xids[63].action == "reset"
    assert opens("63", mine) is Severity.CRITICAL


def alert(**labels: str) -> Severity | None:
    return load_rules().opens(Event("alert", GPU, NOW, attributes=labels))


def test_an_alert_opens_an_incident_unless_it_is_no_more_than_information():
    assert alert(alertname="KubePodCrashLooping", severity="warning") is Severity.WARNING
    assert alert(alertname="WrittenByHand", severity="") is Severity.WARNING
    assert alert(alertname="GPUUtilizationHigh", severity="info") is None
    assert alert(alertname="Watchdog", severity="none") is None


def test_an_alert_about_healer_itself_is_not_its_own_incident():
    shipped = Path(__file__).parents[2] / "helm" / "healer" / "files" / "alerts.yaml"
    names = [each["alert"] for each in yaml.safe_load(shipped.read_text())["healer-itself"]]
    assert len(names) > 5
    assert [name for name in names if alert(alertname=name, severity="critical")] == []


def test_a_site_may_have_incidents_of_mere_information(tmp_path):
    mine = folder(tmp_path)
    (mine / "incidents.yaml").write_text(
        "opens:\n- {kind: alert, severity: info, where: {severity: [info]}}\n"
    )
    told = Event("alert", GPU, NOW, attributes={"alertname": "BusyHour", "severity": "info"})
    assert load_rules([mine]).opens(told) is Severity.INFO


@pytest.mark.parametrize("text", ["override: {63: explode}", "override: {9999: reset}"])
def test_an_override_must_name_an_xid_and_an_action(tmp_path, text):
    (folder(tmp_path) / "xid.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"xid\.yaml"):
        load_rules([tmp_path])


SIGNALS = {"ttft_p95": Kind.POD, "gpu_util": Kind.GPU}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("high(ttft_p95)", "high(ttft_p59)", "unknown signal 'ttft_p59'; did you mean 'ttft_p95'?"),
        ("high(ttft_p95)", "high(gpu_util)", "gpu_util is a signal of a gpu, asked of a pod"),
        ("high(ttft_p95)", "high(ttft_p95) on gpus", "ttft_p95 is a signal of a pod"),
        ("high(ttft_p95)", '"event(xyd in [79])"', "unknown event kind 'xyd'; did you mean 'xid'?"),
        ("explains: [ttft_p95]", "explains: [ttft]", "unknown signal, event or cause 'ttft'"),
        ("  reference: https://example.org\n", "", "lacks a reference"),
        (
            "  reference",
            "  action: {propose: [reboot]}\n  reference",
            "unknown remediation 'reboot'",
        ),
    ],
)
def test_lint_says_what_can_never_work(tmp_path, old, new, said):
    file = folder(tmp_path, GOOD.replace(old, new)) / "causes" / "mine.yaml"
    book = RuleBook(load_file(file))

    (complaint,) = lint(book, SIGNALS, ["scale"])
    assert said in complaint
    assert complaint.startswith(f"{file}:2: rules.mine")


def test_lint_is_silent_about_relations_that_lead_there(tmp_path):
    file = folder(tmp_path, GOOD.replace("high(ttft_p95)", "high(gpu_util) on gpus all"))
    book = RuleBook(load_file(file / "causes" / "mine.yaml"))

    assert list(lint(book, SIGNALS, [])) == []


def test_lint_wants_a_test_for_and_one_against_each_rule(tmp_path):
    book = RuleBook(load_file(folder(tmp_path) / "causes" / "mine.yaml"))
    nothing = RuleTest("x", at=NOW - NOW)

    assert [c.rsplit(": ", 1)[1] for c in lint(book, SIGNALS, [], [nothing])] == [
        "no test expects it",
        "no test expects something else where it might be taken for the cause",
    ]


def test_an_expression_is_a_tree_of_values():
    tree = parse("value(kv_usage) > 0.9 on pods all within 10m")

    assert isinstance(tree, Within)
    assert isinstance(tree.inner, On)
    assert tree.inner.every
    assert isinstance(tree.inner.inner, Compare)
    assert parse("ready") == Call("ready", None, 0)


@pytest.mark.parametrize(
    "text", ["", "high(", "a b", "a >", "x in []", "a on any", "é", "(" * 60 + "a", "a within 5"]
)
def test_an_expression_that_cannot_be_read_says_where(text):
    with pytest.raises(BadInput, match="at column"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tests:\n- {name: a}\n", "tests.a.at: required and missing"),
        ("tests:\n- {name: a, at: soon}\n", "tests.a.at: 'soon'"),
        ("tests:\n- {name: a, at: 5m, expects: {}}\n", "did you mean 'expect'?"),
        ("test: []\n", "a mapping with `tests:`"),
    ],
)
def test_a_wrong_rule_test_says_where(tmp_path, text, said):
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"t\.yaml") as caught:
        load_tests(file)

    assert said in str(caught.value)


UNITS = {"ttft_p95": "s", "kv_usage": "ratio", "gpu_util": "percent"}


def dead_terms(tmp_path, *, require, evidence, scope="pod"):
    text = (
        f"rules:\n- id: mine\n  scope: {scope}\n  prior: 0.1\n  title: Mine\n"
        f"  reference: https://example.org\n  explains: [ttft_p95]\n"
        f"  require: ['{require}']\n  evidence: [{{if: '{evidence}', for: 1, against: -1}}]\n"
    )
    file = folder(tmp_path, text) / "causes" / "mine.yaml"
    found = lint(RuleBook(load_file(file)), {**SIGNALS, "kv_usage": Kind.POD}, [], units=UNITS)
    return [line.removeprefix(f"{file}:2: rules.mine: ") for line in found]


@pytest.mark.parametrize(
    ("require", "evidence", "said"),
    [
        ("high(ttft_p95)", "value(kv_usage) > 90", "unreachable threshold > 90: kv_usage is betw"),
        ("high(ttft_p95)", "value(gpu_util) > 120 on gpus all", "gpu_util is between 0 and 100"),
        ("high(ttft_p95)", "value(ttft_p95) < 0", "ttft_p95 is 0 or more"),
        ("high(ttft_p95)", "high(ttft_p95) or kv_usage > 1.5", "unreachable threshold > 1.5"),
        ("high(ttft_p95)", "share(pods, high(kv_usage)) > 1", "is between 0 and 1"),
        ("high(ttft_p95)", "share(pods, value(kv_usage) > 7) > 0.5", "unreachable threshold > 7"),
        ("high(ttft_p95)", "count(pods) >= 0", "threshold >= 0 holds always"),
        ("high(ttft_p95)", "low(ttft_p95)", "unreachable, it can never hold beside"),
        ("high(ttft_p95)", "missing(ttft_p95)", "unreachable, it can never hold beside"),
        ("high(ttft_p95)", "not high(ttft_p95)", "unreachable, it can never hold beside"),
        ("value(ttft_p95) > 5", "value(ttft_p95) < 2", "unreachable, it can never hold beside"),
        ("high(gpu_util) on gpus all", "high(kv_usage) and low(kv_usage)", "unreachable, it can"),
        ("fact(reason) == Evicted", "fact(reason) in [OOMKilled]", "unreachable, it can never"),
        ("value(kv_usage) > 0.9", "missing(kv_usage)", "unreachable, it can never hold beside"),
        ("high(ttft_p95) and low(ttft_p95)", "high(kv_usage)", "what else is required"),
        ("high(ttft_p95)", "high(ttft_p95)", "weight against is unreachable, it can never be fal"),
        ("value(kv_usage) > 0.9", "value(kv_usage) > 0.8", "its weight against is unreachable"),
    ],
)
def test_lint_finds_terms_that_nothing_reaches(tmp_path, require, evidence, said):
    (complaint,) = dead_terms(tmp_path, require=require, evidence=evidence)
    assert said in complaint


@pytest.mark.parametrize(
    ("require", "evidence"),
    [
        ("high(ttft_p95) or low(ttft_p95)", "low(ttft_p95)"),
        ("high(gpu_util) on gpus", "low(gpu_util) on gpus"),
        ("high(ttft_p95)", "normal(ttft_p95) on siblings all"),
        ("value(ttft_p95) > 2", "value(ttft_p95) > 5"),
        ("value(kv_usage) >= 1", "value(kv_usage) == 1"),
        ("high(ttft_p95)", "ratio(ttft_p95) > 3"),
        ("not missing(ttft_p95)", "high(ttft_p95)"),
        ("fact(reason) in [Evicted, OOMKilled]", "fact(reason) == OOMKilled"),
        ("high(ttft_p95)", "share(pods, low(ttft_p95)) >= 0.5"),
    ],
)
def test_lint_leaves_alone_what_may_come_together(tmp_path, require, evidence):
    assert dead_terms(tmp_path, require=require, evidence=evidence) == []


def test_one_incident_has_many_targets_and_so_no_contradictions(tmp_path):
    found = dead_terms(
        tmp_path, require="high(ttft_p95)", evidence="low(ttft_p95)", scope="incident"
    )
    assert found == []


def test_whoever_lints_their_own_rules_tests_those_and_not_ours(tmp_path):
    book = load_rules((folder(tmp_path),))
    nothing = RuleTest("x", at=NOW - NOW)
    found = [
        line
        for line in lint(book, SIGNALS, [], [nothing], tested={"mine"})
        if "test expects" in line
    ]
    assert len(found) == 2
    assert all("rules.mine" in line for line in found)
