"""The house keeps its shape."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.phases import PhaseWork
from domain import errors as tree
from domain.errors import MfoError
from domain.types import FLOW_TYPES

ROOT = Path(__file__).parents[1]
ROOMS = ("domain", "estate", "eventstore", "consumers", "projections", "api", "mfo")
# what each room may import of ours
MAY_IMPORT = {
    "domain": {"domain"},
    "estate": {"estate"},
    "eventstore": {"domain", "eventstore"},
    "consumers": {"domain", "eventstore", "estate", "consumers"},
    "projections": {"domain", "eventstore", "projections"},
    "api": {"domain", "eventstore", "api"},
    "mfo": set(ROOMS),
}
DOMAIN_LIBRARIES = {"pydantic", "msgspec", "cronsim", "jsonschema", "referencing"}
TEXT = {".py", ".sql", ".md", ".toml", ".yaml", ".yml", ".json", ".lock", ".txt", ".cfg", ".sh", ".mako"}


def sources(room: str) -> Iterator[Path]:
    return (path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def imports(path: Path) -> Iterator[str]:
    """The first part of every module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def committed() -> Iterator[Path]:
    """The project's own text files."""
    skipped = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build"}
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        ours = not skipped & set(inside) and not any(part.endswith(".egg-info") for part in inside)
        named = path.suffix in TEXT or path.name in {"Makefile", "Dockerfile", "run", ".gitignore"}
        if ours and named and path.is_file():
            yield path


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    strangers = {
        (str(path.relative_to(ROOT)), name)
        for path in sources(room)
        for name in imports(path)
        if name in ROOMS and name not in MAY_IMPORT[room]
    }
    assert not strangers


def test_the_domain_knows_only_itself_and_the_libraries_of_its_data() -> None:
    known = set(sys.stdlib_module_names) | DOMAIN_LIBRARIES | {"domain"}
    assert not {(path.name, name) for path in sources("domain") for name in imports(path) if name not in known}


def test_the_domain_has_no_clock_no_dice_and_no_files() -> None:
    forbidden = {"now", "utcnow", "today", "time", "uuid1", "uuid4", "random", "open", "urandom", "sleep"}
    calls = {
        (path.name, node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
        for path in sources("domain")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }
    assert not {call for call in calls if call[1] in forbidden}


def test_every_statement_takes_the_time_from_the_one_clock() -> None:
    clocks = re.compile(
        r"\b(now\(\)|current_timestamp|clock_timestamp\(\)|statement_timestamp\(\)|localtimestamp)", re.IGNORECASE
    )
    found: dict[str, list[str]] = {}
    for room in ("eventstore", "consumers", "projections", "api", "mfo"):
        for path in (*sources(room), *(ROOT / room).rglob("*.sql")):
            for line in path.read_text().splitlines():
                named = line.replace("mfo_now()", "").replace(".now()", "").replace("def now()", "")
                if clocks.search(named) and "create function mfo_now" not in named and "self.now()" not in line:
                    found.setdefault(str(path.relative_to(ROOT)), []).append(line.strip())
    allowed = {"eventstore/sql/write_side.sql": ["$$ select clock_timestamp() + (select shift from clock) $$;"]}
    assert found == allowed


def test_no_table_is_written_with_a_schema() -> None:
    tables = set()
    for path in (ROOT / "eventstore" / "sql").glob("*.sql"):
        tables |= set(re.findall(r"create (?:table|view) (?:if not exists )?(\w+)", path.read_text()))
    assert "stored_events" in tables
    qualified = re.compile(
        r"\b(?:from|join|into|update|table)\s+\w+\.(" + "|".join(sorted(tables)) + r")\b", re.IGNORECASE
    )
    for room in ROOMS:
        for path in (*sources(room), *(ROOT / room).rglob("*.sql")):
            lines = (line for line in path.read_text().splitlines() if " import " not in line)
            assert not [line for line in lines if qualified.search(line)], path


def test_every_handler_and_validator_of_a_flow_type_exists() -> None:
    work = PhaseWork()
    for config in FLOW_TYPES:
        for phase in config.phases:
            assert work.offers(phase, config.work_of(phase))
            assert set(phase.validators) <= set(work.validators)


def test_every_error_has_a_code_of_its_own_a_status_and_a_sentence() -> None:
    def descendants(error: type[MfoError]) -> Iterator[type[MfoError]]:
        yield error
        for child in error.__subclasses__():
            yield from descendants(child)

    errors = [error for error in descendants(MfoError) if error.__module__ == tree.__name__]
    codes = [error.code for error in errors]
    assert len(codes) == len(set(codes))
    assert all(400 <= error.status < 600 and (error.__doc__ or "").endswith(".") for error in errors)
    assert set(re.findall(r"\b[A-Z]\w+", tree.__doc__ or "")) >= {error.__name__ for error in errors}


def codes(path: Path) -> Iterator[tuple[str, str]]:
    """The code and the name of every error that a file defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef):
            continue
        for line in node.body:
            if isinstance(line, ast.AnnAssign | ast.Assign) and isinstance(line.value, ast.Constant):
                names = [line.target] if isinstance(line, ast.AnnAssign) else line.targets
                if any(isinstance(name, ast.Name) and name.id == "code" for name in names):
                    yield str(line.value.value), f"{path.relative_to(ROOT)}: {node.name}"


def test_every_code_stands_for_one_error() -> None:
    owners: dict[str, list[str]] = {}
    for room in ROOMS:
        for path in sources(room):
            for code, owner in codes(path):
                owners.setdefault(code, []).append(owner)
    assert "flow_not_found" in owners
    assert not {code: named for code, named in owners.items() if len(named) > 1}


def test_the_project_names_no_package_registry() -> None:
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "registry" + ".npmjs",
        "crates" + ".io/api",
        "repo" + ".maven",
        "repo1" + ".maven",
    ]
    for path in committed():
        text = path.read_text(errors="replace")
        for host in hosts:
            assert host not in text, f"{path} names {host}"


def test_the_project_speaks_of_itself_alone() -> None:
    outside = [".." + "/shared", "/work" + "/shared", "farm" + "-studio", "farm" + "-bench"]
    for path in committed():
        if path.relative_to(ROOT).parts[0] == "tests":
            continue
        text = path.read_text(errors="replace")
        assert not [word for word in outside if word in text], path


def test_locks_hold_names_versions_and_hashes_only() -> None:
    for path in ROOT.glob("requirements*.lock"):
        for line in path.read_text().splitlines():
            bare = line.strip()
            assert (
                not bare
                or bare.startswith("#")
                or re.match(r"^[a-z0-9][\w.\-\[\]]*==\S+( \\)?$|^--hash=sha256:[0-9a-f]{64}( \\)?$", bare)
            ), line
