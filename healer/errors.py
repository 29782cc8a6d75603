"""The two kinds of failure, and the one for what a person wrote wrongly.

    HealerError
    ├── Temporary      the world did not answer: try again next tick
    ├── Permanent      the world said no: escalate
    └── BadInput       a file or value a person gave: say where, and what was expected

Adapters translate foreign exceptions into these at their edge, keeping the cause.
"""

from pathlib import Path


class HealerError(Exception):
    """Anything Healer raises on purpose."""


class Temporary(HealerError):
    """The world did not answer properly. Nothing is concluded; the next tick tries again."""


class Permanent(HealerError):
    """Trying again would not help. Somebody has to decide."""


class UnknownOutcome(Temporary):
    """A mutation was sent and its answer lost. Read the world back; never send again blindly."""


class BadInput(HealerError):
    """Input of a person that cannot be used.

    `str()` is one line: file, path inside it, the value and what was expected.
    """

    def __init__(
        self,
        expected: str,
        *,
        file: str | Path | None = None,
        path: str = "",
        value: object = None,
        line: int | None = None,
    ) -> None:
        self.expected, self.file, self.path, self.value, self.line = (
            expected,
            file,
            path,
            value,
            line,
        )
        where = ":".join(
            part for part in (str(file or ""), str(line or ""), f" {path}" if path else "") if part
        ).strip()
        shown = "" if value is None else f"{_short(value)}: "
        super().__init__(f"{where}: {shown}{expected}" if where else f"{shown}{expected}")


def _short(value: object, limit: int = 160) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
