"""Every sentence of the engine in the reader's language, with titles in place of names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import builders
import pytest

from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.lexicon import NO_WORDS, lexicon_of
from healer.model.hypothesis import Side, Term
from healer.model.message import Notice, Occasion
from healer.model.signal import Signal, Worse
from healer.model.target import Kind
from healer.notifiers.dingtalk import DingTalk
from healer.spoken import MOST_SPOKEN, speaker, spoken_notice

LEXICON = lexicon_of(load_signals(), load_rules().rules)
SAID = (
    (
        "TTFT p95 17 s, limit 10 s, for 5 min",
        "首 token 延迟 p95 17 s，阈值 10 s，已持续 5 min",
    ),
    (
        "Tokens generated 80.1 tokens/s (-83%), expected 278–662 tokens/s",
        "生成 token 速率 80.1 tokens/s (-83%)，预期 278–662 tokens/s",
    ),
    (
        "Inter-token latency p95 +42 % (0.0678 s), TTFT p95 up, Prompt tokens down "
        "at normal Requests running",
        "token 间延迟 p95 +42 % (0.0678 s)，首 token 延迟 p95 上升，提示 token 速率 下降，"
        "而运行中请求数正常",
    ),
    (
        "requests are held and no token comes out: generation_tokens 0 tokens/s, before 425 "
        "tokens/s; requests_running 6 requests, before 7 requests",
        "有请求在处理，但没有输出 token：生成 token 速率 0 tokens/s，之前 425 tokens/s；"
        "运行中请求数 6 requests，之前 7 requests",
    ),
    ("the other replicas go on: 0% of 2 others", "其他副本仍在服务：2 个中有 0%"),
    ("Container waits 1 bool, limit 0.5 bool, for 8 min", "容器等待中，已持续 8 min"),
    ("generation_tokens is back in its band on 2 targets",
     "生成 token 速率 在 2 个对象上恢复到预期范围"),
    ("restart_pod was effective", "重启 Pod：有效"),
    ("engine_hang on pod:serving/l-1", "推理引擎挂起（pod:serving/l-1）"),
    ("evict_pod: termination has begun", "驱逐 Pod：已开始终止"),
    ("effective: queue_time_p95 is back in its band on 5 targets; requests_waiting is back in "
     "its band on 5 targets",
     "有效：排队时间 p95 在 5 个对象上恢复到预期范围；排队请求数 在 5 个对象上恢复到预期范围"),
    ("A person is needed: every remediation was tried", "需要人工处理：所有处置都已尝试"),
    ("gpu_power 112 W, before 322 W (-2.0 for low(gpu_power) on gpus all)",
     "GPU 功耗 112 W，之前 322 W（-2.0，low(gpu_power) on gpus all）"),
)  # fmt: skip


@pytest.mark.parametrize(("english", "chinese"), SAID)
def test_a_sentence_is_told_in_chinese(english: str, chinese: str) -> None:
    assert speaker("zh", LEXICON)(english) == chinese


@pytest.mark.parametrize(("english", "_"), SAID)
def test_what_was_told_once_is_not_told_otherwise_the_second_time(english: str, _: str) -> None:
    for language in ("en", "zh"):
        speak = speaker(language, LEXICON)
        assert speak(speak(english)) == speak(english)


def test_an_english_reader_is_told_titles_in_place_of_names() -> None:
    speak = speaker("en", LEXICON)
    assert speak("gpu_power 112 W, before 322 W") == "GPU power 112 W, before 322 W"
    assert speak("a sentence of somebody else's") == "a sentence of somebody else's"


@pytest.mark.parametrize(
    "text",
    [
        "value(gpu_power) > 80 on gpus all",
        "pod:serving/gpu_power-7d9f",
        "https://example.com/gpu_power",
        "my_gpu_power 3",
        "gpu_power_watts 3",
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_questions_objects_and_other_names_stay_as_they_are(text: str, language: str) -> None:
    assert speaker(language, LEXICON)(text) == text


def test_a_signal_of_ones_own_is_called_by_its_own_title() -> None:
    mine = Signal("my_queue", "mine", "q", "requests", Kind.POD, Worse.UP, 1.0,
                  title="My queue", title_zh="我的队列")  # fmt: skip
    lexicon = lexicon_of((mine,), ())
    assert speaker("zh", lexicon)("My queue 9 requests, limit 3 requests, for 2 min") == (
        "我的队列 9 requests，阈值 3 requests，已持续 2 min"
    )
    assert speaker("zh", NO_WORDS)("My queue 9 requests").startswith("My queue")


def test_a_chinese_message_names_signals_and_causes_in_chinese() -> None:
    terms = (
        Term("q", Side.FOR, 2.0, "the GPU spins without working: gpu_power 112 W, before 322 W"),
    )
    cause = builders.hypothesis(title="The engine hangs", title_zh="推理引擎挂起", terms=terms)
    found = builders.incident(
        title="TTFT p95 17 s, limit 10 s, for 5 min",
        findings=(builders.finding(summary="TTFT p95 17 s, limit 10 s, for 5 min"),),
        diagnosis=builders.diagnosis(cause),
    )
    told = Notice(Occasion.DIAGNOSED, found, datetime(2026, 3, 4, 12, tzinfo=UTC))
    robot = DingTalk(url="https://robot.example.com/send", language="zh")
    text = robot.render(spoken_notice(told, "zh", LEXICON))
    assert "首 token 延迟 p95 17 s" in text
    assert "GPU 空转：GPU 功耗 112 W，之前 322 W" in text
    assert "TTFT p95" not in text
    assert "gpu_power" not in text


def test_of_a_storm_only_what_a_message_can_show_is_put_into_words() -> None:
    many = tuple(builders.finding(summary="TTFT p95 17 s") for _ in range(500))
    told = Notice(Occasion.OPENED, builders.incident(findings=many), builders.NOW)
    said = spoken_notice(told, "zh", LEXICON).incident.findings
    assert len(said) == 500
    assert said[MOST_SPOKEN - 1].summary == "首 token 延迟 p95 17 s"
    assert said[MOST_SPOKEN] == replace(many[0])


@pytest.mark.parametrize("text", ["y", "中", ": ", "x on y ", "a, b up"])
def test_a_megabyte_of_anything_is_left_alone(text: str) -> None:
    much = text * (1_000_000 // len(text))
    assert speaker("zh", LEXICON)(much) == much


def test_a_time_of_day_is_told_in_the_readers_zone() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    said = "xid 79 at 23:54:00: Xid errors: xid 79"
    assert speaker("en", NO_WORDS, "Asia/Shanghai")(said).startswith("xid 79 at 07:54:00")
    assert speaker("en", NO_WORDS, "Europe/Berlin", summer)(said).startswith("xid 79 at 01:54:00")
    assert speaker("en", NO_WORDS)(said) == said


def test_a_message_names_the_worst_of_each_signal_and_on_how_many_targets() -> None:
    pods = [builders.pod(f"llama-8b-{n}") for n in range(3)]
    found = builders.incident(
        findings=(
            *(builders.finding(p, score=3.0 + n, summary=f"TTFT p95 {n} s")
              for n, p in enumerate(pods)),
            builders.finding(signal="kv_usage", score=2.0, summary="KV cache used 1"),
        ),
    )  # fmt: skip
    told = Notice(Occasion.OPENED, found, builders.NOW)
    text = DingTalk(url="https://robot.example.com/send").render(told)
    assert "- TTFT p95 2 s · on 3 targets" in text
    assert "TTFT p95 1 s" not in text
    assert text.index("TTFT p95 2 s") < text.index("KV cache used 1")


def test_what_is_to_be_done_stands_before_why_and_that_before_the_symptoms() -> None:
    asked = builders.intent(expires_at=builders.at(900))
    found = builders.incident(diagnosis=builders.diagnosis())
    told = Notice(Occasion.PROPOSED, found, builders.NOW, (asked,))
    text = DingTalk(url="https://robot.example.com/send").render(told)
    places = [
        text.index(f"**{part}**") for part in ("To do", "Would do", "Cause", "Since", "Symptoms")
    ]
    assert places == sorted(places)
