"""`mfo flow analytics|performance`, `mfo flow-types performance` and `mfo portfolio`: what flows add up to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from domain.words import counted
from mfo.commands.connection import talk
from mfo.commands.flows import FlowId
from mfo.commands.output import AsJson, facts, give, plain, seconds, table

Json = dict[str, Any]

From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Flows made at this time or later, such as 2026-06-01.")
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Flows made before this time.")]
Types = Annotated[str | None, typer.Option("--type", help="Only these types, comma between.")]
SHOWN = 10


def analytics(
    *,
    since: From = None,
    until: To = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="How all flows stood at this time.")] = None,
    flow_type: Types = None,
    status: Annotated[str | None, typer.Option(help="Only these statuses, comma between.")] = None,
    as_json: AsJson = False,
) -> None:
    """Figures of many flows: counts, rates, times, errors, bottlenecks."""
    wanted = {"from": since, "to": until, "at": at, "flow_type": flow_type, "status": status}
    found = talk(lambda client: client.analytics(**wanted))
    give(found, _analytics(found), as_json)


def performance(flow_id: FlowId, as_json: AsJson = False) -> None:
    """Time, processor and memory of a flow, phase by phase, beside what is usual."""
    found = talk(lambda client: client.performance(flow_id))
    rows = [
        [
            phase["phase_name"],
            phase["status"],
            phase["attempts"],
            seconds(phase["execution_time_ms"]),
            _seconds((phase["typical"] or {}).get("p50_work_seconds")),
            _seconds((phase["typical"] or {}).get("p95_work_seconds")),
            phase["cpu_seconds"],
            phase["peak_memory_mb"],
            "slow" if phase["slower_than_p95"] else "",
        ]
        for phase in found["phases"]
    ]
    columns = ("phase", "status", "attempts", "work", "usual", "usual p95", "cpu s", "peak MB", "")
    shown = {name: value for name, value in found.items() if name != "phases"}
    give(found, facts(shown) + "\n\n" + table(columns, rows), as_json)


def type_performance(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="The flow type.")],
    since: From = None,
    until: To = None,
    as_json: AsJson = False,
) -> None:
    """How flows of a type perform: average, 95th percentile, success rate, phases."""
    found = talk(lambda client: client.type_performance(name, **{"from": since, "to": until}))
    shown = {
        "flow type": found["flow_type"],
        "flows": found["total_flows"],
        "success rate": _percent(found["success_rate"]),
        "average": _seconds(found["average_execution_time_seconds"]),
        "p95": _seconds(found["p95_execution_time_seconds"]),
        "cpu seconds": found["resource_utilization"]["cpu_seconds"],
        "peak MB, p95": found["resource_utilization"]["p95_peak_memory_mb"],
    }
    give(found, "\n\n".join(filter(None, (facts(shown), _phases(found["phases"]), _errors(found)))), as_json)


def portfolio(
    flow_type: Types = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many flows, the oldest first.")] = 200,
    as_json: AsJson = False,
) -> None:
    """The flows that are not over: what they wait for, and when they should be done."""
    found = talk(lambda client: client.portfolio(flow_type=flow_type, limit=limit))
    give(found, _portfolio(found), as_json)


def _analytics(found: Json) -> str:
    shown = {
        "flows": found["total_flows"],
        "by status": ", ".join(f"{status} {n}" for status, n in found["flows_by_status"].items()),
        "success rate": _percent(found["success_rate"]),
        "error rate": _percent(found["error_rate"]),
        "as of": found["at"],
    }
    types = [
        [
            each["flow_type"],
            each["total_flows"],
            _percent(each["success_rate"]),
            *(_seconds((each["durations"] or {}).get(name)) for name in ("mean_seconds", "p50_seconds", "p95_seconds")),
        ]
        for each in found["types"]
    ]
    parts = [
        facts(shown),
        table(("type", "flows", "success", "mean", "p50", "p95"), types) if types else "",
        _phases(found["phases"] or []),
        _errors(found),
    ]
    return "\n\n".join(filter(None, parts))


def _phases(phases: list[Json]) -> str:
    if not phases:
        return ""
    rows = [
        [
            f"{each['flow_type']}, {each['phase_name']}",
            each["completed"],
            each["failed_attempts"],
            _seconds(each["mean_work_seconds"]),
            _seconds(each["p95_work_seconds"]),
            _seconds(each["mean_waiting_seconds"]),
            _percent(each["share_of_elapsed"]),
        ]
        for each in phases[:SHOWN]
    ]
    return table(("bottlenecks", "completed", "failed", "work", "p95", "waiting", "of the time"), rows)


def _errors(found: Json) -> str:
    errors = found["most_common_errors"] or []
    rows = [[each["error_type"], each["count"], each["flows"], _percent(each["recovery_rate"])] for each in errors]
    return table(("errors", "times", "flows", "recovered"), rows[:SHOWN]) if rows else ""


def _portfolio(found: Json) -> str:
    if not found["flows"]:
        return "no flow is under way"
    rows = [
        [
            each["flow_id"],
            each["flow_type"],
            each["status"],
            each["current_phase"],
            each["forecast_finish_at"][:19],
            "critical" if each["critical"] else "",
            each["flow_name"],
        ]
        for each in found["flows"]
    ]
    gates = [
        [each["flow_id"], each["kind"] + (" (blocked)" if each["blocked"] else ""), each["message"]]
        for each in found["gates"]
    ]
    tested = [
        f"{each['flow_type']}: half of the forecasts of {counted(each['tested_flows'], 'past flow')} were within"
        f" {_percent(each['median_error'])}, nine of ten within {_percent(each['p90_error'])}"
        if each["tested_flows"]
        else f"{each['flow_type']}: too few past flows to test forecasts on"
        for each in found["forecast_error"]
    ]
    parts = [
        table(("flow_id", "type", "status", "phase", "done by", "", "name"), rows),
        table(("gates of", "kind", "waits for"), gates) if gates else "",
        "\n".join(tested),
    ]
    return "\n\n".join(filter(None, parts))


def _percent(part: float | None) -> str:
    return plain(None) if part is None else f"{100 * part:.1f} %"


def _seconds(value: float | None) -> str:
    return seconds(None if value is None else value * 1000)
