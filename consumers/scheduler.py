"""What schedules have to do when their time has come: decided first, then carried out, then told how it went.

Each step is a command whose id follows from schedule and nominal time, so whoever comes after a crash, or beside us, does the
same again without doing it twice. A schedule is in one process's hand at a time; the hand lapses after ten seconds.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID, uuid5

import structlog

from consumers.metrics import FIRINGS
from domain.commands import CancelFlow, CreateFlow, CreateOptions, Envelope
from domain.errors import FlowExists, KeyReused, MfoError, Unavailable
from domain.schedules.commands import FireSchedule, ReportFiring
from domain.schedules.events import Kind
from domain.schedules.schedule import Firing, Schedule, Step, due, flow_id_of, flows_of, look_at
from domain.words import SYSTEM_USER
from eventstore.committer import REFUSED, WAITS
from eventstore.faults import lived_through
from eventstore.notices import Channel, listen
from eventstore.service import WriteSide
from eventstore.tasks import end_all
from eventstore.wake import woken

log = structlog.get_logger()

IDLE_SECONDS = 5.0
SOON_SECONDS = 0.02
AT_ONCE = 20
# one schedule at a time must not keep the others waiting, nor outlive its claim
TURN_SECONDS = 1.0
RECHECK_MIN_SECONDS, RECHECK_MAX_SECONDS = 1.0, 30.0
BUSY_SECONDS = 2.0
# the flow is there already: made before a crash, maybe by an older template
THERE_ALREADY = frozenset({FlowExists.code, KeyReused.code})


class Scheduler:
    """Finds schedules that are due and sees to them; any number of processes may have one."""

    def __init__(self, side: WriteSide) -> None:
        self._side = side
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look after schedules for as long as the service lives; faults of the store are waited out."""
        hints = asyncio.create_task(
            listen(self._side.config, (Channel.SCHEDULES, self._wake.set)), name="schedule hints"
        )
        try:
            while True:
                self._wake.clear()
                wait = IDLE_SECONDS
                with lived_through("seeing to schedules"):
                    wait = await self.round()
                await woken(self._wake, wait)
        finally:
            await end_all([hints])

    async def round(self) -> float:
        """See to what is due now; answers in how many seconds to look again."""
        ids, following = await self._side.schedules.claim(AT_ONCE)
        await asyncio.gather(*(self._see_to(schedule_id) for schedule_id in ids))
        if len(ids) == AT_ONCE:
            return 0.0
        return IDLE_SECONDS if following is None else min(max(following, SOON_SECONDS), IDLE_SECONDS)

    async def _see_to(self, schedule_id: UUID) -> None:
        """All that one schedule has to do now. One that cannot be helped is left for later, and the others go on."""
        until = monotonic() + TURN_SECONDS
        try:
            with lived_through("seeing to a schedule"):
                while monotonic() < until:
                    if not await self._next(schedule_id):
                        return
                schedule, at = await self._side.schedules.load(schedule_id)
                await self._side.schedules.look_again(schedule, at)
        except Exception:
            # our hand lapses, and it is tried again then
            log.exception("schedule cannot be seen to", schedule_id=str(schedule_id))

    async def _next(self, schedule_id: UUID) -> bool:
        """See to the next thing that the schedule has to do; False when there is none, and it is out of hand."""
        schedule, at = await self._side.schedules.load(schedule_id)
        if schedule.pending:
            try:
                waits_for = await self._carry_out(schedule, schedule.pending[0])
            except Unavailable as error:
                log.warning("schedule waits for the store", schedule_id=str(schedule_id), why=error.code)
                await self._side.schedules.look_again(schedule, at + timedelta(seconds=BUSY_SECONDS))
                return False
            if waits_for is not None:
                log.warning("schedule waits for a parked flow", schedule_id=str(schedule_id), flow_id=str(waits_for))
                await self._side.schedules.look_again(schedule, at + timedelta(seconds=RECHECK_MAX_SECONDS))
                return False
            return True
        ended, there = await self._flows(schedule)
        step = due(schedule, at, ended)
        if step is None:
            # a flow that is waited for is asked after more and more rarely
            waited = (at - schedule.updated_at).total_seconds() if schedule.updated_at is not None else 0.0
            seconds = min(max(waited / 10, RECHECK_MIN_SECONDS), RECHECK_MAX_SECONDS)
            await self._side.schedules.look_again(schedule, look_at(schedule, at, seconds))
            return False
        await self._decide(schedule, step, ended, exists=flow_id_of(schedule_id, step.nominal_at) in there)
        return True

    async def _flows(self, schedule: Schedule) -> tuple[set[UUID], set[UUID]]:
        """Which of the flows that matter have ended, and which flows there are among those that may come next."""
        watched = set(flows_of(schedule))
        times: list[datetime] = [each.nominal_at for each in schedule.requested[:1]]
        times.extend(each.nominal_at for each in (schedule.buffered,) if each is not None)
        times.extend(at for at in (schedule.next_at,) if at is not None)
        times.extend(each.next_at for each in (schedule.backfill,) if each is not None)
        wanted = watched | {flow_id_of(schedule.id, at) for at in times}
        known = await self._side.schedules.flows(wanted)
        # a flow that was never made is in nobody's way
        return {flow for flow in watched if known.get(flow, True)}, set(known)

    async def _decide(self, schedule: Schedule, step: Step, ended: set[UUID], *, exists: bool) -> None:
        backfill = schedule.backfill.backfill_id if step.kind is Kind.BACKFILL and schedule.backfill else ""
        name = f"fire:{step.kind}:{step.nominal_at.isoformat()}:{'buffered' if step.buffered else backfill}"
        command = FireSchedule(
            schedule_id=schedule.id,
            kind=step.kind,
            nominal_at=step.nominal_at,
            buffered=step.buffered,
            over=tuple(sorted(ended)),
            exists=exists,
        )
        answer = await self._side.schedules.submit(command, _envelope(schedule, str(uuid5(schedule.id, name))))
        decided = answer.schedule
        if decided is not None and decided.version > schedule.version and not decided.pending:
            FIRINGS.labels("not_begun").inc()

    async def _carry_out(self, schedule: Schedule, firing: Firing) -> UUID | None:
        """Make way for the flow of a firing, make it, and tell the schedule how that went.

        Answers the flow that is parked, where one is: it is not known yet what becomes of its command, which waits there.
        """
        cause = f"{schedule.id}:{firing.version}"
        for flow_id in firing.cancels:
            name = f"cancel:{firing.nominal_at.isoformat()}:{flow_id}"
            reason = f"makes way for the next flow of the schedule {schedule.known.name}"[:4000]
            cancelled = await self._side.committer.submit(
                CancelFlow(flow_id=flow_id, reason=reason),
                _envelope(schedule, str(uuid5(schedule.id, name)), user_id=schedule.actor, causation_id=cause),
            )
            if cancelled.outcome == WAITS:
                return flow_id
        made_by = firing.nominal_at.isoformat() + (f":{firing.backfill_id}" if firing.backfill_id else "")
        envelope = _envelope(schedule, str(uuid5(schedule.id, made_by)), user_id=schedule.actor, causation_id=cause)
        error = None
        try:
            answer = await self._side.committer.submit(_flow(schedule, firing), envelope)
            if answer.outcome == WAITS:
                return firing.flow_id
            error = answer.error
        except Unavailable:
            raise
        except MfoError as ours:
            error = ours.as_dict()
        if error is not None and error["code"] in THERE_ALREADY and await self._side.schedules.flows([firing.flow_id]):
            error = None
        await self._side.schedules.submit(
            ReportFiring(schedule_id=schedule.id, flow_id=firing.flow_id, error=error),
            _envelope(schedule, str(uuid5(schedule.id, f"report:{firing.flow_id}:{firing.version}"))),
        )
        FIRINGS.labels("begun" if error is None else REFUSED).inc()
        return None


def _flow(schedule: Schedule, firing: Firing) -> CreateFlow:
    template = schedule.known.flow
    return CreateFlow(
        flow_id=firing.flow_id,
        flow_type=template.flow_type,
        flow_name=firing.flow_name,
        flow_description=template.flow_description,
        flow_tags=template.flow_tags,
        initial_data=template.initial_data,
        options=CreateOptions.model_validate(template.options),
    )


def _envelope(
    schedule: Schedule, command_id: str, *, user_id: str = SYSTEM_USER, causation_id: str | None = None
) -> Envelope:
    assert schedule.client_account_id is not None
    assert schedule.engagement_id is not None
    return Envelope(
        command_id=command_id,
        client_account_id=schedule.client_account_id,
        engagement_id=schedule.engagement_id,
        user_id=user_id,
        correlation_id=str(schedule.id),
        causation_id=causation_id,
        source="schedule",
    )
