"""What the leaves of a checkpoint's trees are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

COMMAND_COLUMNS = (
    *("n", "at", "client_account_id", "engagement_id", "user_id", "command_id", "command", "flow_id", "source"),
    *("outcome", "version", "position", "error", "correlation_id", "causation_id", "expected_version", "ip_address"),
    *("user_agent", "body"),
)
"""Every column of the command log, in the order in which a leaf holds them."""

_MICROSECONDS = "(extract(epoch from at) * 1000000)::bigint"
COMMAND_SELECT = ", ".join(_MICROSECONDS if name == "at" else name for name in COMMAND_COLUMNS)
"""The columns as a leaf wants them: `at` in microseconds since 1970, UTC."""
LEAF_SELECT = f"{COMMAND_SELECT}, digest"
"""The columns of `command_leaves`: those of a row that is there, or the digest of one that retention removed."""


def event_leaf(flow_id: UUID, version: int, digest: bytes) -> bytes:
    """`event` | flow id (16) | version (u64 be) | hash (32): the event by the hash of its chain."""
    return b"event" + flow_id.bytes + _u64(version) + digest


def command_leaf(row: Sequence[Any]) -> bytes:
    """`command` | n (u64 be) | SHA-256 over the row's columns, each as its length (u32 be) and its bytes.

    Texts are UTF-8, ids their 16 bytes, numbers i64 be; a column without a value is the length 0xffffffff alone.
    """
    return _leaf(row[0], command_digest(row))


def command_digest(row: Sequence[Any]) -> bytes:
    """The SHA-256 in a command's leaf."""
    digest = hashlib.sha256()
    for value in row:
        data = _bytes(value)
        digest.update(b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4, "big") + data)
    return digest.digest()


def leaf_of(row: Sequence[Any]) -> bytes:
    """The leaf of a row of `command_leaves`."""
    return command_leaf(row[:-1]) if row[-1] is None else _leaf(row[0], bytes(row[-1]))


def _leaf(n: int, digest: bytes) -> bytes:
    return b"command" + _u64(n) + digest


def _u64(number: int) -> bytes:
    """None of ours is below 0; who puts one there must not stop verification."""
    return (number % (1 << 64)).to_bytes(8, "big")


def _bytes(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case UUID():
            return value.bytes
        case int():
            return value.to_bytes(8, "big", signed=True)
        case _:
            return bytes(value)
