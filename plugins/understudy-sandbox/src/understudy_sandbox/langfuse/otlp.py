"""OTLP export requests, as protobuf or JSON, to plain spans."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from understudy_sandbox.errors import ApiError

_MOST = 64 << 20  # bytes unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Ids are lower-case hexadecimal, times Unix nanoseconds; ``error`` its status."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: dict[str, Any]
    error: str | None


def unpacked(body: bytes, encoding: str) -> bytes:
    """A request's body without its gzip.

    Raises:
        ApiError: it is not what its encoding says, or too big.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise ApiError(415, f"Content-Encoding {encoding!r} is not supported; send gzip or none.")
    try:
        unpacker = zlib.decompressobj(wbits=31)
        whole = unpacker.decompress(body, _MOST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ApiError(413, f"The unpacked body is cut off or over {_MOST} bytes.")
    except (zlib.error, gzip.BadGzipFile):
        raise ApiError(400, "The body is no gzip although Content-Encoding says so.") from None
    return whole


def spans_of(body: bytes, content_type: str) -> list[Span]:
    """The spans of an export request.

    Raises:
        ApiError: the content type or the body is none of OTLP.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/x-protobuf":
            return list(_from_protobuf(body))
        if kind == "application/json":
            return list(_from_json(orjson.loads(body)))
    except ApiError:
        raise
    except Exception as error:  # noqa: BLE001 - protobuf and JSON fail in many ways
        raise ApiError(400, f"Invalid OTLP trace data: {type(error).__name__}.") from None
    raise ApiError(400, f"Content-Type {kind!r} is not supported; send protobuf or JSON.")


def _from_protobuf(body: bytes) -> Iterator[Span]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(body)
    for block in request.resource_spans:
        resource = {a.key: _value(a.value) for a in block.resource.attributes}
        for group in block.scope_spans:
            scope = {
                "name": group.scope.name,
                "version": group.scope.version,
                "attributes": {a.key: _value(a.value) for a in group.scope.attributes},
            }
            for span in group.spans:
                yield Span(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    name=span.name,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes={a.key: _value(a.value) for a in span.attributes},
                    resource=resource,
                    scope=scope,
                    error=(span.status.message or "error") if span.status.code == 2 else None,
                )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _value(one.value) for one in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def _from_json(request: Any) -> Iterator[Span]:
    for block in request["resourceSpans"]:
        resource = _attributes(block.get("resource"))
        for group in block.get("scopeSpans") or ():
            given = group.get("scope") or {}
            scope = {
                "name": given.get("name", ""),
                "version": given.get("version", ""),
                "attributes": _attributes(given),
            }
            for span in group.get("spans") or ():
                status = span.get("status") or {}
                failed = status.get("code") in {2, "STATUS_CODE_ERROR"}
                yield Span(
                    trace_id=_hex(span["traceId"], 16),
                    span_id=_hex(span["spanId"], 8),
                    parent_id=_hex(span["parentSpanId"], 8) if span.get("parentSpanId") else None,
                    name=span.get("name", ""),
                    start=int(span["startTimeUnixNano"]),
                    end=int(span.get("endTimeUnixNano") or 0),
                    attributes=_attributes(span),
                    resource=resource,
                    scope=scope,
                    error=(status.get("message") or "error") if failed else None,
                )


def _hex(text: str, size: int) -> str:
    """An id of so many bytes; OTLP's JSON has it in hexadecimal."""
    try:
        if len(bytes.fromhex(text)) == size:
            return text.lower()
    except (ValueError, binascii.Error):
        pass
    raise ApiError(400, f"Invalid OTLP trace data: {text[:40]!r} is no id of {size} bytes in hex.")


def _attributes(of: Any) -> dict[str, Any]:
    given = (of or {}).get("attributes") or ()
    return {one["key"]: _json_value(one.get("value") or {}) for one in given}


def _json_value(value: dict[str, Any]) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_json_value(one) for one in value["arrayValue"].get("values") or ()]
    if "kvlistValue" in value:
        listed = value["kvlistValue"].get("values") or ()
        return {one["key"]: _json_value(one.get("value") or {}) for one in listed}
    for kind in ("stringValue", "doubleValue", "boolValue", "bytesValue"):
        if kind in value:
            return value[kind]
    return None
