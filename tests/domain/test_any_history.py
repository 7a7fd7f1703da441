"""What holds after any sequence of commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateCheckpoint,
    CreateFlow,
    CreateOptions,
    DeleteFlow,
    ExecutePhase,
    FailPhase,
    FireTimer,
    HandBackRun,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RequestInput,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
    SuspendRun,
)
from domain.decide import decide
from domain.deciding.story import OVER, Story, allowed, state_sha256
from domain.deciding.targets import phases_to_go_back_to
from domain.errors import InputsMissing, MfoError, PhaseNotNamed
from domain.events import FlowDeleted, FlowRolledBack, IterationStarted
from domain.flow import DONE, Flow, Recorded, Waiting, fold, progress
from domain.flow_types import FlowTypeConfig
from domain.preview import preview
from domain.view import row
from domain.words import PhaseStatus, Status
from eventstore.codec import FIRST_HASH, decode, encode, encode_meta
from tests.examples import ANSWERED, COMPLETED, CREATED, FLOW_ID, RUN_ID
from tests.moving import VERSIONS
from tests.spec import TYPES, Given, meta

KINDS = (
    *("create", "execute", "execute_with", "complete", "complete_with", "fail", "fail_for_good"),
    *("invalid", "ask", "answer", "answer_wrong", "pause", "resume", "cancel", "delete", "reassign", "stale", "timer"),
    "hand_back",
    "deadline",
    "away",
    *("suspend", "signal", "approve"),
    *("migrate", "migrate_anew", "migrate_back"),
    "iterate",
    *("rollback", "rollback_quietly", "checkpoint", "cancel_and_undo"),
    "skip",
    "skip_for",
    "retry",
    "pause_running",
)
# a word is any kind at all, or the n-th of what would be likely now, so that histories grow long
words = st.lists(st.sampled_from(KINDS) | st.integers(0, 9) | st.integers(0, 9), min_size=5, max_size=30)
Word = str | int
MOVES = dict(zip(("1", *VERSIONS), (*VERSIONS, "1"), strict=True)) | {"1.0.0": "2.0.0", "2.0.0": "3.0.0"}
BACK = ("rollback", "rollback_quietly", "checkpoint", "cancel_and_undo")


def at_hand(flow: Flow) -> Flow:
    """The flow, seen from one or another of the phases in hand."""
    lanes = list(flow.lanes)
    return flow.on(lanes[flow.version % len(lanes)]) if lanes else flow


def likely(flow: Flow) -> list[str]:
    """What may well be asked of a flow that stands here."""
    flow = at_hand(flow)
    if flow.flow_type == "moving" and flow.version % 4 == 3:
        return ["migrate", "migrate_anew", "migrate_back", "execute_with", "complete", "resume"]
    if flow.paused is not None:
        more = ["complete", "hand_back"] if flow.run else ["answer"] if flow.waiting else ["timer", "skip"]
        return ["resume", "resume", *more, "rollback"]
    if flow.run is not None:
        failing = ["fail", "fail_for_good", "away", "invalid", "suspend"]
        going = ["complete", "complete_with", "complete", "complete_with"]
        return [*going, *failing, "ask", "pause", "pause_running", "reassign"]
    if flow.waiting is not None:
        return ["answer", "answer", "approve", "execute_with", "pause", "pause_running", "timer"]
    if flow.suspended is not None:
        return ["signal", "signal", "timer", "pause", "pause_running"]
    if flow.retry is not None or flow.start is not None:
        return ["timer", "timer", "pause", "pause_running", "retry"]
    return ["execute_with", "execute_with", "execute", "pause", "rollback", "checkpoint", "skip_for"]


def command(kind: str, flow: Flow) -> Command:
    """A command of this kind, fitting the flow as far as it can."""
    flow = at_hand(flow)
    run_id, token = (flow.run.run_id, flow.run.token) if flow.run else (RUN_ID, 1)
    run: dict[str, Any] = {"flow_id": FLOW_ID, "run_id": run_id, "token": token}
    timer = list(flow.alarms)[flow.version % len(flow.alarms)] if flow.follows and flow.alarms else "retry"
    timer = timer if flow.follows else next(iter(flow.alarms), "retry")
    tokens = {name: each.token for name, each in flow.alarms.items()}
    error: dict[str, Any] = {"class": "network", "code": "io_failed", "message": "cut", "retryable": kind == "fail"}
    away = {**error, "class": "target_open", "after_seconds": 4.0, "target": "vcenter"}
    wrong = {**error, "class": "validation", "fields": [{"field": "answer", "message": "is wrong"}]}
    onward = {"flow_id": FLOW_ID, "to_version": MOVES.get(flow.flow_version, "2")}
    named = phases_to_go_back_to(flow) or ["data_import"]
    back = RollbackFlow(flow_id=FLOW_ID, phase_name=named[flow.version % len(named)])
    commands: dict[str, Command] = {
        "create": CreateFlow(flow_id=FLOW_ID, flow_type="two_steps", flow_name="F"),
        "execute": ExecutePhase(flow_id=FLOW_ID),
        "execute_with": ExecutePhase(flow_id=FLOW_ID, inputs={"answer": 1}),
        "complete": CompletePhase(**run),
        "complete_with": CompletePhase(**run, outputs={"answer": 2}),
        "fail": FailPhase(**run, error=error),
        "fail_for_good": FailPhase(**run, error=error),
        "away": FailPhase(**run, error=away),
        "invalid": FailPhase(**run, error=wrong),
        "ask": RequestInput(**run, fields=("answer",), message="please"),
        "answer": ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 3}),
        "answer_wrong": ProvideInput.model_validate({"flow_id": FLOW_ID, "color": 3}),
        "pause": PauseFlow(flow_id=FLOW_ID),
        "pause_running": PauseFlow(flow_id=FLOW_ID, timers="running"),
        "resume": ResumeFlow(flow_id=FLOW_ID),
        "skip": SkipPhase(flow_id=FLOW_ID, phase_name=flow.focus),
        "skip_for": SkipPhase(flow_id=FLOW_ID, phase_name=flow.focus, outputs={"rows": 1}),
        "retry": RetryFlow(flow_id=FLOW_ID),
        "cancel": CancelFlow(flow_id=FLOW_ID),
        "delete": DeleteFlow(flow_id=FLOW_ID),
        "iterate": StartIteration(flow_id=FLOW_ID),
        "reassign": ReassignRun(**run),
        "hand_back": HandBackRun(**run),
        "suspend": SuspendRun(
            **run, name="wait:signal:go:1", until={"kind": "signal", "name": "go"}, timeout_seconds=5
        ),
        "signal": SignalFlow(flow_id=FLOW_ID, name="go"),
        "approve": ProvideInput.model_validate({"flow_id": FLOW_ID, "approval": True}),
        "stale": CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=99),
        "timer": FireTimer(flow_id=FLOW_ID, timer=timer, token=tokens.get(timer, 1)),
        "migrate": MigrateFlow.model_validate(onward),
        "migrate_anew": MigrateFlow.model_validate({**onward, "restart_run": True}),
        "migrate_back": MigrateFlow(flow_id=FLOW_ID, back=True),
        "rollback": back,
        "rollback_quietly": back.model_copy(update={"compensate": False}),
        "checkpoint": CreateCheckpoint(flow_id=FLOW_ID),
        "cancel_and_undo": CancelFlow(flow_id=FLOW_ID, compensate=True),
        "deadline": FireTimer(flow_id=FLOW_ID, timer="deadline", token=tokens.get("deadline", 1)),
    }
    return commands[kind]


STARTS: dict[str, CreateFlow] = {
    f"{flow_type}, {'by itself' if auto else 'by the word'}": CreateFlow(
        flow_id=FLOW_ID,
        flow_type=flow_type,
        flow_name="F",
        initial_data={"import_file_id": "f"},
        options=CreateOptions(auto_execute=auto),
    )
    for flow_type in TYPES.names()
    for auto in (False, True)
} | {
    f"{flow_type}, later": CreateFlow(
        flow_id=FLOW_ID,
        flow_type=flow_type,
        flow_name="F",
        options=CreateOptions(auto_execute=True, start_after_seconds=9, input_timeout_seconds=9),
    )
    for flow_type in ("asking", "two_steps")
}
starts = st.sampled_from(list(STARTS))

# how a reader would do what the flow says it takes
VERBS: dict[str, type[Command]] = {
    "execute": ExecutePhase,
    "pause": PauseFlow,
    "resume": ResumeFlow,
    "input": ProvideInput,
    "skip": SkipPhase,
    "retry": RetryFlow,
    "cancel": CancelFlow,
    "delete": DeleteFlow,
    "iterate": StartIteration,
}


def fitting(waiting: Waiting, name: str) -> Any:
    """A value that the question takes."""
    schema = waiting.question.schema if waiting.question is not None else None
    return (schema or {}).get("properties", {}).get(name, {}).get("enum", [True])[0]


def definition_of(flow: Flow) -> FlowTypeConfig:
    return TYPES.version(flow.flow_type, flow.flow_version)


def told(start: str, asked: list[Word]) -> Iterator[tuple[str, Flow, Story]]:
    """What a flow says yes to: the kind of the command, the flow before it, and the decision."""
    flow = Flow(id=FLOW_ID)
    for word in (start, *asked):
        kind = likely(flow)[word % len(likely(flow))] if isinstance(word, int) else word
        before = msgspec.json.encode(flow)
        try:
            story = decide(flow, STARTS[kind] if kind in STARTS else command(kind, flow), meta(), TYPES)
        except MfoError:
            assert msgspec.json.encode(flow) == before
            continue
        yield kind, flow, story
        flow = story.flow


@settings(max_examples=150, deadline=None)
@drawn(starts, words)
def test_folding_the_events_gives_the_state_the_decisions_ended_with(start: str, asked: list[Word]) -> None:
    flow, history = Flow(id=FLOW_ID), list[Recorded]()
    for _, _, story in told(start, asked):
        history.extend(story.facts)
        flow = story.flow
        assert row(flow, TYPES)["version"] == flow.version
    assert fold(Flow(id=FLOW_ID), history) == flow
    assert [recorded.version for recorded in history] == list(range(1, flow.version + 1))


@settings(max_examples=100, deadline=None)
@drawn(starts, words)
def test_an_ended_flow_only_takes_its_deletion_another_round_and_what_undoes_it(start: str, asked: list[Word]) -> None:
    for kind, before, story in told(start, asked):
        if before.undoing is not None:
            continue
        if before.status is Status.COMPLETED and kind in {"rollback", "rollback_quietly"}:
            continue
        cleaning = any(part is not None for part in (before.run, before.retry, before.cleanup))
        again = before.status is Status.COMPLETED and kind == "iterate"
        if before.status in {Status.COMPLETED, Status.CANCELLED} and story.facts and not again and kind != "delete":
            assert (before.status, story.flow.status) == (Status.CANCELLED, Status.CANCELLED)
            assert cleaning
        if before.status is Status.COMPLETED and again and story.facts:
            assert type(story.facts[0].fact) is IterationStarted
        if before.status in {Status.COMPLETED, Status.CANCELLED} and kind == "delete":
            assert [type(recorded.fact) for recorded in story.facts] == [FlowDeleted]
        if before.status is Status.DELETED:
            assert not story.facts
        if before.status is Status.FAILED and story.facts:
            of_hooks = {
                "complete",
                "complete_with",
                "fail",
                "fail_for_good",
                "invalid",
                "away",
                "ask",
                "hand_back",
                "reassign",
                "timer",
                "signal",
                "suspend",
            }
            if kind in of_hooks or kind in {"migrate", "migrate_anew", "migrate_back"}:
                assert story.flow.status is Status.FAILED
            else:
                anew = {"execute", "execute_with", "retry", "skip", "skip_for", "iterate"}
                assert kind in {*anew, "cancel", "delete", *BACK}


@settings(max_examples=100, deadline=None)
@drawn(starts, words)
def test_progress_falls_only_by_a_rollback_or_in_another_round_and_is_100_only_when_completed(
    start: str, asked: list[Word]
) -> None:
    completed = False
    for kind, before, story in told(start, asked):
        if kind.startswith("rollback"):
            assert progress(story.flow) < 100.0
            completed = False
            continue
        completed = (completed and kind != "iterate") or story.flow.status is Status.COMPLETED
        again = kind == "iterate" or (story.flow.recovery is not None and story.flow.recovery != before.recovery)
        assert again or progress(before) <= progress(story.flow)
        assert progress(story.flow) <= 100.0
        assert (progress(story.flow) == 100.0) is completed


@settings(max_examples=100, deadline=None)
@drawn(starts, words)
def test_the_parts_of_a_flow_agree_with_each_other(start: str, asked: list[Word]) -> None:
    for _, _, story in told(start, asked):
        flow = story.flow
        assert (flow.status is Status.PAUSED) is (flow.paused is not None)
        assert sum(part is not None for part in (flow.run, flow.waiting, flow.retry, flow.suspended)) <= 1
        if flow.status is Status.PROCESSING:
            assert any(view.run or view.retry or view.suspended for view in flow.each)
        assert not flow.beside or flow.status in {Status.PROCESSING, Status.WAITING_FOR_INPUT, Status.PAUSED}
        if flow.status is Status.FAILED:
            # only the hooks that look at the failure run after it
            assert {part.hook for part in (flow.run, flow.retry) if part is not None} <= {"error"}
            assert flow.stopping is None
            assert flow.waiting is None
            assert flow.suspended is None
        if flow.undoing is not None:
            assert flow.waiting is None
            assert flow.status in {Status.PROCESSING, Status.PAUSED, Status.FAILED, Status.CANCELLED}
            at_work = flow.run or flow.retry or flow.stopping or flow.cleanup
            assert flow.status in {Status.PAUSED, Status.FAILED} or at_work
            hooks = {part.hook for part in (flow.run, flow.retry) if part is not None}
            also = {Status.FAILED: "error", Status.CANCELLED: "cancel"}.get(flow.status, "compensate")
            assert hooks <= {"compensate", also}
        elif flow.status in OVER:
            # only what cleans up after a cancellation comes later
            left = {part.hook for part in (flow.run, flow.retry) if part is not None}
            assert left <= ({"cancel"} if flow.status is Status.CANCELLED else set())
            assert flow.waiting is None
            assert flow.suspended is None
            assert {name.partition(":")[0] for name in flow.alarms} <= (
                {"cleanup", "retry"} if flow.status is Status.CANCELLED else set()
            )
        if flow.paused is not None:
            assert flow.timers == ({} if flow.paused.timers == "frozen" else flow.alarms)
            assert flow.draining is (flow.paused.drained_at is None)
        if flow.run is not None and flow.run.hook == "compensate":
            assert flow.undoing is not None
            assert flow.run.phase_name == flow.undoing.phase_name
        elif flow.run is not None:
            assert 1 <= flow.run.attempt <= flow.run.max_attempts
            at = {None: PhaseStatus.RUNNING, "end": PhaseStatus.COMPLETED, "error": PhaseStatus.FAILED}
            status = flow.phase(flow.run.phase_name).status
            # what follows a last phase that was passed over, or an end that failed
            undone = flow.run.hook == "error" and flow.undoing is not None
            passed = flow.run.hook is not None and status in DONE
            assert flow.run.hook == "cancel" or status is at[flow.run.hook] or passed or undone
        runs = [phase.name for phase in flow.phases if phase.status in DONE]
        if flow.follows:
            assert all(set(flow.follows[name]) <= set(runs) for name in runs)
            assert set(flow.lanes) <= {phase.name for phase in flow.ready} or flow.run is None or flow.run.hook
            assert flow.on(None).lanes == flow.lanes
            continue
        assert runs == [phase.name for phase in flow.phases[: len(runs)]]


@settings(max_examples=100, deadline=None)
@drawn(starts, words)
def test_a_flow_takes_what_it_says_it_takes_and_nothing_else(start: str, asked: list[Word]) -> None:
    for _, _, story in told(start, asked):
        takes = allowed(story.flow, TYPES)
        for verb, kind in VERBS.items():
            waiting = story.flow.seeing("waiting").waiting
            values = {name: fitting(waiting, name) for name in waiting.fields} if verb == "input" and waiting else {}
            skippable = [one.name for one in story.flow.ready if definition_of(story.flow).phase(one.name).can_skip]
            if story.flow.follows and verb == "skip" and skippable:
                values = {"phase_name": skippable[0]}
            answer = Given(story.flow).when(kind.model_validate({"flow_id": FLOW_ID, **values}), asked=meta("boris"))
            if answer.error is None:
                # silence is for what has been done already
                assert (verb in takes) is bool(answer.facts)
            elif not isinstance(answer.error, InputsMissing | PhaseNotNamed):
                assert verb not in takes
                assert list(answer.error.allowed) == takes


@settings(max_examples=100, deadline=None)
@drawn(starts, words)
def test_a_rollback_restores_what_its_checkpoint_held(start: str, asked: list[Word]) -> None:
    for kind, before, story in told(start, asked):
        if not kind.startswith("rollback"):
            continue
        place = 0 if isinstance(story.facts[0].fact, FlowRolledBack) else 1
        fact = story.facts[place].fact
        assert isinstance(fact, FlowRolledBack)
        assert "rollback" in allowed(before, TYPES) or kind == "rollback_quietly"
        # what follows may pass over a branch at once
        after, point = (
            fold(before, story.facts[: place + 1]),
            {one.checkpoint_id: one for one in before.checkpoints}.get(fact.checkpoint_id),
        )
        assert {phase.name for phase in after.phases if phase.status in DONE} == (point.done if point else set())
        assert point is None or state_sha256(after) == point.state_sha256
        assert all(one.version <= fact.to_version for one in after.checkpoints)
        assert after.phase(fact.phase_name).outputs == {}
        shown = preview(before, command(kind, before), meta(), TYPES)  # type: ignore[arg-type]
        assert [one["phase_name"] for one in shown["undone"]] == list(fact.undone)
        for place, name in enumerate(fact.undone):
            assert not set(fact.undone[place + 1 :]) & (before.from_on(name) - {name})


@settings(max_examples=60, deadline=None)
@drawn(starts, words)
def test_what_is_written_down_is_read_back(start: str, asked: list[Word]) -> None:
    link = FIRST_HASH
    for _, _, story in told(start, asked):
        for recorded in story.facts:
            stored = encode(recorded, encode_meta(recorded.meta), link)
            assert decode(FLOW_ID, stored.version, stored.topic, stored.state) == recorded
            link = stored.hash


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # what PostgreSQL cannot hold is refused at the door
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@drawn(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_whatever_json_a_fact_holds_is_read_back(data: dict[str, Any]) -> None:
    for fact in (replace(CREATED, initial_data=data), replace(COMPLETED, outputs=data), replace(ANSWERED, values=data)):
        recorded = Recorded(FLOW_ID, 1, meta(), fact)
        stored = encode(recorded, encode_meta(recorded.meta), FIRST_HASH)
        assert decode(FLOW_ID, 1, stored.topic, stored.state) == recorded
