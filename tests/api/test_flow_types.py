"""Flow types in their versions: read, checked against the flows under way, and flows moved between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from api import documents
from domain.flow_types import FlowTypeConfig
from eventstore.service import write_side
from tests.api.conftest import Api, config_for, new_tenant, problem, started
from tests.versions.new import SECOND
from tests.versions.old import FIRST, phase

Json = dict[str, Any]
MAPPED = {"clean": "cleanse"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """A service of the old release."""
    modules = {"flow_type_modules": ("tests.versions.old",), "operator_token": "let me"}
    async with started(config_for(database_url, **modules)) as api:
        yield api


def definition(config: FlowTypeConfig = SECOND, **changes: Any) -> Json:
    found: Json = msgspec.to_builtins(msgspec.structs.replace(config, **changes))
    return found


async def made(api: Api, **given: Any) -> str:
    flow_id: str = (await api.made(flow_type="released", flow_name="R", **given))["flow_id"]
    return flow_id


async def fetched(api: Api) -> str:
    """A flow whose first phase is done."""
    flow_id = await made(api)
    await api.post(f"/flows/{flow_id}/execute")
    await api.complete(flow_id, rows=3)
    await api.project(flow_id)
    return flow_id


async def check(api: Api, **body: Any) -> documents.FlowTypeCheck:
    """The answer of a check, as it is documented."""
    answer = await api.post("/flow-types/check", body)
    assert answer.status_code == 200, answer.text
    return documents.FlowTypeCheck.model_validate(answer.json())


async def test_a_check_says_of_each_flow_whether_it_would_break_and_why(api: Api) -> None:
    flow_id, fresh = await fetched(api), await made(api)
    cancelled = await made(api)
    await api.post(f"/flows/{cancelled}/cancel")
    await api.project(cancelled)
    handlers = ["fetch", "cleanse", "report"]
    gone = definition(version="2", phases=(phase("clean", "clean"),))
    found = await check(api, definition=gone, handlers=["clean"])
    assert (found.checked, found.safe, found.breaks, found.waits) == (2, 1, 1, 0)
    (broken,) = found.flows
    assert (str(broken.flow_id), broken.outcome, broken.from_version) == (flow_id, "breaks", "1.0.0")
    assert [(one.code, one.phase) for one in broken.obstacles] == [("phase_missing", "fetch"), ("progress_falls", None)]
    # nothing that runs has the handlers
    found = await check(api, definition=definition(), phase_mapping=MAPPED)
    assert (found.safe, found.waits) == (0, 2)
    assert {one.code for flow in found.flows for one in flow.obstacles} == {"handlers_unknown"}
    assert all("cleanse" in {one.phase for one in flow.obstacles} for flow in found.flows)
    found = await check(api, definition=definition(), handlers=handlers, include_safe=True)
    assert {str(one.flow_id): one.outcome for one in found.flows} == {flow_id: "safe", fresh: "safe"}
    found = await check(api, definition=definition(), handlers=handlers, flow_ids=[fresh])
    assert (found.checked, found.safe) == (1, 1)
    # a name in the mapping that there is not is said of each flow
    found = await check(api, definition=definition(), handlers=handlers, phase_mapping={"clear": "cleanse"})
    assert [one.obstacles[0].code for one in found.flows] == ["mapping_wrong"] * 2


async def test_a_check_goes_from_page_to_page_and_stays_with_its_tenant(api: Api) -> None:
    flows = {await made(api) for _ in range(5)}
    api.tenant = new_tenant()
    mine = await made(api)
    body = {"definition": definition(), "handlers": ["fetch", "cleanse", "report"], "include_safe": True}
    assert [str(one.flow_id) for one in (await check(api, **body)).flows] == [mine]
    problem(await api.post("/flow-types/check", {**body, "all_tenants": True}), 403, "operator_only")
    seen: list[str] = []
    cursor, pages = None, 0
    while cursor or not pages:
        asked = {**body, "all_tenants": True, "limit": 2, "cursor": cursor}
        answer = await api.post("/flow-types/check", asked, headers={"X-MFO-Operator-Token": "let me"})
        page = documents.FlowTypeCheck.model_validate(answer.json())
        seen += [str(one.flow_id) for one in page.flows]
        cursor, pages = page.next_cursor, pages + 1
    assert (set(seen), len(seen), pages) == (flows | {mine}, 6, 4)


WRONG: list[tuple[Json, int, str]] = [
    ({}, 422, "give definition, or flow_type"),
    ({"definition": {"name": "released"}}, 422, "missing required field"),
    ({"definition": {**definition(), "colour": "red"}}, 422, "no field colour"),
    ({"definition": {**definition(), "phases": []}}, 422, "has no phases"),
    ({"definition": definition(version="1.0.0")}, 422, "give the changed one a new version"),
    ({"flow_type": "demolition"}, 404, "there is no flow type"),
    ({"flow_type": "released", "to_version": "9"}, 404, "use one of"),
    ({"flow_type": "released", "speed": 3}, 422, "speed"),
    ({"flow_type": "released", "limit": 0}, 422, "limit"),
]


async def test_a_check_that_makes_no_sense_is_refused(api: Api) -> None:
    for body, status, message in WRONG:
        answer = await api.post("/flow-types/check", body)
        assert answer.status_code == status, (body, answer.text)
        assert message in answer.text


async def test_versions_that_other_services_bring_are_shown_and_flows_moved_to_them(api: Api) -> None:
    flow_id = await fetched(api)
    assert (await api.get("/flow-types/released")).json()["versions"] == ["1.0.0"]
    refused = problem(await api.post(f"/flows/{flow_id}/migrate", {"to_version": "1.1.0"}), 422, "type_version_unknown")
    assert refused["allowed"] == ["1.0.0"]
    newer = config_for(api.side.config.database_url, flow_type_modules=("tests.versions.both",))
    async with write_side(newer):
        pass
    shown = (await api.get("/flow-types/released", params={"version": "1.1.0"})).json()
    assert (shown["version"], shown["versions"]) == ("1.1.0", ["1.0.0", "1.1.0"])
    problem(await api.get("/flow-types/released", params={"version": "3"}), 404, "flow_type_not_found")
    listed = documents.FlowTypeList.model_validate((await api.get("/flow-types")).json())
    assert {one["name"]: one["versions"] for one in listed.flow_types}["released"] == ["1.0.0", "1.1.0"]
    # what is shown can be asked about as it is
    asked = {"definition": shown, "handlers": ["fetch", "cleanse", "report"]}
    assert (await check(api, **asked)).safe == 1
    assert (await check(api, flow_type="released", to_version="1.1.0", handlers=asked["handlers"])).safe == 1
    assert (await check(api, flow_type="released")).there == 1

    headers = {"Idempotency-Key": "move"}
    body = {"to_version": "1.1.0", "phase_mapping": MAPPED, "reason": "the next release"}
    moved = await api.post(f"/flows/{flow_id}/migrate", body, headers=headers)
    assert moved.status_code == 200, moved.text
    again = await api.post(f"/flows/{flow_id}/migrate", body, headers=headers)
    assert again.json() == moved.json()
    await api.project(flow_id)
    status = documents.FlowStatusAnswer.model_validate((await api.get(f"/flows/{flow_id}/status")).json())
    assert status.flow_version == "1.1.0"
    assert [one.name for one in status.phases] == ["fetch", "cleanse", "report", "file"]
    assert status.progress.percentage == 33.3
    flow = documents.FlowDetail.model_validate((await api.get(f"/flows/{flow_id}")).json())
    assert flow.flow_version == "1.1.0"
    assert [one["reason"] for one in flow.flow_metadata["migrations"]] == ["the next release"]
    back = await api.post(f"/flows/{flow_id}/migrate", {"back": True})
    assert back.status_code == 200
    problem(await api.post(f"/flows/{flow_id}/migrate", {"back": True}), 409, "nothing_to_undo")


async def test_a_flow_that_cannot_be_moved_is_refused_with_all_that_stands_in_the_way(api: Api) -> None:
    flow_id = await made(api)
    await api.post(f"/flows/{flow_id}/execute")
    wrong = {"phase_mapping": {"clear": "x"}, "to_version": "1.0.0"}
    assert (await api.post(f"/flows/{flow_id}/migrate", wrong)).status_code == 200
    known = api.side.types
    known.remember(SECOND)
    known.remember(msgspec.structs.replace(FIRST, version="3", phases=(phase("other", "report"),)))
    problem(await api.post(f"/flows/{flow_id}/migrate", {"to_version": "1.1.0"}), 409, "phase_running")
    body = problem(await api.post(f"/flows/{flow_id}/migrate", {"to_version": "3"}), 409, "not_migratable")
    assert [error["field"] for error in body["errors"]] == ["phases.fetch"]
    begun = await api.post(f"/flows/{flow_id}/migrate", {"to_version": "1.1.0", "restart_run": True})
    assert begun.json()["status"] == "processing"
    nobody = "11111111-1111-4111-8111-111111111111"
    problem(await api.post(f"/flows/{nobody}/migrate", {"to_version": "3"}), 404, "flow_not_found")
