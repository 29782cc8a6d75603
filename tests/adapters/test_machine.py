"""One machine: its containers and units are seen as pods, and restarted once, as decided."""

from __future__ import annotations

import dataclasses
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import builders
import healing_worlds as worlds
import pytest
from typer.testing import CliRunner

from healer.adapters.clocks import SteppedClock
from healer.adapters.executor import Executor
from healer.adapters.machine import Machine, open_machine
from healer.adapters.machine.docker import Docker
from healer.adapters.machine.machine import workload
from healer.adapters.machine.systemd import Systemd
from healer.adapters.store import open_store
from healer.cli.main import app
from healer.errors import Permanent, Temporary, UnknownOutcome
from healer.guards import standard
from healer.healing import Healing
from healer.model.actions import CordonNode, EvictPod
from healer.model.intent import State
from healer.model.target import Kind, Target
from healer.settings import Arming, MachineSettings, Mode, RemediationSettings
from remediations.restart_pod import RestartPod

FIRST, SECOND = "2026-03-04T11:00:00.123456789Z", "2026-03-04T12:00:05.5Z"


class Engine:
    """A stand-in for the Docker Engine, on a real Unix socket, with one container `vllm`."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"Status": "running", "StartedAt": FIRST, "OOMKilled": False}
        self.restarts: list[str] = []
        self.answer: tuple[int, Any] | None = None
        self.hang_up = False

    def inspect(self) -> dict[str, Any]:
        return {
            "Id": "c0ffee" * 10,
            "State": self.state,
            "RestartCount": 2,
            "Config": {"Image": "vllm/vllm-openai:v0.9"},
        }


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[Engine, Path]]:
    docker = Engine()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/containers/vllm/json"
            self._say(*(docker.answer or (200, docker.inspect()))) if known else self._say(404, {})

        def do_POST(self) -> None:
            docker.restarts.append(self.path)
            if docker.hang_up:
                return
            if docker.answer is None:
                docker.state = docker.state | {"StartedAt": SECOND, "Status": "running"}
            self._say(*(docker.answer or (204, None)))

        def _say(self, status: int, body: Any) -> None:
            raw = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: Any) -> None:
            pass

    # A unix socket's path may be 107 bytes long, which pytest's folders are not.
    with (
        tempfile.TemporaryDirectory(prefix="docker-") as folder,
        socketserver.ThreadingUnixStreamServer(f"{folder}/docker.sock", Handler) as server,
    ):
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield docker, Path(folder) / "docker.sock"
        server.shutdown()
        thread.join(60)


def machine(file: Path, *names: str) -> Machine:
    docker = Docker(file, names or ("vllm",))
    return Machine("box", (docker,), SteppedClock(builders.NOW))


def evict(world: Machine, name: str = "vllm") -> EvictPod:
    topology = world.view().topology
    (pod,) = [e.target for e in topology.of(Kind.POD) if e.target.name == name]
    (owner,) = topology.related(pod, Kind.WORKLOAD)
    return EvictPod(pod, owner, pod.uid)


def test_a_container_is_a_pod_of_the_machine_with_the_run_as_its_uid(
    engine: tuple[Engine, Path],
) -> None:
    view = machine(engine[1]).view()
    assert (view.ok, view.problems) == (True, ())
    (pod,) = view.topology.of(Kind.POD)
    assert str(pod.target) == "pod:machine/vllm"
    assert pod.target.uid == f"c0ffeec0ffee.{FIRST}"
    assert pod.created_at is not None
    assert pod.created_at.isoformat() == "2026-03-04T11:00:00.123456+00:00"
    assert (pod.facts["ready"], pod.facts["phase"], pod.facts["restarts"]) == (True, "Running", 2)
    (owner,) = view.topology.related(pod.target, Kind.WORKLOAD)
    assert view.topology.fact(owner, "replicas") == 1
    assert view.topology.related(pod.target, Kind.NODE)[0].name == "box"
    assert "evict_pod" not in view.denied
    assert "cordon_node" in view.denied


@pytest.mark.parametrize(
    ("state", "ready", "phase", "reason"),
    [
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, False, "Failed", "OOMKilled"),
        ({"Status": "exited", "ExitCode": 3}, False, "Failed", "exit code 3"),
        ({"Health": {"Status": "unhealthy"}}, False, "Running", "unhealthy"),
        ({"Health": {"Status": "starting"}}, False, "Running", None),
        ({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, False, "Pending", None),
        ({"Health": None}, True, "Running", None),
    ],
)
def test_what_ails_a_container_is_a_fact(
    engine: tuple[Engine, Path], state: dict[str, Any], ready: bool, phase: str, reason: str | None
) -> None:
    engine[0].state |= state
    (pod,) = machine(engine[1]).view().topology.of(Kind.POD)
    assert (pod.facts["ready"], pod.facts["phase"], pod.facts["reason"]) == (ready, phase, reason)


def test_what_is_named_and_not_there_or_cannot_be_asked_makes_the_view_incomplete(
    engine: tuple[Engine, Path], tmp_path: Path
) -> None:
    view = machine(engine[1], "vllm", "typo").view()
    assert (view.ok, view.topology.complete) == (False, False)
    assert "there is no container typo" in view.problems[0].what
    assert len(view.topology.of(Kind.POD)) == 1
    gone = machine(tmp_path / "none.sock").view()
    assert not gone.ok
    assert "No such file" in gone.problems[0].what
    for strange in ([], {"State": {}}, {"Id": 1, "State": {"Status": "running"}}, "x"):
        engine[0].answer = (200, strange)
        assert not machine(engine[1]).view().ok


def test_a_restart_is_sent_once_and_read_back(engine: tuple[Engine, Path]) -> None:
    world = machine(engine[1])
    action = evict(world)
    rehearsed = world.rehearse(action, "i")
    assert (rehearsed.ok, rehearsed.dry_run, engine[0].restarts) == (True, True, [])
    assert world.holds(action, "i") is False
    assert world.carry_out(action, "i").ok
    assert engine[0].restarts == ["/containers/vllm/restart?t=10"]
    assert world.holds(action, "i") is True
    again = world.carry_out(action, "i")
    assert (again.ok, again.gone) == (False, True)
    assert len(engine[0].restarts) == 1, "another run is not what was decided on"


def test_what_is_being_restarted_already_is_waited_for(engine: tuple[Engine, Path]) -> None:
    world = machine(engine[1])
    action = evict(world)
    engine[0].state |= {"Status": "restarting"}
    receipt = world.carry_out(action, "i")
    assert (receipt.ok, receipt.retry_after_s, engine[0].restarts) == (False, 15.0, [])


def test_failures_are_what_they_are(engine: tuple[Engine, Path], tmp_path: Path) -> None:
    docker, file = engine
    one = Docker(file, ("vllm",))
    docker.hang_up = True
    with pytest.raises(UnknownOutcome):
        one.restart("vllm")
    docker.hang_up = False
    docker.answer = (500, {"message": "cannot stop"})
    with pytest.raises(UnknownOutcome, match="cannot stop"):
        one.restart("vllm")
    docker.answer = (403, {"message": "not by you"})
    with pytest.raises(Permanent, match="not by you"):
        one.restart("vllm")
    with pytest.raises(Temporary, match=r"none\.sock"):
        Docker(tmp_path / "none.sock", ("vllm",)).restart("vllm")


def test_what_the_settings_do_not_name_is_never_touched(engine: tuple[Engine, Path]) -> None:
    world = machine(engine[1])
    foreign = Target(Kind.POD, "postgres", "machine", "x")
    with pytest.raises(Permanent, match="name no such"):
        world.carry_out(EvictPod(foreign, workload("container", "postgres"), "x"), "i")
    with pytest.raises(Permanent, match="nothing else"):
        world.carry_out(CordonNode(Target(Kind.NODE, "box"), "box"), "i")
    assert engine[0].restarts == []


SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/calls
[ -e {folder}/fails ] && {{ echo "Access denied" >&2; exit 4; }}
case "$1" in
show) cat {folder}/state;;
restart) sed -i s/one/two/ {folder}/state;;
esac
"""


