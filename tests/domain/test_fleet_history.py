"""Every event of an operation, a standing pause or a rule ever written still loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.fleet.events import FLEET_BY_TOPIC, FLEET_EVENTS, FLEET_TOPICS, FleetEvent
from domain.fleet.subjects import AnySubject, FleetRecorded, evolve, view
from eventstore.codec import FIRST_HASH, UnknownTopic, decode_fleet, encode_fleet, encode_meta
from tests.fleet import EVENTS, HISTORIES, IDS, OPERATION_ID
from tests.spec import meta

GOLDEN = Path(__file__).parents[1] / "history" / "fleet"
FILES = sorted(GOLDEN.glob("*.jsonl"))


def written(fact: FleetEvent) -> dict[str, object]:
    """An event as the store keeps it."""
    recorded = FleetRecorded(OPERATION_ID, 2, meta(), fact)
    stored = encode_fleet(recorded, encode_meta(recorded.meta), FIRST_HASH)
    return {"topic": stored.topic, "state": json.loads(stored.state)}


def name_of(fact: FleetEvent) -> str:
    return f"{type(fact).__name__}.v1"


def test_every_event_has_a_golden_file_and_an_example() -> None:
    assert {path.stem for path in FILES} == {topic.split(".", 2)[2] for topic in FLEET_BY_TOPIC}
    assert [type(fact) for fact in EVENTS] == list(FLEET_EVENTS)
    assert set(FLEET_TOPICS) == set(FLEET_EVENTS)


@pytest.mark.parametrize("fact", EVENTS, ids=lambda fact: type(fact).__name__)
def test_what_is_written_today_is_the_newest_golden_line(fact: FleetEvent) -> None:
    newest = (GOLDEN / f"{name_of(fact)}.jsonl").read_text().splitlines()[-1]
    assert written(fact) == json.loads(newest)


@pytest.mark.parametrize("kind", HISTORIES, ids=lambda kind: kind.__name__)
def test_the_golden_lines_together_tell_something_that_can_be_read(kind: type[AnySubject]) -> None:
    subject: AnySubject = kind(id=IDS[kind])
    for version, fact in enumerate(HISTORIES[kind], 1):
        for line in (GOLDEN / f"{name_of(fact)}.jsonl").read_text().splitlines():
            kept = json.loads(line)
            state = json.dumps(kept["state"]).encode()
            subject = evolve(subject, decode_fleet(subject.id, version, kept["topic"], state))
    assert subject.version == len(HISTORIES[kind])
    assert view(subject)["state"] == str(subject.state)


def test_an_event_of_a_newer_version_is_told_from_a_broken_one() -> None:
    with pytest.raises(UnknownTopic, match="run a newer one"):
        decode_fleet(OPERATION_ID, 1, "mfo.operation.Unheard.v1", b'{"meta":' + encode_meta(meta()) + b',"data":{}}')
