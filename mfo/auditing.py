"""`mfo audit verify`: the whole store in parallel, without any service having to run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
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
from eventstore.audit.reading import reader
from eventstore.audit.settings_verify import settings
from eventstore.audit.signing import shown
from eventstore.audit.trail import Range, reached
from eventstore.audit.trail_verify import compare
from eventstore.audit.verify import Artifact, Named, Verdict, checkpoints, histories
from eventstore.config import ServiceConfig
from eventstore.database import Connection
from eventstore.tasks import close
from eventstore.workers import workers

Json = dict[str, Any]
T = TypeVar("T")
Task = tuple[Callable[..., Verdict], tuple[Any, ...]]

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

    Parts are shared out among `jobs` processes: the checkpoints, the chains by flow id with the artifacts that they name, the
    audit trail by place. Of a single flow only its chain, its head, its commands, its part of the trail and its artifacts are looked at;
    raises FlowNotFound where there is nothing of it.
    """
    where = (config.database_url, config.shard)
    if which.flow is not None:
        verdict = _histories(*where, which, (which.flow, which.flow))
        for source, upto in _reached(*where).items():
            _add(verdict, _trail(*where, source, Range(0, upto, which.account, which.flow)))
        if verdict.flows == 0 and verdict.holds:
            raise FlowNotFound(f"there is no flow {which.flow} in the store, and no command that was accepted for one")
        return verdict
    tasks: list[Task] = [(_checkpoints, (*where, keys, which))]
    tasks += [(_histories, (*where, which, part)) for part in _parts(jobs * 8)]
    for source, upto in _reached(*where).items():
        tasks += [(_trail, (*where, source, part)) for part in _stretches(upto, jobs * 4, which.account)]
    tasks.append((_settings, (*where, which.account)))
    found: dict[int, Verdict] = {}
    troubles = 0
    for number, part in _shared_out(tasks, jobs):
        found[number] = part
        troubles += len(part.troubles)
        said(f"{len(found)} of {len(tasks)} parts, {counted(troubles, 'finding')}")
    whole = found.pop(0)
    for _, part in sorted(found.items()):
        # the checkpoints have counted all events
        part.events = 0
        _add(whole, part)
    return whole


def _shared_out(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[int, Verdict]]:
    """What comes of the tasks, by their places. This process is one of the `jobs`, and does the first and what no other has
    begun, the last first: so a process less is started, and the longest is begun at once."""
    with workers(max(jobs - 1, 1)) as pool:
        elsewhere = {n: pool.submit(look, *asked) for n, (look, asked) in enumerate(tasks) if n > 0 and jobs > 1}
        for n in (0, *range(len(tasks) - 1, 0, -1)):
            if n not in elsewhere or elsewhere[n].cancel():
                elsewhere.pop(n, None)
                look, asked = tasks[n]
                yield n, look(*asked)
        for n, future in elsewhere.items():
            yield n, future.result()


def _add(whole: Verdict, found: Verdict) -> None:
    whole.flows += found.flows
    whole.events += found.events
    whole.audit_events += found.audit_events
    whole.artifacts += found.artifacts
    whole.troubles.extend(found.troubles)


def _stretches(upto: int, number: int, account: UUID | None) -> Iterable[Range]:
    """The places of a log in so many parts; fewer where there is little."""
    number = max(1, min(number, upto // 1000))
    ends = [upto * part // number for part in range(number + 1)]
    return (Range(first, last, account) for first, last in pairwise(ends))


def _parts(number: int) -> Iterable[tuple[UUID, UUID]]:
    """The flow ids in so many ranges."""
    ends = [(part << 128) // number for part in range(number + 1)]
    return ((UUID(int=first), UUID(int=last - 1)) for first, last in pairwise(ends))


def _reached(url: str, shard: str) -> dict[str, int]:
    return _asked(url, shard, reached)


def _histories(url: str, shard: str, which: Which, part: tuple[UUID, UUID]) -> Verdict:
    """The chains of flows, and the artifacts that they name."""
    first, last = part

    async def look(connection: Connection) -> Verdict:
        named: dict[Artifact, Named] | None = {} if which.artifacts else None
        verdict = await histories(connection, account=which.account, first=first, last=last, named=named)
        if named:
            _add(verdict, await artifacts(connection, named))
        return verdict

    return _asked(url, shard, look)


def _trail(url: str, shard: str, source: str, part: Range) -> Verdict:
    return _asked(url, shard, lambda connection: compare(connection, source, part))


def _settings(url: str, shard: str, account: UUID | None) -> Verdict:
    return _asked(url, shard, lambda connection: settings(connection, account=account))


def _checkpoints(url: str, shard: str, keys: dict[str, bytes], which: Which) -> Verdict:
    return _asked(
        url, shard, lambda connection: checkpoints(connection, keys, account=which.account, published=which.published)
    )


def _asked(url: str, shard: str, look: Callable[[Connection], Awaitable[T]]) -> T:
    """What is found on a connection of its own; raises SchemaBehind, StoreUnavailable."""

    async def connected() -> T:
        connection = await reader(url, shard)
        try:
            return await look(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(connected())
    except psycopg.errors.UndefinedTable:
        raise SchemaBehind from None
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL cannot be reached: {error}".strip()) from None


def export(config: ServiceConfig, out: Path, *, flow: UUID | None, tenant: Tenant, reason: str | None) -> Json:
    """Write an evidence pack of a flow, or of the tenant's engagement; answers its manifest. The audit trail says so.

    Raises FlowNotFound, PackTooLarge, Tampered, PackUnwritable.
    """

    async def look(connection: Connection, folder: Path) -> Pack:
        made = await gather(
            connection, folder, flow=flow, account=tenant.client_account_id, engagement=tenant.engagement_id
        )
        what = Note("ExportEvidence", flow, {"flows": len(made.flows), "reason": reason})
        await note(connection, _envelope(made, tenant.user_id), what)
        return made

    try:
        # beside the pack, where there has to be room for it anyway
        with TemporaryDirectory(prefix=".mfo-pack-", dir=out.parent) as folder:
            pack = _asked(config.database_url, config.shard, lambda connection: look(connection, Path(folder)))
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

    async def look(connection: Connection) -> list[Json]:
        rows = await (await connection.execute(KEYS)).fetchall()
        return [
            {"key_id": row[0], "public_key": shown(bytes(row[1])), "first_used_at": row[2], "last_used_at": row[3]}
            for row in rows
        ]

    return _asked(config.database_url, config.shard, look)


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
        await close(consumer.stop)
    return tuple(found)
