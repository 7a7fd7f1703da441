"""What a flow makes of what it is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.flow import Flow
from tests.examples import COMPLETED, CREATED, FLOW_ID, QUIET, REASSIGNED, RETRY, STARTED
from tests.spec import flow_of


def test_an_unknown_phase_of_a_flow_is_no_phase() -> None:
    with pytest.raises(KeyError):
        flow_of(QUIET).phase("third")


def test_a_retry_without_a_run_changes_nothing_but_the_version() -> None:
    assert flow_of(QUIET, RETRY) == replace(flow_of(QUIET), version=2)


def test_a_reassignment_without_a_run_changes_nothing_but_the_version() -> None:
    assert flow_of(QUIET, REASSIGNED) == replace(flow_of(QUIET), version=2)


def test_nothing_exists_without_history() -> None:
    nothing = Flow(id=FLOW_ID)
    assert (nothing.exists, nothing.current_phase, nothing.next_phase) == (False, None, None)


def test_what_is_given_last_wins() -> None:
    first = replace(STARTED, inputs={"environment": "test", "hint": "left"})
    second = replace(STARTED, inputs={"hint": "right"}, phase_name="second")
    flow = flow_of(CREATED, first, COMPLETED, second)
    assert flow.initial_data == {"environment": "production"}
    assert flow.known_inputs == {"environment": "test", "hint": "right"}


def test_the_time_of_all_attempts_is_counted_and_the_first_start_is_kept() -> None:
    flow = flow_of(QUIET, STARTED, COMPLETED, STARTED, COMPLETED)
    assert flow.phase("first").execution_time_ms == 24
    assert flow.phase("first").started_at == flow.created_at


def test_the_last_hundred_transitions_are_kept() -> None:
    flow = flow_of(QUIET, *(STARTED, COMPLETED) * 60)
    assert len(flow.transitions) == 100
    assert flow.transitions[-1]["status"] == "completed"
