"""The list of flows where there are many: every filter and every order goes by an index, and what is kept beside the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from api import documents
from api.lists import Counts, FlowFilter, Lists
from api.rows import Rows
from domain.commands import Tenant
from projections.flows import BESIDE, VERSION, names_of
from tests.api.conftest import Api, config_for, started
from tests.waiting import until

FLOWS = 24_000
MINE, OTHER = UUID(int=1), UUID(int=2)
PARENT = UUID(int=77)

# one tenant in four is another; one flow in 500 has failed, one in 300 has the tag and the word that are asked for
LOAD = """
insert into flow_state_extensions_v1 (
    flow_id, flow_type, client_account_id, engagement_id, user_id, flow_name, flow_tags, flow_status, flow_configuration,
    flow_state, parent_flow_id, created_at, updated_at, created_by, updated_by, next_action, version, log_position)
select uuid_in(md5(n::text)::cstring), case when n % 401 = 0 then 'finops' else 'discovery' end,
       case when n % 4 = 0 then %(other)s else %(mine)s end, %(mine)s, 'u', 'flow ' || n,
       case when n % 301 = 0 then '["rare"]' else '["common"]' end::jsonb,
       case when n % 501 = 0 then 'failed' else 'completed' end, '{}', '{}',
       case when n % 999 = 0 then %(parent)s end,
       timestamptz '2026-01-01' + make_interval(secs => n), timestamptz '2026-02-01' + make_interval(secs => n % 5000), 'u', 'u',
       '{"type": "none", "phase": null, "required_inputs": [], "message": "", "estimated_duration_seconds": null, "until": null}',
       1, n
