"""Is a file the trained model still? Tokens, logits and perplexity, by llama.cpp itself."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy_local.formats import FORMATS
from understudy_local.work import WorkFailed

__all__ = ["Fidelity", "Probe", "check", "fidelity", "opened"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """How near a file is to the trained model over ``tokens`` tokens of held-out rows.

    ``kl`` is the mean KL divergence of the file's next-token distribution from the trained
    model's, in nats; ``top1`` the share of tokens with the same most likely next one.
    """

    tokens: int
    kl: float
    top1: float
    perplexity: float
    trained_perplexity: float


class Probe:
    """A GGUF file opened in llama.cpp, to be looked into."""

    def __init__(self, path: Path, *, threads: int, longest: int) -> None:
        from cyllama.llama import llama_cpp

        class Model(llama_cpp.LlamaModel):  # type: ignore[misc] # it has no types
            """Has the attribute that this version's ``get_logits_ith`` looks for in vain."""

            @property
            def n_vocab(self) -> int:
                return int(self.get_vocab().n_vocab)

        self._library = llama_cpp
        self._size = max(longest, 32)
        wanted = llama_cpp.LlamaModelParams()
        wanted.n_gpu_layers = 0
        self._model = Model(os.fspath(path), wanted)
        shape = llama_cpp.LlamaContextParams()
        shape.n_ctx = shape.n_batch = shape.n_ubatch = self._size
        shape.n_threads = shape.n_threads_batch = threads
        self._context = llama_cpp.LlamaContext(self._model, shape)
        self._vocab = self._model.get_vocab()

    def close(self) -> None:
        """Give its memory back."""
        self._context.close()
        self._model.close()

    @property
    def template(self) -> str:
        """The chat template in the file."""
        return str(self._model.get_default_chat_template() or "")

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return int(self._vocab.token_eos())

    def tokens(self, text: str) -> list[int]:
        """``text`` with its special tokens, as the file's own tokenizer cuts it."""
        return list(self._vocab.tokenize(text, False, True))

    def logits(self, tokens: Sequence[int]) -> Any:
        """As ``TrainedModel.logits``."""
        import numpy as np

        batch = self._library.LlamaBatch(n_tokens=self._size, embd=0, n_seq_max=1)
        for place, token in enumerate(tokens):
            batch.add(token, place, [0], True)
        self._context.kv_cache_clear(True)
        self._context.decode(batch)
        rows = [self._context.get_logits_ith(place) for place in range(len(tokens))]
        batch.close()
        return np.array(rows, dtype=np.float32)


@contextmanager
def opened(path: Path, *, threads: int, longest: int) -> Iterator[Probe]:
    """A probe that is closed again.

    Raises:
        WorkFailed: llama.cpp does not load the file.
    """
    try:
        probe = Probe(path, threads=threads, longest=longest)
    except Exception as error:  # noqa: BLE001 - it has no errors of its own
        raise WorkFailed(
            f"llama.cpp does not load {path.name} ({type(error).__name__}: {error})",
            code="garbled",
        ) from None
    try:
        yield probe
    finally:
        probe.close()


def fidelity(pairs: Iterator[tuple[Sequence[int], Any, Any]]) -> Fidelity:
    """Figures over texts, each given as its tokens, the trained model's logits, the file's."""
    import numpy as np

    count = 0
    kl = same = ours = theirs = 0.0
    for tokens, trained, found in pairs:
        # What follows the last token is not known.
        p, q = _log_softmax(trained[:-1]), _log_softmax(found[:-1])
        nexts = np.asarray(tokens[1:])
        places = np.arange(len(nexts))
        count += len(nexts)
        kl += float((np.exp(p) * (p - q)).sum())
        same += int((p.argmax(axis=-1) == q.argmax(axis=-1)).sum())
        theirs -= float(p[places, nexts].sum())
        ours -= float(q[places, nexts].sum())
    return Fidelity(
        tokens=count,
        kl=kl / count,
        top1=same / count,
        perplexity=_perplexity(ours / count),
        trained_perplexity=_perplexity(theirs / count),
    )


def _log_softmax(logits: Any) -> Any:
    import numpy as np

    high = logits.astype(np.float64)
    high -= high.max(axis=-1, keepdims=True)
    return high - np.log(np.exp(high).sum(axis=-1, keepdims=True))


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def check(name: str, found: Fidelity) -> str | None:
    """Why a file of format ``name`` is not the trained model; None where it is near enough."""
    limits = FORMATS[name]
    over = f"over {found.tokens} tokens of held-out rows"
    ratio = found.perplexity / found.trained_perplexity
    if not all(map(math.isfinite, (found.kl, ratio))):
        return f"{name} gives no numbers {over}: it is garbled"
    if limits.most_kl is not None and found.kl > limits.most_kl:
        return (
            f"{name} is {found.kl:.2g} nats of KL divergence from the trained model {over}; "
            f"{limits.most_kl:g} is the most"
        )
    if limits.least_top1 is not None and found.top1 < limits.least_top1:
        return (
            f"{name} agrees with the trained model on {found.top1:.3f} of the next tokens {over}; "
            f"{limits.least_top1:g} is the least"
        )
    if limits.most_perplexity is not None and ratio > limits.most_perplexity:
        return (
            f"{name} has {ratio:.3f} times the trained model's perplexity {over}; "
            f"{limits.most_perplexity:g} is the most"
        )
    return None
