"""One good example of every command and every event."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from msgspec import to_builtins
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
    FollowParent,
    HandBackRun,
    ImportFlow,
    MigrateFlow,
    PauseFlow,
    ProvideInput,
    ReassignRun,
    RecordSteps,
    RepairFlow,
    ReportChild,
    ReportDependency,
    ReportLoss,
    RequestInput,
    ResumeFlow,
    RetryFlow,
    RollbackFlow,
    SignalFlow,
    SkipPhase,
    StartIteration,
    SuspendRun,
)
from domain.events import (
    CheckpointCreated,
    ChildEnded,
    ChildStarted,
    Compensation,
    DependencyEnded,
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowDrained,
    FlowEvent,
    FlowFailed,
    FlowImported,
    FlowMigrated,
    FlowPaused,
    FlowRepaired,
    FlowResumed,
    FlowRetried,
    FlowRolledBack,
    HookCompleted,
    HookFailed,
    HookStarted,
    ImportedPhase,
    InputAnswered,
    InputProvided,
    InputReminded,
    InputRequested,
    IterationStarted,
    Origin,
    PhaseCompleted,
    PhaseFailed,
    PhasePostponed,
    PhaseRetryScheduled,
    PhaseSkipped,
    PhaseStarted,
    PhaseSuspended,
    PlannedPhase,
    RecoveryStarted,
    RunHandedBack,
    RunReassigned,
    SignalReceived,
    StepsCompleted,
)
from domain.flow_types import FlowCapabilities, FlowTypeConfig, Hooks, PhaseConfig, RetryConfig
from domain.questions import Assignees, Question
from domain.recovery import Recovery

FLOW_ID = UUID("8a6e0804-2bd0-4672-b79d-d97027f9071a")
RUN_ID = UUID("11111111-1111-4111-8111-111111111111")
OTHER_FLOW_ID = UUID("66666666-6666-4666-8666-666666666666")
CHECKPOINT_ID = UUID("22222222-2222-4222-8222-222222222222")
PARENT_ID = UUID("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
CHILD_ID = UUID("77777777-7777-4777-8777-777777777777")
OTHER_ID = UUID("88888888-8888-4888-8888-888888888888")
CLIENT = UUID("33333333-3333-4333-8333-333333333333")
ENGAGEMENT = UUID("44444444-4444-4444-8444-444444444444")
OTHER_CLIENT = UUID("55555555-5555-4555-8555-555555555555")


def _phase(name: str, **given: object) -> PhaseConfig:
    return PhaseConfig(name=name, display_name=name.title(), description=name, handlers=("work",), **given)  # type: ignore[arg-type]


TWO_STEPS = FlowTypeConfig(
    name="two_steps",
    display_name="Two steps",
    description="A first phase and a second one that needs the first one's answer",
    phases=(
        _phase("first", weight=1.0),
        _phase("second", weight=3.0, required_inputs=("answer",), optional_inputs=("hint",)),
    ),
    retry_config=RetryConfig(jitter=False),
    phase_aliases={"one": "first"},
)
PATIENT = FlowTypeConfig(
    name="patient",
    display_name="Patient",
    description="Its phase may not be paused and has limits of its own",
    phases=(_phase("only", can_pause=False, timeout_seconds=9.0, retry_config=RetryConfig(max_attempts=5)),),
    timeout_seconds=60.0,
)
FORGIVING = FlowTypeConfig(
    name="forgiving",
    display_name="Forgiving",
    description="Sets no limits of its own; its first phase may fail without harm, its second waits for somebody",
    phases=(
        _phase("hopeful", can_skip=True, on_failure={"permanent": "continue", "business_logic": "continue"}),
        _phase("careful", on_failure={"permission": "pause"}),
    ),
)
STEADY = FlowTypeConfig(
    name="steady",
    display_name="Steady",
    description="Flows of this type cannot be paused, and have limits of their own",
    phases=(_phase("only"),),
    retry_config=RetryConfig(max_attempts=2),
    timeout_seconds=45.0,
    capabilities=FlowCapabilities(supports_pause_resume=False),
)
ASKING = FlowTypeConfig(
    name="asking",
    display_name="Asking",
    description="Its phases wait an hour for an answer, then each goes on in its own way; a flow takes a day at most",
    phases=(
        _phase("optional", can_skip=True, on_input_timeout="skip"),
        _phase("assumed", input_timeout_seconds=60.0, on_input_timeout="defaults", input_defaults={"answer": 42}),
        _phase("needed"),
    ),
    input_timeout_seconds=3600.0,
    flow_timeout_seconds=86_400.0,
)
WHIM = FlowTypeConfig(
    name="whim",
    display_name="Whim",
    description="Its only phase may be left out",
    phases=(_phase("only", can_skip=True, input_timeout_seconds=5.0, on_input_timeout="skip"),),
)
HOOKED = FlowTypeConfig(
    name="hooked",
    display_name="Hooked",
    description="Two phases with work around them, at the flow's start, end and failure; the second may be passed over",
    phases=(
        _phase("opening", before=("greet",)),
        _phase("closing", can_skip=True, on_failure={"permanent": "continue", "target_open": "fail"}),
    ),
    retry_config=RetryConfig(max_attempts=2, jitter=False),
    hooks=Hooks(start=("look",), before_phase=("note",), after_phase=("tell",), end=("sum_up",), error=("advise",)),
)
PAINTED = FlowTypeConfig(
    name="painted",
    display_name="Painted",
    description="One phase that needs a colour, one of two, and may know how deep",
    phases=(
        _phase(
            "paint",
            required_inputs=("colour",),
            optional_inputs=("depth",),
            question=Question(
                schema={
                    "type": "object",
                    "properties": {"colour": {"enum": ["red", "green"]}},
                    "required": ["colour"],
                },
            ),
        ),
    ),
)
SIGNED = FlowTypeConfig(
    name="signed",
    display_name="Signed",
    description="A first phase, and a second one that two people must allow",
    phases=(
        _phase("first"),
        _phase(
            "second",
            required_inputs=("approval",),
            question=Question(
                message="May we go on?",
                schema={"type": "object", "properties": {"approval": {"const": True}}, "required": ["approval"]},
                assignees=Assignees(users=("maria", "boris", "chen"), need=2),
                expires_after_seconds=600.0,
                remind_after_seconds=60.0,
                remind_every_seconds=120.0,
            ),
        ),
    ),
    retry_config=RetryConfig(jitter=False),
)
_ONCE = RetryConfig(max_attempts=1, jitter=False)
STUBBORN = FlowTypeConfig(
    name="stubborn",
    display_name="Stubborn",
    description="Says what is done before it fails, one thing after the other; each phase has one attempt",
    phases=(
        _phase(
            "gather",
            recovery=(
                Recovery(action="manual_intervention_required", when=("not_retryable",)),
                Recovery(action="retry_with_backoff", when=("network",), delay_seconds=30.0, at_most=2),
                Recovery(action="retry_with_data_cleanup", when=("code:io_failed",), with_inputs={"strict": False}),
            ),
        ),
        _phase("sift"),
        _phase(
            "judge",
            recovery=(
                Recovery(action="restart_from_last_checkpoint", when=("database",)),
                Recovery(action="restart_from_phase", from_phase="sift", when=("timeout",), delay_seconds=9.0),
                Recovery(action="restart_from_phase", when=("unknown",)),
                Recovery(action="fallback", with_inputs={"approach": "conservative"}, when=("crew",)),
            ),
        ),
    ),
    retry_config=_ONCE,
    recovery=(Recovery(action="restart_from_phase", from_phase="gather"),),
    capabilities=FlowCapabilities(supports_iterations=True, max_iterations=2),
)
ONE_ROUND = FlowTypeConfig(
    name="one_round",
    display_name="One round",
    description="Has one round only",
    phases=(_phase("only"),),
    capabilities=FlowCapabilities(supports_iterations=False),
)
BACK = FlowTypeConfig(
    name="back",
    display_name="Back",
    description="Can be rolled back: what its first and third phase did is compensated; past the last it cannot be",
    phases=(
        _phase("book", compensations=("unbook",)),
        _phase("note", can_skip=True),
        _phase("pay", optional_inputs=("card",), compensations=("refund", "apologise")),
        _phase("ship", irreversible=True),
    ),
    retry_config=RetryConfig(max_attempts=2, jitter=False),
    capabilities=FlowCapabilities(supports_rollback=True),
)
TIDY = FlowTypeConfig(
    name="tidy",
    display_name="Tidy",
    description="Its first phase may be left out for outputs that fit; it cleans up after a cancellation",
    phases=(
        _phase(
            "gather",
            can_skip=True,
            compensations=("put_back",),
            yields_to_pause=True,
            output_schema={
                "type": "object",
                "properties": {"rows": {"type": "integer", "minimum": 0}, "from": {"enum": ["file", "hand"]}},
                "required": ["rows"],
                "additionalProperties": False,
            },
        ),
        _phase("count", can_skip=True),
        _phase("keep"),
    ),
    retry_config=RetryConfig(max_attempts=2),
    hooks=Hooks(cancel=("put_away",), error=("advise",)),
)

BRANCHING = FlowTypeConfig(
    name="branching",
    display_name="Branching",
    description="Looks, goes one way or the other, or both, and sums up; the long way has two phases",
    phases=(
        _phase("look"),
        _phase("long", follows=("look",), when=({"phase": "look", "output": "found.rows", "op": "gt", "value": 5},)),
        _phase("longer", follows=("long",)),
        _phase("short", follows=("look",), when=({"phase": "look", "output": "found.rows", "op": "lt", "value": 9},)),
        _phase("sum_up", follows=("longer", "short")),
    ),
    capabilities=FlowCapabilities(supports_branching=True),
)
FORKED = FlowTypeConfig(
    name="forked",
    display_name="Forked",
    description="Prepares, does two or three things at the same time, one of them in two steps, and joins them",
    phases=(
        _phase("prepare"),
        _phase("left", follows=("prepare",), can_skip=True, on_failure={"permanent": "continue"}),
        _phase("left_too", follows=("left",), can_skip=True),
        _phase(
            "right",
            follows=("prepare",),
            compensations=("undo_right",),
            on_failure={"permission": "pause"},
            recovery=(
                Recovery(action="restart_from_phase", from_phase="prepare", when=("crew",), delay_seconds=9.0),
                Recovery(action="restart_from_phase", from_phase="left", when=("crew",)),
                Recovery(action="retry_with_backoff", when=("rate_limited",), delay_seconds=5.0),
            ),
        ),
        _phase(
            "far",
            follows=("prepare",),
            when=({"phase": "prepare", "output": "rows", "op": "gt", "value": 5},),
            can_pause=False,
        ),
        _phase(
            "join",
            follows=("left_too", "right", "far"),
            recovery=(Recovery(action="restart_from_last_checkpoint", when=("database",)),),
        ),
    ),
    retry_config=RetryConfig(max_attempts=2, jitter=False),
    flow_timeout_seconds=86_400.0,
    capabilities=FlowCapabilities(supports_branching=True, supports_rollback=True, parallel_phases=True),
    hooks=Hooks(start=("look",), end=("sum_up",), error=("advise",), cancel=("put_away",)),
)
FORKED_LATER = (
    replace(
        FORKED,
        version="2.0.0",
        phases=(
            FORKED.phases[0],
            replace(FORKED.phases[1], name="west"),
            _phase("near", follows=("prepare",)),
            replace(FORKED.phases[2], follows=("west",)),
            *FORKED.phases[3:],
        ),
        phase_aliases={"left": "west"},
    ),
    replace(
        FORKED,
        version="3.0.0",
        phases=tuple(replace(phase, follows=None, when=()) for phase in FORKED.phases),
        capabilities=FlowCapabilities(supports_rollback=True),
    ),
)
TWINS = FlowTypeConfig(
    name="twins",
    display_name="Twins",
    description="Two phases that begin at the same time, each with a question of its own, and a third one",
    phases=(
        _phase("colour", follows=(), required_inputs=("colour",), optional_inputs=("note",)),
        _phase(
            "depth",
            follows=(),
            required_inputs=("depth",),
            optional_inputs=("note",),
            input_timeout_seconds=60.0,
            on_input_timeout="defaults",
            input_defaults={"depth": 3},
        ),
        _phase("paint", follows=("colour", "depth")),
    ),
    capabilities=FlowCapabilities(parallel_phases=True),
)
FLOW_TYPES = (
    *(FORKED, TWINS, SIGNED, TWO_STEPS, FORGIVING, PATIENT, STEADY, ASKING, WHIM, HOOKED, STUBBORN, ONE_ROUND),
    *(BACK, TIDY, BRANCHING, PAINTED),
)

CREATE = CreateFlow(flow_id=FLOW_ID, flow_type="two_steps", flow_name="Two")
CREATE_AUTO = CREATE.model_copy(update={"options": CreateOptions(auto_execute=True)})
EXECUTE = ExecutePhase(flow_id=FLOW_ID)
EXECUTE_SECOND = ExecutePhase(flow_id=FLOW_ID, phase_name="second", inputs={"answer": 42})
PAUSE = PauseFlow(flow_id=FLOW_ID, reason="lunch")
RESUME = ResumeFlow(flow_id=FLOW_ID)
CANCEL = CancelFlow(flow_id=FLOW_ID, reason="no longer wanted")
DELETE = DeleteFlow(flow_id=FLOW_ID, reason="made by mistake")
ANSWER = ProvideInput.model_validate({"flow_id": FLOW_ID, "answer": 42})

ITERATE = StartIteration(flow_id=FLOW_ID, reason="new figures")

IMPORTED = FlowImported(
    flow_type="two_steps",
    flow_version="1.0.0",
    flow_name="Of old",
    phases=(
        ImportedPhase(
            name="first",
            weight=1.0,
            status="completed",
            completed_at=datetime(2025, 7, 1, 9, 30, tzinfo=UTC),
            execution_time_ms=1500,
            outputs={"rows": 3},
        ),
        ImportedPhase(name="second", weight=3.0),
    ),
    status="waiting_for_input",
    origin=Origin(import_id="import-1", table="crewai_flow_state_extensions", sha256="ab" * 32),
    created_at=datetime(2025, 7, 1, 9, 0, tzinfo=UTC),
    updated_at=datetime(2025, 7, 1, 9, 30, tzinfo=UTC),
    created_by="ann",
    updated_by="boris",
    flow_description="From before",
    flow_tags=("old",),
    initial_data={"environment": "production"},
    options={"max_retries": 1},
    children=((CHILD_ID, "completed"),),
    retry_count=2,
    errors=({"code": "io_failed", "message": "the wire was cut"},),
    transitions=({"phase": "first", "status": "completed", "timestamp": "2025-07-01T09:30:00+00:00"},),
    former={"flow_status": "active", "learning_patterns": [{"type": "field_mapping"}]},
    checkpoint_id=CHECKPOINT_ID,
    state_sha256="ab" * 32,
)

COMMANDS: tuple[Command, ...] = (
    CREATE,
    EXECUTE,
    PAUSE,
    RESUME,
    CANCEL,
    DELETE,
    ANSWER,
    SignalFlow(flow_id=FLOW_ID, name="approved", payload={"by": "crm"}, signal_id="order-7"),
    SkipPhase(flow_id=FLOW_ID),
    MigrateFlow(flow_id=FLOW_ID, to_version="2.0.0", phase_mapping={"first": "opening"}),
    ITERATE,
    RollbackFlow(flow_id=FLOW_ID, phase_name="second"),
    CreateCheckpoint(flow_id=FLOW_ID, reason="before the change"),
    RetryFlow(flow_id=FLOW_ID),
    CompletePhase(flow_id=FLOW_ID, run_id=RUN_ID, token=1, outputs={"rows": 3}),
    RecordSteps(flow_id=FLOW_ID, run_id=RUN_ID, token=1, results={"fetch": {"rows": 3}}),
    FailPhase(flow_id=FLOW_ID, run_id=RUN_ID, token=1, error={"class": "timeout", "retryable": True}),
    ReportLoss(flow_id=FLOW_ID, run_id=RUN_ID, token=1, artifact="ab" * 32, mendable=True),
    RequestInput(flow_id=FLOW_ID, run_id=RUN_ID, token=1, fields=("answer",), message="please"),
    HandBackRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1, execution_time_ms=4),
    SuspendRun(
        flow_id=FLOW_ID,
        run_id=RUN_ID,
        token=1,
        name="wait:signal:approved:1",
        until={"kind": "signal", "name": "approved"},
        timeout_seconds=60.0,
        execution_time_ms=4,
    ),
    ReassignRun(flow_id=FLOW_ID, run_id=RUN_ID, token=1, reason="worker_lost"),
    FireTimer(flow_id=FLOW_ID, timer="retry", token=4),
    ReportChild(flow_id=FLOW_ID, child_flow_id=CHILD_ID, status="completed", outputs={"rows": 3}),
    ReportDependency(flow_id=FLOW_ID, dependency_flow_id=OTHER_ID, status="completed"),
    FollowParent(flow_id=FLOW_ID, verb="pause", by_flow_id=PARENT_ID, reason="lunch"),
    ImportFlow(flow_id=FLOW_ID, told=to_builtins(IMPORTED)),
    RepairFlow(flow_id=FLOW_ID, kind="rewrite_row", method="replay", confidence=1.0),
)

CREATED = FlowCreated(
    flow_type="two_steps",
    flow_version="1.0.0",
    flow_name="Two",
    phases=(PlannedPhase("first", 1.0), PlannedPhase("second", 3.0)),
    flow_description="An example",
    flow_tags=("example",),
    initial_data={"environment": "production"},
    options={"max_retries": 1},
    auto_execute=True,
)
REPAIRED = FlowRepaired(
    kind="link_assets", method="context", confidence=0.7, items=3, reason="found by the night's check"
)
QUIET = replace(CREATED, auto_execute=False)
STARTED = PhaseStarted(
    phase_name="first",
    run_id=RUN_ID,
    token=1,
    attempt=1,
    max_attempts=2,
    timeout_seconds=300.0,
    inputs={"hint": "left"},
    options={"save_checkpoints": True, "validate_inputs": True, "validate_outputs": True},
)
REASSIGNED = RunReassigned(phase_name="first", run_id=RUN_ID, token=2, reason="worker_lost")
HANDED_BACK = RunHandedBack(phase_name="first", run_id=RUN_ID, execution_time_ms=4)
SUSPENDED = PhaseSuspended(
    phase_name="first",
    run_id=RUN_ID,
    attempt=1,
    name="wait:signal:approved:1",
    until={"kind": "signal", "name": "approved"},
    timeout_seconds=60.0,
    execution_time_ms=4,
)
STEPS = StepsCompleted(phase_name="first", run_id=RUN_ID, results={"fetch": {"rows": 3}})
COMPLETED = PhaseCompleted(
    phase_name="first",
    run_id=RUN_ID,
    outputs={"rows": 3},
    execution_time_ms=12,
    validation_results={"file_exists": "passed"},
    resource_usage={"cpu_seconds": 0.1, "peak_memory_mb": 80.0},
    agent_insights=({"agent": "mapper", "insight": "three rows"},),
    handler_versions={"work": "2", "file_exists": "4acc30b8fd93"},
    reused_from={"flow_id": str(OTHER_FLOW_ID), "run_id": str(RUN_ID), "version": 3},
)
CHECKPOINT = CheckpointCreated(checkpoint_id=CHECKPOINT_ID, phase_name="first", state_sha256="ab" * 32, reason="before")
FAILED_ATTEMPT = PhaseFailed(
    phase_name="first",
    run_id=RUN_ID,
    attempt=1,
    error={"class": "network", "code": "io_failed", "message": "the wire is cut", "retryable": True},
    execution_time_ms=3,
    resolution={
        "action": "retry",
        "severity": "medium",
        "message": "Another system could not be reached; it is asked again.",
        "needs_person": False,
        "notify": False,
    },
    handler_versions={"work": "2"},
)
RETRY = PhaseRetryScheduled(
    phase_name="first", attempt=2, timer="retry", timer_token=4, delay_seconds=1.0, max_attempts=3
)
POSTPONED = PhasePostponed(
    phase_name="first",
    run_id=RUN_ID,
    attempt=1,
    timer="retry",
    timer_token=4,
    delay_seconds=12.5,
    reason={"code": "target_open", "message": "vcenter is left alone", "target": "vcenter.example.com"},
    execution_time_ms=2,
)
HOOK_STARTED = HookStarted(
    moment="end",
    phase_name="first",
    run_id=RUN_ID,
    token=1,
    attempt=1,
    max_attempts=2,
    timeout_seconds=300.0,
    inputs={"hint": "right"},
    options={"save_checkpoints": True, "validate_inputs": True, "validate_outputs": True},
)
HOOK_COMPLETED = HookCompleted(
    moment="end",
    phase_name="first",
    run_id=RUN_ID,
    outputs={"summary": {"rows": 3}},
    execution_time_ms=4,
    resource_usage={"cpu_seconds": 0.1, "peak_memory_mb": 80.0},
    handler_versions={"sum_up": "1"},
)
HOOK_FAILED = HookFailed(
    moment="error",
    phase_name="first",
    run_id=RUN_ID,
    attempt=2,
    error={"class": "network", "code": "io_failed", "message": "the wire is cut", "retryable": True},
    execution_time_ms=3,
    resolution=FAILED_ATTEMPT.resolution | {"action": "fail"},
    final=True,
    handler_versions={"advise": "1"},
)
SKIPPED = PhaseSkipped(phase_name="first", reason="there is nothing to fetch", outputs={"rows": 0})
RETRIED = FlowRetried(phase_name="first", reason="the wire is mended")
ASKED = InputRequested(
    phase_name="first",
    fields=("answer",),
    message="please",
    suggestions={"best": 42},
    run_id=RUN_ID,
    execution_time_ms=2,
    expires_after_seconds=3600.0,
    question=Question(
        schema={"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]},
        assignees=Assignees(users=("maria", "boris"), need=2),
        expires_after_seconds=3600.0,
        on_expiry="defaults",
        defaults={"answer": 0},
        remind_after_seconds=600.0,
        remind_every_seconds=1200.0,
    ),
    step="ask:1",
)
ANSWERED_FIRST = InputAnswered(phase_name="first", values={"answer": 42}, reason="known")
REMINDED = InputReminded(phase_name="first", number=1)
SIGNALLED = SignalReceived(name="approved", payload={"by": "crm"}, signal_id="order-7")
ANSWERED = InputProvided(phase_name="first", values={"answer": 42}, reason="known")
PAUSED = FlowPaused(reason="lunch", draining=True, timers="running")
DRAINED = FlowDrained()
RESUMED = FlowResumed(reason="back")
MIGRATED = FlowMigrated(
    from_version="1.0.0",
    to_version="1.0.0",
    phases=(PlannedPhase("first", 1.0), PlannedPhase("second", 3.0)),
    mapping={"first": "first", "second": "second"},
    restored=("first",),
    back=True,
    reason="a phase is missing",
)
FINISHED = FlowCompleted()
FAILED = FlowFailed(
    phase_name="first",
    error=FAILED_ATTEMPT.error,
    attempts=2,
    chain=(
        {
            "attempt": 2,
            "started_at": "2026-11-20T11:59:59+00:00",
            "failed_at": "2026-11-20T12:00:00+00:00",
            "class": "network",
            "code": "io_failed",
            "message": "the wire is cut",
        },
    ),
)
ITERATED = IterationStarted(
    number=2, from_phase="second", inputs={"hint": "again"}, reason="new figures", asked_anew=("go_live",)
)
RECOVERING = RecoveryStarted(
    phase_name="second",
    action="restart_from_phase",
    reason={"class": "network", "code": "io_failed", "message": "the wire is cut"},
    rule=0,
    number=1,
    at_most=2,
    from_phase="first",
    delay_seconds=5.0,
    timer="retry",
    timer_token=4,
    max_attempts=3,
    timeout_seconds=60.0,
    options={"save_checkpoints": True},
)
ROLLED_BACK = FlowRolledBack(
    phase_name="second",
    to_version=5,
    checkpoint_id=CHECKPOINT_ID,
    undone=("second",),
    compensations=(Compensation("second", ("take_back",)),),
    reason="the answer was wrong",
)
CANCELLED = FlowCancelled(
    reason="no longer wanted", compensations=(Compensation("first", ("take_back",)),), cleanup_after_seconds=6.0
)
DELETED = FlowDeleted(reason="made by mistake")
CHILD_STARTED = ChildStarted(child_flow_id=CHILD_ID)
CHILD_ENDED = ChildEnded(child_flow_id=CHILD_ID, status="completed", outputs={"rows": 3})
DEPENDENCY_ENDED = DependencyEnded(dependency_flow_id=OTHER_ID, status="completed")

EVENTS: tuple[FlowEvent, ...] = (
    CREATED,
    IMPORTED,
    REPAIRED,
    STARTED,
    REASSIGNED,
    HANDED_BACK,
    SUSPENDED,
    STEPS,
    COMPLETED,
    CHECKPOINT,
    FAILED_ATTEMPT,
    RETRY,
    POSTPONED,
    SKIPPED,
    RETRIED,
    HOOK_STARTED,
    HOOK_COMPLETED,
    HOOK_FAILED,
    ASKED,
    ANSWERED_FIRST,
    REMINDED,
    ANSWERED,
    SIGNALLED,
    PAUSED,
    DRAINED,
    RESUMED,
    MIGRATED,
    FINISHED,
    FAILED,
    ITERATED,
    RECOVERING,
    ROLLED_BACK,
    CANCELLED,
    DELETED,
    CHILD_STARTED,
    CHILD_ENDED,
    DEPENDENCY_ENDED,
)
