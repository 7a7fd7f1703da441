"""What can be set from outside, each as one `MFO_...` variable; wrong values are refused before anything starts."""

from __future__ import annotations

import os
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.addresses import EMAIL, Addressing
from domain.auditing.policy import AuditPolicy, Own, own, policy_of
from domain.errors import RegistrationError, SettingsError
from eventstore.config import AuditConfig, CrewConfig, MailFolder, ServiceConfig, SmtpConfig, TellingConfig

PREFIX = "MFO_"
# read by the tests, never by a service
NOT_OURS = ("MFO_TEST_",)
# pydantic's words for the length of a secret
SECRET_LENGTH = re.compile(r"^Value should have (at (?:least|most) \d+) items? after validation, not \d+$")
MIB = 1024 * 1024
Service = Literal["api", "consumers", "projections"]


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _each(pattern: str, kind: str) -> AfterValidator:
    def check(values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not re.fullmatch(pattern, value):
                raise PydanticCustomError("list_item", "{value} is not {kind}", {"value": repr(value), "kind": kind})
        return values

    return AfterValidator(check)


Topics = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), _each(r"[A-Za-z0-9._-]{1,249}", "the name of a Kafka topic")
]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Personal = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), _each(r"email|phone", "`email` or `phone`")]
Modules = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), _each(r"[A-Za-z_][\w.]*", "a Python module")]
_host_name = r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
Domains = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    _each(rf"\*|{_host_name}", "a domain such as example.com or *.example.com, or *"),
]
Hosts = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(_split),
    _each(rf"\*|{_host_name}|[0-9A-Fa-f:.]+", "a host such as hooks.example.com or *.example.com, or *"),
]


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError as error:
            raise PydanticCustomError("network", "{why}", {"why": str(error)}) from None
    return values


Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
Port = Annotated[int, Field(ge=0, le=65535)]
SMTP = re.compile(r"(smtp|smtps|smtp\+starttls)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?/?")
SMTP_KINDS: dict[str, tuple[Literal["plain", "tls", "starttls"], int]] = {
    "smtp": ("plain", 25),
    "smtps": ("tls", 465),
    "smtp+starttls": ("starttls", 587),
}


