"""Uploads: a multipart form with one file, taken in as it streams, described by whoever reads it later."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Annotated, Any
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Path, Query, Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.responses import Response

from api import cursors
from api.answers import Json
from api.asking import DOOR, Asking, Caller, command_id, json_body
from api.cursors import Cursor
from api.documents import ImportDetail, ImportList, ImportMade, ImportPreview
from api.openapi import READ_ANEW, UPLOAD, answers
from api.problems import ImportNotReady, ImportUnreadable
from api.reading import WaitMs
from domain.errors import BodyInvalid, FieldError, ImportOptionsInvalid, UploadInvalid, UploadTooLarge
from domain.import_options import MAX_BYTES as MAX_OPTIONS_BYTES
from domain.import_options import checked
from eventstore.acts import Act, acting
from eventstore.audit.notes import Note
from eventstore.committer import ACCEPTED, REPEATED
from eventstore.imports import Import, import_id_of

router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["imports"])

MAX_NAME = 255
MAX_FIELD_BYTES = 1000
MAX_PARTS = 20
FORM_OVERHEAD = 1 << 20
DRAIN_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20
# the texts of a form, and how many bytes of each are taken
TEXT_FIELDS = {"import_type": MAX_FIELD_BYTES, "import_options": MAX_OPTIONS_BYTES}
DESCRIBED = ("format", "recognised_as", "encoding", "sheets", "rows", "warnings", "error")
PREVIEWED = ("format", "recognised_as", "encoding", "sheets", "rows", "preview", "set_aside", "warnings")


@dataclass(slots=True)
class Upload:
    """One file of a form, spooled to disk, with its SHA-256."""

    file: IO[bytes]
    filename: str
    import_type: str | None
    import_options: dict[str, Any]
    sha256: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in parts of at most 1 MiB."""
        while part := self.file.read(CHUNK_BYTES):
            yield part


class _Form:
    """What the parser of a multipart form calls: the file goes to the spool, texts are kept."""

    def __init__(self, spool: IO[bytes], max_bytes: int) -> None:
        self.spool = spool
        self.max_bytes = max_bytes
        self.hash = hashlib.sha256()
        self.size = 0
        self.filename: str | None = None
        self.texts: dict[str, bytes] = {}
        self.ended = False
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._field = ""
        self._is_file = False

    def callbacks(self) -> Any:
        """The functions by the names the parser knows them under."""
        names = (
            *("on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value", "on_header_end"),
            *("on_headers_finished", "on_end"),
        )
        return {name: getattr(self, name) for name in names}

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UploadInvalid(f"the form has more than {MAX_PARTS} parts")
        self._disposition, self._field, self._is_file = b"", "", False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field == "file":
            if b"filename" not in options:
                raise _wrong("file", "must be sent as a file, with a file name")
            if self.filename is not None:
                raise _wrong("file", "is given more than once; upload one file at a time")
            self.filename = _clean_name(options[b"filename"].decode("utf-8", "replace"))
            self._is_file = True
        elif self._field not in TEXT_FIELDS:
            raise _wrong(self._field or "form", f"unknown field; the form takes file, {', '.join(TEXT_FIELDS)}")
        elif self._field in self.texts:
            raise _wrong(self._field, "is given more than once")
        else:
            self.texts[self._field] = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            part = data[start:end]
            self.size += len(part)
            if self.size > self.max_bytes:
                raise UploadTooLarge(
                    f"the file is larger than {self.max_bytes} bytes; split it, or raise MFO_MAX_UPLOAD_BYTES"
                )
            self.hash.update(part)
            self.spool.write(part)
            return
        self.texts[self._field] += data[start:end]
        most = TEXT_FIELDS[self._field]
        if len(self.texts[self._field]) > most:
            raise _wrong(self._field, f"is too long; it may have {most} bytes")

    def on_part_end(self) -> None:
        self._is_file = False

    def on_end(self) -> None:
        self.ended = True

    def text(self, name: str, most: int) -> str | None:
        """A text of the form; none where it is absent or blank. Raises UploadInvalid."""
        try:
            text = self.texts.get(name, b"").decode().strip()
        except UnicodeDecodeError:
            raise _wrong(name, "is not UTF-8") from None
        if len(text) > most or not text.isprintable():
            raise _wrong(name, f"must be at most {most} printable characters")
        return text or None

    def options(self) -> dict[str, Any]:
        """The import options of the form, empty where there are none. Raises UploadInvalid and ImportOptionsInvalid."""
        given = self.texts.get("import_options", b"").strip()
        if not given:
            return {}
        try:
            return checked(msgspec.json.decode(given))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _wrong("import_options", f"is not JSON: {str(error)[:200]}") from None


