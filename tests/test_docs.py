"""The made documents say what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mfo import docs
from mfo.cli import _offered

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```.*?```", re.DOTALL)
SAID = re.compile(r"(?:^|[;&|(`])[ ]*(?:\.venv/bin/)?mfo ([a-z][^|;&`)\n]*)", re.MULTILINE)
COMMENT = re.compile(r"(?:^|\s)#+ .*$", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


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


@pytest.fixture(scope="module")
def offered() -> Any:
    """The whole command line."""
    return get_command(_offered(""))


def said(page: Path) -> Iterator[str]:
    """What a page has its reader type, without comments: `flow pause $FLOW`."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for match in SAID.finditer(COMMENT.sub("", text)):
        yield match[1].partition(" > ")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_is_there_with_its_options(page: Path, offered: Any) -> None:
    for line in said(page):
        command, words = offered, line.split()
        while words and (verbs := getattr(command, "commands", None)) and words[0][0] not in "-[$.":
            assert words[0] in verbs, line
            command = verbs[words.pop(0)]
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
        assert set(OPTION.findall(" ".join(words))) <= known, line


def anchors(text: str) -> set[str]:
    """What may be linked to in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for name, anchor in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        aim = (page.parent / name).resolve() if name else page
        assert aim.exists(), name
        if anchor and aim.suffix == ".md":
            assert anchor in anchors(aim.read_text(encoding="utf-8")), f"{name}#{anchor}"