from generate_series(1, %(flows)s) n
"""
WORDS = """
update flow_state_extensions_v1 set flow_description = 'estate ' || case when flow_tags ? 'rare' then 'warehouse' else 'office' end
"""


@pytest.fixture
async def many(module_url: str) -> AsyncIterator[Api]:
    async with started(config_for(module_url)) as api:
        api.tenant |= {"X-Client-Account-ID": str(MINE), "X-Engagement-ID": str(MINE)}
        async with api.side.pool.connection() as connection:
            row = await (await connection.execute("select exists (select from flow_words_v1)")).fetchone()
            if row == (False,):
                values = {"mine": MINE, "other": OTHER, "parent": PARENT, "flows": FLOWS}
                load = sql.SQL(
                    LOAD.replace("% 4", "%% 4").replace("% 5", "%% 5").replace("% 3", "%% 3").replace("% 9", "%% 9")
                )
                await connection.execute(load, values)
                await connection.execute(WORDS)
                ids = "array(select flow_id from flow_state_extensions_v1)"
                await connection.execute(BESIDE.format(**names_of(VERSION)).replace("%s", ids).encode())
                await connection.execute("vacuum analyze flow_state_extensions_v1, flow_words_v1, flow_tags_v1")
        yield api


FILTERS = [
    FlowFilter(tag="rare"),
    FlowFilter(search="warehouse"),
    FlowFilter(parent_flow_id=PARENT),
]
FEW = [FlowFilter(flow_types=["finops"]), FlowFilter(statuses=["failed"])]
MANY = [FlowFilter(), FlowFilter(flow_types=["discovery"]), FlowFilter(statuses=["completed"])]
COMMON = [FlowFilter(tag="common"), FlowFilter(search="office")]


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "flow_name", "-flow_name", "status"])
@pytest.mark.parametrize("wanted", [*FEW, *MANY], ids=str)
async def test_every_order_goes_by_an_index(many: Api, wanted: FlowFilter, sort: str) -> None:
    [plan] = await plans(many, wanted, sort)
    assert "flow_totals_v1" in str(plan)
    walking, looking = next(each for each in every(plan) if each["Node Type"] == "Append")["Plans"]
    assert_indexed(walking)
    if wanted in MANY:
        # the rows of the page are put in order at last, no others
        assert not any("Sort" in kind for kind in kinds(walking))
    else:
        assert_indexed(looking)


@pytest.mark.parametrize("wanted", [*FILTERS, *COMMON], ids=str)
async def test_every_filter_goes_by_an_index(many: Api, wanted: FlowFilter) -> None:
    counting, page = await plans(many, wanted, "-created_at")
    assert_indexed(page)
    # what nearly every row matches is counted fastest as it comes, and no further than to 10,001
    assert wanted in COMMON or "Seq Scan" not in kinds(counting), counting
    assert "Limit" in kinds(counting)


async def test_a_span_of_time_goes_by_an_index(many: Api) -> None:
    flow = (await many.get("/flows?limit=1&sort=created_at")).json()["flows"][0]
    page = documents.FlowList.model_validate(
        (await many.get(f"/flows?created_before=2026-01-01T01:00:00&created_after={flow['created_at']}")).json()
    )
    assert (page.total, page.total_is_estimate) == (2699, False)
    wanted = FlowFilter(created_after=flow["created_at"], created_before=page.flows[0].created_at)
    for plan in await plans(many, wanted, "-created_at"):
        assert_indexed(plan)


@pytest.mark.parametrize(
    ("asked", "total"),
    [
        ("", FLOWS * 3 // 4),
        ("?flow_type=discovery", sum(1 for n in range(1, FLOWS + 1) if n % 4 and n % 401)),
        ("?status=failed,completed", FLOWS * 3 // 4),
        ("?status=failed", sum(1 for n in range(1, FLOWS + 1) if n % 4 and not n % 501)),
        ("?status=cancelled", 0),
        (
            "?status=completed&flow_type=discovery&limit=1",
            sum(1 for n in range(FLOWS) if n % 4 and n % 401 and n % 501),
        ),
        ("?search=ware&sort=flow_name&limit=200", 60),
    ],
)
async def test_totals_are_exact(many: Api, asked: str, total: int) -> None:
    page = documents.FlowList.model_validate((await many.get(f"/flows{asked}")).json())
    assert (page.total, page.total_is_estimate) == (total, False)


async def test_large_totals_of_words_and_tags_are_estimates_and_say_so(many: Api) -> None:
    page = documents.FlowList.model_validate((await many.get("/flows?search=office")).json())
    assert page.total_is_estimate
    assert 0.8 * FLOWS * 0.75 < page.total < 1.2 * FLOWS * 0.75
    page = documents.FlowList.model_validate((await many.get("/flows?search=ware&sort=flow_name&limit=200")).json())
    assert (page.total, page.total_is_estimate) == (60, False)
    assert {flow.flow_tags[0] for flow in page.flows} == {"rare"}
    page = documents.FlowList.model_validate((await many.get("/flows?tag=rare&status=failed")).json())
    assert page.total == sum(1 for n in range(1, FLOWS + 1) if n % 4 and not n % 301 and not n % 501)


@pytest.mark.parametrize(
    "wanted",
    [FlowFilter(flow_types=["discovery"], created_after=datetime(2026, 1, 1, 6, tzinfo=UTC)), FlowFilter(tag="rare")],
    ids=str,
)
async def test_what_lists_filter_by_is_counted_without_looking_at_a_flow(many: Api, wanted: FlowFilter) -> None:
    counting, _ = await plans(many, wanted, "-created_at")
    assert kinds(counting)[1:] == ["Limit", "Index Only Scan"]


@pytest.mark.parametrize("asked", ["tag=rare", "search=WAREH estate", "tag=rare&search=warehouse"])
async def test_a_list_goes_on_from_page_to_page_in_any_order(many: Api, asked: str) -> None:
    for sort in ("-created_at", "flow_name"):
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (await many.get(f"/flows?{asked}&limit=25&sort={sort}{cursor and f'&cursor={cursor}'}")).json()
            found += [flow["flow_name"] for flow in page["flows"]]
            cursor = page["next_cursor"]
        names = [f"flow {n}" for n in range(FLOWS, 0, -1) if n % 4 and not n % 301]
        assert found == (names if sort == "-created_at" else sorted(names))


async def test_who_asks_the_same_meanwhile_gets_the_same_count(many: Api) -> None:
    counted: list[Any] = []

    class Counting(Rows):
        async def _all(self, statement: Any, values: Any, *, prepare: bool | None = None) -> list[Any]:
            if b"counted" in statement.as_bytes(None):
                counted.append(values)
            return await super()._all(statement, values, prepare=prepare)

    lists, wanted = Lists(Counting(many.side, Tenant(MINE, MINE, "u")), Counts()), FlowFilter(tag="rare")
    asking = [asyncio.create_task(lists.flows(wanted, "flow_name", 5, None, shared=True)) for _ in range(4)]
    await until(lambda: counted)
    # whoever was first goes away, and takes the answer from nobody
    asking[0].cancel()
    pages = await asyncio.gather(*asking[1:])
    assert (len(counted), {page.total for page in pages}) == (1, {60})
    await asyncio.gather(*(lists.flows(wanted, "flow_name", 5, None) for _ in range(2)))
    assert len(counted) == 3


async def plans(api: Api, wanted: FlowFilter, sort: str) -> list[Any]:
    """The plans of the statements that a list runs."""
    found: list[Any] = []

    class Explained(Rows):
        async def _all(self, statement: Any, values: Any, *, prepare: bool | None = None) -> list[Any]:
            if not any(word in statement.as_bytes(None) for word in (b"explain", b"to_tsvector")):
                explained = await super()._all(
                    sql.SQL("explain (format json) {}").format(statement), values, prepare=False
                )
                found.append(explained[0]["QUERY PLAN"][0]["Plan"])
            return await super()._all(statement, values, prepare=prepare)

    await Lists(Explained(api.side, Tenant(MINE, MINE, "u")), Counts()).flows(wanted, sort, 50, None)
    return found


def every(plan: Any) -> list[Any]:
    """All nodes of a plan."""
    return [plan, *(node for below in plan.get("Plans", ()) for node in every(below))]


def kinds(plan: Any) -> list[str]:
    """The kinds of all nodes of a plan."""
    return [node["Node Type"] for node in every(plan)]


def assert_indexed(plan: Any) -> None:
    """No table is read from end to end."""
    assert "Seq Scan" not in kinds(plan), plan
