"""The words that everything shares."""

from __future__ import annotations

import pytest

from domain.errors import FieldError, MfoError, PhaseOutOfOrder
from domain.words import STATUS_ALIASES, Status, counted, status_of


def test_statuses_are_known_by_other_names_on_input_only() -> None:
    assert status_of(" Running ") is Status.PROCESSING
    assert status_of("waiting-for-input") is Status.WAITING_FOR_INPUT
    with pytest.raises(ValueError, match="use one of initialized"):
        status_of("sleeping")


def test_an_error_carries_its_code_its_sentence_and_what_is_allowed() -> None:
    plain = MfoError()
    assert plain.as_dict() == {"code": "internal_error", "detail": "Something went wrong inside the service."}
    told = PhaseOutOfOrder("later", allowed=["first"], errors=[FieldError("phase_name", "comes later")])
    assert told.as_dict() == {
        "code": "phase_out_of_order",
        "detail": "later",
        "allowed": ["first"],
        "errors": [{"field": "phase_name", "message": "comes later"}],
    }


@pytest.mark.parametrize("status", Status)
def test_every_status_is_known_by_its_own_name(status: Status) -> None:
    assert status_of(status) is status
    assert status_of(status.upper().replace("_", "-")) is status


def test_another_name_is_never_a_status_itself() -> None:
    assert not set(STATUS_ALIASES) & set(Status)


def test_a_number_says_what_it_counts() -> None:
    assert [counted(0, "row"), counted(1, "row"), counted(2, "match", "matches")] == ["0 rows", "1 row", "2 matches"]
