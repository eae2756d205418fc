"""Languages, by py3langid (naive Bayes over byte n-grams, ISO 639 codes)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import py3langid.langid
from pydantic import Field

from understudy.backend import Params
from understudy.data.filters.texts import text_of
from understudy.model import Conversation, Drop

__all__ = ["Language"]


@lru_cache(maxsize=1)
def _identifier() -> Any:
    langid = py3langid.langid
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


class Language:
    """Written in another language than ``allow`` names.

    Looks at the first ``most_letters`` of the users' messages, of the answer, or of each. Short
    texts and texts that could be several languages (below ``sure``) stay: a guess is no reason.
    """

    class Options(Params):
        allow: tuple[str, ...] = Field(min_length=1)
        look_at: Literal["answer", "user", "both"] = "both"
        least_letters: int = Field(default=40, ge=1)
        most_letters: int = Field(default=150, ge=40)
        sure: float = Field(default=0.9, gt=0, le=1)

    def __init__(self, *, options: Options) -> None:
        self._options = options
        identifier = _identifier()
        unknown = sorted(set(options.allow) - set(identifier.labels))
        if unknown:
            message = f"language.allow: {', '.join(unknown)} is no language code that is known"
            raise ValueError(message)
        self._classify = identifier.classify

    def check(self, row: Conversation) -> Drop | None:
        look_at = self._options.look_at
        if look_at != "user":
            found = self._other(text_of(row.answer))
            if found:
                return Drop(message=f"the answer is in {found}", place="answer")
        if look_at != "answer":
            said = (text_of(message) for message in row.messages if message["role"] == "user")
            found = self._other("\n".join(said))
            if found:
                return Drop(message=f"the user writes {found}", place="messages")
        return None

    def _other(self, text: str) -> str:
        options = self._options
        text = text[: options.most_letters]
        if len(text) < options.least_letters or text[:1] in {"{", "["}:
            return ""
        language, sure = self._classify(text)
        return "" if language in options.allow or sure < options.sure else str(language)
