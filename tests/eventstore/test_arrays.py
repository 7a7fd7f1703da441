"""Arrays that we write ourselves are the arrays that PostgreSQL reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.arrays import Packed, bigints, blobs, floats, ints, texts, times, uuids

SOME: list[tuple[Callable[[Sequence[Any]], Packed], str, list[Any]]] = [
    (uuids, "uuid", [UUID(int=0), UUID(int=2**128 - 1)]),
    (ints, "int", [0, -1, 2**31 - 1]),
    (bigints, "bigint", [1, None, -(2**63)]),
    (floats, "float8", [0.0, -1.5, 1e300]),
    (texts, "text", ["", "ä \U0001f600", None, "{,}"]),
    (blobs, "bytea", [b"", b"\x00\xff", None]),
    (times, "timestamptz", [None, datetime(1999, 12, 31, 23, 59, 59, 1, UTC), datetime(2026, 11, 21, 1, 2, 3, 4, UTC)]),
]


@pytest.mark.parametrize(("pack", "kind", "values"), SOME, ids=[kind for _, kind, _ in SOME])
async def test_an_array_arrives_as_it_was_sent(
    database_url: str, pack: Callable[[Sequence[Any]], Packed], kind: str, values: list[Any]
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("set timezone to 'UTC'")
        for given in (values, values[:1], []):
            asked = f"select %b::{kind}[], array(select * from unnest(%b::{kind}[])) = %b::{kind}[]"
            row = await (await connection.execute(asked.encode(), [pack(given)] * 3)).fetchone()
            assert row == (given, True)
