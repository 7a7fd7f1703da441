"""The one door to the write side: whatever is waiting is decided and appended together.

While one group is being committed the next one gathers; there is no artificial delay. Inside a group the commands of one
flow are decided one after the other. What loses (its flow moved on, or an id was used before) is decided again on fresh
history, in order, with the first answers at hand. Correctness never depends on the cache: the append checks the version.
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

from domain.commands import (
    INTERNAL,
    Command,
    CompletePhase,
    CreateFlow,
    Envelope,
    ExecutePhase,
    ProvideInput,
    RequestInput,
)
from domain.decide import OVER, Story, decide
from domain.errors import KeyReused, MfoError, StoreBusy, StoreUnavailable
from domain.flow import Flow, Meta, Run
from domain.flow_types import FlowTypes
from eventstore.artifacts import ArtifactStore
from eventstore.codec import FIRST_HASH, encode, encode_meta
from eventstore.database import Connection
from eventstore.definitions import remember
from eventstore.keys import Keyring
from eventstore.metrics import (
    COMMANDS,
    COMMIT_SECONDS,
    COMMITTER_QUEUE,
    CONFLICTS,
    GROUP_SIZE,
)
from eventstore.store import (
    CommandRow,
    Decision,
    FirstAnswer,
    Loaded,
    Store,
    append,
    load,
)

log = structlog.get_logger()

ACCEPTED, REPEATED, REFUSED = "accepted", "repeated", "refused"
MAX_GROUP = 500
MAX_GROUP_BYTES = 4 << 20
MAX_TRIES = 20
CACHED_FLOWS = 4096


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command. `flow` is the flow after it (as of `version`), absent where there is none."""

    command_id: str
    outcome: str
    flow_id: UUID
    version: int
    position: str | None
    error: dict[str, Any] | None = None
    flow: Flow | None = None


@dataclass(slots=True)
class _Asked:
    command: Command
    envelope: Envelope
    body_hash: bytes
    body: bytes | None
    answer: asyncio.Future[Answer]
    size: int
    tries: int = 0

    @property
    def key(self) -> tuple[UUID, UUID, str]:
        return self.envelope.client_account_id, self.envelope.engagement_id, self.envelope.command_id


