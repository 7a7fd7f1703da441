"""`mfo flow report|assets|dependencies|issues|reviews|changes`: what a discovery found, to read or to keep as a file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from mfo.client import Client, Found
from mfo.commands.connection import talk
from mfo.commands.flows import FlowId
from mfo.commands.output import AsJson, give, plain, say, table

Json = dict[str, Any]
PAGE = 1000
# the read model gathers before it writes: what a phase has just found is waited for
WHOLE = {"consistency": "strong"}


class ReportAs(StrEnum):
    """How a report is written."""

    HTML = "html"
    XLSX = "xlsx"


class ListAs(StrEnum):
    """How a list is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Out = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where to.")]
WrittenAs = Annotated[ListAs, typer.Option("--format", help="csv takes all rows, with texts no spreadsheet runs.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many rows; left out: all. Not for csv.")]


def report(
    *,
    flow_id: FlowId,
    written_as: Annotated[
        ReportAs | None, typer.Option("--format", help="Left out: as the file's name ends, else html.")
    ] = None,
    output: Out = None,
    masked: Annotated[
        bool, typer.Option("--masked/--unmasked", help="E-mail addresses, telephone numbers and the like.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write what a discovery found as a page or a workbook, and print the file's name."""
    chosen = written_as or (ReportAs.XLSX if output and output.suffix.lower() == ".xlsx" else ReportAs.HTML)
    target = output or Path(f"report-{flow_id}.{chosen}")
    kept = _writing(target, lambda client: client.report(flow_id, chosen.value, target, masked=masked))
    give({"flow_id": flow_id, **kept}, str(target), as_json)


def assets(
    *,
    flow_id: FlowId,
    asset_type: Annotated[str | None, typer.Option("--type", help="Only these types, comma between.")] = None,
    written_as: WrittenAs = ListAs.TABLE,
    output: Out = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """The assets that a discovery found."""
    columns = (
        "name",
        "asset_type",
        "environment",
        "operating_system",
        "os_version",
        "cpu_cores",
        "memory_gb",
        "storage_gb",
    )
    _show(
        flow_id, "assets", columns, {"asset_type": asset_type}, written_as=written_as, output=output, limit=limit, as_json=as_json
    )  # fmt: skip


def dependencies(
    *,
    flow_id: FlowId,
    noise: Annotated[
        bool | None, typer.Option("--noise/--no-noise", help="Only shared-service noise, or only what is not.")
    ] = None,
    written_as: WrittenAs = ListAs.TABLE,
    output: Out = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Who talks to whom, as a discovery found it."""
    columns = ("source_name", "target_name", "port", "kind", "noise_reason", "observations")
    wanted = {"noise": None if noise is None else str(noise).lower()}
    _show(
        flow_id, "dependencies", columns, wanted, written_as=written_as, output=output, limit=limit, as_json=as_json
    )  # fmt: skip


def issues(
    *,
    flow_id: FlowId,
    severity: Annotated[str | None, typer.Option(help="Only these severities, comma between.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only these kinds, comma between.")] = None,
    written_as: WrittenAs = ListAs.TABLE,
    output: Out = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """What is wrong with the data of a discovery, and where."""
    columns = ("severity", "kind", "message")
    wanted = {"severity": severity, "kind": kind}
    _show(
        flow_id, "issues", columns, wanted, written_as=written_as, output=output, limit=limit, as_json=as_json
    )  # fmt: skip


def reviews(
    *,
    flow_id: FlowId,
    kind: Annotated[str | None, typer.Option(help="Only these kinds, comma between.")] = None,
    written_as: WrittenAs = ListAs.TABLE,
    output: Out = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """The matches that a discovery was not sure of and kept apart, for a person to settle."""
    columns = ("kind", "names", "confidence", "reason", "suggestion")
    _show(
        flow_id, "reviews", columns, {"kind": kind}, written_as=written_as, output=output, limit=limit, as_json=as_json
    )  # fmt: skip


def changes(
    *,
    flow_id: FlowId,
    kind: Annotated[str | None, typer.Option(help="Only these of new, gone, changed, renamed, comma between.")] = None,
    name: Annotated[str | None, typer.Option(help="Only assets with this in their name.")] = None,
    written_as: WrittenAs = ListAs.TABLE,
    output: Out = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """What has changed since the discovery that this one was compared with."""
    columns = ("kind", "name", "asset_type", "matched_by", "differences")
    wanted = {"kind": kind, "name": name}
    _show(
        flow_id, "changes", columns, wanted, written_as=written_as, output=output, limit=limit, as_json=as_json
    )  # fmt: skip


def difference(change: Json) -> str | None:
    """What differs between two discoveries of an asset: `memory_gb 4 -> 8; os_version 2016 -> 2019`."""
    return (
        "; ".join(f"{one['field']} {plain(one['before'])} -> {plain(one['after'])}" for one in change["fields"]) or None
    )


def _show(
    flow_id: str,
    kind: Found,
    columns: tuple[str, ...],
    wanted: Json,
    *,
    written_as: ListAs,
    output: Path | None,
    limit: int | None,
    as_json: bool,
) -> None:
    if written_as is ListAs.CSV:
        _as_csv(flow_id, kind, wanted, output=output, limit=limit, as_json=as_json)
        return
    if output is not None:
        raise typer.BadParameter("--output goes with --format csv; print the others to a file with >")

    async def converse(client: Client) -> list[Json]:
        rows: list[Json] = []
        params = {**wanted, **WHOLE, "limit": min(limit or PAGE, PAGE)}
        async for row in client.pages(f"/flows/{flow_id}/{kind}", kind, params=params):
            rows.append(row)
            if limit is not None and len(rows) >= limit:
                break
        return rows

    rows = talk(converse)
    cells = [[difference(row) if name == "differences" else row.get(name) for name in columns] for row in rows]
    shown = table(list(columns), cells) if rows else f"no {kind}"
    give({kind: rows}, shown, as_json or written_as is ListAs.JSON)


def _as_csv(flow_id: str, kind: Found, wanted: Json, *, output: Path | None, limit: int | None, as_json: bool) -> None:
    if limit is not None:
        raise typer.BadParameter("--limit does not go with --format csv, which takes all rows")
    if output is not None:
        kept = _writing(output, lambda client: client.export(flow_id, kind, output, params={**wanted, **WHOLE}))
        give({"flow_id": flow_id, **kept}, str(output), as_json)
        return
    if as_json:
        raise typer.BadParameter("--json prints one JSON document; with --format csv name a file with --output")
    with TemporaryDirectory(prefix="mfo-") as folder:
        file = Path(folder) / f"{kind}.csv"
        talk(lambda client: client.export(flow_id, kind, file, params={**wanted, **WHOLE}))
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


def _writing(target: Path, conversation: Any) -> Json:
    try:
        kept: Json = talk(conversation)
    except OSError as error:
        raise typer.BadParameter(f"{target} cannot be written: {error.strerror}") from None
    say(f"{kept['size_bytes']} bytes, sha256 {kept['sha256']}")
    return kept
