"""What ships is named in English and Chinese: signals, causes, and what speaks for a cause."""

from __future__ import annotations

import re

from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals

HAN = re.compile(r"[\u4e00-\u9fff]")
SAME_IN_BOTH = re.compile(r"[A-Za-z0-9 /.-]+")


def test_every_signal_has_a_title_in_both_languages() -> None:
    for signal in load_signals():
        assert SAME_IN_BOTH.fullmatch(signal.title), signal.name
        assert HAN.search(signal.title_zh), signal.name


def test_every_cause_and_what_it_says_of_its_evidence_is_in_both_languages() -> None:
    for rule in load_rules().rules:
        assert rule.title, rule.id
        assert HAN.search(rule.title_zh), rule.id
        for each in (*rule.require, *rule.exclude, *rule.evidence):
            assert bool(each.says) == bool(HAN.search(each.says_zh)), (rule.id, each.says)
