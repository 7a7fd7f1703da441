"""The columns in which rows of each kind are exported, for csv and workbook alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Getter = Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its name, where its value comes from, and how wide a workbook shows it (in characters).

    `named_in` is the member of the row that tells under which name the value stood in its file.
    """

    name: str
    of: Getter
    width: int = 16
    named_in: str | None = None


def place(source: Mapping[str, Any] | None) -> str | None:
    """A source in words: `servers.xlsx, sheet vInfo, row 7`."""
    if not source:
        return None
    parts = [str(source["file"])] if source.get("file") is not None else []
    if source.get("sheet") is not None:
        parts.append(f"sheet {source['sheet']}")
    if source.get("row") is not None:
        parts.append(f"row {source['row']}")
    if source.get("field") is not None:
        parts.append(f"column {source['field']}")
    return ", ".join(parts) or None


def places(row: Row) -> str | None:
    """All sources of a row, `|` between them."""
    found = [place(source) for source in row.get("sources") or ()]
    return " | ".join(text for text in found if text) or None


def _plain(*names: str, width: int = 16) -> tuple[Field, ...]:
    return tuple(Field(name, _getter(name), width) for name in names)


def _getter(name: str) -> Getter:
    return lambda row: row.get(name)


def _inner(outer: str, name: str) -> Getter:
    return lambda row: (row.get(outer) or {}).get(name)


def _source(name: str) -> Field:
    return Field(name, lambda row: (row.get("source") or {}).get(name), 28 if name == "file" else 12)


SOURCE = (_source("file"), _source("sheet"), _source("row"))

ASSETS = (
    *_plain("name", width=30),
    *_plain("asset_type", "hostname"),
    *_plain("fqdn", "ip_addresses", width=26),
    *_plain("operating_system", width=28),
    *_plain("os_version", "os_family", "os_edition", "cpu_cores", "memory_gb", "storage_gb", "environment"),
    *_plain("location", "criticality", "business_owner", "technical_owner", "department", "application_name"),
    *_plain("power_state", "cpu_utilization_percent", "memory_utilization_percent", "utilization", "migratable"),
    *_plain("description", width=30),
    *_plain("mac_addresses", "serial_number", "uuid", "external_ids", "also_known_as", "software"),
    Field("classification", _inner("classification", "evidence"), 30),
    Field("classification_confidence", _inner("classification", "confidence")),
    Field("not_migratable", _inner("classification", "not_migratable"), 30),
    *_plain("matched_by", "confidence", "rows"),
    Field("conflicts", lambda row: row.get("conflicts") or None),
    *_plain("custom_attributes"),
    Field("sources", places, 40),
    *_plain("asset_id", width=38),
)
DEPENDENCIES = (
    *_plain("source_name", "target_name", width=30),
    *_plain("port", "protocol", "process", "source_process", "source_application", "target_application"),
    *_plain("kind", "relation", "direction", "turned", "noise"),
    *_plain("noise_reason", width=30),
    *_plain(
        "unknown_endpoint", "outside", "confidence", "observations", "connections", "bytes", "first_seen", "last_seen"
    ),
    Field("sources", places, 40),
    *_plain("source_asset_id", "target_asset_id", "dependency_id", width=38),
)
ISSUES = (
    *_plain("severity", "kind"),
    *_plain("message", width=80),
    *_plain("field"),
    *SOURCE,
    *_plain("asset_id", "issue_id", width=38),
)

SUMMARY = (*_plain("what", width=40), *_plain("value", width=24), *_plain("more", width=60), *_plain("sheet"))
CONFLICTS = (
    *_plain("name", width=30),
    *_plain("field"),
    Field("value", _getter("value"), 26, "field"),
    *_plain("chosen"),
    *_plain("why", width=40),
    Field("sources", places, 50),
    *_plain("asset_id", width=38),
)
GROUPS = (
    *_plain("group", "size", "edges"),
    *_plain("name", width=30),
    *_plain("circle"),
    *_plain("applications", "environments", width=30),
    *_plain("totals", "cut_edges", width=40),
    *_plain("asset_id", "group_id", "split_from", width=38),
)
FINDINGS = (
    *_plain("severity", "kind"),
    *_plain("asset_name", width=30),
    *_plain("message", "remedy", width=60),
    *_plain("evidence", width=40),
    *_plain("points", "confidence"),
    *SOURCE,
    *_plain("asset_id", "finding_id", width=38),
)
REJECTED = (*SOURCE, *_plain("reason", width=22), *_plain("message", "values", width=60))
CHANGED_VALUES = (
    *SOURCE,
    *_plain("field", "target"),
    Field("old", _getter("old"), 26, "field"),
    Field("new", _getter("new"), 26, "field"),
    *_plain("rule", width=22),
    *_plain("count", "rows"),
)
SIZING = (
    *_plain("name", width=30),
    *_plain("cores_now", "cpu_cores", "cores_saving", "cpu_basis", "memory_now", "memory_gb", "memory_saving"),
    *_plain("memory_basis", "comfort", "flags"),
    *_plain("formula", width=80),
    *_plain("asset_id", width=38),
)
REVIEWS = (
    *_plain("kind", width=22),
    *_plain("names", width=40),
    *_plain("reason", width=70),
    *_plain("confidence"),
    *_plain("evidence", "suggestion", width=60),
    *_plain("asset_ids", "review_id", width=38),
)
QUALITY = (
    *_plain("dimension", width=20),
    *_plain("score"),
    *_plain("what", width=80),
    *_plain("figures", width=40),
    *SOURCE,
    *_plain("column"),
)
CHANGES = (
    *_plain("kind"),
    *_plain("name", width=30),
    *_plain("asset_type"),
    *_plain("field", width=24),
    Field("before", _getter("before"), 30, "field"),
    Field("after", _getter("after"), 30, "field"),
    *_plain("matched_by"),
    *_plain("asset_id", "before_asset_id", "change_id", width=38),
)

EXPORTS: dict[str, tuple[Field, ...]] = {
    "assets": ASSETS,
    "dependencies": DEPENDENCIES,
    "issues": ISSUES,
    "reviews": REVIEWS,
    "changes": CHANGES,
}
"""What is written as csv, by kind."""


def expanded(kind: str, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows as they are exported: of a change one for each field that differs, of others each as it is."""
    for row in rows:
        differing: list[dict[str, Any]] = row.get("fields") or [{}] if kind == "changes" else [{}]
        for one in differing:
            yield {**row, **one} if one else row
