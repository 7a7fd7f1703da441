"""Flows among flows, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from api.summary_documents import FlowSummary
from domain.commands import ReportChild
from tests.api.conftest import Api, new_tenant, problem
from tests.api.test_found import found

Json = dict[str, Any]


async def family(api: Api) -> tuple[str, list[str], list[str]]:
    """A flow with two children, the first of which has two of its own."""
    root = (await api.made())["flow_id"]
    children = [(await api.made(parent_flow_id=root, flow_name=f"child {n}"))["flow_id"] for n in range(2)]
    below = [(await api.made(parent_flow_id=children[0], flow_name=f"leaf {n}"))["flow_id"] for n in range(2)]
    return root, children, below


async def test_the_tree_shows_each_flow_under_its_parent_in_the_order_of_their_making(api: Api) -> None:
    root, children, below = await family(api)
    await api.post(f"/flows/{below[0]}/cancel")
    await api.project(below[0])
    shown = (await api.get(f"/flows/{root}/tree")).json()
    assert (shown["flow_id"], shown["flow_type"], shown["status"]) == (root, "discovery", "initialized")
    assert [child["flow_id"] for child in shown["children"]] == children
    assert [leaf["flow_id"] for leaf in shown["children"][0]["children"]] == below
    assert shown["below"] == {"flows": 4, "draining": 0, "statuses": {"initialized": 3, "cancelled": 1}}
    assert shown["truncated"] is False
    leaf = (await api.get(f"/flows/{below[1]}/tree")).json()
    assert (leaf["children"], leaf["below"]["flows"]) == ([], 0)
    listed = (await api.get(f"/flows?parent_flow_id={root}")).json()["flows"]
    assert {flow["flow_id"] for flow in listed} == set(children)


async def test_the_status_of_a_parent_says_how_many_under_it_still_drain(api: Api) -> None:
    root, children, _ = await family(api)
    assert (await api.get(f"/flows/{root}/status")).json()["tree"] is None
    await api.work(ReportChild(flow_id=UUID(root), child_flow_id=UUID(children[0])))
    await api.project(root)
    await api.post(f"/flows/{children[0]}/execute")
    await api.post(f"/flows/{children[0]}/pause")
    await api.project(children[0])
    answer = await api.get(f"/flows/{root}/status", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert answer.json()["tree"] == {"flows": 4, "draining": 1, "statuses": {"initialized": 3, "paused": 1}}
    detail = (await api.get(f"/flows/{root}")).json()
    assert detail["child_flow_ids"] == [children[0]]
    assert (await api.get(f"/flows/{children[0]}")).json()["parent_flow_id"] == root


async def test_a_flow_is_added_up_with_all_flows_under_it(api: Api) -> None:
    root, children, _ = await family(api)
    inventory = await found(api, parent_flow_id=children[1])
    cleansed = (await api.made(parent_flow_id=root, options={"auto_execute": True}))["flow_id"]
    for outputs in ({}, {}, {"quality": {"overall": 81.25}}):
        await api.complete(cleansed, **outputs)
    await api.project(cleansed)
    summed = await api.shown(f"/flows/{root}/summary", FlowSummary)
    assert (summed["flow_id"], summed["flows"], summed["truncated"]) == (root, 7, False)
    assert summed["flow_types"] == {"discovery": 7}
    assert summed["statuses"] == {"initialized": 5, "processing": 2}
    assert (summed["total_assets"], summed["asset_types"]) == (7, {"database": 4, "server": 3})
    assert (summed["total_dependencies"], summed["issues"]) == (3, {"high": 2, "low": 1})
    phases = {phase["phase_name"]: phase for phase in summed["phases"]}
    assert phases["data_import"]["statuses"] == {"completed": 2, "pending": 5}
    assert (phases["data_cleansing"]["quality"], phases["data_import"]["quality"]) == (81.2, None)
    alone = await api.shown(f"/flows/{inventory['flow_id']}/summary", FlowSummary)
    assert (alone["flows"], alone["total_assets"]) == (1, 7)
    api.tenant = new_tenant()
    problem(await api.get(f"/flows/{root}/summary"), 404, "flow_not_found")


async def test_a_tree_is_its_tenants_alone(api: Api) -> None:
    root, *_ = await family(api)
    mine, api.tenant = api.tenant, new_tenant()
    problem(await api.get(f"/flows/{root}/tree"), 404, "flow_not_found")
    wanted = {"flow_type": "discovery", "flow_name": "x"}
    theirs = problem(await api.post("/flows", {**wanted, "parent_flow_id": root}), 404, "parent_not_found")
    none = problem(await api.post("/flows", {**wanted, "parent_flow_id": str(uuid4())}), 404, "parent_not_found")
    assert theirs["errors"] == none["errors"]
    problem(await api.post("/flows", {**wanted, "dependent_flow_ids": [root]}), 404, "dependency_not_found")
    api.tenant = mine


async def test_a_flow_that_waits_for_another_says_for_which(api: Api) -> None:
    first = (await api.made())["flow_id"]
    made = await api.made(dependent_flow_ids=[first], options={"auto_execute": True})
    assert (made["status"], made["next_action"]["type"]) == ("initialized", "wait")
    assert first in made["next_action"]["message"]
    path = f"/flows/{made['flow_id']}"
    assert (await api.get(path)).json()["dependent_flow_ids"] == [first]
    assert (await api.get(f"{path}/status")).json()["dependencies"] == [{"flow_id": first, "status": None}]
    body = problem(await api.post(f"{path}/execute"), 409, "flow_gated")
    assert body["allowed"] == ["pause", "checkpoint", "cancel", "delete"]
    circle = {"flow_type": "discovery", "flow_name": "x", "parent_flow_id": first, "dependent_flow_ids": [first]}
    problem(await api.post("/flows", circle), 409, "dependency_circular")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
async def test_a_verb_says_whether_it_is_for_the_whole_tree(api: Api, verb: str) -> None:
    made = await api.made()
    path = f"/flows/{made['flow_id']}"
    if verb == "resume":
        await api.post(f"{path}/pause")
    assert (await api.post(f"{path}/{verb}", {"tree": False})).status_code == 200
    event = (await api.get(f"{path}/history")).json()["events"][-1]
    assert event["data"]["tree"] is False
    problem(await api.post(f"{path}/{verb}", {"tree": "no"}), 422, "body_invalid")


async def test_a_deletion_says_so_too(api: Api) -> None:
    for query, tree in (("?tree=false", False), ("", True)):
        made = await api.made()
        assert (await api.ask("DELETE", f"/flows/{made['flow_id']}{query}")).status_code == 204
        history = await api.side.store.history(UUID(made["flow_id"]))
        assert history[-1][1].fact.tree is tree  # type: ignore[union-attr]
