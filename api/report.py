"""The report of a discovery as a page or a workbook, made by a process of its own from what the phases handed over."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal
from urllib.parse import quote
from uuid import uuid4

import msgspec
import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.answers import etag, not_modified
from api.asking import DOOR, Asking, Caller, OfFlow
from api.openapi import REPORT, answers
from api.problems import problem
from api.rows import Row
from domain.errors import MfoError, Unavailable
from domain.words import PhaseStatus
from eventstore.audit.notes import Note
from eventstore.scratch import scratch

log = structlog.get_logger()
router = APIRouter(prefix="/api/v1", dependencies=DOOR, tags=["discovery"])

PROGRAM = "estate.report"
AT_ONCE = 2
MEMORY_MB = 2048
CPU_SECONDS = 300
WALL_SECONDS = 600
CHUNK_BYTES = 1 << 20
NEEDED = "asset_inventory"
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8; header=present",
}
# which of a phase's outputs are rows, and under which name the program knows them
ROWS: dict[str, dict[str, str]] = {
    "data_import": {"issues": "issues", "set_aside": "set_aside"},
    "field_mapping": {"issues": "issues"},
    "data_cleansing": {"issues": "issues", "rejected": "rejected", "changes": "changes_made"},
    "asset_inventory": {"assets": "assets", "issues": "issues", "reviews": "reviews", "estate_changes": "changes"},
    "dependency_analysis": {"dependencies": "dependencies", "move_groups": "move_groups", "issues": "issues"},
    "tech_debt_assessment": {"findings": "findings", "scores": "scores", "issues": "issues"},
}
# outputs that are one document, which may have been kept as an artifact
DOCUMENTS = ("quality",)

_SLOTS = asyncio.Semaphore(AT_ONCE)


class ReportNotReady(MfoError):
    """The inventory has not been made yet; there is nothing to report."""

    code = "report_not_ready"
    status = 409


class ReportBusy(Unavailable):
    """As many reports as may be made at once are being made; ask again in a moment."""

    code = "report_busy"


class ReportFailed(MfoError):
    """The report could not be made; the log says why."""

    code = "report_failed"


class ReportTooLarge(MfoError):
    """The report needs more memory or time than it may take; read the lists page by page instead."""

    code = "report_too_large"


Format = Annotated[
    Literal["html", "xlsx"] | None,
    Query(alias="format", description="Left out: as `Accept` says, `html` where it does not."),
]
Masked = Annotated[
    bool, Query(description="Mask e-mail addresses, telephone numbers and the like; credentials always are.")
]


@router.get(
    "/flows/{flow_id}/report",
    summary="The report of a discovery",
    responses=answers(200, None, 304, 400, 404, 409, 422, 500, 503, extra=REPORT),
)
async def flow_report(
    *,
    request: Request,
    asking: Asking,
    wanted: OfFlow,
    written_as: Format = None,
    masked: Masked = True,
    reason: Annotated[
        str | None, Query(max_length=4000, description="Why it is read unmasked; kept in the audit trail.")
    ] = None,
) -> Response:
    """What was found, for people: one page that needs nothing from outside, or a workbook with every row."""
    same = not_modified(request, wanted.version) if written_as is not None else None
    if same is not None:
        return same
    chosen = written_as or _accepted(request.headers.get("accept", ""))
    _, flow = await asking.rows.replayed(wanted.flow_id)
    _ready(flow)
    if not masked:
        said = {"format": chosen, "reason": reason}
        await asking.service.notes.keep(asking.envelope(str(uuid4())), Note("ReadUnmaskedReport", wanted.flow_id, said))
    try:
        async with folder() as place:
            await _gather(asking, flow, place)
            file = await make(place, chosen, *([] if masked else ["--unmasked"]))
    except (ReportFailed, ReportTooLarge) as error:
        return problem(request, error)
    return download(file, chosen, f"{flow['flow_name']} - report", {"ETag": etag(wanted.version), "Vary": "Accept"})


def _accepted(accept: str) -> str:
    """The workbook where its media type is accepted and html is not, else html."""
    taken = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return "xlsx" if MEDIA_TYPES["xlsx"] in taken and "text/html" not in taken else "html"


def _ready(flow: Row) -> None:
    phases = {phase["name"]: phase["status"] for phase in flow["phases"]}
    allowed = flow["flow_metadata"].get("allowed") or ()
    if NEEDED not in phases:
        raise ReportNotReady(f"flows of type {flow['flow_type']} make no inventory, so there is nothing to report")
    if phases[NEEDED] != PhaseStatus.COMPLETED:
        raise ReportNotReady(
            f"the report tells what {NEEDED} found, and that phase is {phases[NEEDED]}; go on with the flow first",
            allowed=allowed,
        )


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder to make one report in, gone after the block; raises ReportBusy while others are being made."""
    if _SLOTS.locked():
        raise ReportBusy
    async with _SLOTS:
        with scratch("mfo-report-") as place:
            yield place


