"""Parked flows and dead letters, as an operator sees to them at the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from aiokafka import AIOKafkaProducer

from tests.cli.support import mfo
from tests.waiting import until

Environment = dict[str, str]


@contextmanager
def headless(environment: Environment, flow_id: str) -> Iterator[None]:
    """As long as it lasts, the flow's head does not fit its history, so that nothing can be appended."""
    url = environment["MFO_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("select hash from heads where id = %s", (flow_id,)).fetchone()
        assert row is not None
        connection.execute("update heads set hash = sha256('another') where id = %s", (flow_id,))
        yield
        connection.execute("update heads set hash = %s where id = %s", (row[0], flow_id))


def made(environment: Environment) -> str:
    created = mfo("flow", "create", "discovery", "--input", "import_file_id=none", "--json", environment=environment)
    assert created.code == 0, created.err
    flow_id: str = created.document["flow_id"]
    return flow_id


def test_what_waits_is_listed_tried_again_and_given_up(environment: Environment) -> None:
    flow_id = made(environment)
    with headless(environment, flow_id):
        paused = mfo("flow", "pause", flow_id, "--json", environment=environment)
        assert (paused.code, paused.document["status"]) == (0, "parked")
        assert f"mfo parked show {flow_id}" in paused.err
        deleted = mfo("flow", "delete", flow_id, environment=environment)
        assert "its history stays" not in deleted.out
        listed = mfo("parked", "list", "--json", environment=environment).document["parked"]
        [mine] = [each for each in listed if each["flow_id"] == flow_id]
        assert (mine["waiting"], mine["error"]["code"]) == (2, "history_broken")
        shown = mfo("parked", "show", flow_id, environment=environment).out
        assert "PauseFlow" in shown
        assert "DeleteFlow" in shown
        still = mfo("parked", "discard", flow_id, "--reason", "not wanted", "--json", environment=environment)
        assert (still.code, still.document["state"], still.document["waiting"]) == (1, "parked", 1)
    done = mfo("parked", "retry", flow_id, "--json", environment=environment)
    assert (done.code, done.document["state"], done.document["applied"]) == (0, "free", 1), done.err


def test_a_dead_letter_is_listed_shown_and_sent_back(environment: Environment) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["MFO_KAFKA_BOOTSTRAP"])
        await producer.start()
        await producer.send_and_wait("mfo.commands.v1", b'{"password": "hunter2"', headers=[("ce_id", b"junk-1")])
        await producer.stop()

    asyncio.run(send())

    def there() -> Any:
        listed = mfo("dlq", "list", "--json", environment=environment).document["dead_letters"]
        return [each for each in listed if each["id"] == "junk-1"]

    found = asyncio.run(until(there, 60))
    place = f"{found[0]['partition']}/{found[0]['offset']}"
    shown = mfo("dlq", "show", place, environment=environment)
    assert (shown.code, "hunter2" in shown.out, "cloudevent_invalid" in shown.out) == (0, False, True), shown.err
    replayed = mfo("dlq", "replay", place, "--header", "ce_source=/me", "--json", environment=environment)
    assert (replayed.code, replayed.document["replays"]) == (0, 1), replayed.err
    said = "select command, source, outcome from command_log where command like '%DeadLetter%' order by at desc limit 2"
    with psycopg.connect(environment["MFO_DATABASE_URL"]) as connection:
        done, asked = connection.execute(said).fetchall()
    assert (asked, done) == (("ReplayDeadLetter", "cli", "accepted"), ("DeadLetterReplayed", "cli", "accepted"))
    nobody = {name: value for name, value in environment.items() if name != "MFO_DATABASE_URL"}
    unlogged = mfo("dlq", "replay", place, "--json", environment=nobody)
    assert (unlogged.code, unlogged.document["logged"], "command log" in unlogged.err) == (0, False, True)
    assert mfo("dlq", "show", "7", environment=environment).code == 2
