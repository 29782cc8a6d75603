"""`healer demo`: a GPU cluster breaks four times, and is healed, in about two minutes."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from healer.adapters import logs
from healer.cli.common import err, out, write
from healer.cli.simulation import Simulation, lab_settings
from healer.cli.story import Story, table
from healer.daemon import WebServer
from healer.lab.lab import Lab
from healer.lab.scenario import find_scenario, load_scenario
from healer.lab.scoring import Observed, score
from healer.server import render_report_html
from healer.settings import Mode

COLUMNS = ("fault", "healed", "detected_after_s", "diagnosis", "action", "recovered_after_s")


def demo(
    once: Annotated[bool, typer.Option("--once", help="End instead of staying up.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the table as a list of objects.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where the reports go.")] = Path("out"),
    scenario: Annotated[str, typer.Option(help="File, or name of a shipped scenario.")] = "demo",
    observe: Annotated[bool, typer.Option("--observe", help="Only observe.")] = False,
    port: Annotated[int, typer.Option(help="Port of the pages; 0 takes a free one.")] = 0,
) -> None:
    """Lab and daemon together. Exit status 1 when a fault was missed, misjudged or not healed."""
    logs.configure("error", "text")
    console = out()
    wanted = load_scenario(find_scenario(scenario))
    console.print(f"[bold]Healer[/bold] demo: {wanted.description}")
    with err().status("building a cluster with a week of history …"):
        lab = Lab(wanted)
    with tempfile.TemporaryDirectory() as store, lab.serve() as (prometheus, kubernetes):
        settings = lab_settings(
            f"sqlite:///{store}/healer.db",
            prometheus,
            kubernetes,
            Mode.OBSERVE if observe else Mode.ENFORCE,
        )
        settings = dataclasses.replace(
            settings, server=dataclasses.replace(settings.server, port=port)
        )
        with Simulation(lab, settings) as simulation:
            server = WebServer(simulation.app.server_deps())
            server.start()
            console.print(f"watch it at {server.url} — the clock runs fast\n")
            _play(simulation, console)
            rows = _finish(simulation, console, folder, json_file)
            if not once and console.is_terminal:
                console.print(f"\nThe pages stay up at {server.url}; Ctrl-C ends.")
                _stay()
            server.stop()
    if not observe and not all(row["healed"] for row in rows):
        raise typer.Exit(1)


def _play(simulation: Simulation, console: Console) -> None:
    story = Story(console)
    steps = simulation.scenario.duration / simulation.settings.loop.interval
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        bar = progress.add_task("healthy", total=steps)
        while not simulation.ended:
            report = simulation.step()
            story.tick(report, simulation.lab.world.broken)
            clock = f"{report.at:%H:%M} simulated"
            progress.update(bar, advance=1, description=clock)


def _finish(
    simulation: Simulation, console: Console, folder: Path, json_file: Path | None
) -> list[dict[str, Any]]:
    store = simulation.app.store
    incidents = store.incidents(limit=200).items
    audit = [entry for _, entry in store.audit(limit=100_000)]
    observed = Observed(incidents, store.intents(), audit)
    result = score(simulation.scenario, simulation.lab, observed)
    rows = [{name: fault[name] for name in COLUMNS} for fault in result["faults"]]
    console.print()
    console.print(table(rows))
    if result["unsafe"]:
        console.print(f"[red]changes that were not allowed: {result['unsafe']}[/red]")
    checked, wrong = store.verify_audit()
    console.print(f"audit: {wrong or f'{checked} entries, the chain holds'}")
    for incident in incidents:
        intents = store.intents(incident_id=incident.id)
        if any(i.plan.remediation != "escalate" for i in intents):
            file = folder / f"incident-{incident.id}.html"
            page = render_report_html(
                incident,
                intents,
                [entry for _, entry in store.audit(incident_id=incident.id)],
                simulation.app.charts(incident.id),
                lexicon=simulation.app.lexicon,
            )
            write(file, page)
            console.print(f"report: {file}")
    if json_file is not None:
        write(json_file, json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    return rows


def _stay() -> None:
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        return
