"""A diagnosis on one screen: every term of the leader, its rivals, and why they lost.

What does not fit is cut with `…` and small terms are counted together, never left out unsaid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from healer.model.hypothesis import Diagnosis, Hypothesis, Side, Term

COLUMNS, LINES = 120, 40
WEIGHT, FAMILY = 7, 15
RIVALS = 7


def screen(diagnosis: Diagnosis, columns: int = COLUMNS, lines: int = LINES) -> tuple[str, ...]:
    """Lines of at most `columns` characters, at most `lines` of them (at least 16)."""
    leader = diagnosis.leader
    if leader is None:
        return (_cut(f"no hypothesis: {diagnosis.abstained or 'no rule applies'}", columns),)
    head = [_cut(each, columns) for each in _head(diagnosis, leader)]
    foot = [_cut(each, columns) for each in _foot(diagnosis, columns)]
    room = lines - len(head) - len(foot)
    return (*head, *_terms(leader, columns, room), *foot)


def _head(diagnosis: Diagnosis, leader: Hypothesis) -> Iterator[str]:
    yield (
        f"{leader.cause} on {leader.target}, confidence {leader.confidence:.2f}, "
        f"log-odds {leader.log_odds:+.1f}, since {leader.onset:%H:%M:%S}"
    )
    if leader.proposes:
        wanted = f"from a confidence of {leader.min_confidence:.2f}"
        yield f"proposes {', '.join(leader.proposes)} {wanted}"
    if diagnosis.abstained:
        yield f"abstains: {diagnosis.abstained}"
    if diagnosis.would_decide:
        yield f"would decide: {diagnosis.would_decide}"


def _terms(leader: Hypothesis, columns: int, room: int) -> list[str]:
    told = [t for t in leader.terms if t.side is not Side.MISSING]
    unseen = [t for t in leader.terms if t.side is Side.MISSING]
    asked = (columns - WEIGHT - FAMILY - 4) // 2
    seen = columns - WEIGHT - FAMILY - 4 - asked
    found = [f"{'weight':<{WEIGHT}} {'family':<{FAMILY}} {'asked':<{asked}}  seen"]
    most = room - 1 - bool(unseen)
    kept = told if len(told) <= most else _weightiest(told, most - 1)
    for term in kept:
        weight = f"{term.weight:+.2f}{'!' if term.decisive else ''}"
        found.append(
            f"{weight:<{WEIGHT}} {_cut(term.family, FAMILY):<{FAMILY}} "
            f"{_cut(term.asked, asked):<{asked}}  {_cut(term.seen, seen)}".rstrip()
        )
    if len(kept) < len(told):
        rest = [t.weight for t in told if t not in kept]
        found.append(f"… and {len(rest)} smaller terms, {sum(rest):+.2f} before halving")
    if unseen:
        named = "; ".join(t.asked for t in unseen)
        found.append(_cut(f"cannot be seen ({len(unseen)}): {named}", columns))
    return found


def _weightiest(terms: Sequence[Term], count: int) -> list[Term]:
    """In the order they had."""
    chosen = sorted(range(len(terms)), key=lambda i: -abs(terms[i].weight))[:count]
    return [terms[i] for i in sorted(chosen)]


def _foot(diagnosis: Diagnosis, columns: int) -> Iterator[str]:
    rivals = diagnosis.hypotheses[1:]
    if not rivals:
        yield "no rivals"
        return
    first = rivals[0]
    yield f"runner-up: {first.cause} on {first.target}, confidence {first.confidence:.2f}"
    yield from _wrapped(f"  it lost: {first.why_not or 'less likely beforehand'}", columns, 2)
    named = max((len(_named(r)) for r in rivals[1:RIVALS]), default=0)
    width = min(named, columns // 3)
    for rival in rivals[1:RIVALS]:
        yield f"{_cut(_named(rival), width):<{width}}  {rival.confidence:.2f}  {rival.why_not}"
    if len(rivals) > RIVALS:
        yield f"… and {len(rivals) - RIVALS} more"


def _named(hypothesis: Hypothesis) -> str:
    return f"{hypothesis.cause} on {hypothesis.target}"


def _wrapped(text: str, columns: int, lines: int) -> Iterator[str]:
    """Over several lines, broken at spaces; the last one takes the rest and may be cut."""
    for _ in range(lines - 1):
        if len(text) <= columns:
            break
        at = text.rfind(" ", columns // 2, columns)
        at = at if at > 0 else columns
        yield text[:at]
        text = "    " + text[at:].lstrip()
    yield text


def _cut(text: str, columns: int) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= columns else text[: columns - 1] + "…"
