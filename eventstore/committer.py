"""The one door to the write side: whatever is waiting is decided and appended together.

While one group is being committed the next one gathers; there is no artificial delay. Inside a group the commands of one
flow are decided one after the other. What loses (its flow moved on, or an id was used before) is decided again on fresh
history, in order, with the first answers at hand. Correctness never depends on the cache: the append checks the version.

A command that cannot be applied for no fault of its own parks its flow (`eventstore/parking.py`): it waits, and what comes
after it waits behind it, while all other flows go on. A fault of the whole store parks nobody: everything waits for the store.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Protocol
from uuid import UUID

import msgspec
import psycopg
import structlog

from domain.addresses import Addressing
from domain.commands import (
    INTERNAL,
    Command,
    CompletePhase,
    CreateFlow,
    Envelope,
    ExecutePhase,
    MigrateFlow,
    ProvideInput,
    RequestInput,
    SignalFlow,
    SkipPhase,
    StartIteration,
)
from domain.decide import decide
from domain.deciding.kinship import named
from domain.deciding.story import OVER, Story
from domain.errors import FlowNotFound, KeyReused, MfoError, StoreBusy, StoreUnavailable, Unavailable
from domain.flow import Flow, Meta, Run
from domain.flow_types import FlowTypes
from eventstore import tracing
from eventstore.artifacts import ArtifactStore, as_kept
from eventstore.codec import FIRST_HASH, encode, encode_meta
from eventstore.config import MAX_QUEUE, MAX_QUEUE_BYTES
from eventstore.database import Connection
from eventstore.definitions import remember
from eventstore.faults import lived_through
from eventstore.keys import Keyring
from eventstore.kin import Kin
from eventstore.metrics import (
    COMMIT_SECONDS,
    COMMITTER_QUEUE,
    COMMITTER_QUEUE_BYTES,
    CONFLICTS,
    GROUP_SIZE,
    PARKED,
    TURNED_AWAY,
    commands_decided,
)
from eventstore.parking import (
    Drained,
    HistoryBroken,
    Parking,
    Placed,
    ToWait,
    Waiting,
    blames_the_store,
    may_be_the_stores,
    reason,
    wait_behind,
)
from eventstore.signals import SIGNAL, concerns_work
from eventstore.standing import APPEND_AS_OF, Standing, standing
from eventstore.store import (
    CommandRow,
    Decision,
    FirstAnswer,
    Loaded,
    Store,
    Stored,
    append,
    appended,
    disjointed,
    load,
)

log = structlog.get_logger()

ACCEPTED, REPEATED, REFUSED, WAITS = "accepted", "repeated", "refused", "parked"
MAX_GROUP = 500
MAX_GROUP_BYTES = 4 << 20
MAX_TRIES = 20
# a flow that loses so often may have a head that does not fit its history
DOUBTFUL_TRIES = 4
DRAIN_AT_ONCE = 1000
REMEMBERED_PARKED = 10_000
CACHED_FLOWS = 4096
EMAILS = "options.notification_emails"


class Slots(Protocol):
    """Free places for runs in this process. A run that is born into one is handed over after its commit."""

    owner: str

    def take(self, flow: Flow, run: Run) -> bool:
        """Reserve a place for this run; False when all of its kind are taken."""
        ...

    def give_back(self, run: Run) -> None:
        """The reserved place is not needed after all."""
        ...

    def hand_over(self, flow: Flow, run: Run) -> None:
        """The run has been committed under our name: begin it."""
        ...


class Answer(msgspec.Struct, frozen=True):
    """What became of a command. `flow` is the flow after it (as of `version`), absent where there is none."""

    command_id: str
    outcome: str
    flow_id: UUID
    version: int
    position: str | None
    error: dict[str, Any] | None = None
    flow: Flow | None = None


@dataclass(slots=True, eq=False)
class _Asked:
    command: Command
    envelope: Envelope
    body_hash: bytes
    body: bytes | None
    answer: asyncio.Future[Answer]
    size: int
    reply_to: str | None = None
    # it is on its flow's waiting list and is tried once more
    waits: bool = False
    tries: int = 0
    # how many flows had been appended when the store refused it first
    refused_at: int | None = None

    @property
    def key(self) -> tuple[UUID, UUID, str]:
        return self.envelope.client_account_id, self.envelope.engagement_id, self.envelope.command_id


@dataclass(slots=True)
class _FlowGroup:
    loaded: Loaded
    asked: list[_Asked] = field(default_factory=list)
    # why the flow, or one that its commands name, cannot be read
    broken: Exception | None = None
    # other flows that its commands name
    others: dict[UUID, Flow] = field(default_factory=dict)


@dataclass(slots=True)
class _Decided:
    """What became of a flow's part of a group. `held` could not be decided, for the reason `why`."""

    decision: Decision
    answers: list[tuple[_Asked, Answer]] = field(default_factory=list)
    held: list[_Asked] = field(default_factory=list)
    why: Exception | None = None


