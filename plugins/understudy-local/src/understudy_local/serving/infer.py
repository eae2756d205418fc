"""``SupportsInfer`` of the local backend."""

from __future__ import annotations

from understudy.model import ChatReply, ChatRequest
from understudy_local.artifacts import Home
from understudy_local.serving import client
from understudy_local.serving.models import served
from understudy_local.settings import LocalSettings

__all__ = ["Answering"]


class Answering:
    """Its models answer through one llama.cpp server each, started when they are asked."""

    settings: LocalSettings

    def complete(self, request: ChatRequest, *, timeout: float) -> ChatReply:
        """One live completion. ``timeout`` in seconds, the time to load the model included.

        Raises:
            NotFound: there is no file of that model.
            BackendError: the server refused it, or has trouble.
        """
        home = Home(self.settings.home)
        return client.complete(
            home, served(home, request.model), self.settings, request, timeout=timeout
        )
