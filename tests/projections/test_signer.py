"""What is signed is told to Kafka and written to the file that is set, once, also after Kafka was away."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from domain.errors import SettingsError
from eventstore.audit.checkpoints import from_dict
from eventstore.audit.signing import SigningKey, is_signed, trusted
from eventstore.service import ServiceConfig
from projections.signer import Signing
from tests.projections.conftest import House, running
from tests.waiting import until


async def on_kafka(config: ServiceConfig) -> list[Any]:
    """All that lies on the topic of checkpoints."""
    consumer = AIOKafkaConsumer(
        config.topics.checkpoints, bootstrap_servers=config.kafka_bootstrap, auto_offset_reset="earliest"
    )
    found: list[Any] = []
    async with consumer, asyncio.timeout(60):
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
    return found


async def signed(house: House) -> Any:
    return await house.one("select count(*) from audit_checkpoints where published_at is not null")


async def test_a_checkpoint_is_published_with_its_account_as_key(
    told_house: House, config: ServiceConfig, tmp_path: Path
) -> None:
    assert config.audit is not None
    file = tmp_path / "checkpoints.ndjson"
    key = SigningKey(config.audit.seed)
    await told_house.begin()
    signing = Signing(replace(config, audit=replace(config.audit, file=file)))
    async with running(signing.run()):
        await until(lambda: signed(told_house), 60)
    [record] = await on_kafka(config)
    checkpoint = from_dict(json.loads(record.value))
    assert record.key == str(told_house.account).encode()
    assert is_signed(checkpoint.statement, checkpoint.signature, checkpoint.key_id, trusted([key.public_key]))
    assert checkpoint.said.client_account_id == told_house.account
    [line] = file.read_text().splitlines()
    assert from_dict(json.loads(line)) == checkpoint


async def test_what_kafka_did_not_get_it_gets_later(told_house: House, config: ServiceConfig) -> None:
    await told_house.begin()
    away = replace(config, kafka_bootstrap="127.0.0.1:1")
    async with running(Signing(away).run()):
        await until(lambda: told_house.one("select count(*) from audit_checkpoints"), 60)
    assert await signed(told_house) == 0
    async with running(Signing(config).run()):
        await until(lambda: signed(told_house), 60)
    assert len(await on_kafka(config)) == 1


async def test_a_place_that_has_it_is_not_told_again_while_another_is_away(
    told_house: House, config: ServiceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.audit is not None
    monkeypatch.setattr("projections.signer.EVERY_SECONDS", 0.05)
    await told_house.begin()
    file, tries = tmp_path / "checkpoints.ndjson", 0

    async def away(_: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise KafkaError

    async def tried() -> bool:
        return tries > 3

    signing = Signing(replace(config, audit=replace(config.audit, file=file)))
    monkeypatch.setattr(signing, "_tell", away)
    async with running(signing.run()):
        await until(tried, timeout=30)
        await until(lambda: signed(told_house), timeout=30)
    assert len(file.read_text().splitlines()) == 1


async def test_without_a_key_nothing_serves(config: ServiceConfig) -> None:
    with pytest.raises(SettingsError, match="MFO_AUDIT_KEY is missing"):
        Signing(replace(config, audit=None))
