"""Every event of a schedule ever written still loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.schedules.events import SCHEDULE_BY_TOPIC, SCHEDULE_TOPICS, ScheduleEvent
from domain.schedules.schedule import Schedule, ScheduleRecorded, State, evolve, view
from eventstore.codec import FIRST_HASH, decode_schedule, encode_meta, encode_schedule
from tests import schedules
from tests.schedules import SCHEDULE_ID
from tests.spec import meta

GOLDEN = Path(__file__).parents[1] / "history" / "schedules"
FILES = sorted(GOLDEN.glob("*.jsonl"))


def written(recorded: ScheduleRecorded) -> dict[str, object]:
    """An event as the store keeps it."""
    stored = encode_schedule(recorded, encode_meta(recorded.meta), FIRST_HASH)
    return {"topic": stored.topic, "state": json.loads(stored.state)}


def test_every_event_has_a_golden_file() -> None:
    assert {f"mfo.schedule.{path.stem}" for path in FILES} == set(SCHEDULE_BY_TOPIC)


@pytest.mark.parametrize("fact", schedules.EVENTS, ids=lambda fact: type(fact).__name__)
def test_what_is_written_today_is_the_newest_golden_line(fact: ScheduleEvent) -> None:
    name = SCHEDULE_TOPICS[type(fact)].removeprefix("mfo.schedule.")
    newest = (GOLDEN / f"{name}.jsonl").read_text().splitlines()[-1]
    assert written(ScheduleRecorded(SCHEDULE_ID, 2, meta(), fact)) == json.loads(newest)


def test_the_golden_lines_together_tell_a_schedule_that_can_be_read() -> None:
    schedule = Schedule(id=SCHEDULE_ID)
    for version, fact in enumerate(schedules.EVENTS, 1):
        name = SCHEDULE_TOPICS[type(fact)].removeprefix("mfo.schedule.")
        for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines():
            kept = json.loads(line)
            state = json.dumps(kept["state"]).encode()
            schedule = evolve(schedule, decode_schedule(schedule.id, version, kept["topic"], state))
    assert (schedule.version, schedule.state) == (len(schedules.EVENTS), State.DELETED)
    assert view(schedule)["state"] == "deleted"
