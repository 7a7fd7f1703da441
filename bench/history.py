"""Much history, quickly: real flows, written again and again under other ids, each event encoded and chained as the store does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from domain.commands import Command, CompletePhase, CreateFlow, CreateOptions, Envelope
from domain.events import FlowCreated
from domain.flow import Recorded
from eventstore.codec import FIRST_HASH, encode, encode_meta
from eventstore.service import ServiceConfig, WriteSide, write_side

ACCOUNT, ENGAGEMENT = UUID(int=1), UUID(int=2)
FLOWS_AT_ONCE = 2000
OUTPUTS = {"rows": 1200, "quality": {"completeness": 0.93, "issues": ["no owner", "no environment"]}, "took": "12 s"}


async def ask(side: WriteSide, command: Command, command_id: str) -> Any:
    """The answer to a command of the one tenant there is."""
    envelope = Envelope(
        command_id=command_id,
        client_account_id=ACCOUNT,
        engagement_id=ENGAGEMENT,
        user_id="bench",
        correlation_id=command_id,
    )
    return await side.committer.submit(command, envelope)


def create(name: str) -> CreateFlow:
    """A discovery flow that begins by itself."""
    return CreateFlow(
        flow_id=uuid5(NAMESPACE_OID, name),
        flow_type="discovery",
        flow_name=name,
        flow_tags=("bench", name[-2:]),
        initial_data={"import_file_id": "f1"},
        options=CreateOptions(auto_execute=True),
    )


async def one_flow(side: WriteSide) -> list[Recorded]:
    """The history of a flow that has gone through all of its phases."""
    command = create("the first")
    await ask(side, command, "create")
    assert command.flow_id is not None
    while (run := (await side.store.flow(command.flow_id)).run) is not None:
        done = CompletePhase(
            flow_id=command.flow_id, run_id=run.run_id, token=run.token, outputs=OUTPUTS, execution_time_ms=41
        )
        await ask(side, done, str(run.run_id))
    return [recorded for _, recorded in await side.store.history(command.flow_id)]


def again(history: Sequence[Recorded], name: str) -> Iterator[tuple[UUID, Any]]:
    """The rows of a flow that went the same way under another name and id."""
    flow_id = uuid5(NAMESPACE_OID, name)
    previous = FIRST_HASH
    for recorded in history:
        fact = recorded.fact
        if isinstance(fact, FlowCreated):
            fact = msgspec.structs.replace(fact, flow_name=name, flow_tags=("bench", name[-2:]))
        row = encode(Recorded(flow_id, recorded.version, recorded.meta, fact), encode_meta(recorded.meta), previous)
        previous = row.hash
        yield flow_id, row


async def load(config: ServiceConfig, flows: int, there: int = 1) -> int:
    """Have so many flows in the store, of which some are `there`, answering how many events they have."""
    async with write_side(config) as side:
        history = await one_flow(side)
        for n in range(there, flows, FLOWS_AT_ONCE):
            await _write(side, history, range(n, min(n + FLOWS_AT_ONCE, flows)))
            await asyncio.sleep(0)
        async with side.pool.connection() as connection:
            await connection.execute("vacuum analyze stored_events, heads")
    return flows * len(history)


async def _write(side: WriteSide, history: Sequence[Recorded], numbers: range) -> None:
    events, heads = [], []
    for n in numbers:
        rows = list(again(history, f"flow {n}"))
        events += [(flow_id, row.version, row.topic, row.state, row.hash) for flow_id, row in rows]
        flow_id, last = rows[-1]
        heads.append((flow_id, last.version, last.hash, ACCOUNT, ENGAGEMENT))
    async with side.pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
        async with cursor.copy(
            "copy stored_events (originator_id, originator_version, topic, state, hash) from stdin (format binary)"
        ) as copy:
            copy.set_types(("uuid", "int8", "text", "bytea", "bytea"))
            for event in events:
                await copy.write_row(event)
        async with cursor.copy(
            "copy heads (id, version, hash, client_account_id, engagement_id) from stdin (format binary)"
        ) as copy:
            copy.set_types(("uuid", "int8", "bytea", "uuid", "uuid"))
            for head in heads:
                await copy.write_row(head)