class Committer:
    """Decides commands and appends what they bring about, in groups, on a connection of its own."""

    def __init__(
        self,
        store: Store,
        types: FlowTypes,
        keyring: Keyring,
        artifacts: ArtifactStore,
        connect: Callable[[], Awaitable[Connection]],
        *,
        slots: Slots | None = None,
        max_queue: int = MAX_QUEUE,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        addressing: Addressing | None = None,
    ) -> None:
        self.store = store
        self.parking = Parking(store.pool)
        self.types = types
        self._keyring = keyring
        self._artifacts = artifacts
        self._connect = connect
        self._slots = slots
        self._max_queue = max_queue
        self._max_queue_bytes = max_queue_bytes
        self._addressing = addressing or Addressing()
        self._waiting: deque[_Asked] = deque()
        self._bytes = 0
        # flows that were parked when last seen; the append knows better
        self._parked: set[UUID] = set()
        self._draining: set[UUID] = set()
        self._appended = 0
        self._wake = asyncio.Event()
        self._cache: OrderedDict[UUID, Loaded] = OrderedDict()
        self._kin = Kin()
        # as last seen; what makes flows is appended only while it still holds
        self._standing: Standing | None = None
        self._connection: Connection | None = None
        # told what was appended, in the order of the log, and over which connection of PostgreSQL's
        self.heard_by: Callable[[int, list[Stored]], None] | None = None
        self._clock_ahead = timedelta(0)
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Connect and begin; raises StoreUnavailable."""
        self._connection = await self._connect()
        self._set_clock(await self.store.now())
        self._task = asyncio.create_task(self._run(), name="committer")

    async def stop(self) -> None:
        """Commit what is waiting, then end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._connection is not None:
            await self._connection.close()

    @property
    def healthy(self) -> bool:
        """Whether commands are being decided; a lost connection is made anew with the next one."""
        return self._task is not None and not self._task.done()

    @property
    def full(self) -> bool:
        """Whether the queue takes no more from outside, by count or by bytes."""
        return len(self._waiting) >= self._max_queue or self._bytes >= self._max_queue_bytes

    @property
    def waiting(self) -> int:
        """How many commands wait for the next groups."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    def now(self) -> datetime:
        """The store's time, as last seen."""
        return datetime.now(UTC) + self._clock_ahead

    async def submit(self, command: Command, envelope: Envelope) -> Answer:
        """Decide and keep a command; returns when it is committed, or waits durably behind a parked flow (`parked`).

        Raises StoreBusy when the queue is full, StoreUnavailable when the commit could not be had, and MfoError for a
        command that can neither be decided nor be kept. A refusal is an answer, not an error.
        """
        return await (await self.put(command, envelope))

    async def put(self, command: Command, envelope: Envelope, *, reply_to: str | None = None) -> asyncio.Future[Answer]:
        """Queue a command; the future is its answer. Commands put one after the other are decided in that order.

        `reply_to` is where the outcome is told, should the command have to wait.
        """
        internal = type(command).__name__ in INTERNAL
        if self._closing or (self.full and not internal):
            TURNED_AWAY.labels(envelope.source).inc()
            raise StoreBusy
        try:
            command, body_hash, body = await self._prepare(command, envelope, internal)
        except psycopg.Error as error:
            raise StoreUnavailable from error
        if self._closing:
            raise StoreBusy
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if tracing.on():
            envelope = _traced(command, envelope, answer)
        asked = _Asked(command, envelope, body_hash, body, answer, len(body or b"") + 500, reply_to)
        self._waiting.append(asked)
        self._bytes += asked.size
        self._wake.set()
        return answer

    def know(self, loaded: Loaded) -> None:
        """Keep a flow for its next command, unless a later state of it is known. It may be an old one: the append knows better."""
        flow = loaded.flow
        known = self._cache.get(flow.id)
        if not flow.exists or flow.status in OVER or (known is not None and known.flow.version >= flow.version):
            return
        self._cache[flow.id] = loaded
        if len(self._cache) > CACHED_FLOWS:
            self._cache.popitem(last=False)

    async def drain(self, flow_id: UUID) -> Drained:
        """Apply a parked flow's commands in order, until none waits or the first cannot be applied again.

        Commands that come meanwhile join the end of the list and are applied too, 1,000 in all at most. Raises Unavailable
        where the store is away.
        """
        applied = 0
        if flow_id not in self._draining:
            self._draining.add(flow_id)
            try:
                while applied < DRAIN_AT_ONCE and (first := await self.parking.first(flow_id)):
                    error = await self._again(first)
                    if error is not None:
                        return Drained(applied, await self.parking.count(flow_id), error)
                    applied += 1
            finally:
                self._draining.discard(flow_id)
        left = await self.parking.count(flow_id)
        if not left:
            self._parked.discard(flow_id)
        return Drained(applied, left, None)

    async def _again(self, first: Waiting) -> dict[str, Any] | None:
        """Try a flow's first waiting command once more; why it could not be applied, none where it was."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            command = first.command()
            body = first.body if first.name not in INTERNAL else None
            if self._closing:
                raise StoreBusy
            size = len(first.body) + 500
            self._waiting.append(_Asked(command, first.envelope, first.body_hash, body, answer, size, waits=True))
            self._bytes += size
            self._wake.set()
            await answer
        except Unavailable:
            raise
        except Exception as error:
            why = reason(error)
            await self.parking.failed(first, why)
            log.warning("flow stays parked", flow_id=str(first.flow_id), command=first.name, **why)
            return why
        return None

    async def _prepare(
        self, command: Command, envelope: Envelope, internal: bool
    ) -> tuple[Command, bytes, bytes | None]:
        """Seal what is sensitive, move aside what is large, and take the hash that tells one body from another."""
        account = envelope.client_account_id
        if internal:
            if isinstance(command, CompletePhase):
                outputs = await as_kept(self._keyring, self._artifacts, account, command.outputs)
                command = command if outputs is command.outputs else command.model_copy(update={"outputs": outputs})
            elif isinstance(command, RequestInput):
                suggestions = await as_kept(self._keyring, self._artifacts, account, command.suggestions)
                command = command.model_copy(update={"suggestions": suggestions})
            return command, b"", None
        whole = command.model_dump(mode="json")
        sealed, hashed = await self._keyring.seal(account, whole)
        name = type(command).__name__
        body_hash = hashlib.sha256(name.encode() + msgspec.json.encode(hashed, order="sorted")).digest()
        body = msgspec.json.encode(sealed)
        if sealed is whole and len(body) < 64 * 1024:
            return command, body_hash, body
        # the rest of a command has no free names and stays small; it was validated at the door
        small: dict[str, Any] = {}
        if isinstance(command, CreateFlow):
            small = {"initial_data": await self._artifacts.spill(account, sealed["initial_data"])}
        elif isinstance(command, ExecutePhase | StartIteration):
            small = {"inputs": await self._artifacts.spill(account, sealed["inputs"])}
        elif isinstance(command, SkipPhase) and sealed["outputs"]:
            small = {"outputs": await self._artifacts.spill(account, sealed["outputs"])}
        elif isinstance(command, ProvideInput):
            small = await self._artifacts.spill(account, {name: sealed[name] for name in command.values})
        elif isinstance(command, SignalFlow):
            small = {"payload": sealed["payload"]}
        return command.model_copy(update=small), body_hash, msgspec.json.encode({**sealed, **small})

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                # let the callers that woke together queue up together
                await asyncio.sleep(0)
                continue
            group = self._take()
            try:
                await self._commit(group)
            except Exception as error:
                await self._failed(group, error)

    def _take(self) -> list[_Asked]:
        group: list[_Asked] = []
        ids: set[tuple[UUID, UUID, str]] = set()
        asked_of: set[UUID] = set()
        held: set[UUID] = set()
        later: list[_Asked] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP and size < MAX_GROUP_BYTES:
            if group and (self._waiting[0].waits or group[0].waits):
                # what could not be applied before must not take others with it
                break
            asked = self._waiting.popleft()
            if asked.key in ids:
                asked.tries = max(asked.tries, 1)
                later.append(asked)
                continue
            if asked.command.flow_id in held or named(asked.command, {}) & asked_of:
                # what it names is decided with this group, and is known to the next one
                held.add(asked.command.flow_id)
                later.append(asked)
                continue
            ids.add(asked.key)
            asked_of.add(asked.command.flow_id)
            size += asked.size
            group.append(asked)
        self._bytes -= size
        self._put_back(later, counted=True)
        COMMITTER_QUEUE.set(len(self._waiting))
        COMMITTER_QUEUE_BYTES.set(self._bytes)
        return group

    def _put_back(self, asked: list[_Asked], *, counted: bool = False) -> None:
        """Queue commands before all others, in this order."""
        self._waiting.extendleft(reversed(asked))
        if not counted:
            self._bytes += sum(each.size for each in asked)

    async def _commit(self, group: list[_Asked]) -> None:
        connection = await self._connected()
        group = await self._answer_known(group)
        if self._parked:
            group = await self._divert(connection, group)
        flows = await self._flows(connection, group)
        makes_flows = any(isinstance(asked.command, CreateFlow) for asked in group)
        if makes_flows and self._standing is None:
            self._standing = await standing(connection)
        decided: list[_Decided] = []
        held: list[_Decided] = []
        slots: list[list[Run]] = []
        began = perf_counter()
        try:
            for flow_group in flows.values():
                one = self._decide(flow_group)
                if one.decision.commands:
                    decided.append(one)
                    slots.append(self._reserve(one.decision))
                elif one.held:
                    held.append(one)
            if decided:
                decisions = [one.decision for one in decided]
                if makes_flows and self._standing is not None:
                    winners, now = await append(connection, decisions, APPEND_AS_OF, first=(self._standing.number,))
                    self._standing = self._standing if winners else None
                else:
                    winners, now = await append(connection, decisions)
        except BaseException:
            for runs in slots:
                self._release(runs)
            raise
        if decided:
            self._say(connection, decisions, winners)
            COMMIT_SECONDS.observe(perf_counter() - began)
            GROUP_SIZE.observe(len(group))
            if now is not None:
                self._set_clock(now)
            held.extend(self._settle(decided, slots, winners, flows))
            if any(concerns_work(decided[n].decision) for n in winners):
                # without it the next heartbeat tells them
                with lived_through("telling workers"):
                    await connection.execute(SIGNAL)
        for one in held:
            await self._hold(connection, one.held, one.why)

    def _say(self, connection: Connection, decisions: list[Decision], winners: dict[int, dict[int, int]]) -> None:
        if self.heard_by is not None:
            self.heard_by(connection.info.backend_pid, appended(decisions, winners))

    def _settle(
        self,
        decided: list[_Decided],
        slots: list[list[Run]],
        winners: dict[int, dict[int, int]],
        flows: dict[UUID, _FlowGroup],
    ) -> list[_Decided]:
        """Answer those that won, queue those that lost again; gives those of which a part is left to be held."""
        lost: list[_Asked] = []
        held: list[_Decided] = []
        for n, (one, runs) in enumerate(zip(decided, slots, strict=True)):
            positions = winners.get(n)
            flow_id = one.decision.after.id
            if positions is None:
                self._release(runs)
                self._cache.pop(flow_id, None)
                lost.extend(asked for asked, _ in one.answers)
                lost.extend(one.held)
                continue
            self._appended += 1
            self._won(one.decision, one.answers, positions, flows[flow_id].loaded.position, runs)
            if one.held:
                held.append(one)
        again: list[_Asked] = []
        for asked in lost:
            CONFLICTS.inc()
            asked.tries += 1
            if asked.tries > MAX_TRIES:
                _reject(asked, StoreBusy("the flow is changed by others too fast; try again"))
            else:
                again.append(asked)
        self._put_back(again)
        return held

    async def _divert(self, connection: Connection, group: list[_Asked]) -> list[_Asked]:
        """Put what comes for parked flows on their lists; the others are left."""
        behind = [asked for asked in group if asked.command.flow_id in self._parked and not asked.waits]
        if behind:
            left = [asked for asked in group if asked.waits or asked.command.flow_id not in self._parked]
            await self._hold(connection, behind, None)
            return left
        return group

    async def _hold(self, connection: Connection, held: list[_Asked], why: Exception | None) -> None:
        """Let commands wait on their flows' lists; with `why` the first of them may begin one.

        One that the list cannot take is rejected. Raises what blames the store.
        """
        for asked in held:
            if asked.waits:
                _reject(asked, why or MfoError())
        held = [asked for asked in held if not asked.waits]
        error = reason(why) if why is not None else None
        if held and error is not None:
            log.error(
                "flow is parked", flow_id=str(held[0].command.flow_id), command=type(held[0].command).__name__, **error
            )
        written = msgspec.json.encode(error).decode() if error else None
        try:
            placed = await wait_behind(
                connection, [_to_wait(asked, written if n == 0 else None) for n, asked in enumerate(held)]
            )
        except psycopg.Error as fault:
            if blames_the_store(fault):
                raise
            if len(held) == 1:
                _reject(held[0], MfoError(f"the command could not be kept: {type(fault).__name__}"))
                return
            for n, asked in enumerate(held):
                await self._hold(connection, [asked], why if n == 0 else None)
            return
        again: list[_Asked] = []
        for asked, place in zip(held, placed, strict=True):
            if not await self._placed(asked, place):
                again.append(asked)
        self._put_back(again)

    async def _placed(self, asked: _Asked, place: Placed) -> bool:
        """Answer a command that was put on a list; False where it is to be decided after all."""
        envelope, flow_id = asked.envelope, asked.command.flow_id
        if place.became == "waits":
            self._park(flow_id)
            PARKED.inc()
            _resolve(asked, Answer(envelope.command_id, WAITS, flow_id, place.version, None))
            return True
        if place.became == "reused":
            await self._repeat(asked, FirstAnswer(b"", REFUSED, flow_id, 0, None, None))
            return True
        if place.became == "stranger":
            _resolve(asked, Answer(envelope.command_id, REFUSED, flow_id, 0, None, FlowNotFound().as_dict()))
            return True
        if place.became == "free":
            self._parked.discard(flow_id)
        asked.tries += 1
        if asked.tries > MAX_TRIES:
            _reject(asked, StoreBusy("the flow is changed by others too fast; try again"))
        return asked.answer.done()

    def _park(self, flow_id: UUID) -> None:
        self._cache.pop(flow_id, None)
        if len(self._parked) >= REMEMBERED_PARKED:
            self._parked.clear()
        self._parked.add(flow_id)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await self._connect()
        return self._connection

    async def _answer_known(self, group: list[_Asked]) -> list[_Asked]:
        """Give what was decided before its first answer; the others are left."""
        doubtful = [asked for asked in group if asked.tries]
        if not doubtful:
            return group
        known = await self.store.first_answers([asked.envelope for asked in doubtful])
        parked, waiting = await self.parking.among([(asked.command.flow_id, asked.envelope) for asked in doubtful])
        for flow_id in parked:
            self._park(flow_id)
        left: list[_Asked] = []
        for asked in group:
            first = known.get(asked.key) if asked.tries else None
            if asked.tries and waiting.get(asked.key, mine := (asked.command.flow_id, asked.body_hash)) != mine:
                # its id is that of another command, which waits
                first = FirstAnswer(b"", REFUSED, asked.command.flow_id, 0, None, None)
            if first is None:
                left.append(asked)
                continue
            try:
                await self._repeat(asked, first)
            except psycopg.Error:
                left.append(asked)
                raise
        return left

    async def _repeat(self, asked: _Asked, first: FirstAnswer) -> None:
        """The first answer again; or a refusal, when the body is another. Either is kept in the log."""
        name = type(asked.command).__name__
        if first.body_hash != asked.body_hash:
            error: dict[str, Any] | None = KeyReused().as_dict()
            outcome, flow_id, flow = REFUSED, asked.command.flow_id, None
            version, position = 0, None
        else:
            error, outcome, flow_id = first.error, REPEATED, first.flow_id
            version, position = first.version, first.position
            try:
                flow = await self.store.flow(flow_id, upto=version) if version else None
            except psycopg.Error:
                raise
            except Exception as unreadable:
                _reject(asked, MfoError(reason(unreadable)["detail"]))
                return
            if position is None and version:
                # it wrote nothing itself: it was answered with the place of the flow's event at that version
                position = (await self.store.history(flow_id, after=version - 1, upto=version))[0][0]
        text = msgspec.json.encode(error).decode() if error else None
        row = CommandRow(name, asked.envelope, asked.body_hash, outcome, version, text, None)
        await self.store.log_again(row, flow_id, first)
        commands_decided(name, outcome).inc()
        answer = Answer(
            asked.envelope.command_id, outcome, flow_id, version, self.store.position(position), error, flow
        )
        _resolve(asked, answer)

    async def _flows(self, connection: Connection, group: list[_Asked]) -> dict[UUID, _FlowGroup]:
        """The flows of a group, from the cache or from history, each with its commands in order."""
        unknown: set[UUID] = set()
        flows: dict[UUID, _FlowGroup] = {}
        for asked in group:
            flow_id = asked.command.flow_id
            if flow_id in flows:
                flows[flow_id].asked.append(asked)
                continue
            cached = self._cache.get(flow_id) if not asked.tries else None
            if cached is None:
                # a new flow has no history to read; if it has one after all, it loses and is read then
                if asked.tries or not isinstance(asked.command, CreateFlow):
                    unknown.add(flow_id)
                cached = Loaded(Flow(id=flow_id), FIRST_HASH, 0)
            flows[flow_id] = _FlowGroup(cached, [asked])
        if unknown:
            broken: dict[UUID, Exception] = {}
            for flow_id, loaded in (await load(connection, unknown, broken)).items():
                flows[flow_id].loaded = loaded
            doubtful = {asked.command.flow_id for asked in group if asked.tries >= DOUBTFUL_TRIES}
            if doubtful:
                for flow_id in await disjointed(connection, doubtful):
                    broken.setdefault(flow_id, HistoryBroken())
            for flow_id, why in broken.items():
                flows[flow_id].broken = why
        await self._learn(flows.values())
        for flow_group in flows.values():
            await self._meet(connection, flow_group)
        return flows

    async def _meet(self, connection: Connection, group: _FlowGroup) -> None:
        """Load the other flows that the commands for a flow name."""
        for asked in group.asked:
            while unknown := named(asked.command, group.others):
                try:
                    group.others |= await self._kin.load(connection, unknown)
                except psycopg.Error:
                    raise
                except Exception as why:
                    group.broken = group.broken or why
                    return

    async def _learn(self, groups: Iterable[_FlowGroup]) -> None:
        """Fetch the definitions that another, newer process made flows with, or that flows are to go on by."""
        wanted = {named for group in groups for named in _definitions_of(group)}
        if all(self.types.knows(name, version) for name, version in wanted):
            return
        await remember(self.store.pool, self.types)

    def _decide(self, group: _FlowGroup) -> _Decided:
        """Decide a flow's commands one after the other; what cannot be decided holds back what comes after it."""
        before = group.loaded.flow
        flow, previous = before, group.loaded.hash
        first = group.asked[0].envelope
        decision = Decision(before, previous, before, previous, first.client_account_id, first.engagement_id)
        _belongs(decision, before)
        if group.broken is not None:
            return _Decided(decision, held=group.asked, why=group.broken)
        answers: list[tuple[_Asked, Answer]] = []
        held: list[_Asked] = []
        why: Exception | None = None
        for n, asked in enumerate(group.asked):
            name = type(asked.command).__name__
            envelope, error = asked.envelope, None
            meta = self._meta(envelope)
            story: Story | None = None
            try:
                if isinstance(asked.command, CreateFlow):
                    self._addressing.check_emails(asked.command.options.notification_emails, EMAILS)
                tenant = (envelope.client_account_id, envelope.engagement_id)
                story = decide(
                    flow,
                    asked.command,
                    meta,
                    self.types,
                    expected_version=envelope.expected_version,
                    others=group.others,
                    standing=self._standing.pauses.get(tenant, ()) if self._standing is not None else (),
                )
                written = encode_meta(meta)
                rows = []
                link = previous
                for fact in story.facts:
                    rows.append(encode(fact, written, link))
                    link = rows[-1].hash
            except MfoError as refusal:
                if refusal.status >= 500:
                    held, why = group.asked[n:], refusal
                    break
                error = refusal.as_dict()
                outcome = REFUSED
            except Exception as crash:
                log.exception("command could not be decided", command=name, flow_id=str(asked.command.flow_id))
                held, why = group.asked[n:], crash
                break
            else:
                outcome = ACCEPTED if rows else REPEATED
                flow, previous = story.flow, link
                decision.rows.extend(rows)
                _belongs(decision, flow)
            ours = not flow.exists or (envelope.client_account_id, envelope.engagement_id) == (
                decision.client_account_id,
                decision.engagement_id,
            )
            seen = flow if ours else Flow(id=flow.id)
            decision.commands.append(
                CommandRow(
                    name,
                    envelope,
                    asked.body_hash,
                    outcome,
                    flow.version if ours else 0,
                    msgspec.json.encode(error).decode() if error else None,
                    asked.body if asked.body is not None or not error else _body(asked.command),
                )
            )
            answers.append(
                (
                    asked,
                    Answer(
                        envelope.command_id, outcome, flow.id, seen.version, None, error, seen if seen.exists else None
                    ),
                )
            )
        decision.after, decision.hash = flow, previous
        return _Decided(decision, answers, held, why)

    def _meta(self, envelope: Envelope) -> Meta:
        return Meta(
            at=self.now(),
            client_account_id=envelope.client_account_id,
            engagement_id=envelope.engagement_id,
            user_id=envelope.user_id,
            command_id=envelope.command_id,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            source=envelope.source,
            traceparent=envelope.traceparent if envelope.traceparent and tracing.on() else msgspec.UNSET,
        )

    def _reserve(self, decision: Decision) -> list[Run]:
        """The runs that the decision begins for which there is a place in this process."""
        taken = [run for run in decision.begun if self._slots is not None and self._slots.take(decision.after, run)]
        if taken and self._slots is not None:
            decision.owners.update((run.run_id, self._slots.owner) for run in taken)
        return taken

    def _release(self, runs: list[Run]) -> None:
        for run in runs:
            if self._slots is not None:
                self._slots.give_back(run)

    def _won(
        self,
        decision: Decision,
        answers: list[tuple[_Asked, Answer]],
        positions: dict[int, int],
        last_position: int,
        runs: list[Run],
    ) -> None:
        flow = decision.after
        position = max(positions.values(), default=last_position)
        self._cache.pop(flow.id, None)
        self.know(Loaded(flow, decision.hash, position))
        for run in runs:
            if self._slots is not None:
                self._slots.hand_over(flow, run)
        for asked, answer in answers:
            commands_decided(type(asked.command).__name__, answer.outcome).inc()
            at = positions.get(answer.version, last_position) if answer.version else None
            _resolve(
                asked,
                Answer(
                    answer.command_id,
                    answer.outcome,
                    answer.flow_id,
                    answer.version,
                    self.store.position(at or None),
                    answer.error,
                    answer.flow,
                ),
            )

    async def _failed(self, group: list[_Asked], error: Exception) -> None:
        """The commit did not come about, or its acknowledgement was lost: decide again, asking first what is known."""
        open_ones = [asked for asked in group if not asked.answer.done()]
        passing = blames_the_store(error)
        if passing:
            log.warning(
                "commit failed", error=type(error).__name__, detail=str(error).splitlines()[:1], commands=len(group)
            )
        else:
            # the server repeats the whole statement, which tells nothing
            told = {"exc_info": error} if not isinstance(error, psycopg.Error) else {"state": error.sqlstate}
            log.error("commit failed", commands=len(group), **reason(error), **told)
        again: list[_Asked] = []
        for asked in open_ones:
            flow_id = asked.command.flow_id
            self._cache.pop(flow_id, None)
            asked.tries += 1
            fault: Exception | None = error
            if any(before.command.flow_id == flow_id for before in again):
                # the order of a flow's commands stays as it was
                again.append(asked)
                continue
            if not passing:
                fault = await self._alone(asked) if len(open_ones) > 1 else await self._set_aside(asked, error)
            if fault is not None and not asked.answer.done():
                self._give_up_or(again, asked, fault)
            elif asked in self._waiting:
                self._waiting.remove(asked)
                self._bytes -= asked.size
                again.append(asked)
        self._put_back(again)
        if passing and self._connection is not None and not isinstance(error, psycopg.errors.LockNotAvailable):
            # the next connection may find a server that has been promoted meanwhile
            with suppress(Exception):
                await self._connection.close()
            self._connection = None
        await asyncio.sleep(0.05)

    async def _alone(self, asked: _Asked) -> Exception | None:
        """Commit a command by itself; where it fails again, its flow is parked. Gives a fault of the whole store."""
        try:
            await self._commit([asked])
        except Exception as error:
            return error if blames_the_store(error) else await self._set_aside(asked, error)
        return None

    async def _set_aside(self, asked: _Asked, error: Exception) -> Exception | None:
        """Park the flow of a command that failed alone; a fault of the whole store instead, if it turns out to be that."""
        if may_be_the_stores(error):
            if asked.refused_at is None:
                asked.refused_at = self._appended
            if self._appended == asked.refused_at and not asked.waits:
                # nobody else has been served since: it may be everybody's fault
                return StoreUnavailable()
        try:
            await self._hold(await self._connected(), [asked], error)
        except Exception as fault:
            return fault
        return None

    def _give_up_or(self, again: list[_Asked], asked: _Asked, error: Exception) -> None:
        """Reject a command that will never be kept, or that its caller should not wait for any longer."""
        if not blames_the_store(error):
            ours = error if isinstance(error, MfoError) else None
            _reject(asked, ours or MfoError(f"the command could not be kept: {type(error).__name__}"))
        elif asked.tries > 3 and (asked.envelope.source == "http" or asked.waits or self._closing):
            _reject(asked, StoreUnavailable())
        else:
            again.append(asked)

    def _set_clock(self, now: datetime) -> None:
        self._clock_ahead = now - datetime.now(UTC)


