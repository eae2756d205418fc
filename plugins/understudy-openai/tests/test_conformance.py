"""The whole contract of a backend, held by the kit, against the sandbox provider."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

pytest.importorskip("understudy_sandbox", reason="needs the sandbox plugin")

from openai_adapter_kit import SandboxAdapter
from openai_sandbox_kit import ThreadSandbox
from understudy.testing import BackendSuite, ProviderAdapter
from understudy_sandbox.config import Timings

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def _swept() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        # What the server left for the collector is not this plugin's to answer for.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class TestOpenAI(BackendSuite):
    """On a sandbox of its own for each line, with jobs and files of no other."""

    @pytest.fixture
    def provider(self) -> Iterator[ProviderAdapter]:
        timings = Timings(processing=0.0, validating=2, queued=3, running=20, pausing=0.5)
        with ThreadSandbox(timings=timings) as sandbox:
            adapter = SandboxAdapter(sandbox)
            yield adapter
            for backend in adapter.made:
                backend.close()
