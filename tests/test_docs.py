"""The made documents say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfo import docs


@pytest.mark.parametrize("name", ["settings.md", "openapi.json", "asyncapi.json", "error-codes.md"])
def test_a_made_document_is_not_stale(name: str) -> None:
    assert name not in docs.stale(), f"docs/{name} is stale; run: make docs"


def test_the_same_code_gives_the_same_documents() -> None:
    assert docs.documents() == docs.documents()


def test_a_changed_document_is_named(tmp_path: Path) -> None:
    for name, text in docs.documents().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert docs.stale(tmp_path) == []
    (tmp_path / "settings.md").write_text("# Settings\n", encoding="utf-8")
    assert docs.stale(tmp_path) == ["settings.md"]
