"""The life of a flow, as somebody types it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mfo.cli import run
from mfo.client import Client
from tests.cli.support import mfo, said_at_last
from tests.waiting import until

Environment = dict[str, str]

INVENTORY = """Server Name,IP Address,Operating System,vCPU,Memory (MB),Environment
web01,10.0.0.1,Windows Server 2012 R2,2,4096,Production
web02,10.0.0.2,Windows Server 2019,4,8192,Production
db01,10.0.0.3,Red Hat Enterprise Linux 7.9,8,32768,Production
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "servers.csv"
    file.write_text(INVENTORY)
    return file


def test_a_discovery_runs_to_its_end_and_says_so(inventory: Path, environment: Environment) -> None:
    words = (
        "flow",
        "create",
        "discovery",
        "--file",
        str(inventory),
        "--input",
        "auto_approve_mappings=true",
        "--auto",
        "--wait",
    )
    made = mfo(*words, "--name", "From the shell", "--json", environment=environment)
    assert made.code == 0, made.err
    status = made.document
    assert (status["status"], status["progress"]["percentage"]) == ("completed", 100)
    assert "data_import: completed" in made.err
    flow_id = status["flow_id"]

    listed = mfo("flow", "list", "--search", "From the shell", "--json", environment=environment).document["flows"]
    assert [flow["flow_id"] for flow in listed] == [flow_id]
    events = mfo("flow", "history", flow_id, "--json", environment=environment).document["events"]
    assert [event["version"] for event in events] == list(range(1, status["version"] + 1))
    assert events[-1]["type"] == "mfo.flow.FlowCompleted.v1"
    watched = mfo("flow", "watch", flow_id, "--json", environment=environment)
    assert (watched.code, watched.document["status"]) == (0, "completed")
    shown = mfo("flow", "show", flow_id, environment=environment)
    assert "tech_debt_assessment" in shown.out

    refused = mfo("flow", "pause", flow_id, "--json", environment=environment)
    assert refused.code == 1
    assert refused.document["error"]["code"] == "flow_is_over"
    assert "flow_is_over" in refused.err
    assert (
        mfo("flow", "delete", flow_id, "--reason", "a test", "--json", environment=environment).document["status"]
        == "deleted"
    )


def test_how_phases_run_is_said_by_options(environment: Environment) -> None:
    words = ("--option", "max_retries=0", "--option", "timeout_seconds=7")
    flow_id = mfo("flow", "create", "discovery", *words, "--json", environment=environment).document["flow_id"]
    events = mfo("flow", "history", flow_id, "--json", environment=environment).document["events"]
    options = events[0]["data"]["options"]
    assert (options["max_retries"], options["timeout_seconds"]) == (0, 7)

    refused = mfo("flow", "execute", flow_id, "--option", "max_tries=1", "--json", environment=environment)
    assert refused.code == 1
    assert [error["field"] for error in refused.document["error"]["errors"]] == ["options.max_tries"]


def test_a_second_round_tells_what_has_changed_since_the_first(
    inventory: Path, tmp_path: Path, environment: Environment
) -> None:
    words = ("--file", str(inventory), "--input", "auto_approve_mappings=true", "--auto", "--wait", "--json")
    flow_id = mfo("flow", "create", "discovery", *words, environment=environment).document["flow_id"]
    newer = tmp_path / "newer.csv"
    newer.write_text(INVENTORY.replace("web02", "web03"))
    upload = mfo("import", str(newer), "--json", environment=environment).document["import_file_id"]

    again = ("flow", "iterate", flow_id, "--input", f"import_file_id={upload}", "--reason", "newer", "--wait", "--json")
    status = mfo(*again, environment=environment).document
    assert (status["status"], status["iteration_number"]) == ("completed", 2)
    changed = status["phases"][3]["outputs"]["changed"]
    assert (changed["against_round"], changed["new"], changed["gone"], changed["unchanged"]) == (1, 1, 1, 2)

    listed = mfo("flow", "iterations", flow_id, "--json", environment=environment).document
    assert [(one["number"], one["status"], one["reason"]) for one in listed["iterations"]] == [
        (1, "completed", None),
        (2, "completed", "newer"),
    ]
    former = mfo("flow", "iterations", flow_id, "1", "--json", environment=environment).document
    assert "changed" not in former["outputs"]["asset_inventory"]
    assert "asset_inventory" in mfo("flow", "iterations", flow_id, "1", environment=environment).out
    assert mfo("flow", "iterations", flow_id, "7", environment=environment).code == 1
    assert "round          2" in mfo("flow", "status", flow_id, environment=environment).out


