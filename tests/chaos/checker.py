"""What must hold of a run's record whatever happened to the processes: pure functions, one for each promise.

A flow whose history has a gap is judged by that alone: what else is odd about it follows from the gap.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from domain.commands import (
    INTERNAL,
    PUBLIC,
    Command,
    CompletePhase,
    FailPhase,
    FireTimer,
    HandBackRun,
    ReassignRun,
    RecordSteps,
    RequestInput,
    SuspendRun,
)
from domain.decide import decide
from domain.deciding.kinship import named
from domain.errors import MfoError
from domain.events import (
    FlowEvent,
    FlowRolledBack,
    InputRequested,
    IterationStarted,
    PhaseCompleted,
    PhaseFailed,
    PhaseStarted,
    PhaseSuspended,
    RecoveryStarted,
    RunHandedBack,
    RunReassigned,
    StepsCompleted,
)
from domain.flow import Flow, Meta
from domain.flow_types import FlowTypes
from domain.view import row
from eventstore.codec import FIRST_HASH, chain, split
from tests.chaos import relatives
from tests.chaos.faults import Kind
from tests.chaos.ledger import Entry
from tests.chaos.many import Finding, Found, operations, trees
from tests.chaos.record import First, Group, History, Logged, Record, Reply, Stored, Told, by_flow, position
from tests.chaos.shapes import BY_NAME

Json = dict[str, Any]
KEY_REUSED = "idempotency_key_reused"
MOST_STEPS = 1000


def findings(record: Record) -> list[Finding]:
    """Everything that is wrong with a run; nothing is what is wanted."""
    by_id = by_flow(record.everything)
    found = list(_gaps(by_id))
    whole = {one: stored for one, stored in by_id.items() if _is_whole(stored)}
    for told in (_chains, _topic):
        found.extend(told(record, whole))
    flows = by_flow(record.events)
    histories = {flow_id: History.of(flow_id, stored) for flow_id, stored in whole.items() if flow_id in flows}
    for promise in (_legal, _read_model, _ledger, _rest):
        found.extend(promise(record, histories))
    found.extend(trees(histories))
    for check in (_outcomes, _answers, _set_aside, _untrue, operations):
        found.extend(check(record))
    return found


# history


def _is_whole(stored: list[Stored]) -> bool:
    return [event.version for event in stored] == list(range(1, len(stored) + 1))


def _gaps(by_id: dict[UUID, list[Stored]]) -> Found:
    for flow_id, stored in by_id.items():
        if not _is_whole(stored):
            yield Finding("version_gap", f"flow {flow_id} has the versions {[event.version for event in stored]}")


def _chains(record: Record, whole: dict[UUID, list[Stored]]) -> Found:
    """Every event carries the hash over itself and the one before, and the head that of the last."""
    for flow_id, stored in whole.items():
        link = FIRST_HASH
        broken = False
        for event in stored:
            broken = event.hash != chain(link, flow_id, event.version, event.topic, event.state)
            if broken:
                yield Finding("hash_broken", f"flow {flow_id}, version {event.version}: the hash does not fit")
                break
            link = event.hash
        head = record.heads.get(flow_id)
        last = stored[-1]
        if not broken and (head is None or (head.version, head.hash) != (last.version, last.hash)):
            yield Finding("head_differs", f"flow {flow_id}: the head is not that of version {last.version}")
    for flow_id in record.heads.keys() - {event.flow_id for event in record.everything}:
        yield Finding("head_differs", f"flow {flow_id} has a head and no history")


def _legal(record: Record, histories: dict[UUID, History]) -> Found:
    """Every command, decided again on the flow as it was, brings about what it brought about."""
    logged: dict[UUID, list[Logged]] = defaultdict(list)
    for line in record.log:
        logged[line.flow_id].append(line)
    for flow_id, history in histories.items():
        problem = _first_illegal(history, logged[flow_id], record)
        if problem:
            yield Finding(*problem)
    for flow_id in logged.keys() - {event.flow_id for event in record.events}:
        problem = _refusals(History.of(flow_id, []), logged[flow_id], record.types)
        if problem:
            yield Finding(*problem)


Problem = tuple[str, str] | None
OF_RUNS = frozenset(name for name, command in INTERNAL.items() if "token" in command.model_fields) - {"FireTimer"}


def _first_illegal(history: History, logged: list[Logged], record: Record) -> Problem:
    accepted = {line.key[2]: line for line in logged if line.outcome == "accepted"}
    for group in history.groups():
        last = group.events[-1]
        where = f"flow {history.flow_id}, versions {group.events[0].version} to {last.version}"
        line = accepted.pop(last.meta.command_id, None)
        if line is None:
            return "event_without_command", f"{where}: no accepted command {last.meta.command_id} is in the log"
        if line.version != last.version:
            return "illegal_history", f"{where}: the log has {line.command} at version {line.version}"
        problem = _stale(group, line, where) or _decided_again(group, line, record.types, where)
        if problem:
            return problem
        first = record.firsts.get(line.key)
        if first is not None and first.position != history.stored[last.version - 1].position:
            return "position_differs", f"{where}: the command's answer names {first.position}"
    if accepted:
        line = next(iter(accepted.values()))
        return (
            "command_without_event",
            f"flow {history.flow_id}: {line.command} {line.key[2]} was accepted, without a fact",
        )
    return _refusals(history, logged, record.types)


def _decided_again(group: Group, line: Logged, types: FlowTypes, where: str) -> Problem:
    facts = [one.fact for one in group.events]
    command = (
        _command(line)
        or relatives.word(line.command, facts, group.before.id)
        or _rebuilt(line.command, facts[0], group.before)
    )
    if command is None:
        return "illegal_history", f"{where}: {type(facts[0]).__name__} is no answer to {line.command} in this state"
    try:
        meta = group.events[0].meta
        others = relatives.seen(facts, meta)
        story = decide(group.before, command, meta, types, expected_version=line.expected_version, others=others)
    except MfoError as error:
        return "illegal_history", f"{where}: {line.command} is refused {error.code} when it is decided again"
    again = [one.fact for one in story.facts]
    if list(map(_written, again)) != list(map(_written, facts)):
        names = [type(fact).__name__ for fact in facts], [type(fact).__name__ for fact in again]
        return "illegal_history", f"{where}: {line.command} brought about {names[0]}, decided again {names[1]}"
    return None


def _refusals(history: History, logged: list[Logged], types: FlowTypes) -> Problem:
    """What was refused or met with silence is so again, at the version at which it was."""
    for line in logged:
        command = _command(line) if line.outcome != "accepted" else None
        # where others were named their state then is not known
        if command is None or line.version >= len(history.states) or named(command, {}):
            continue
        meta = _meta(line)
        try:
            story = decide(history.states[line.version], command, meta, types, expected_version=line.expected_version)
            again = "accepted" if story.facts else "silence"
        except MfoError as error:
            again = error.code
        wanted = line.error["code"] if line.error else "silence"
        if again != wanted:
            where = f"flow {history.flow_id} at version {line.version}"
            return "refused_wrongly", f"{where}: {line.command} was answered {wanted}, decided again {again}"
    return None


def _meta(line: Logged) -> Meta:
    return Meta(
        at=line.at,
        client_account_id=line.key[0],
        engagement_id=line.key[1],
        user_id=line.user_id,
        command_id=line.key[2],
        correlation_id="",
        source=line.source,
    )


def _command(line: Logged) -> Command | None:
    """The command as the log kept it; none where it kept no body."""
    kind = {**PUBLIC, **INTERNAL}.get(line.command)
    return kind.model_validate(json.loads(line.body)) if kind is not None and line.body else None


def _rebuilt(name: str, fact: FlowEvent, before: Flow) -> Command | None:
    """What a worker or a timer must have asked to bring this fact about, under the run and token of then."""
    run: Json = {"flow_id": before.id}
    if before.run is not None:
        run |= {"run_id": before.run.run_id, "token": before.run.token}
    if name == "FireTimer":
        # a flow of these shapes has one timer at a time
        set_now = next(iter(before.timers.items()), None)
        return FireTimer(flow_id=before.id, timer=set_now[0], token=set_now[1].token) if set_now else None
    if before.run is None:
        return None
    builders: dict[tuple[str, type], Callable[[Any], Command]] = {
        ("CompletePhase", PhaseCompleted): lambda fact: CompletePhase(
            **run,
            outputs=fact.outputs,
            execution_time_ms=fact.execution_time_ms,
            validation_results=fact.validation_results,
            resource_usage=fact.resource_usage,
            agent_insights=fact.agent_insights,
            reused_from=fact.reused_from,
            handler_versions=fact.handler_versions,
        ),
        ("RecordSteps", StepsCompleted): lambda fact: RecordSteps(**run, results=fact.results),
        ("FailPhase", PhaseFailed): lambda fact: FailPhase(
            **run,
            error=fact.error,
            execution_time_ms=fact.execution_time_ms,
            handler_versions=fact.handler_versions,
        ),
        ("RequestInput", InputRequested): lambda fact: RequestInput(
            **run,
            fields=fact.fields,
            message=fact.message,
            suggestions=fact.suggestions,
            execution_time_ms=fact.execution_time_ms,
            question=msgspec.to_builtins(fact.question),
            step=fact.step,
        ),
        ("SuspendRun", PhaseSuspended): lambda fact: SuspendRun(
            **run,
            name=fact.name,
            until=fact.until,
            timeout_seconds=fact.timeout_seconds,
            execution_time_ms=fact.execution_time_ms,
        ),
        ("ReassignRun", RunReassigned): lambda fact: ReassignRun(**run, reason=fact.reason),
        ("HandBackRun", RunReassigned): lambda fact: HandBackRun(**run),
        ("HandBackRun", RunHandedBack): lambda fact: HandBackRun(**run, execution_time_ms=fact.execution_time_ms),
    }
    build = builders.get((name, type(fact)))
    return build(fact) if build is not None else None


def _written(fact: FlowEvent) -> tuple[str, bytes]:
    return type(fact).__name__, msgspec.json.encode(fact, order="sorted")


def _stale(group: Group, line: Logged, where: str) -> Problem:
    """A worker's word counts only under the run and the token that the flow had then; the command's id tells which it meant."""
    run = group.before.run
    if line.command not in OF_RUNS or run is None:
        return None
    meant = _token(line, run.run_id, run.token)
    if meant is None:
        return "untraceable_result", f"{where}: {line.command} {line.key[2]} is of no token of run {run.run_id}"
    if meant != run.token:
        return (
            "stale_result",
            f"{where}: {line.command} under token {meant} was accepted, the run had token {run.token}",
        )
    return None


def _token(line: Logged, run_id: UUID, newest: int) -> int | None:
    """The token under which a worker, or the keeper of runs, asked; see `consumers/keeper.py`."""
    for token in range(newest, 0, -1):
        names = [line.command, "overdue", "lapsed"]
        if line.command == "RecordSteps":
            names = [f"steps:{n}" for n in range(1, MOST_STEPS)]
        if any(line.key[2] == str(uuid5(run_id, f"{token}:{name}")) for name in names):
            return token
    return None


# commands


def _outcomes(record: Record) -> Found:
    """Each command that was sent, and each in the log, has exactly one first outcome; everything further is a repeat."""
    logged: dict[Any, list[Logged]] = defaultdict(list)
    for line in record.log:
        logged[line.key].append(line)
    for key in dict.fromkeys([*record.asked, *logged]):
        first, lines = record.firsts.get(key), logged[key]
        if first is None or not lines:
            name = record.asked[key].name if key in record.asked else lines[0].command
            yield Finding("command_lost", f"{name} {key[2]} has no outcome in the log")
            continue
        own = [line for line in lines if line.outcome != "repeated" and not _is_reuse(line, first)]
        if len(own) > 1 or (first.outcome != "repeated" and not own):
            yield Finding("command_doubled", f"{lines[0].command} {key[2]} has the outcomes {[o.outcome for o in own]}")
        elif any(line.flow_id != first.flow_id for line in lines):
            yield Finding("command_doubled", f"{lines[0].command} {key[2]} reached two flows")


def _is_reuse(line: Logged, first: First) -> bool:
    return line.outcome == "refused" and (line.error or {}).get("code") == KEY_REUSED and first.outcome != "refused"


def _answers(record: Record) -> Found:
    """Whoever asked was answered, by each door it used, with the first outcome every time."""
    replies: dict[str, list[Reply]] = defaultdict(list)
    for reply in record.replies:
        replies[reply.command_id].append(reply)
    for key, asked in record.asked.items():
        first = record.firsts.get(key)
        if first is None:
            continue
        if "kafka" in asked.doors and not replies[key[2]]:
            yield Finding("reply_missing", f"{asked.name} {key[2]} was sent over Kafka and got no reply")
        if "http" in asked.doors and not asked.answers:
            yield Finding("reply_missing", f"{asked.name} {key[2]} was sent over HTTP and got no answer")
        wrong = [reply for reply in replies[key[2]] if not _agrees(reply, first)]
        wrong_http = [answer for answer in asked.answers if not _agrees_http(answer, first)]
        if wrong or wrong_http:
            yield Finding("answer_differs", f"{asked.name} {key[2]}: first {first}, then {[*wrong, *wrong_http][0]}")


def _agrees(reply: Reply, first: First) -> bool:
    code = (reply.error or {}).get("code")
    wanted = (first.error or {}).get("code")
    named = {"accepted": "Accepted", "repeated": "Repeated", "refused": "Refused"}[first.outcome]
    if reply.name not in {named, "Repeated"} or (reply.version, code) != (first.version, wanted):
        return False
    return first.position is None or reply.position == position(first.position)


def _agrees_http(answer: Json, first: First) -> bool:
    if first.error is not None:
        return bool(answer.get("code") == first.error["code"])
    return answer["status"] == 200 and answer.get("version") in {None, first.version}


# what others are told


def _topic(record: Record, whole: dict[UUID, list[Stored]]) -> Found:
    """A subscriber that drops repeats holds the store's events of each flow and operation, in order and whole."""
    told: dict[UUID, list[Told]] = defaultdict(list)
    for event in record.topic:
        told[event.flow_id].append(event)
    for flow_id, stored in whole.items():
        problem = _subscribed(told[flow_id], stored)
        if problem:
            yield Finding(problem[0], f"flow {flow_id}: {problem[1]}")
    for flow_id in told.keys() - {event.flow_id for event in record.everything}:
        yield Finding("topic_differs", f"flow {flow_id} is on the topic and not in the store")


