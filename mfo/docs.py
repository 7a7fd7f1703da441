"""The documents that are made from the code: the settings, the HTTP interface, the Kafka interface.

`python -m mfo.docs` writes them, `--check` says which are stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from eventstore.service import ServiceConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"


def documents() -> dict[str, str]:
    """Every made document by file name, as text; the same code gives the same text."""
    return {"settings.md": settings(), "openapi.json": openapi(), "asyncapi.json": asyncapi()}


def openapi() -> str:
    """The HTTP interface as OpenAPI 3.1."""
    from api.app import create_app

    # nothing is opened before the application starts, so the addresses may lead nowhere
    config = ServiceConfig(
        database_url="postgresql://localhost/mfo", kafka_bootstrap="localhost:9092", master_key=bytes(32)
    )
    return _json(create_app(config).openapi())


def asyncapi() -> str:
    """The Kafka interface as AsyncAPI."""
    from consumers.asyncapi import document

    return _json(document())


def settings() -> str:
    """Every setting with its default and meaning, as Markdown."""
    from mfo.settings import as_markdown

    return as_markdown()


def stale(folder: Path = DOCS) -> list[str]:
    """The names of the documents in `folder` that no longer say what the code does."""
    return [name for name, text in documents().items() if not _same(folder / name, text)]


def _same(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the documents, or with `--check` leave with 1 and name the stale ones."""
    parser = argparse.ArgumentParser(prog="python -m mfo.docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; name what is stale")
    given = parser.parse_args()
    if given.check:
        old = stale()
        for name in old:
            print(f"docs/{name} is stale; run: make docs", file=sys.stderr)
        sys.exit(1 if old else 0)
    DOCS.mkdir(exist_ok=True)
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
