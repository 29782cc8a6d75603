"""The command line. Standard output is data, standard error is everything else."""

from __future__ import annotations

import sys

from healer.cli.main import app
from healer.errors import BadInput, HealerError


def main() -> None:
    """Runs a command; a person's mistake is one clear line and exit status 2."""
    try:
        app()
    except BadInput as error:
        sys.stderr.write(f"healer: {error}\n")
        sys.exit(2)
    except HealerError as error:
        sys.stderr.write(f"healer: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
