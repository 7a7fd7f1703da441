"""Arrays as PostgreSQL sends and takes them in binary, each written in one go.

psycopg looks at every element of a list to learn what it is. Where that is known, a parameter costs a third of the time.
The statement must name the type (`%b::uuid[]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_empty = Struct(">iiI").pack
_head = Struct(">iiIii").pack
_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_float8 = Struct(">id").pack
_NULL = _length(-1)
_UUID = _length(16)


class Packed(bytes):
    """An array ready to be sent."""


class _PackedDumper(Dumper):
    format = Format.BINARY
    # whatever the statement says it is
    oid = 0

    def dump(self, obj: Packed) -> bytes:
        return obj


psycopg.adapters.register_dumper(Packed, _PackedDumper)


def _array(oid: int, elements: Sequence[bytes]) -> Packed:
    if not elements:
        return Packed(_empty(0, 0, oid))
    # one dimension, with nulls maybe, counted from 1
    return Packed(_head(1, 1, oid, len(elements), 1) + b"".join(elements))


def uuids(values: Iterable[UUID]) -> Packed:
    """uuid[]"""
    return _array(2950, [_UUID + value.bytes for value in values])


def ints(values: Iterable[int]) -> Packed:
    """int[]"""
    return _array(23, [_int4(4, value) for value in values])


def bigints(values: Iterable[int | None]) -> Packed:
    """bigint[]"""
    return _array(20, [_NULL if value is None else _int8(8, value) for value in values])


def floats(values: Iterable[float]) -> Packed:
    """float8[]"""
    return _array(701, [_float8(8, value) for value in values])


def texts(values: Iterable[str | None]) -> Packed:
    """text[]; raises UnicodeEncodeError for a lone surrogate."""
    return _array(25, [_NULL if text is None else _length(len(raw := text.encode())) + raw for text in values])


def blobs(values: Iterable[bytes | None]) -> Packed:
    """bytea[]"""
    return _array(17, [_NULL if value is None else _length(len(value)) + value for value in values])


def times(values: Iterable[datetime | None]) -> Packed:
    """timestamptz[]"""
    return _array(1184, [_NULL if at is None else _int8(8, (at - EPOCH) // MICROSECOND) for at in values])
