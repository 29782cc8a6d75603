"""One channel a file: how an incident is said there, signed, and whether it was heard.

Chat is where an operator meets Healer at night, so a message says what is broken, why, what
was done and what is wanted of the reader, in that order, within the channel's byte limit.
"""

from healer.notifiers._chat import Chat
from healer.notifiers._fit import fit, shrink
from healer.notifiers._markup import TEXT
from healer.notifiers._sample import sample_notice
from healer.notifiers._template import fill

__all__ = ["TEXT", "Chat", "fill", "fit", "sample_notice", "shrink"]
