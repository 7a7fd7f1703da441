"""Master and child, in the older system's words."""

from __future__ import annotations

import pytest

from domain.children import child_status, master_status
from domain.words import Status

MASTERS = {"initialized", "running", "paused", "completed", "failed", "deleted"}
CHILDREN = {"active", "waiting_for_approval", "processing", "paused", "completed", "failed"}
ASSESSMENTS = {"initialized", "processing", "paused", "paused_for_user_input", "completed", "error"}


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_word_of_the_master_and_of_the_child(status: Status) -> None:
    assert master_status(status) in MASTERS
    assert child_status("discovery", status, "provide_input") in CHILDREN
    assert child_status("assessment", status, "provide_input") in ASSESSMENTS


def test_a_flow_between_phases_waits_for_nobodys_approval() -> None:
    assert child_status("discovery", Status.WAITING_FOR_INPUT, "execute_phase") == "active"
    assert child_status("discovery", Status.WAITING_FOR_INPUT, "approve") == "waiting_for_approval"