def test_a_unit_is_seen_and_restarted_through_systemctl(tmp_path: Path) -> None:
    script = tmp_path / "systemctl"
    script.write_text(SYSTEMCTL.format(folder=tmp_path))
    script.chmod(0o755)
    state = tmp_path / "state"
    state.write_text(
        "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n"
        "InvocationID=one\nNRestarts=3\n"
    )
    units = Systemd(("vllm.service",), command=(str(script),))
    world = Machine("box", (units,), SteppedClock(builders.NOW))
    (pod,) = world.view().topology.of(Kind.POD)
    assert (pod.target.uid, pod.facts["ready"], pod.facts["restarts"]) == ("one", True, 3)
    action = evict(world, "vllm.service")
    assert world.carry_out(action, "i").ok
    assert world.holds(action, "i") is True
    calls = (tmp_path / "calls").read_text()
    assert calls.count("restart --no-block --no-ask-password vllm.service") == 1
    state.write_text("LoadState=loaded\nActiveState=failed\nResult=oom-kill\nInvocationID=two\n")
    (pod,) = world.view().topology.of(Kind.POD)
    assert (pod.facts["phase"], pod.facts["reason"]) == ("Failed", "oom-kill")
    state.write_text("LoadState=not-found\nActiveState=inactive\n")
    assert "there is no unit vllm.service" in world.view().problems[0].what
    (tmp_path / "fails").touch()
    with pytest.raises(Permanent, match="Access denied"):
        units.restart("vllm.service")
    assert not world.view().ok


