"""`python -m exporters OPTIONS`: the exporter alone, its options as one JSON object.

`healer exporter` becomes this, so that a GPU node does not carry the rest of Healer in memory.
"""

from __future__ import annotations

import json
import signal
import sys

from exporters.options import ExporterOptions
from exporters.serve import Exporter
from healer.errors import BadInput
from healer.values import build


def main(text: str) -> int:
    """Serves until interrupted; 2 for what cannot be used, said in one line.

    The first process of a container has no default for SIGTERM: unhandled, the kubelet's request to
    end would pass unheard, and each update of a node would wait for its grace period.
    """
    try:
        serving = Exporter(build(ExporterOptions, json.loads(text)))
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
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "{}"))
