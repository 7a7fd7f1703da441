"""The older system's error codes."""

from __future__ import annotations

import pytest

from domain.errors import FlowNotFound, MfoError, OperationNotFound, ReadModelBehind, SettingsError
from domain.older_codes import FAILURES, TABLE, every_error, older, older_of
from domain.words import FailureClass

KNOWN = {
    *("VAL_001", "CFG_001", "DB_001", "AUTH_001", "AUTH_002", "PROC_001", "AI_001", "FLOW_001", "FLOW_002"),
    *("FLOW_003", "FLOW_004", "DEP_001", "MIG_001", "SEC_001", "INT_001", "NET_001", "RES_001", "IMP_001", "TASK_001"),
}
CATEGORIES = {
    *(
        "validation",
        "execution",
        "network",
        "database",
        "permission",
        "timeout",
        "resource",
        "business_logic",
        "unknown",
    )
}


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: error.__name__)
def test_every_error_has_a_code_of_the_older_system(error: type[MfoError]) -> None:
    found = older(error)
    assert (found.code in KNOWN, found.category in CATEGORIES) == (True, True)
    assert found.severity in {"low", "medium", "high", "critical"}
    assert older_of(error.code) == found


def test_every_code_of_the_older_system_stands_for_something() -> None:
    assert {each.code for each in (*TABLE.values(), *FAILURES.values())} == KNOWN
    assert set(FAILURES) <= set(FailureClass)


def test_an_error_has_the_code_of_the_nearest_kind() -> None:
    assert older(FlowNotFound).code == "FLOW_002"
    assert older(OperationNotFound).code == "FLOW_003"
    assert older(ReadModelBehind).category == "timeout"
    assert older(SettingsError).severity == "critical"
    assert older_of("no_such_code").code == "PROC_001"


def test_an_error_of_another_room_has_the_code_of_its_kind() -> None:
    class Elsewhere(FlowNotFound):
        code = "elsewhere"

    assert older(Elsewhere).code == "FLOW_002"
    assert Elsewhere not in set(every_error())
