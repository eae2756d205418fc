"""Exports as Parquet. Needs pyarrow: ``pip install 'understudy[parquet]'``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from understudy.cache.base import KEY_BYTES, Row
from understudy.cache.shared import chunks
from understudy.cache.transfer_format import AT_ONCE, as_object, damaged, reading
from understudy.errors import ConfigError, DataError
from understudy.model import Json

__all__ = ["read_parquet", "write_parquet"]

_META = b"understudy"


def _arrow(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            f"{path}: Parquet needs pyarrow; pip install 'understudy[parquet]', or use .jsonl"
        ) from None
    return pa


def write_parquet(path: Path, head: Mapping[str, Json], rows: Iterable[Row]) -> int:
    """Write rows behind ``head``; how many."""
    pa = _arrow(path)
    columns = [pa.field("key", pa.binary(KEY_BYTES)), pa.field("value", pa.binary())]
    schema = pa.schema(columns, metadata={_META: orjson.dumps(head)})
    written = 0
    # Keys are hashes: a dictionary of them would be as large as they are.
    options = {"compression": "zstd", "use_dictionary": ["value"]}
    with pa.parquet.ParquetWriter(path, schema, **options) as file:
        for part in chunks(rows, AT_ONCE):
            keys, values = zip(*part, strict=True)
            file.write_batch(
                pa.record_batch([pa.array(keys, columns[0].type), pa.array(values)], schema=schema)
            )
            written += len(part)
    return written


def read_parquet(path: Path) -> tuple[Mapping[str, Json], Iterator[Row]]:
    """The head and the rows. Raises ``DataError`` where the file is damaged."""
    pa = _arrow(path)
    with reading(path):
        try:
            file = pa.parquet.ParquetFile(path)
        except pa.ArrowException as error:
            raise _no_parquet(path, error) from None
    names = set(file.schema_arrow.names)
    for name in ("key", "value"):
        if name not in names:
            raise DataError(f"has no column {name!r}; it has {sorted(names)}", file=path)
    told = (file.schema_arrow.metadata or {}).get(_META, b"{}")

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=AT_ONCE, columns=["key", "value"]):
                keys, values = (batch.column(name).to_pylist() for name in ("key", "value"))
                for key, value in zip(keys, values, strict=True):
                    number += 1
                    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                        raise damaged(path, number, "key", f"is not {KEY_BYTES} bytes")
                    if not isinstance(value, bytes):
                        raise damaged(path, number, "value", "is not bytes")
                    yield key, value
        except (pa.ArrowException, OSError) as error:
            raise _no_parquet(path, error, number) from None
        finally:
            file.close()

    return as_object(orjson.loads(told)), rows()


def _no_parquet(path: Path, error: Exception, number: int | None = None) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    return damaged(path, number, None, f"this Parquet file is damaged ({reason})")
