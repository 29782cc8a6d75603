"""The generated parts of the handbook: the settings page and the table of permissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from chart import observed
from reference import Key, keys, summary, type_name, written

from healer.adapters.kubernetes.permissions import FURTHER, NEEDED
from healer.adapters.kubernetes.toggles import CLUSTER_SCOPED, TOGGLES
from healer.settings import Settings

SETTINGS = Path("docs/settings.md")
SECURITY = Path("docs/security.md")
TABLE = re.compile(r"(?<=<!-- permissions -->\n).*?(?=<!-- end -->)", re.S)

HEAD = """# Settings

One YAML file, given with `--config` or in `HEALER_CONFIG`; the environment lies over it
(`HEALER__LOOP__INTERVAL=15s` sets `loop.interval`). Every key has a safe default, and all of them
together observe and change nothing. Unknown keys are errors that name file, path and what is known.
`healer config show` prints what is in force. Durations are `30s`, `5m`, `1h30m`, `7d`.

Secrets are never written here: settings that end in `_file` name mounted files, read again when
they change.

This page is generated from `healer/settings.py` by `python tools/generate.py`.
"""


def generated() -> Mapping[Path, str]:
    security = SECURITY.read_text(encoding="utf-8")
    return {SETTINGS: settings_page(), SECURITY: TABLE.sub(lambda _: permissions(), security)}


def settings_page() -> str:
    parts = [HEAD]
    top = [key for key in keys(Settings) if "." not in key.path]
    for section in (key for key in top if key.inner is not None):
        parts.append(f"\n## {section.path}\n")
        if section.inner is not None and section.inner.__doc__:
            parts.append(f"\n{_cell(_own_words(section))}\n")
        below = [k for k in keys(Settings) if k.path.startswith(section.path + ".")]
        parts.append(_table(below))
    parts.append("\n## At the top\n")
    parts.append(_table([key for key in top if key.inner is None]))
    return "".join(parts)


def _own_words(section: Key) -> str:
    """A dataclass without documentation gets its signature as one; that is no help."""
    assert section.inner is not None
    text = summary(section.inner)
    return "" if text.startswith(section.inner.__name__ + "(") else text


def _table(rows: list[Key]) -> str:
    lines = ["\n| Key | Kind | Default | |\n|---|---|---|---|\n"]
    for key in rows:
        default = "" if key.inner is not None else written(key.default)
        shown = f"`{default}`" if default and default != "required" else default
        lines.append(f"| `{key.path}` | {type_name(key.hint)} | {shown} | {_cell(key.doc)} |\n")
    return "".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def permissions() -> str:
    """Who may do what, as the chart gives it."""
    everything = ", ".join(f"`{_named(group, name)}`" for group, name in observed())
    lines = [
        "| Switch | Identity | Verbs of Healer | Rights | Where |\n|---|---|---|---|---|\n",
        f"| none | reads | | get, list, watch: {everything} | cluster |\n",
    ]
    for toggle, verbs in TOGGLES.items():
        needed = {r for verb in verbs for r in (*NEEDED[verb], *FURTHER.get(verb, ()))}
        for cluster in (True, False):
            found: dict[str, list[str]] = {}
            for right in sorted(needed, key=lambda r: (r.group, r.resource, r.verb)):
                if (right.resource in CLUSTER_SCOPED) is cluster:
                    name = _named(right.group, right.resource)
                    found.setdefault(name, []).append(right.verb)
            if found:
                told = "; ".join(f"{', '.join(v)} `{n}`" for n, v in found.items())
                where = "cluster" if cluster else "`remediation.namespaces`"
                lines.append(f"| `{toggle}` | acts | {', '.join(verbs)} | {told} | {where} |\n")
    return "".join(lines)


def _named(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource
