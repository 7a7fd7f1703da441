"""The documents that are made from the code: the settings, the HTTP interface, the Kafka interface, the error codes.

`python -m mfo.docs` writes them, `--check` says which are stale.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from domain.errors import MfoError
from eventstore.config import ServiceConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
# rooms beside the domain whose errors a caller may meet
ROOMS = ("eventstore", "consumers", "projections", "api")


def documents() -> dict[str, str]:
    """Every made document by file name, as text; the same code gives the same text."""
    return {
        "settings.md": settings(),
        "openapi.json": openapi(),
        "asyncapi.json": asyncapi(),
        "error-codes.md": error_codes(),
    }


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


def error_codes() -> str:
    """Every error with its code and its HTTP status, those of the domain with the older system's code, as Markdown."""
    from domain.older_codes import FAILURES, TABLE, every_error, older

    lines = [
        "# Error codes",
        "",
        "`code` is stable and stands in every problem document (RFC 9457) and reply; the sentence says what to do.",
        "The last columns are the older system's code, category and severity for the same:",
        "[leave the old system](how-to/leave-the-old-system.md). Errors that one part of the service alone knows",
        "[stand below](#errors-of-single-parts).",
        "",
        "| code | HTTP | what it says | older code | category | severity |",
        "|---|---|---|---|---|---|",
    ]
    for kind in every_error():
        was = older(kind)
        lines.append(
            f"| `{kind.code}` | {kind.status} | {_said(kind)} | `{was.code}` | {was.category} | {was.severity} |"
        )
    lines += ["", "## Failures of phases", "", "| class | older code | category | severity |", "|---|---|---|---|"]
    lines += [f"| `{name}` | `{was.code}` | {was.category} | {was.severity} |" for name, was in FAILURES.items()]
    other = TABLE[MfoError]
    lines.append(f"| any other | `{other.code}` | {other.category} | {other.severity} |")
    lines += ["", "## Errors of single parts", "", "| code | HTTP | what it says |", "|---|---|---|"]
    parts = sorted(_errors_of_parts(), key=lambda kind: kind.code)
    lines += [f"| `{kind.code}` | {kind.status} | {_said(kind)} |" for kind in parts]
    return "\n".join(lines) + "\n"


def _said(kind: type[MfoError]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|")


def _errors_of_parts() -> set[type[MfoError]]:
    """The errors that are declared outside of the domain; all modules are loaded, so that it does not matter which were."""
    for room in ROOMS:
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
            # migrations are run by their tool alone, crews by the process of a crew
            if not module.name.startswith(("eventstore.migrations.", "consumers.crews.")):
                importlib.import_module(module.name)
    return {kind for kind in _kinds(MfoError) if kind.__module__.split(".")[0] in ROOMS}


def _kinds(of: type[MfoError]) -> Iterator[type[MfoError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)


def stale(folder: Path = DOCS, made: Mapping[str, str] | None = None) -> list[str]:
    """The names of the documents in `folder` that no longer say what the code does, which `made` are, if they are at hand."""
    return [name for name, text in (made or documents()).items() if not _same(folder / name, text)]


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
