"""Where a page ended: the sort key and id of its last row, as opaque text. Pages stay whole while rows come and go."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from api.problems import wrong_parameter

Key = datetime | str | int
Row = TypeVar("Row")


class Cursor(NamedTuple):
    """The last row of a page: the value it was sorted by, and its id."""

    key: Key
    id: UUID | str


class _Written(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    order: str
    key: str | int
    id: str


_decoder = msgspec.json.Decoder(_Written)


def write(order: str, cursor: Cursor) -> str:
    """A cursor of a list in the given order as base64url text without padding."""
    key = cursor.key.isoformat() if isinstance(cursor.key, datetime) else cursor.key
    written = msgspec.json.encode(_Written(order, key, str(cursor.id)))
    return urlsafe_b64encode(written).rstrip(b"=").decode()


def read(
    text: str | None, order: str, key: type[datetime] | type[str] | type[int], *, uuids: bool = True
) -> Cursor | None:
    """The cursor in a text made by `write` for the same order; raises ParameterInvalid for any other.

    `key` is what its list is sorted by; `uuids`: its id is a UUID.
    """
    if text is None:
        return None
    try:
        written = _decoder.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if written.order != order or "\x00" in f"{written.id}{written.key}":
            raise ValueError
        return Cursor(_key(written.key, key), UUID(written.id) if uuids else written.id)
    except (ValueError, msgspec.DecodeError):
        raise wrong_parameter("cursor", "is not a cursor of this list in this order; begin without one") from None


def page_of(
    rows: Iterable[Row], name: Callable[[Row], str], order: str, limit: int, text: str | None
) -> tuple[list[Row], str | None]:
    """A page, by name, of a short list that is there as a whole, and the cursor of the next; raises ParameterInvalid."""
    after = read(text, order, str, uuids=False)
    left = [row for row in sorted(rows, key=name) if after is None or name(row) > str(after.key)]
    page = left[:limit]
    return page, write(order, Cursor(name(page[-1]), "")) if len(left) > limit else None


def _key(written: str | int, kind: type[datetime] | type[str] | type[int]) -> Key:
    if kind is datetime:
        at = datetime.fromisoformat(str(written))
        if at.tzinfo is None:
            raise ValueError
        return at
    if not isinstance(written, kind) or (isinstance(written, int) and not 0 <= written < 2**31):
        raise ValueError
    return written
