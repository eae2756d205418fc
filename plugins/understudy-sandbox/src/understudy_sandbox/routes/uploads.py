"""Uploads in parts, for files too large for one request."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile

from understudy_sandbox.errors import ApiError, json_response, not_found
from understudy_sandbox.routes.files import file_view, spooled, store_file
from understudy_sandbox.schemas import CompleteUpload, CreateUpload, body_of
from understudy_sandbox.server import Operation
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_LIFE = 3600.0  # sandbox seconds that an upload stays open
_MAX_PART = 64 * 2**20


def _status(provider: Provider, upload: Doc) -> str:
    if upload["status"] == "pending" and provider.clock.now() >= upload["created"] + _LIFE:
        return "expired"
    return str(upload["status"])


def upload_view(provider: Provider, upload: Doc) -> Doc:
    """The ``upload`` object."""
    done = upload["file"] and provider.state.docs["file"].get(upload["file"])
    return {
        "object": "upload",
        "id": upload["id"],
        "bytes": upload["bytes"],
        "created_at": int(upload["created"]),
        "filename": upload["filename"],
        "purpose": upload["purpose"],
        "status": _status(provider, upload),
        "expires_at": int(upload["created"] + _LIFE),
        "file": file_view(provider, done) if done else None,
    }


def _open(provider: Provider, request: Request) -> Doc:
    name = request.path_params["id"]
    upload = provider.state.docs["upload"].get(name)
    if upload is None:
        raise not_found("upload", name, param="upload_id")
    status = _status(provider, upload)
    if status != "pending":
        raise ApiError(
            400,
            f"Upload {name} takes no more: its status is {status}. Create another.",
            param="upload_id",
            code="invalid_upload_status",
        )
    return upload


async def create(provider: Provider, request: Request) -> Response:
    """POST /uploads."""
    body = await body_of(request, CreateUpload)
    upload = provider.state.docs["upload"].put(
        {
            "id": new_id("upload_"),
            "created": provider.clock.now(),
            "filename": body.filename,
            "purpose": body.purpose,
            "bytes": body.bytes,
            "status": "pending",
            "file": None,
            "expires": body.expires_after.seconds if body.expires_after else None,
        }
    )
    return json_response(upload_view(provider, upload))


async def add_part(provider: Provider, request: Request) -> Response:
    """POST /uploads/{id}/parts."""
    upload = _open(provider, request)
    form = await request.form()
    data = form.get("data")
    if not isinstance(data, UploadFile):
        raise ApiError(400, "'data' is a required form part.", param="data")
    if (data.size or 0) > _MAX_PART:
        raise ApiError(413, "A part is over 64 MB. Cut the file into smaller parts.", param="data")
    source = await asyncio.to_thread(spooled, provider, data)
    part = {
        "id": new_id("part_"),
        "created": provider.clock.now(),
        "upload_id": upload["id"],
        "bytes": source.stat().st_size,
    }
    source.replace(provider.state.parts / str(part["id"]))
    provider.state.docs["part"].put(part)
    return json_response(
        {
            "object": "upload.part",
            "id": part["id"],
            "created_at": int(provider.clock.now()),
            "upload_id": upload["id"],
        }
    )


def _joined(provider: Provider, upload: Doc, body: CompleteUpload) -> Path:
    paths = []
    for name in body.part_ids:
        part = provider.state.docs["part"].get(name)
        if part is None or part["upload_id"] != upload["id"]:
            raise ApiError(
                400,
                f"{name} is no part of upload {upload['id']}.",
                param="part_ids",
                code="invalid_part",
            )
        paths.append(provider.state.parts / name)
    digest = md5(usedforsecurity=False)
    with tempfile.NamedTemporaryFile(dir=provider.state.folder, delete=False) as target:
        for path in paths:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
            digest.update(path.read_bytes())
        size = target.tell()
    made = Path(target.name)
    if size != upload["bytes"] or (body.md5 and body.md5 != digest.hexdigest()):
        made.unlink()
        raise ApiError(
            400,
            f"The parts have {size} bytes, the upload was created for {upload['bytes']}, or the "
            "md5 differs. Send the missing part, or name the parts in their order.",
            param="part_ids",
            code="invalid_upload_content",
        )
    return made


async def complete(provider: Provider, request: Request) -> Response:
    """POST /uploads/{id}/complete."""
    upload = _open(provider, request)
    body = await body_of(request, CompleteUpload)
    made = await asyncio.to_thread(_joined, provider, upload, body)
    doc = await asyncio.to_thread(
        store_file,
        provider,
        made,
        filename=upload["filename"],
        purpose=upload["purpose"],
        home=request.state.home,
        expires=upload["expires"],
    )
    upload.update(status="completed", file=doc["id"])
    provider.state.docs["upload"].put(upload)
    _forget_parts(provider, upload)
    return json_response(upload_view(provider, upload))


def _forget_parts(provider: Provider, upload: Doc) -> None:
    for part in provider.state.docs["part"]:
        if part["upload_id"] == upload["id"]:
            provider.state.docs["part"].delete(part["id"])
            (provider.state.parts / part["id"]).unlink(missing_ok=True)


async def cancel(provider: Provider, request: Request) -> Response:
    """POST /uploads/{id}/cancel."""
    upload = _open(provider, request)
    upload["status"] = "cancelled"
    provider.state.docs["upload"].put(upload)
    _forget_parts(provider, upload)
    return json_response(upload_view(provider, upload))


_ONE = "/v1/uploads/{id}"
OPERATIONS = (
    Operation(name="uploads.create", method="POST", path="/v1/uploads", handler=create),
    Operation(name="uploads.parts.create", method="POST", path=f"{_ONE}/parts", handler=add_part),
    Operation(name="uploads.complete", method="POST", path=f"{_ONE}/complete", handler=complete),
    Operation(name="uploads.cancel", method="POST", path=f"{_ONE}/cancel", handler=cancel),
)
