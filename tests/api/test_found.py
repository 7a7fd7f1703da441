"""What discovery found, page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from api import discovered
from estate.assets import Asset
from tests.api.conftest import Api, Json, problem

ASSETS: list[Json] = [
    {"asset_id": f"a{n}", "name": f"web{n:02}", "asset_type": "server" if n % 2 else "database"} for n in range(7)
]
EDGES: list[Json] = [{"dependency_id": f"d{n}", "noise": n == 0} for n in range(3)]
ISSUES: list[Json] = [{"issue_id": f"i{n}", "severity": "high" if n else "low", "kind": "duplicate"} for n in range(3)]
REVIEWS: list[Json] = [
    {"review_id": f"r{n}", "kind": "possible_duplicate" if n else "ambiguous_match", "names": ["web01", "WEB01"]}
    for n in range(3)
]
CHANGES: list[Json] = [
    {
        "change_id": f"c{n}",
        "kind": kind,
        "name": name,
        "fields": [{"field": field, "before": 4, "after": 8} for field in fields],
    }
    for n, (kind, name, fields) in enumerate(
        (
            ("new", "web00", ()),
            ("changed", "WEB01", ("memory_gb", "cpu_cores")),
            ("renamed", "=db_01", ("name",)),
            ("gone", "db%01", ()),
        )
    )
]
ROWS: dict[str, list[Json]] = {
    "assets": ASSETS,
    "dependencies": EDGES,
    "issues": ISSUES,
    "reviews": REVIEWS,
    "changes": CHANGES,
}


async def found(api: Api, *, project: bool = True, found: Mapping[str, list[Json]] = ROWS, **body: Any) -> Json:
    """A flow whose first phase has found these rows."""
    made = await api.made(options={"auto_execute": True}, **body)
    refs = {}
    for kind, rows in found.items():
        lines = b"\n".join(msgspec.json.encode(row) for row in rows) + b"\n"
        # an output called changes is what cleansing changed
        refs["estate_changes" if kind == "changes" else kind] = await api.side.artifacts.put(
            api.account, lines, "application/x-ndjson"
        )
    answer = await api.complete(made["flow_id"], **refs)
    if project:
        await api.project(made["flow_id"])
    return {**made, "version": answer.version}


async def test_every_row_comes_once_and_in_order(api: Api) -> None:
    flow = await found(api)
    path = f"/flows/{flow['flow_id']}"
    for kind, rows in ROWS.items():
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
        ("reviews?kind=possible_duplicate", ["r1", "r2"]),
        ("reviews?kind=possible_duplicate,ambiguous_match", ["r0", "r1", "r2"]),
        ("changes?kind=new,gone", ["c0", "c3"]),
        ("changes?name=web", ["c0", "c1"]),
        ("changes?name=B_01", ["c2"]),
        ("changes?name=b%2501", ["c3"]),
        ("changes?name=web&kind=changed", ["c1"]),
        ("changes?name=nobody", []),
    ],
)
async def test_rows_are_filtered(api: Api, query: str, ids: list[str]) -> None:
    flow = await found(api)

    page = (await api.get(f"/flows/{flow['flow_id']}/{query}")).json()

    kind = query.partition("?")[0]
    assert [next(value for name, value in row.items() if name.endswith("_id")) for row in page[kind]] == ids
    assert page["total"] == len(ids)


@pytest.mark.parametrize("kind", ["assets", "reviews", "changes"])
async def test_a_reader_waits_for_the_rows_of_a_version(api: Api, kind: str) -> None:
    flow = await found(api, project=False)
    path = f"/flows/{flow['flow_id']}/{kind}"

    problem(await api.get(f"{path}?min_version={flow['version']}&wait_ms=30"), 504, "read_model_behind")
    problem(await api.get(f"{path}?consistency=strong&wait_ms=30"), 504, "read_model_behind")
    early = await api.get(path)
    assert (early.json()["total"], "etag" in early.headers) == (0, False)
    assert (await api.get(path, headers={"If-None-Match": f'"{flow["version"]}"'})).status_code == 200
    await api.project(flow["flow_id"])
    late = await api.get(f"{path}?min_version={flow['version']}")
    assert late.json()["total"] == len(ROWS[kind])
    current = (await api.side.store.flow(UUID(flow["flow_id"]))).version
    assert late.headers["etag"] == f'"{current}"'
    assert (await api.get(path, headers={"If-None-Match": f'"{current}"'})).status_code == 304


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "asset_type=,", "cursor=x", "noise=true", "min_version=0"])
async def test_a_wrong_question_is_refused(api: Api, query: str) -> None:
    flow = await api.made()

    problem(await api.get(f"/flows/{flow['flow_id']}/assets?{query}"), 422, "parameter_invalid")


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("reviews?kind=duplicate", "kind", "possible_duplicate"),
        ("reviews?kind=,", "kind", "empty"),
        ("changes?kind=new,old", "kind", "renamed"),
        ("changes?name=", "name", "at least 1"),
        ("changes?severity=low", "severity", "unknown parameter"),
        ("reviews?name=web", "name", "unknown parameter"),
    ],
)
async def test_a_word_that_no_review_or_change_can_have_is_refused(
    api: Api, query: str, field: str, allowed: str
) -> None:
    flow = await api.made()

    refused = problem(await api.get(f"/flows/{flow['flow_id']}/{query}"), 422, "parameter_invalid")

    assert [error["field"] for error in refused["errors"]] == [field]
    assert allowed in refused["errors"][0]["message"]


async def test_reviews_and_changes_are_csv_too(api: Api) -> None:
    flow = await found(api)

    reviews = await api.get(f"/flows/{flow['flow_id']}/reviews?format=csv&kind=ambiguous_match")
    changes = await api.get(f"/flows/{flow['flow_id']}/changes?format=csv")

    assert "changes.csv" in changes.headers["content-disposition"]
    assert [row["review_id"] for row in rows_of(reviews.content)] == ["r0"]
    told = [(row["kind"], row["name"], row["field"], row["before"], row["after"]) for row in rows_of(changes.content)]
    assert told == [
        ("new", "web00", "", "", ""),
        ("changed", "WEB01", "memory_gb", "4", "8"),
        ("changed", "WEB01", "cpu_cores", "4", "8"),
        ("renamed", "'=db_01", "name", "4", "8"),
        ("gone", "db%01", "", "", ""),
    ]


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


async def test_what_has_changed_in_an_estate_is_nobody_elses(api: Api) -> None:
    flow = await found(api)
    for kind in ("reviews", "changes"):
        answer = await api.get(f"/flows/{flow['flow_id']}/{kind}", headers={"X-Engagement-ID": str(UUID(int=7))})
        problem(answer, 404, "flow_not_found")


def test_every_field_of_an_asset_is_told_and_its_units_too(api_document: Json) -> None:
    told = api_document["components"]["schemas"]["AssetFound"]["properties"]
    assert set(told) == set(Asset.__struct_fields__)
    for name in ("memory_gb", "storage_gb"):
        assert "GiB (1024" in told[name]["description"]
    assert {"reviews", "total", "next_cursor"} == set(api_document["components"]["schemas"]["ReviewList"]["properties"])


@pytest.mark.parametrize(
    ("path", "names"),
    [("reviews", get_args(discovered.ReviewKind)), ("changes", get_args(discovered.ChangeKind))],
)
def test_the_words_of_a_filter_are_told(api_document: Json, path: str, names: tuple[str, ...]) -> None:
    told = api_document["paths"][f"/api/v1/flows/{{flow_id}}/{path}"]["get"]["parameters"]
    kinds = next(each for each in told if each.get("name") == "kind")
    assert all(name in kinds["description"] for name in names)
