"""Every event ever written still loads."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from domain.events import BY_TOPIC, EVENTS, TOPICS
from domain.flow import Flow, Recorded, evolve
from domain.view import row
from domain.words import Status
from eventstore.codec import FIRST_HASH, decode, encode, encode_meta
from tests import examples
from tests.spec import TYPES, flow_of, meta

GOLDEN = Path(__file__).parents[1] / "history"
FILES = sorted(GOLDEN.glob("*.jsonl"))


def written(recorded: Recorded) -> dict[str, object]:
    """An event as the store keeps it."""
    stored = encode(recorded, encode_meta(recorded.meta), FIRST_HASH)
    return {"topic": stored.topic, "state": json.loads(stored.state)}


def test_every_event_has_a_golden_file() -> None:
    assert {f"mfo.flow.{path.stem}" for path in FILES} == set(BY_TOPIC)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_line_loads_and_moves_a_flow(path: Path) -> None:
    for line in path.read_text().splitlines():
        kept = json.loads(line)
        recorded = decode(examples.FLOW_ID, 2, kept["topic"], json.dumps(kept["state"]).encode())
        before = Flow(id=examples.FLOW_ID) if path.stem.startswith("FlowCreated") else flow_of(examples.CREATED)
        assert evolve(before, recorded).version == 2


@pytest.mark.parametrize("fact", examples.EVENTS, ids=lambda fact: type(fact).__name__)
def test_what_is_written_today_is_the_newest_golden_line(fact: object) -> None:
    recorded = Recorded(examples.FLOW_ID, 2, meta(), fact)  # type: ignore[arg-type]
    name = TOPICS[type(fact)].removeprefix("mfo.flow.")  # type: ignore[index]
    newest = (GOLDEN / f"{name}.jsonl").read_text().splitlines()[-1]
    assert written(recorded) == json.loads(newest)


def test_fields_that_a_reader_does_not_know_are_passed_over() -> None:
    recorded = Recorded(examples.FLOW_ID, 1, meta(), examples.FINISHED)
    kept = written(recorded)
    assert isinstance(kept["state"], dict)
    kept["state"]["data"]["added_later"] = True
    assert decode(examples.FLOW_ID, 1, str(kept["topic"]), msgspec.json.encode(kept["state"])) == recorded


def test_the_golden_lines_together_tell_a_flow_that_can_be_read() -> None:
    flow = Flow(id=examples.FLOW_ID)
    for version, fact in enumerate(examples.EVENTS, 1):
        name = TOPICS[type(fact)].removeprefix("mfo.flow.")
        for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines():
            kept = json.loads(line)
            flow = evolve(flow, decode(flow.id, version, kept["topic"], json.dumps(kept["state"]).encode()))
    assert (flow.version, flow.status) == (len(examples.EVENTS), Status.DELETED)
    assert row(flow, TYPES)["flow_status"] == "deleted"


def test_every_event_has_an_example() -> None:
    assert [type(fact) for fact in examples.EVENTS] == list(EVENTS)
