"""`healer lab`: the simulated cluster by itself, or one scenario healed in simulated time."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from healer.adapters import logs
from healer.adapters.clocks import AcceleratedClock
from healer.cli.common import err, out, write
from healer.cli.simulation import Simulation, lab_settings
from healer.lab.lab import Lab
from healer.lab.scenario import SHIPPED, Scenario, find_scenario, load_scenario
from healer.lab.scoring import Observed, score
from healer.settings import Mode

lab = typer.Typer(no_args_is_help=True, help="A simulated GPU cluster.")


@lab.command()
def run(
    scenario: Annotated[str, typer.Argument(help="File, or name of a shipped scenario.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    observe: Annotated[bool, typer.Option("--observe", help="Only observe.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line a tick.")] = False,
) -> None:
    """Run one scenario as fast as it goes and write what happened.

    Exit status 1 when something unsafe was done, or an expected fault was not healed.
    """
    logs.configure("warning" if verbose else "error", "text")
    wanted = load_scenario(find_scenario(scenario))
    result = simulate(wanted, Mode.OBSERVE if observe else Mode.ENFORCE, verbose=verbose)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if json_file is not None:
        write(json_file, text + "\n")
    else:
        sys.stdout.write(text + "\n")
    healed = all(f["healed"] for f in result["faults"] if _needs_healing(wanted, f["fault"]))
    if result["unsafe"] or (not healed and not observe):
        raise typer.Exit(1)


@lab.command("list")
def list_scenarios() -> None:
    """The scenarios that are shipped."""
    for file in sorted(SHIPPED.glob("*.yaml")):
        out().print(f"{file.stem:24} {load_scenario(file).description}")


@lab.command()
def serve(
    scenario: Annotated[str, typer.Argument(help="File, or name of a shipped scenario.")],
    prometheus_port: Annotated[int, typer.Option(help="Port of Prometheus' API.")] = 19090,
    kubernetes_port: Annotated[int, typer.Option(help="Port of the Kubernetes API.")] = 16443,
    speed: Annotated[float, typer.Option(help="Simulated seconds a second.", min=0.1)] = 1.0,
) -> None:
    """Serve the cluster's two APIs, for kubectl, dashboards or a Healer of your own.

    The scenario begins at this moment, so whoever asks with a wall clock finds its samples.
    """
    wanted = load_scenario(find_scenario(scenario))
    cluster = Lab(dataclasses.replace(wanted, start=datetime.now(UTC).replace(microsecond=0)))
    clock = AcceleratedClock(cluster.now, speed)
    with cluster.serve(prometheus_port, kubernetes_port) as (prometheus, kubernetes):
        err().print(f"prometheus {prometheus}\nkubernetes {kubernetes}")
        while True:
            cluster.advance(clock.now())
            time.sleep(0.2)


def simulate(scenario: Scenario, mode: Mode, *, verbose: bool = False) -> dict[str, Any]:
    """One scenario to its end, mounted in process; the result of `healer.lab.scoring.score`."""
    cluster = Lab(scenario)
    settings = lab_settings("sqlite://", mode=mode)
    total = scenario.duration / settings.loop.interval
    console = err()
    with (
        Simulation(cluster, settings) as simulation,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress,
    ):
        bar = progress.add_task(scenario.name, total=total)

        def watch(report: object) -> None:
            progress.advance(bar)
            if verbose:
                console.print(str(report))

        simulation.run(watch)
        store = simulation.app.store
        audit = [entry for _, entry in store.audit(limit=100_000)]
        observed = Observed(store.incidents(limit=200).items, store.intents(), audit)
        return score(scenario, cluster, observed)


def _needs_healing(scenario: Scenario, fault: str) -> bool:
    return any(
        e.remediations and (e.fault == fault or (not e.fault and len(scenario.faults) == 1))
        for e in scenario.expect
    )
