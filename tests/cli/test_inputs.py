"""What a flow asks people, and signals, as somebody types it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.support import mfo
from tests.cli.test_flows import INVENTORY

Environment = dict[str, str]


def test_a_question_is_found_shown_and_answered_and_a_signal_is_kept(tmp_path: Path, environment: Environment) -> None:
    inventory = tmp_path / "asked.csv"
    inventory.write_text(INVENTORY)
    made = mfo(
        *("flow", "create", "discovery", "--file", str(inventory), "--auto", "--wait", "--json"),
        environment=environment,
    )
    assert made.code == 1, made.err
    flow_id = made.document["flow_id"]
    words = ("inputs", "list", "--mine", "--open", "--type", "discovery", "--phase", "field_mapping", "--json")
    listed = mfo(*words, environment=environment)
    assert listed.code == 0, listed.err
    [asked] = [one for one in listed.document["inputs"] if one["flow_id"] == flow_id]
    assert (asked["fields"], asked["may_answer"]) == (["mappings", "approval"], True)
    shown = mfo("inputs", "show", flow_id, environment=environment)
    assert "mapping_suggestions" in shown.out
    assert "everybody" in shown.out

    told = mfo("flow", "signal", flow_id, "hello", "--payload", "n=1", "--id", "s-1", "--json", environment=environment)
    assert told.document["status"] == "waiting_for_input"
    again = mfo("flow", "signal", flow_id, "hello", "--id", "s-1", "--json", environment=environment)
    assert (again.code, again.document["version"]) == (0, told.document["version"])
    strange = mfo("inputs", "answer", flow_id, "--input", "colour=red", "--json", environment=environment)
    assert (strange.code, strange.document["error"]["code"]) == (1, "input_invalid")
    answered = mfo(
        *("inputs", "answer", flow_id, "--input", "approval=true", "--reason", "fine", "--wait", "--json"),
        environment=environment,
    )
    assert (answered.code, answered.document["status"]) == (0, "completed"), answered.err
    late = mfo("inputs", "answer", flow_id, "--input", "approval=true", "--json", environment=environment)
    assert (late.code, late.document["error"]["code"]) == (1, "already_answered")
    assert late.document["error"]["details"]["answered_by"]
    nothing = mfo("inputs", "show", flow_id, environment=environment)
    assert nothing.code == 1
