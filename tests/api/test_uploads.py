"""Uploads: kept by content, streamed, refused whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from api import documents
from tests.api.conftest import Api, config_for, problem, started

Json = dict[str, Any]
CSV = b"name,os\nweb01,linux\n"
OPTIONS: Json = {"delimiter": ";", "decimal": ",", "header_row": [2, 3], "tables": {"a": {"units": {"RAM": "MiB"}}}}


def described() -> Json:
    """What a reader says of a file."""
    sheet = {"name": "a.csv", "rows": 1, "columns": ["name", "os"], "kind": "table", "role": "machines"}
    return {
        "format": "csv",
        "recognised_as": "table",
        "encoding": "utf-8",
        "sheets": [
            {**sheet, "header_row": 1, "set_aside": 1, "read_as": {"delimiter": ",", "header_rows": [1]}},
        ],
        "rows": 1,
        "preview": {"a.csv": [{"name": "web01", "os": "linux"}]},
        "set_aside": {"a.csv": [{"row": 3, "reason": "totals_row", "message": "row 3 adds up the others"}]},
        "warnings": [],
    }


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
    assert await api.logged(key) == [
        ("UploadImport", "accepted", None),
        ("UploadImport", "repeated", None),
        ("UploadImport", "refused", "idempotency_key_reused"),
        ("CreateFlow", "refused", "idempotency_key_reused"),
    ]


async def test_an_upload_without_a_key_is_in_the_log_too(api: Api) -> None:
    made = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()
    await api.post("/imports", files={"file": ("b.csv", CSV)})
    async with api.side.pool.connection() as connection:
        cursor = await connection.execute(
            "select outcome, user_id, convert_from(body, 'UTF8')::json ->> 'filename' from command_log"
            " where command = 'UploadImport' and flow_id = %s order by n",
            (UUID(made["import_file_id"]),),
        )
        assert await cursor.fetchall() == [
            ("accepted", "maria@example.com", "a.csv"),
            ("repeated", "maria@example.com", "b.csv"),
        ]


async def test_what_a_reader_found_is_shown(api: Api) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    early = await api.get(f"/imports/{import_id}/preview?wait_ms=20")
    problem(early, 409, "not_ready")
    assert early.headers["retry-after"] == "1"
    summary = described()
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
    assert (preview.format, preview.recognised_as, preview.rows) == ("csv", "table", 1)
    assert preview.sheets is not None
    assert preview.sheets[0].read_as == {"delimiter": ",", "header_rows": [1]}
    assert preview.model_dump(exclude_unset=True)["set_aside"] == {
        "a.csv": [{"row": 3, "reason": "totals_row", "message": "row 3 adds up the others"}]
    }
    assert (preview.warnings, found["warnings"]) == ([], [])
    assert (found["recognised_as"], found["encoding"], found["import_options"]) == ("table", "utf-8", {})


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
        (form((FILE, CSV), ('name="import_options"', b"{,}")), "import_options is not JSON"),
        (form((FILE, CSV), ('name="import_options"', b"\xff")), "import_options is not JSON"),
        (form((FILE, CSV), ('name="import_options"', b"[" * 15_000)), "import_options is not JSON"),
        (form((FILE, CSV), ('name="import_options"', b" " * 20_001)), "20000 bytes"),
        (form((FILE, CSV), ('name="import_options"', b"{}"), ('name="import_options"', b"{}")), "more than once"),
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


WRONG_OPTIONS: list[tuple[Any, str]] = [
    ([], "import_options"),
    ({"colour": "red"}, "import_options.colour"),
    ({"decimal": ";"}, "import_options.decimal"),
    ({"header_row": -1}, "import_options.header_row"),
    ({"tables": {"Sheet 1": {"units": {"RAM": 7}}}}, "import_options.tables.Sheet 1.units.RAM"),
]


@pytest.mark.parametrize(("options", "field"), WRONG_OPTIONS)
async def test_options_of_the_wrong_shape_are_refused_by_name(api: Api, options: Any, field: str) -> None:
    headers, body = form((FILE, CSV), ('name="import_options"', json.dumps(options).encode()))
    refused = problem(await api.post("/imports", content=body, headers=headers), 422, "import_options_invalid")
    assert [error["field"] for error in refused["errors"]] == [field]
    assert (await api.get("/imports")).json()["total"] == 0
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    patched = await api.ask("PATCH", f"/imports/{import_id}", json={"import_options": options})
    assert problem(patched, 422, "import_options_invalid")["errors"] == refused["errors"]


async def test_the_caller_says_how_a_file_is_read_and_later_otherwise(api: Api) -> None:
    made = await api.post("/imports", files={"file": ("a.csv", CSV)}, data={"import_options": json.dumps(OPTIONS)})
    import_id = documents.ImportMade.model_validate(made.json()).import_file_id
    assert made.json()["import_options"] == OPTIONS

    # the same bytes are the same import, and keep the options they have
    again = await api.post("/imports", files={"file": ("a.csv", CSV)}, data={"import_options": '{"delimiter": ","}'})
    assert (again.status_code, again.json()) == (200, made.json())

    await api.side.imports.described(import_id, "readable", described(), OPTIONS)
    assert (await api.get(f"/imports/{import_id}")).json()["state"] == "readable"
    changed = await api.ask("PATCH", f"/imports/{import_id}", json={"import_options": {"delimiter": ","}})
    detail = documents.ImportDetail.model_validate(changed.json())
    assert (changed.status_code, detail.state, detail.import_options) == (200, "stored", {"delimiter": ","})
    assert (detail.format, detail.sheets, detail.rows) == (None, None, None)
    problem(await api.get(f"/imports/{import_id}/preview"), 409, "not_ready")

    # a reader that had the file under the old options comes too late
    assert not await api.side.imports.described(import_id, "readable", described(), OPTIONS)
    assert (await api.get(f"/imports/{import_id}")).json()["state"] == "stored"
    assert await api.side.imports.described(import_id, "readable", described(), {"delimiter": ","})
    preview = documents.ImportPreview.model_validate((await api.get(f"/imports/{import_id}/preview")).json())
    assert preview.import_options == {"delimiter": ","}
    emptied = await api.ask("PATCH", f"/imports/{import_id}", json={"import_options": {}})
    assert emptied.json()["import_options"] == {}


async def test_a_change_of_options_is_made_once_and_kept(api: Api, key: str) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    headers, body = {"Idempotency-Key": key}, {"import_options": {"delimiter": ","}}
    for _ in range(2):
        answer = await api.ask("PATCH", f"/imports/{import_id}", json=body, headers=headers)
        assert answer.json()["import_options"] == {"delimiter": ","}
    other = await api.ask("PATCH", f"/imports/{import_id}", json={"import_options": {}}, headers=headers)
    problem(other, 422, "idempotency_key_reused")
    assert (await api.get(f"/imports/{import_id}")).json()["import_options"] == {"delimiter": ","}
    assert await api.logged(key) == [
        ("ReadImportAnew", "accepted", None),
        ("ReadImportAnew", "repeated", None),
        ("ReadImportAnew", "refused", "idempotency_key_reused"),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "body_invalid"),
        ({"options": {}}, "body_invalid"),
        ({"import_options": {}, "filename": "b.csv"}, "body_invalid"),
        ({"import_options": None}, "import_options_invalid"),
        ({"import_options": {"sheets": ["x" * 250] * 100}}, "import_options_invalid"),
    ],
)
async def test_a_change_of_options_that_is_none_is_refused(api: Api, body: Json, code: str) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    problem(await api.ask("PATCH", f"/imports/{import_id}", json=body), 422, code)
    assert (await api.get(f"/imports/{import_id}")).json()["import_options"] == {}


async def test_another_tenants_upload_is_not_there_to_be_read_anew(api: Api) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    for stranger in ({"X-Client-Account-ID": str(uuid4())}, {"X-Engagement-ID": str(uuid4())}):
        body = {"import_options": {"delimiter": ";"}}
        answer = await api.ask("PATCH", f"/imports/{import_id}", json=body, headers=stranger)
        problem(answer, 404, "import_not_found")
    assert (await api.get(f"/imports/{import_id}")).json()["import_options"] == {}


async def test_a_stranger_is_told_nothing_whatever_the_body_is(api: Api) -> None:
    import_id = (await api.post("/imports", files={"file": ("a.csv", CSV)})).json()["import_file_id"]
    stranger = {"X-Client-Account-ID": str(uuid4()), "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b'{"colour": "red"}', b'{"import_options": 7}', b"x" * 100_000):
        answer = await api.ask("PATCH", f"/imports/{import_id}", content=body, headers=stranger)
        problem(answer, 404, "import_not_found")


async def test_options_belong_to_what_a_key_stands_for(api: Api, key: str) -> None:
    headers, files = {"Idempotency-Key": key}, {"file": ("a.csv", CSV)}
    first = await api.post("/imports", files=files, data={"import_options": '{"delimiter": ","}'}, headers=headers)
    same = await api.post("/imports", files=files, data={"import_options": '{ "delimiter":","}'}, headers=headers)
    assert (first.status_code, same.status_code) == (201, 201)
    other = await api.post("/imports", files=files, data={"import_options": '{"delimiter": ";"}'}, headers=headers)
    problem(other, 422, "idempotency_key_reused")


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


def test_every_field_of_an_import_is_explained(api_document: Json) -> None:
    schemas = api_document["components"]["schemas"]
    plain = {
        "size_bytes",
        "created_at",
        "created_by",
        "filename",
        "import_file_id",
        "sheets",
        "warnings",
        "message",
        "sheet",
    }
    for name in ("ImportMade", "ImportDetail", "ImportPreview", "SheetRead", "WarningRead", "FaultRead"):
        told = schemas[name]["properties"]
        assert {field for field, one in told.items() if "description" not in one} <= plain | {"detail"}, name
    form = api_document["paths"]["/api/v1/imports"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert all("description" in one for one in form["properties"].values())
    body = api_document["paths"]["/api/v1/imports/{import_id}"]["patch"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["import_options"]["allOf"] == [{"$ref": "#/components/schemas/ImportOptions"}]