class Settings(BaseSettings):
    """All settings; a service takes what it needs, `service_config` says what is missing for that."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    database_url: SecretStr | None = Field(
        None,
        description="Address of the PostgreSQL database, `postgresql://user:password@host:port/name`. Services need it.",
    )
    kafka_bootstrap: str | None = Field(
        None, description="Addresses of Kafka brokers, `host:port`, several with commas between. Services need it."
    )
    master_key: SecretStr | None = Field(
        None,
        description="32 random bytes in base64 that wrap every tenant's key (`openssl rand -base64 32`). "
        "Services need this or `MFO_MASTER_KEY_FILE`; there is no default, and without it what is encrypted is lost.",
    )
    master_key_file: Path | None = Field(
        None, description="A file that holds the master key, instead of `MFO_MASTER_KEY`."
    )
    audit_key: SecretStr | None = Field(
        None,
        description="32 random bytes in base64, the Ed25519 key that signs checkpoints of history (`openssl rand -base64 32`). "
        "`mfo projections` needs this or `MFO_AUDIT_KEY_FILE`; keep it from whoever administers the database.",
    )
    audit_key_file: Path | None = Field(None, description="A file that holds that key, instead of `MFO_AUDIT_KEY`.")
    audit_former_keys: Words = Field(
        (),
        description="Public keys, with commas between, that signed before this one did (`mfo audit keys` prints them).",
    )
    audit_file: Path | None = Field(
        None,
        description="A file that every checkpoint is added to, best where no administrator of the database can write.",
    )
    audit_s3: str | None = Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9!_.*'()/-]{0,500})?$",
        description="Where every checkpoint is written to besides, `s3://bucket/prefix`, one object each; best a bucket with "
        "object lock. Credentials come from where boto3 looks for them.",
    )
    audit_s3_endpoint: str | None = Field(
        None, pattern=r"^https?://\S+$", description="Address of an S3-compatible store; left out: AWS."
    )
    audit_reads: bool = Field(
        False,
        description="Whether the audit trail tells who looked where a flow stands and who listed flows, too. Each is a row more.",
    )
    audit_redact: Personal = Field(
        (),
        description="What the audit trail keeps from sight besides secrets: `email`, `phone`, with a comma between.",
    )
    audit_redact_paths: Words = Field(
        (),
        description="Paths whose values the audit trail keeps from sight, with commas between: names with dots between, `*` "
        "for one name, `**` for any number, such as `body.initial_data.*.iban` or `**.ssn`.",
    )
    audit_policy: Path | None = Field(
        None,
        description="A TOML file with compliance rules of your own, and paths and patterns that the audit trail keeps from sight "
        "besides; `mfo projections` reads it at its start.",
    )
    http_host: str = Field("127.0.0.1", description="Address on which HTTP is served; `0.0.0.0` for all.")
    http_port: Port = Field(8080, description="Port of the HTTP API.")
    consumers_health_port: Port = Field(
        0, description="Port on which `mfo consumers` serves `/health/*` and `/metrics`; 0 serves none."
    )
    projections_health_port: Port = Field(
        0, description="Port on which `mfo projections` serves `/health/*` and `/metrics`; 0 serves none."
    )
    kafka_fetch_wait_ms: int = Field(
        250,
        ge=1,
        le=5000,
        description="How long a broker may hold an empty fetch, in ms. A real broker answers at once when something comes; "
        "the built-in one does not, and wants 5.",
    )
    shard: str = Field(
        "mfo", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="The PostgreSQL schema that holds this shard's tables."
    )
    topic_prefix: str = Field(
        "mfo",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="First part of every topic's name: `<prefix>.commands.v1`.",
    )
    topic_partitions: int = Field(12, ge=1, le=1000, description="Partitions of topics that are made by us.")
    reply_topics: Topics = Field(
        (),
        description="Topics, with commas between, that a command's `replyto` may name besides `<prefix>.replies.v1`.",
    )
    flow_types: Modules = Field(
        (), description="Python modules, with commas between, that register flow types and handlers of your own."
    )
    projections: Modules = Field(
        (), description="Python modules, with commas between, that bring read models of your own."
    )
    artifacts: Literal["postgres"] = Field(
        "postgres", description="Where uploads and large outputs are kept; so far in PostgreSQL only."
    )
    max_upload_bytes: int = Field(512 * MIB, ge=1, description="Largest upload, in bytes.")
    max_body_bytes: int = Field(
        1 * MIB, ge=1024, le=64 * MIB, description="Largest JSON body of an HTTP call, in bytes."
    )
    workers: int = Field(2, ge=1, le=256, description="Child processes of `mfo consumers` that do the work of phases.")
    worker_memory_mb: int = Field(1024, ge=128, description="Most memory one such child may use, in MiB.")
    worker_recycle_mb: int | None = Field(
        None,
        ge=0,
        description="A child that holds more than this many MiB is replaced when it is idle, its successor being up before; "
        "0 never does. Not set: three quarters of `MFO_WORKER_MEMORY_MB`.",
    )
    worker_max_runs: int = Field(
        1000, ge=0, description="A child is replaced the same way after this many runs; 0 never does."
    )
    drain_seconds: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="How long `mfo consumers`, told to stop, lets runs in hand come to their end before others get them, "
        "in seconds. What ends the process must have more patience than that, by 5 s. `mfo dev` uses 1.5.",
    )
    slots: int = Field(64, ge=1, le=10_000, description="Phases that one `mfo consumers` has in hand at once.")
    tenant_runs: int | None = Field(
        None,
        ge=1,
        description="Most phases that one tenant may have in hand at once, over all `mfo consumers`; give each the same. Without it: "
        "no limit.",
    )
    operation_max_flows: int = Field(
        100_000, ge=1, le=10_000_000, description="Most flows that one operation over many flows takes."
    )
    operation_keep_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="How long it is kept what became of each flow of an operation, in days after its end; 0: for ever. The"
        " counts stay.",
    )
    max_queue: int = Field(
        20_000,
        ge=1,
        description="Commands that one process lets wait for the store; more are answered 503, those from Kafka stay there.",
    )
    max_queue_bytes: int = Field(
        64 * MIB, ge=1 * MIB, description="The same in bytes, and the most that HTTP bodies take."
    )
    http_in_flight: int = Field(
        256, ge=1, le=100_000, description="Writes under way at once in one `mfo api`, and a quarter of the reads."
    )
    uploads_at_once: int = Field(8, ge=1, le=1000, description="Uploads under way at once in one `mfo api`.")
    operator_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="What an operator must send as `X-MFO-Operator-Token`, 16 characters or more: for dead letters, retention and"
        " holds, and what concerns every tenant. Without it nobody may. Commands send it from their own environment;"
        " `mfo dlq` asks Kafka itself.",
    )
    crew_model: str | None = Field(
        None,
        max_length=200,
        description="The model that agents of field mapping ask. Without it no agent takes part, and results say so.",
    )
    crew_base_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="OpenAI-compatible endpoint of that model, `https://host/v1`; the only address agents connect to.",
    )
    crew_api_key: SecretStr | None = Field(None, description="Key of that endpoint, where it wants one.")
    crew_api_key_file: Path | None = Field(
        None, description="A file that holds the key, instead of `MFO_CREW_API_KEY`."
    )
    crew_python: str | None = Field(
        None, description="Python interpreter that has CrewAI; the service's own (the extra `crew`) unless set."
    )
    crew_timeout_seconds: float = Field(
        60, gt=0, le=600, description="Longest a call of the model may take, in seconds."
    )
    crew_run_seconds: float = Field(
        120,
        gt=0,
        le=3600,
        description="Longest agents may take in one run of a phase, in seconds; half of its timeout at most.",
    )
    crew_max_calls: int = Field(20, ge=1, le=1000, description="Answers of the model that one phase may use.")
    crew_max_total_tokens: int = Field(
        100_000, ge=1, description="Tokens after which a phase makes no further call of the model."
    )
    crew_max_asks: int = Field(
        2, ge=1, le=5, description="How often one question is asked until its answer can be used."
    )
    crew_samples: int = Field(
        3,
        ge=0,
        le=5,
        description="Cells of a column, secrets and personal data masked, that agents are shown; 0 shows none.",
    )
    smtp_url: str | None = Field(
        None,
        description="The mail server for notifications: `smtp://host:25`, `smtps://host:465` or `smtp+starttls://host:587`."
        " Without it no mail is sent, and flows that ask for it are refused. Give `mfo api` and `mfo consumers` the same"
        " settings of mail and webhooks.",
    )
    mail_folder: Path | None = Field(
        None,
        description="A folder that mail is put into, a file `.eml` each, instead of a mail server: for trying it out."
        " `mfo dev` has one in its own folder unless a mail server is set.",
    )
    smtp_from: str | None = Field(
        None,
        max_length=254,
        pattern=EMAIL,
        description="Who mail comes from, such as `mfo@example.com`; goes with either.",
    )
    smtp_user: str | None = Field(
        None, max_length=255, description="Whom to log in as at the mail server, where it wants that."
    )
    smtp_password: SecretStr | None = Field(None, description="The password of that user.")
    smtp_password_file: Path | None = Field(
        None, description="A file that holds the password, instead of `MFO_SMTP_PASSWORD`."
    )
    notify_email_domains: Domains = Field(
        (),
        description="Domains, with commas between, that mail may go to; `*.example.com`: all below it, `*`: all. Empty: none.",
    )
    webhook_hosts: Hosts = Field(
        (),
        description="Hosts, with commas between, that webhooks may go to; `*.example.com`: all below it, `*`: all. Empty: none.",
    )
    webhook_allow_http: bool = Field(
        False, description="Whether a webhook's URL may begin with `http`, for tests and development."
    )
    webhook_networks: Networks = Field(
        (),
        description="Networks such as `10.1.0.0/16`, with commas between, that webhooks may reach although they are private;"
        " all other private, loopback and link-local addresses are refused.",
    )
    webhook_timeout_seconds: float = Field(
        20.0, ge=1, le=60, description="How long a webhook's receiver may take to answer, in seconds."
    )
    notify_max_attempts: int = Field(
        12,
        ge=1,
        le=100,
        description="How often a notification is tried, further apart each time (12: for two and a half days), before it is"
        " dead; a dead one can be replayed.",
    )
    notify_at_once: int = Field(16, ge=1, le=256, description="Notifications that one `mfo consumers` sends at once.")
    notify_keep_days: int = Field(
        30, ge=1, le=3650, description="How long notifications are kept after they were sent or given up, in days."
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        max_length=500,
        description="Where people reach the flows: notifications link to `<this>/flows/<flow id>`. Without it: no link.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        description="Receiver of traces (OpenTelemetry, OTLP over HTTP), such as http://127.0.0.1:4318; the standard variable"
        " OTEL_EXPORTER_OTLP_ENDPOINT is taken too. Without it: no traces, and nothing is loaded for them.",
    )
    url: str = Field(
        "http://127.0.0.1:8080",
        pattern=r"^https?://[^\s/]+",
        description="The service's address, for the command line.",
    )
    client_account_id: UUID | None = Field(None, description="Client account in whose name the command line asks.")
    engagement_id: UUID | None = Field(None, description="Engagement in whose name the command line asks.")
    user_id: str | None = Field(None, max_length=255, description="User in whose name the command line asks.")
    token: SecretStr | None = Field(None, description="Bearer token of the command line, where the service wants one.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _address_of_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        # loaded where it is needed: whoever is no service starts sooner without a driver and without ciphers
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(value.get_secret_value() if value else "")
        except ProgrammingError:
            # libpq's own sentence would repeat the password
            raise PydanticCustomError(
                "database_url", "it must be an address such as postgresql://user:password@host:5432/name"
            ) from None
        return value

    @field_validator("kafka_bootstrap")
    @classmethod
    def _addresses_of_brokers(cls, value: str | None) -> str | None:
        for address in _split(value) if value else ():
            found = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", address)
            if not found or not 0 < int(found[1]) <= 65535:
                raise PydanticCustomError("kafka", "{address} is not host:port", {"address": repr(address)})
        return value

    @model_validator(mode="after")
    def _one_master_key(self) -> Self:
        if self.master_key and self.master_key_file:
            raise PydanticCustomError("master_key", "set only one of MFO_MASTER_KEY and MFO_MASTER_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _one_audit_key(self) -> Self:
        if self.audit_key and self.audit_key_file:
            raise PydanticCustomError("audit_key", "set only one of MFO_AUDIT_KEY and MFO_AUDIT_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _recycled_before_it_is_ended(self) -> Self:
        if self._recycle_mb > self.worker_memory_mb:
            raise PydanticCustomError(
                "worker_recycle_mb",
                "MFO_WORKER_RECYCLE_MB must not be above MFO_WORKER_MEMORY_MB, where a child is ended",
            )
        return self

    @property
    def _recycle_mb(self) -> int:
        return self.worker_memory_mb * 3 // 4 if self.worker_recycle_mb is None else self.worker_recycle_mb

    @model_validator(mode="after")
    def _one_crew_key(self) -> Self:
        if self.crew_api_key and self.crew_api_key_file:
            raise PydanticCustomError("crew_api_key", "set only one of MFO_CREW_API_KEY and MFO_CREW_API_KEY_FILE")
        return self

    def master_key_bytes(self) -> bytes:
        """The 32 bytes of the master key, from wherever it was given; raises SettingsError."""
        from eventstore.keys import master_key_from

        if self.master_key:
            return master_key_from(self.master_key.get_secret_value())
        if not self.master_key_file:
            raise SettingsError(
                "MFO_MASTER_KEY is missing; set it, or MFO_MASTER_KEY_FILE, to 32 random bytes in base64, "
                "made once with: openssl rand -base64 32"
            )
        try:
            text = self.master_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"MFO_MASTER_KEY_FILE names {self.master_key_file}, which cannot be read: {error}"
            ) from None
        try:
            return master_key_from(text)
        except SettingsError:
            raise SettingsError(
                f"MFO_MASTER_KEY_FILE names {self.master_key_file}, which does not hold 32 bytes in base64; "
                "make one with: openssl rand -base64 32"
            ) from None

    def audit_config(self) -> AuditConfig | None:
        """The key that signs checkpoints and what goes with it, none where no key is named; raises SettingsError."""
        from eventstore.audit.signing import public_key_from, seed_from

        text = self.audit_key.get_secret_value() if self.audit_key else None
        if self.audit_key_file:
            try:
                text = self.audit_key_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(
                    f"MFO_AUDIT_KEY_FILE names {self.audit_key_file}, which cannot be read: {type(error).__name__}"
                ) from None
        if text is None:
            return None
        former = tuple(public_key_from(key) for key in self.audit_former_keys)
        return AuditConfig(
            seed=seed_from(text),
            former=former,
            file=self.audit_file,
            s3=self.audit_s3,
            s3_endpoint=self.audit_s3_endpoint,
            policy=self.audit_policy_config(),
        )

    def audit_policy_config(self) -> AuditPolicy:
        """What the audit trail is made under; raises SettingsError where the file of it is wrong."""
        found = Own()
        if self.audit_policy:
            where = f"{variable('audit_policy')} names {self.audit_policy}"
            try:
                found = own(tomllib.loads(self.audit_policy.read_text(encoding="utf-8")))
            except OSError as error:
                raise SettingsError(f"{where}, which cannot be read: {error.strerror}") from None
            except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise SettingsError(f"{where}, which is no TOML: {error}") from None
            except RegistrationError as error:
                raise SettingsError(f"{where}, which is wrong: {error}") from None
        given = self.audit_redact
        return policy_of(found, email="email" in given, phone="phone" in given, paths=self.audit_redact_paths)

    def crew_config(self) -> CrewConfig | None:
        """The agents' model and limits, None where no model is named; raises SettingsError."""
        if not self.crew_model:
            named = ("crew_base_url", "crew_api_key", "crew_api_key_file", "crew_python")
            given = [variable(name) for name in named if getattr(self, name) is not None]
            if given:
                raise SettingsError(f"{given[0]} is set and MFO_CREW_MODEL is not; name the model, or leave both out.")
            return None
        if not self.crew_base_url:
            raise SettingsError(
                "MFO_CREW_BASE_URL is missing; set it to the OpenAI-compatible endpoint of MFO_CREW_MODEL, https://host/v1"
            )
        return CrewConfig(
            model=self.crew_model,
            base_url=self.crew_base_url,
            api_key=self._line("crew_api_key", "crew_api_key_file"),
            python=self.crew_python,
            timeout_seconds=self.crew_timeout_seconds,
            run_seconds=self.crew_run_seconds,
            max_calls=self.crew_max_calls,
            max_total_tokens=self.crew_max_total_tokens,
            max_asks=self.crew_max_asks,
            samples=self.crew_samples,
        )

    def _line(self, given: str, in_file: str) -> str | None:
        """A secret of one line, from the variable or the file; raises SettingsError."""
        secret: SecretStr | None = getattr(self, given)
        file: Path | None = getattr(self, in_file)
        if secret and file:
            raise SettingsError(f"set only one of {variable(given)} and {variable(in_file)}")
        if secret:
            return secret.get_secret_value()
        if file is None:
            return None
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable(in_file)} names {file}, which cannot be read: {type(error).__name__}"
            ) from None
        if not key.isascii() or not key.isprintable() or not key:
            raise SettingsError(f"{variable(in_file)} names {file}, which does not hold one line of text")
        return key

    def telling_config(self) -> TellingConfig:
        """Whom notifications may go to and by what way; raises SettingsError."""
        return TellingConfig(
            addressing=Addressing(
                mail=self.smtp_url is not None or self.mail_folder is not None,
                email_domains=self.notify_email_domains,
                webhook_hosts=self.webhook_hosts,
                webhook_http=self.webhook_allow_http,
            ),
            mail=self._mail(),
            webhook_networks=self.webhook_networks,
            webhook_timeout_seconds=self.webhook_timeout_seconds,
            max_attempts=self.notify_max_attempts,
            at_once=self.notify_at_once,
            keep_days=self.notify_keep_days,
            public_url=self.public_url.rstrip("/") if self.public_url else None,
        )

    def _mail(self) -> SmtpConfig | MailFolder | None:
        if self.smtp_url is not None:
            if self.mail_folder is not None:
                raise SettingsError("MFO_SMTP_URL and MFO_MAIL_FOLDER are both set; leave one of them out.")
            return self._smtp(self.smtp_url)
        named = ["smtp_user", "smtp_password", "smtp_password_file"]
        if self.mail_folder is None:
            named.insert(0, "smtp_from")
        given = [variable(name) for name in named if getattr(self, name) is not None]
        if given:
            raise SettingsError(f"{given[0]} is set and MFO_SMTP_URL is not; set it too, or leave both out.")
        return MailFolder(path=self.mail_folder, sender=self.smtp_from or "mfo@localhost") if self.mail_folder else None

    def _smtp(self, url: str) -> SmtpConfig:
        found = SMTP.fullmatch(url)
        if found is None or not 0 < int(found[3] or 1) < 65536:
            # what is in it may be a password
            raise SettingsError(
                "MFO_SMTP_URL must be smtp://host:port, smtps://host:port or smtp+starttls://host:port; the user and the"
                " password go into MFO_SMTP_USER and MFO_SMTP_PASSWORD"
            )
        if self.smtp_from is None:
            raise SettingsError("MFO_SMTP_FROM is missing; set it to the address that mail comes from.")
        password = self._line("smtp_password", "smtp_password_file")
        if (self.smtp_user is None) != (password is None):
            raise SettingsError(
                "MFO_SMTP_USER goes with MFO_SMTP_PASSWORD or MFO_SMTP_PASSWORD_FILE; set both or none."
            )
        security, port = SMTP_KINDS[found[1]]
        if password is not None and security == "plain":
            raise SettingsError(
                "MFO_SMTP_URL is smtp:// and would send the password in clear; use smtps or smtp+starttls"
            )
        return SmtpConfig(
            host=found[2].strip("[]"),
            port=int(found[3] or port),
            security=security,
            sender=self.smtp_from,
            user=self.smtp_user,
            password=password,
        )

    @property
    def traces_endpoint(self) -> str | None:
        """Where traces go, by our own variable or OpenTelemetry's; none where they are off."""
        from eventstore.tracing import endpoint_in

        return self.otlp_endpoint or endpoint_in(os.environ)

    def service_config(self, service: Service = "api") -> ServiceConfig:
        """What a service is started with, secrets read; raises SettingsError where something it needs is missing."""
        if not self.database_url:
            raise SettingsError("MFO_DATABASE_URL is missing; set it to the address of the database.")
        if not self.kafka_bootstrap:
            raise SettingsError("MFO_KAFKA_BOOTSTRAP is missing; set it to the address of Kafka, host:port.")
        health_ports = {"consumers": self.consumers_health_port, "projections": self.projections_health_port}
        return ServiceConfig(
            database_url=self.database_url.get_secret_value(),
            kafka_bootstrap=self.kafka_bootstrap,
            master_key=self.master_key_bytes(),
            shard=self.shard,
            topic_prefix=self.topic_prefix,
            kafka_fetch_wait_ms=self.kafka_fetch_wait_ms,
            flow_type_modules=self.flow_types,
            projection_modules=self.projections,
            reply_topics=self.reply_topics,
            http_host=self.http_host,
            http_port=self.http_port,
            health_port=health_ports.get(service, 0),
            max_body_bytes=self.max_body_bytes,
            max_upload_bytes=self.max_upload_bytes,
            workers=self.workers,
            worker_memory_mb=self.worker_memory_mb,
            worker_recycle_mb=self._recycle_mb,
            worker_max_runs=self.worker_max_runs,
            drain_seconds=self.drain_seconds,
            slots=self.slots,
            tenant_runs=self.tenant_runs,
            operation_max_flows=self.operation_max_flows,
            operation_keep_days=self.operation_keep_days,
            max_queue=self.max_queue,
            max_queue_bytes=self.max_queue_bytes,
            http_in_flight=self.http_in_flight,
            uploads_at_once=self.uploads_at_once,
            audit_reads=self.audit_reads,
            operator_token=self.operator_token.get_secret_value() if self.operator_token else None,
            crew=self.crew_config() if service == "consumers" else None,
            audit=self.audit_config() if service == "projections" else None,
            telling=self.telling_config(),
        )


