"""The whole service `consumers` in this process, and a foreign client of its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from consumers.app import run
from domain.addresses import Addressing
from domain.commands import Tenant
from domain.flow import Flow
from eventstore.service import ServiceConfig, TellingConfig
from tests.eventstore.house import FLOWS, House, config_for, new_tenant, open_house
from tests.waiting import until

Json = dict[str, Any]
# aiokafka's ConsumerRecord, which brings no types
Record = Any


def headers_of(record: Record) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def body_of(record: Record) -> Json:
    body: Json = msgspec.json.decode(record.value or b"{}")
    return body


@dataclass
class Client:
    """A foreign service: sends commands, hears replies, dead letters and events."""

    config: ServiceConfig
    producer: AIOKafkaProducer
    heard: list[Record] = field(default_factory=list)
    tenant: Tenant = field(default_factory=new_tenant)

    def attributes(self, name: str, command_id: str | None = None, **changes: str | None) -> dict[str, str]:
        given = {
            "specversion": "1.0",
            "id": command_id or str(uuid4()),
            "source": "/crm",
            "type": f"mfo.command.{name}.v1",
            "clientaccountid": str(self.tenant.client_account_id),
            "engagementid": str(self.tenant.engagement_id),
            "userid": self.tenant.user_id,
            **changes,
        }
        return {attribute: text for attribute, text in given.items() if text is not None}

    async def raw(self, value: bytes | None, headers: list[tuple[str, Any]] | None = None, **options: Any) -> None:
        await self.producer.send_and_wait(self.config.topics.commands, value, headers=headers or [], **options)

    async def send(
        self, name: str, flow_id: UUID | None, body: Json | None = None, command_id: str | None = None, **changes: Any
    ) -> str:
        """A command in binary mode; answers its id."""
        attributes = self.attributes(name, command_id, **changes)
        headers = [(f"ce_{attribute}", text.encode()) for attribute, text in attributes.items()]
        data = {**(body or {}), **({"flow_id": str(flow_id)} if flow_id else {})}
        await self.raw(msgspec.json.encode(data), headers, key=str(flow_id).encode() if flow_id else None)
        return attributes["id"]

    def on(self, topic: str) -> list[Record]:
        return [record for record in self.heard if record.topic == topic]

    async def replies(self, command_id: str, count: int = 1) -> list[Record]:
        """The replies to a command, as soon as there are `count`."""

        def found() -> list[Record] | None:
            replies = [
                record
                for record in self.heard
                if record.topic.endswith("replies.v1") and body_of(record)["command_id"] == command_id
            ]
            return replies if len(replies) >= count else None

        replies: list[Record] = await until(found, 60)
        return replies

    async def reply(self, command_id: str) -> Json:
        return body_of((await self.replies(command_id))[0])

    async def dead_letter(self) -> Record:
        letters: list[Record] = await until(lambda: self.on(self.config.topics.dead_letters), 60)
        return letters[-1]


@asynccontextmanager
async def client_of(config: ServiceConfig) -> AsyncIterator[Client]:
    topics = config.topics
    consumer = AIOKafkaConsumer(
        *(topics.replies, topics.dead_letters, topics.events, *config.reply_topics),
        bootstrap_servers=config.kafka_bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    producer = AIOKafkaProducer(bootstrap_servers=config.kafka_bootstrap)
    await consumer.start()
    await producer.start()
    client = Client(config, producer)

    async def hear() -> None:
        async for record in consumer:
            client.heard.append(record)

    task = asyncio.create_task(hear())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await producer.stop()
        await consumer.stop()


@asynccontextmanager
async def serving(config: ServiceConfig) -> AsyncIterator[asyncio.Task[None]]:
    """The service `consumers`, ready, for as long as the block lasts."""
    ready = asyncio.Event()
    task = asyncio.create_task(run(config, ready=ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, timeout=90, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(house: House, flow_id: UUID, *statuses: str, within: float = 60) -> Flow:
    """The flow, as soon as it has one of these statuses."""
    wanted = statuses or ("completed",)

    async def there() -> Flow | None:
        flow = await house.side.store.flow(flow_id)
        return flow if flow.status in wanted else None

    flow: Flow = await until(there, within)
    return flow


@pytest.fixture
def config(database_url: str, kafka: str, topic_prefix: str) -> ServiceConfig:
    return config_for(
        database_url,
        kafka_bootstrap=kafka,
        topic_prefix=topic_prefix,
        flow_type_modules=(FLOWS,),
        kafka_fetch_wait_ms=50,
        workers=1,
        worker_memory_mb=300,
        telling=TellingConfig(addressing=Addressing(webhook_hosts=("hooks.example.com",))),
    )


@pytest.fixture
async def house(config: ServiceConfig) -> AsyncIterator[House]:
    """A write side beside the service's own, to ask and to look."""
    async with open_house(config.database_url, **_settings(config)) as house:
        yield house


def _settings(config: ServiceConfig) -> Json:
    return {
        "kafka_bootstrap": config.kafka_bootstrap,
        "topic_prefix": config.topic_prefix,
        "telling": config.telling,
    }
