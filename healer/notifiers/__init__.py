"""One channel a file: how an incident is said there, signed, and whether it was heard.

Chat is where an operator meets Healer at night, so a message says what is broken, why, what
was done and what is wanted of the reader, in that order, within the channel's byte limit.
"""

from healer.notifiers._fit import fit, shrink

__all__ = ["fit", "shrink"]
