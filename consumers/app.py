"""The service `consumers`: commands from Kafka, the relay to Kafka, runs, timers and uploads to describe."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from time import perf_counter
from typing import Any, TypeVar

import structlog
from aiokafka.errors import KafkaError

from consumers.asyncapi import document
from consumers.crews.crew import check
from consumers.describer import Describer
from consumers.follower import Follower, Followers
from consumers.frames import Begin
from consumers.intake import Intake
from consumers.keeper import Keeper
from consumers.metrics import TARGET_STATE, TARGETS
from consumers.operations import Runner
from consumers.parked import ParkedFlows
from consumers.pause_rules import NAME as PAUSE_RULES
from consumers.pause_rules import Watch
from consumers.phases import PhaseWork
from consumers.pool import WorkerPool
from consumers.relations import FOLLOWED, NAME, Relations
from consumers.scheduler import Scheduler
from consumers.subscribing import Subscribing
from consumers.telling.notifier import notifier
from consumers.telling.sender import Sender
from consumers.work import Workshop
from eventstore.breakers import Breakers
from eventstore.definitions import modules
from eventstore.faults import heed_the_end, lived_through
from eventstore.health import Parts, health_door
from eventstore.notifications import Notifications
from eventstore.past import Past
from eventstore.relay import Relay, producer
from eventstore.results import Results
from eventstore.service import ServiceConfig, WriteSide, write_side
from eventstore.tasks import close, end_all
from eventstore.topic import fault

log = structlog.get_logger()
T = TypeVar("T")

HOUSEKEEPING_SECONDS = 3600.0
TARGETS_SECONDS = 10.0
MAX_TARGETS_SHOWN = 100


async def run(config: ServiceConfig, *, ready: asyncio.Event | None = None) -> None:
    """Serve until cancelled or told to stop by SIGTERM or SIGINT; work in hand is ended or handed back.

    Raises SettingsError where a model for agents is named and CrewAI is not there.
    """
    if config.crew is not None:
        await asyncio.to_thread(check, config.crew)
    work = PhaseWork(modules(config.flow_type_modules))
    keeper = Keeper(config.workers, config.slots)
    begin = Begin(
        database_url=config.database_url,
        shard=config.shard,
        master_key=config.master_key,
        flow_type_modules=config.flow_type_modules,
        memory_mb=config.worker_memory_mb,
        crew=config.crew,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(sign, stop.set)
    async with AsyncExitStack() as stack:
        side = await stack.enter_async_context(
            write_side(config, slots=keeper, handlers=work.handlers, validators=work.validators)
        )
        pool = WorkerPool(
            config.workers,
            begin,
            memory_mb=config.worker_memory_mb,
            max_runs=config.worker_max_runs,
            recycle_mb=config.worker_recycle_mb,
            on_progress=keeper.on_progress,
            on_steps=keeper.on_steps,
            on_flow=keeper.on_flow,
        )
        stack.push_async_callback(pool.stop)
        # Kafka is reached while the children start; work begins without it
        connecting = asyncio.create_task(_connected(config), name="kafka")
        stack.push_async_callback(_let_go, connecting)
        if await _unless(stop, pool.start()) is None:
            return
        past = Past(side.pool, side.store)
        # what runs inline computes from its first to its last moment, and the process does so for others too
        workshop = Workshop(
            work, side.artifacts, side.imports, side.keyring, past, breakers=side.breakers, cpu_seconds=perf_counter
        )
        keeper.attach(side, pool, workshop)
        keeper.start()
        # whoever is told to stop drains; whoever is cancelled is in a hurry
        stack.push_async_callback(lambda: keeper.stop(*[config.drain_seconds] if stop.is_set() else []))
        relay = Relay(config)
        side.committer.heard_by = relay.hear
        watch = Watch(side)
        followers = Followers(
            config,
            [
                Follower(config, NAME, FOLLOWED, Relations(side).follow),
                notifier(config),
                Follower(config, PAUSE_RULES, watch.topics, watch.follow),
            ],
        )
        sender = Sender(side)
        tasks = [
            asyncio.create_task(relay.run(), name="relay"),
            asyncio.create_task(Describer(side, pool).run(), name="describer"),
            asyncio.create_task(_housekeeping(side), name="housekeeping"),
            asyncio.create_task(Scheduler(side).run(), name="scheduler"),
            asyncio.create_task(_measure_targets(side.breakers), name="target figures"),
            asyncio.create_task(followers.run(), name="followers"),
            asyncio.create_task(sender.run(), name="sender"),
            asyncio.create_task(Runner(side, armed=watch.armed).run(), name="operations"),
        ]
        stack.push_async_callback(end_all, tasks)
        kafka = await _unless(stop, connecting)
        if kafka is None:
            return
        subscribing = Subscribing(side)
        intake = Intake(
            config, lambda: side.committer, kafka, lambda: side.schedules, lambda: side.fleet, subscribing=subscribing
        )
        stack.push_async_callback(close, intake.stop)
        if await _unless(stop, _start_intake(intake)) is None:
            return
        assert intake.telling is not None
        tasks.append(intake.telling)
        parked = ParkedFlows(side.committer, intake.tell_late)
        # cancelled with the others
        tasks.append(asyncio.create_task(parked.run(), name="parked flows"))

        async def parts() -> Parts:
            return {
                "committer": _state(side.committer.healthy, "the committer has ended")
                | {"waiting": side.committer.waiting, "waiting_bytes": side.committer.waiting_bytes},
                "keeper": _state(keeper.healthy, "a loop of the keeper has ended"),
                "workers": _state(pool.alive > 0, "no worker process is alive"),
                "intake": _state(not intake.waiting, "commands wait for the store, or their answers for Kafka"),
                "scheduler": _state(not tasks[3].done(), "the scheduler has ended"),
                "operations": _state(not tasks[7].done(), "the runner of operations has ended"),
                "relay": _state(not tasks[0].done(), "the relay has ended") | {"leading": relay.leading},
                "followers": _state(not tasks[5].done(), "the followers have ended") | {"leading": followers.leading},
                "notifications": _state(not tasks[6].done(), "the sender has ended")
                | {"sending": sender.sending, "waiting": sender.counts.pending, "dead": sender.counts.dead},
                "parked": _state(True, "") | {"flows": parked.counts.flows, "commands": parked.counts.commands},
            }

        await stack.enter_async_context(
            health_door(config.http_host, config.health_port, parts, {"/asyncapi.json": document})
        )
        log.info("consumers are ready", owner=keeper.owner, workers=config.workers, slots=config.slots)
        if ready is not None:
            ready.set()
        await _until_one_ends(stop, [*tasks, *keeper.tasks])
        log.info("consumers stop", runs=keeper.active, drain_seconds=config.drain_seconds)
        # the store and the relay stay until the last result is kept
        await asyncio.gather(close(intake.stop), keeper.stop(config.drain_seconds), sender.drain(config.drain_seconds))


async def _until_one_ends(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """None of the loops ends by itself; one that does takes the process down, to be started anew. Raises what ended it."""
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        stopping.cancel()


async def _let_go(connecting: asyncio.Task[Any]) -> None:
    """Reach for Kafka no more, and stop what was reached."""
    await end_all([connecting])
    if not connecting.cancelled() and connecting.exception() is None:
        await close(connecting.result().stop)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T | None:
    """What `work` brings, or none when the service was told to stop first."""
    doing, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        await end_all([doing, stopping])


async def _connected(config: ServiceConfig) -> Any:
    """A started producer; a Kafka that is not there yet is waited for."""
    pause = 0.2
    while True:
        kafka = producer(config.kafka_bootstrap)
        try:
            await kafka.start()
        except KafkaError as error:
            heed_the_end()
            log.warning("Kafka cannot be reached", error=type(error).__name__, bootstrap=config.kafka_bootstrap)
            await close(kafka.stop)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
        except BaseException:
            await close(kafka.stop)
            raise
        else:
            return kafka


async def _start_intake(intake: Intake) -> Intake:
    pause = 0.2
    while True:
        try:
            await intake.start()
        except KafkaError as error:
            heed_the_end()
            log.warning("intake cannot start", error=fault(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
        else:
            return intake


async def _housekeeping(side: WriteSide) -> None:
    """Make the command log's next partitions before they are needed, and forget what is of no use any more."""
    while True:
        with lived_through("making partitions"):
            async with side.pool.connection() as connection:
                await connection.execute("select command_log_partitions(2)")
            await side.breakers.forget()
            await Results(side.pool).forget()
            await Notifications(side.pool).forget(side.config.telling.keep_days)
            await side.operations.forget(side.config.operation_keep_days)
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def _measure_targets(breakers: Breakers) -> None:
    while True:
        with lived_through("counting targets"):
            await targets_figures(breakers)
        await asyncio.sleep(TARGETS_SECONDS)


async def targets_figures(breakers: Breakers) -> None:
    """Read which targets are not closed into the gauges. Every process of the service reports the same figures."""
    found, total = await breakers.not_closed(MAX_TARGETS_SHOWN)
    TARGETS.set(total)
    TARGET_STATE.clear()
    for scope, target, state in found:
        TARGET_STATE.labels(target, scope, state).set(1)


def _state(good: bool, reason: str) -> dict[str, Any]:
    return {"state": "up", "pid": os.getpid()} if good else {"state": "down", "reason": reason}
