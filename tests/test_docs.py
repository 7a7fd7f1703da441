"""The made documents say what the code does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mfo import docs


@pytest.fixture(scope="module")
def made() -> Mapping[str, str]:
    return docs.documents()


@pytest.mark.parametrize("name", ["settings.md", "openapi.json", "asyncapi.json", "error-codes.md"])
def test_a_made_document_is_not_stale(name: str, made: Mapping[str, str]) -> None:
    assert name not in docs.stale(made=made), f"docs/{name} is stale; run: make docs"


def test_the_same_code_gives_the_same_documents(made: Mapping[str, str]) -> None:
    assert docs.documents() == made


def test_errors_of_every_room_are_listed(made: Mapping[str, str]) -> None:
    for code in ("flow_not_found", "report_busy", "flow_not_parked", "key_mismatch", "row_unreadable"):
        assert made["error-codes.md"].count(f"| `{code}` |") == 1


def test_a_changed_document_is_named(tmp_path: Path, made: Mapping[str, str]) -> None:
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert docs.stale(tmp_path, made) == []
    (tmp_path / "settings.md").write_text("# Settings\n", encoding="utf-8")
    assert docs.stale(tmp_path) == ["settings.md"]
