"""Whether a value fits a JSON Schema, and what is wrong with it by field: never quoting the value, which may be a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from domain.errors import FieldError
from domain.words import SEALED, SPILLED

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Json = dict[str, Any]

MAX_ERRORS = 50
MAX_SHOWN = 200
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
}
# these look at names and kinds alone, which sealing leaves as they are
OF_NAMES = frozenset({"required", "additionalProperties", "type"})


def misfits(value: Json, schema: Json, place: str = "", *, pointers: bool = False) -> list[FieldError]:
    """What keeps `value` from fitting `schema`, by field, each named from `place` on; at most 50, none where it fits.

    Names have dots (`outputs.rows.1`) or, with `pointers`, are JSON pointers (`/rows/1`, RFC 6901).

    What is sealed, or was moved to an artifact, is taken to fit. A schema that cannot be used is an error of `place`.
    References lead nowhere but into the schema itself.
    """
    # loaded where it is needed: most processes never check anything
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
        checker = kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)
        found = [error for error in checker.iter_errors(value) if _is_seen(value, error)]
    except (SchemaError, Unresolvable):
        return [FieldError(place, "cannot be checked: its schema cannot be used; give the type a new version")]
    name = _pointer if pointers else _dotted
    named = dict.fromkeys(one for error in found for one in _named(error, lambda *parts: name(place, parts)))
    return sorted(named)[:MAX_ERRORS]


def unusable(schema: Json) -> str | None:
    """Why nothing can be checked against a schema; none where it is one."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"it is no JSON Schema: {error.message}"[:MAX_SHOWN]
    return None


def hidden(values: Json) -> list[str]:
    """The names of the values that are sealed or moved aside, as a whole or in part."""
    return [name for name, value in values.items() if _holds_another(value)]


def _dotted(place: str, parts: Iterable[str | int]) -> str:
    return ".".join([place, *map(str, parts)])


def _pointer(place: str, parts: Iterable[str | int]) -> str:
    return place + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')[:MAX_SHOWN]}" for part in parts)


def _named(error: ValidationError, name: Callable[..., str]) -> Iterator[FieldError]:
    path = tuple(error.absolute_path)
    expected: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "required":
            yield from (FieldError(name(*path, one), "is required") for one in expected if one not in instance)
        case "additionalProperties":
            known = schema.get("properties", {})
            yield from (
                FieldError(name(*path, one), "is not known to the schema") for one in instance if one not in known
            )
        case told:
            shown = expected if isinstance(expected, str) else msgspec.json.encode(expected).decode()
            sentence = SENTENCES.get(str(told), f"does not fit {told} {{}} of the schema")
            yield FieldError(name(*path), sentence.format(shown[:MAX_SHOWN]))


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
