"""A process that captures calls and delivers some of them until it is killed.

Arguments: the secret key, the server, the environment, the spool's folder, the first number.
"""

from __future__ import annotations

import sys
from pathlib import Path

from langfuse_kit import PUBLIC_KEY, answered
from understudy.clock import SystemClock
from understudy_langfuse.settings import LangfuseSettings
from understudy_langfuse.trace_sink import LangfuseTraceSink

secret, url, environment, folder, begin = sys.argv[1:]
sink = LangfuseTraceSink(
    settings=LangfuseSettings(
        public_key=PUBLIC_KEY, secret_key=secret, base_url=url, environment=environment
    ),
    folder=Path(folder),
    clock=SystemClock(),
)
for number in range(int(begin), 10_000):
    sink.capture([answered(f"c{number:05d}")])
    print(number, flush=True)  # noqa: T201 - the test reads how far it came
    if number % 7 == 0:
        sink.deliver()
