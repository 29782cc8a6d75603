"""`healer lab`: the simulated cluster by itself, or one scenario healed in simulated time."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from healer.adapters import logs
from healer.adapters.clocks import AcceleratedClock
from healer.cli import suite
from healer.cli.common import Form, FormOption, err, out, show, write
from healer.cli.simulation import Simulation, lab_settings
from healer.cli.suite_figures import Row, figures, judge
from healer.errors import BadInput
from healer.lab.lab import Lab
from healer.lab.scenario import SHIPPED, Scenario, find_scenario, load_scenario
from healer.lab.scoring import Observed, score
from healer.settings import Mode

SERVED_MORE = timedelta(hours=1)
"""Samples are kept so much longer than the history goes back; then the oldest are forgotten."""

NO_STORY = ("demo",)
"""Shipped files that are several stories in one."""

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
def list_scenarios(output: FormOption = Form.TABLE) -> None:
    """The scenarios that are shipped."""
    rows = [
        {"name": file.stem, "description": load_scenario(file).description}
        for file in sorted(SHIPPED.glob("*.yaml"))
    ]
    show(rows, ("name", "description"), output)


@lab.command("suite")
def run_suite(
    only: Annotated[str, typer.Option(help="Names of scenarios, with commas.")] = "",
    variant: Annotated[str, typer.Option(help="Names of variants, with commas.")] = "",
    folder: Annotated[Path, typer.Option(help="Folder of scenario files.")] = SHIPPED,
    workers: Annotated[int, typer.Option(help="Runs at a time; 0 for one a core.", min=0)] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all results here, each as it comes.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep all that the file of --json has, run the rest.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Each to its end, also when nothing more will come.")
    ] = False,
) -> None:
    """Run many scenarios, clean and perturbed, and say how good Healer is.

    Exit status 1 where a figure misses its floor, which holds for the whole suite.
    """
    logs.configure("critical", "text")
    chosen = [name for name in only.split(",") if name]
    files = [find_scenario(name) for name in chosen] or sorted(
        file for file in folder.glob("*.yaml") if file.stem not in NO_STORY
    )
    variants = [name for name in variant.split(",") if name] or list(suite.VARIANTS)
    for name in variants:
        if name not in suite.VARIANTS:
            every = ", ".join(suite.VARIANTS)
            raise BadInput(f"expected one of {every}", path="--variant", value=name)
    jobs = suite.jobs([load_scenario(file) for file in files], variants)
    results = _kept(json_file) if resume else []
    known = {result["job"] for result in results}
    jobs = [job for job in jobs if job.name not in known]
    console = err()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("scenarios", total=len(jobs))

        def done(result: dict[str, Any]) -> None:
            progress.advance(bar)
            results.append(result)
            out().print(_line(judge(result), result))
            if json_file is not None:
                write(json_file, json.dumps(results, indent=2, ensure_ascii=False) + "\n")

        suite.run_all(jobs, workers or os.cpu_count() or 1, done, whole=whole)
    found = figures([judge(result) for result in results])
    for figure in found:
        limit = figure.floor if figure.floor is not None else figure.ceiling
        note = "" if limit is None else f"   asked {limit:g}" + ("   MISSED" * figure.missed)
        out().print(f"{figure.name:34} {figure.value:8.3f} of {figure.of:4}{note}")
    if any(figure.missed for figure in found):
        raise typer.Exit(1)


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
    start = datetime.now(UTC).replace(microsecond=0)
    cluster = Lab(
        dataclasses.replace(wanted, start=start), retention=wanted.history.span + SERVED_MORE
    )
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


def _kept(file: Path | None) -> list[dict[str, Any]]:
    """Results of earlier calls, for a suite that is run in pieces; what crashed is run again."""
    if file is None or not file.is_file():
        return []
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return [r for r in kept if r["job"] and not r.get("crashed")]
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput("expected results that `healer lab suite` wrote", file=file) from error


def _line(row: Row, result: dict[str, Any]) -> str:
    if row.crashed:
        return f"{row.job:34} crashed"
    main = result["main"] or {}
    lead = (main.get("hypotheses") or [{"cause": "-", "confidence": 0.0}])[0]
    verdict = "unsafe" if row.unsafe else ("right" if row.first else "wrong")
    did = main.get("action") or ("asked" if result["asked"] else "nothing")
    recovered = main.get("recovered_after_s")
    ended = "" if row.healed is None else (f"{recovered:.0f} s" if row.healed else "not healed")
    return f"{row.job:34} {verdict:6} {lead['cause']:18} {lead['confidence']:.2f}  {did}  {ended}"


def _needs_healing(scenario: Scenario, fault: str) -> bool:
    return any(
        e.remediations and (e.fault == fault or (not e.fault and len(scenario.faults) == 1))
        for e in scenario.expect
    )
