"""What the GPU exporter costs: a scrape of 8 GPUs, memory, CPU, and growth over a day of scrapes.

    python bench/exporter.py [--scrapes 5760] [--idle-s 60] [--call-us 20]

The exporter runs as its command against the NVML stub of the tests, which answers every call
after `--call-us` microseconds. Latency is measured over `--scrapes` scrapes (5760 are a day at
15 s), CPU over `--idle-s` seconds with one scrape each 15 s, memory before and after. Exit
status 1 when a limit is missed: p99 below 50 ms, 60 MB resident, 1 % of a core, 1 MB of growth.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import requests

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

from gpu_node import GpuNode  # noqa: E402

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
def exporter(node: GpuNode) -> Iterator[tuple[str, psutil.Process]]:
    """The address of its page, and its process."""
    with subprocess.Popen(
        [sys.executable, "-m", "exporters", '{"port": 0, "kernel_log": null}'],
        env={**os.environ, **node.environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            url = "http://" + process.stderr.readline().split("http://")[1].strip()
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


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--scrapes", type=int, default=5760)
    options.add_argument("--idle-s", type=float, default=60.0)
    options.add_argument("--call-us", type=int, default=20)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = node_of(Path(folder), given.call_us)
        with exporter(node) as (url, process):
            share = share_of_a_core(url, process, given.idle_s)
            latencies_ms(url, 200)
            first_mb = process.memory_info().rss / 1e6
            p50, p99 = np.percentile(latencies_ms(url, given.scrapes), [50, 99])
            last_mb = process.memory_info().rss / 1e6
            series = sum(
                not line.startswith("#") for line in requests.get(url, timeout=10).text.splitlines()
            )
    rows = [
        ("series on the page", float(series), None),
        ("scrape p50 (ms)", float(p50), None),
        ("scrape p99 (ms)", float(p99), LIMIT_MS),
        ("resident (MB)", last_mb, LIMIT_MB),
        (f"growth over {given.scrapes} scrapes (MB)", last_mb - first_mb, LIMIT_GROWTH_MB),
        ("share of a core (%)", share * 100, LIMIT_SHARE * 100),
    ]
    for name, value, limit in rows:
        note = "" if limit is None else f"  limit {limit:g}" + ("  MISSED" * (value > limit))
        print(f"{name:36} {value:10.2f}{note}")
    return int(any(limit is not None and value > limit for _, value, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
