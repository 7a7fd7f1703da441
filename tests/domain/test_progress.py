"""How far a flow is."""

from __future__ import annotations

from msgspec.structs import replace

from domain.flow import Flow, progress
from domain.words import Status
from tests.examples import CANCELLED, COMPLETED, CREATED, DELETED, FINISHED, FLOW_ID, QUIET, STARTED
from tests.spec import flow_of


def test_progress_is_the_weight_of_what_is_done() -> None:
    assert progress(flow_of(QUIET)) == 0.0
    assert progress(flow_of(QUIET, STARTED)) == 0.0
    assert progress(flow_of(QUIET, STARTED, COMPLETED)) == 25.0
    assert progress(Flow(id=FLOW_ID)) == 0.0


def test_progress_is_100_only_when_the_flow_is_completed() -> None:
    second = replace(COMPLETED, phase_name="second")
    all_done = flow_of(QUIET, STARTED, COMPLETED, replace(STARTED, phase_name="second"), second)
    assert progress(all_done) == 99.9
    assert progress(flow_of(QUIET, STARTED, COMPLETED, second, FINISHED)) == 100.0


def test_a_completed_flow_that_is_deleted_stays_at_100() -> None:
    deleted = flow_of(CREATED, FINISHED, DELETED)
    assert (deleted.status, progress(deleted)) == (Status.DELETED, 100.0)


def test_a_cancelled_flow_stays_where_it_was() -> None:
    assert progress(flow_of(QUIET, STARTED, COMPLETED, CANCELLED)) == 25.0