def _subscribed(told: list[Told], stored: list[Stored]) -> Problem:
    kept = {event.version: (event.topic, json.loads(split(event.state)[1])) for event in stored}
    lacking = sorted(kept.keys() - {event.version for event in told})
    if lacking:
        return "topic_lacks", f"the topic lacks version {lacking[0]}"
    last = 0
    for event in told:
        if kept.get(event.version) != (event.topic, event.data):
            return "topic_differs", f"the topic tells another version {event.version}"
        if event.version > last + 1:
            return "topic_order", f"the topic tells version {event.version} after {last}"
        last = max(last, event.version)
    return None


def _read_model(record: Record, histories: dict[UUID, History]) -> Found:
    """The row of each flow is what its history replayed makes of it."""
    for flow_id, history in histories.items():
        shown = record.rows.get(flow_id)
        if shown is None:
            yield Finding("read_model_lacks", f"flow {flow_id} has no row in the read model")
            continue
        wanted, found = _plain(row(history.flow, record.types)), _plain(shown)
        differing = [name for name in wanted if wanted[name] != found.get(name)]
        if differing:
            name = differing[0]
            said = f"{name} is {found.get(name)!r:.200}, replayed {wanted[name]!r:.200}"
            yield Finding("read_model_differs", f"flow {flow_id}: {said}")
    for flow_id in record.rows.keys() - {event.flow_id for event in record.events}:
        yield Finding("read_model_differs", f"flow {flow_id} has a row and no history")


