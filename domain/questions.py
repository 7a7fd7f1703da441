"""What a question says beyond its fields: how an answer looks, who may give it, by when, and who is reminded of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from domain.errors import FieldError
from domain.words import SENSITIVE_KEYS

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Json = dict[str, Any]

ON_EXPIRY = ("fail", "defaults", "skip")
"""What may follow when nobody answered in time."""
MAX_REMINDERS = 100
MAX_SCHEMA_BYTES = 64 * 1024
MAX_USERS = 100
MAX_ERRORS = 50
# values that only their reader sees: sealed, or kept as an artifact
UNSEEN = ("$sealed", "$artifact")
SENTENCES = {
    "type": "must be of type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} members",
    "maxProperties": "must have at most {} members",
    "pattern": "must match the pattern {}",
    "format": "must be a {}",
    "uniqueItems": "must not repeat an item",
}


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
    elif question.schema is not None and not _wrong_schema(question.schema):
        yield from (f"the defaults do not fit: {one.field} {one.message}" for one in _misfits(question))


def _sensitive(value: Any) -> Iterator[str]:
    """The names in a JSON value, at any depth, that secrets have."""
    if isinstance(value, dict):
        yield from (name for name in value if name.lower() in SENSITIVE_KEYS)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _sensitive(inner)


def _misfits(question: Question) -> list[FieldError]:
    return wrong(question.schema or {}, question.defaults) if question.defaults else []


def _wrong_schema(schema: Json | None) -> list[str]:
    if schema is None:
        return []
    from jsonschema import Draft202012Validator, SchemaError

    try:
        if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
            return [f"the schema is larger than {MAX_SCHEMA_BYTES} bytes"]
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return [f"the schema is no JSON Schema: {error.message}"[:500]]
    if schema.get("type") != "object":
        return ["the schema must describe an object: type: object"]
    return []


def may_answer(question: Question | None, user_id: str) -> bool:
    """Whether this user may answer."""
    return question is None or not question.users or user_id in question.users


def wrong(schema: Json, values: Json) -> list[FieldError]:
    """What does not fit the schema: JSON pointers into the answer with what is expected there, values not quoted.

    Sealed values, and those that are kept as artifacts, are not looked into. Nothing is fetched for a `$ref`.
    """
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    checker = Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    found: dict[FieldError, None] = {}
    try:
        for error in sorted(checker.iter_errors(values), key=lambda one: list(map(str, one.absolute_path))):
            if not _unseen(values, error):
                found.update(dict.fromkeys(_told(error)))
    except Unresolvable as missing:
        return [FieldError("", f"cannot be checked: the schema refers to {missing.ref!r}, which it does not hold")]
    return list(found)[:MAX_ERRORS]


def hidden(values: Json) -> list[str]:
    """The names of the values that only their reader sees, as a whole or in part."""
    return [name for name, value in values.items() if any(_holds_unseen(value))]


def _holds_unseen(value: Any) -> Iterator[bool]:
    if isinstance(value, dict):
        yield any(mark in value for mark in UNSEEN)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _holds_unseen(inner)


def _unseen(values: Json, error: ValidationError) -> bool:
    """Whether the error is about a value that cannot be seen here."""
    node: Any = values
    for part in error.absolute_path:
        node = node[part]
        if isinstance(node, dict) and any(mark in node for mark in UNSEEN):
            return True
    return False


def _told(error: ValidationError) -> Iterator[FieldError]:
    instance: Any = error.instance
    schema: Any = error.schema
    place = "".join(f"/{_escaped(str(part))}" for part in error.absolute_path)
    expected: Any = error.validator_value
    match error.validator:
        case "required":
            missing = [name for name in expected if name not in instance]
            yield from (FieldError(f"{place}/{_escaped(name)}", "is required") for name in missing)
        case "additionalProperties" if expected is False:
            known = set(schema.get("properties", {}))
            strange = [name for name in instance if name not in known]
            yield from (FieldError(f"{place}/{_escaped(name)}", "was not asked for") for name in strange)
        case known if known in SENTENCES:
            shown = expected if isinstance(expected, str) else msgspec.json.encode(expected).decode()
            yield FieldError(place, SENTENCES[known].format(shown)[:500])
        case other:
            yield FieldError(place, f"does not fit {other!r} of the schema")


def _escaped(part: str) -> str:
    """A part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")[:200]