def test_a_flow_that_asks_for_something_ends_the_wait_with_1(inventory: Path, environment: Environment) -> None:
    asked = mfo(
        "flow", "create", "discovery", "--file", str(inventory), "--auto", "--wait", "--json", environment=environment
    )
    assert asked.code == 1
    status = asked.document
    assert status["status"] == "waiting_for_input"
    assert "approve field_mapping" in asked.err
    answered = mfo(
        "flow", "input", status["flow_id"], "--input", "approval=true", "--wait", "--json", environment=environment
    )
    assert (answered.code, answered.document["status"]) == (0, "completed"), answered.err


def test_phases_are_run_one_by_one(inventory: Path, environment: Environment) -> None:
    made = mfo("import", str(inventory), environment=environment)
    import_id = made.out.strip()
    again = mfo("import", str(inventory), "--json", environment=environment).document
    assert again["import_file_id"] == import_id
    assert import_id in mfo("imports", environment=environment).out
    flow = mfo(
        "flow", "create", "discovery", "--input", f"import_file_id={import_id}", "--json", environment=environment
    ).document
    assert flow["next_action"]["type"] == "execute_phase"
    ran = mfo("flow", "execute", flow["flow_id"], "--wait", "--json", environment=environment)
    assert ran.code == 0, ran.err
    assert ran.document["progress"]["phases_completed"] == ["data_import"]
    out_of_order = mfo("flow", "execute", flow["flow_id"], "tech_debt_assessment", "--json", environment=environment)
    assert (out_of_order.code, out_of_order.document["error"]["code"]) == (1, "phase_out_of_order")
    assert mfo("flow", "cancel", flow["flow_id"], "--json", environment=environment).document["status"] == "cancelled"
    over = mfo("flow", "watch", flow["flow_id"], "--json", environment=environment)
    assert (over.code, over.document["status"]) == (1, "cancelled")


def test_a_flow_that_begins_later_is_waited_for(inventory: Path, environment: Environment) -> None:
    waiting = mfo(
        *("flow", "create", "discovery", "--start-after", "1d", "--flow-timeout", "2h", "--json"),
        environment=environment,
    ).document
    assert (waiting["status"], waiting["next_action"]["type"]) == ("initialized", "wait")
    told = mfo("flow", "status", waiting["flow_id"], environment=environment)
    assert f"start at {waiting['next_action']['until']}"[:28] in told.out
    mfo("flow", "pause", waiting["flow_id"], environment=environment)
    said_at_last("flow", "status", waiting["flow_id"], environment=environment, text="start with 14")

    begun = mfo(
        *("flow", "create", "discovery", "--file", str(inventory), "--start-at", "2026-01-01T00:00:00Z", "--wait"),
        *("--input-timeout", "1h", "--json"),
        environment=environment,
    )
    assert begun.document["progress"]["phases_completed"] == ["data_import"], begun.err
    soon = mfo(
        *("flow", "create", "discovery", "--input", "import_file_id=none", "--start-after", "0.3s", "--wait", "--json"),
        environment=environment,
    )
    assert soon.document["phases"][0]["attempt"] >= 1, soon.err


def test_a_flow_is_steered(environment: Environment, tmp_path: Path) -> None:
    made = mfo("flow", "create", "discovery", "--input", "import_file_id=none", "--json", environment=environment)
    flow_id = made.document["flow_id"]
    instead = tmp_path / "outputs.json"
    instead.write_text('{"rows": 3}')
    skipped = mfo(
        "flow", "skip", flow_id, "--outputs", f"@{instead}", "--reason", "known", "--json", environment=environment
    )
    assert (skipped.code, skipped.document["error"]["code"]) == (1, "phase_not_skippable")
    no_object = mfo("flow", "skip", flow_id, "--outputs", "[1]", environment=environment)
    assert (no_object.code, "--outputs must hold a JSON object" in no_object.err) == (2, True)
    nothing = mfo("flow", "retry", flow_id, "--json", environment=environment)
    assert (nothing.code, nothing.document["error"]["code"]) == (1, "nothing_to_retry")