def _plain(values: Json) -> Json:
    """The values as JSON has them, times in UTC."""
    in_utc = {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in values.items()}
    plain: Json = json.loads(msgspec.json.encode(in_utc))
    return plain


def _set_aside(record: Record) -> Found:
    """Nothing was parked, and nothing that was sent could not be read."""
    for sentence in record.set_aside:
        yield Finding("flow_set_aside", sentence)
    for sentence in record.dead_letters:
        yield Finding("dead_letter", sentence)


def _untrue(record: Record) -> Found:
    """What was signed while all this happened still holds."""
    for sentence in record.untrue:
        yield Finding("checkpoint_differs", sentence)


# the outside


class Terms(NamedTuple):
    """When each token of each run of a flow began: the version of its PhaseStarted or RunReassigned."""

    began: dict[tuple[str, int], int]

    @classmethod
    def of(cls, history: History) -> Terms:
        """From the flow's history."""
        began: dict[tuple[str, int], int] = {}
        for one in history.recorded:
            if isinstance(one.fact, PhaseStarted | RunReassigned):
                began[str(one.fact.run_id), one.fact.token] = one.version
        return cls(began)


def _ledger(record: Record, histories: dict[UUID, History]) -> Found:
    """Work was done once under each token, and again only where the history shows another attempt or a takeover."""
    entered: dict[str, list[Entry]] = defaultdict(list)
    for entry in record.ledger:
        entered[entry.flow].append(entry)
    stopped = {pid for one in record.struck if one.kind is Kind.STOP_CONSUMERS for pid in one.pids}
    for flow_id, history in histories.items():
        mine, terms = entered[str(flow_id)], Terms.of(history)
        yield from _explained(mine, terms, stopped)
        yield from _done(mine, history)
        yield from _steps_kept(mine, history, terms)


