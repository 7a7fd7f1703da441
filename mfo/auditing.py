"""`mfo audit verify`: the whole store in parallel, without any service having to run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg

from domain.commands import Envelope, Tenant
from domain.errors import FlowNotFound, MfoError, SchemaBehind, StoreUnavailable
from domain.words import counted
from eventstore.audit import pack_verifier
from eventstore.audit.artifacts_verify import artifacts
from eventstore.audit.bucket import Bucket
from eventstore.audit.checkpoints import Checkpoint, from_dict
from eventstore.audit.notes import Note, note
from eventstore.audit.pack import Pack, gather, write
from eventstore.audit.settings_verify import settings
from eventstore.audit.signing import shown
from eventstore.audit.trail import Range, reached
from eventstore.audit.trail_verify import compare
from eventstore.audit.verify import ALL_FLOWS, NO_FLOW, Verdict, checkpoints, histories
from eventstore.config import ServiceConfig
from eventstore.database import connect
from eventstore.workers import workers

Json = dict[str, Any]
T = TypeVar("T")

KEYS = "select key_id, public_key, first_used_at, last_used_at from audit_keys order by first_used_at"
KAFKA_SECONDS = 30.0


class CopyUnreadable(MfoError):
    """The published checkpoints cannot be read; give a file with a JSON object on each line, or `kafka`."""

    code = "copy_unreadable"


class PackUnreadable(MfoError):
    """The file is no evidence pack; give one that `mfo audit export` wrote."""

    code = "pack_unreadable"


class PackUnwritable(MfoError):
    """The pack cannot be written there; name another file."""

    code = "pack_unwritable"


@dataclass(frozen=True, slots=True)
class Which:
    """What is to be verified: all of the store, a client account or a flow; with `artifacts` what lies in those, too."""

    account: UUID | None = None
    flow: UUID | None = None
    artifacts: bool = True
    published: tuple[Checkpoint, ...] = field(default=(), repr=False)


def verify(
    config: ServiceConfig, keys: dict[str, bytes], which: Which, *, jobs: int, said: Callable[[str], None]
) -> Verdict:
    """Read everything once and hold it against what was signed; raises StoreUnavailable, SchemaBehind.

    The chains are shared out among `jobs` processes by flow id, the checkpoints are one more, the audit trail is shared out
    by place, artifacts by the flows that name them. Of a single flow only its chain, its head, its commands, its part of the trail and its artifacts are looked at;
    raises FlowNotFound where there is nothing of it.
    """
    where = (config.database_url, config.shard)
    if which.flow is not None:
        verdict = _histories(*where, which.account, (which.flow, which.flow))
        for source, upto in _reached(*where).items():
            _add(verdict, _trail(*where, source, Range(0, upto, which.account, which.flow)))
        if verdict.flows == 0 and verdict.holds:
            raise FlowNotFound(f"there is no flow {which.flow} in the store, and no command that was accepted for one")
        if which.artifacts:
            _add(verdict, _artifacts(*where, which.account, (which.flow, which.flow)))
        return verdict
    whole = Verdict()
    with workers(jobs) as pool:
        parts = [pool.submit(_checkpoints, config.database_url, config.shard, keys, which)]
        parts += [
            pool.submit(_histories, config.database_url, config.shard, which.account, part) for part in _parts(jobs * 4)
        ]
        trail = [
            pool.submit(_trail, *where, source, part)
            for source, upto in _reached(*where).items()
            for part in _stretches(upto, jobs * 2, which.account)
        ]
        trail.append(pool.submit(_settings, *where, which.account))
        kept = [pool.submit(_artifacts, *where, which.account, part) for part in _parts(jobs * 4) if which.artifacts]
        number = len(parts) + len(trail) + len(kept)
        for done, part in enumerate(parts):
            found = part.result()
            if done:
                whole.flows += found.flows
            else:
                _take(whole, found)
            whole.troubles.extend(found.troubles)
            counts = f"{counted(whole.flows, 'flow')}, {counted(len(whole.troubles), 'finding')}"
            said(f"{done + 1} of {number} parts, {counts}")
        for done, part in enumerate(trail, len(parts) + 1):
            _add(whole, part.result())
            said(f"{done} of {number} parts, {whole.audit_events} audit events")
        for done, part in enumerate(kept, len(parts) + len(trail) + 1):
            _add(whole, part.result())
            said(f"{done} of {number} parts, {whole.artifacts} artifacts")
    return whole


def _add(whole: Verdict, found: Verdict) -> None:
    whole.audit_events += found.audit_events
    whole.artifacts += found.artifacts
    whole.troubles.extend(found.troubles)


def _stretches(upto: int, number: int, account: UUID | None) -> Iterable[Range]:
    """The places of a log in so many parts; fewer where there is little."""
    number = max(1, min(number, upto // 1000))
    ends = [upto * part // number for part in range(number + 1)]
    return (Range(first, last, account) for first, last in pairwise(ends))


def _reached(url: str, shard: str) -> dict[str, int]:
    async def look() -> dict[str, int]:
        connection = await connect(url, shard)
        try:
            return await reached(connection)
        finally:
            await connection.close()

    return _asked(look)


def _trail(url: str, shard: str, source: str, part: Range) -> Verdict:
    async def look() -> Verdict:
        connection = await connect(url, shard)
        try:
            return await compare(connection, source, part)
        finally:
            await connection.close()

    return _asked(look)


def _take(whole: Verdict, found: Verdict) -> None:
    for name in ("events", "commands", "checkpoints", "published", "unsigned_events", "unsigned_commands", "keys"):
        setattr(whole, name, getattr(found, name))


def _parts(number: int) -> Iterable[tuple[UUID, UUID]]:
    """The flow ids in so many ranges."""
    ends = [(part << 128) // number for part in range(number + 1)]
    return ((UUID(int=first), UUID(int=last - 1)) for first, last in pairwise(ends))


def _histories(url: str, shard: str, account: UUID | None, part: tuple[UUID, UUID]) -> Verdict:
    first, last = part

    async def look() -> Verdict:
        connection = await connect(url, shard)
        try:
            return await histories(connection, account=account, first=first or NO_FLOW, last=last or ALL_FLOWS)
        finally:
            await connection.close()

    return _asked(look)


def _settings(url: str, shard: str, account: UUID | None) -> Verdict:
    async def look() -> Verdict:
        connection = await connect(url, shard)
        try:
            return await settings(connection, account=account)
        finally:
            await connection.close()

    return _asked(look)


def _artifacts(url: str, shard: str, account: UUID | None, part: tuple[UUID, UUID]) -> Verdict:
    first, last = part

    async def look() -> Verdict:
        connection = await connect(url, shard)
        try:
            return await artifacts(connection, account=account, first=first, last=last)
        finally:
            await connection.close()

    return _asked(look)


def _checkpoints(url: str, shard: str, keys: dict[str, bytes], which: Which) -> Verdict:
    async def look() -> Verdict:
        connection = await connect(url, shard)
        try:
            return await checkpoints(connection, keys, account=which.account, published=which.published)
        finally:
            await connection.close()

    return _asked(look)


def _asked(look: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return asyncio.run(look())
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None


def export(config: ServiceConfig, out: Path, *, flow: UUID | None, tenant: Tenant, reason: str | None) -> Json:
    """Write an evidence pack of a flow, or of the tenant's engagement; answers its manifest. The audit trail says so.

    Raises FlowNotFound, PackTooLarge, Tampered, PackUnwritable.
    """

    async def look(folder: Path) -> Pack:
        connection = await connect(config.database_url, config.shard)
        try:
            made = await gather(
                connection, folder, flow=flow, account=tenant.client_account_id, engagement=tenant.engagement_id
            )
            what = Note("ExportEvidence", flow, {"flows": len(made.flows), "reason": reason})
            await note(connection, _envelope(made, tenant.user_id), what)
            return made
        finally:
            await connection.close()

    try:
        # beside the pack, where there has to be room for it anyway
        with TemporaryDirectory(prefix=".mfo-pack-", dir=out.parent) as folder:
            pack: Pack = _asked(lambda: look(Path(folder)))
            return write(pack, out, by=tenant.user_id)
    except OSError as error:
        raise PackUnwritable(f"{out} cannot be written: {error.strerror}") from None


def _envelope(made: Pack, user_id: str) -> Envelope:
    command = str(uuid4())
    return Envelope(
        command_id=command,
        client_account_id=made.account,
        engagement_id=made.engagement,
        user_id=user_id,
        correlation_id=command,
        source="cli",
    )


def verify_pack(file: Path, keys: list[bytes]) -> Json:
    """What the verifier says of a pack, with nothing but the pack: `{status, troubles, flows, events, ...}`; the status is
    `holds`, `broken`, or `unproven` where something in it lies in no signed checkpoint."""
    try:
        troubles, counts = pack_verifier.verify(str(file), keys)
    except ValueError as error:
        raise PackUnreadable(f"{file}: {error}") from None
    return {"status": pack_verifier.verdict(troubles, counts), "troubles": troubles, **counts}


def known_keys(config: ServiceConfig) -> list[Json]:
    """The public keys that have signed here, as the store names them: `{key_id, public_key, first_used_at, last_used_at}`."""

    async def look() -> list[Json]:
        connection = await connect(config.database_url, config.shard)
        try:
            rows = await (await connection.execute(KEYS)).fetchall()
        finally:
            await connection.close()
        return [
            {"key_id": row[0], "public_key": shown(bytes(row[1])), "first_used_at": row[2], "last_used_at": row[3]}
            for row in rows
        ]

    return _asked(look)


def published_in(where: str, config: ServiceConfig, s3_endpoint: str | None = None) -> tuple[Checkpoint, ...]:
    """The checkpoints of a file, a JSON object a line, of a bucket `s3://bucket/prefix`, or of the topic where `where` is
    `kafka`; raises CopyUnreadable and BucketUnreachable."""
    if where == "kafka":
        return asyncio.run(published_on(config.kafka_bootstrap, config.topics.checkpoints))
    if where.startswith("s3://"):
        try:
            return tuple(Bucket(where, s3_endpoint).all())
        except (ValueError, KeyError, TypeError):
            raise CopyUnreadable(f"{where}: what lies there is no checkpoint; nothing was verified") from None
    try:
        lines = Path(where).read_bytes().splitlines()
    except OSError as error:
        raise CopyUnreadable(f"{where} cannot be read: {error.strerror}") from None
    return tuple(_read(line, f"{where}, line {number}") for number, line in enumerate(lines, 1) if line.strip())


def _read(line: bytes, where: str) -> Checkpoint:
    try:
        return from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError):
        raise CopyUnreadable(f"{where}: this is no checkpoint; nothing was verified") from None


async def published_on(bootstrap: str, topic: str) -> tuple[Checkpoint, ...]:
    """The checkpoints on a topic, from its beginning to the end that it has now; raises CopyUnreadable."""
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaError

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    found: list[Checkpoint] = []
    try:
        async with asyncio.timeout(KAFKA_SECONDS):
            await consumer.start()
            ends = await consumer.end_offsets(sorted(consumer.assignment()))
            while any([await consumer.position(each) < end for each, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [
                        _read(record.value or b"", f"{topic}/{record.partition}/{record.offset}") for record in records
                    ]
    except (KafkaError, TimeoutError) as error:
        raise CopyUnreadable(f"the topic {topic} cannot be read at {bootstrap}: {type(error).__name__}") from None
    finally:
        with suppress(Exception):
            await asyncio.wait_for(consumer.stop(), 5)
    return tuple(found)