def variable(field: str) -> str:
    """The variable that sets a field, such as MFO_HTTP_PORT."""
    return f"{PREFIX}{field.upper()}"


def load_settings() -> Settings:
    """The settings of the environment; raises SettingsError that names each variable which is wrong or unknown."""
    wrong = [
        f"{name} is not a setting" + _meant(name)
        for name in sorted(os.environ)
        if name.startswith(PREFIX)
        and not name.startswith(NOT_OURS)
        and name.removeprefix(PREFIX).lower() not in _fields()
    ]
    try:
        settings = Settings()
    except ValidationError as error:
        wrong += [_sentence(found["loc"], found["msg"]) for found in error.errors()]
    if wrong:
        raise SettingsError("; ".join(wrong))
    return settings


def _fields() -> set[str]:
    return set(Settings.model_fields)


def _meant(name: str) -> str:
    from rapidfuzz import process

    close = process.extractOne(name, [variable(field) for field in sorted(_fields())], score_cutoff=80)
    return f"; did you mean {close[0]}?" if close else ""


def _sentence(where: tuple[int | str, ...], said: str) -> str:
    if not where:
        return said
    field = str(where[0])
    secret = "SecretStr" in str(Settings.model_fields[field].annotation)
    shown = (
        f"{variable(field)} is wrong"
        if secret
        else f"{variable(field)} is {os.environ.get(variable(field))!r}, which is wrong"
    )
    said = SECRET_LENGTH.sub(r"it must have \1 characters", said)
    return f"{shown}: {said.replace('Input should', 'it must', 1)}"


def describe() -> list[tuple[str, str, str]]:
    """Every setting as (variable, default as text, what it does), in the order in which they are written here."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        rows.append((variable(name), "" if default is None else str(default), field.description or ""))
    return rows


def as_markdown() -> str:
    """`docs/settings.md`: every variable, its default, what it does."""
    rows = "\n".join(
        f"| `{name}` | {f'`{default}`' if default else ''} | {said} |" for name, default, said in describe()
    )
    return (
        "# Settings\n\n"
        "Every setting is an environment variable. A wrong value or an unknown `MFO_` name is refused at start, by name. "
        "No secret has a default.\n\n"
        f"| variable | default | what it does |\n|---|---|---|\n{rows}\n"
    )
