"""A write side for each test, on tables that hold nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.eventstore.house import House, open_house
from tests.stack import Stack

EMPTY = """
set search_path = mfo;
truncate stored_events, heads, command_ids, command_log, runs, timers, relay, tenant_keys, artifacts, artifact_parts,
    imports, flow_types, queues, shares, keepers, parked_commands, late_replies, schedules,
    operations, standing_pauses, pause_rules, operation_progress, operation_flows, pause_rule_counts,
    legacy_imports, legacy_import_flows restart identity;
update standing set number = number + 1;
update clock set shift = '0 s';
"""


@pytest.fixture(scope="module")
def module_database_url(stack: Stack) -> Iterator[str]:
    """A database for all tests of a module, one after the other."""
    with stack.database(migrated=True) as url:
        yield url


@pytest.fixture
async def house(module_database_url: str) -> AsyncIterator[House]:
    async with await psycopg.AsyncConnection.connect(module_database_url) as connection:
        await connection.execute(EMPTY)
    async with open_house(module_database_url) as house:
        yield house
