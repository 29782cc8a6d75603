"""What signals and causes are called, from the catalogues that the settings put in force."""

from __future__ import annotations

from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.lexicon import Lexicon, lexicon_of
from healer.settings import Settings


def lexicon_for(settings: Settings) -> Lexicon:
    folders, disabled = settings.rules.folders, settings.rules.disabled
    signals = load_signals(folders, disabled, settings.detectors.packages)
    return lexicon_of(signals, load_rules(folders, disabled).rules)
