"""Packing of values: zstandard with a dictionary learnt from the generation's own answers.

Answers of one student are short and alike, so alone they hardly shrink, and with a shared
dictionary to about a quarter (benchmarks/cache.py measures it). Each stored value begins with one
byte that says how it is packed, so a generation whose first rows came before its dictionary
reads well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import zstandard

__all__ = ["Codec", "learn"]

_PLAIN, _ZSTD = b"\x00", b"\x01"
_LEVEL = 1
_DICTIONARY_BYTES = 8 * 1024
_FEWEST = 1_000
"""Fewer answers teach no dictionary worth its bytes."""

_FORMAT = zstandard.FORMAT_ZSTD1_MAGICLESS
_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    _LEVEL, format=_FORMAT, write_content_size=True, write_dict_id=False
)
"""Without magic number and dictionary id: eight bytes that would be the same in every value."""


class Codec:
    """Packs and unpacks; safe to share between threads.

    Args:
        dictionary: what ``learn`` returned; empty packs nothing.
    """

    def __init__(self, dictionary: bytes = b"") -> None:
        self.dictionary = dictionary
        self._thread = threading.local()
        self._learnt = None
        if dictionary:
            self._learnt = zstandard.ZstdCompressionDict(dictionary)
            self._learnt.precompute_compress(compression_params=_PARAMETERS)

    @property
    def name(self) -> str:
        """What ``Generation.codec`` says."""
        return "zstd" if self._learnt else "plain"

    def packer(self) -> Callable[[bytes], bytes]:
        """A function that packs, for one thread."""
        if self._learnt is None:
            return _plain
        compress = zstandard.ZstdCompressor(
            dict_data=self._learnt, compression_params=_PARAMETERS
        ).compress

        def pack(value: bytes) -> bytes:
            packed = compress(value)
            return _ZSTD + packed if len(packed) < len(value) else _PLAIN + value

        return pack

    def unpack(self, stored: bytes) -> bytes:
        """The value that was packed."""
        if stored[:1] == _PLAIN:
            return stored[1:]
        try:
            decompress = self._thread.decompress
        except AttributeError:
            # A decompressor must not be used by two threads at once.
            decompress = self._thread.decompress = zstandard.ZstdDecompressor(
                dict_data=self._learnt, format=_FORMAT
            ).decompress
        value: bytes = decompress(stored[1:])
        return value


def _plain(value: bytes) -> bytes:
    return _PLAIN + value


def learn(samples: Sequence[bytes]) -> bytes:
    """A dictionary for values like ``samples``; empty where they are too few or gain nothing."""
    if len(samples) < _FEWEST:
        return b""
    try:
        dictionary = zstandard.train_dictionary(_DICTIONARY_BYTES, list(samples)).as_bytes()
    except zstandard.ZstdError:
        return b""  # nothing in common
    pack = Codec(dictionary).packer()
    packed = sum(len(pack(value)) for value in samples)
    return dictionary if packed < 0.8 * sum(map(len, samples)) else b""
