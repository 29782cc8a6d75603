"""Genuine servers on free loopback ports, one context manager each.

`need(NAME)` decides whether a test can run: without the binary it is skipped with the
reason on a laptop, and fails where CI=true. `tools/servers.py` fetches the binaries.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
import yaml

READY_WITHIN_S = 120.0


def _load_tool() -> ModuleType:
    """`tools/servers.py` has this module's name, so it cannot be imported by it."""
    file = Path(__file__).resolve().parent.parent / "tools" / "servers.py"
    spec = importlib.util.spec_from_file_location("fetch_servers", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


tool = _load_tool()


@dataclass(frozen=True)
class Server:
    """A running server: its base URL, its log and its process."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    folder: Path
    """Its configuration and data, thrown away at the end."""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def reload(self) -> None:
        """Read the configuration file again (Prometheus and Alertmanager)."""
        requests.post(f"{self.url}/-/reload", timeout=60).raise_for_status()

    def __str__(self) -> str:
        return self.url


def binary(name: str) -> Path:
    """Where the program is. Raises LookupError with what to do where it is missing."""
    found = tool.find(name)
    if found is None:
        raise LookupError(f"{name} is neither in {tool.cache()} nor on PATH: `make servers`")
    return found


def need(*names: str) -> None:
    """Skip the calling test where one of these binaries is missing; fail it under CI=true."""
    try:
        for name in names:
            binary(name)
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def free_port() -> int:
    """A port for a server that is about to start, and nobody else's until this process ends.

    A socket that reuses addresses stays bound to it and never listens: a server that does the
    same, as all here do, may listen on it, while neither another `bind` to any free port nor an
    outgoing connection is given it.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    atexit.register(sock.close)
    return int(sock.getsockname()[1])


@contextmanager
def run_prometheus(
    config: Mapping[str, Any] | str,
    *,
    data: Path | None = None,
    rules: Mapping[str, Any] | None = None,
    flags: Sequence[str] = (),
    program: str = "prometheus",
) -> Iterator[Server]:
    """Prometheus with this configuration (mapping or YAML text).

    data: a storage folder to use, as filled by `backfill`. rules: one rule file's content; the
    configuration names it as `rules.yaml`. program: `prometheus3` for the newer one.
    """
    with tempfile.TemporaryDirectory(prefix="prometheus-") as made:
        folder = Path(made)
        _write(folder / "prometheus.yaml", config)
        if rules is not None:
            _write(folder / "rules.yaml", rules)
        yield from _serve(
            folder,
            "/-/ready",
            [
                str(binary(program)),
                f"--config.file={folder}/prometheus.yaml",
                f"--storage.tsdb.path={data or folder / 'data'}",
                # Backfilled history is older than the default retention.
                "--storage.tsdb.retention.time=100y",
                "--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                "--web.enable-remote-write-receiver",
                # Keeps the machine's name out of payloads.
                "--web.external-url=http://127.0.0.1:{port}/",
                "--web.route-prefix=/",
                *flags,
            ],
        )


@contextmanager
def run_alertmanager(
    config: Mapping[str, Any] | str, *, flags: Sequence[str] = ()
) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="alertmanager-") as made:
        folder = Path(made)
        _write(folder / "alertmanager.yaml", config)
        yield from _serve(
            folder,
            "/-/ready",
            [
                str(binary("alertmanager")),
                f"--config.file={folder}/alertmanager.yaml",
                f"--storage.path={folder}/data",
                "--web.listen-address=127.0.0.1:{port}",
                # Empty: otherwise it opens its gossip port on every interface.
                "--cluster.listen-address=",
                "--web.external-url=http://127.0.0.1:{port}/",
                "--web.route-prefix=/",
                *flags,
            ],
        )


@contextmanager
def run_node_exporter(*, flags: Sequence[str] = ()) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="node-exporter-") as made:
        yield from _serve(
            Path(made),
            "/metrics",
            [str(binary("node_exporter")), "--web.listen-address=127.0.0.1:{port}", *flags],
        )


