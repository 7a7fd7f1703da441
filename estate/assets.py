"""What discovery knows of one thing of the estate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class Asset(msgspec.Struct, kw_only=True):
    """One machine, database, application or device, however many rows name it. Unknown is None, never 0.

    `memory_gb` and `storage_gb` are GiB (1024). `sources` are `{file, sheet, row}`; a conflict is
    `{field, chosen, values: [{value, sources: [{file, sheet, row, field}]}], why}`.
    """

    asset_id: str
    name: str
    asset_type: str = "other"
    hostname: str | None = None
    fqdn: str | None = None
    ip_addresses: list[str] = []
    mac_addresses: list[str] = []
    serial_number: str | None = None
    uuid: str | None = None
    external_ids: list[str] = []
    also_known_as: list[str] = []
    operating_system: str | None = None
    os_version: str | None = None
    os_family: str | None = None
    os_edition: str | None = None
    cpu_cores: int | None = None
    memory_gb: float | None = None
    storage_gb: float | None = None
    environment: str | None = None
    location: str | None = None
    criticality: str | None = None
    business_owner: str | None = None
    technical_owner: str | None = None
    department: str | None = None
    application_name: str | None = None
    description: str | None = None
    power_state: str | None = None
    cpu_utilization_percent: float | None = None
    memory_utilization_percent: float | None = None
    utilization: dict[str, Any] = {}
    """By measure (`cpu_percent, memory_percent, disk_iops, disk_mb_per_s, network_mb_per_s`): `{average, p95, peak,
    samples, from, to}`, what is not known left out."""
    software: list[dict[str, Any]] = []
    """`{product, version, edition, vendor, source{file, sheet, row}}`."""
    migratable: bool = True
    """False for what cannot be moved as a machine: appliances, hypervisors, templates, network gear."""
    classification: dict[str, Any] = {}
    """`{confidence, evidence, hint}` of the asset type, and `not_migratable`: the reason why it cannot be moved."""
    matched_by: list[str] = []
    """One sentence for each way in which rows of different names or tables were found to be one asset."""
    custom_attributes: dict[str, Any] = {}
    conflicts: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    """Every row of a list that names it, and the first 200 rows of disks, cards, products, measurements and tags."""
    rows: int = 0
    """How many rows speak of it."""
    confidence: float = 1.0


class AssetFacts(msgspec.Struct, kw_only=True):
    """The parts of an asset that later phases need; the estate's own attributes are skipped."""

    asset_id: str
    name: str
    asset_type: str = "other"
    hostname: str | None = None
    fqdn: str | None = None
    ip_addresses: list[str] = []
    external_ids: list[str] = []
    also_known_as: list[str] = []
    operating_system: str | None = None
    os_version: str | None = None
    os_family: str | None = None
    os_edition: str | None = None
    cpu_cores: int | None = None
    memory_gb: float | None = None
    storage_gb: float | None = None
    environment: str | None = None
    criticality: str | None = None
    application_name: str | None = None
    power_state: str | None = None
    cpu_utilization_percent: float | None = None
    memory_utilization_percent: float | None = None
    utilization: dict[str, Any] = {}
    software: list[dict[str, Any]] = []
    migratable: bool = True
    custom_attributes: msgspec.Raw = msgspec.Raw(b"{}")
    conflicts: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []


_facts = msgspec.json.Decoder(AssetFacts)


def read_facts(path: Path) -> Iterator[AssetFacts]:
    """The assets of an ndjson file, one by one."""
    with path.open("rb") as file:
        for line in file:
            if line != b"\n":
                yield _facts.decode(line)
