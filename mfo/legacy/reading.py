"""One row of the older system, read with care: what each column says, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.commands import MAX_DEPTH
from domain.words import Status, status_of
from mfo.legacy.tables import Raw

Json = dict[str, Any]
TRUE, FALSE = frozenset({"t", "true", "1", "yes", "on"}), frozenset({"f", "false", "0", "no", "off"})


class Fault(NamedTuple):
    """What is wrong with one column of one row; `key` is the row's flow id, where it can be read."""

    table: str
    row: int
    key: str | None
    column: str
    why: str


class Row:
    """The values of a row; whatever cannot be read is noted in `faults` and read as if it were not there."""

    def __init__(self, raw: Raw, keys: Iterable[str]) -> None:
        """`keys` are the columns that may name the flow, the first that does counts."""
        self.raw = raw
        self.faults: list[Fault] = []
        self.key: UUID | None = None
        named = next((name for name in keys if raw.values.get(name)), None)
        if named is None:
            self.wrong(next(iter(keys)), "is missing; nobody can say which flow it is")
        else:
            self.key = self.uuid(named)

    def wrong(self, column: str, why: str) -> None:
        """Note what is wrong."""
        key = str(self.key) if self.key is not None else None
        self.faults.append(Fault(self.raw.table, self.raw.number, key, column, why))

    def has(self, column: str) -> bool:
        return self.raw.values.get(column) is not None

    def text(self, column: str, most: int, *, required: bool = False) -> str | None:
        """A text of at most so many characters, none where it is blank."""
        found = self.raw.values.get(column)
        if found is None or not found.strip():
            if required:
                self.wrong(column, "is missing")
            return None
        if len(found) > most:
            self.wrong(column, f"has {len(found)} characters; at most {most}")
        elif not found.isprintable() and ("\x00" in found or any("\ud800" <= sign <= "\udfff" for sign in found)):
            self.wrong(column, "is not text in UTF-8")
        else:
            return found
        return None

    def uuid(self, column: str, *, required: bool = False) -> UUID | None:
        found = self.text(column, 100, required=required)
        if found is None:
            return None
        try:
            return UUID(found)
        except ValueError:
            self.wrong(column, f"{found!r} is no UUID")
            return None

    def moment(self, column: str, *, required: bool = False) -> datetime | None:
        """A time in UTC; one without a zone is taken as UTC."""
        found = self.text(column, 100, required=required)
        if found is None:
            return None
        try:
            at = datetime.fromisoformat(found)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.wrong(column, f"{found!r} is no time")
            return None

    def number(self, column: str, least: float, most: float, default: float) -> float:
        found = self.text(column, 100)
        if found is None:
            return default
        try:
            value = float(found)
        except ValueError:
            self.wrong(column, f"{found!r} is no number")
            return default
        if not least <= value <= most:
            self.wrong(column, f"{found} is not between {least:g} and {most:g}")
            return default
        return value

    def flag(self, column: str) -> bool:
        found = (self.raw.values.get(column) or "f").lower()
        if found not in TRUE | FALSE:
            self.wrong(column, f"{found!r} is neither true nor false")
        return found in TRUE

    def status(self, column: str) -> tuple[Status | None, str | None]:
        """The status that is meant, and the word that stands there."""
        found = self.text(column, 50, required=True)
        if found is None:
            return None, None
        try:
            return status_of(found), found
        except ValueError:
            self.wrong(column, f"{found!r} is no status")
            return None, found

    def mapping(self, column: str) -> Json:
        """A JSON object, empty where there is none."""
        found = self._json(column)
        if found is None or isinstance(found, dict):
            return found or {}
        self.wrong(column, f"must be a JSON object, not {_kind(found)}")
        return {}

    def items(self, column: str, most: int | None = None) -> list[Any]:
        """A JSON list, its last elements where there are more than `most`; empty where there is none."""
        found = self._json(column)
        if found is None or isinstance(found, list):
            kept = found or []
            return kept if most is None else kept[-most:]
        self.wrong(column, f"must be a JSON list, not {_kind(found)}")
        return []

    def objects(self, column: str, most: int) -> list[Json]:
        """As `items`, of objects alone."""
        found = self.items(column, most)
        if any(not isinstance(each, dict) for each in found):
            self.wrong(column, "must hold nothing but JSON objects")
            return []
        return found

    def words(self, column: str) -> list[str]:
        """A JSON list of texts."""
        found = self.items(column)
        if any(not isinstance(each, str) for each in found):
            self.wrong(column, "must hold nothing but texts")
            return []
        return found

    def _json(self, column: str) -> Any:
        found = self.raw.values.get(column)
        if found is None:
            return None
        try:
            value = msgspec.json.decode(found)
            if _depth(value) > MAX_DEPTH:
                raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
            if "\\u0000" in found:
                raise ValueError("it holds NUL")
        except (ValueError, RecursionError, UnicodeError) as error:
            self.wrong(column, f"cannot be read as JSON: {str(error)[:100]}")
            return None
        return value


def _kind(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(each) for each in inner), default=0) if isinstance(value, dict | list) else 0
