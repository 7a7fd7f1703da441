"""The checker is shown the record of a real run with one thing wrong, and finds that, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from uuid import UUID, uuid5

import msgspec
import pytest

from domain.events import PhaseCompleted, RunReassigned
from domain.flow import Pause
from domain.view import row
from domain.words import Status
from eventstore.codec import FIRST_HASH, chain, encode, encode_meta
from tests.chaos.checker import findings
from tests.chaos.many import trees
from tests.chaos.record import Head, History, Logged, Record, Stored, by_flow

pytestmark = pytest.mark.timeout(420)

Seed = Callable[[Record], str]
"""Puts something wrong into a record, and answers what must be said of it."""


@pytest.fixture
def clean(record: Record) -> Record:
    """The record of the short run, in which nothing is wrong."""
    found = copy.deepcopy(record)
    assert findings(found) == []
    return found


def histories(record: Record) -> Iterator[History]:
    for flow_id, stored in by_flow(record.events).items():
        yield History.of(flow_id, stored)


def one(record: Record, wanted: Callable[[History], bool]) -> History:
    """The first history that fits."""
    return next(history for history in histories(record) if wanted(history))


def facts(history: History) -> list[str]:
    return [type(event.fact).__name__ for event in history.recorded]


def completed(history: History) -> bool:
    return facts(history)[-1] == "FlowCompleted"


def put(record: Record, flow_id: UUID, stored: list[Stored]) -> None:
    """Give a flow another history, with all that follows from it: chain, head, topic, row and the places of the answers."""
    link, before = FIRST_HASH, record.of_flow(flow_id)
    for event in stored:
        event.hash = link = chain(link, flow_id, event.version, event.topic, event.state)
    record.events = [event for event in record.events if event.flow_id != flow_id] + stored
    record.heads[flow_id] = Head(stored[-1].version, link)
    gone = {event.version for event in before} - {event.version for event in stored}
    record.topic = [told for told in record.topic if told.flow_id != flow_id or told.version not in gone]
    record.rows[flow_id] = row(History.of(flow_id, stored).flow, record.types)


def drop_commands(record: Record, commands: set[str]) -> None:
    """Forget commands and their answers."""
    record.firsts = {key: first for key, first in record.firsts.items() if key[2] not in commands}
    record.log = [line for line in record.log if line.key[2] not in commands]


# the eight, each in the store or on the way out of it


def a_lost_event(record: Record) -> str:
    stored = one(record, completed).stored
    record.events.remove(stored[len(stored) // 2])
    return "version_gap"


def an_event_lost_on_its_way(record: Record) -> str:
    told = record.topic[len(record.topic) // 2]
    record.topic = [other for other in record.topic if (other.flow_id, other.version) != (told.flow_id, told.version)]
    return "topic_lacks"


def a_doubled_event(record: Record) -> str:
    """A phase completes twice: the second time is in history, and everything agrees with it."""
    history = one(record, completed)
    n = next(n for n, event in enumerate(history.recorded) if isinstance(event.fact, PhaseCompleted))
    doubled = history.stored[n]
    later = [replace(event, version=event.version + 1) for event in history.stored[n + 1 :]]
    end = max(event.position for event in record.events)
    again = replace(doubled, version=doubled.version + 1, position=end + 1)
    told = next(
        event for event in record.topic if event.flow_id == history.flow_id and event.version == doubled.version
    )
    ahead = [event for event in record.topic if event.flow_id != history.flow_id or event.version <= doubled.version]
    after = [
        replace(event, version=event.version + 1)
        for event in record.topic
        if event.flow_id == history.flow_id and event.version > doubled.version
    ]
    record.topic = [*ahead, replace(told, version=again.version), *after]
    _move_answers(record, history.flow_id, doubled.version)
    put(record, history.flow_id, [*history.stored[: n + 1], again, *later])
    return "illegal_history"


def _move_answers(record: Record, flow_id: UUID, behind: int) -> None:
    """All that speaks of a later version of the flow speaks of the next one."""
    for line in record.log:
        if line.flow_id == flow_id and line.version > behind:
            line.version += 1
    moved = {key[2] for key, first in record.firsts.items() if first.flow_id == flow_id and first.version > behind}
    for first in record.firsts.values():
        if first.flow_id == flow_id and first.version > behind:
            first.version += 1
    for reply in record.replies:
        if reply.command_id in moved:
            reply.version += 1
    for asked in record.asked.values():
        if asked.key[2] in moved:
            asked.answers = [
                {**answer, "version": answer["version"] + 1} if answer.get("version") else answer
                for answer in asked.answers
            ]


def a_swapped_order(record: Record) -> str:
    """Two events of a flow change places on the topic, and are told but once."""
    history = one(record, completed)
    mine = [event for event in record.topic if event.flow_id == history.flow_id]
    record.topic = [event for event in record.topic if event.flow_id != history.flow_id]
    told = list({event.version: event for event in mine}.values())
    told.sort(key=lambda event: event.version)
    told[2], told[3] = told[3], told[2]
    record.topic.extend(told)
    return "topic_order"


def a_swapped_order_in_history(record: Record) -> str:
    """Two facts of one command change places, and everybody was told so."""
    history = one(record, lambda history: {"PhaseCompleted", "CheckpointCreated"} <= set(facts(history)))
    n = facts(history).index("CheckpointCreated")
    first, second = history.stored[n - 1], history.stored[n]
    swapped = [replace(second, version=first.version, position=first.position)]
    swapped.append(replace(first, version=second.version, position=second.position))
    for event in record.topic:
        if event.flow_id == history.flow_id and event.version in {first.version, second.version}:
            source = swapped[event.version - first.version]
            event.topic = source.topic
            event.data = next(
                msgspec.json.decode(msgspec.json.encode(kept.fact))
                for kept in history.recorded
                if type(kept.fact).__name__ in source.topic and kept.version in {first.version, second.version}
            )
    put(record, history.flow_id, [*history.stored[: n - 1], *swapped, *history.stored[n + 1 :]])
    return "illegal_history"


def a_stale_result_accepted(record: Record) -> str:
    """The result of a run that was taken over came from its former worker."""

    def taken_over(history: History) -> bool:
        return any(_after_takeover(history))

    history = one(record, taken_over)
    n = next(n for n, found in enumerate(_after_takeover(history)) if found)
    run = history.states[n].run
    assert run is not None
    stale = str(uuid5(run.run_id, f"{run.token - 1}:CompletePhase"))
    _rename_command(record, history, history.recorded[n].meta.command_id, stale)
    for entry in [entry for entry in record.ledger if (entry.run, entry.token) == (str(run.run_id), run.token)]:
        assert entry.token > 1
    return "stale_result"


def _after_takeover(history: History) -> list[bool]:
    """Of each event whether it is the result of a run that had been taken over."""
    taken = {str(event.fact.run_id) for event in history.recorded if isinstance(event.fact, RunReassigned)}
    return [isinstance(event.fact, PhaseCompleted) and str(event.fact.run_id) in taken for event in history.recorded]


def _rename_command(record: Record, history: History, before: str, after: str) -> None:
    """Another id for a command, wherever it is named; one of that id that was refused is forgotten."""
    drop_commands(record, {after})
    rewritten = []
    link = FIRST_HASH
    for event, recorded in zip(history.stored, history.recorded, strict=True):
        if recorded.meta.command_id == before:
            meta = msgspec.structs.replace(recorded.meta, command_id=after)
        else:
            meta = recorded.meta
        again = encode(msgspec.structs.replace(recorded, meta=meta), encode_meta(meta), link)
        link = again.hash
        rewritten.append(replace(event, state=again.state, hash=again.hash))
    record.firsts = {(*key[:2], after if key[2] == before else key[2]): first for key, first in record.firsts.items()}
    for line in record.log:
        if line.key[2] == before:
            line.key = (*line.key[:2], after)
    put(record, history.flow_id, rewritten)


def a_wrong_read_model_row(record: Record) -> str:
    flow_id = one(record, completed).flow_id
    record.rows[flow_id]["progress_percentage"] = 50.0
    return "read_model_differs"


def a_broken_hash(record: Record) -> str:
    stored = one(record, completed).stored
    stored[2].hash = bytes(32)
    return "hash_broken"


def a_changed_event(record: Record) -> str:
    """Somebody has changed what was said, and the hash of that event with it, but not those that follow."""
    history = one(record, lambda history: facts(history)[1] == "PhaseStarted")
    event = history.stored[1]
    meta = msgspec.structs.replace(history.recorded[1].meta, correlation_id="another")
    changed = encode(msgspec.structs.replace(history.recorded[1], meta=meta), encode_meta(meta), history.stored[0].hash)
    event.state, event.hash = changed.state, changed.hash
    flow = History.of(history.flow_id, record.of_flow(history.flow_id)).flow
    record.rows[history.flow_id] = row(flow, record.types)
    return "hash_broken"


def a_lost_command(record: Record) -> str:
    """A command that was refused has left no trace."""
    key = next(key for key, first in record.firsts.items() if first.outcome == "refused" and key in record.asked)
    drop_commands(record, {key[2]})
    return "command_lost"


def a_command_done_twice(record: Record) -> str:
    line = next(line for line in record.log if line.outcome == "refused" and line.key in record.asked)
    record.log.append(copy.deepcopy(line))
    return "command_doubled"


def another_answer(record: Record) -> str:
    """The second reply to a command names another version than the first."""
    reply = next(reply for reply in record.replies if reply.name == "Repeated")
    reply.version += 1
    return "answer_differs"


def a_stuck_flow(record: Record) -> str:
    """The last thing that a worker said to a flow never came; the flow goes on waiting for it."""
    history = one(record, lambda history: completed(history) and _last_was_public(record, history))
    *_, last = history.groups()
    drop_commands(record, {last.events[0].meta.command_id})
    put(record, history.flow_id, history.stored[: last.before.version])
    return "stuck_flow"


def _last_was_public(record: Record, history: History) -> bool:
    """Whether nobody but the worker who ended the flow spoke to it at its last versions."""
    *_, last = history.groups()
    spoken: list[Logged] = [line for line in record.log if line.flow_id == history.flow_id]
    return all(line.version < last.before.version + 1 or line.source == "worker" for line in spoken)


def an_effect_that_nothing_explains(record: Record) -> str:
    """The same worker did the same thing twice."""
    entry = next(entry for entry in record.ledger if entry.kind == "effect")
    record.ledger.append(entry)
    return "effect_twice"


def a_step_done_again(record: Record) -> str:
    """A retry did what had been kept before it."""
    history = one(record, lambda history: history.flow.flow_type == "fan_out")
    steps = [event for event in history.recorded if "StepsCompleted" in type(event.fact).__name__]
    mine = [entry for entry in record.ledger if entry.flow == str(history.flow_id) and entry.phase == "spread"]
    name = next(iter(steps[0].fact.results))  # type: ignore[union-attr]
    last = [entry for entry in mine if entry.kind == "begun"][-1]
    first = next(entry for entry in mine if entry.step == name)
    again = msgspec.structs.replace(last, kind="effect", key=first.key, step=name)
    assert (again.run, again.token) != (first.run, first.token)
    record.ledger.append(again)
    return "step_repeated"


def an_effect_that_is_missing(record: Record) -> str:
    """A phase says it did something that the outside knows nothing of."""
    history = one(record, lambda history: history.flow.flow_type == "slow")
    record.ledger = [entry for entry in record.ledger if entry.flow != str(history.flow_id) or entry.kind != "effect"]
    return "effect_missing"


def an_operation_that_stands_still(record: Record) -> str:
    record.operations[0] = record.operations[0]._replace(state="running")
    return "operation_open"


def an_operation_that_forgot_a_flow(record: Record) -> str:
    operation = next(operation for operation in record.operations if operation.outcomes)
    operation.outcomes.pop()
    return "operation_open"


def an_operation_that_tells_another_outcome(record: Record) -> str:
    operation = next(operation for operation in record.operations if operation.outcomes)
    flow_id, outcome, _ = operation.outcomes[0]
    operation.outcomes[0] = (flow_id, "refused" if outcome == "accepted" else "accepted", None)
    return "operation_differs"


def an_event_of_an_operation_lost_on_its_way(record: Record) -> str:
    told = record.others[-1]
    record.topic = [other for other in record.topic if (other.flow_id, other.version) != (told.flow_id, told.version)]
    return "topic_lacks"


SEEDS: tuple[Seed, ...] = (
    *(a_lost_event, an_event_lost_on_its_way, a_doubled_event, a_swapped_order, a_swapped_order_in_history),
    *(a_stale_result_accepted, a_wrong_read_model_row, a_broken_hash, a_changed_event, a_lost_command),
    *(a_command_done_twice, another_answer, a_stuck_flow, an_effect_that_nothing_explains, a_step_done_again),
    *(an_effect_that_is_missing, an_operation_that_stands_still, an_operation_that_forgot_a_flow),
    *(an_operation_that_tells_another_outcome, an_event_of_an_operation_lost_on_its_way),
)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.__name__)
def test_what_is_wrong_is_found_and_nothing_else(clean: Record, seed: Seed) -> None:
    wanted = seed(clean)
    found = findings(clean)
    assert {finding.code for finding in found} == {wanted}, found


# flows among flows: what is found of the trees alone, for a history cut short is odd in other ways, too

Trees = dict[UUID, History]


def cut_before(history: History, name: str) -> History:
    """As if the history ended right before this fact came about for the first time."""
    n = facts(history).index(name)
    return History(history.flow_id, history.stored[:n], history.recorded[:n], history.states[: n + 1])


def child_of(found: Trees, shape: str, wanted: Callable[[History], bool] = lambda _: True) -> History:
    """A flow under one of this shape."""
    return next(
        history
        for history in found.values()
        if (above := history.flow.parent_flow_id) in found and found[above].flow.flow_type == shape and wanted(history)
    )


def a_child_without_its_parent(found: Trees) -> str:
    above = child_of(found, "clan").flow.parent_flow_id
    assert above is not None
    del found[above]
    return "orphan"


def a_child_made_twice(found: Trees) -> str:
    child = child_of(found, "clan")
    above = child.flow.parent_flow_id
    assert above is not None
    again = uuid5(child.flow_id, "again")
    found[again] = child
    return "child_twice"


def a_child_that_its_parent_never_heard_of(found: Trees) -> str:
    above = child_of(found, "clan").flow.parent_flow_id
    assert above is not None
    found[above] = cut_before(found[above], "ChildStarted")
    return "child_unheard"


def a_parent_that_did_not_wait(found: Trees) -> str:
    child = child_of(found, "clan", completed)
    found[child.flow_id] = cut_before(child, "FlowCompleted")
    return "child_missing"


def a_child_that_a_cancellation_did_not_reach(found: Trees) -> str:
    child = child_of(found, "clan_cancelled", lambda history: "FlowCancelled" in facts(history))
    found[child.flow_id] = cut_before(child, "FlowCancelled")
    return "left_behind"


def a_child_that_a_rollback_did_not_reach(found: Trees) -> str:
    child = child_of(found, "clan_anew", lambda history: "FlowCancelled" in facts(history))
    found[child.flow_id] = cut_before(child, "FlowCancelled")
    return "left_behind"


def a_child_that_stays_paused(found: Trees) -> str:
    child = child_of(found, "clan")
    above = found[child.flow.parent_flow_id]  # type: ignore[index]
    found[above.flow_id] = cut_before(above, "FlowCompleted")
    paused = Pause(by="owner", at=child.recorded[-1].meta.at, reason=None, by_flow_id=above.flow_id)
    stays = msgspec.structs.replace(child.flow, status=Status.PAUSED, paused=paused)
    found[child.flow_id] = History(child.flow_id, child.stored, child.recorded, [*child.states[:-1], stays])
    return "left_behind"


IN_TREES: tuple[Callable[[Trees], str], ...] = (
    *(a_child_without_its_parent, a_child_made_twice, a_child_that_its_parent_never_heard_of),
    *(a_parent_that_did_not_wait, a_child_that_a_cancellation_did_not_reach, a_child_that_a_rollback_did_not_reach),
    a_child_that_stays_paused,
)


@pytest.mark.parametrize("seed", IN_TREES, ids=lambda seed: seed.__name__)
def test_what_is_wrong_with_a_tree_is_found(record: Record, seed: Callable[[Trees], str]) -> None:
    found = {history.flow_id: history for history in histories(record)}
    assert list(trees(found)) == []
    wanted = seed(found)
    assert wanted in {finding.code for finding in trees(found)}