@contextmanager
def run_postgres() -> Iterator[str]:
    """PostgreSQL on an empty cluster of its own: yields `postgresql://healer@127.0.0.1:PORT`.

    Nothing is synced to disk. It refuses to run as root, so root runs it as `nobody`.
    """
    import psycopg  # noqa: PLC0415 - loads libpq, which most tests never need

    with tempfile.TemporaryDirectory(prefix="postgres-") as made:
        folder = Path(made)
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        programs = _within_reach(folder)
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "healer"]
        subprocess.run(
            [*initdb, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
            cwd=folder, check=True, capture_output=True, timeout=300, **account,
        )  # fmt: skip
        port, log = free_port(), folder / "log.txt"
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
                + [part for name, value in options.items() for part in ("-c", f"{name}={value}")],
                cwd=folder, stdout=sink, stderr=subprocess.STDOUT, **account,
            )  # fmt: skip
        url = f"postgresql://healer@127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + READY_WITHIN_S
            while True:
                try:
                    psycopg.connect(f"{url}/postgres").close()
                    break
                except psycopg.OperationalError as error:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise AssertionError(f"PostgreSQL: {_tail(log)}") from error
                    time.sleep(0.02)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: connections are cut
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _within_reach(folder: Path) -> Path:
    """Where `nobody` can run PostgreSQL's programs: root's checkout may be closed to others."""
    found = binary("initdb").parent
    if os.geteuid() or all(each.stat().st_mode & 0o001 for each in (found, *found.parents)):
        return found
    reach = folder / "programs"
    reach.mkdir()
    reach.chmod(0o755)  # a `mkdir` with a mode obeys the umask
    for name in ("initdb", "postgres"):
        shutil.copy(found / name, reach / name)
    shutil.copytree(found / "postgresql", reach / "postgresql", symlinks=True)
    return reach


def new_database(url: str) -> str:
    """An empty database on the server at `url`; its own URL."""
    import psycopg  # noqa: PLC0415

    name = f"healer_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url}/{name}"


def backfill(openmetrics: str, folder: Path) -> Path:
    """Blocks for `run_prometheus(data=…)` from OpenMetrics text with timestamps in seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    text = openmetrics if openmetrics.endswith("# EOF\n") else f"{openmetrics.rstrip()}\n# EOF\n"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [
                str(binary("promtool")),
                *("tsdb", "create-blocks-from", "openmetrics", "--quiet"),
                *(file.name, str(folder)),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode:
        raise AssertionError(f"promtool refused the samples: {done.stderr.strip()}")
    return folder


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binary("promtool")), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _write(file: Path, content: Mapping[str, Any] | str) -> None:
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(dict(content)))


def _serve(folder: Path, ready: str, command: Sequence[str]) -> Iterator[Server]:
    """Start, wait until `ready` answers 200, yield, stop. The log is shown when it fails."""
    server = _start(folder, ready, command)
    try:
        yield server
    except BaseException:
        sys.stderr.write(f"--- {command[0]} logged\n{_tail(server.log)}\n")
        raise
    finally:
        server.process.terminate()
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _start(folder: Path, ready: str, command: Sequence[str], attempts: int = 3) -> Server:
    """A free port may be taken before the server opens it, so a start is tried again."""
    log = folder / "log.txt"
    for _ in range(attempts):
        port = free_port()
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [part.replace("{port}", str(port)) for part in command],
                # Debian's Alertmanager finds its templates beside itself.
                cwd=Path(command[0]).parent,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        server = Server(f"http://127.0.0.1:{port}", log, process, folder)
        if _is_ready(server, ready):
            return server
        process.kill()
        process.wait()
        if "address already in use" not in log.read_text(errors="replace"):
            break
    raise AssertionError(f"{command[0]} did not become ready:\n{_tail(log)}")


def _is_ready(server: Server, path: str) -> bool:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if requests.get(server.url + path, timeout=5).status_code == requests.codes.ok:
                return True
        except requests.RequestException:  # also one that is too busy to answer yet
            pass
        time.sleep(0.02)
    return False


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
