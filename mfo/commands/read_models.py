"""`mfo projections rebuild|rollback|verify`: read models made anew while they serve, put back, and held against history."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from domain.errors import SchemaBehind, StoreUnavailable
from domain.words import counted
from eventstore.config import JOBS
from mfo.commands.output import AsJson, Code, give, say

Json = dict[str, Any]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The read model, as `mfo projections list` names it.")]
Jobs = Annotated[int, typer.Option(min=1, max=64, help="Processes that work side by side.")]


def rebuild(
    name: Name,
    *,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of going on with a rebuild that was broken off.")
    ] = False,
    if_equal: Annotated[
        bool, typer.Option("--if-equal", help="Leave the old tables where a row differs; exit code 1 then.")
    ] = False,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> int:
    """Make a read model anew from history while the old one serves, compare the two, and put the new one in its place."""
    # the projections load slowly, and only these commands need them
    from projections.rebuild import rebuild as make_anew

    report = _asked(lambda config: make_anew(config, name, jobs=jobs, fresh=fresh, if_equal=if_equal, said=say))
    compared = report.get("compared")
    lines = _differences(compared) if compared else []
    told = f"{counted(report['flows'], 'flow')}, {counted(report['events'], 'event')} in {report['seconds']} s"
    if compared is None:
        told += "; not compared, the old tables are of another version"
    elif compared["unsettled"] == report["flows"] and not compared["different"]:
        told += "; not compared, nothing had served before"
    else:
        told += f"; {counted(compared['different'], 'flow')} differed from the old rows"
    end = "serves now, the old tables are kept" if report["state"] == "done" else "is made, the old tables still serve"
    give(report, "\n".join([*lines, f"{name} {end}: {told}"]), as_json)
    return Code.DONE if report["state"] == "done" else Code.REFUSED


def rollback(name: Name, as_json: AsJson = False) -> None:
    """Put back the tables that the last rebuild replaced, once they have what has happened since."""
    from projections.rebuild import roll_back

    report = _asked(lambda config: roll_back(config, name, said=say))
    give(report, f"{name}: the former tables serve again, at {report['position']}; the others are kept", as_json)


def verify(
    name: Name,
    *,
    sample: Annotated[int | None, typer.Option(min=1, help="So many flows, chosen at random.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every flow; so it is unless --sample is given.")] = False,
    jobs: Jobs = JOBS,
    as_json: AsJson = False,
) -> int:
    """Compare a read model with what history says, and name the rows and columns that differ. Exit code 1 where some do."""
    from projections.verifying import verify as compare

    if everything and sample is not None:
        raise typer.BadParameter("give --sample or --all, not both")
    report = _asked(lambda config: compare(config, name, sample=sample, jobs=jobs, said=say))
    seen = f"{counted(report['flows'], 'flow')}, {counted(report['rows'], 'row')} in {report['seconds']} s"
    if report["behind"]:
        seen += f"; {counted(report['behind'], 'flow')} not yet taken in"
    if report["parked"]:
        seen += f"; {counted(report['parked'], 'flow')} set aside"
    wrong = counted(report["different"], "flow")
    if report["different_sums"]:
        wrong += f" and {counted(report['different_sums'], 'sum')}"
    said = "is what history says" if report["equal"] else f"differs for {wrong}"
    give(report, "\n".join([*_differences(report), f"{name} {said}: {seen}"]), as_json)
    return Code.DONE if report["equal"] else Code.REFUSED


def _differences(report: Json) -> list[str]:
    lines = []
    for one in report["differences"]:
        key = ", ".join(f"{column} {value}" for column, value in one["key"].items() if column != "flow_id")
        columns = f": {', '.join(one['columns'])}" if one["columns"] else ""
        whose = f", flow {one['flow_id']}" if one["flow_id"] else ""
        lines.append(f"{one['table']}{whose}{', ' + key if key else ''} {one['what']}{columns}")
    return lines


def _asked(work: Any) -> Json:
    import psycopg

    from mfo.doctoring import settings

    config = settings().service_config()
    try:
        found: Json = asyncio.run(work(config))
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None
    return found