@dataclass(slots=True)
class _FlowGroup:
    loaded: Loaded
    asked: list[_Asked] = field(default_factory=list)


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
        max_queue: int = 20_000,
    ) -> None:
        self.store = store
        self.types = types
        self._keyring = keyring
        self._artifacts = artifacts
        self._connect = connect
        self._slots = slots
        self._max_queue = max_queue
        self._waiting: deque[_Asked] = deque()
        self._wake = asyncio.Event()
        self._cache: OrderedDict[UUID, Loaded] = OrderedDict()
        self._connection: Connection | None = None
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
        """Whether the queue takes no more from outside."""
        return len(self._waiting) >= self._max_queue

    def now(self) -> datetime:
        """The store's time, as last seen."""
        return datetime.now(UTC) + self._clock_ahead

    async def submit(self, command: Command, envelope: Envelope) -> Answer:
        """Decide and keep a command; returns when it is committed.

        Raises StoreBusy when the queue is full, StoreUnavailable when the commit could not be had, and MfoError for a
        command that could not be decided for a reason of ours. A refusal is an answer, not an error.
        """
        return await (await self.put(command, envelope))

    async def put(self, command: Command, envelope: Envelope) -> asyncio.Future[Answer]:
        """Queue a command; the future is its answer. Commands put one after the other are decided in that order."""
        internal = type(command).__name__ in INTERNAL
        if self._closing or (self.full and not internal):
            raise StoreBusy
        try:
            command, body_hash, body = await self._prepare(command, envelope, internal)
        except psycopg.Error as error:
            raise StoreUnavailable from error
        if self._closing:
            raise StoreBusy
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(command, envelope, body_hash, body, answer, len(body or b"") + 500))
        self._wake.set()
        return answer

    async def _prepare(
        self, command: Command, envelope: Envelope, internal: bool
    ) -> tuple[Command, bytes, bytes | None]:
        """Seal what is sensitive, move aside what is large, and take the hash that tells one body from another."""
        account = envelope.client_account_id
        if internal:
            if isinstance(command, CompletePhase):
                outputs, _ = await self._keyring.seal(account, command.outputs)
                outputs = await self._artifacts.spill(account, outputs)
                command = command if outputs is command.outputs else command.model_copy(update={"outputs": outputs})
            elif isinstance(command, RequestInput):
                suggestions, _ = await self._keyring.seal(account, command.suggestions)
                suggestions = await self._artifacts.spill(account, suggestions)
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
        elif isinstance(command, ExecutePhase):
            small = {"inputs": await self._artifacts.spill(account, sealed["inputs"])}
        elif isinstance(command, ProvideInput):
            small = await self._artifacts.spill(account, {name: sealed[name] for name in command.values})
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
        later: list[_Asked] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP and size < MAX_GROUP_BYTES:
            asked = self._waiting.popleft()
            if asked.key in ids:
                asked.tries = max(asked.tries, 1)
                later.append(asked)
                continue
            ids.add(asked.key)
            size += asked.size
            group.append(asked)
        self._waiting.extendleft(reversed(later))
        COMMITTER_QUEUE.set(len(self._waiting))
        return group

    async def _commit(self, group: list[_Asked]) -> None:
        connection = await self._connected()
        group = await self._answer_known(group)
        flows = await self._flows(connection, group)
        decisions: list[Decision] = []
        pending: list[tuple[_FlowGroup, list[tuple[_Asked, Answer]], Run | None]] = []
        began = perf_counter()
        try:
            for flow_group in flows.values():
                decision, answers = self._decide(flow_group)
                if decision is None:
                    continue
                decisions.append(decision)
                pending.append((flow_group, answers, self._reserve(decision)))
            if not decisions:
                return
            winners, now = await append(connection, decisions)
        except BaseException:
            for _, _, slot in pending:
                self._release(slot)
            raise
        COMMIT_SECONDS.observe(perf_counter() - began)
        GROUP_SIZE.observe(len(group))
        if now is not None:
            self._set_clock(now)
        lost: list[_Asked] = []
        for n, (flow_group, answers, slot) in enumerate(pending):
            positions = winners.get(n)
            if positions is None:
                self._release(slot)
                self._cache.pop(flow_group.loaded.flow.id, None)
                lost.extend(asked for asked, _ in answers)
                continue
            self._won(decisions[n], answers, positions, flow_group.loaded.position, slot)
        for asked in reversed(lost):
            CONFLICTS.inc()
            asked.tries += 1
            if asked.tries > MAX_TRIES:
                _reject(asked, StoreBusy("the flow is changed by others too fast; try again"))
            else:
                self._waiting.appendleft(asked)

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
        left: list[_Asked] = []
        for asked in group:
            first = known.get(asked.key) if asked.tries else None
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
            flow = await self.store.flow(flow_id, upto=version) if version else None
            if position is None and version:
                # it wrote nothing itself: it was answered with the place of the flow's event at that version
                position = (await self.store.history(flow_id, after=version - 1, upto=version))[0][0]
        text = msgspec.json.encode(error).decode() if error else None
        row = CommandRow(name, asked.envelope, asked.body_hash, outcome, version, text, None)
        await self.store.log_again(row, flow_id, first)
        COMMANDS.labels(name, outcome).inc()
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
            for flow_id, loaded in (await load(connection, unknown)).items():
                flows[flow_id].loaded = loaded
        await self._learn(group.loaded.flow for group in flows.values())
        return flows

    async def _learn(self, flows: Iterable[Flow]) -> None:
        """Fetch the definitions that another, newer process made flows with."""
        # where a schedule has the id there is no type
        if all(self.types.knows(flow.flow_type, flow.flow_version) for flow in flows if flow.flow_type):
            return
        await remember(self.store.pool, self.types)

    def _decide(self, group: _FlowGroup) -> tuple[Decision | None, list[tuple[_Asked, Answer]]]:
        """Decide a flow's commands one after the other; one that cannot be decided fails alone."""
        before = group.loaded.flow
        flow, previous = before, group.loaded.hash
        first = group.asked[0].envelope
        decision = Decision(before, previous, before, previous, first.client_account_id, first.engagement_id)
        _belongs(decision, before)
        answers: list[tuple[_Asked, Answer]] = []
        for asked in group.asked:
            name = type(asked.command).__name__
            envelope, error = asked.envelope, None
            meta = self._meta(envelope)
            story: Story | None = None
            try:
                story = decide(flow, asked.command, meta, self.types, expected_version=envelope.expected_version)
                written = encode_meta(meta)
                rows = []
                link = previous
                for fact in story.facts:
                    rows.append(encode(fact, written, link))
                    link = rows[-1].hash
            except MfoError as refusal:
                if refusal.status >= 500:
                    _reject(asked, refusal)
                    continue
                error = refusal.as_dict()
                outcome = REFUSED
            except Exception as crash:
                log.exception("command could not be decided", command=name, flow_id=str(asked.command.flow_id))
                _reject(asked, MfoError(f"the command could not be decided: {type(crash).__name__}"))
                continue
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
        return (decision if decision.commands else None), answers

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
        )

    def _reserve(self, decision: Decision) -> Run | None:
        run = decision.after.run
        is_new = run is not None and (decision.before.run is None or decision.before.run != run)
        if run is not None and is_new and self._slots is not None and self._slots.take(decision.after, run):
            decision.owner = self._slots.owner
            return run
        return None

    def _release(self, slot: Run | None) -> None:
        if slot is not None and self._slots is not None:
            self._slots.give_back(slot)

    def _won(
        self,
        decision: Decision,
        answers: list[tuple[_Asked, Answer]],
        positions: dict[int, int],
        last_position: int,
        slot: Run | None,
    ) -> None:
        flow = decision.after
        position = max(positions.values(), default=last_position)
        self._cache.pop(flow.id, None)
        if flow.exists and flow.status not in OVER:
            self._cache[flow.id] = Loaded(flow, decision.hash, position)
            if len(self._cache) > CACHED_FLOWS:
                self._cache.popitem(last=False)
        if slot is not None and self._slots is not None:
            self._slots.hand_over(flow, slot)
        for asked, answer in answers:
            COMMANDS.labels(type(asked.command).__name__, answer.outcome).inc()
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
        passing = _passes(error)
        if passing:
            log.warning(
                "commit failed", error=type(error).__name__, detail=str(error).splitlines()[:1], commands=len(group)
            )
        else:
            log.error("commit failed", commands=len(group), exc_info=error)
        again: list[_Asked] = []
        for asked in open_ones:
            self._cache.pop(asked.command.flow_id, None)
            asked.tries += 1
            reason: Exception | None = error
            if not passing and len(open_ones) > 1:
                # one command that cannot be kept must not take the others with it: each goes alone
                reason = await self._alone(asked)
            if reason is not None and not asked.answer.done():
                self._give_up_or(again, asked, reason)
        self._waiting.extendleft(reversed(again))
        if passing and self._connection is not None and not isinstance(error, psycopg.errors.LockNotAvailable):
            # the next connection may find a server that has been promoted meanwhile
            with suppress(Exception):
                await self._connection.close()
            self._connection = None
        await asyncio.sleep(0.05)

    async def _alone(self, asked: _Asked) -> Exception | None:
        try:
            await self._commit([asked])
        except Exception as error:
            return error
        return None

    def _give_up_or(self, again: list[_Asked], asked: _Asked, error: Exception) -> None:
        """Reject a command that will never be kept, or that its caller should not wait for any longer."""
        if not _passes(error):
            ours = error if isinstance(error, MfoError) else None
            _reject(asked, ours or MfoError(f"the command could not be kept: {type(error).__name__}"))
        elif asked.tries > 3 and (asked.envelope.source == "http" or self._closing):
            _reject(asked, StoreUnavailable())
        else:
            again.append(asked)

    def _set_clock(self, now: datetime) -> None:
        self._clock_ahead = now - datetime.now(UTC)


def _passes(error: Exception) -> bool:
    """Whether a fault is the store's and not the command's: away, busy, read-only, a right missing, a migration under way."""
    return isinstance(error, psycopg.Error | OSError) and not isinstance(
        error, psycopg.DataError | psycopg.IntegrityError
    )


def _belongs(decision: Decision, flow: Flow) -> None:
    """A decision is its flow's tenant's, whoever asked first."""
    if flow.client_account_id is not None and flow.engagement_id is not None:
        decision.client_account_id, decision.engagement_id = flow.client_account_id, flow.engagement_id


def _body(command: Command) -> bytes:
    return msgspec.json.encode(command.model_dump(mode="json"))


def _resolve(asked: _Asked, answer: Answer) -> None:
    if not asked.answer.done():
        asked.answer.set_result(answer)


def _reject(asked: _Asked, error: Exception) -> None:
    if not asked.answer.done():
        asked.answer.set_exception(error)
