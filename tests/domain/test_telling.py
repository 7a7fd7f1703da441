"""What of a flow's history is news, and that news hold nothing of what the flow was given."""

from __future__ import annotations

from typing import Any

import pytest

from domain.events import (
    FlowCompleted,
    FlowCreated,
    FlowEvent,
    FlowFailed,
    FlowPaused,
    InputReminded,
    InputRequested,
    PlannedPhase,
)
from domain.flow import Recorded
from domain.telling import MAX_REASON, NEWS, NEWS_TOPICS, STATUSES, News, news_of, told
from tests.spec import FLOW_ID, meta

CREATED = FlowCreated(
    flow_type="two_steps",
    flow_version="1.0.0",
    flow_name="Estate",
    flow_tags=("june",),
    phases=(PlannedPhase("first", 1.0),),
    initial_data={"password": "hush"},
)
FAILED = FlowFailed(
    phase_name="first",
    attempts=2,
    error={"class": "network", "code": "io_failed", "message": "hush", "retryable": True},
)
ASKED = InputRequested(phase_name="first", fields=("mappings",), message="hush", suggestions={"a": "hush"})


def recorded(fact: FlowEvent, source: str = "http") -> Recorded:
    given: Any = meta()
    return Recorded(
        FLOW_ID,
        7,
        type(given)(**{**{name: getattr(given, name) for name in given.__struct_fields__}, "source": source}),
        fact,
    )


def test_every_kind_of_news_has_a_topic_and_a_status() -> None:
    assert set(NEWS.values()) == set(STATUSES) == set(News)
    assert "mfo.flow.FlowCompleted.v1" in NEWS_TOPICS


@pytest.mark.parametrize(
    ("fact", "source", "news"),
    [
        (FlowCompleted(), "http", News.COMPLETED),
        (FAILED, "timer", News.FAILED),
        (ASKED, "worker", News.INPUT_REQUESTED),
        (InputReminded(phase_name="first", number=1), "timer", News.INPUT_REMINDED),
        (FlowPaused(reason="too many failures"), "rule", News.PAUSED_BY_RULE),
        (FlowPaused(reason="lunch"), "http", None),
        (CREATED, "http", None),
    ],
)
def test_what_is_news(fact: FlowEvent, source: str, news: News | None) -> None:
    assert news_of(recorded(fact, source)) is news


def test_news_say_which_flow_stands_where_and_no_more() -> None:
    said = told(recorded(FlowCompleted()), News.COMPLETED, CREATED)
    assert said == {
        "type": "flow.completed",
        "timestamp": "2026-11-20T12:00:00Z",
        "data": {
            "flow_id": str(FLOW_ID),
            "flow_name": "Estate",
            "flow_type": "two_steps",
            "flow_tags": ["june"],
            "status": "completed",
            "phase": None,
            "version": 7,
            "client_account_id": str(meta().client_account_id),
            "engagement_id": str(meta().engagement_id),
        },
    }


def test_of_a_failure_its_class_is_said_and_never_its_own_words() -> None:
    said = told(recorded(FAILED), News.FAILED, CREATED)
    assert said["data"]["error"] == {
        "class": "network",
        "code": "io_failed",
        "message": "Another system could not be reached.",
    }
    assert "hush" not in str(said)
    assert "hush" not in str(told(recorded(ASKED), News.INPUT_REQUESTED, CREATED))


def test_a_rule_says_why_it_paused() -> None:
    said = told(recorded(FlowPaused(reason="r" * 600), "rule"), News.PAUSED_BY_RULE, CREATED)
    assert said["data"]["reason"] == "r" * MAX_REASON
    assert told(recorded(FlowPaused(), "rule"), News.PAUSED_BY_RULE, CREATED)["data"]["reason"] is None
