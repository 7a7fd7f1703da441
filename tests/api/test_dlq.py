"""Dead letters over HTTP: an operator reads them, mends them and sends them back; nobody else learns of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from api import documents
from eventstore.dead_letters import DeadLetters, KafkaUnavailable
from tests.api.conftest import Api, config_for, problem, started
from tests.consumers.conftest import Client, client_of, headers_of
from tests.consumers.test_intake import CREATE, Door
from tests.eventstore.house import open_house
from tests.waiting import until

TOKEN = "an operator's own token"
OPERATOR = {"X-MFO-Operator-Token": TOKEN}


@pytest.fixture
async def operated(database_url: str, kafka: str, topic_prefix: str) -> AsyncIterator[Api]:
    config = config_for(
        database_url,
        kafka_bootstrap=kafka,
        topic_prefix=topic_prefix,
        kafka_fetch_wait_ms=20,
        operator_token=TOKEN,
        flow_type_modules=("tests.consumers.flows",),
    )
    async with started(config) as api:
        yield api


@pytest.fixture
async def client(operated: Api) -> AsyncIterator[Client]:
    """A foreign service, and the intake that hears it."""
    config = operated.side.config
    async with open_house(
        config.database_url, kafka_bootstrap=config.kafka_bootstrap, topic_prefix=config.topic_prefix
    ) as house:
        door = Door(house.side.config, house.committer)
        await door.open()
        async with client_of(config) as client:
            yield client
        await door.close()


async def test_only_an_operator_may_ask(operated: Api) -> None:
    for method, path in (("GET", "/dlq"), ("GET", "/dlq/0/0"), ("POST", "/dlq/0/0/replay")):
        problem(await operated.ask(method, path), 403, "operator_only")
        wrong = await operated.ask(method, path, headers={"X-MFO-Operator-Token": "guess"})
        problem(wrong, 403, "operator_only")
    problem(await operated.get("/dlq/0/0", headers=OPERATOR), 404, "dead_letter_not_found")
    problem(await operated.get("/dlq/99/0", headers=OPERATOR), 404, "dead_letter_not_found")
    assert (await operated.get("/dlq", headers=OPERATOR)).json()["total"] == 0


async def test_without_a_token_set_nobody_is_an_operator(api: Api) -> None:
    problem(await api.get("/dlq", headers={"X-MFO-Operator-Token": ""}), 403, "operator_only")


async def test_a_kafka_that_is_away_is_said(shared_database_url: str) -> None:
    async with started(config_for(shared_database_url, operator_token=TOKEN)) as api:
        problem(await api.get("/dlq", headers=OPERATOR), 503, "kafka_unavailable")


async def test_letters_are_read_masked_mended_and_sent_back(operated: Api, client: Client) -> None:
    flow_id = uuid4()
    body = {**CREATE, "flow_nam": "E", "initial_data": {"credentials": {"user": "u", "password": "hunter2"}}}
    sent = await client.send("CreateFlow", flow_id, body)
    await client.raw(b'\xff{"password": "hunter2", half', [("authorization", b"Bearer hunter2")])
    await until(lambda: len(client.on(client.config.topics.dead_letters)) == 2, 60)

    listed = documents.DeadLetterList.model_validate((await operated.get("/dlq", headers=OPERATOR)).json())
    assert listed.total == 2
    assert "hunter2" not in str(listed)
    by_code = {each.code: each for each in listed.dead_letters}
    assert set(by_code) == {"body_invalid", "cloudevent_invalid"}
    letter, junk = by_code["body_invalid"], by_code["cloudevent_invalid"]
    assert (letter.id, letter.type, letter.replays) == (sent, "mfo.command.CreateFlow.v1", 0)

    path = f"/dlq/{letter.partition}/{letter.offset}"
    shown = documents.DeadLetter.model_validate((await operated.get(path, headers=OPERATOR)).json())
    assert '"credentials":"***"' in (shown.body or "")
    broken = (await operated.get(f"/dlq/{junk.partition}/{junk.offset}", headers=OPERATOR)).json()
    assert broken["body"] == '\\xff{"password": ***, half'
    assert {"name": "authorization", "value": "***"} in broken["headers"]

    # as it came it fails again, and says how often
    keyed = OPERATOR | {"Idempotency-Key": "replay-1"}
    again = (await operated.post(f"{path}/replay", {}, headers=keyed)).json()
    assert (again["topic"], again["replays"]) == (client.config.topics.commands, 1)
    assert (await operated.post(f"{path}/replay", {}, headers=keyed)).json() == again
    other = await operated.post(f"{path}/replay", {"headers": {"a": "b"}}, headers=keyed)
    problem(other, 422, "idempotency_key_reused")
    assert await operated.logged("replay-1") == [
        ("ReplayDeadLetter", "accepted", None),
        ("DeadLetterReplayed", "accepted", None),
        ("ReplayDeadLetter", "repeated", None),
        ("ReplayDeadLetter", "refused", "idempotency_key_reused"),
    ]
    await until(lambda: len(client.on(client.config.topics.dead_letters)) == 3, 60)
    once_more = client.on(client.config.topics.dead_letters)[-1]
    assert headers_of(once_more)["mfo_replayed_by"] == "maria@example.com"
    assert headers_of(once_more)["mfo_replay_of"] == f"{letter.partition}:{letter.offset}"

    mended = {"body": {**CREATE, "flow_id": str(flow_id)}, "headers": {"ce_correlationid": "mended"}}
    there = f"/dlq/{once_more.partition}/{once_more.offset}/replay"
    assert (await operated.post(there, mended, headers=OPERATOR)).json()["replays"] == 2
    # the first reply refused what could not be read
    replies = await client.replies(sent, 3)
    assert [headers_of(each)["ce_type"].split(".")[2] for each in replies] == ["Refused", "Refused", "Accepted"]
    assert headers_of(replies[-1])["ce_correlationid"] == "mended"


async def test_a_wrong_key_is_mended_and_a_crash_while_it_is_sent_leaves_that_it_was_asked_for(
    operated: Api, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = uuid4()
    attributes = client.attributes("CreateFlow", None)
    headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    await client.raw(json.dumps({**CREATE, "flow_id": str(flow_id)}).encode(), headers, key=b"another")
    await until(lambda: len(client.on(client.config.topics.dead_letters)) == 1, 60)
    [letter] = (await operated.get("/dlq", headers=OPERATOR)).json()["dead_letters"]
    assert letter["code"] == "key_mismatch"
    path, keyed = f"/dlq/{letter['partition']}/{letter['offset']}/replay", OPERATOR | {"Idempotency-Key": "mend"}
    problem(await operated.post(path, {"key": ""}, headers=keyed), 422, "body_invalid")

    async def lost(*_: object) -> None:
        raise KafkaUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(DeadLetters, "send", lost)
        problem(await operated.post(path, {"key": str(flow_id)}, headers=keyed), 503, "kafka_unavailable")
    assert (await operated.post(path, {"key": str(flow_id)}, headers=keyed)).status_code == 200
    replies = await client.replies(attributes["id"], 2)
    assert [headers_of(each)["ce_type"].split(".")[2] for each in replies] == ["Refused", "Accepted"]
    assert await operated.logged("mend") == [
        ("ReplayDeadLetter", "accepted", None),
        ("DeadLetterReplayed", "refused", "kafka_unavailable"),
        ("ReplayDeadLetter", "repeated", None),
        ("DeadLetterReplayed", "accepted", None),
    ]


async def test_the_list_is_paged_from_the_newest_and_read_from_an_offset(operated: Api, client: Client) -> None:
    for n in range(7):
        await client.raw(b"junk %d" % n, key=b"x")
    await until(lambda: len(client.on(client.config.topics.dead_letters)) == 7, 60)
    found: list[documents.DeadLetterLine] = []
    cursor = None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await operated.get("/dlq", params=asked, headers=OPERATOR)).json()
        found += documents.DeadLetterList.model_validate(page).dead_letters
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [each.preview for each in found] == [f"junk {n}" for n in reversed(range(7))]
    place = {"partition": found[0].partition, "from_offset": found[4].offset, "limit": 2}
    some = (await operated.get("/dlq", params=place, headers=OPERATOR)).json()["dead_letters"]
    assert [each["preview"] for each in some] == ["junk 2", "junk 3"]
    problem(await operated.get("/dlq", params={"partition": 0}, headers=OPERATOR), 422, "parameter_invalid")
    problem(await operated.get("/dlq", params={"cursor": "x"}, headers=OPERATOR), 422, "parameter_invalid")


async def test_what_was_cut_off_goes_back_only_with_a_body(operated: Api, client: Client) -> None:
    topics = client.config.topics
    reason = [("mfo_error_code", b"body_not_json"), ("mfo_source_topic", topics.commands.encode())]
    await client.producer.send_and_wait(
        topics.dead_letters, b"{", headers=[*reason, ("mfo_original_bytes", b"3000000")]
    )
    elsewhere = [("mfo_error_code", b"body_not_json"), ("mfo_source_topic", b"bank.transfers")]
    await client.producer.send_and_wait(topics.dead_letters, b"{", headers=elsewhere, partition=0)
    listed = (await operated.get("/dlq", headers=OPERATOR)).json()["dead_letters"]
    cut = next(each for each in listed if each["size_bytes"] == 3_000_000)
    path = f"/dlq/{cut['partition']}/{cut['offset']}/replay"
    problem(await operated.post(path, {}, headers=OPERATOR), 409, "dead_letter_cut")
    assert (await operated.post(path, {"body": "{}"}, headers=OPERATOR)).status_code == 200
    strange = next(each for each in listed if each["source"]["topic"] == "bank.transfers")
    path = f"/dlq/{strange['partition']}/{strange['offset']}/replay"
    problem(await operated.post(path, {}, headers=OPERATOR), 409, "dead_letter_elsewhere")
