"""What every service is given at its start: settings, checked. Imports little, so that whoever only reads settings starts soon."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from domain.addresses import Addressing
from domain.auditing.policy import SHIPPED, AuditPolicy

DEFAULT_SHARD = "mfo"
# processes that share out a large work: the cores that this one may use
JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# what waits for the committer at most, in commands and in bytes
MAX_QUEUE = 20_000
MAX_QUEUE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewConfig:
    """The model that agents of phases ask, the interpreter that has CrewAI (none: the service's own), and the limits of
    one phase: seconds of a call, of all of a run, calls, tokens, asks of one question; `samples` are cells of a column."""

    model: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    python: str | None = None
    timeout_seconds: float = 60.0
    run_seconds: float = 120.0
    max_calls: int = 20
    max_total_tokens: int = 100_000
    max_asks: int = 2
    samples: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What signs the checkpoints of history: the private key's 32 bytes, the public halves of the keys before it, and a file
    and a bucket (`s3://bucket/prefix`) that checkpoints are added to besides; and what the audit trail is made under."""

    seed: bytes = field(repr=False)
    former: tuple[bytes, ...] = ()
    file: Path | None = None
    s3: str | None = None
    s3_endpoint: str | None = None
    policy: AuditPolicy = SHIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig:
    """The mail server, who mail comes from, and whom to log in as, if anybody."""

    host: str
    port: int
    security: Literal["plain", "tls", "starttls"]
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFolder:
    """A folder that mail is put into instead of being sent, and who it comes from."""

    path: Path
    sender: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingConfig:
    """Whom notifications may go to and by what way; times in seconds.

    `webhook_networks` are private networks that webhooks may reach all the same; `at_once` is for one process,
    `at_once_per_address` for all of them.
    """

    addressing: Addressing = field(default_factory=Addressing)
    mail: SmtpConfig | MailFolder | None = None
    webhook_networks: tuple[str, ...] = ()
    webhook_timeout_seconds: float = 20.0
    max_attempts: int = 12
    at_once: int = 16
    at_once_per_address: int = 4
    keep_days: int = 30
    public_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Settings as the services take them: checked, with the secrets read."""

    database_url: str
    kafka_bootstrap: str
    master_key: bytes
    shard: str = DEFAULT_SHARD
    topic_prefix: str = "mfo"
    kafka_fetch_wait_ms: int = 250
    flow_type_modules: tuple[str, ...] = ()
    projection_modules: tuple[str, ...] = ()
    reply_topics: tuple[str, ...] = ()
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    health_port: int = 0
    max_body_bytes: int = 1 << 20
    max_upload_bytes: int = 512 << 20
    workers: int = 2
    worker_memory_mb: int = 1024
    worker_recycle_mb: int = 0
    worker_max_runs: int = 0
    drain_seconds: float = 10.0
    slots: int = 64
    tenant_runs: int | None = None
    operator_token: str | None = None
    audit_reads: bool = False
    http_in_flight: int = 256
    uploads_at_once: int = 8
    operation_max_flows: int = 100_000
    operation_keep_days: int = 90
    max_queue: int = MAX_QUEUE
    max_queue_bytes: int = MAX_QUEUE_BYTES
    crew: CrewConfig | None = None
    audit: AuditConfig | None = None
    telling: TellingConfig = TellingConfig()

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the Kafka topics."""

    prefix: str = "mfo"

    @property
    def commands(self) -> str:
        return f"{self.prefix}.commands.v1"

    @property
    def replies(self) -> str:
        return f"{self.prefix}.replies.v1"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events.v1"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.commands.dlq.v1"

    @property
    def checkpoints(self) -> str:
        return f"{self.prefix}.audit.checkpoints.v1"
