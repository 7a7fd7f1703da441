"""`mfo legacy ...`: the older system's flows taken into history, and given back."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from domain.words import counted
from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.output import AsJson, Code, facts, give, say, table

if TYPE_CHECKING:
    from eventstore.service import WriteSide

Json = dict[str, Any]
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The older system: its flows taken into history, and given back.")

SHOWN_ROWS = 20
Source = Annotated[str, typer.Argument(metavar="DSN|DUMP", help="Its database, or a plain-SQL dump of it.")]


@app.command("import")
def import_flows(
    source: Source,
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this nothing is changed.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write all of the report there, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Take the flows of `crewai_flow_state_extensions`, `discovery_flows` and `assessment_flows` into history. First see what
    would be done; cut short, it goes on when begun again. Exit code 1 where a flow was refused or the checksums differ."""
    import msgspec

    from mfo.legacy import importing

    async def work(side: WriteSide) -> Json:
        if not apply:
            return importing.report(await importing.look(side, source), source, dry_run=True)
        return await importing.take_over(side, source, _user(), say)

    document = _with_store(work)
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    give(document, _told(document), as_json)
    fine = document["dry_run"] or (document["checksums"]["equal"] and not document["refused"])
    return Code.DONE if fine else Code.REFUSED


@app.command()
def rollback(
    import_id: Annotated[UUID, typer.Argument(metavar="IMPORT", help="The import's id.")],
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it is in each flow's history.")] = None,
    moved_too: Annotated[bool, typer.Option("--all", help="Also the flows that somebody has worked on since.")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete the flows of an import. Their history stays; the same import can be done again. Exit code 1 where flows are left."""
    from mfo.legacy import importing

    async def work(side: WriteSide) -> Json:
        return await importing.give_back(side, import_id, _user(), say, reason=reason, moved_too=moved_too)

    document = _with_store(work)
    lines = [f"{counted(document['deleted'], 'flow')} deleted: {document['reason']}"]
    if document["deleted_before"]:
        lines.append(f"{counted(document['deleted_before'], 'flow')} had been deleted before")
    lines += [f"left: {left['flow_id']}, worked on since" for left in document["left"][:SHOWN_ROWS]]
    give(document, "\n".join(lines), as_json)
    return Code.REFUSED if document["left"] else Code.DONE


@app.command("imports")
def list_imports(as_json: AsJson = False) -> None:
    """The imports there have been, and what became of them."""
    from eventstore.legacy import LegacyImports

    async def work(side: WriteSide) -> list[Json]:
        return await LegacyImports(side.pool).list()

    found = _with_store(work)
    columns = (
        "import_id",
        "source",
        "started_at",
        "finished_at",
        "undone_at",
        "flows",
        "imported",
        "undone",
        "refused",
    )
    rows = [[one[name] for name in columns] for one in found]
    give({"imports": found}, table(columns, rows) if rows else "nothing has been imported", as_json)


@app.command()
def sample(
    where: Annotated[str, typer.Argument(metavar="DSN|FILE", help="An empty database, or a new file for a dump.")],
    *,
    flows: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many flows.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 1,
    faults: Annotated[bool, typer.Option("--faults/--no-faults", help="With a row for each kind of fault.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make up a database of the older system, faults included."""
    from mfo.legacy import sample as making

    made = making.made(flows, seed=seed, faults=faults)
    making.write(made, where)
    counts = {name: len(rows) for name, rows in made.rows.items()}
    text = "\n".join([*(f"{name}  {counted(n, 'row')}" for name, n in counts.items()), *_lines(made.faults)])
    give({"where": where if "://" not in where else "database", "rows": counts, "faults": made.faults}, text, as_json)


@app.command()
def orphans(as_json: AsJson = False) -> None:
    """What does not fit the history of the tenant's flows: rows without one, and rows that say something else."""

    async def ask(client: Client) -> list[Json]:
        return [found async for found in client.orphans()]

    found = talk(ask)
    columns = ("flow_id", "kind", "method", "confidence", "repair", "affected_items", "flow_name")
    rows = [[one[name] for name in columns] for one in found]
    give({"orphans": found}, table(columns, rows) if rows else "all of it fits", as_json)


@app.command()
def repair(
    flow: Annotated[UUID, typer.Argument(metavar="FLOW", help="The flow's id.")],
    *,
    kind: Annotated[
        str | None, typer.Option("--type", help="What is to be done; left out: what is recommended.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it is in the flow's history.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set right what does not fit a flow's history, by an event. A second time there is nothing to do."""
    done = talk(lambda client: client.repair(str(flow), kind, reason=reason))
    what = f"{done['repair_type']}: {counted(done['items_repaired'], 'item')} repaired"
    give(done, what if done["items_repaired"] else "nothing to repair", as_json)


@app.command()
def reconcile(as_json: AsJson = False) -> int:
    """Replay the tenant's flows and compare each with its row. Exit code 1 where one differs."""
    told = talk(lambda client: client.reconciliation())
    columns = ("flow_id", "kind", "row_version", "flow_version", "columns", "master_status", "child_status")
    lines = [f"{told['reconciled_flows']} of {counted(told['checked'], 'flow')} are what their history tells"]
    if told["inconsistencies"]:
        lines.append(table(columns, [[one[name] for name in columns] for one in told["inconsistencies"]]))
    give(told, "\n".join(lines), as_json)
    return Code.DONE if told["healthy"] else Code.REFUSED


def _lines(faults: list[Json]) -> list[str]:
    return [f"fault  {one['table']}.{one['column']} of {one['key'] or '-'}: {one['what']}" for one in faults]


def _with_store(work: Callable[[WriteSide], Awaitable[T]]) -> T:
    from eventstore.service import write_side
    from mfo.doctoring import settings

    async def hold() -> T:
        async with write_side(settings().service_config(), pool_size=4) as side:
            return await work(side)

    return asyncio.run(hold())


def _user() -> str:
    return os.environ.get("MFO_USER_ID") or getpass.getuser()


def _told(document: Json) -> str:
    bad = document["bad_rows"]
    headings = ("table", "row", "key", "column", "why")
    lines = [
        facts(
            {
                "import": document["import_id"],
                "source": document["source"],
                **{name: counted(each["rows"], "row") for name, each in document["tables"].items()},
                "flows": document["flows"],
                "left out": document["left_out"],
                "by status": ", ".join(f"{name} {n}" for name, n in document["by_status"].items()),
                "by type": ", ".join(f"{name} {n}" for name, n in document["by_type"].items()),
                "not known here": ", ".join(document["unknown_types"]),
                "before": document["checksums"]["before"],
                "after": document["checksums"].get("after"),
            }
        )
    ]
    if bad:
        lines += ["", table(headings, [[one[name] for name in headings] for one in bad[:SHOWN_ROWS]])]
        if len(bad) > SHOWN_ROWS:
            lines.append(f"and {len(bad) - SHOWN_ROWS} more: --report FILE has them all")
    if document["dry_run"]:
        lines += ["", "Nothing was changed; --apply does it."]
    else:
        equal = "equal" if document["checksums"]["equal"] else "DIFFERENT"
        lines += ["", f"{document['imported']} imported, {document['there']} there before, checksums {equal}"]
        lines += [f"refused: {one['flow_id']}: {one['detail']}" for one in document["refused"][:SHOWN_ROWS]]
        if not document["source_unchanged"]:
            lines.append("The source has changed meanwhile: import it again for what is new.")
    return "\n".join(lines)