def _explained(mine: list[Entry], terms: Terms, stopped: set[int]) -> Found:
    """One who was told to stop hands its runs back under the token they have; nobody else may."""
    visits: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for entry in mine:
        if entry.kind == "begun":
            visits[entry.run, entry.token].append(entry)
    for (run, token), stays in visits.items():
        if (run, token) not in terms.began:
            yield Finding("work_without_run", f"work was done for run {run} under token {token}, unknown to history")
        if any(stay.pid not in stopped for stay in stays[:-1]):
            yield Finding("work_twice", f"run {run} was begun {len(stays)} times under token {token}")
    effects = Counter((entry.key, entry.visit) for entry in mine if entry.kind == "effect")
    for (key, _), times in effects.items():
        if times > 1:
            yield Finding("effect_twice", f"{key} was done {times} times by one worker in one run")


def _done(mine: list[Entry], history: History) -> Found:
    """Whatever a phase says that it did stands in the ledger, by the run and the token that said so."""
    effects = {(entry.key, entry.run, entry.token) for entry in mine if entry.kind == "effect"}
    begun = {(entry.run, entry.token) for entry in mine if entry.kind == "begun"}
    keys = {entry.key for entry in mine if entry.kind == "effect"}
    for before, one in zip(history.states, history.recorded, strict=False):
        if not isinstance(one.fact, PhaseCompleted) or before.run is None:
            continue
        ours = str(before.run.run_id), before.run.token
        if ours not in begun:
            yield Finding("result_without_work", f"run {ours[0]} completed under token {ours[1]} and was never begun")
            continue
        key = one.fact.outputs.get("key")
        lacking = [step for step in one.fact.outputs.get("keys", ()) if step not in keys]
        if lacking or (key and (key, *ours) not in effects):
            yield Finding("effect_missing", f"run {ours[0]} says it did {lacking or key}, which is not in the ledger")


