"""Everything wired: workers, page, endpoint."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from exporters import bus, dcgm, pods
from exporters.collector import Exposition
from exporters.device import Driver
from exporters.endpoint import Endpoint
from exporters.exposition import Family, render
from exporters.kernel_log import KernelLog
from exporters.kubelet import Kubelet
from exporters.nvml import Nvml
from exporters.options import ExporterOptions
from exporters.readers import READERS
from exporters.rows import Row
from exporters.watch import Watch
from healer.errors import BadInput

if TYPE_CHECKING:
    from exporters.push import Push


class Exporter:
    """Everything wired; `serve_forever` blocks. Raises BadInput for what cannot be used."""

    def __init__(
        self, options: ExporterOptions, rows: tuple[Row, ...], driver: Driver | None = None
    ) -> None:
        readers = tuple(dict.fromkeys(row.read for row in rows if row.read in READERS))
        log = options.kernel_log
        nvidia = driver or Nvml(readers)
        if options.dcgm:
            folder = dcgm.bindings(options.dcgm_bindings)
            names = [row.name for row in rows]
            nvidia = dcgm.Dcgm(nvidia, names, folder, options.dcgm, options.every_s)
        self.watch = Watch(
            nvidia,
            options.every_s,
            options.deadline_s,
            None if log is None else lambda: KernelLog(log),
        )
        self.kubelet = Kubelet(lambda: pods.ask_kubelet(options.pod_resources))
        hostname = os.environ.get("NODE_NAME") or socket.gethostname()
        self.exposition = Exposition(
            rows=rows,
            seen=self.watch.seen,
            allotted=self.kubelet.allotted,
            hostname=hostname,
            extras_only=options.extras_only,
            on_bus=bus.gpus,
        )
        self._hostname = hostname
        self._with_host = options.host_signals
        self._push = self._pushing(options)
        try:
            self.http = Endpoint(options.host, options.port, self.page)
        except (OSError, OverflowError) as error:
            raise BadInput(
                f"a free address to listen on ({error})", value=f"{options.host}:{options.port}"
            ) from error

    @property
    def url(self) -> str:
        return self.http.url

    def _pushing(self, options: ExporterOptions) -> Push | None:
        if options.push is None:
            return None
        # A node that is scraped does not carry an HTTP client in memory.
        from exporters.push import Push  # noqa: PLC0415

        return Push(options.push, self._hostname, self.families)

    def families(self) -> list[Family]:
        found = list(self.exposition.collect())
        if self._with_host:
            # Nor psutil, where a node exporter has told all that.
            from exporters import host  # noqa: PLC0415

            found += host.collect(self._hostname)
        if self._push is not None:
            found += self._push.families(self._hostname)
        return found

    def page(self) -> str:
        return render(self.families())

    def serve_forever(self) -> None:
        self.watch.start()
        self.kubelet.start()
        if self._push is not None:
            self._push.start()
        try:
            self.http.serve_forever()
        finally:
            # First the scrapes under way, while all they ask is still there.
            self.http.server_close()
            self.watch.stop(wait_s=1.5)
            self.kubelet.stop()
            if self._push is not None:
                self._push.stop(wait_s=1.5)

    def stop(self) -> None:
        """`serve_forever` returns soon. Comes back at once, for a signal may ask for it."""
        threading.Thread(target=self.http.shutdown, daemon=True, name="stop").start()
