"""The breakers on the store's side: how each target stands, for all workers alike. Times are the store's (`mfo_now()`)."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from eventstore.database import Connection

SHARED = "shared"
STATES = ("closed", "open", "half_open")
PROBE_SECONDS = 6.0
FORGET_SECONDS = 30 * 86_400.0

# a clock that was set back must keep nobody away: what was opened later than now is due
DUE = """
(state = 'open' and (open_until <= mfo_now() or opened_at > mfo_now())
 or state = 'half_open' and (probe_until <= mfo_now() or probe_until > mfo_now() + make_interval(secs => %s)))
"""
STANDING = f"""
select state, failures, reason, last_class, case when {DUE} then 0 else extract(epoch from
           case state when 'open' then open_until when 'half_open' then probe_until end - mfo_now()) end::float8
from breakers where scope = %s and target = %s
"""
PROBE = f"""
update breakers set state = 'half_open', probe = %s, probe_until = mfo_now() + make_interval(secs => %s), changed_at = mfo_now()
where {DUE} and scope = %s and target = %s returning true
"""
RENEW = """
update breakers set probe_until = mfo_now() + make_interval(secs => %s)
where scope = %s and target = %s and probe = %s and state = 'half_open'
"""
GIVE_UP = """
update breakers set state = 'open', open_until = mfo_now(), probe = null, probe_until = null, changed_at = mfo_now()
where scope = %s and target = %s and probe = %s and state = 'half_open'
"""
CLOSE = """
update breakers set state = 'closed', failures = 0, counted_from = null, openings = 0, open_until = null, probe = null,
       probe_until = null, reason = null, closed_at = mfo_now(), changed_by = null, changed_at = mfo_now()
where scope = %s and target = %s and probe = %s and state = 'half_open' returning true
"""
COUNT_ANEW = """
update breakers set failures = 0, counted_from = null, changed_at = mfo_now()
where scope = %s and target = %s and state = 'closed' and failures > 0
"""
LEAVE_ALONE = """
insert into breakers as b (scope, target, state, reason, last_class, last_failure_at, openings_ever, open_until, opened_at,
                           changed_at)
values (%(scope)s, %(target)s, 'open', 'rate_limited', 'rate_limited', mfo_now(), 1,
        mfo_now() + make_interval(secs => %(seconds)s), mfo_now(), mfo_now())
on conflict (scope, target) do update set
    state = 'open', last_class = excluded.last_class, last_failure_at = excluded.last_failure_at, probe = null,
    probe_until = null, changed_by = null, changed_at = excluded.changed_at,
    -- whichever asks for the longer time is the reason
    reason = case when b.state = 'open' and b.open_until > excluded.open_until then b.reason else excluded.reason end,
    open_until = case when b.state = 'open' then greatest(b.open_until, excluded.open_until) else excluded.open_until end,
    opened_at = case when b.state = 'open' then b.opened_at else excluded.opened_at end,
    openings_ever = b.openings_ever + (b.state <> 'open')::int
"""
ASK_AGAIN = """
update breakers set open_until = mfo_now(), openings = 0, changed_by = %s, changed_at = mfo_now()
where scope = %s and target = %s and state = 'open' returning true
"""
FIELDS = """
target, scope = 'shared' as shared, state, failures, last_class, last_failure_at, reason,
case when state = 'open' then open_until end as open_until,
case when state <> 'closed' then greatest(0, extract(epoch from open_until - mfo_now()))::float8 end as seconds_left,
openings_ever as openings, opened_at, closed_at,
-- who asked for a shared one is no business of other tenants
case when scope <> 'shared' then changed_by end as asked_again_by, changed_at
"""
LIST = f"""
select {FIELDS} from breakers
where scope in ('shared', %(own)s) and (target, scope) > (%(after)s, %(after_scope)s)
  and (%(states)s::text[] is null or state = any(%(states)s))
