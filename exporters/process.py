"""The exporter's process, as `exporters.__main__` becomes it: its argument is the number of an open
file with what it read."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from exporters.serve import Exporter
from healer.errors import BadInput


def main(handed: int) -> int:
    """Serves until interrupted; 2 for what cannot be used, said in one line.

    The first process of a container has no default for SIGTERM: unhandled, the kubelet's request to
    end would pass unheard, and each update of a node would wait for its grace period.
    """
    with os.fdopen(handed, "rb") as file:
        options, rows = pickle.load(file)  # noqa: S301  # ours, from a moment ago
    try:
        serving = Exporter(options, rows)
    except BadInput as error:
        sys.stderr.write(f"healer: {error}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda _signal, _frame: serving.stop())
    sys.stderr.write(f"exporter: {serving.url}/metrics\n")
    sys.stderr.flush()
    try:
        serving.serve_forever()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
