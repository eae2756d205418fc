"""``python -m understudy_sandbox``: serve, and print one line of JSON when listening."""

from __future__ import annotations

import typer

from understudy_sandbox.cli import serve

if __name__ == "__main__":
    typer.run(serve)