def _steps_kept(mine: list[Entry], history: History, terms: Terms) -> Found:
    """A step that has its result is not done again by whoever takes the phase on after that."""
    kept: dict[tuple[str, str], int] = {}
    anew: list[int] = []
    for one in history.recorded:
        if isinstance(one.fact, IterationStarted | RecoveryStarted | FlowRolledBack):
            # phases begin again, and their steps with them
            anew.append(one.version)
        if isinstance(one.fact, StepsCompleted):
            for name in one.fact.results:
                kept.setdefault((one.fact.phase_name, name), one.version)
    for entry in mine:
        version = kept.get((entry.phase, entry.step))
        began = terms.began.get((entry.run, entry.token), 0)
        if version is not None and any(version < again < began for again in anew):
            continue
        if entry.kind == "effect" and version is not None and began > version:
            yield Finding(
                "step_repeated", f"step {entry.step} of {entry.phase}, kept at {version}, was done again by {began}"
            )


# the end


def _rest(record: Record, histories: dict[UUID, History]) -> Found:
    """Every flow has ended, or waits for what it is meant to wait for; nothing is left of its work."""
    lost = {key: asked for key, asked in record.asked.items() if key not in record.firsts}
    gone = {asked.flow_id for asked in lost.values()}
    shapes = {flow_id: history.flow.flow_type for flow_id, history in histories.items()}
    shapes |= {one.flow_id: one.shape for one in record.plan}
    left = {found["flow_id"] for found in [*record.runs, *record.timers]}
    for flow_id, shape in shapes.items():
        if flow_id in gone or (flow_id not in histories and flow_id in {event.flow_id for event in record.events}):
            continue
        flow = histories[flow_id].flow if flow_id in histories else Flow(id=flow_id)
        if not flow.exists or flow.status not in BY_NAME[shape].rests:
            said = (
                f"{flow.status} at version {flow.version}, phase {flow.current_phase}" if flow.exists else "never begun"
            )
            yield Finding("stuck_flow", f"flow {flow_id} ({shape}) is {said}")
        elif flow_id in left:
            yield Finding("work_left", f"flow {flow_id} ({shape}) is {flow.status}, and a run or timer of it is left")
