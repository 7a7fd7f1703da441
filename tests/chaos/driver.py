"""The flows' owner, in a process of its own: begins them, answers them, and asks again under the same ids until it is told.

`python -m tests.chaos.driver FOLDER` reads `scenario.json` there, keeps `journal.ndjson` and `driver.json`, and ends when
there is a file `stop` and nothing is open.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from domain.fleet.commands import StartOperation, new_id
from mfo.client import Client, ServiceError
from mfo.running import Unreachable
from tests.chaos.scenario import USER, Owner, Planned, Sending, command_id, plan, sending
from tests.chaos.shapes import BY_NAME, MANY, Ask
from tests.waiting import until

Json = dict[str, Any]

EVENTS, REPLIES, COMMANDS = "mfo.events.v1", "mfo.replies.v1", "mfo.commands.v1"
VERBS = {
    "ExecutePhase": "execute",
    "ProvideInput": "input",
    "SignalFlow": "signals",
    "PauseFlow": "pause",
    "ResumeFlow": "resume",
    "CancelFlow": "cancel",
    "StartIteration": "iterate",
    "SkipPhase": "skip",
    "RetryFlow": "retry",
    "RollbackFlow": "rollback",
    "MigrateFlow": "migrate",
}
# when all flows of some shapes are paused and resumed, as shares of the time in which flows are begun
MANY_AT = (0.3, 0.65)
OPERATION_SECONDS = 240.0
HTTP_SECONDS = 4.0
REPLY_SECONDS = 12.0
CUT_SECONDS = 0.01
PAUSE_SECONDS = 0.5
STATE_SECONDS = 0.3


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver is to do, and where."""

    seed: int
    flows: int
    seconds: float
    url: str
    bootstrap: str


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command of an owner, on its way."""

    id: str
    name: str
    flow_id: UUID
    owner: Owner
    body: Json


class Driver:
    """All owners at once; each flow's commands go one after the other."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self._folder = folder
        self._scenario = scenario
        self._plan = {one.flow_id: one for one in plan(scenario.seed, scenario.flows, scenario.seconds)}
        self._journal = (folder / "journal.ndjson").open("a", buffering=1)
        self._clients: dict[Owner, Client] = {}
        self._producer: AIOKafkaProducer | None = None
        self._turns = {flow_id: asyncio.Lock() for flow_id in self._plan}
        self._versions: dict[UUID, int] = {}
        self._replies: dict[str, asyncio.Event] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._begun = False
        self.figures: Counter[str] = Counter()

    async def run(self) -> None:
        """Begin everything, answer everything, and end when told to and nothing is open."""
        async with AsyncExitStack() as stack:
            for owner in {one.owner for one in self._plan.values()}:
                client = Client(
                    self._scenario.url,
                    str(owner.client_account_id),
                    str(owner.engagement_id),
                    USER,
                    timeout=HTTP_SECONDS,
                )
                self._clients[owner] = await stack.enter_async_context(client)
            self._producer = await self._connected()
            stack.push_async_callback(self._producer.stop)
            listening = asyncio.create_task(self._listen())
            beginning = asyncio.create_task(self._begin_all())
            for n, owner in enumerate(self._clients):
                for share in MANY_AT:
                    self._start(self._many(owner, f"many {n} {share}", share * self._scenario.seconds))
            while not ((self._folder / "stop").exists() and self._begun and not self._open):
                self._tell_state()
                for task in (listening, beginning):
                    if task.done() and task.exception():
                        raise task.exception() or AssertionError
                await asyncio.sleep(STATE_SECONDS)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        self._tell_state()

    async def _connected(self) -> AIOKafkaProducer:
        """A producer at work; a broker that is away is waited for."""
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._scenario.bootstrap,
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=8_000,
            )
            try:
                await producer.start()
            except (KafkaError, OSError):
                await producer.stop()
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return producer

    def _tell_state(self) -> None:
        state = {
            "begun": self._begun,
            "open": len(self._open),
            "heard": sum(self._versions.values()),
            "figures": self.figures,
        }
        part = self._folder / "driver.json.part"
        part.write_text(json.dumps(state))
        part.replace(self._folder / "driver.json")

    async def _begin_all(self) -> None:
        began = time.monotonic()
        for one in self._plan.values():
            await asyncio.sleep(max(0.0, began + one.at - time.monotonic()))
            self._start(self._begin(one))
        self._begun = True

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _begin(self, one: Planned) -> None:
        command = Command(
            id=one.command_id, name="CreateFlow", flow_id=one.flow_id, owner=one.owner, body=dict(one.body)
        )
        await self._deliver(command)

    async def _answer(self, one: Planned, version: int, asks: list[Ask]) -> None:
        for n, ask in enumerate(asks):
            name = command_id(one.flow_id, version, n, ask)
            await self._deliver(
                Command(id=name, name=ask.name, flow_id=one.flow_id, owner=one.owner, body=dict(ask.body))
            )

    async def _deliver(self, command: Command) -> None:
        """Have a command answered, by whatever it takes; further copies of it come when they come."""
        way = sending(self._scenario.seed, command.id)
        async with self._turns[command.flow_id]:
            if way.late:
                self.figures["delayed"] += 1
                await asyncio.sleep(way.late)
            if way.door != "kafka":
                await self._over_http(command, way)
            if way.door != "http":
                await self._over_kafka(command)
        for after in way.copies:
            self.figures["repeated"] += 1
            self._start(self._again(command, way, after))

    async def _again(self, command: Command, way: Sending, after: float) -> None:
        """A copy, among the later commands of this flow and all others."""
        await asyncio.sleep(after)
        if way.door == "http":
            await self._over_http(command, None)
        else:
            await self._produce(command)

    def _note(self, kind: str, command: Command, door: str, **more: Any) -> None:
        line = {
            "kind": kind,
            "id": command.id,
            "name": command.name,
            "flow": str(command.flow_id),
            "account": str(command.owner.client_account_id),
            "engagement": str(command.owner.engagement_id),
            "door": door,
        }
        self._journal.write(json.dumps(line | more) + "\n")

    async def _over_http(self, command: Command, way: Sending | None) -> None:
        if way is not None and way.cut:
            # the answer is lost, if there is one
            self.figures["cut"] += 1
            self._note("sent", command, "http")
            with suppress(TimeoutError, ServiceError, Unreachable):
                async with asyncio.timeout(CUT_SECONDS):
                    await self._call(command)
        while True:
            self._note("sent", command, "http")
            try:
                answer = await self._call(command)
            except Unreachable:
                self.figures["unreachable"] += 1
            except ServiceError as error:
                if error.http_status < 500:
                    self._note("answered", command, "http", status=error.http_status, code=error.problem_code)
                    return
                self.figures["unavailable"] += 1
            else:
                self._note("answered", command, "http", status=200, version=answer.get("version"))
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _many(self, owner: Owner, name: str, after: float) -> None:
        """Pause all flows of some shapes by an operation, and resume them by another when it has ended."""
        await asyncio.sleep(after)
        for verb in ("pause", "resume"):
            await self._operate(owner, f"{name} {verb}", {"verb": verb, "filter": {"type": MANY}, "reason": name})

    async def _operate(self, owner: Owner, command_id: str, body: Json) -> None:
        """Start an operation, and wait until it has ended."""
        operation_id = new_id(StartOperation, owner.client_account_id, command_id)
        command = Command(id=command_id, name="StartOperation", flow_id=operation_id, owner=owner, body=body)
        await self._over_http(command, None)
        await until(lambda: self._completed(owner, operation_id), OPERATION_SECONDS)
        self.figures["operations"] += 1

    async def _completed(self, owner: Owner, operation_id: UUID) -> bool:
        with suppress(Unreachable, ServiceError):
            if (await self._clients[owner].operation(str(operation_id)))["state"] == "completed":
                return True
        await asyncio.sleep(PAUSE_SECONDS)
        return False

    async def _call(self, command: Command) -> Json:
        client = self._clients[command.owner]
        if command.name == "CreateFlow":
            return await client.request("POST", "/flows", body=command.body, key=command.id)
        if command.name == "StartOperation":
            return await client.request("POST", "/operations", body=command.body, key=command.id)
        path = f"/flows/{command.flow_id}"
        if command.name == "DeleteFlow":
            return await client.request("DELETE", path, params=command.body, key=command.id)
        return await client.request("POST", f"{path}/{VERBS[command.name]}", body=command.body, key=command.id)

    async def _over_kafka(self, command: Command) -> None:
        """Send until a reply is heard, each time under the same id."""
        heard = self._replies.setdefault(command.id, asyncio.Event())
        while not heard.is_set():
            await self._produce(command)
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), REPLY_SECONDS)

    async def _produce(self, command: Command) -> None:
        assert self._producer is not None
        attributes = {
            "specversion": "1.0",
            "id": command.id,
            "source": "/chaos/driver",
            "type": f"mfo.command.{command.name}.v1",
            "subject": str(command.flow_id),
            "clientaccountid": str(command.owner.client_account_id),
            "engagementid": str(command.owner.engagement_id),
            "userid": USER,
        }
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        data = msgspec.json.encode({**command.body, "flow_id": str(command.flow_id)})
        while True:
            self._note("sent", command, "kafka")
            try:
                await self._producer.send_and_wait(COMMANDS, data, key=str(command.flow_id).encode(), headers=headers)
                return
            except (KafkaError, OSError):
                self.figures["kafka away"] += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        """Hear every event and every reply, from the beginning; a broker that is away is waited for."""
        while True:
            # all partitions, without a group; what was heard before is dropped by its version
            consumer = AIOKafkaConsumer(
                EVENTS,
                REPLIES,
                bootstrap_servers=self._scenario.bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            try:
                await consumer.start()
                async for record in consumer:
                    self._hear(record)
            except (KafkaError, OSError):
                self.figures["kafka away"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
            finally:
                with suppress(Exception):
                    await asyncio.wait_for(consumer.stop(), 5)

    def _hear(self, record: Any) -> None:
        headers = {name: value.decode() for name, value in record.headers}
        if record.topic == REPLIES:
            said = json.loads(record.value)
            self._replies.setdefault(said["command_id"], asyncio.Event()).set()
            return
        flow_id, version = UUID(headers["ce_subject"]), int(headers["ce_sequence"])
        if version <= self._versions.get(flow_id, 0):
            return
        self._versions[flow_id] = version
        one = self._plan.get(flow_id)
        if one is None:
            return
        answer = BY_NAME[one.shape].answers.get(headers["ce_type"].split(".")[2])
        if answer is not None:
            self._start(self._answer(one, version, answer(json.loads(record.value))))


if __name__ == "__main__":
    here = Path(sys.argv[1])
    asyncio.run(Driver(here, msgspec.json.decode((here / "scenario.json").read_bytes(), type=Scenario)).run())
