"""Files: create, list, retrieve, content, delete."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response

from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes.paging import ends, oldest_first, page
from understudy_sandbox.schemas import ExpiresAfter, Purpose, validated
from understudy_sandbox.server import Operation
from understudy_sandbox.state import new_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_MAX_BYTES = 512 * 2**20
_PURPOSES = frozenset(get_args(Purpose))
_LARGE = frozenset({"batch", "batch_output"})
"""Purposes of files that nothing is fitted from: their bytes go when they are deleted."""


def file_view(provider: Provider, doc: Doc) -> Doc:
    """The ``file`` object."""
    ready = doc["created"] + provider.config.timings.processing <= provider.clock.now()
    expires = doc["expires_at"]
    return {
        "object": "file",
        "id": doc["id"],
        "purpose": doc["purpose"],
        "filename": doc["filename"],
        "bytes": doc["bytes"],
        "created_at": int(doc["created"]),
        "expires_at": int(expires) if expires is not None else None,
        "status": "processed" if ready else "uploaded",
        "status_details": None,
    }


def store_file(
    provider: Provider,
    source: Path,
    *,
    filename: str,
    purpose: str,
    home: str,
    expires: float | None = None,
) -> Doc:
    """Take a finished file in, moving it.

    Args:
        provider: the sandbox.
        source: the file; it is moved.
        filename: the name that it is shown with.
        purpose: what it may be used for.
        home: the resource that it belongs to.
        expires: seconds after which it is gone, or None.
    """
    blob, size = provider.state.keep_blob(source)
    now = provider.clock.now()
    return provider.state.docs["file"].put(
        {
            "id": new_id("file-"),
            "blob": blob,
            "bytes": size,
            "created": now,
            "filename": filename,
            "purpose": purpose,
            "home": home,
            "expires_at": now + expires if expires is not None else None,
            "visible_at": 0,
        }
    )


def spooled(provider: Provider, upload: UploadFile) -> Path:
    """A form's file copied into the state's folder."""
    with tempfile.NamedTemporaryFile(dir=provider.state.folder, delete=False) as stream:
        shutil.copyfileobj(upload.file, stream, 1 << 20)
    return Path(stream.name)


def _expiry(form: Any) -> int | None:
    given = {
        key: form[f"expires_after[{key}]"]
        for key in ("anchor", "seconds")
        if f"expires_after[{key}]" in form
    }
    if not given:
        return None
    if str(given.get("seconds", "")).isdigit():
        given["seconds"] = int(given["seconds"])
    return validated(ExpiresAfter, given).seconds


def file_of(provider: Provider, request: Request) -> Doc:
    """The file that a path names.

    Raises:
        ApiError: 404, there is none.
    """
    return provider.file(request.path_params["id"], home=request.state.home)


async def create(provider: Provider, request: Request) -> Response:
    """POST /files."""
    form = await request.form()
    upload, purpose = form.get("file"), form.get("purpose")
    if not isinstance(upload, UploadFile):
        raise ApiError(400, "'file' is a required property. Send it as a form part.", param="file")
    if purpose not in _PURPOSES:
        raise ApiError(
            400,
            f"{purpose!r} is not one of {sorted(_PURPOSES)} - 'purpose'.",
            param="purpose",
            code="invalid_value",
        )
    expires = _expiry(form)
    if (upload.size or 0) > _MAX_BYTES:
        raise ApiError(413, "The file is over 512 MB. Use the Uploads API.", param="file")
    source = await asyncio.to_thread(spooled, provider, upload)
    doc = await asyncio.to_thread(
        store_file,
        provider,
        source,
        filename=upload.filename or "file",
        purpose=str(purpose),
        home=request.state.home,
        expires=expires,
    )
    return json_response(file_view(provider, doc))


async def listed(provider: Provider, request: Request) -> Response:
    """GET /files."""
    purpose = request.query_params.get("purpose")
    now = provider.clock.now()
    docs = [
        d
        for d in provider.visible("file", request.state.home)
        if purpose in (None, d["purpose"]) and (d["expires_at"] is None or d["expires_at"] > now)
    ]
    if oldest_first(request):
        docs.reverse()
    shown, more = page(request, docs, usual=10_000, most=10_000)
    data = [file_view(provider, d) for d in shown]
    return json_response({"object": "list", "data": data, "has_more": more, **ends(shown)})


async def retrieve(provider: Provider, request: Request) -> Response:
    """GET /files/{id}."""
    return json_response(file_view(provider, file_of(provider, request)))


async def content(provider: Provider, request: Request) -> Response:
    """GET /files/{id}/content."""
    doc = file_of(provider, request)
    return FileResponse(provider.state.blob(doc["blob"]), media_type="application/octet-stream")


async def delete(provider: Provider, request: Request) -> Response:
    """DELETE /files/{id}."""
    doc = file_of(provider, request)
    provider.state.docs["file"].delete(doc["id"])
    if doc["purpose"] in _LARGE and not provider.needs(doc["blob"]):
        provider.state.blob(doc["blob"]).unlink(missing_ok=True)
    return json_response({"object": "file", "id": doc["id"], "deleted": True})


OPERATIONS = (
    Operation(name="files.create", method="POST", path="/v1/files", handler=create),
    Operation(name="files.list", method="GET", path="/v1/files", handler=listed),
    Operation(name="files.retrieve", method="GET", path="/v1/files/{id}", handler=retrieve),
    Operation(name="files.content", method="GET", path="/v1/files/{id}/content", handler=content),
    Operation(name="files.delete", method="DELETE", path="/v1/files/{id}", handler=delete),
)
