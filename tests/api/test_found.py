"""What discovery found, page by page."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from tests.api.conftest import Api, Json, problem

ASSETS = [
    {"asset_id": f"a{n}", "name": f"web{n:02}", "asset_type": "server" if n % 2 else "database"} for n in range(7)
]
EDGES = [{"dependency_id": f"d{n}", "noise": n == 0} for n in range(3)]
ISSUES = [{"issue_id": f"i{n}", "severity": "high" if n else "low", "kind": "duplicate"} for n in range(3)]


async def found(api: Api, *, project: bool = True) -> Json:
    """A flow whose first phase has found something."""
    made = await api.made(options={"auto_execute": True})
    refs = {}
    for kind, rows in (("assets", ASSETS), ("dependencies", EDGES), ("issues", ISSUES)):
        lines = b"\n".join(msgspec.json.encode(row) for row in rows) + b"\n"
        refs[kind] = await api.side.artifacts.put(api.account, lines, "application/x-ndjson")
    answer = await api.complete(made["flow_id"], **refs)
    if project:
        await api.project(made["flow_id"])
    return {**made, "version": answer.version}


async def test_every_row_comes_once_and_in_order(api: Api) -> None:
    flow = await found(api)
    path = f"/flows/{flow['flow_id']}"
    for kind, rows in (("assets", ASSETS), ("dependencies", EDGES), ("issues", ISSUES)):
        seen, cursor = [], ""
        while True:
            page = (await api.get(f"{path}/{kind}?limit=2{cursor}")).json()
            assert set(page) == {kind, "total", "next_cursor"}
            assert page["total"] == len(rows)
            seen += page[kind]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == rows


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("assets?asset_type=server", ["a1", "a3", "a5"]),
        ("assets?asset_type=server,database", ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]),
        ("assets?asset_type=storage", []),
        ("dependencies?noise=true", ["d0"]),
        ("dependencies?noise=false", ["d1", "d2"]),
        ("issues?severity=high", ["i1", "i2"]),
        ("issues?kind=duplicate&severity=low", ["i0"]),
    ],
)
async def test_rows_are_filtered(api: Api, query: str, ids: list[str]) -> None:
    flow = await found(api)

    page = (await api.get(f"/flows/{flow['flow_id']}/{query}")).json()

    kind = query.partition("?")[0]
    assert [next(value for name, value in row.items() if name.endswith("_id")) for row in page[kind]] == ids
    assert page["total"] == len(ids)


async def test_a_reader_waits_for_the_rows_of_a_version(api: Api) -> None:
    flow = await found(api, project=False)
    path = f"/flows/{flow['flow_id']}/assets"

    problem(await api.get(f"{path}?min_version={flow['version']}&wait_ms=30"), 504, "read_model_behind")
    problem(await api.get(f"{path}?consistency=strong&wait_ms=30"), 504, "read_model_behind")
    early = await api.get(path)
    assert (early.json()["total"], "etag" in early.headers) == (0, False)
    assert (await api.get(path, headers={"If-None-Match": f'"{flow["version"]}"'})).status_code == 200
    await api.project(flow["flow_id"])
    late = await api.get(f"{path}?min_version={flow['version']}")
    assert late.json()["total"] == len(ASSETS)
    current = (await api.side.store.flow(UUID(flow["flow_id"]))).version
    assert late.headers["etag"] == f'"{current}"'
    assert (await api.get(path, headers={"If-None-Match": f'"{current}"'})).status_code == 304


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "asset_type=,", "cursor=x", "noise=true", "min_version=0"])
async def test_a_wrong_question_is_refused(api: Api, query: str) -> None:
    flow = await api.made()

    problem(await api.get(f"/flows/{flow['flow_id']}/assets?{query}"), 422, "parameter_invalid")
