"""The report of a discovery and its exports, over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from pathlib import Path
from typing import get_args
from uuid import UUID

import msgspec
import openpyxl
import pytest

from api import report
from api.documents import AssetType, Severity
from estate.issues import SEVERITIES
from estate.vocabulary import ASSET_TYPES
from tests.api.conftest import Api, Json, problem

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PHASES = (
    *("data_import", "field_mapping", "data_cleansing", "asset_inventory", "dependency_analysis"),
    "tech_debt_assessment",
)
ASSETS = [
    {
        "asset_id": f"a{n}",
        "name": f"web{n:02}" if n else "=cmd|' /C calc'!A0",
        "asset_type": "server" if n % 2 else "database",
        "memory_gb": n * 1.5,
        "business_owner": "ann@corp.example",
        "sources": [{"file": "a.csv", "sheet": None, "row": n + 2}],
    }
    for n in range(7)
]
EDGES = [
    {
        "dependency_id": f"d{n}",
        "source_asset_id": "a1",
        "source_name": "web01",
        "target_asset_id": "a2",
        "target_name": "web02",
        "noise": n == 0,
        "noise_reason": None if n else "port 53: DNS",
    }
    for n in range(3)
]
ISSUES = [
    {"issue_id": f"i{n}", "severity": "high" if n else "low", "kind": "duplicate", "message": f"row {n}"}
    for n in range(3)
]
OUTPUTS: dict[str, dict[str, list[Json]]] = {
    "data_import": {"issues": ISSUES[:1]},
    "asset_inventory": {"assets": ASSETS, "issues": ISSUES[1:]},
    "dependency_analysis": {"dependencies": EDGES, "move_groups": []},
    "tech_debt_assessment": {"findings": [], "scores": []},
}


async def discovery(api: Api, name: str = "Juni & Jüli", until: str | None = None) -> Json:
    """A flow whose phases, up to one of them, have found something."""
    made = await api.made(flow_name=name, options={"auto_execute": True})
    for phase in PHASES:
        refs: Json = {"message": f"{phase} is done"}
        for kind, rows in OUTPUTS.get(phase, {}).items():
            lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
            refs[kind] = await api.side.artifacts.put(api.account, lines, "application/x-ndjson")
        answer = await api.complete(made["flow_id"], **refs)
        if phase == until:
            break
    await api.project(made["flow_id"])
    return {**made, "version": answer.version}


@pytest.fixture(autouse=True)
def folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What other tests leave for a moment must not be seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("mfo-report-*"))


async def test_a_page_and_a_workbook_are_made(api: Api) -> None:
    flow = await discovery(api)
    before = folders()

    page = await api.get(f"/flows/{flow['flow_id']}/report")
    assert page.status_code == 200, page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "filename*=UTF-8''Juni%20%26%20J%C3%BCli%20-%20report.html" in page.headers["content-disposition"]
    assert 'filename="Juni & J_li - report.html"' in page.headers["content-disposition"]
    current = (await api.side.store.flow(UUID(flow["flow_id"]))).version
    assert page.headers["etag"] == f'"{current}"'
    for told in ("Juni &amp; Jüli", "web01", "a***@corp.example", "tech_debt_assessment is done"):
        assert told in page.text
    book = await api.get(f"/flows/{flow['flow_id']}/report?format=xlsx&masked=false")
    assert book.headers["content-type"] == XLSX
    assert int(book.headers["content-length"]) == len(book.content)
    sheets = openpyxl.load_workbook(io.BytesIO(book.content))
    names = [row[0].value for row in sheets["Assets"].iter_rows(min_row=2)]
    assert names == [asset["name"] for asset in ASSETS]
    assert [row[1].value for row in sheets["Issues"].iter_rows(min_row=2)] == ["duplicate"] * 3
    assert "ann@corp.example" in [cell.value for row in sheets["Assets"] for cell in row]
    async with api.side.pool.connection() as connection:
        noted = await connection.execute(
            "select command from command_log where flow_id = %s and command like 'Read%%'", (UUID(flow["flow_id"]),)
        )
        assert await noted.fetchall() == [("ReadUnmaskedReport",)]
    assert folders() == before


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/html; charset=utf-8"),
        (XLSX, XLSX),
        (f"{XLSX};q=0.9, application/json", XLSX),
        (f"text/html,{XLSX}", "text/html; charset=utf-8"),
    ],
)
async def test_the_accepted_format_is_given(api: Api, accept: str, kind: str) -> None:
    flow = await discovery(api)

    answer = await api.get(f"/flows/{flow['flow_id']}/report", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"], answer.headers["vary"]) == (200, kind, "Accept")


async def test_a_report_that_has_not_changed_is_not_made_again(api: Api) -> None:
    flow = await discovery(api)
    path = f"/flows/{flow['flow_id']}/report?format=html"
    tag = (await api.get(path)).headers["etag"]

    assert (await api.get(path, headers={"If-None-Match": tag})).status_code == 304


@pytest.mark.parametrize("until", [None, "data_cleansing"])
async def test_there_is_no_report_before_there_is_an_inventory(api: Api, until: str | None) -> None:
    flow = await discovery(api, until=until) if until else await api.made()

    refused = problem(await api.get(f"/flows/{flow['flow_id']}/report"), 409, "report_not_ready")
    assert "asset_inventory" in refused["detail"]
    assert refused["allowed"]


async def test_a_report_tells_what_there_is_so_far(api: Api) -> None:
    flow = await discovery(api, until="asset_inventory")

    page = await api.get(f"/flows/{flow['flow_id']}/report")
    assert page.status_code == 200
    assert "This phase has not been completed" in page.text


@pytest.mark.parametrize("query", ["format=pdf", "format=", "masked=perhaps", "colour=red", "format=html&format=xlsx"])
async def test_a_wrong_question_is_refused(api: Api, query: str) -> None:
    flow = await api.made()

    problem(await api.get(f"/flows/{flow['flow_id']}/report?{query}"), 422, "parameter_invalid")


async def test_a_third_report_at_a_time_waits_for_its_turn(api: Api) -> None:
    flow = await discovery(api)
    async with report.folder(), report.folder():
        busy = await api.get(f"/flows/{flow['flow_id']}/report")
        problem(busy, 503, "report_busy")
        assert int(busy.headers["retry-after"]) >= 1
        problem(await api.get(f"/flows/{flow['flow_id']}/assets?format=csv"), 503, "report_busy")
    both = await asyncio.gather(*(api.get(f"/flows/{flow['flow_id']}/report") for _ in range(2)))
    assert [answer.status_code for answer in both] == [200, 200]


async def test_a_report_that_cannot_be_made_leaves_nothing_behind(api: Api) -> None:
    made = await discovery(api, until="data_cleansing")
    lines = b'{"asset_id":"a1","name":"top secret","sources":7}\n'
    ref = await api.side.artifacts.put(api.account, lines, "application/x-ndjson")
    await api.complete(made["flow_id"], assets=ref)
    before = folders()

    failed = await api.get(f"/flows/{made['flow_id']}/report")

    problem(failed, 500, "report_failed")
    assert "secret" not in failed.text
    assert folders() == before


async def test_a_report_takes_no_more_than_its_share(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await discovery(api, until="data_cleansing")
    lines = msgspec.json.encode({**ASSETS[0], "description": "x" * 8_000_000})
    await api.complete(made["flow_id"], assets=await api.side.artifacts.put(api.account, lines, "application/x-ndjson"))
    monkeypatch.setattr(report, "MEMORY_MB", 30)

    problem(await api.get(f"/flows/{made['flow_id']}/report"), 500, "report_too_large")


# --- csv --------------------------------------------------------------------------------------------------------


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("assets?format=csv", [f"a{n}" for n in range(7)]),
        ("assets?format=csv&asset_type=server", ["a1", "a3", "a5"]),
        ("assets?format=csv&asset_type=storage", []),
        ("dependencies?format=csv&noise=false", ["d1", "d2"]),
        ("issues?format=csv&severity=high", ["i1", "i2"]),
    ],
)
async def test_a_csv_has_every_row_that_matches(api: Api, query: str, ids: list[str]) -> None:
    flow = await discovery(api)
    before = folders()

    answer = await api.get(f"/flows/{flow['flow_id']}/{query}")

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv; charset=utf-8")
    kind = query.partition("?")[0]
    assert f"{kind}.csv" in answer.headers["content-disposition"]
    rows = rows_of(answer.content.decode())
    assert [
        row[{"assets": "asset_id", "dependencies": "dependency_id", "issues": "issue_id"}[kind]] for row in rows
    ] == ids
    assert folders() == before


async def test_a_csv_runs_nothing_and_keeps_numbers(api: Api) -> None:
    flow = await discovery(api)

    rows = rows_of((await api.get(f"/flows/{flow['flow_id']}/assets?format=csv")).content.decode())

    assert rows[0]["name"] == "'=cmd|' /C calc'!A0"
    assert [row["memory_gb"] for row in rows[:3]] == ["0.0", "1.5", "3.0"]
    assert rows[1]["sources"] == "a.csv, row 3"


@pytest.mark.parametrize("query", ["limit=5", "cursor=x", "limit=5&cursor=x"])
async def test_a_csv_has_no_pages(api: Api, query: str) -> None:
    flow = await discovery(api)

    problem(await api.get(f"/flows/{flow['flow_id']}/assets?format=csv&{query}"), 422, "parameter_invalid")


async def test_a_csv_waits_for_its_rows_like_a_page(api: Api) -> None:
    made = await api.made()

    late = await api.get(f"/flows/{made['flow_id']}/assets?format=csv&min_version=99&wait_ms=10")
    problem(late, 504, "read_model_behind")
    first = await api.get(f"/flows/{made['flow_id']}/assets?format=csv")
    again = await api.get(
        f"/flows/{made['flow_id']}/assets?format=csv", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (first.status_code, again.status_code) == (200, 304)


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("assets?asset_type=toaster", "asset_type", "virtual_machine"),
        ("assets?asset_type=server,toaster", "asset_type", "virtual_machine"),
        ("issues?severity=bad", "severity", "critical"),
        ("dependencies?noise=perhaps", "noise", "'true' or 'false'"),
        ("assets?format=xml", "format", "'json' or 'csv'"),
    ],
)
async def test_a_word_that_no_row_can_have_is_refused(api: Api, query: str, field: str, allowed: str) -> None:
    flow = await api.made()

    refused = problem(await api.get(f"/flows/{flow['flow_id']}/{query}"), 422, "parameter_invalid")

    assert [error["field"] for error in refused["errors"]] == [field]
    assert allowed in refused["errors"][0]["message"]


def test_the_words_of_filters_are_those_of_the_estate() -> None:
    assert set(get_args(AssetType)) == set(ASSET_TYPES.values())
    assert get_args(Severity) == SEVERITIES


async def test_a_name_cannot_disguise_the_file(api: Api) -> None:
    """Neither by a line of its own nor by turning the direction of writing."""
    flow = await discovery(api, 'a"; x="\u202egpj.exe\u200b')
    page = await api.get(f"/flows/{flow['flow_id']}/report")
    told = page.headers["content-disposition"]
    assert told == (
        "attachment; filename=\"a_; x=__gpj.exe_ - report.html\"; filename*=UTF-8''a_%3B%20x%3D__gpj.exe_%20-%20report.html"
    )
