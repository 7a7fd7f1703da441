"""Uploads: kept by content, streamed, refused whole."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from api import documents
from tests.api.conftest import Api, config_for, problem, started

CSV = b"name,os\nweb01,linux\n"


def form(*parts: tuple[str, bytes], end: bytes = b"--xx--\r\n") -> tuple[dict[str, str], bytes]:
    """A multipart form put together by hand: (Content-Disposition parameters, content)."""
    body = b"".join(
        b"--xx\r\nContent-Disposition: form-data" + f"; {parameters}".encode() + b"\r\n\r\n" + content + b"\r\n"
        for parameters, content in parts
    )
    return {"Content-Type": "multipart/form-data; boundary=xx"}, body + end


async def test_an_upload_is_kept_by_its_content(api: Api) -> None:
    response = await api.post("/imports", files={"file": ("inventory.csv", CSV)}, data={"import_type": "servers"})

    assert response.status_code == 201
    made = documents.ImportMade.model_validate(response.json())
    assert (made.filename, made.size_bytes) == ("inventory.csv", len(CSV))
    assert made.sha256 == hashlib.sha256(CSV).hexdigest()
    assert response.headers["location"] == f"/api/v1/imports/{made.import_file_id}"
    again = await api.post("/imports", files={"file": ("copy.csv", CSV)})
    assert (again.status_code, again.json()) == (200, response.json())
    found = documents.ImportDetail.model_validate((await api.get(f"/imports/{made.import_file_id}")).json())
    assert (found.state, found.import_type, found.created_by) == ("stored", "servers", "maria@example.com")
    assert (found.format, found.sheets, found.rows, found.error) == (None, None, None, None)
    kept = await api.side.artifacts.get(api.account, made.sha256)
    assert kept == CSV


async def test_texts_may_stand_after_the_file(api: Api) -> None:
    headers, body = form(('name="file"; filename="C:\\\\exports\\\\a.csv"', CSV), ('name="import_type"', b"rvtools"))

    made = await api.post("/imports", content=body, headers=headers)

    found = (await api.get(f"/imports/{made.json()['import_file_id']}")).json()
    assert (found["filename"], found["import_type"]) == ("a.csv", "rvtools")


async def test_the_same_key_gets_the_same_answer(api: Api, key: str) -> None:
    headers = {"Idempotency-Key": key}
    first = await api.post("/imports", files={"file": ("a.csv", CSV)}, headers=headers)
    again = await api.post("/imports", files={"file": ("a.csv", CSV)}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    other = await api.post("/imports", files={"file": ("a.csv", CSV + b"x")}, headers=headers)
    problem(other, 422, "idempotency_key_reused")
    assert (await api.get("/imports")).json()["total"] == 1
    flow = await api.post("/flows", {"flow_type": "discovery", "flow_name": "x"}, headers=headers)
    problem(flow, 422, "idempotency_key_reused")


async def test_what_a_reader_found_is_shown(api: Api) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    early = await api.get(f"/imports/{import_id}/preview?wait_ms=20")
    problem(early, 409, "not_ready")
    assert early.headers["retry-after"] == "1"
    summary = {"format": "csv", "sheets": [{"name": "a", "rows": 1}], "rows": 1, "preview": [{"rows": [["web01"]]}]}
    await api.side.imports.described(UUID(import_id), "readable", summary)

    found = (await api.get(f"/imports/{import_id}?wait_ms=1000")).json()
    documents.ImportDetail.model_validate(found)
    assert (found["state"], found["format"], found["sheets"], found["rows"]) == (
        "readable",
        "csv",
        summary["sheets"],
        1,
    )
    preview = documents.ImportPreview.model_validate((await api.get(f"/imports/{import_id}/preview")).json())
    assert preview.preview == summary["preview"]


async def test_a_file_that_cannot_be_read_says_why(api: Api) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", b"")})).json()["import_file_id"]
    error = {"code": "empty_file", "detail": "the file is empty; export it again"}
    await api.side.imports.described(UUID(import_id), "unreadable", {"error": error})

    assert (await api.get(f"/imports/{import_id}")).json()["error"] == error
    body = problem(await api.get(f"/imports/{import_id}/preview"), 409, "import_unreadable")
    assert body["detail"] == error["detail"]


async def test_uploads_are_listed_newest_first(api: Api) -> None:
    ids = []
    for n in range(5):
        made = await api.post("/imports", files={"file": (f"{n}.csv", CSV + str(n).encode())})
        ids.append(made.json()["import_file_id"])
    seen, cursor = [], ""
    while True:
        page = documents.ImportList.model_validate((await api.get(f"/imports?limit=2{cursor}")).json())
        assert page.total == 5
        seen += [str(each.import_file_id) for each in page.imports]
        if page.next_cursor is None:
            break
        cursor = f"&cursor={page.next_cursor}"
    assert seen == ids[::-1]
    problem(await api.get("/imports?cursor=x"), 422, "parameter_invalid")


FILE = 'name="file"; filename="a.csv"'


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (form(), "file is required"),
        (form(('name="import_type"', b"x")), "file is required"),
        (form(('name="file"', CSV)), "with a file name"),
        (form(('name="file"; filename=""', CSV)), "file name"),
        (form((f'name="file"; filename="{"x" * 256}"', CSV)), "file name"),
        (form(('name="file"; filename="a\x01b"', CSV)), "file name"),
        (form((FILE, CSV), (FILE, CSV)), "more than once"),
        (form((FILE, CSV), ('name="colour"', b"red")), "unknown field"),
        (form((FILE, CSV), ('name="import_type"', b"x" * 101)), "at most 100"),
        (form((FILE, CSV), ('name="import_type"', b"x" * 5000)), "too long"),
        (form((FILE, CSV), ('name="import_type"', b"a\x00b")), "printable"),
        (form((FILE, CSV), ('name="import_type"', b"\xff")), "UTF-8"),
        (form((FILE, CSV), end=b""), "cut short"),
        (({"Content-Type": "multipart/form-data; boundary=xx"}, b"no form"), "cannot be read"),
        (({"Content-Type": "multipart/form-data"}, CSV), "multipart/form-data"),
        (({"Content-Type": "text/csv"}, CSV), "multipart/form-data"),
        (({"Content-Type": "application/json"}, b"{}"), "multipart/form-data"),
    ],
)
async def test_a_form_that_is_wrong_is_refused_whole(api: Api, sent: tuple[dict[str, str], bytes], words: str) -> None:
    headers, body = sent

    found = problem(await api.post("/imports", content=body, headers=headers), 422, "upload_invalid")

    assert words in found["detail"]
    assert (await api.get("/imports")).json()["total"] == 0


async def test_a_file_above_the_limit_is_refused_while_it_streams(shared_database_url: str) -> None:
    async with started(config_for(shared_database_url, max_upload_bytes=100_000)) as api:
        headers, whole = form((FILE, b"x" * 100_001))

        async def chunks() -> AsyncIterator[bytes]:
            for n in range(0, len(whole), 10_000):
                yield whole[n : n + 10_000]

        problem(await api.post("/imports", content=chunks(), headers=headers), 413, "upload_too_large")
        problem(await api.post("/imports", files={"file": ("a.csv", b"x" * 3_000_000)}), 413, "upload_too_large")
        headers, whole = form((FILE, b"x" * 100_000))
        assert (await api.post("/imports", content=whole, headers=headers)).status_code == 201
        assert (await api.get("/imports")).json()["total"] == 1
