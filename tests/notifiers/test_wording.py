"""Both languages say the same things."""

from __future__ import annotations

import re
import string
from datetime import timedelta

import pytest

from healer.model.actions import VERBS
from healer.model.incident import Phase, Severity
from healer.model.intent import Effect, State
from healer.model.message import Delivery, Occasion
from healer.model.verdict import Decision
from healer.wording import WORDS, name, say, span


def names(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


@pytest.mark.parametrize("key", WORDS)
def test_a_phrase_has_both_languages_with_the_same_names_in_braces(key: str) -> None:
    english, chinese = WORDS[key]
    assert english.strip()
    assert chinese.strip()
    assert names(english) == names(chinese)
    if key != "page.language":
        assert not re.search("[\u4e00-\u9fff]", english)


def test_every_word_of_the_model_is_known() -> None:
    for prefix, values in (
        ("phase", [p.value for p in Phase]),
        ("severity", [s.value for s in Severity]),
        ("occasion", [o.value for o in Occasion]),
        ("state", [s.value for s in State]),
        ("effect", [e.value for e in Effect]),
        ("delivery", [d.value for d in Delivery]),
        ("decision", [d.name.lower() for d in Decision]),
        ("verb", VERBS),
    ):
        for value in values:
            assert f"{prefix}.{value}" in WORDS


def test_chinese_is_punctuated_as_chinese() -> None:
    for key, (_, chinese) in WORDS.items():
        assert not re.search("[\u4e00-\u9fff][,;?]", chinese), key


def test_an_unknown_name_stays_as_it_is_and_an_unknown_key_is_our_mistake() -> None:
    assert name("remediation", "of_a_third_party", "zh") == "of_a_third_party"
    with pytest.raises(KeyError):
        say("page.nothing_like_it", "en")


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0, "0 s", "0 秒"),
        (59.6, "1 min", "1 分"),
        (200, "3 min 20 s", "3 分 20 秒"),
        (93_784, "1 d 2 h", "1 天 2 小时"),
        (-5, "0 s", "0 秒"),
    ],
)
def test_a_span_is_its_two_largest_units(seconds: float, english: str, chinese: str) -> None:
    length = timedelta(seconds=seconds)
    assert (span(length, "en"), span(length, "zh")) == (english, chinese)
