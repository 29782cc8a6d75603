"""What the GPU exporter costs: a scrape of 8 GPUs, memory, CPU, and growth over a day.

    python bench/exporter.py [--scrapes 5760] [--sweeps 8640] [--idle-s 60] [--call-us 20]

The exporter runs as its command against the NVML stub of the tests, which answers every call after
`--call-us` microseconds. Every family of the GPUs is on the page, with 18 NVLinks each, processes
and Xids. Latency is measured over `--scrapes` scrapes, CPU over `--idle-s` seconds with a scrape
each 15 s and a sweep each 10 s. The day is `--sweeps` sweeps and `--scrapes` scrapes as fast as
they go (8640 and 5760 are a day), while temperatures move, processes come and go, Xids arrive and
a GPU is split anew, and as many questions to a kubelet. Growth is that of the floor from the second
tenth of the day to the last: a page in the making, of 0.9 MB, comes and goes.
Exit status 1 when a limit is missed: p99 below 50 ms, 60 MB resident, 1 % of a core, 1 MB growth.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import requests

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

from gpu_node import GpuNode, uuid_of  # noqa: E402
from gpu_page import read  # noqa: E402
from kubelet_stub import device, kubelet, pod  # noqa: E402

from exporters.pods import Holder, ask_kubelet  # noqa: E402

GPUS = 8
LIMIT_MS, LIMIT_MB, LIMIT_SHARE, LIMIT_GROWTH_MB = 50.0, 60.0, 0.01, 1.0
SCRAPE_EVERY_S = 15.0


def build(folder: Path) -> Path:
    made = folder / "libnvidia-ml.so.1"
    source = CHECKOUT / "tests" / "exporters" / "nvml_stub.c"
    flags = ["-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["cc", *flags, "-o", str(made), str(source), "-lpthread"], check=True)
    return made


def node_of(folder: Path, call_us: int) -> GpuNode:
    node = GpuNode(folder, build(folder)).with_gpus(GPUS)
    for gpu in range(GPUS):
        node.gpus[gpu] |= {"links": 18} | {f"link:{link}": 1 for link in range(18)}
        node.gpus[gpu] |= {f"link:{link}.{kind}": 0 for link in range(18) for kind in range(4)}
        node.set(gpu, process=["4321 70000000000", "4322 1000000"])
    node.say(f"latency_us {call_us}")
    return node


@contextmanager
def exporter(node: GpuNode, every_s: float) -> Iterator[tuple[str, psutil.Process]]:
    """The address of its page, and its process."""
    options = {"port": 0, "kernel_log": None, "every_s": every_s}
    with subprocess.Popen(
        [sys.executable, "-m", "exporters", json.dumps(options)],
        env={**os.environ, **node.environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            url = "http://" + process.stderr.readline().split("http://")[1].strip()
            threading.Thread(target=process.stderr.read, daemon=True).start()
            while "DCGM_FI_DEV_GPU_TEMP" not in requests.get(url, timeout=10).text:
                time.sleep(0.1)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


def latencies_ms(url: str, scrapes: int) -> list[float]:
    found: list[float] = []
    with requests.Session() as session:
        for _ in range(scrapes):
            began = time.perf_counter()
            session.get(url, timeout=10).raise_for_status()
            found.append((time.perf_counter() - began) * 1000)
    return found


def share_of_a_core(url: str, process: psutil.Process, idle_s: float) -> float:
    began, before = time.monotonic(), sum(process.cpu_times()[:2])
    while time.monotonic() - began < idle_s:
        requests.get(url, timeout=10).raise_for_status()
        time.sleep(max(0.0, min(SCRAPE_EVERY_S, idle_s - (time.monotonic() - began))))
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)


def day(node: GpuNode, scrapes: int, sweeps: int) -> tuple[float, float, int]:
    """Megabytes at the most, the growth of their floor, and the sweeps that were made."""
    megabytes: list[float] = []
    with exporter(node, 0.001) as (url, process), requests.Session() as session:
        made, scraped, moment = 0, 0, 0
        while made < sweeps or scraped < scrapes:
            moment += 1
            if moment % 20 == 0:
                change(node, moment // 20)
            scraped += 1
            made = int(read(session.get(url, timeout=10).text).value("healer_gpu_sweeps_total"))
            time.sleep(0.01 if made * scrapes < scraped * sweeps else 0)
            megabytes.append(process.memory_info().rss / 1e6)
    tenth = len(megabytes) // 10
    floor_mb = min(megabytes[-tenth:]) - min(megabytes[tenth : 2 * tenth])
    return max(megabytes), floor_mb, made


def change(node: GpuNode, moment: int) -> None:
    """What a day brings. Codes are few, as they are: each is a series."""
    gpu = moment % GPUS
    node.gpus[gpu]["temperature"] = 40 + moment % 40
    node.gpus[gpu]["process"] = [f"{1000 + moment} {10**9 + moment}"]
    split = moment % 3 == 0
    node.gpus[0] |= {"mig_mode": int(split)}
    node.gpus[0]["mig"] = [f"0 MIG-{moment:04d} 7 1g.10gb 4000 5000"] if split else []
    node.say("latency_us 0")
    node.xid(gpu, (13, 31, 43, 94)[moment % 4])


def kubelet_growth_mb(asked: int) -> float:
    """Of this process, which has the stand-in for the kubelet too."""
    own = psutil.Process()
    reply = b"".join(
        pod(Holder("serving", f"pod-{n}", "main"), device("nvidia.com/gpu", uuid_of(n)))
        for n in range(GPUS)
    )
    first_mb = 0.0
    with kubelet(reply, b"") as socket:
        for at in range(asked):
            ask_kubelet(socket)
            if at == asked // 10:
                first_mb = own.memory_info().rss / 1e6
    return own.memory_info().rss / 1e6 - first_mb


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--scrapes", type=int, default=5760)
    options.add_argument("--sweeps", type=int, default=8640)
    options.add_argument("--idle-s", type=float, default=60.0)
    options.add_argument("--call-us", type=int, default=20)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = node_of(Path(folder), given.call_us)
        with exporter(node, 10.0) as (url, process):
            share = share_of_a_core(url, process, given.idle_s)
            latencies_ms(url, 200)
            p50, p99 = np.percentile(latencies_ms(url, given.scrapes), [50, 99])
            resident_mb = process.memory_info().rss / 1e6
            series = sum(
                not line.startswith("#") for line in requests.get(url, timeout=10).text.splitlines()
            )
        node.say("latency_us 0")
        most_mb, grown_mb, sweeps = day(node, given.scrapes, given.sweeps)
    rows = [
        ("series on the page", float(series), None),
        ("scrape p50 (ms)", float(p50), None),
        ("scrape p99 (ms)", float(p99), LIMIT_MS),
        ("resident (MB)", resident_mb, LIMIT_MB),
        (f"most resident over {sweeps} sweeps (MB)", most_mb, LIMIT_MB),
        ("growth over them (MB)", grown_mb, LIMIT_GROWTH_MB),
        (
            f"growth over {given.scrapes} kubelet calls (MB)",
            kubelet_growth_mb(given.scrapes),
            LIMIT_GROWTH_MB,
        ),
        ("share of a core (%)", share * 100, LIMIT_SHARE * 100),
    ]
    for name, value, limit in rows:
        note = "" if limit is None else f"  limit {limit:g}" + ("  MISSED" * (value > limit))
        print(f"{name:36} {value:10.2f}{note}")
    return int(any(limit is not None and value > limit for _, value, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
