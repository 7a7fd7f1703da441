"""What is told of a fault in a handler."""

from __future__ import annotations

from uuid import UUID

import pytest

from consumers.frames import Job
from consumers.work import describe
from estate.tables import Column
from tests.examples import CLIENT, ENGAGEMENT

RUN = UUID("77777777-7777-4777-8777-777777777777")
JOB = Job(
    run_id=RUN,
    token=1,
    flow_id=RUN,
    flow_type="discovery",
    phase_name="data_import",
    attempt=1,
    client_account_id=CLIENT,
    engagement_id=ENGAGEMENT,
    user_id="maria",
    inputs={},
    outputs={},
    handlers=("work",),
    validators=(),
)
SECRET = "Geheim-77-x"


class Spiteful:
    """A cell whose fault quotes a secret."""

    def __hash__(self) -> int:
        raise ValueError(SECRET)


def test_a_fault_in_reading_tables_is_told_by_its_place_not_by_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=SECRET) as failed:
        Column.of("name", [Spiteful()])  # type: ignore[list-item]
    error = describe(failed.value, JOB)
    assert SECRET not in str(error)
    assert "ValueError at" in error["message"]
    assert SECRET not in "".join(capsys.readouterr())


def test_a_fault_of_a_handler_of_ones_own_keeps_its_text() -> None:
    error = describe(ValueError("the warehouse answered 42"), JOB)
    assert error["message"] == "ValueError: the warehouse answered 42"
    assert error["code"] == "handler_failed"
