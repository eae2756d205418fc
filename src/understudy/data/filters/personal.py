"""Structured personal data and secrets: found by well-kept libraries, dropped or blotted out.

A cheap look decides where the libraries are asked at all: phone numbers are judged by
``phonenumbers``, card numbers and IBANs by their check digits (``python-stdnum``), keys by the
detectors of ``detect-secrets``. Names of people are not looked for: that takes a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import phonenumbers
from pydantic import Field
from stdnum import iban, luhn

from understudy.backend import Params
from understudy.data.filters.texts import mapped, texts
from understudy.model import Conversation, Drop
from understudy.secrets import looks_secret

__all__ = ["Kind", "PersonalData"]

Kind = Literal["email", "phone", "card", "iban", "key"]
_KINDS: tuple[Kind, ...] = ("email", "phone", "card", "iban", "key")
_WORDS: dict[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a card number",
    "iban": "a bank account",
    "key": "a key or token",
}

_EMAIL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
)
_DIGITS = re.compile(r"(?<![\w.,/-])[+(]{0,2}\d(?:[ ().\-/]{0,2}\d){6,21}(?![\w:]|[.,]\d)")
_DIGIT = re.compile(r"\d")
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}")
_CALLS = re.compile(
    r"\b(?:phone|call|called|tel|telephone|mobile|cell|fax|whatsapp|sms|ring|dial|reach|telefon|"
    r"handy|portable|t\u00e9l\u00e9phone|m\u00f3vil)\b"
    r"(?:\W{1,3}(?:me|us|at|on|is|number|no|to|back|my|him|her|them|please|under|nr|n\u00famero))*"
    r"\W{0,3}$",
    re.IGNORECASE,
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_LONGEST_WORD = 15
_LONG = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b\w{1,40}=[^\s&]{6,}|[^\s\"'`<>]{16,}")


class _Found(NamedTuple):
    start: int
    end: int
    kind: Kind


class PersonalData:
    """Holds e-mail addresses, phone numbers, card numbers, IBANs or keys.

    ``action`` "drop" leaves the row out and keeps it among the rejected with ``[email]``,
    ``[phone]`` and so on in their places; "redact" keeps it so in the dataset. Every message, tool
    call and reference is looked at, tool definitions are not. ``regions`` (ISO 3166) say how phone
    numbers without a country code are read. A bare run of digits counts as a phone number only
    after words such as "call me at" or "phone": order numbers look the same.
    """

    class Options(Params):
        kinds: tuple[Kind, ...] = _KINDS
        action: Literal["drop", "redact"] = "drop"
        regions: tuple[str, ...] = Field(default=("US",), min_length=1)

    def __init__(self, *, options: Options) -> None:
        self._options = options
        unknown = sorted(set(options.regions) - set(phonenumbers.SUPPORTED_REGIONS))
        if unknown:
            message = f"personal_data.regions: {', '.join(unknown)} is no region of phone numbers"
            raise ValueError(message)
        looks: dict[Kind, Callable[[str], Iterator[_Found]]] = {
            "email": _emails,
            "iban": _ibans,
            "card": _cards,
            "phone": self._phones,
            "key": _keys,
        }
        self._looks = [look for kind, look in looks.items() if kind in options.kinds]
        numbers = {"iban", "card", "phone"}
        self._wordy = [looks[kind] for kind in options.kinds if kind not in numbers]

    def check(self, row: Conversation) -> Conversation | Drop | None:
        if self._options.action == "redact":
            changed = mapped(row, self._blot)
            return None if changed == row else changed
        for index, message in enumerate(row.messages):
            for text in texts(message):
                found = self._first(text)
                if found:
                    return Drop(
                        message=f"holds {_WORDS[found.kind]}",
                        place=f"messages.{index}",
                        kept=mapped(row, self._blot),
                    )
        return None

    def _first(self, text: str) -> _Found | None:
        # Most texts hold no digit, and looking for numbers in them is most of the work.
        looks = self._looks if _DIGIT.search(text) else self._wordy
        for look in looks:
            for found in look(text):
                return found
        return None

    def _blot(self, text: str) -> str:
        for look in self._looks:
            for found in reversed(list(look(text))):
                text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
        return text

    def _phones(self, text: str) -> Iterator[_Found]:
        for match in _DIGITS.finditer(text):
            digits = sum(letter.isdigit() for letter in match[0])
            if not 7 <= digits <= 15 or _DATE.match(match[0]):
                continue
            bare = match[0].isdigit()
            if bare and not _CALLS.search(text[max(0, match.start() - 60) : match.start()]):
                continue
            if any(_is_phone(match[0], region) for region in self._options.regions):
                yield _Found(match.start(), match.end(), "phone")


@lru_cache(maxsize=4096)
def _is_phone(text: str, region: str) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def _emails(text: str) -> Iterator[_Found]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield _Found(match.start(), match.end(), "email")


def _cards(text: str) -> Iterator[_Found]:
    for match in _DIGITS.finditer(text):
        digits = "".join(filter(str.isdigit, match[0]))
        # 0 and 1 begin no payment card; a run of one digit passes the check too.
        long = 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1
        if long and luhn.is_valid(digits):
            yield _Found(match.start(), match.end(), "card")


def _ibans(text: str) -> Iterator[_Found]:
    for match in _IBAN.finditer(text):
        if iban.is_valid(match[0]):
            yield _Found(match.start(), match.end(), "iban")


def _keys(text: str) -> Iterator[_Found]:
    if (
        "=" not in text
        and "-----BEGIN " not in text
        and max(map(len, text.split()), default=0) <= _LONGEST_WORD
    ):
        return
    for match in _LONG.finditer(text):
        piece = match[0]
        if looks_secret(piece) or any(pattern.search(piece) for pattern in _patterns()):
            yield _Found(match.start(), match.end(), "key")


_DETECTORS = (
    "aws:AWSKeyDetector",
    "azure_storage_key:AzureStorageKeyDetector",
    "discord:DiscordBotTokenDetector",
    "github_token:GitHubTokenDetector",
    "gitlab_token:GitLabTokenDetector",
    "jwt:JwtTokenDetector",
    "mailchimp:MailchimpDetector",
    "npm:NpmDetector",
    "openai:OpenAIDetector",
    "private_key:PrivateKeyDetector",
    "pypi_token:PypiTokenDetector",
    "sendgrid:SendGridDetector",
    "slack:SlackDetector",
    "square_oauth:SquareOAuthDetector",
    "stripe:StripeDetector",
    "telegram_token:TelegramBotTokenDetector",
    "twilio:TwilioKeyDetector",
)
_GOOGLE = re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    patterns: list[re.Pattern[str]] = [_GOOGLE]
    for detector in _DETECTORS:
        module, _, name = detector.partition(":")
        found = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        # Secrets after an assignment (aws_secret = ...) are found by their long value alone.
        patterns += [pattern for pattern in found.denylist if pattern.groups <= 2]
    return tuple(patterns)
