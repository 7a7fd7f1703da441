"""Flow types, as somebody types it: shown, checked before they are released, and flows moved between their versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.flow_types import FlowTypes
from domain.types import FLOW_TYPES
from domain.types.discovery import DISCOVERY
from eventstore.database import pool
from eventstore.definitions import remember
from mfo.cli import run
from mfo.commands.flows import _code
from mfo.embedded.processes import wait_until
from tests.cli.support import Said

Json = dict[str, Any]
Typed = Callable[..., Said]

NEXT = msgspec.structs.replace(DISCOVERY, version="9.0.0")
MODULE = """
from msgspec.structs import replace
from domain.types.discovery import DISCOVERY

async def brood(context):
    return {}

first, *others = DISCOVERY.phases
FLOW_TYPES = (
    replace(DISCOVERY, version="8.0.0", phases=(replace(first, handlers=("brood",)), *others)),
    replace(DISCOVERY, name="other", phase_aliases={}),
)
HANDLERS = {"brood": brood}
"""


async def bring(database_url: str) -> None:
    """What a service of the next release does when it starts."""
    types = FlowTypes()
    for config in (*FLOW_TYPES, NEXT):
        checked = [name for phase in config.phases for name in phase.validators]
        types.register(config, handlers=config.handlers, validators=checked)
    connections = pool(database_url)
    await connections.open(wait=True, timeout=30)
    try:
        await remember(connections, types)
    finally:
        await connections.close()


@pytest.fixture
def mfo(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A command in this process, since starting one takes longer than what it does."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def typed(*words: str) -> Said:
        capsys.readouterr()
        code = run(words)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return typed


def asking(mfo: Typed, name: str) -> str:
    """A flow that waits for its file."""
    made = mfo("flow", "create", "discovery", "--name", name, "--tag", name, "--json")
    assert made.code == 0, made.err
    flow_id: str = made.document["flow_id"]
    return flow_id


def shown_at(mfo: Typed, flow_id: str, version: str) -> Json:
    """The flow, once the read model shows it at a version of its type."""
    shown: list[Json] = []

    def moved() -> bool:
        shown.append(mfo("flow", "show", flow_id, "--json").document)
        return bool(shown[-1]["flow_version"] == version)

    assert wait_until(moved, 60, every=0.1)
    return shown[-1]


def test_types_are_listed_and_shown_by_version(mfo: Typed) -> None:
    for words in (["flow-types"], ["flow-types", "list"]):
        listed = mfo(*words)
        assert listed.code == 0, listed.err
        assert f"{DISCOVERY.version}" in listed.out
    shown = mfo("flow-types", "show", "discovery", "--version", DISCOVERY.version, "--json")
    assert shown.document["version"] == DISCOVERY.version
    text = mfo("flow-types", "show", "discovery").out
    for word in ("field_mapping", "compare_with", "rollback", "max_iterations 5", "tech_debt: tech_debt_assessment"):
        assert word in text
    unknown = mfo("flow-types", "show", "discovery", "--version", "0", "--json")
    assert (unknown.code, unknown.document["error"]["code"]) == (1, "flow_type_not_found")


def test_a_file_is_checked_before_it_is_released(mfo: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow_id = asking(mfo, "checked")
    written = tmp_path / "next.json"
    definition: Json = msgspec.to_builtins(NEXT)
    written.write_text(json.dumps(definition))
    fine = mfo("flow-types", "check", str(written), "--flow", flow_id, "--json")
    assert fine.code == 0, fine.err
    assert (fine.document["checked"], fine.document["safe"]) == (1, 1)
    definition["phases"][0]["required_inputs"] = ["import_file_id", "season"]
    definition["phases"][0]["handlers"] = ["brood"]
    written.write_text(json.dumps([definition]))
    wrong = mfo("flow-types", "check", str(written), "--flow", flow_id)
    assert wrong.code == 1
    assert "1 would break" in wrong.out
    assert "data_import requires season" in wrong.out
    # what the file brings itself will be there; the other type in it has no flows
    (tmp_path / "next.py").write_text(MODULE)
    both = mfo("flow-types", "check", str(tmp_path / "next.py"), "--flow", flow_id, "--json")
    assert both.code == 0, both.err
    assert [one["checked"] for one in both.document["checks"]] == [1, 0]
    without = msgspec.to_builtins(NEXT) | {"version": "8.0.0"}
    without["phases"][0]["handlers"] = ["brood"]
    written.write_text(json.dumps(without))
    waits = mfo("flow-types", "check", str(written), "--flow", flow_id, "--json")
    assert (waits.code, waits.document["waits"]) == (1, 1)
    assert "known to have brood" in waits.document["flows"][0]["obstacles"][0]["message"]
    monkeypatch.delenv("MFO_OPERATOR_TOKEN")
    everybody = mfo("flow-types", "check", str(written), "--all-tenants", "--json")
    assert (everybody.code, everybody.document["error"]["code"]) == (1, "operator_only")


def test_flows_are_moved_and_back_again(mfo: Typed, environment: dict[str, str]) -> None:
    asyncio.run(bring(environment["MFO_DATABASE_URL"]))
    flow_ids = [asking(mfo, "moving") for _ in range(2)]
    flows = ["flow-types", "migrate", "discovery", "--to", "9.0.0", "--filter", "tag=moving"]
    dry = mfo(*flows, "--dry-run")
    assert dry.code == 0, dry.err + dry.out
    assert "2 safe" in dry.out
    assert flow_ids[0] in dry.out
    moved = mfo(*flows, "--reason", "released", "--json")
    assert moved.code == 0, moved.err
    assert (set(moved.document["moved"]), moved.document["left"]) == (set(flow_ids), [])
    # again: they are there
    assert mfo(*flows, "--json").document["moved"] == []
    shown = shown_at(mfo, flow_ids[0], "9.0.0")
    assert [one["reason"] for one in shown["flow_metadata"]["migrations"]] == ["released"]
    back = ["flow-types", "migrate", "discovery", "--to", DISCOVERY.version, "--back", "--flow", flow_ids[0]]
    assert mfo(*back, "--dry-run", "--json").document["safe"] == 1
    assert mfo(*back, "--json").document["moved"] == [flow_ids[0]]
    shown_at(mfo, flow_ids[0], DISCOVERY.version)


def test_a_flow_shows_whose_code_ran() -> None:
    ran = {"name": "fetch", "handler_versions": {"file_exists": "4acc30b8fd93", "work": "2"}}
    shown = _code({"phases": [ran, {"name": "clean", "handler_versions": {}}, {"name": "made before versions were"}]})
    assert [line.split() for line in shown.splitlines()] == [
        ["PHASE", "CODE", "VERSION"],
        ["fetch", "file_exists", "4acc30b8fd93"],
        ["fetch", "work", "2"],
    ]
    assert _code({"phases": []}) == ""


@pytest.mark.parametrize(
    "words",
    [
        ["check", "no-such-file.json"],
        ["check", "no_such_module"],
        ["check", "json"],
        ["migrate", "discovery"],
        ["migrate", "discovery", "--to", "2", "--map", "first"],
        ["migrate", "discovery", "--to", "2", "--map", "a=b", "--back"],
        ["migrate", "discovery", "--to", "2", "--filter", "colour=red"],
        ["migrate", "discovery", "--to", "2", "--patience", "soon"],
        ["migrate", "discovery", "--to", "2", "--running", "kill"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["flow-types", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
