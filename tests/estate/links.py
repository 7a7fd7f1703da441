"""Small estates and the rows that tie their machines together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from estate.assets import AssetFacts
from estate.clean import CleanColumn, CleanTable, Use
from estate.dependencies import Dependencies, analyse
from estate.roles import CONNECTIONS

FLOW = UUID("6f1c1ab0-8f0e-4f7a-9a57-0d4a3a1f5c11")
COLUMNS = "observed_at,source_name,source_process,target_name,target_ip,target_process,port"
NAMES = ("a", "b", "c", "d", "e", "dns")


def table(
    columns: str,
    *rows: list[Any],
    role: str = CONNECTIONS,
    file: str = "c.csv",
    kind: str = "connections",
    fields: dict[str, str] | None = None,
) -> CleanTable:
    """A clean table; columns are named by target, `fields` what they are called in the file."""
    facts = []
    for place, target in enumerate(columns.split(",")):
        values: list[Any] = [None]
        codes = array("I")
        for row in rows:
            if row[place] not in values:
                values.append(row[place])
            codes.append(values.index(row[place]))
        rank = 0 if target == "bytes" else place
        facts.append(CleanColumn(Use((fields or {}).get(target, target), target, rank=rank), values, codes))
    return CleanTable(file, None, kind, role, array("I", range(2, 2 + len(rows))), facts)


def server(name: str, *addresses: str, row: int | None = None, file: str = "s.csv", **told: Any) -> AssetFacts:
    sources = [] if row is None else [{"file": file, "sheet": None, "row": row}]
    told = {"asset_type": "server", **told}
    return AssetFacts(asset_id=f"id-{name}", name=name, ip_addresses=list(addresses), sources=sources, **told)


def application(name: str, **told: Any) -> AssetFacts:
    return server(name, asset_type="application", **told)


SERVERS = [server(name, f"10.0.0.{number}") for number, name in enumerate(NAMES, 1)]


@dataclass
class Found(Dependencies):
    """With the dependencies that were handed over."""

    dependencies: list[dict[str, Any]]

    @property
    def messages(self) -> list[str]:
        return [issue["message"] for issue in self.issues]

    @property
    def kinds(self) -> list[str]:
        return [issue["kind"] for issue in self.issues]


def run(tables: Iterable[CleanTable], assets: Iterable[AssetFacts] = SERVERS) -> Found:
    edges: list[dict[str, Any]] = []
    found = analyse(tables, assets, FLOW, edges.append)
    return Found(found.groups, found.issues, found.summary, edges)


def link(
    source: str | None,
    target: str | None,
    port: int | None = 443,
    *,
    address: str = "",
    seen: str | None = "2025-06-14T00:00:00",
) -> list[Any]:
    return [seen, source, "java", target or None, [address] if address else None, "backend", port]


def found(*links: list[Any], servers: Iterable[AssetFacts] = SERVERS) -> Found:
    return run([table(COLUMNS, *links)], servers)


def ends(edge: dict[str, Any]) -> tuple[str, str, int]:
    return edge["source_name"], edge["target_name"], edge["port"]


def pairs(result: Found) -> list[tuple[str, str, str]]:
    return [(edge["source_name"], edge["target_name"], edge["kind"]) for edge in result.dependencies]
