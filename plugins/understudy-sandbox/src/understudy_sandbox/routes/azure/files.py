"""Files on Azure's data plane: create, import, list, retrieve, content, delete; uploads."""

from __future__ import annotations

import asyncio
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from starlette.responses import Response

from understudy_sandbox.azure import views
from understudy_sandbox.azure.schemas import ImportFile
from understudy_sandbox.config import LOOPBACK
from understudy_sandbox.errors import ApiError, json_response
from understudy_sandbox.routes import files, uploads
from understudy_sandbox.routes.azure.places import Place
from understudy_sandbox.routes.azure.shared import is_v1, location
from understudy_sandbox.schemas import body_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from understudy_sandbox.provider import Provider
    from understudy_sandbox.state import Doc

_FETCH_SECONDS = 30.0  # real


def _file_problem(provider: Provider, doc: Doc) -> str | None:
    if doc["purpose"] != "fine-tune" or doc.get("checked"):
        return doc.get("problem")
    with provider.state.blob(doc["blob"]).open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        doc["problem"] = "jsonlValidationFailed: the first line of the file is not valid JSON."
    doc["checked"] = True
    provider.state.docs["file"].put(doc)
    return doc.get("problem")


def _file(provider: Provider, doc: Doc) -> Doc:
    return views.azure_file(doc, files.file_view(provider, doc), _file_problem(provider, doc))


def _here(provider: Provider, request: Request) -> Doc:
    doc = files.file_of(provider, request)
    if _is_gone(provider, doc):
        raise ApiError(404, f"The file {doc['id']} does not exist.", code="notFound")
    return doc


def _is_gone(provider: Provider, doc: Doc) -> bool:
    since = doc.get("deleting_at")
    return since is not None and provider.clock.now() >= since + provider.config.timings.processing


def _made(provider: Provider, response: Response) -> Doc:
    name = orjson.loads(response.body)["id"]
    doc = provider.state.docs["file"].get(name)
    assert doc is not None
    return doc


async def upload(provider: Provider, request: Request) -> Response:
    """POST /files: 201 with Location; ``pending`` until it is processed."""
    doc = _made(provider, await files.create(provider, request))
    return json_response(_file(provider, doc), status=201, headers=location(request, doc["id"]))


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead off this machine."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Let the redirect be an error."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())


def _fetch(url: str, folder: Path) -> Path:
    with (
        _OPENER.open(url, timeout=_FETCH_SECONDS) as source,
        tempfile.NamedTemporaryFile(dir=folder, delete=False) as target,
    ):
        while chunk := source.read(1 << 20):
            target.write(chunk)
    return Path(target.name)


async def import_file(provider: Provider, request: Request) -> Response:
    """POST /files/import: from a URL; the sandbox fetches from this machine only.

    Raises:
        ApiError: 400, the URL leads elsewhere or gives nothing.
    """
    body = await body_of(request, ImportFile)
    parts = urlsplit(body.content_url)
    if parts.scheme not in {"http", "https"} or parts.hostname not in LOOPBACK:
        raise ApiError(
            400,
            "The sandbox imports from loopback http(s) URLs only, so that no test leaves this "
            "machine. Serve the file on 127.0.0.1.",
            code="fileImportFailed",
        )
    try:
        source = await asyncio.to_thread(_fetch, body.content_url, provider.state.folder)
    except (urllib.error.URLError, OSError) as error:
        # Without the URL: its query may hold a signature.
        said = f"The file could not be read from its URL: {type(error).__name__}."
        raise ApiError(400, said, code="fileImportFailed") from None
    doc = await asyncio.to_thread(
        files.store_file,
        provider,
        source,
        filename=body.filename,
        purpose=body.purpose,
        home=request.state.home,
    )
    return json_response(_file(provider, doc), status=201, headers=location(request, doc["id"]))


async def list_files(provider: Provider, request: Request) -> Response:
    """GET /files."""
    body = orjson.loads((await files.listed(provider, request)).body)
    docs = [provider.state.docs["file"].get(d["id"]) for d in body["data"]]
    data = [_file(provider, d) for d in docs if d and not _is_gone(provider, d)]
    return json_response({**body, "data": data})


async def get_file(provider: Provider, request: Request) -> Response:
    """GET /files/{id}."""
    return json_response(_file(provider, _here(provider, request)))


async def file_content(provider: Provider, request: Request) -> Response:
    """GET /files/{id}/content."""
    _here(provider, request)
    return await files.content(provider, request)


async def delete_file(provider: Provider, request: Request) -> Response:
    """DELETE /files/{id}: it is ``deleting`` for a moment. Classic answers 204 without a body."""
    doc = _here(provider, request)
    doc["deleting_at"] = provider.clock.now()
    provider.state.docs["file"].put(doc)
    if not is_v1(request):
        return Response(status_code=204)
    return json_response({"object": "file", "id": doc["id"], "deleted": True})


async def complete_upload(provider: Provider, request: Request) -> Response:
    """POST /uploads/{id}/complete."""
    body = orjson.loads((await uploads.complete(provider, request)).body)
    doc = provider.state.docs["file"].get(body["file"]["id"])
    assert doc is not None
    return json_response({**body, "file": _file(provider, doc)})


_FILE = "/files/{id}"
ROUTES = (
    Place("files.create", "POST", "/files", upload),
    Place("files.import", "POST", "/files/import", import_file),
    Place("files.list", "GET", "/files", list_files),
    Place("files.retrieve", "GET", _FILE, get_file),
    Place("files.content", "GET", f"{_FILE}/content", file_content),
    Place("files.delete", "DELETE", _FILE, delete_file),
    Place("uploads.create", "POST", "/uploads", uploads.create),
    Place("uploads.parts.create", "POST", "/uploads/{id}/parts", uploads.add_part),
    Place("uploads.complete", "POST", "/uploads/{id}/complete", complete_upload),
    Place("uploads.cancel", "POST", "/uploads/{id}/cancel", uploads.cancel),
)
