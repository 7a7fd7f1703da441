"""Pause rules watched: what they go by is counted from the log, by the minute, and one that passes its limit trips.

While no rule is armed nothing of the log is read but its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from consumers.metrics import PAUSE_RULES_TRIPPED
from domain.commands import Envelope
from domain.events import TOPICS, FlowCreated, FlowImported, PhaseCompleted, PhaseFailed
from domain.fleet.commands import TripPauseRule
from domain.fleet.rules import trips
from domain.fleet.subjects import PauseRule
from domain.measures import tokens
from domain.words import SYSTEM_USER
from eventstore.codec import decode
from eventstore.database import Connection
from eventstore.fleet import read_snapshot
from eventstore.followers import Happened
from eventstore.service import WriteSide

NAME = "pause_rules"
COUNTED = (TOPICS[FlowCreated], TOPICS[PhaseCompleted], TOPICS[PhaseFailed])
FIGURES = ("ended", "failed", "tokens_used", "flows_begun", "slow_runs")

ARMED = """
select r.snapshot from pause_rules r join (select distinct * from unnest(%s::uuid[], %s::uuid[])) t(c, e)
  on (r.client_account_id, r.engagement_id) = (t.c, t.e) where r.state = 'armed'
"""
FIRST = "select originator_id, topic, state from stored_events where originator_id = any(%s) and originator_version = 1"
COUNT = """
insert into pause_rule_counts as c (pause_rule_id, armed, minute, ended, failed, tokens_used, flows_begun, slow_runs)
select * from unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::int[], %s::int[], %s::bigint[], %s::int[], %s::int[])
on conflict (pause_rule_id, armed, minute) do update set ended = c.ended + excluded.ended, failed = c.failed + excluded.failed,
    tokens_used = c.tokens_used + excluded.tokens_used, flows_begun = c.flows_begun + excluded.flows_begun,
    slow_runs = c.slow_runs + excluded.slow_runs
"""
FORGET = """
delete from pause_rule_counts c using unnest(%s::uuid[], %s::bigint[], %s::float8[]) as r(id, armed, seconds)
where c.pause_rule_id = r.id and (c.armed < r.armed or c.minute < mfo_now() - make_interval(secs => r.seconds + 60))
"""
SUMS = """
select r.id, coalesce(sum(c.ended), 0)::bigint, coalesce(sum(c.failed), 0)::bigint, coalesce(sum(c.tokens_used), 0)::bigint,
       coalesce(sum(c.flows_begun), 0)::bigint, coalesce(sum(c.slow_runs), 0)::bigint
from unnest(%s::uuid[], %s::bigint[], %s::float8[]) as r(id, armed, seconds)
join pause_rule_counts c on c.pause_rule_id = r.id and c.armed = r.armed
    and c.minute > mfo_now() - make_interval(secs => r.seconds)
group by r.id
"""


class _Key(NamedTuple):
    rule_id: UUID
    armed: int
    minute: datetime


class Watch:
    """What a follower does for the rules; `topics` are those it reads, none while no rule is armed."""

    def __init__(self, side: WriteSide) -> None:
        self._side = side
        self.topics: list[str] = []

    def armed(self, armed: bool) -> None:
        """Some rule is armed, or none."""
        self.topics[:] = COUNTED if armed else ()

    async def follow(self, connection: Connection, events: Sequence[Happened]) -> bool:
        """Count events for the rules of their tenants, and trip those that have passed their limit."""
        metas = [event.recorded.meta for event in events]
        accounts, engagements = [meta.client_account_id for meta in metas], [meta.engagement_id for meta in metas]
        rows = await (await connection.execute(ARMED, (accounts, engagements), binary=True)).fetchall()
        rules: list[PauseRule] = [read_snapshot(PauseRule, row[0]) for row in rows]
        if not rules:
            return False
        types = await _types(connection, events) if any(rule.flow_type for rule in rules) else {}
        counts: dict[_Key, Counter[str]] = {}
        for event in events:
            for rule in rules:
                if _concerns(rule, event, types):
                    key = _Key(rule.id, rule.armed, event.recorded.meta.at.replace(second=0, microsecond=0))
                    counts.setdefault(key, Counter()).update(_figures(rule, event))
        if not counts:
            return False
        figures = [[count[name] for count in counts.values()] for name in FIGURES]
        await connection.execute(COUNT, (*map(list, zip(*counts, strict=True)), *figures))
        counted = {key.rule_id for key in counts}
        await self._look(connection, [rule for rule in rules if rule.id in counted])
        return True

    async def _look(self, connection: Connection, rules: Sequence[PauseRule]) -> None:
        windows = (
            [rule.id for rule in rules],
            [rule.armed for rule in rules],
            [float(rule.window_seconds) for rule in rules],
        )
        await connection.execute(FORGET, windows)
        sums = {
            row[0]: dict(zip(FIGURES, map(int, row[1:]), strict=True))
            for row in await (await connection.execute(SUMS, windows)).fetchall()
        }
        for rule in rules:
            figures = sums.get(rule.id, {})
            if trips(rule, figures):
                command = TripPauseRule(pause_rule_id=rule.id, armed=rule.armed, figures=figures)
                answer = await self._side.fleet.submit(command, _envelope(rule))
                if answer.outcome == "accepted":
                    PAUSE_RULES_TRIPPED.labels(rule.measure).inc()


async def _types(connection: Connection, events: Sequence[Happened]) -> dict[UUID, str]:
    """The flow types of the events' flows."""
    flows = list({event.recorded.flow_id for event in events})
    rows = await (await connection.execute(FIRST, (flows,), binary=True)).fetchall()
    made = {flow_id: decode(flow_id, 1, topic, state).fact for flow_id, topic, state in rows}
    return {flow_id: fact.flow_type for flow_id, fact in made.items() if isinstance(fact, FlowCreated | FlowImported)}


def _concerns(rule: PauseRule, event: Happened, types: dict[UUID, str]) -> bool:
    meta = event.recorded.meta
    if (rule.client_account_id, rule.engagement_id) != (meta.client_account_id, meta.engagement_id):
        return False
    if rule.since is not None and meta.at < rule.since:
        return False
    return rule.flow_type is None or types.get(event.recorded.flow_id) == rule.flow_type


def _figures(rule: PauseRule, event: Happened) -> dict[str, int]:
    match event.recorded.fact:
        case FlowCreated():
            return {"flows_begun": 1}
        case PhaseFailed():
            return {"ended": 1, "failed": 1}
        case PhaseCompleted(resource_usage=used, execution_time_ms=took):
            slow = rule.slower_than_seconds is not None and took > rule.slower_than_seconds * 1000
            return {"ended": 1, "tokens_used": tokens(used), "slow_runs": int(slow)}
        case _:
            return {}


def _envelope(rule: PauseRule) -> Envelope:
    assert rule.client_account_id is not None
    assert rule.engagement_id is not None
    return Envelope(
        command_id=str(uuid5(rule.id, f"trip:{rule.armed}")),
        client_account_id=rule.client_account_id,
        engagement_id=rule.engagement_id,
        user_id=SYSTEM_USER,
        correlation_id=rule.correlation_id,
        source="pause_rule",
    )
