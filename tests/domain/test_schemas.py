"""What is said of values that do not fit their schema."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import FieldError
from domain.schemas import MAX_ERRORS, misfits

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "password": {"type": "string"},
        "phones": {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+$"}},
    },
    "required": ["name", "password"],
}
SECRET = {"$sealed": {"alg": "AES-256-GCM", "key": "k", "nonce": "n", "data": "d"}}
MOVED = {"$artifact": "ab" * 32, "size_bytes": 100_000}


def test_what_fits_has_no_errors() -> None:
    assert misfits({"name": "Ada", "password": "x", "phones": ["123"]}, PERSON, "outputs") == []


def test_each_field_that_does_not_fit_is_named_and_its_value_is_not() -> None:
    found = misfits({"name": 17, "phones": ["123", "call me"]}, PERSON, "outputs")
    assert [error.field for error in found] == ["outputs.name", "outputs.password", "outputs.phones.1"]
    assert found[1] == FieldError("outputs.password", "is required")
    assert "string" in found[0].message
    assert not any("17" in error.message or "call me" in error.message for error in found)


def test_what_is_sealed_or_moved_away_is_taken_to_fit() -> None:
    assert misfits({"name": "Ada", "password": SECRET, "phones": MOVED}, PERSON, "outputs") == []


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_choice_that_cannot_be_seen_is_taken_to_fit(keyword: str) -> None:
    schema = {keyword: [PERSON], "required": ["id"]}
    hidden = misfits({"name": 17, "password": SECRET}, schema, "outputs")
    assert [error.field for error in hidden] == ["outputs.id"]
    seen = misfits({"name": 17, "password": "x", "phones": [[1]]}, schema, "outputs")
    assert [error.field for error in seen] == ["outputs", "outputs.id"]


def test_what_stands_inside_of_what_stands_for_another_is_nobodys_error() -> None:
    schema = {"properties": {"password": {"properties": {"$sealed": {"type": "string"}}}}}
    assert misfits({"password": SECRET}, schema, "outputs") == []


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"$ref": "https://example.com/schema.json"}])
def test_a_schema_that_cannot_be_used_says_so(schema: dict[str, Any]) -> None:
    [error] = misfits({"name": "Ada"}, schema, "outputs")
    assert error.field == "outputs"
    assert "cannot be used" in error.message


def test_there_are_only_so_many_errors() -> None:
    many = {"type": "array", "items": {"type": "string"}}
    assert len(misfits({"list": [1] * 200}, {"properties": {"list": many}}, "outputs")) == MAX_ERRORS
