"""The fixtures give each test a database and topics of its own, quickly."""

from __future__ import annotations

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from mfo.embedded import topic_names
from tests.stack import Stack


def test_a_fresh_database_has_the_schema_and_nobody_elses_rows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with stack.database(migrated=True) as one:
        with psycopg.connect(one) as connection:
            assert connection.execute("select count(*) from mfo.stored_events").fetchone() == (0,)
            connection.execute("create table mfo.mine (n int)")
        # it is a copy: migrating each would take seconds
        monkeypatch.delattr("eventstore.migrate.upgrade")
        with stack.database(migrated=True) as two, psycopg.connect(two) as connection:
            assert connection.execute("select to_regclass('mfo.mine')").fetchone() == (None,)


def test_a_test_that_left_its_connection_open_holds_up_nobody(stack: Stack) -> None:
    with stack.database(migrated=False) as url:
        connection = psycopg.connect(url)
    connection.close()


def test_an_empty_database_has_none_of_our_tables(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regclass('mfo.stored_events')").fetchone() == (None,)


def test_the_topics_of_a_test_are_its_own(stack: Stack, real_kafka: str, topic_prefix: str) -> None:
    here = AdminClient({"bootstrap.servers": real_kafka}).list_topics(timeout=10).topics
    assert set(topic_names(topic_prefix)) <= set(here)
    assert stack.ran_on["Kafka"]
