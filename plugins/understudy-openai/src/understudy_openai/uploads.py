"""Sends training files: reuse of what is there, one request for small ones, parts for big ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from understudy.errors import BackendError, InvalidData, Unavailable
from understudy.model import Json
from understudy_openai import wire

__all__ = ["PART_BYTES", "SINGLE_BYTES", "TRAINING", "Caller", "Uploader", "file_name"]

PART_BYTES = 64 * 1024**2
"""Largest part of the Uploads API."""
SINGLE_BYTES = 500 * 1000**2
"""Above this a file goes in parts; the provider's own limit for one request is 512 MB."""
TRAINING = "fine-tune"
"""The purpose of files to train on."""
_PAGES = 3
_COMPLETE = frozenset({"uploaded", "processed", "pending", "running"})
"""Statuses of a file that is all there; Azure takes it in for a while after that."""
_LONGEST_KEY = 120


class Caller(Protocol):
    """One request through the SDK: what is being done, the method, its arguments."""

    def __call__(self, what: str, method: Callable[..., Any], /, **kwargs: Any) -> Json:
        """The parsed body of the reply."""
        ...


def file_name(key: str, split: str) -> str:
    """The name that a file of this intent carries, by which it is found again."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", key)
    if safe != key or len(safe) > _LONGEST_KEY:
        # Two keys must never come to share a name, and so a file.
        safe = f"{safe[:_LONGEST_KEY]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return f"understudy-{safe}-{split}.jsonl"


class Uploader:
    """Uploads through ``client`` (an SDK client) with ``call`` doing each request."""

    def __init__(
        self, client: Any, call: Caller, *, part: int = PART_BYTES, single: int = SINGLE_BYTES
    ) -> None:
        self._client, self._call = client, call
        self._part, self._single = part, single

    def send(self, path: str, name: str, *, purpose: str = TRAINING, **more: Any) -> Json:
        """The file object of the file at ``path``, complete at the provider under ``name``.

        ``more`` goes with the upload, such as ``expires_after``.

        Raises:
            InvalidData: the file cannot be read here.
            BackendError: the provider refused it, or could not be reached.
        """
        try:
            size = Path(path).stat().st_size
            there = self.existing(name, size, purpose=purpose)
            if there is not None:
                return there
            with Path(path).open("rb") as file:
                whole = self._whole if size <= self._single else self._parts
                return whole(file, name, size, {"purpose": purpose, **more})
        except BackendError:
            # Some of them are OSErrors too.
            raise
        except OSError as error:
            raise InvalidData(
                f"could not read {path}: {error.strerror or type(error).__name__}. "
                "Check that it is still there."
            ) from None

    def existing(self, name: str, size: int | None, *, purpose: str = TRAINING) -> Json | None:
        """The file that an earlier try left complete; of any size where ``size`` is None."""
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            body = self._call(
                "list the files",
                self._client.files.with_raw_response.list,
                purpose=purpose,
                order="desc",
                limit=100,
                **after,
            )
            found = [row for row in wire.rows(body) if wire.text(row.get("id"))]
            for row in found:
                file = wire.file_record(row)
                good = file.status in _COMPLETE and not file.deleted
                if file.filename == name and size in {None, file.bytes} and good:
                    return row
            if not found or wire.has_more(body) is not True:
                break
            after = {"after": str(found[-1]["id"])}
        return None

    def _whole(self, file: BinaryIO, name: str, size: int, more: Mapping[str, Any]) -> Json:
        return self._call(
            f"upload {name} ({size:,} bytes)",
            self._client.files.with_raw_response.create,
            file=(name, file, "application/jsonl"),
            **more,
        )

    def _parts(self, file: BinaryIO, name: str, size: int, more: Mapping[str, Any]) -> Json:
        uploads = self._client.uploads
        begun = self._call(
            f"begin the upload of {name} ({size:,} bytes)",
            uploads.with_raw_response.create,
            bytes=size,
            filename=name,
            mime_type="text/jsonl",
            **more,
        )
        upload = self._id(begun, name)
        digest = hashlib.md5(usedforsecurity=False)
        parts = [
            self._id(
                self._call(
                    f"upload part {number} of {name}",
                    uploads.parts.with_raw_response.create,
                    upload_id=upload,
                    data=(f"part-{number}", chunk, "application/octet-stream"),
                ),
                name,
            )
            for number, chunk in enumerate(self._chunks(file, digest), 1)
        ]
        done = self._call(
            f"complete the upload of {name}",
            uploads.with_raw_response.complete,
            upload_id=upload,
            part_ids=parts,
            md5=digest.hexdigest(),
        )
        return wire.mapping(done).get("file")

    def _id(self, body: Json, name: str) -> str:
        try:
            return wire.identity(body)
        except ValueError as error:
            message = f"could not upload {name}: {error} in the reply. It is tried again."
            raise Unavailable(message) from None

    def _chunks(self, file: BinaryIO, digest: Any) -> Iterator[bytes]:
        while chunk := file.read(self._part):
            digest.update(chunk)
            yield chunk
