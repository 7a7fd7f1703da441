"""What a question says beyond its fields: how an answer looks, who may give it, by when, and who is reminded of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.schemas import misfits, unusable
from domain.words import SENSITIVE_KEYS

Json = dict[str, Any]

ON_EXPIRY = ("fail", "defaults", "skip")
"""What may follow when nobody answered in time."""
NOT_VALUES = frozenset({"flow_id", "reason"})
"""What an answer holds beside its values."""
MAX_REMINDERS = 100
MAX_SCHEMA_BYTES = 64 * 1024
MAX_USERS = 100


class Assignees(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may answer: these users, or with none named everybody of the tenant; `need` is how many different people must
    give the same answer, 1 or 2. `roles` are not supported yet."""

    users: tuple[str, ...] = ()
    need: int = 1
    roles: tuple[str, ...] = ()


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a question is to be answered. Times are in seconds, pauses of the flow not counted.

    `schema` is the JSON Schema (draft 2020-12) of the whole answer, an object. `on_expiry`, with `expires_after_seconds`, is
    what follows when nobody answered: `fail` the flow, go on with the `defaults`, or `skip` the phase. The first reminder comes
    after `remind_after_seconds`, and then one every `remind_every_seconds`, at most 100.
    """

    message: str = ""
    schema: Json | None = None
    assignees: Assignees | None = None
    expires_after_seconds: float | None = None
    on_expiry: str | None = None
    defaults: Json = {}
    remind_after_seconds: float | None = None
    remind_every_seconds: float | None = None

    @property
    def need(self) -> int:
        """How many different people must answer."""
        return self.assignees.need if self.assignees is not None else 1

    @property
    def users(self) -> tuple[str, ...]:
        """Who may answer; none named: everybody."""
        return self.assignees.users if self.assignees is not None else ()

    @property
    def properties(self) -> tuple[str, ...]:
        """The names that the schema gives the parts of an answer."""
        return tuple((self.schema or {}).get("properties", {}))

    @property
    def fields(self) -> tuple[str, ...]:
        """What is wanted, by the schema: the parts that are required, or all that it names."""
        return tuple((self.schema or {}).get("required", ())) or self.properties

    def lacking(self, fields: Iterable[str]) -> Question:
        """The same question where only these fields are wanted, because the others are known."""
        if self.schema is None or "required" not in self.schema:
            return self
        wanted = set(fields)
        return replace(self, schema={**self.schema, "required": [f for f in self.schema["required"] if f in wanted]})


def faults(question: Question) -> Iterator[str]:
    """What is wrong with a question, in sentences; one about roles begins with `not_supported`."""
    yield from _wrong_schema(question.schema)
    taken = sorted(NOT_VALUES & set(question.properties))
    if taken:
        yield f"{taken[0]!r} cannot be a field: it stands beside the values"
    assignees = question.assignees
    if assignees is not None:
        if assignees.roles:
            yield "not_supported: assignees by role are not supported yet; name users"
        if assignees.need not in {1, 2}:
            yield f"need is 1 or 2, not {assignees.need}"
        users = assignees.users
        if len(users) > MAX_USERS or not all(0 < len(user) <= 255 for user in users):
            yield f"users are at most {MAX_USERS} names of 1 to 255 characters"
        if users and len(set(users)) < assignees.need:
            yield "two people must answer, but only one is named"
    for name in ("expires_after_seconds", "remind_after_seconds", "remind_every_seconds"):
        seconds = getattr(question, name)
        if seconds is not None and seconds <= 0:
            yield f"{name} must be above 0"
    if question.remind_every_seconds is not None and question.remind_after_seconds is None:
        yield "remind_every_seconds needs remind_after_seconds"
    if question.on_expiry is not None and question.on_expiry not in ON_EXPIRY:
        yield f"on_expiry is one of {', '.join(ON_EXPIRY)}"
    secret = sorted(_sensitive(question.defaults))
    if secret:
        yield f"the defaults must hold no secret, such as {secret[0]}"
    if (question.on_expiry == "defaults") is not bool(question.defaults):
        yield "defaults and on_expiry='defaults' need each other"
    elif question.defaults and question.schema is not None and not _wrong_schema(question.schema):
        yield from (
            f"the defaults do not fit: {one.field} {one.message}"
            for one in misfits(question.defaults, question.schema, pointers=True)
        )


def _sensitive(value: Any) -> Iterator[str]:
    """The names in a JSON value, at any depth, that secrets have."""
    if isinstance(value, dict):
        yield from (name for name in value if name.lower() in SENSITIVE_KEYS)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _sensitive(inner)


def _wrong_schema(schema: Json | None) -> list[str]:
    if schema is None:
        return []
    if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
        return [f"the schema is larger than {MAX_SCHEMA_BYTES} bytes"]
    why = unusable(schema)
    if why is not None:
        return [f"the schema: {why}"]
    return [] if schema.get("type") == "object" else ["the schema must describe an object: type: object"]


def may_answer(question: Question | None, user_id: str) -> bool:
    """Whether this user may answer."""
    return question is None or not question.users or user_id in question.users
