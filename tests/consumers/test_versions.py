"""Which code a run was: every handler has a version, and history says it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from consumers.context import Outputs, PhaseContext
from consumers.phases import PhaseWork, runs, versioned
from consumers.versions import LENGTH, version_of
from domain.errors import RegistrationError
from domain.events import PhaseCompleted, PhaseFailed
from domain.view import row
from tests.consumers.yard import open_yard
from tests.eventstore.house import House

ROOT = Path(__file__).parents[2]


@runs("shared")
@versioned("2026-11")
async def declared(_: PhaseContext) -> Outputs:
    return {}


async def plain(_: PhaseContext) -> Outputs:
    return {}


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(content)
    return made


def test_a_version_is_the_declared_one_or_follows_from_the_sources() -> None:
    work = PhaseWork([module("ours", HANDLERS={"declared": declared, "plain": plain})])
    assert work.handler_version("declared") == "2026-11"
    assert len(work.handler_version("plain")) == LENGTH
    assert set(work.versions) == {*work.handlers, *work.validators}
    assert work.handler_versions(["declared", "elsewhere"]) == {"declared": "2026-11"}
    with pytest.raises(KeyError):
        work.handler_version("elsewhere")


def test_a_wrapped_handler_is_the_code_inside() -> None:
    @wraps(plain)
    async def wrapped(context: PhaseContext) -> Outputs:
        return await plain(context)

    assert version_of("plain", wrapped) == version_of("plain", partial(plain)) == version_of("plain", plain)


def test_another_process_finds_the_same_versions() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from consumers.phases import PhaseWork; print(PhaseWork().versions)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(PhaseWork().versions)


def test_other_sources_are_another_version_and_line_ends_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for n, (handler, helper) in enumerate(
        [("return {}\n", "X = 1\n"), ("return {}\r\n", "X = 1\r\n"), ("return {}\n", "X = 2\n"), ("pass\n", "X = 1\n")]
    ):
        for package, text in ((f"shift{n}", f"def work(_):\n    {handler}"), (f"helpers{n}", helper)):
            folder = tmp_path / package
            folder.mkdir()
            (folder / "__init__.py").write_bytes(text.encode())
        work = import_module(f"shift{n}").work
        found.append(version_of("work", work, (f"helpers{n}",)))
    assert found[0] == found[1]
    assert len(set(found)) == 3
    with pytest.raises(RegistrationError, match=r"'work' has no version: .* declare one by @versioned"):
        version_of("work", plain, ("no_such_package",))


def test_code_without_sources_must_declare_its_version() -> None:
    handlers: dict[str, Any] = {}
    exec("def work(_): return {}", {"__name__": "nowhere"}, handlers)
    with pytest.raises(RegistrationError, match="declare one by @versioned"):
        PhaseWork([module("nowhere", HANDLERS=handlers)])
    handlers["work"] = versioned("1")(handlers["work"])
    assert PhaseWork([module("nowhere", HANDLERS=handlers)]).handler_version("work") == "1"
    with pytest.raises(ValueError, match="1 to 100"):
        versioned("")


async def told(house: House, flow_id: UUID) -> list[dict[str, str]]:
    facts = [recorded.fact for _, recorded in await house.side.store.history(flow_id)]
    return [fact.handler_versions for fact in facts if isinstance(fact, PhaseCompleted | PhaseFailed)]


async def test_a_run_says_which_code_ran_also_when_it_failed(database_url: str, tmp_path: Path) -> None:
    async with open_yard(database_url, tmp_path) as yard:
        expected = PhaseWork([import_module("tests.consumers.told")]).handler_version("where")
        flow = await yard.finish("where")
        assert await told(yard.house, flow.id) == [{"where": expected}]
        assert row(flow, yard.house.side.types)["phases"][0]["handler_versions"] == {"where": expected}
        # with its validator
        refused = await yard.finish("plain", "waiting_for_input")
        assert await told(yard.house, refused.id) == [{"number_given": expected, "plain": expected}]
        # nobody is left to say it, but the service knows
        yard.open_gate()
        lost = await yard.finish("exits", "failed")
        assert {"exits": expected} in await told(yard.house, lost.id)
