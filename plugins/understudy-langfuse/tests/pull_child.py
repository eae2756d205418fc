"""A process that pulls a project into a file until it is done or killed.

Arguments: the secret key, the server, the environment, the file, the page's size.
"""

from __future__ import annotations

import sys
from pathlib import Path

from langfuse_kit import PUBLIC_KEY
from understudy.clock import SystemClock
from understudy.data.sources.collect import collect
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.source import LangfuseSource

secret, url, environment, path, size = sys.argv[1:]
source = LangfuseSource(
    settings=LangfuseSettings(public_key=PUBLIC_KEY, secret_key=secret, base_url=url),
    options=LangfuseOptions(environments=(environment,), page_size=int(size)),
    clock=SystemClock(),
)
# The test counts the pages: this is told when one is stored.
collect(source, Path(path), progress=lambda new: print(new, flush=True))  # noqa: T201
source.close()