def test_nothing_named_is_no_machine() -> None:
    clock = SteppedClock(builders.NOW)
    assert open_machine(MachineSettings(), clock) is None
    found = open_machine(MachineSettings(containers=("a",), units=("b.service",), node="n"), clock)
    assert found is not None
    assert [s.kind for s in found.supervisors] == ["container", "unit"]


ARMED = RemediationSettings(
    mode=Mode.ENFORCE,
    arm={"restart_pod": Arming(Mode.ENFORCE, ("machine",), approval=False)},
)


@pytest.mark.parametrize("settings", [RemediationSettings(), ARMED], ids=["observing", "armed"])
def test_a_hung_engine_on_one_machine_goes_the_whole_way(
    engine: tuple[Engine, Path], settings: RemediationSettings
) -> None:
    docker, file = engine
    world, store = machine(file), open_store("sqlite://")
    executor = Executor(world, store, SteppedClock(builders.NOW))
    remedies = {"restart_pod": RestartPod(single_replica=True)}
    healing = Healing(store, executor, remedies, standard(settings), settings)
    pod = evict(world).target
    sick = worlds.incident(targets=(pod,))
    assert sick.diagnosis is not None
    leader = dataclasses.replace(sick.diagnosis.hypotheses[0], target=pod)
    sick = dataclasses.replace(
        sick, diagnosis=dataclasses.replace(sick.diagnosis, hypotheses=(leader,))
    )
    snapshot = worlds.snapshot(world.view().topology, denied=world.denied())
    healing.heal((sick,), snapshot)
    (intent,) = store.intents()
    if settings is ARMED:
        assert intent.state is State.VERIFYING, intent.verdicts
        assert len(docker.restarts) == 1
    else:
        assert intent.state is State.REHEARSED
        assert docker.restarts == []
    store.close()


def test_the_doctor_says_whether_the_services_are_found(
    engine: tuple[Engine, Path], tmp_path: Path
) -> None:
    environment = {
        "HEALER__KUBERNETES__ENABLED": "false",
        "HEALER__PROMETHEUS__URL": "http://127.0.0.1:9",
        "HEALER__STORE__URL": f"sqlite:///{tmp_path / 'healer.db'}",
        "HEALER__REMEDIATION__MODE": "enforce",
        "HEALER__MACHINE__DOCKER_SOCKET": str(engine[1]),
    }
    for names, state, said in (
        ("[vllm]", "ok", "vllm: found"),
        ("[x]", "failed", "no container x"),
    ):
        given = environment | {"HEALER__MACHINE__CONTAINERS": names}
        done = CliRunner().invoke(app, ["check", "-o", "json"], env=given)
        lines = {line["what"]: line for line in json.loads(done.stdout)}
        assert lines["machine"]["state"] == state
        assert said in lines["machine"]["detail"]
        assert not [what for what in lines if what.startswith("permission")]