def _definitions_of(group: _FlowGroup) -> set[tuple[str, str]]:
    """The type and version of a flow, and those that it is to go on by, or back to."""
    flow = group.loaded.flow
    # where a schedule has the id there is no type
    own = {(flow.flow_type, flow.flow_version)} if flow.flow_type else set()
    moves = [asked.command for asked in group.asked if isinstance(asked.command, MigrateFlow)]
    if not moves:
        return own
    made = [asked.command.flow_type for asked in group.asked if isinstance(asked.command, CreateFlow)]
    versions = {move.from_version for move in flow.moves} | {move.to_version for move in moves}
    named = [flow.flow_type or name for name in made or [flow.flow_type]]
    return own | {(name, version) for name in named if name for version in versions if version is not None}


def _belongs(decision: Decision, flow: Flow) -> None:
    """A decision is its flow's tenant's, whoever asked first."""
    if flow.client_account_id is not None and flow.engagement_id is not None:
        decision.client_account_id, decision.engagement_id = flow.client_account_id, flow.engagement_id


def _to_wait(asked: _Asked, error: str | None) -> ToWait:
    body = asked.body if asked.body is not None else _body(asked.command)
    return ToWait(asked.command, asked.envelope, asked.body_hash, body, asked.reply_to, error)


def _body(command: Command) -> bytes:
    return msgspec.json.encode(command.model_dump(mode="json"))


def _resolve(asked: _Asked, answer: Answer) -> None:
    if not asked.answer.done():
        asked.answer.set_result(answer)


def _traced(command: Command, envelope: Envelope, answer: asyncio.Future[Answer]) -> Envelope:
    """The envelope with a span that ends with the answer. What we ask ourselves, and nobody traces, begins no trace."""
    parent = tracing.parent_of(envelope.traceparent)
    name = type(command).__name__
    if parent is None and name in INTERNAL:
        return envelope
    span = tracing.begin(f"commit {name}", parent, attributes={"flow_id": str(command.flow_id)})
    if span is None:
        return envelope

    def ended(done: asyncio.Future[Answer]) -> None:
        told = done.result() if not done.cancelled() and done.exception() is None else None
        span.end(outcome=told.outcome if told else "failed", version=told.version if told else None)

    answer.add_done_callback(ended)
    return msgspec.structs.replace(envelope, traceparent=span.traceparent)


def _reject(asked: _Asked, error: Exception) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)
