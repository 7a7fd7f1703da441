"""Rows of the audit trail: every query names the tenant, and leaves out what is for operators alone unless one asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from api.answers import in_utc
from api.cursors import Cursor
from domain.auditing.compliance import RULES, Rule
from domain.commands import Tenant
from eventstore.audit.trail import policies
from eventstore.service import WriteSide

Row = dict[str, Any]

COLUMNS = (
    *("audit_event_id", "at", "category", "level", "operation", "actor", "client_account_id", "engagement_id"),
    *("ip_address", "user_agent", "flow_id", "version", "outcome", "error_code", "correlation_id", "causation_id"),
    *("reason", "details", "restricted"),
)
SELECT = sql.SQL("id as audit_event_id, {}").format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS[1:])))
COUNTED = 10_000
STREAM_ROWS = 500
SHOWN = 200


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; what is none does not narrow it. `since` is included, `until` is not."""

    flow_id: UUID | None = None
    category: Sequence[str] | None = None
    level: Sequence[str] | None = None
    operation: Sequence[str] | None = None
    actor: str | None = None
    outcome: Sequence[str] | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    reason_contains: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def named(self) -> Row:
        """What narrows it, as it is noted of whoever reads."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value is not None}


class AuditRows:
    """The audit trail of a tenant; `operator`: with what is restricted, `account`: of all engagements of the account."""

    def __init__(self, side: WriteSide, tenant: Tenant, *, operator: bool = False, account: bool = False) -> None:
        self._side = side
        self._who = {"client": tenant.client_account_id, "engagement": tenant.engagement_id}
        whose = "client_account_id = %(client)s" + ("" if account else " and engagement_id = %(engagement)s")
        self._whose = sql.SQL(whose if operator else f"{whose} and not restricted")

    async def page(self, wanted: AuditFilter, limit: int, after: Cursor | None) -> tuple[list[Row], int | None]:
        """One page, the newest first, with one row more where there is another; and how many match, none above 10,000."""
        where, values = self._where(wanted)
        count = sql.SQL("select count(*) as n from (select from audit_events where {} limit {}) c")
        total = (await self._all(count.format(where, sql.Literal(COUNTED + 1)), values))[0]["n"]
        if after is not None:
            where = sql.SQL("{} and (at, id) < (%(key)s, %(last)s)").format(where)
            values |= {"key": after.key, "last": after.id}
        statement = sql.SQL("select {} from audit_events where {} order by at desc, id desc limit %(limit)s")
        rows = await self._all(statement.format(SELECT, where), {**values, "limit": limit})
        return rows, total if total <= COUNTED else None

    async def every(self, wanted: AuditFilter) -> AsyncGenerator[Row, None]:
        """All entries that match, the newest first, some at a time: whoever reads slowly keeps no connection."""
        where, values = self._where(wanted)
        first = sql.SQL("select {} from audit_events where {} order by at desc, id desc limit {}").format(
            SELECT, where, sql.Literal(STREAM_ROWS)
        )
        beyond = sql.SQL("{} and (at, id) < (%(key)s, %(last)s)").format(where)
        further = sql.SQL("select {} from audit_events where {} order by at desc, id desc limit {}").format(
            SELECT, beyond, sql.Literal(STREAM_ROWS)
        )
        rows = await self._all(first, values)
        while rows:
            for row in rows:
                yield row
            after = {"key": rows[-1]["at"], "last": rows[-1]["audit_event_id"]}
            rows = await self._all(further, {**values, **after}) if len(rows) == STREAM_ROWS else []

    async def figures(self, wanted: AuditFilter) -> Row:
        """`{total, compliance, violations, security, alerts, at}` of the entries that match."""
        where, values = self._where(wanted)
        statement = sql.SQL(
            "select count(*) as total, count(*) filter (where category = 'compliance_event') as compliance,"
            " count(*) filter (where category = 'compliance_event' and outcome = 'violated') as violations,"
            " count(*) filter (where category = 'security_event') as security,"
            " count(*) filter (where category = 'security_event' and level in ('error', 'critical')) as alerts,"
            " mfo_now() as at from audit_events where {}"
        )
        return (await self._all(statement.format(where), values))[0]

    async def broken(self, wanted: AuditFilter) -> dict[str, int]:
        """How often each rule was broken, by its name."""
        where, values = self._where(wanted)
        statement = sql.SQL(
            "select error_code, count(*) as n from audit_events"
            " where {} and category = 'compliance_event' and outcome = 'violated' group by error_code"
        )
        return {row["error_code"]: row["n"] for row in await self._all(statement.format(where), values)}

    async def rules(self) -> list[Rule]:
        """Every rule that entries were ever held against, the shipped ones first."""
        async with self._side.pool.connection() as connection:
            known = await policies(connection)
        rules = {rule.name: rule for rule in RULES}
        for _, policy in sorted(known.items()):
            rules |= {rule.name: rule for rule in policy.rules}
        return list(rules.values())

    def _where(self, wanted: AuditFilter) -> tuple[sql.Composable, Row]:
        conditions: list[sql.Composable] = [self._whose]
        values: Row = {}
        for name in ("category", "level", "operation", "outcome"):
            words = getattr(wanted, name)
            if words is not None:
                conditions.append(sql.SQL("{} = any({})").format(sql.Identifier(name), sql.Placeholder(name)))
                values[name] = list(words)
        for name in ("flow_id", "actor", "correlation_id", "causation_id", "ip_address", "user_agent"):
            value = getattr(wanted, name)
            if value is not None:
                conditions.append(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)))
                values[name] = value
        if wanted.reason_contains is not None:
            conditions.append(sql.SQL("position(lower(%(reason_contains)s) in lower(reason)) > 0"))
            values["reason_contains"] = wanted.reason_contains
        for name, sign in (("since", ">="), ("until", "<")):
            at = getattr(wanted, name)
            if at is not None:
                conditions.append(sql.SQL("at {} {}").format(sql.SQL(sign), sql.Placeholder(name)))
                values[name] = at
        return sql.SQL(" and ").join(conditions), values

    async def _all(self, statement: sql.Composed, values: Row) -> list[Row]:
        async with self._side.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, {**values, **self._who})
            return [in_utc(found) for found in await cursor.fetchall()]
