"""Two replicas on one PostgreSQL; the leader is killed while its eviction is under way.

The lab runs by the wall clock here, and so does the lease: what is measured is what a cluster
would see.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import servers

from healer.adapters.store import open_store
from healer.lab.lab import Lab
from healer.lab.scenario import FaultSpec, HistorySpec, Scenario
from healer.lab.scoring import changes
from healer.lab.web import Handler, Request, Response
from healer.model.intent import State

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        not os.environ.get("HEALER_FAILOVER"), reason="takes 40 s: `make test-failover`"
    ),
]

WITHIN_S = 20.0
REPLICA = Path(__file__).parent / "replica.py"
BEGAN = timedelta(minutes=8)
"""How long the lab has run when the replicas come: the fault is there to be seen."""


class LiveLab(Lab):
    """A lab that can be told to do something while an eviction is being answered."""

    on_eviction: Callable[[], None] | None = None

    @property
    def kubernetes(self) -> Handler:
        def answer(request: Request) -> Response:
            response = self.world.api.handle(request)
            real = not any(key == "dryRun" for key, _ in request.query)
            if self.on_eviction and real and request.path.endswith("/eviction"):
                react, self.on_eviction = self.on_eviction, None
                react()
            return response

        return answer


@dataclass
class Replica:
    identity: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def told(self, alert: dict[str, Any]) -> bool:
        """Whether it took the alert in durably."""
        try:
            answer = requests.post(
                f"{self.url}/api/v1/intake/alertmanager",
                json=alert,
                headers={"Authorization": "Bearer give"},
                timeout=5,
            )
        except requests.RequestException:
            return False
        return answer.ok


@contextmanager
def replica(folder: Path, identity: str, *addresses: str) -> Iterator[Replica]:
    port, log = servers.free_port(), folder / f"{identity}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, str(REPLICA), *addresses, identity, str(port)],
            stdout=sink, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    try:
        yield Replica(identity, process, f"http://127.0.0.1:{port}", log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def by_the_wall_clock(lab: Lab) -> Iterator[None]:
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.2):
            lab.advance(datetime.now(UTC))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def alert(number: int) -> dict[str, Any]:
    one = {
        "status": "firing",
        "labels": {"alertname": "Note", "severity": "info", "number": str(number)},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"{number:016x}",
    }
    return {
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "healer", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager", "alerts": [one],
    }  # fmt: skip


def until(what: str, found: Callable[[], Any], within_s: float) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.05)
    return value


def test_a_killed_leader_is_followed_and_nothing_is_lost_or_done_twice(
    postgres: str, tmp_path: Path
) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - BEGAN
    lab = LiveLab(
        Scenario(
            "failover",
            start=start,
            duration=timedelta(hours=1),
            history=HistorySpec(span=timedelta(hours=6)),
            faults=(FaultSpec("engine_hang", at=timedelta(minutes=2), target="pod:llama-8b/1"),),
        )
    )
    lab.advance(datetime.now(UTC))
    store_url = servers.new_database(postgres)
    store = open_store(store_url)
    killed_at: list[float] = []

    def holder() -> str:
        lease = lab.world.api.store.get("coordination/leases", "serving", "healer")
        return str(lease["spec"]["holderIdentity"]) if lease else ""

    with ExitStack() as stack:
        stack.callback(store.close)
        addresses = (*stack.enter_context(lab.serve()), store_url)
        stack.enter_context(by_the_wall_clock(lab))
        two = {
            name: stack.enter_context(replica(tmp_path, name, *addresses))
            for name in ("one", "two")
        }
        try:

            def kill_the_leader() -> None:
                two[holder()].process.send_signal(signal.SIGKILL)
                killed_at.append(time.monotonic())

            lab.on_eviction = kill_the_leader
            taken, number = [], 0
            followed_after = 0.0
            ends = time.monotonic() + 90
            while not followed_after:
                assert time.monotonic() < ends, "nobody followed"
                for each in two.values():
                    number += 1
                    if each.told(alert(number)):
                        taken.append(f"{number:016x}")
                alive = [n for n, r in two.items() if r.process.poll() is None]
                if killed_at and len(alive) == 1 and holder() == alive[0]:
                    followed_after = time.monotonic() - killed_at[0]
                time.sleep(0.1)
            (survivor,) = (r for r in two.values() if r.process.poll() is None)
            until(
                "the eviction's read-back",
                lambda: any(s.done for i in store.intents() for s in i.steps),
                30,
            )
            time.sleep(3)  # ticks of a second each, in which it could act again
            survivor.process.send_signal(signal.SIGTERM)
            survivor.process.wait(30)
        except BaseException:
            for each in two.values():
                sys.stderr.write(f"--- {each.identity}\n{each.log.read_text()[-3000:]}\n")
            raise
        sys.stdout.write(f"followed after {followed_after:.1f} s\n")
        assert followed_after < WITHIN_S
        assert len(taken) > 20
        assert set(taken) <= {e.fingerprint for e in store.episodes(start)}
        assert [verb for _, verb, _ in changes(lab.write_log)] == ["evict"]
        assert store.verify_audit()[1] == ""
        (intent,) = (i for i in store.intents() if i.plan.remediation == "restart_pod")
        assert intent.state is State.VERIFYING
        assert survivor.process.returncode == 0
        assert holder() == "", "the lease was not handed over"
