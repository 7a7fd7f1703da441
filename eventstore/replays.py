"""A dead letter sent back to the commands, from whatever door: in the command log before it is sent, and what came of it after."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

import msgspec
from psycopg_pool import AsyncConnectionPool

from domain.commands import Envelope
from domain.errors import MfoError
from eventstore.acts import Act, acting
from eventstore.audit.notes import Note, note
from eventstore.database import Connection
from eventstore.dead_letters import DeadLetters, Mending

Json = dict[str, Any]


async def replay(
    letters: DeadLetters,
    pool: AsyncConnectionPool[Connection],
    envelope: Envelope,
    place: tuple[int, int],
    *,
    mending: Mending,
    asked: Json,
) -> Json:
    """Send the letter at a partition and offset back; answers where it lies now: `{topic, partition, offset, replays}`.

    `asked` is what is to be mended as it was asked for, by which a repeat under the same id is known: it gets the first
    answer. Raises what `DeadLetters.mended` and `send` raise, KeyReused and RefusedBefore.
    """
    partition, offset = place
    outgoing = await letters.mended(partition, offset, mending, actor=envelope.user_id)
    what = {"partition": partition, "offset": offset}
    act = Act(
        "ReplayDeadLetter",
        uuid5(envelope.client_account_id, f"dead letter {partition}:{offset}"),
        {**what, "mended": sorted(asked)},
        msgspec.json.encode(["ReplayDeadLetter", partition, offset, asked], order="sorted"),
    )
    # that it is to be sent is kept before it is: what came of it may be lost, that it was asked for is not
    async with acting(pool) as doing:
        first = await doing.keep(envelope, act)
    if first is not None and first.place[1] is not None:
        told = {"partition": first.place[0], "offset": first.place[1], "replays": outgoing.replays}
        return {"topic": letters.commands, **told}
    try:
        replayed = await letters.send(outgoing)
    except MfoError as refusal:
        async with acting(pool) as doing:
            await note(doing.connection, envelope, Note("DeadLetterReplayed", act.subject, what, refusal))
        raise
    sent_to = (replayed["partition"], replayed["offset"])
    async with acting(pool) as doing:
        await note(doing.connection, envelope, Note("DeadLetterReplayed", act.subject, {**what, "sent_to": sent_to}))
        await doing.done(envelope, sent_to)
    return replayed
