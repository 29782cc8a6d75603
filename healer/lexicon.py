"""What signals, causes and observations are called, in the reader's language.

Detectors, rules and guards write English, and name signals and causes by their ids where they
compare them. People are told titles instead. The titles are the catalogues' own (`title`,
`title_zh` of a signal or a cause, `says_zh` of an observation); here they are only looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from healer.model.rule import Rule
from healer.model.signal import Signal
from healer.wording import LANGUAGES

_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Language → what is written → what is told instead."""

    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict, repr=False)

    def put(self, text: str, language: str) -> str:
        """`text` with every name in it replaced by its title; whole names only."""
        words = self.words.get(language)
        if not words:
            return text
        return self._patterns.get(language, _NEVER).sub(lambda m: words[m.group()], text)


NO_WORDS = Lexicon()


def lexicon_of(signals: Iterable[Signal], rules: Iterable[Rule]) -> Lexicon:
    """The words of these catalogues; of two titles of one name the first counts."""
    english: dict[str, str] = {}
    chinese: dict[str, str] = {}
    for signal in signals:
        _learn(english, chinese, signal.name, signal.title, signal.title_zh)
    for rule in rules:
        _learn(english, chinese, rule.id, rule.title, rule.title_zh)
        for each in (*rule.require, *rule.exclude, *rule.evidence):
            if each.says and each.says_zh:
                chinese.setdefault(each.says, each.says_zh)
    words = dict(zip(LANGUAGES, (english, chinese), strict=True))
    return Lexicon(words, {language: _pattern(found) for language, found in words.items()})


def _learn(
    english: dict[str, str], chinese: dict[str, str], name: str, title: str, title_zh: str
) -> None:
    is_id = "_" in name  # `aborts` or `preemptions` may as well be a word of a sentence
    if title and is_id:
        english.setdefault(name, title)
    if title_zh:
        if is_id:
            chinese.setdefault(name, title_zh)
        if title:
            chinese.setdefault(title, title_zh)


def _pattern(words: Mapping[str, str]) -> re.Pattern[str]:
    """Longest first: `Requests failed` before `Requests`. Never a part of a metric's or an object's
    name, nor of a question as a rule writes it."""
    if not words:
        return _NEVER
    known = "|".join(re.escape(each) for each in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w:/.(\-])(?:{known})(?![\w/(\-]|\.\w)")
