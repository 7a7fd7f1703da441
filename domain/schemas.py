"""Whether a value fits a JSON Schema, and what is wrong with it by field: never quoting the value, which may be a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from jsonschema import SchemaError
from jsonschema.exceptions import ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from domain.errors import FieldError
from domain.words import SEALED, SPILLED

Json = dict[str, Any]

MAX_ERRORS = 50
MAX_SHOWN = 200
# these look at names and kinds alone, which sealing leaves as they are
OF_NAMES = frozenset({"required", "additionalProperties", "type"})


def misfits(value: Json, schema: Json, place: str) -> list[FieldError]:
    """What keeps `value` from fitting `schema`, by field, each named from `place` on; at most 50, none where it fits.

    What is sealed, or was moved to an artifact, is taken to fit. A schema that cannot be used is an error of `place`.
    References lead nowhere but into the schema itself.
    """
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        found = [error for error in kind(schema, registry=Registry()).iter_errors(value) if _is_seen(value, error)]
    except (SchemaError, Unresolvable):
        return [FieldError(place, "cannot be checked: its schema cannot be used; give the type a new version")]
    named = dict.fromkeys(one for error in found for one in _named(error, place))
    return sorted(named)[:MAX_ERRORS]


def _named(error: ValidationError, place: str) -> Iterator[FieldError]:
    field = ".".join([place, *map(str, error.absolute_path)])
    if error.validator == "required" and isinstance(error.instance, dict):
        wanted: Any = error.validator_value
        yield from (FieldError(f"{field}.{name}", "is required") for name in wanted if name not in error.instance)
    elif error.validator == "additionalProperties":
        yield FieldError(field, "has members that its schema does not know")
    else:
        shown = msgspec.json.encode(error.validator_value).decode()[:MAX_SHOWN]
        yield FieldError(field, f"does not fit {error.validator} {shown} of its schema")


def _is_seen(value: Any, error: ValidationError) -> bool:
    """Whether the error is about what stands there, and not about what stands for something else."""
    inner = value
    for step in error.absolute_path:
        if _stands_for_another(inner):
            return False
        inner = inner[step]
    if _stands_for_another(inner):
        return False
    return error.validator in OF_NAMES or not _holds_another(inner)


def _stands_for_another(value: Any) -> bool:
    return isinstance(value, dict) and (SEALED in value or SPILLED in value)


def _holds_another(value: Any) -> bool:
    """Whether something is sealed or moved aside at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return _stands_for_another(value) or any(_holds_another(each) for each in inner)
