"""The signer of checkpoints: every ten seconds, or ten thousand events, what is new is signed, told and written down."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from domain.errors import SettingsError
from eventstore.audit.bucket import Bucket, BucketUnreachable
from eventstore.audit.checkpoints import Checkpoint
from eventstore.audit.reading import reader
from eventstore.audit.signer import Round, Signer, Superseded, note_published, unpublished
from eventstore.audit.signing import SigningKey, trusted
from eventstore.config import ServiceConfig
from eventstore.database import Connection
from eventstore.faults import heed_the_end, lived_through
from eventstore.relay import producer
from eventstore.tasks import close

log = structlog.get_logger()

Give = Callable[[list[Checkpoint]], Awaitable[None]]

EVERY_SECONDS = 10.0
BATCH = 500

CHECKPOINTS = Counter("mfo_audit_checkpoints_total", "Checkpoints signed by this process")
REFUSED = Gauge(
    "mfo_audit_refused_accounts", "Client accounts whose last checkpoint does not hold, when last looked at"
)
WAITING = Gauge("mfo_audit_unpublished", "Checkpoints that are signed and not yet on Kafka, when last looked at")


class Signing:
    """Signs and publishes for as long as the process lives; of several processes one does. Raises SettingsError without a key."""

    def __init__(self, config: ServiceConfig) -> None:
        if config.audit is None:
            raise SettingsError(
                "MFO_AUDIT_KEY is missing; set it, or MFO_AUDIT_KEY_FILE, to 32 random bytes in base64 that sign the"
                " checkpoints of history, made once with: openssl rand -base64 32"
            )
        self._config = config
        self._file = config.audit.file
        self._bucket = Bucket(config.audit.s3, config.audit.s3_endpoint) if config.audit.s3 else None
        self._who = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._signer = Signer(SigningKey(config.audit.seed), trusted(config.audit.former), self._who)
        self.leading = False
        self.reason = ""
        # of what is not everywhere yet, what each of the places has
        self._has: dict[str, set[tuple[UUID, int]]] = {}

    async def run(self) -> None:
        """Sign what is new every ten seconds; faults of PostgreSQL and Kafka are waited out."""
        while True:
            with lived_through("signing checkpoints"):
                await self._serve()
            await asyncio.sleep(1.0)

    async def _serve(self) -> None:
        connection = await reader(self._config.database_url, self._config.shard)
        try:
            while True:
                more = False
                with suppress(Superseded):
                    done = await self._signer.round(connection)
                    self.leading, more = done is not None, bool(done and done.more)
                    if done is not None:
                        self._note(done)
                        await self._publish(connection)
                if not more:
                    await asyncio.sleep(EVERY_SECONDS)
        finally:
            self.leading = False
            with suppress(psycopg.Error, OSError):
                await self._signer.release(connection)
            await connection.close()

    def _note(self, done: Round) -> None:
        CHECKPOINTS.inc(done.made)
        if done.refused:
            REFUSED.set(done.refused)
        self.reason = f"nothing is signed any more for {done.refused} client accounts" if done.refused else ""

    async def _publish(self, connection: Connection) -> None:
        """Tell Kafka, and the file and the bucket that are set, of all that has been signed; what one of them could not be told it is
        told the next time, and the others not again."""
        while told := await unpublished(connection, BATCH):
            WAITING.set(len(told))
            # a list: each place is tried, whatever became of the one before
            if not all([await self._give(where, give, told) for where, give in self._places().items()]):
                return
            await note_published(connection, told)
            self._has.clear()
        WAITING.set(0)

    def _places(self) -> dict[str, Give]:
        places: dict[str, Give] = {}
        if (file := self._file) is not None:
            places["file"] = lambda checkpoints: asyncio.to_thread(append_to, file, checkpoints)
        if (bucket := self._bucket) is not None:
            places["bucket"] = lambda checkpoints: asyncio.to_thread(bucket.put, checkpoints)
        return {**places, "kafka": self._tell}

    async def _give(self, where: str, give: Give, told: list[tuple[UUID, int, Checkpoint]]) -> bool:
        has = self._has.setdefault(where, set())
        new = [one for one in told if one[:2] not in has]
        try:
            if new:
                await give([checkpoint for _, _, checkpoint in new])
        except (KafkaError, OSError, BucketUnreachable) as error:
            heed_the_end()
            log.warning(
                "checkpoints could not be published", to=where, error=type(error).__name__, detail=str(error)[:200]
            )
            return False
        has.update(one[:2] for one in new)
        return True

    async def _tell(self, checkpoints: list[Checkpoint]) -> None:
        kafka = producer(self._config.kafka_bootstrap)
        try:
            await kafka.start()
            futures = [
                await kafka.send(
                    self._config.topics.checkpoints,
                    encoded(checkpoint),
                    key=str(checkpoint.said.client_account_id).encode(),
                )
                for checkpoint in checkpoints
            ]
            await asyncio.gather(*futures)
        finally:
            await close(kafka.stop)


def encoded(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as it is published: one line of JSON, `{statement, signature, key_id}`."""
    return msgspec.json.encode(checkpoint.as_dict())


def append_to(file: Path, checkpoints: list[Checkpoint], *, sync: Callable[[int], None] = os.fsync) -> None:
    """Add a line for each checkpoint, and wait until the disk has them; raises OSError."""
    with file.open("ab") as lines:
        lines.write(b"".join(encoded(checkpoint) + b"\n" for checkpoint in checkpoints))
        lines.flush()
        sync(lines.fileno())