def _wrong(field: str, message: str) -> UploadInvalid:
    return UploadInvalid(f"{field} {message}", errors=[FieldError(field, message)])


def _clean_name(name: str) -> str:
    """The last part of a path; raises UploadInvalid for a name that is empty, too long or not printable."""
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    if not last or len(last) > MAX_NAME or not last.isprintable():
        raise _wrong("file", f"needs a file name of 1 to {MAX_NAME} printable characters")
    return last


@asynccontextmanager
async def received(request: Request, max_bytes: int) -> AsyncIterator[Upload]:
    """The file in a multipart form, for as long as the block lasts; raises UploadInvalid and UploadTooLarge.

    The form goes to disk as it arrives, because its texts may stand after the file.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UploadInvalid("send the file as multipart/form-data with a boundary, in the field file")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes + FORM_OVERHEAD:
        raise UploadTooLarge(f"the upload has {length} bytes; at most {max_bytes} are taken")
    with tempfile.TemporaryFile(prefix="mfo-form-") as spool:
        form = _Form(spool, max_bytes)
        stream = request.stream()
        try:
            parser = MultipartParser(options[b"boundary"], form.callbacks())
            async for part in stream:
                parser.write(part)
            if not form.ended:
                raise UploadInvalid("the form ends before its last boundary; the upload was cut short")
        except FormParserError as error:
            await _drain(stream)
            raise UploadInvalid(f"the form cannot be read: {error}") from None
        except (UploadInvalid, UploadTooLarge):
            await _drain(stream)
            raise
        if form.filename is None:
            raise _wrong("file", "is required")
        import_type, import_options = form.text("import_type", 100), form.options()
        spool.seek(0)
        yield Upload(spool, form.filename, import_type, import_options, form.hash.digest())


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Take a little more of a body that is refused, so that most callers can read why."""
    left = DRAIN_BYTES
    async for part in stream:
        left -= len(part)
        if left < 0:
            return


@asynccontextmanager
async def _noted(asking: Caller) -> AsyncIterator[None]:
    """Have the audit trail tell of an upload that is refused."""
    try:
        yield
    except (UploadInvalid, UploadTooLarge, ImportOptionsInvalid) as refused:
        asking.service.notes.later(asking.envelope(str(uuid4())), Note("UploadImport", None, {}, refused))
        raise


@router.post(
    "/imports",
    status_code=201,
    summary="Upload an inventory",
    responses=answers(201, ImportMade, 200, 400, 413, 422, 503, also={200: ImportMade}),
    openapi_extra=UPLOAD,
)
async def add_import(request: Request, asking: Asking) -> Response:
    """Keep a file by its content; the same bytes again are the same import (200), with the name, type and import options
    that it had before: PATCH it to have it read otherwise."""
    envelope = asking.envelope(command_id(request))
    async with _noted(asking), received(request, asking.side.config.max_upload_bytes) as upload:
        marks = [b"UploadImport", upload.filename.encode(), (upload.import_type or "").encode(), upload.sha256]
        if upload.import_options:
            marks.append(msgspec.json.encode(upload.import_options, order="sorted"))
        act = Act(
            "UploadImport",
            import_id_of(asking.tenant, upload.sha256),
            {
                "filename": upload.filename,
                "import_type": upload.import_type,
                "sha256": upload.sha256.hex(),
                "import_options": upload.import_options,
            },
            b"\0".join(marks),
        )
        async with acting(asking.side.pool) as doing:
            first = await doing.again(envelope, act)
        kept, is_new = await asking.side.imports.add(
            asking.tenant,
            upload.filename,
            upload.chunks(),
            max_bytes=asking.side.config.max_upload_bytes,
            import_type=upload.import_type,
            import_options=upload.import_options,
        )
    outcome = ACCEPTED if is_new else REPEATED
    if first is None:
        async with acting(asking.side.pool) as doing:
            first = await doing.keep(envelope, act._replace(outcome=outcome))
    outcome = first.answer if first is not None else outcome
    made = {
        "import_file_id": kept.id,
        "filename": kept.filename,
        "size_bytes": kept.size_bytes,
        "sha256": kept.sha256.hex(),
        "import_options": kept.import_options or {},
    }
    return Json(made, 201 if outcome == ACCEPTED else 200, {"Location": f"/api/v1/imports/{kept.id}"})


