"""A process that pulls a project into a landing until it is done or killed.

Arguments: the secret key, the server, the environment, the landing's file, the page's size.
"""

from __future__ import annotations

import sys
from pathlib import Path

from langfuse_kit import PUBLIC_KEY, Landing
from understudy.clock import SystemClock
from understudy_langfuse.options import LangfuseOptions
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.source import LangfuseSource

secret, url, environment, path, size = sys.argv[1:]
source = LangfuseSource(
    settings=LangfuseSettings(public_key=PUBLIC_KEY, secret_key=secret, base_url=url),
    options=LangfuseOptions(environments=(environment,), page_size=int(size)),
    clock=SystemClock(),
)
landing = Landing(Path(path))
for page in source.pages(landing.watermark):
    landing.keep(page)
    print(len(page.records), flush=True)  # noqa: T201 - the test counts the pages
source.close()
landing.close()
