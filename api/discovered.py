"""The shapes of what discovery found, as the OpenAPI document tells them. Unknown is null, never 0 and never a placeholder."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.documents import AssetType, Document, Json, Severity

ReviewKind = Literal["ambiguous_match", "possible_duplicate"]
ChangeKind = Literal["new", "gone", "changed", "renamed"]


class Row(BaseModel):
    """A row of a list; more fields may be added."""

    model_config = ConfigDict(extra="allow")


class Source(Row):
    """Where something stands."""

    file: str
    sheet: str | None
    row: int | None = Field(description="As a spreadsheet counts, the header's row included.")


class ConflictValue(Row):
    """One of the values that sources give for a field."""

    value: Any
    sources: list[Source]


class Conflict(Row):
    """A field on which sources disagree."""

    field: str
    chosen: Any
    values: list[ConflictValue]
    why: str | None = Field(default=None, description="Why this value was chosen, in a sentence.")


class AssetFound(Row):
    """One machine, database, application or device, however many rows name it."""

    asset_id: str = Field(description="Of this flow; another discovery of the same machine has another.")
    name: str
    asset_type: AssetType
    hostname: str | None
    fqdn: str | None
    ip_addresses: list[str]
    mac_addresses: list[str]
    serial_number: str | None
    uuid: str | None
    external_ids: list[str] = Field(description="Keys of the tools that listed it.")
    also_known_as: list[str] = Field(description="Other names that rows gave it.")
    operating_system: str | None = Field(description="The product, such as Windows Server.")
    os_version: str | None
    os_family: str | None
    os_edition: str | None
    cpu_cores: int | None = Field(description="Cores that it has, virtual ones of virtual machines.")
    memory_gb: float | None = Field(description="In GiB (1024 MiB).")
    storage_gb: float | None = Field(description="In GiB (1024 MiB): what it was given, not what it uses.")
    environment: str | None = Field(
        description="production, development, test, staging, ...; other words as they stood."
    )
    location: str | None
    criticality: str | None
    business_owner: str | None
    technical_owner: str | None
    department: str | None
    application_name: str | None
    description: str | None
    power_state: Literal["on", "off", "suspended"] | None
    cpu_utilization_percent: float | None = Field(description="On average, 0 to 100.")
    memory_utilization_percent: float | None = Field(description="On average, 0 to 100.")
    utilization: Json = Field(
        description="By measure, such as cpu_percent or disk_iops: `{average, p95, peak, samples, from, to}`, what is not"
        " known left out."
    )
    software: list[Json] = Field(description="`{product, version, edition, vendor, source}`.")
    migratable: bool = Field(
        description="False for what is not moved as a machine: hypervisors, appliances, templates, ..."
    )
    classification: Json = Field(
        description="`{confidence, evidence, hint}` of the type, and `not_migratable`: why it is not moved."
    )
    matched_by: list[str] = Field(description="One sentence for each way in which rows were found to be one asset.")
    custom_attributes: Json = Field(
        description="The columns that have no field of their own, by their names in the file."
    )
    conflicts: list[Conflict]
    sources: list[Source] = Field(
        description="Every row of a list that names it, and the first 200 rows of disks, cards, products and the like."
    )
    rows: int = Field(description="How many rows speak of it.")
    confidence: float = Field(description="0 to 1.")


class DependencyFound(Row):
    """Who needs whom: the source opens the connection, or needs the target."""

    dependency_id: str
    source_asset_id: str | None = Field(description="null: an end that is no asset of this inventory.")
    source_name: str
    target_asset_id: str | None = Field(description="null: an end that is no asset of this inventory.")
    target_name: str
    port: int | None
    protocol: str | None
    process: str | None = Field(description="What answers.")
    source_process: str | None = Field(description="What asks.")
    source_application: str | None
    target_application: str | None
    relation: str | None = Field(description="As the file names it, where it names one.")
    kind: str = Field(description="What it is for, such as database, web, application or hosted_on.")
    direction: Literal["as_stated", "by_relation", "by_port"] = Field(description="How the direction is known.")
    turned: bool = Field(description="The ports of at least one row told the opposite of its columns.")
    noise: bool = Field(description="Kept, and left out of circles and move groups.")
    noise_reason: str | None
    unknown_endpoint: bool = Field(description="An end is no asset of this inventory.")
    outside: bool = Field(description="An end is an address of the internet.")
    confidence: float = Field(description="0 to 1.")
    observations: int = Field(description="How many rows tell it.")
    bytes: int | None = Field(description="Sent in both directions together, in bytes.")
    connections: int | None
    first_seen: str | None
    last_seen: str | None
    source: Source | None
    sources: list[Source] = Field(description="The first 20 rows.")


class IssueFound(Row):
    """Something that an owner should look at."""

    issue_id: str
    kind: str
    severity: Severity
    message: str
    asset_id: str | None
    field: str | None
    source: Source | None


class ReviewFound(Row):
    """A match that is doubtful: the assets were kept apart until a person has settled it."""

    review_id: str
    kind: ReviewKind = Field(
        description="possible_duplicate: the assets may be one; ambiguous_match: a row may mean any of several assets."
    )
    asset_ids: list[str]
    names: list[str] = Field(description="Of the assets, in the same order.")
    reason: str
    confidence: float = Field(description="That they are one: 0 to 1.")
    evidence: list[str] = Field(description="What speaks for and against it, and where that stands.")
    suggestion: str


class ChangedField(Row):
    """A field that differs."""

    field: str = Field(description="`custom_attributes.<name>` for what has no field of its own.")
    before: Any
    after: Any


class ChangeFound(Row):
    """What has become of an asset since the inventory that this one was compared with."""

    change_id: str
    kind: ChangeKind = Field(description="renamed: another name, and perhaps other differences.")
    asset_id: str | None = Field(description="Of this flow; null for what is gone.")
    before_asset_id: str | None = Field(description="Of the earlier flow; null for what is new.")
    name: str
    asset_type: AssetType
    matched_by: str | None = Field(description="The key by which it was found in both; null for what is new or gone.")
    fields: list[ChangedField] = Field(description="Empty for what is new or gone.")


class AssetList(Document):
    """A page of the assets that a flow found."""

    assets: list[AssetFound]
    total: int
    next_cursor: str | None


class DependencyList(Document):
    """A page of the dependencies that a flow found."""

    dependencies: list[DependencyFound]
    total: int
    next_cursor: str | None


class IssueList(Document):
    """A page of the issues that a flow found."""

    issues: list[IssueFound]
    total: int
    next_cursor: str | None


class ReviewList(Document):
    """A page of the doubtful matches of a flow's inventory."""

    reviews: list[ReviewFound]
    total: int
    next_cursor: str | None


class ChangeList(Document):
    """A page of what has changed since an earlier discovery: first what is in this inventory, then what is gone."""

    changes: list[ChangeFound]
    total: int
    next_cursor: str | None
