"""`mfo doctor` against a running service, and the same over HTTP."""

from __future__ import annotations

import httpx

from tests.cli.support import mfo


def test_a_service_that_runs_is_well(environment: dict[str, str]) -> None:
    # rows say whether there is a version to migrate to: another test may have brought one since they were written
    made = mfo("projections", "rebuild", "crewai_flow_state_extensions", environment=environment)
    assert made.code == 0, made.err
    said = mfo("doctor", "--deep", "--json", environment=environment)
    assert said.document == {"status": "well", "findings": [], "repairs": []}, said.out
    assert said.code == 0
    assert mfo("doctor", environment=environment).out.strip() == "all is well"


def test_the_same_is_told_over_http_and_as_a_figure(environment: dict[str, str]) -> None:
    with httpx.Client(base_url=environment["MFO_URL"]) as http:
        assert http.get("/health/doctor").json() == {"status": "well", "findings": []}
        assert 'mfo_doctor_findings{code="flow_stuck"} 0.0' in http.get("/metrics").text


def test_without_a_database_it_says_so() -> None:
    nowhere = {
        "MFO_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "MFO_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MFO_MASTER_KEY": "A" * 43 + "=",
    }
    said = mfo("doctor", environment=nowhere)
    assert (said.code, said.out) == (3, "")
    assert "PostgreSQL cannot be reached" in said.err
