"""Telling as a part of the whole service: a command from Kafka names who is told, and the service tells them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import httpx

from eventstore.service import ServiceConfig
from mfo.embedded.processes import free_port
from tests.consumers.conftest import client_of, ended, serving
from tests.consumers.test_telling import config as telling_config
from tests.eventstore.house import House
from tests.receivers import mail_server
from tests.waiting import until


async def test_a_flow_from_kafka_that_names_an_address_has_it_told(config: ServiceConfig, house: House) -> None:
    body = {"flow_type": "inline", "flow_name": "From Kafka"}
    async with mail_server() as mail:
        config = replace(config, telling=telling_config(mail), health_port=free_port())
        async with serving(config), client_of(config) as client:
            flow_id = uuid4()
            options = {"auto_execute": True, "notification_emails": ["ann@example.com"]}
            await client.send("CreateFlow", flow_id, body | {"options": options})
            options = {"notification_emails": ["eve@evil.test"]}
            refused = await client.reply(await client.send("CreateFlow", uuid4(), body | {"options": options}))
            assert refused["error"]["code"] == "not_allowed"
            assert "MFO_NOTIFY_EMAIL_DOMAINS" in refused["error"]["detail"]
            await ended(house, flow_id, within=40)
            await until(lambda: mail.got, 40)
            assert mail.got[0].mail["Subject"] == "Flow From Kafka has completed"
            async with httpx.AsyncClient() as http:
                health = (await http.get(f"http://127.0.0.1:{config.health_port}/health/ready")).json()
            assert health["followers"]["leading"]["notifications"]
            assert health["notifications"]["state"] == "up"
