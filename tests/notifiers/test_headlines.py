"""The first line is enough to decide whether to get up, and the second says what is wanted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, at, diagnosis, finding, hypothesis, incident, intent, node, plan, pod

from healer.model.hypothesis import Side, Term
from healer.model.intent import Effect, Intent, Outcome, State
from healer.model.message import Notice, Occasion
from healer.model.target import Kind, Target
from healer.notifiers._headline import MOST_CHARACTERS, headline, wanted
from healer.notifiers._markup import TEXT
from healer.notifiers._message import lines
from healer.phrases import phrase
from healer.plugins import names
from healer.stages.plan import LOOK_FIRST, REPAIR
from healer.wording import WORDS

HANG = hypothesis(title="The engine hangs", title_zh="推理引擎卡死")


def planned(state: State, **changes: Any) -> Intent:
    given = {"expires_at": at(900)} if state is State.PLANNED else {}
    return intent(state, **(given | changes))


def told(occasion: Occasion, state: State | None = None, **changes: Any) -> Notice:
    found = incident(**({"diagnosis": diagnosis(HANG)} | changes))
    return Notice(occasion, found, NOW, (planned(state),) if state else ())


@pytest.mark.parametrize(
    ("notice", "english", "chinese"),
    [
        (
            told(Occasion.PROPOSED, State.PLANNED),
            "✋ Waits for your yes [Critical] The engine hangs · serving/llama-8b-aaaa"
            " → Restart pod",
            "✋ 等你批准 [严重] 推理引擎卡死 · serving/llama-8b-aaaa → 重启 Pod",
        ),
        (
            told(Occasion.PROPOSED, State.REHEARSED),
            "✋ Would act [Critical] The engine hangs · serving/llama-8b-aaaa → Restart pod",
            "✋ 建议处置 [严重] 推理引擎卡死 · serving/llama-8b-aaaa → 重启 Pod",
        ),
        (
            told(Occasion.ACTED, State.VERIFYING),
            "🔧 Acting [Critical] The engine hangs · serving/llama-8b-aaaa → Restart pod",
            "🔧 处置中 [严重] 推理引擎卡死 · serving/llama-8b-aaaa → 重启 Pod",
        ),
        (
            told(Occasion.ACTED, State.UNKNOWN),
            "🔧 Outcome unknown [Critical] The engine hangs · serving/llama-8b-aaaa → Restart pod",
            "🔧 处置结果未知 [严重] 推理引擎卡死 · serving/llama-8b-aaaa → 重启 Pod",
        ),
        (
            told(Occasion.RESOLVED, resolved_at=at(80)),
            "✅ Resolved [Critical] The engine hangs · serving/llama-8b-aaaa (3 min 20 s)",
            "✅ 已恢复 [严重] 推理引擎卡死 · serving/llama-8b-aaaa (3 分 20 秒)",
        ),
        (
            told(Occasion.OPENED, diagnosis=None, title="pod_failed: vllm ended, exit code 1"),
            "🔴 Noticed [Critical] vllm ended, exit code 1 · serving/llama-8b-aaaa",
            "🔴 发现异常 [严重] vllm ended, exit code 1 · serving/llama-8b-aaaa",
        ),
        (
            told(Occasion.OPENED, diagnosis=diagnosis(HANG, abstained="too close to call")),
            "🔴 Noticed [Critical] llama-8b-aaaa makes no tokens",
            "🔴 发现异常 [严重] llama-8b-aaaa makes no tokens",
        ),
    ],
    ids=lambda value: value.occasion.value if isinstance(value, Notice) else None,
)
def test_one_line_says_how_bad_what_where_and_what_is_done(
    notice: Notice, english: str, chinese: str
) -> None:
    assert headline(notice, "en") == english
    assert headline(notice, "zh") == chinese


def test_a_gpu_is_named_with_its_node() -> None:
    gpu = Target(Kind.GPU, "GPU-0a1b2c3d-1111-2222-3333-444444444444")
    lost = hypothesis("gpu_off_bus", target=gpu, title="The GPU has fallen off the bus")
    found = incident(targets=(gpu, node()), diagnosis=diagnosis(lost))
    line = headline(Notice(Occasion.ESCALATED, found, NOW), "en")
    assert line.endswith("The GPU has fallen off the bus · GPU-0a1b2c3d ＠ gpu-node-1")


def test_a_hostile_or_endless_title_stays_one_harmless_line() -> None:
    evil = "@all [x](http://evil)\n# big " + "长" * 500
    line = headline(told(Occasion.OPENED, diagnosis=None, title=evil), "zh")
    assert len(line) <= MOST_CHARACTERS
    for harm in ("@all", "](http", "\n"):
        assert harm not in line


def test_the_reader_is_told_what_to_do_before_anything_else() -> None:
    waits = told(Occasion.PROPOSED, State.PLANNED)
    first = lines(waits, TEXT, "en", "Asia/Shanghai")[0]
    assert first == "To do: approve or reject by 03-04 20:15:00 +0800; silence is a no"
    over = told(Occasion.RESOLVED, resolved_at=NOW)
    assert wanted(over, TEXT, "en", "UTC") == ""
    for occasion in Occasion:
        for state in (None, *State):
            for language in ("en", "zh"):
                wanted(told(occasion, state), TEXT, language, "UTC")
    assert "请接手" in wanted(told(Occasion.ESCALATED), TEXT, "zh", "UTC")
    assert "look at once" in wanted(told(Occasion.ACTED, State.UNKNOWN), TEXT, "en", "UTC")


def test_who_is_called_hears_why_and_what_was_tried() -> None:
    reasons = ("ttft_p95 still 4 s",)
    failed = intent(State.FAILED, outcome=Outcome(Effect.INEFFECTIVE, NOW, reasons))
    refused = intent(State.ABORTED, plan=plan(attempt=1), note="rate: 2 an hour for one target")
    notice = replace(
        told(Occasion.ESCALATED), why="3 remediations were tried", tried=(failed, refused)
    )
    text = lines(notice, TEXT, "en", "UTC")
    assert "Why you: 3 remediations were tried" in text
    tried = [each for each in text if each.startswith("Tried: ")]
    assert "did not help (ttft_p95 still 4 s)" in tried[0]
    assert "called off (rate: 2 an hour for one target)" in tried[1]
    assert "已尝试：重启 Pod" in "\n".join(lines(notice, TEXT, "zh", "UTC"))


def test_evidence_is_told_once_and_no_expression_is_shown() -> None:
    seen = "xid 79 at 10:03:00"
    terms = (
        Term("event(xid)", Side.FOR, 3.0, seen, source="xid", family="gpu"),
        Term("event(xid) near", Side.FOR, 2.0, seen, source="xid", family="near"),
        Term("prior", Side.FOR, 4.0, "0.12 before any evidence", "prior", source="rule"),
        Term("(missing(a) or live(b)) on siblings any", Side.AGAINST, -1.0, "gpu_util 100 %"),
    )
    notice = told(Occasion.DIAGNOSED, diagnosis=diagnosis(replace(HANG, terms=terms)))
    text = "\n".join(lines(notice, TEXT, "en", "UTC"))
    assert text.count(seen) == 1
    assert "before any evidence" not in text
    assert "Against it: gpu_util 100 %" in text
    assert "missing(" not in text


@pytest.mark.parametrize(
    ("said", "english", "chinese"),
    [
        (
            "Container waits 1 bool, limit 0.5 bool, for 60 s",
            "Container waits, for 60 s",
            "Container waits，已持续 60 s",
        ),
        ("Queue 9 requests, limit 4 requests, for 2 min",) * 2
        + ("Queue 9 requests，阈值 4 requests，已持续 2 min",),
        ("TTFT p95 4 s, expected 0.2–0.6 s",) * 2 + ("TTFT p95 4 s，预期 0.2–0.6 s",),
        ("a person's look at pod:serving/x",) * 2 + ("人工查看 pod:serving/x",),
        ("of no known pattern, at all",) * 3,
    ],
)
def test_what_the_engine_says_is_said_in_the_readers_language(
    said: str, english: str, chinese: str
) -> None:
    assert phrase(said, "en") == english
    assert phrase(said, "zh") == chinese


def test_every_reason_to_call_a_person_is_said_in_chinese() -> None:
    for reason in (REPAIR, LOOK_FIRST, "every remediation was tried"):
        assert phrase(reason, "en") == reason
        assert not re.search("[a-z]{3}", phrase(reason, "zh"))


def test_every_remediation_that_is_shipped_has_a_name_in_both_languages() -> None:
    assert [n for n in names("remediations") if f"remediation.{n}" not in WORDS] == []


def test_a_symptom_of_a_switch_is_told_without_numbers() -> None:
    seen = finding(pod(), summary="Container waits 1 bool, limit 0.5 bool, for 60 s")
    notice = replace(
        told(Occasion.OPENED, diagnosis=None), incident=incident(findings=(seen,), diagnosis=None)
    )
    assert "· Container waits, for 60 s" in lines(notice, TEXT, "en", "UTC")


@pytest.mark.parametrize(("file", "language"), [("chat.md", "en"), ("chat.zh-CN.md", "zh")])
def test_the_example_in_the_documents_is_what_is_said(file: str, language: str) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / file).read_text("utf-8")
    waits = told(Occasion.PROPOSED, State.PLANNED)
    assert f"\n{headline(waits, language)}\n" in document
    assert f"\n{lines(waits, TEXT, language, 'Asia/Shanghai')[0]}\n" in document