async def make(place: Path, written_as: str, *more: str) -> IO[bytes]:
    """Let the program write what is in a folder; the file, open, which outlives the folder.

    Raises ReportFailed and ReportTooLarge.
    """
    out = place / f"made.{written_as}"
    limits = (f"--memory-mb={MEMORY_MB}", f"--cpu-seconds={CPU_SECONDS}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", PROGRAM, str(place), written_as, str(out), *limits, *more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # it needs no setting of ours, least of all a secret one
        env={name: value for name, value in os.environ.items() if not name.startswith("MFO_")},
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        log.warning("report took too long", format=written_as, seconds=WALL_SECONDS)
        raise ReportTooLarge from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = await process.wait()
    if code == 0:
        return out.open("rb")
    told = _told(said)
    log.warning("report failed", format=written_as, exit=code, **told)
    # ended by a signal: the processor time was used up, or the memory of the machine
    raise ReportTooLarge if code < 0 or told["code"] == ReportTooLarge.code else ReportFailed


class _Told(msgspec.Struct):
    code: str = ReportFailed.code
    detail: str = ""


def _told(said: bytes) -> dict[str, str]:
    """What the program said in its last line; nothing else of its words is taken, for they may hold cells."""
    try:
        told = msgspec.json.decode(said.strip().rpartition(b"\n")[2], type=_Told)
    except msgspec.DecodeError:
        told = _Told()
    return {"code": told.code[:100], "detail": told.detail[:500]}


def download(file: IO[bytes], written_as: str, name: str, more: Mapping[str, str]) -> Response:
    """The answer that is this file, to be kept under the name; `more` are headers of it."""
    headers = {
        "Content-Disposition": _disposition(f"{name}.{written_as}"),
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "X-Content-Type-Options": "nosniff",
        **more,
    }
    if written_as == "html":
        headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    return StreamingResponse(_parts(file), headers=headers, media_type=MEDIA_TYPES[written_as])


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while part := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield part


def _disposition(name: str) -> str:
    """`attachment` with the name as RFC 6266 says: whole in UTF-8, and in ASCII for old programs."""
    printable = "".join(character if character.isprintable() else "_" for character in name)
    clean = re.sub(r"[/\\:*?\"<>|]+", "_", printable).strip(" .") or "report"
    plain = clean.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


async def _gather(asking: Caller, flow: Row, place: Path) -> None:
    """Put into the folder what the program needs: `outputs.json`, and the rows by kind."""
    artifacts, account = asking.side.artifacts, flow["client_account_id"]
    outputs: dict[str, dict[str, Any]] = {}
    for phase in flow["phases"]:
        if phase["status"] != PhaseStatus.COMPLETED:
            continue
        told = outputs[phase["name"]] = await artifacts.unspill(account, phase["outputs"] or {})
        for name, kind in ROWS.get(phase["name"], {}).items():
            sha256 = reference(told.get(name))
            if sha256 is not None:
                await artifacts.fetch(account, sha256, place / f"{kind}.{phase['order']}.ndjson")
        for name in DOCUMENTS:
            sha256 = reference(told.get(name))
            if sha256 is not None:
                told[name] = msgspec.json.decode(await artifacts.get(account, sha256))
    about = {
        "flow": {
            **{name: flow[name] for name in ("flow_id", "flow_name", "flow_type", "engagement_id", "created_at")},
            "phases": {
                phase["name"]: {"status": phase["status"], "completed_at": phase["completed_at"]}
                for phase in flow["phases"]
            },
        },
        "made_at": await _now(asking),
        "outputs": outputs,
    }
    (place / "outputs.json").write_bytes(msgspec.json.encode(about))


def reference(value: Any) -> str | None:
    """The SHA-256 of the artifact that an output names, none where the output is something else."""
    found = value.get("artifact") if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else None


async def _now(asking: Caller) -> str:
    async with asking.side.pool.connection() as connection:
        cursor = await connection.execute(
            "select to_char(mfo_now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        )
        row = await cursor.fetchone()
    return str(row[0]) if row else ""
