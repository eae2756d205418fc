from __future__ import annotations

import hashlib

import openai
import pytest


def test_a_file_goes_from_uploaded_to_processed(sandbox, client, upload) -> None:
    made = upload([{"a": 1}])
    assert made.status == "uploaded"
    sandbox.advance(1)
    again = client.files.retrieve(made.id)
    assert (again.status, again.bytes, again.filename) == ("processed", 9, "rows.jsonl")


def test_content_comes_back_byte_for_byte(client, upload) -> None:
    body = "ü\r\nno newline at the end".encode()
    made = upload(body, "user_data")
    assert client.files.content(made.id).content == body


def test_deleted_files_are_gone(client, upload) -> None:
    made = upload([{"a": 2}])
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_lists_page_by_purpose_and_order(client, upload) -> None:
    ids = [upload([{"n": n}], "vision").id for n in range(3)]
    newest = [f.id for f in client.files.list(purpose="vision", limit=2)]
    oldest = [f.id for f in client.files.list(purpose="vision", order="asc", limit=1)]
    assert newest == ids[::-1]
    assert oldest == ids


def test_expires_after_makes_a_file_go(sandbox, client) -> None:
    made = client.files.create(
        file=("x.jsonl", b"{}"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600
    sandbox.advance(3601)
    with pytest.raises(openai.NotFoundError):
        client.files.content(made.id)


def test_unknown_purpose_is_refused(client) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("x", b"1"), purpose="nonsense")
    assert refused.value.param == "purpose"


@pytest.mark.parametrize("limit", [0, "x", 10_001])
def test_bad_limits_are_refused(client, limit) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.list(limit=limit)
    assert refused.value.param == "limit"


def test_parts_join_in_the_order_of_completion(client) -> None:
    body = b"first-second"
    made = client.uploads.create(
        bytes=len(body), filename="big.jsonl", mime_type="text/jsonl", purpose="fine-tune"
    )
    second = client.uploads.parts.create(made.id, data=b"second")
    first = client.uploads.parts.create(made.id, data=b"first-")
    done = client.uploads.complete(
        made.id, part_ids=[first.id, second.id], md5=hashlib.md5(body).hexdigest()
    )
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).content == body


def test_an_upload_with_missing_bytes_cannot_be_completed(client) -> None:
    made = client.uploads.create(
        bytes=99, filename="big.jsonl", mime_type="text/jsonl", purpose="batch"
    )
    part = client.uploads.parts.create(made.id, data=b"too few")
    with pytest.raises(openai.BadRequestError, match="99"):
        client.uploads.complete(made.id, part_ids=[part.id])


def test_a_cancelled_or_expired_upload_takes_no_parts(sandbox, client) -> None:
    ask = {"bytes": 1, "filename": "a", "mime_type": "b", "purpose": "batch"}
    cancelled, late = client.uploads.create(**ask), client.uploads.create(**ask)
    assert client.uploads.cancel(cancelled.id).status == "cancelled"
    sandbox.advance(3601)
    for made in (cancelled, late):
        with pytest.raises(openai.BadRequestError):
            client.uploads.parts.create(made.id, data=b"x")
