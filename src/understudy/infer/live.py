"""Live completions: a sliding window of requests, each entered before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from understudy.backend import SupportsInfer
from understudy.errors import (
    AuthError,
    NotEligible,
    NotFound,
    OutcomeUnknown,
    QuotaError,
    Retired,
    TerminalError,
    TransientError,
    Unavailable,
)
from understudy.infer.answerer import Answer, AnswerBook
from understudy.model import ChatReply, ChatRequest

__all__ = ["LiveAnswerer"]

_CHUNK = 256
_NOT_THE_ROW = (AuthError, NotEligible, NotFound, QuotaError, Retired)


@dataclass
class _Chunk:
    """Requests of one chunk by key, and what is known of each."""

    requests: dict[str, ChatRequest]
    replies: dict[str, ChatReply]
    problems: dict[str, str] = field(default_factory=dict)
    trouble: Exception | None = None


class LiveAnswerer:
    """Asks over the provider's live endpoint.

    At most ``concurrency`` requests are out at any time. Each is entered in the book before it
    is sent, so that after a crash the book shows which ones may have been paid for in vain: at
    most ``concurrency``. Nothing is waited for here: a rate limit ends the call with
    ``RateLimited`` once the requests that are out have come back and been kept.

    Args:
        backend: the model's backend.
        book: where answers are kept.
        concurrency: requests out at once.
        timeout: seconds for one request.
    """

    def __init__(
        self, backend: SupportsInfer, book: AnswerBook, *, concurrency: int, timeout: float = 60.0
    ) -> None:
        self._backend = backend
        self._book = book
        self._concurrency = concurrency
        self._timeout = timeout

    def answer(self, requests: Sequence[ChatRequest]) -> Iterator[Answer]:
        """See ``Answerer``. Equal requests are asked once."""
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="ask") as pool:
            for start in range(0, len(requests), _CHUNK):
                part = requests[start : start + _CHUNK]
                keys = [self._book.key(request) for request in part]
                chunk = _Chunk(
                    requests=dict(zip(keys, part, strict=True)),
                    replies=dict(self._book.known(keys)),
                )
                self._ask(pool, chunk)
                if chunk.trouble is not None:
                    raise chunk.trouble
                for key, request in zip(keys, part, strict=True):
                    yield Answer(
                        request=request,
                        reply=chunk.replies.get(key),
                        problem=chunk.problems.get(key),
                    )

    def _ask(self, pool: ThreadPoolExecutor, chunk: _Chunk) -> None:
        waiting = [key for key in chunk.requests if key not in chunk.replies]
        out: dict[Future[ChatReply], str] = {}
        while (waiting and chunk.trouble is None) or out:
            if chunk.trouble is None:
                room = self._concurrency - len(out)
                batch, waiting = waiting[:room], waiting[room:]
                if batch and self._enter(batch, chunk):
                    out |= {pool.submit(self._complete, chunk.requests[key]): key for key in batch}
            done, _ = wait(out, return_when=FIRST_COMPLETED)
            self._take_in({out.pop(future): future for future in done}, chunk)

    def _enter(self, batch: list[str], chunk: _Chunk) -> bool:
        """Whether these may be sent; if not, what is out is still waited for and kept."""
        try:
            self._book.asking({key: chunk.requests[key] for key in batch})
        except Exception as error:  # noqa: BLE001 - raised when what is out has come back
            chunk.trouble = error
        return chunk.trouble is None

    def _complete(self, request: ChatRequest) -> ChatReply:
        return self._backend.complete(request, timeout=self._timeout)

    def _take_in(self, done: dict[str, Future[ChatReply]], chunk: _Chunk) -> None:
        replies: dict[str, ChatReply] = {}
        refused: list[str] = []
        for key, future in done.items():
            try:
                replies[key] = future.result()
            except OutcomeUnknown as error:
                # It stays entered as asked: it may have been billed, and the ledger says so.
                chunk.trouble = Unavailable(str(error))
            except (*_NOT_THE_ROW, TransientError) as error:
                # Not about this question: the model itself, the key or the service.
                refused.append(key)
                chunk.trouble = _longest(chunk.trouble, error)
            except TerminalError as error:
                refused.append(key)
                chunk.problems[key] = str(error)
            except Exception as error:  # noqa: BLE001 - it must not lose what the others answered
                # Entered as asked, like one in doubt: nobody knows how far it came.
                chunk.trouble = error
        self._book.answered(replies, refused)
        chunk.replies |= replies


def _longest(present: Exception | None, new: Exception) -> Exception:
    """The trouble that takes longest to pass decides when to ask again."""
    if present is None or not isinstance(new, TransientError):
        return new
    if not isinstance(present, TransientError):
        return present
    pauses = [getattr(error, "retry_after", None) or 0.0 for error in (present, new)]
    return new if pauses[1] > pauses[0] else present
