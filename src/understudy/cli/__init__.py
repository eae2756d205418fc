"""The command line. ``main`` is the console script; everything else is loaded when needed."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit with its code (see ``exit_codes``)."""
    from understudy.cli.app import run

    sys.exit(run(sys.argv[1:]))