order by target, scope limit %(limit)s
"""
COUNT = """
select count(*) from breakers
where scope in ('shared', %(own)s) and (%(states)s::text[] is null or state = any(%(states)s))
"""
FIGURES = """
select scope, target, state, count(*) over () from breakers where state <> 'closed' order by opened_at desc limit %s
"""
FORGET = "delete from breakers where state = 'closed' and changed_at < mfo_now() - make_interval(secs => %s)"


class Standing(NamedTuple):
    """How a target stands. `seconds` are those until it may be asked, or until the probe under way counts as lost."""

    state: str
    failures: int
    reason: str | None
    last_class: str | None
    seconds: float | None


class Counted(NamedTuple):
    """How a target stands after a failure; `opened`: this one opened it, for `seconds`."""

    state: str
    failures: int
    opened: bool
    seconds: float | None


class Breaker(NamedTuple):
    """Which breaker: its scope (`shared`, or a client account), and the target."""

    scope: str
    target: str


class Breakers:
    """The statements about breakers."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def standing(self, breaker: Breaker) -> Standing | None:
        """How the target stands; none where it has never failed."""
        rows = await self._rows(STANDING, (PROBE_SECONDS, *breaker))
        return Standing(*rows[0]) if rows else None

    async def probe(self, breaker: Breaker, probe: UUID, seconds: float = PROBE_SECONDS) -> bool:
        """Be the one call that tries an open target whose time has come; False where another one is."""
        return bool(await self._rows(PROBE, (probe, seconds, PROBE_SECONDS, *breaker)))

    async def renew(self, breaker: Breaker, probe: UUID, seconds: float = PROBE_SECONDS) -> None:
        """Keep the probe for further seconds; one that another has taken over stays theirs."""
        await self._execute(RENEW, (seconds, *breaker, probe))

    async def give_up(self, breaker: Breaker, probe: UUID) -> None:
        """End a probe that came to no verdict: the next call is the probe."""
        await self._execute(GIVE_UP, (*breaker, probe))

    async def close(self, breaker: Breaker, probe: UUID) -> bool:
        """The probe was answered: all may ask again. False where it was no longer the probe."""
        return bool(await self._rows(CLOSE, (*breaker, probe)))

    async def count_anew(self, breaker: Breaker) -> None:
        """A closed target has answered: the failures before count no longer."""
        await self._execute(COUNT_ANEW, breaker)

    async def failed(
        self,
        breaker: Breaker,
        probe: UUID | None,
        kind: str,
        *,
        threshold: int,
        window_seconds: float,
        first_seconds: float,
        most_seconds: float,
    ) -> Counted:
        """Count a failure of the class `kind`, of the call that is the probe `probe`."""
        limits = (threshold, window_seconds, first_seconds, most_seconds)
        rows = await self._rows(
            "select * from breaker_failed(%s, %s, %s, %s, %s, %s, %s, %s)", (*breaker, probe, kind, *limits)
        )
        return Counted(*rows[0])

    async def leave_alone(self, breaker: Breaker, seconds: float) -> None:
        """The target itself asks for patience: nobody asks it for so long, nor before an earlier word says."""
        await self._execute(LEAVE_ALONE, {"scope": breaker.scope, "target": breaker.target, "seconds": seconds})

    async def ask_again(self, breaker: Breaker, user_id: str) -> bool:
        """Let the next call try an open target now, whatever its time; False where it is not open."""
        return bool(await self._rows(ASK_AGAIN, (user_id, *breaker)))

    async def page(
        self, client_account_id: UUID, *, states: list[str] | None, after: Breaker | None, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        """The targets that the account may see, by name, from the one after `after`; and how many there are in all."""
        values = {
            "own": str(client_account_id),
            "states": states,
            "after": after.target if after else "",
            "after_scope": after.scope if after else "",
            "limit": limit,
        }
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(LIST.encode(), values)
            rows = await cursor.fetchall()
            await cursor.execute(COUNT, values)
            total = await cursor.fetchone()
        assert total is not None
        return rows, int(total["count"])

    async def one(self, breaker: Breaker) -> dict[str, Any] | None:
        """A target as `page` answers it."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(f"select {FIELDS} from breakers where scope = %s and target = %s".encode(), breaker)
            return await cursor.fetchone()

    async def not_closed(self, limit: int) -> tuple[list[tuple[str, str, str]], int]:
        """Scope, target and state of those that are not closed, the latest first; and how many there are."""
        rows = await self._rows(FIGURES, (limit,))
        return [(row[0], row[1], row[2]) for row in rows], rows[0][3] if rows else 0

    async def forget(self, seconds: float = FORGET_SECONDS) -> None:
        """Drop what has been closed and unchanged for so long."""
        await self._execute(FORGET, (seconds,))

    async def _execute(self, statement: str, parameters: Any) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(statement.encode(), parameters)

    async def _rows(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall()
