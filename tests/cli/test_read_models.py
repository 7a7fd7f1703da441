"""Read models of a running service, made anew and held against history from the command line."""

from __future__ import annotations

import psycopg

from mfo.embedded.processes import wait_until
from tests.cli.support import mfo

NAME = "crewai_flow_state_extensions"


def test_a_read_model_is_made_anew_while_it_serves(environment: dict[str, str]) -> None:
    made = mfo("flow", "create", "discovery", "--name", "Kept", "--json", environment=environment).document
    with psycopg.connect(environment["MFO_DATABASE_URL"], autocommit=True) as connection:
        forge = "update flow_state_extensions_v1 set flow_name = 'x' where flow_id = %s returning 1"
        assert wait_until(lambda: bool(connection.execute(forge, (made["flow_id"],)).fetchone()), 30)
        said = mfo("projections", "verify", NAME, environment=environment)
        assert (said.code, f"{made['flow_id']} differs: flow_name" in said.out) == (1, True), said.out
        said = mfo("projections", "rebuild", NAME, "--json", environment=environment)
        assert (said.code, said.document["state"], said.document["compared"]["equal"]) == (0, "done", False), said.err
        name = "select flow_name from crewai_flow_state_extensions where flow_id = %s"
        assert connection.execute(name, (made["flow_id"],)).fetchone() == ("Kept",)
        assert mfo("projections", "rollback", NAME, environment=environment).code == 0
        assert connection.execute(name, (made["flow_id"],)).fetchone() == ("x",)
        said = mfo("projections", "rebuild", NAME, environment=environment)
        assert f"{NAME} serves now" in said.out
    listed = mfo("projections", "list", "--json", environment=environment).document["projections"]
    assert next(one["rebuild"]["state"] for one in listed if one["name"] == NAME) == "done"