def test_a_pause_says_what_timers_do_and_that_nothing_is_in_hand(environment: Environment) -> None:
    waiting = mfo("flow", "create", "discovery", "--start-after", "1d", "--json", environment=environment).document
    paused = mfo(
        *("flow", "pause", waiting["flow_id"], "--timers", "running", "--reason", "lunch", "--json"),
        environment=environment,
    )
    assert (paused.document["status"], paused.document["draining_runs"]) == ("paused", 0)
    told = said_at_last("flow", "status", waiting["flow_id"], environment=environment, text="(lunch); drained")
    assert "timers go on" in told
    assert f"start at {waiting['next_action']['until']}"[:28] in told
    wrong = mfo("flow", "pause", waiting["flow_id"], "--timers", "melted", "--json", environment=environment)
    assert (wrong.code, wrong.document["error"]["code"]) == (1, "body_invalid")


@pytest.mark.parametrize("time", ["soon", "1w", "-5"])
def test_a_time_that_is_none_is_a_wrong_usage(time: str, environment: Environment) -> None:
    said = mfo("flow", "create", "discovery", f"--start-after={time}", environment=environment)
    assert (said.code, time in said.err) == (2, True)


def test_a_flow_and_its_phases_are_given_a_priority(environment: Environment) -> None:
    words = ("--input", "import_file_id=none", "--priority", "2", "--json")
    flow = mfo("flow", "create", "discovery", *words, environment=environment).document
    mfo("flow", "execute", flow["flow_id"], "--priority", "1", "--json", environment=environment)
    events = mfo("flow", "history", flow["flow_id"], "--json", environment=environment).document["events"]
    assert [event["data"]["options"]["priority"] for event in events[:2]] == [2, 1]


def test_all_work_of_a_flow_or_a_phase_is_done_anew_when_said_so(environment: Environment) -> None:
    words = ("flow", "create", "discovery", "--input", "import_file_id=none", "--json")
    for create, execute in ((["--no-reuse"], []), ([], ["--no-reuse"])):
        flow_id = mfo(*words, *create, environment=environment).document["flow_id"]
        mfo("flow", "execute", flow_id, *execute, "--json", environment=environment)
        events = mfo("flow", "history", flow_id, "--json", environment=environment).document["events"]
        assert events[1]["data"]["options"]["reuse_results"] is False


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("flow", "create", "discovery", "--start-at", "2026-01-01T00:00:00"), "body_invalid"),
        (("flow", "status", "00000000-0000-4000-8000-000000000000"), "flow_not_found"),
        (("flow", "create", "no-such-type"), "flow_type_unknown"),
        (("flow", "rollback", "00000000-0000-4000-8000-000000000000"), "flow_not_found"),
    ],
)
def test_a_refusal_is_exit_code_1(words: tuple[str, ...], code: str, environment: Environment) -> None:
    said = mfo(*words, "--json", environment=environment)
    assert (said.code, said.document["error"]["code"]) == (1, code)


@pytest.mark.parametrize("words", [["flow-types"], ["flow", "list"], ["imports"], ["projections", "list"]])
def test_a_list_is_one_json_document(
    words: list[str], environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run([*words, "--json"]) == 0
    document: Any = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    assert run(words) == 0
    assert capsys.readouterr().out.strip()


def test_a_flow_and_those_under_it_are_shown_and_steered_together(environment: Environment) -> None:
    def made(*words: str) -> str:
        said = mfo("flow", "create", "discovery", *words, "--json", environment=environment)
        assert said.code == 0, said.err
        return str(said.document["flow_id"])

    root = made("--name", "Estate")
    child = made("--name", "Site", "--parent", root)
    circle = ("flow", "create", "discovery", "--parent", child, "--after", root, "--json")
    refused = mfo(*circle, environment=environment)
    assert (refused.code, refused.document["error"]["code"]) == (1, "dependency_circular")
    assert mfo("flow", "pause", root, "--reason", "maintenance", environment=environment).code == 0
    asyncio.run(until_below(environment, root, {"paused": 1}))
    assert mfo("flow", "resume", root, "--alone", environment=environment).code == 0
    drawn = mfo("flow", "tree", root, environment=environment).out
    assert f"\n  {child}  Site (discovery): paused 0 %" in drawn
    assert "below it: 1 flow (1 paused)" in drawn


async def until_below(environment: Environment, flow_id: str, statuses: dict[str, int]) -> None:
    """Wait until the read model shows what has followed for the flows under one."""
    names = ("MFO_URL", "MFO_CLIENT_ACCOUNT_ID", "MFO_ENGAGEMENT_ID", "MFO_USER_ID")
    async with Client(*(environment[name] for name in names)) as client:

        async def shown() -> bool:
            return bool((await client.tree(flow_id))["below"]["statuses"] == statuses)

        await until(shown, 60)