@router.get("/imports", summary="List uploads", responses=answers(200, ImportList, 400, 422, 503))
async def list_imports(
    asking: Asking,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The tenant's uploads, newest first."""
    after = cursors.read(cursor, "imports", datetime)
    before = (after.key, after.id) if after else None
    rows, total = await asking.side.imports.page(asking.tenant, limit + 1, before)  # type: ignore[arg-type]
    last = rows[limit - 1] if len(rows) > limit else None
    return Json(
        {
            "imports": [_detail(row) for row in rows[:limit]],
            "total": total,
            "next_cursor": cursors.write("imports", Cursor(last.created_at, last.id)) if last else None,
        }
    )


ImportId = Annotated[UUID, Path(description="The import's id.")]


@router.get("/imports/{import_id}", summary="One upload", responses=answers(200, ImportDetail, 400, 404, 422, 503))
async def get_import(asking: Asking, import_id: ImportId, wait_ms: WaitMs = 0) -> Response:
    """An upload and what is in it; with `wait_ms` the answer waits until the file has been read."""
    return Json(_detail(await _read(asking, import_id, wait_ms)))


@router.patch(
    "/imports/{import_id}",
    summary="Have an upload read otherwise",
    responses=answers(200, ImportDetail, 400, 404, 413, 422, 503),
    openapi_extra=READ_ANEW,
)
async def read_anew(request: Request, asking: Asking, import_id: ImportId) -> Response:
    """Replace the import options of an upload, `{}` for none, and describe it anew under them; flows that have read it
    keep what they read."""
    # before the body is looked at: whoever may not see the upload is told nothing else
    await asking.side.imports.get(asking.tenant, str(import_id))
    body = await json_body(request, 2 * MAX_OPTIONS_BYTES)
    errors = [
        FieldError(name, "unknown field; the body takes import_options") for name in body if name != "import_options"
    ]
    if "import_options" not in body:
        errors.append(FieldError("import_options", "is required"))
    if errors:
        raise BodyInvalid("; ".join(f"{error.field}: {error.message}" for error in errors[:3]), errors=errors[:50])
    options = checked(body["import_options"])
    if len(msgspec.json.encode(options)) > MAX_OPTIONS_BYTES:
        wrong = FieldError("import_options", f"is too long; it may have {MAX_OPTIONS_BYTES} bytes")
        raise ImportOptionsInvalid(f"{wrong.field} {wrong.message}", errors=[wrong])
    envelope = asking.envelope(command_id(request))
    act = Act("ReadImportAnew", import_id, {"import_options": options})
    async with acting(asking.side.pool) as doing:
        first = await doing.again(envelope, act)
    if first is not None:
        return Json(_detail(await asking.side.imports.get(asking.tenant, str(import_id))))
    found = await asking.side.imports.read_anew(asking.tenant, str(import_id), options)
    async with acting(asking.side.pool) as doing:
        await doing.keep(envelope, act)
    return Json(_detail(found))


@router.get(
    "/imports/{import_id}/preview",
    summary="The first rows of an upload",
    responses=answers(200, ImportPreview, 400, 404, 409, 422, 503),
)
async def preview_import(asking: Asking, import_id: ImportId, wait_ms: WaitMs = 0) -> Response:
    """What the file was taken for, how each sheet was read, its first rows and what was set aside; 409 until it has been
    read, or when it cannot be. Cells that look like credentials or personal data are masked."""
    found = await _read(asking, import_id, wait_ms)
    if found.state == "unreadable":
        error = (found.summary or {}).get("error") or {}
        raise ImportUnreadable(str(error.get("detail") or error.get("message") or "") or None)
    if found.state != "readable" or found.summary is None:
        raise ImportNotReady
    return Json(
        {
            "import_file_id": found.id,
            "filename": found.filename,
            "import_options": found.import_options or {},
            **{name: found.summary.get(name) for name in PREVIEWED},
        }
    )


async def _read(asking: Caller, import_id: UUID, wait_ms: int) -> Import:
    found = await asking.side.imports.get(asking.tenant, str(import_id))
    if wait_ms and found.state in ("stored", "inspecting"):
        await asking.service.watch.import_read(import_id, wait_ms / 1000)
        found = await asking.side.imports.get(asking.tenant, str(import_id))
    return found


def _detail(found: Import) -> dict[str, Any]:
    summary = found.summary or {}
    return {
        "import_file_id": found.id,
        "filename": found.filename,
        "import_type": found.import_type,
        "size_bytes": found.size_bytes,
        "sha256": found.sha256.hex(),
        "state": found.state,
        "import_options": found.import_options or {},
        **{name: summary.get(name) for name in DESCRIBED},
        "created_at": found.created_at,
        "created_by": found.created_by,
    }
