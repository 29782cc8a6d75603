"""Carries out many random schedules against the acting engine: `python tools/prove.py`.

    --schedules 10000   how many
    --mutants           switch off each guard, and each safety of the executor, in turn: the proof
                        has to notice, and the schedule that shows it is printed

Exit status 1 where a property breaks, or where it does not notice a mutant.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import proof
from proof_rules import Broken

from healer.guards import standard
from healer.settings import RemediationSettings

PROPERTIES = (
    "duplicate",
    "audit",
    "mode",
    "kill switch",
    "approval",
    "scope",
    "fresh evidence",
    "conflicts",
    "freeze",
    "locks",
    "rate",
    "cooldown",
    "blast radius",
    "storm",
    "breaker",
    "capacity",
    "ladder",
    "read back",
    "orphan",
)
GUARDS = tuple(type(guard).__name__ for guard in standard(RemediationSettings()))


class Unsafe(Exception):
    """A property that broke, and the schedule that broke it."""


def prove(schedules: int, console: Console) -> Counter[str]:
    """Counts of what happened. Raises Unsafe with the smallest schedule Hypothesis finds."""
    seen: Counter[str] = Counter()
    last: list[list[proof.Op]] = []
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("schedules", total=schedules)

        @settings(
            max_examples=schedules,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(proof.SCHEDULES)
        def each(schedule: list[proof.Op]) -> None:
            last[:] = [schedule]
            run = proof.carry_out(schedule)
            progress.advance(bar)
            seen["schedules"] += 1
            seen["ticks"] += run.ticks
            seen["plans"] += len(run.store.kept)
            seen["changes of the cluster"] += len(run.cluster.commits)
            seen["entries in the audit"] += len(run.store.entries)
            seen["lost answers and crashes"] += sum(
                op[0] == "crash" or (op[0] == "fate" and op[1] not in ("busy", "refused"))
                for op in schedule
            )

        for told in proof.TOLD:
            proof.carry_out(told)
        try:
            each()
        except Broken as broken:
            raise Unsafe(f"{broken}: {steps(last[0])}") from broken
    return seen


def steps(schedule: list[proof.Op]) -> str:
    return "; ".join(" ".join(map(str, op)) for op in schedule)


def hunt(mutant: proof.Mutant, schedules: int) -> tuple[Broken, list[proof.Op]] | None:
    """The property that breaks and the smallest schedule found; None where none does."""
    last: list[list[proof.Op]] = []
    for told in proof.TOLD:
        try:
            proof.carry_out(told, mutant)
        except Broken as broken:
            return broken, told

    @settings(
        max_examples=schedules,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(proof.SCHEDULES)
    def each(schedule: list[proof.Op]) -> None:
        try:
            proof.carry_out(schedule, mutant)
        except Broken:
            last[:] = [schedule]
            raise

    try:
        each()
    except Broken as broken:
        return broken, last[0]
    return None


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--schedules", type=int, default=10_000)
    options.add_argument("--mutants", action="store_true")
    options.add_argument("--tries", type=int, default=3_000, help="schedules for each mutant")
    given_ = options.parse_args()
    console, out = Console(stderr=True), Console()
    if given_.mutants:
        return mutants(given_.tries, out)
    try:
        seen = prove(given_.schedules, console)
    except Unsafe as unsafe:
        out.print(f"BROKEN  {unsafe}", soft_wrap=True, markup=False)
        return 1
    for name, count in seen.items():
        out.print(f"{name:28} {count:9}")
    for name in PROPERTIES:
        out.print(f"{name + ' broken':28} {0:9}")
    return 0


def mutants(tries: int, out: Console) -> int:
    missed = 0
    wanted = [proof.Mutant(guards=frozenset({name})) for name in GUARDS]
    wanted += [proof.Mutant(executor=name) for name in proof.EXECUTORS]
    for mutant in wanted:
        name = mutant.executor or f"without {', '.join(mutant.guards)}"
        found = hunt(mutant, tries)
        missed += found is None
        if found is None:
            out.print(f"| {name} | **not noticed** in {tries} schedules | |")
        else:
            row = f"| {name} | {found[0].name} | `{steps(found[1])}` |"
            out.print(row, soft_wrap=True, markup=False)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
