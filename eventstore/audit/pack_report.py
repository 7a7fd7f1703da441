"""What an evidence pack tells people: approvers, versions, cost and all that happened, as a page and to print.

It is made of the pack's events and commands, and proves nothing by itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from domain.flow import Meta
from domain.measures import tokens
from domain.words import APPROVAL

Json = dict[str, Any]

PRINTED_ROWS = 2000
_ASKED = re.compile(r"(.+)/([0-9a-f]{16})")

SECTIONS: dict[str, tuple[str, ...]] = {
    "approvers": ("flow_id", "version", "at", "phase_name", "who", "approved", "reason"),
    "flow_types": ("flow_id", "flow_type", "flow_version", "definition_sha256"),
    "code": ("flow_id", "phase_name", "version", "handler_versions"),
    "prompts": ("flow_id", "phase_name", "question", "sha256_16", "model"),
    "cost": ("flow_id", "phase_name", "attempts", "execution_time_ms", "total_tokens"),
}
"""What the summary tells, and in which columns."""


class Told(NamedTuple):
    """An event as it is told."""

    flow_id: UUID
    version: int
    topic: str
    meta: Meta
    data: Json

    @property
    def name(self) -> str:
        return self.topic.split(".")[-2]


class Page(NamedTuple):
    """What the report shows. Events and commands are gone through more than once."""

    title: str
    lead: str
    summary: Json
    events: Iterable[Told]
    commands: Iterable[Json]


def summary(events: Iterable[Told], definitions: Mapping[tuple[str, str], str]) -> Json:
    """`{approvers[], flow_types[], code[], prompts[], cost[]}` of these events; `definitions` are SHA-256 by name and version.

    Cost is time in ms and tokens of models; a hash of a prompt is the first 16 digits of its SHA-256.
    """
    told: dict[str, list[Json]] = {name: [] for name in SECTIONS}
    cost: dict[tuple[str, str], Json] = {}
    types: dict[UUID, str] = {}
    for event in events:
        flow, data = str(event.flow_id), event.data
        phase = str(data.get("phase_name") or "")
        if event.name == "FlowCreated":
            types[event.flow_id] = str(data.get("flow_type"))
            told["flow_types"].append(_type(flow, types[event.flow_id], str(data.get("flow_version")), definitions))
        elif event.name == "FlowMigrated":
            version = str(data.get("to_version"))
            told["flow_types"].append(_type(flow, types.get(event.flow_id, ""), version, definitions))
        elif event.name in {"InputProvided", "PhaseSkipped"}:
            told["approvers"].append(_approver(event, flow, phase))
        if data.get("handler_versions"):
            told["code"].append(
                {"flow_id": flow, "phase_name": phase, "version": event.version}
                | {"handler_versions": data["handler_versions"]}
            )
        told["prompts"] += _prompts(event, flow, phase)
        if "execution_time_ms" in data and event.name in {"PhaseCompleted", "PhaseFailed", "InputRequested"}:
            one = cost.setdefault(
                (flow, phase),
                {"flow_id": flow, "phase_name": phase, "attempts": 0, "execution_time_ms": 0, "total_tokens": 0},
            )
            one["attempts"] += 1
            one["execution_time_ms"] += data["execution_time_ms"]
            one["total_tokens"] += tokens(data.get("resource_usage") or {})
    told["cost"] = list(cost.values())
    return dict(told)


def _type(flow: str, name: str, version: str, definitions: Mapping[tuple[str, str], str]) -> Json:
    return {
        "flow_id": flow,
        "flow_type": name,
        "flow_version": version,
        "definition_sha256": definitions.get((name, version)),
    }


def _approver(event: Told, flow: str, phase: str) -> Json:
    values = event.data.get("values")
    approved = values.get(APPROVAL) if isinstance(values, dict) else None
    return {
        "flow_id": flow,
        "version": event.version,
        "at": event.meta.at.astimezone(UTC).isoformat(timespec="seconds"),
        "phase_name": phase,
        "who": list(event.data.get("answered_by") or [event.meta.user_id]),
        "approved": approved if isinstance(approved, bool) else None,
        "reason": event.data.get("reason"),
    }


def _prompts(event: Told, flow: str, phase: str) -> Iterator[Json]:
    """The questions to models among the steps that came to results: their names end with the hash of what was asked."""
    for name, result in _steps(event.data.get("results") if event.name == "StepsCompleted" else None):
        asked = _ASKED.fullmatch(name)
        if asked is not None:
            model = result.get("model") if isinstance(result, dict) else None
            yield {
                "flow_id": flow,
                "phase_name": phase,
                "question": asked[1],
                "sha256_16": asked[2],
                "model": model,
            }


def _steps(steps: Any) -> Iterable[tuple[str, Any]]:
    return ((str(name), result) for name, result in steps.items()) if isinstance(steps, dict) else ()


def _event_rows(events: Iterable[Told]) -> Iterator[list[str]]:
    for told in events:
        about = {
            name: value
            for name, value in told.data.items()
            if isinstance(value, str | int | float | bool) and value != ""
        }
        yield [
            str(told.flow_id),
            str(told.version),
            told.meta.at.isoformat(timespec="seconds"),
            told.name,
            told.meta.user_id,
            told.meta.source,
            ", ".join(f"{name} {str(value)[:200]}" for name, value in about.items()),
        ]


def _command_rows(commands: Iterable[Json]) -> Iterator[list[str]]:
    for row in commands:
        yield [
            datetime.fromtimestamp(row["at"] / 1e6, UTC).isoformat(timespec="seconds"),
            *(str(row[name] or "") for name in ("command", "command_id", "user_id", "source", "outcome", "error")),
        ]


EVENTS_HEAD = ["flow", "version", "at", "event", "by", "through", "what"]
COMMANDS_HEAD = ["at", "command", "id", "by", "through", "answer", "error"]


def _tables(page: Page) -> Iterator[tuple[str, list[str], Iterator[list[str]]]]:
    """Every table of the report: its title, its headings, its rows."""
    for name, columns in SECTIONS.items():
        rows = ([_said(one[column]) for column in columns] for one in page.summary[name])
        yield name.replace("_", " ").capitalize(), [column.replace("_", " ") for column in columns], rows
    yield "Events", EVENTS_HEAD, _event_rows(page.events)
    yield "Commands", COMMANDS_HEAD, _command_rows(page.commands)


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def as_html(page: Page) -> Iterator[str]:
    """One HTML page without anything from elsewhere, part by part."""
    yield (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evidence</title><style>"
        "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:2px 6px;"
        "text-align:left;vertical-align:top;word-break:break-word}</style>"
        f"<h1>{escape(page.title)}</h1><p>{escape(page.lead)}</p>"
    )
    for title, head, rows in _tables(page):
        first = next(rows, None)
        if first is None:
            continue
        yield f"<h2>{escape(title)}</h2><table><tr>{_cells('th', head)}</tr>"
        for row in chain([first], rows):
            yield f"<tr>{_cells('td', row)}</tr>"
        yield "</table>"
    yield "</html>"


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)


def as_pdf(page: Page) -> bytes:
    """The same to print, 2,000 rows of each table at most; signs that its letters do not have are shown as `?`."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import LongTable, Paragraph, SimpleDocTemplate, Spacer, TableStyle

    styles = getSampleStyleSheet()
    small = styles["BodyText"].clone("small", fontSize=6, leading=7, wordWrap="CJK", spaceBefore=0)
    out = io.BytesIO()
    paper = SimpleDocTemplate(
        out,
        pagesize=landscape(A4),
        title="Evidence",
        leftMargin=24,
        rightMargin=24,
        topMargin=24,
        bottomMargin=24,
        invariant=1,
    )
    story: list[Any] = [
        Paragraph(_printable(page.title), styles["Heading1"]),
        Paragraph(_printable(page.lead), styles["BodyText"]),
    ]
    look = TableStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.25, colors.grey),
            ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )
    cut = False
    for title, head, every in _tables(page):
        rows = list(islice(every, PRINTED_ROWS))
        if not rows:
            continue
        cut = cut or next(every, None) is not None
        cells = [[Paragraph(_printable(cell[:600]), small) for cell in row] for row in [head, *rows]]
        widths = [paper.width / len(head)] * len(head)
        story += [
            Paragraph(title, styles["Heading2"]),
            LongTable(cells, colWidths=widths, repeatRows=1, style=look),
            Spacer(1, 8),
        ]
    if cut:
        story.append(
            Paragraph(f"Only the first {PRINTED_ROWS} rows are printed; report.html has all.", styles["BodyText"])
        )
    paper.build(story)
    return out.getvalue()


def _printable(text: str) -> str:
    return escape(text.encode("cp1252", "replace").decode("cp1252"))
