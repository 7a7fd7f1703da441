"""What holds after any sequence of commands."""

from __future__ import annotations

from typing import Any

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from domain.commands import (
    CancelFlow,
    Command,
    CompletePhase,
    CreateFlow,
    CreateOptions,
    DeleteFlow,
    ExecutePhase,
    FailPhase,
    FireTimer,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RequestInput,
    ResumeFlow,
)
from domain.decide import decide
from domain.errors import MfoError
from domain.flow import Flow, Recorded, fold, progress
from domain.view import row
from domain.words import Status
from eventstore.codec import FIRST_HASH, decode, encode, encode_meta
from tests.examples import FLOW_ID, RUN_ID
from tests.spec import TYPES, meta

KINDS = (
    *("create", "create_auto", "execute", "execute_with", "complete", "complete_with", "fail", "fail_for_good"),
    *("invalid", "ask", "answer", "answer_wrong", "pause", "resume", "cancel", "delete", "reassign", "stale", "timer"),
)
# the endings are drawn seldom, so that histories grow
kinds = st.sampled_from([kind for kind in KINDS for _ in range(1 if kind in {"cancel", "delete"} else 4)])


def command(kind: str, flow: Flow) -> Command:
    """A command of this kind, fitting the flow as far as it can."""
    run_id, token = (flow.run.run_id, flow.run.token) if flow.run else (RUN_ID, 1)
    run: dict[str, Any] = {"flow_id": FLOW_ID, "run_id": run_id, "token": token}
    timer = flow.retry.timer_token if flow.retry else 1
    error: dict[str, Any] = {"class": "network", "code": "io_failed", "message": "cut", "retryable": kind == "fail"}
    wrong = {**error, "class": "validation", "fields": [{"field": "answer", "message": "is wrong"}]}
    commands: dict[str, Command] = {
        "create": CreateFlow(flow_id=FLOW_ID, flow_type="two_steps", flow_name="F"),
        "create_auto": CreateFlow(
            flow_id=FLOW_ID, flow_type="two_steps", flow_name="F", options=CreateOptions(auto_execute=True)
        ),
        "execute": ExecutePhase(flow_id=FLOW_ID),
        "execute_with": ExecutePhase(flow_id=FLOW_ID, inputs={"answer": 1}),
        "complete": CompletePhase(**run),
        "complete_with": CompletePhase(**run, outputs={"answer": 2}),
        "fail": FailPhase(**run, error=error),
        "fail_for_good": FailPhase(**run, error=error),
        "invalid": FailPhase(**run, error=wrong),
        "ask": RequestInput(**run, fields=("answer",), message="please"),
        "answer": ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 3}),
        "answer_wrong": ProvideInput.model_validate({"flow_id": FLOW_ID, "color": 3}),
        "pause": PauseFlow(flow_id=FLOW_ID),
        "resume": ResumeFlow(flow_id=FLOW_ID),
        "cancel": CancelFlow(flow_id=FLOW_ID),
        "delete": DeleteFlow(flow_id=FLOW_ID),
        "reassign": ReassignRun(**run),
        "stale": CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=99),
        "timer": FireTimer(flow_id=FLOW_ID, timer="retry", token=timer),
    }
    return commands[kind]


@settings(max_examples=300, deadline=None)
@drawn(st.lists(kinds, max_size=40))
def test_folding_the_events_gives_the_state_the_decisions_ended_with(asked: list[str]) -> None:
    flow, history = Flow(id=FLOW_ID), list[Recorded]()
    for kind in ("create", *asked):
        before = flow
        try:
            story = decide(flow, command(kind, flow), meta(), TYPES)
        except MfoError:
            continue
        assert [recorded.version for recorded in story.facts] == list(
            range(before.version + 1, before.version + 1 + len(story.facts))
        )
        if before.status in {Status.COMPLETED, Status.CANCELLED}:
            assert kind in {"delete", "cancel", "timer"}
            assert story.flow.status in {before.status, Status.DELETED}
        if before.status is Status.DELETED:
            assert not story.facts
        if story.flow.status is Status.COMPLETED:
            assert progress(story.flow) == 100.0
        else:
            assert progress(before) <= progress(story.flow) < 100.0 or before.status is Status.COMPLETED
        assert story.flow.status is not Status.PAUSED or story.flow.paused is not None
        history.extend(story.facts)
        flow = story.flow
        assert row(flow, TYPES)["version"] == flow.version
    assert fold(Flow(id=FLOW_ID), history) == flow


@settings(max_examples=60, deadline=None)
@drawn(st.lists(kinds, max_size=30))
def test_what_is_written_down_is_read_back(asked: list[str]) -> None:
    flow, link = Flow(id=FLOW_ID), FIRST_HASH
    for kind in ("create_auto", *asked):
        try:
            story = decide(flow, command(kind, flow), meta(), TYPES)
        except MfoError:
            continue
        for recorded in story.facts:
            stored = encode(recorded, encode_meta(recorded.meta), link)
            assert decode(FLOW_ID, stored.version, stored.topic, stored.state) == recorded
            link = stored.hash
        flow = story.flow
