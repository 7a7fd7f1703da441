"""Operations, standing pauses and rules, as somebody types them."""

from __future__ import annotations

from typing import Any

from tests.cli.support import mfo, said_at_last

Environment = dict[str, str]
Json = dict[str, Any]


def said(environment: Environment, *words: str, code: int = 0) -> Json:
    done = mfo(*words, "--json", environment=environment)
    assert done.code == code, done.err
    found: Json = done.document
    return found


def test_an_operation_is_tried_started_and_followed(environment: Environment) -> None:
    flows = [said(environment, "flow", "create", "discovery", "--name", "many")["flow_id"] for _ in range(2)]
    chosen = ("--flow", flows[0], "--flow", flows[1])
    trial = said(environment, "operation", "start", "pause", *chosen, "--dry-run")
    assert (trial["total"], [each["flow_id"] for each in trial["flows"]]) == (2, flows)
    done = said(environment, "operation", "start", "pause", *chosen, "--wait", "--reason", "rest")
    assert (done["state"], done["progress"]["accepted"]) == ("completed", 2)
    operation_id = done["operation_id"]
    said_at_last("flow", "status", flows[0], environment=environment, text="paused")
    asked = said(environment, "operation", "flows", operation_id, "--outcome", "accepted")["flows"]
    assert [each["flow_id"] for each in asked] == flows
    over = said(environment, "operation", "pause", operation_id, code=1)
    assert over["error"]["code"] == "not_in_this_state"


def test_an_operation_is_stopped_and_listed(environment: Environment) -> None:
    nothing = said(environment, "operation", "start", "pause", code=2)
    assert nothing["error"]["code"] == "usage"
    made = [said(environment, "flow", "create", "discovery", "--name", "slow")["flow_id"] for _ in range(2)]
    both = ("--flow", made[0], "--flow", made[1])
    slow = said(environment, "operation", "start", "resume", *both, "--rate", "0.001")["operation_id"]
    assert said(environment, "operation", "pause", slow, "--reason", "lunch")["changed_because"] == "lunch"
    assert said(environment, "operation", "resume", slow)["state"] == "running"
    assert said(environment, "operation", "cancel", slow)["state"] == "cancelled"
    assert said(environment, "operation", "show", slow)["rate_per_second"] == 0.001
    shown = mfo("operation", "list", environment=environment)
    assert (shown.code, slow in shown.out) == (0, True)


def test_a_standing_pause_is_set_listed_and_removed(environment: Environment) -> None:
    pause = said(environment, "pauses", "set", "--tag", "from-the-shell", "--reason", "maintenance")
    listed = mfo("pauses", "list", environment=environment)
    assert pause["standing_pause_id"] in listed.out
    assert said(environment, "pauses", "show", pause["standing_pause_id"])["tag"] == "from-the-shell"
    gone = said(environment, "pauses", "remove", pause["standing_pause_id"], "--resume")
    assert (gone["state"], bool(gone["operation_id"])) == ("removed", True)


def test_a_rule_is_set_armed_and_deleted(environment: Environment) -> None:
    rule = said(
        environment, "pauses", "rule", "set", "error_rate", "--limit", "0.9", "--window", "1h", "--at-least", "500"
    )
    assert (rule["state"], rule["window_seconds"]) == ("armed", 3600)
    rule_id = rule["pause_rule_id"]
    assert said(environment, "pauses", "rule", "show", rule_id)["at_least"] == 500
    assert said(environment, "pauses", "rule", "arm", rule_id)["version"] == 1
    assert rule_id in mfo("pauses", "rule", "list", environment=environment).out
    assert said(environment, "pauses", "rule", "delete", rule_id)["state"] == "deleted"
