"""`mfo dlq ...`: messages that were no command, read from Kafka itself and sent back to it."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import uuid4

import typer

from domain.errors import SettingsError
from eventstore.config import DEFAULT_SHARD, ServiceConfig
from mfo.commands.connection import environment
from mfo.commands.output import AsJson, facts, give, say, short, table
from mfo.running import Unreachable

if TYPE_CHECKING:
    from domain.commands import Envelope

Json = dict[str, Any]
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that could not be read as a command.")

Place = Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="Where it lies, as the list shows it.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the newest first.")] = 20,
    since: Annotated[
        str | None, typer.Option("--from", metavar="PARTITION/OFFSET", help="From here on, oldest first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The newest dead letters, or those of a partition from an offset on."""
    begin = _place(since, "--from") if since else None

    async def ask(letters: Any) -> list[Json]:
        if begin:
            found: list[Json] = await letters.between(*begin, limit)
            return found
        return (await letters.newest(limit))[0]  # type: ignore[no-any-return]

    found = _talk(ask)
    rows = [
        [
            f"{one['partition']}/{one['offset']}",
            one["at"],
            one["code"],
            one["replays"],
            one["size_bytes"],
            short(one["preview"], 60),
        ]
        for one in found
    ]
    headings = ["place", "at", "why", "replays", "bytes", "begins with"]
    give({"dead_letters": found}, table(headings, rows) if rows else "no dead letters", as_json)


@app.command()
def show(place: Place, as_json: AsJson = False) -> None:
    """One dead letter: why, its headers, its body; secrets are masked."""
    from eventstore.dead_letters import shown

    partition, offset = _place(place, "PARTITION/OFFSET")

    async def ask(letters: Any) -> Json:
        return shown(await letters.one(partition, offset))

    found = _talk(ask)
    head = facts(
        {
            name: value
            for name, value in found.items()
            if name not in {"headers", "body", "preview", "partition", "offset"}
        }
    )
    headers = table(["header", "value"], [[each["name"], each["value"]] for each in found["headers"]])
    give(found, "\n\n".join([head, headers, found["body"] or "no body"]), as_json)


@app.command()
def replay(
    place: Place,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Set a header; `NAME=` removes it. May be given more than once."),
    ] = None,
    body: Annotated[str | None, typer.Option(metavar="TEXT|@FILE", help="Another body; left out: as it came.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Another key, for a command its flow's id; left out: as it came.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter back to the commands, as it came or mended. That goes into the command log first, where the store can
    be reached (MFO_DATABASE_URL) and it is known who asks (MFO_CLIENT_ACCOUNT_ID, MFO_ENGAGEMENT_ID)."""
    from eventstore.dead_letters import Mending

    partition, offset = _place(place, "PARTITION/OFFSET")
    headers, value = _headers(header or []), _body(body)
    mending, actor = Mending(headers, value, key), environment_user()
    given = {"headers": headers, "body": value and value.decode(errors="replace"), "key": key}
    asked = {name: what for name, what in given.items() if what}

    async def ask(letters: Any) -> Json:
        from eventstore.replays import replay as logged

        async with _store() as pool:
            if pool is not None:
                sent = await logged(letters, pool, _envelope(actor), (partition, offset), mending=mending, asked=asked)
                return {**sent, "logged": True}
        say("the command log hears nothing of this: the store is not known or not reached, or not whose letter it is")
        return {**await letters.send(await letters.mended(partition, offset, mending, actor=actor)), "logged": False}

    answer = _talk(ask)
    text = f"{place} lies at {answer['topic']} {answer['partition']}/{answer['offset']} now, replay {answer['replays']}"
    give(answer, text, as_json)


@asynccontextmanager
async def _store() -> AsyncIterator[Any]:
    """Connections to the store; none where it is not known or cannot be reached, or nobody says who asks."""
    import psycopg

    from eventstore.database import connect
    from eventstore.database import pool as pool_of

    found = _variables()
    url, shard = found.get("MFO_DATABASE_URL"), found.get("MFO_SHARD", DEFAULT_SHARD)
    if url is None or not {"MFO_CLIENT_ACCOUNT_ID", "MFO_ENGAGEMENT_ID"} <= found.keys():
        yield None
        return
    try:
        await (await connect(url, shard)).close()
    except psycopg.OperationalError:
        yield None
        return
    async with pool_of(url, shard, size=1) as pool:
        yield pool


def _envelope(actor: str) -> Envelope:
    # loads slowly, and only a replay needs it
    from domain.commands import Envelope, tenant_from

    found, command_id = _variables(), str(uuid4())
    account, engagement = (found[name] for name in ("MFO_CLIENT_ACCOUNT_ID", "MFO_ENGAGEMENT_ID"))
    tenant = tenant_from(account, engagement, actor, ("MFO_CLIENT_ACCOUNT_ID", "MFO_ENGAGEMENT_ID", "MFO_USER_ID"))
    return Envelope(
        command_id=command_id,
        client_account_id=tenant.client_account_id,
        engagement_id=tenant.engagement_id,
        user_id=tenant.user_id,
        correlation_id=command_id,
        source="cli",
    )


def environment_user() -> str:
    """Who replays: MFO_USER_ID, else the user of this machine."""
    return os.environ.get("MFO_USER_ID") or getpass.getuser()


def _talk(conversation: Callable[[Any], Awaitable[T]]) -> T:
    # aiokafka loads slowly, and only these commands need it
    from eventstore.dead_letters import DeadLetters

    found = _variables()
    if "MFO_KAFKA_BOOTSTRAP" not in found:
        raise SettingsError("MFO_KAFKA_BOOTSTRAP is missing; set it to the address of Kafka, host:port")
    config = ServiceConfig(
        database_url="",
        kafka_bootstrap=found["MFO_KAFKA_BOOTSTRAP"],
        master_key=b"",
        topic_prefix=found.get("MFO_TOPIC_PREFIX", "mfo"),
    )

    async def hold() -> T:
        return await conversation(DeadLetters(config))

    return asyncio.run(hold())


def _variables() -> dict[str, str]:
    """What is set in this shell; where that does not say where Kafka is, over what a running `mfo dev` says."""
    found = {name: value for name, value in os.environ.items() if name.startswith("MFO_") and value}
    if "MFO_KAFKA_BOOTSTRAP" not in found:
        with suppress(Unreachable):
            return {**environment(), **found}
    return found


def _place(text: str, what: str) -> tuple[int, int]:
    partition, _, offset = text.replace(":", "/").partition("/")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise typer.BadParameter(f"{what} {text!r} is not PARTITION/OFFSET, such as 3/17")
    return int(partition), int(offset)


def _headers(given: list[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"--header {text!r} is not NAME=VALUE")
        found[name.strip()] = value or None
    return found


def _body(given: str | None) -> bytes | None:
    if given is None or not given.startswith("@"):
        return given.encode() if given is not None else None
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"--body {given} cannot be read: {error.strerror}") from None
