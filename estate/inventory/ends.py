"""An estate of connections alone: its machines and applications are their ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from estate.assets import Asset
from estate.clean import CleanColumn, CleanTable
from estate.ids import id_of
from estate.inventory.views import APPLICATION, application_key
from estate.names import canonical
from estate.tables import source
from estate.vocabulary import parse_ip, special_address, split_fqdn, telling

MAX_SOURCES = 50


class _End:
    """A machine or application as the connections name it."""

    __slots__ = ("addresses", "applications", "name", "rows", "sources")

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: dict[str, None] = {}
        self.applications: dict[str, None] = {}
        self.sources: list[dict[str, Any]] = []
        self.rows = 0


def from_connections(tables: list[CleanTable], namespace: UUID, each: Callable[[Asset], None]) -> tuple[int, int]:
    """One asset for each end that has a name or an address, or for an application where only that is named.

    Hands the assets to `each`; how many there are, and how many rows name at least one.
    """
    ends: dict[str, _End] = {}
    rows = 0
    for table in tables:
        rows += _read(table, ends)
    for key, end in ends.items():
        each(_asset(key, end, namespace))
    return len(ends), rows


def _read(table: CleanTable, ends: dict[str, _End]) -> int:
    found: list[list[_End | None]] = []
    for which in ("source", "target"):
        columns = table.of(f"{which}_name", f"{which}_ip", f"{which}_application")
        known: dict[tuple[int, ...], _End | None] = {}
        mine: list[_End | None] = []
        for combination in zip(*(column.codes for column in columns), strict=True):
            if combination not in known:
                known[combination] = _end(which, columns, combination, ends)
            mine.append(known[combination])
        found.append(mine or [None] * len(table))
    used = 0
    for number, source_end, target_end in zip(table.numbers, *found, strict=True):
        used += source_end is not None or target_end is not None
        for end in (source_end,) if source_end is target_end else (source_end, target_end):
            if end is not None:
                end.rows += 1
                if len(end.sources) < MAX_SOURCES:
                    end.sources.append(source(table.file, table.sheet, number))
    return used


def _end(which: str, columns: list[CleanColumn], codes: tuple[int, ...], ends: dict[str, _End]) -> _End | None:
    stated: dict[str, list[str]] = {f"{which}_name": [], f"{which}_ip": [], f"{which}_application": []}
    for column, code in zip(columns, codes, strict=True):
        value = column.values[code]
        if value is not None:
            stated[column.target].extend([value] if isinstance(value, str) else value)
    said, seen, applications = stated.values()
    names = [name for name in said if special_address(name) is None]
    addresses = telling(seen)
    if names or addresses:
        name = names[0] if names else addresses[0]
        key = canonical(name)[0]
    elif applications:
        name = applications[0]
        key = application_key(name)
    else:
        return None
    end = ends.get(key)
    if end is None:
        end = ends[key] = _End(name)
    end.addresses.update(dict.fromkeys(addresses))
    if names or addresses:
        end.applications.update(dict.fromkeys(applications))
    return end


def _asset(key: str, end: _End, namespace: UUID) -> Asset:
    is_application = key.startswith(APPLICATION)
    parts = split_fqdn(end.name) if not is_application and parse_ip(end.name) is None else None
    applications = list(end.applications)
    address = parse_ip(end.name) if not is_application else None
    addresses = list(end.addresses) or ([address] if address else [])
    what = "an application" if is_application else "a machine"
    return Asset(
        asset_id=id_of(namespace, f"asset|{key}"),
        name=parts[0] if parts else end.name,
        asset_type="application" if is_application else "server",
        hostname=parts[0].lower() if parts else None,
        fqdn=end.name.lower() if parts else None,
        ip_addresses=addresses,
        application_name=applications[0] if applications else None,
        classification={"confidence": 0.5, "evidence": f"named as {what} at the end of a connection"},
        custom_attributes={"applications": applications} if len(applications) > 1 else {},
        sources=end.sources,
        rows=end.rows,
        confidence=0.5,
    )
