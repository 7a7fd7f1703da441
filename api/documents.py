"""The shapes of the answers, as the OpenAPI document tells them. The answers themselves are written straight from the rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

Json = dict[str, Any]
FlowStatus = Literal[
    "initialized", "processing", "waiting_for_input", "paused", "completed", "failed", "cancelled", "deleted"
]
PhaseState = Literal["pending", "running", "waiting", "completed", "failed", "skipped"]
Part = Literal["up", "down"]
AssetType = Literal[
    "server", "virtual_machine", "database", "application", "network_device", "load_balancer", "storage", "appliance",
    "container", "other",
]  # fmt: skip
Severity = Literal["critical", "high", "medium", "low", "info"]


class Document(BaseModel):
    """One answer."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class FieldProblem(Document):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(Document):
    """An error, as RFC 9457 says."""

    type: str = Field(description="`urn:mfo:error:<code>`")
    title: str
    status: int
    detail: str
    code: str
    allowed: list[str] | None = Field(default=None, description="What is possible instead, where that helps.")
    errors: list[FieldProblem] | None = None
    details: Json | None = Field(
        default=None, description="More about it in fields, by code; such as `{answered_by, answered_at}`."
    )
    correlation_id: str
    instance: str


class NextAction(Document):
    """What a flow needs next."""

    type: Literal["execute_phase", "provide_input", "approve", "wait", "resume", "retry", "none"]
    phase: str | None
    required_inputs: list[str]
    message: str
    estimated_duration_seconds: float | None
    until: datetime | None = Field(
        description="When the flow goes on by itself: its start, the next attempt, the end of the time for an answer."
    )


class WaitedFor(Document):
    """Something that happens to a flow when its time has come."""

    name: str = Field(
        pattern="^(start|retry|input|remind|wait|deadline|stopping|cleanup)(:.+)?$",
        description="Where phases run at the same time, a timer of one of them has its name after it: `retry:<phase>`.",
    )
    due_at: datetime | None = Field(description="Empty while the flow is paused, but for a start at a given time.")
    remaining_seconds: float | None = Field(description="While the flow is paused: what is left of it.")


class FailedAttempt(Document):
    """How an attempt of a phase ended that did not work."""

    attempt: int
    started_at: datetime | None
    failed_at: datetime
    kind: str | None = Field(alias="class")
    code: str | None
    message: str


class FlowMade(Document):
    """A new flow, as of its commit; where it was waited for, as of its end."""

    flow_id: UUID
    flow_type: str
    flow_name: str
    status: FlowStatus
    current_phase: str | None
    next_action: NextAction
    created_at: datetime
    version: int
    position: str = Field(description="Place in the log: `<shard>:<n>`, opaque.")


class VerbAnswer(Document):
    """A flow after a verb."""

    flow_id: UUID
    status: FlowStatus
    version: int
    position: str | None
    draining: bool = Field(description="Paused, but work that had begun has not stopped yet.")
    draining_runs: int = Field(description="How many runs have not stopped yet.")


class CheckpointShown(Document):
    """A point to roll back to."""

    checkpoint_id: UUID
    phase_name: str | None = Field(description="The phase that was done last before it; null where none was.")
    version: int = Field(description="The flow's version whose state it holds.")
    created_at: datetime
    created_by: str
    reason: str | None
    state_sha256: str = Field(description="Over the inputs and the outputs of the phases done, in canonical JSON.")
    verified: bool | None = Field(
        description="Whether the history replayed up to it has this hash, and its artifacts are there; null: not looked at."
    )
    detail: str | None = Field(description="Why it is not verified.")


class CheckpointList(Document):
    """The points that a flow can go back to, the oldest first."""

    checkpoints: list[CheckpointShown]
    total: int
    next_cursor: None


class CheckpointMade(Document):
    """A checkpoint that was asked for."""

    flow_id: UUID
    checkpoint_id: UUID
    phase_name: str | None
    state_sha256: str
    status: FlowStatus
    version: int
    position: str | None


class ArtifactNamed(Document):
    """An artifact, by its content hash."""

    artifact: str
    size_bytes: int


class RollbackTo(Document):
    """The state that a rollback restores."""

    phase_name: str = Field(description="The phase that comes next.")
    checkpoint_id: UUID | None = Field(description="Null: the flow as it was created.")
    version: int
    created_at: datetime


class PhaseUndone(Document):
    """A phase that a rollback undoes."""

    phase_name: str
    status: PhaseState
    attempt: int
    completed_at: datetime | None
    execution_time_ms: int
    outputs: list[str] = Field(description="Their names.")
    message: str | None
    size_bytes: int = Field(description="Of its outputs, their artifacts included.")
    artifacts: list[ArtifactNamed]


class CompensationPlanned(Document):
    """Handlers that undo a phase, one after the other."""

    phase_name: str
    handlers: list[str]


class RolledBack(Document):
    """The last time that a flow went back: why its progress fell, and what is left to undo."""

    by: str
    at: datetime
    reason: str | None
    phase_name: str | None = Field(description="The phase that came next; null where the flow was cancelled.")
    to_version: int | None
    checkpoint_id: UUID | None
    undone: list[str]
    cancelled: bool
    left: list[CompensationPlanned] = Field(description="Phases still to be compensated, in order.")


class CostAgain(Document):
    """What the phases to be done again took."""

    execution_time_ms: int
    total_tokens: int
    expected_seconds: float = Field(description="What the type expects of them.")


class ProgressFalls(Document):
    """Percent done before a rollback and after it."""

    before: float
    after: float


class ChildFlow(Document):
    """A flow that was begun by this one."""

    flow_id: UUID
    flow_type: str
    flow_name: str
    status: FlowStatus


class RollbackPreview(Document):
    """What a rollback would do; nothing has changed. `If-Match: "<version>"` binds the rollback to it."""

    flow_id: UUID
    version: int
    target: RollbackTo
    undone: list[PhaseUndone] = Field(description="The newest first.")
    inputs_dropped: list[str] = Field(description="Inputs given since, which are gone.")
    inputs_restored: list[str] = Field(description="Inputs that have another value again.")
    artifacts: list[ArtifactNamed] = Field(description="Those that the flow no longer refers to.")
    children: list[ChildFlow] = Field(description="As the read model knows them.")
    compensations: list[CompensationPlanned] = Field(description="In the order in which they are run.")
    cost: CostAgain
    progress: ProgressFalls
    goes_on: bool = Field(description="Whether the flow then goes on by itself.")


class RunBegun(Document):
    """An attempt of a phase that has begun; without one the phase asks particular people first, or nothing was left to do.

    Where several phases began, it is the first of them.
    """

    flow_id: UUID
    phase_name: str
    run_id: UUID | None
    active_phases: list[str] = Field(description="The phases in hand, in their order.")
    status: FlowStatus
    version: int
    position: str | None


class PhaseResult(Document):
    """How a phase ended."""

    flow_id: UUID
    phase_name: str
    run_id: UUID
    status: Literal["success", "failed", "paused", "skipped"]
    outputs: Json
    validation_results: Json | None
    execution_time_ms: int
    agent_insights: list[Json]
    next_phase: str | None
    errors: list[Json]
    version: int
    position: str | None


class PhaseView(Document):
    """A phase of a flow, as front ends draw it."""

    name: str
    display_name: str
    order: int
    status: PhaseState
    required: bool
    can_skip: bool
    can_pause: bool
    can_rollback: bool
    weight: float
    attempt: int
    started_at: datetime | None
    completed_at: datetime | None
    execution_time_ms: int
    outputs: Json
    error: Json | None
    handler_versions: dict[str, str] = Field(
        default={},
        description="Which code brought the last result or failure: handlers, validators and hooks, by name.",
    )
    reused_from: Json | None = Field(
        description="`{flow_id, run_id, version}` of the completion whose result was taken instead of doing the work again."
    )


class IterationShown(Document):
    """One round of a flow's phases; the one at hand has no end until its phases are done."""

    number: int
    from_phase: str | None = Field(description="The first phase that was to be done again; none in the first round.")
    by: str
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    status: FlowStatus = Field(description="Where the round ended; of the one at hand, where the flow stands.")
    phases_completed: list[str]
    first_version: int
    last_version: int | None


class IterationList(Document):
    """The rounds of a flow, the first one first."""

    iterations: list[IterationShown]
    total: int
    next_cursor: None
    max_iterations: int = Field(description="As many as flows of this type may have.")


class IterationDetail(IterationShown):
    """A round with its phases, as they stood at its end."""

    flow_id: UUID
    inputs: Json = Field(description="What the phases of the round knew.")
    phases: list[PhaseView]
    outputs: Json = Field(description="Outputs of the phases that had some, by phase.")


class RecoveryShown(Document):
    """What is being done, or was last, about a phase that has no attempt left."""

    phase_name: str
    action: str
    number: int = Field(description="How often by this rule, of `at_most`.")
    at_most: int
    reason: Json = Field(description="`{class, code, message}` of the failure.")
    from_phase: str | None = Field(description="Where a restart began.")
    at: datetime


class FlowSummary(Document):
    """A flow in a list."""

    flow_id: UUID
    flow_type: str
    flow_version: str
    flow_name: str
    flow_description: str | None
    flow_tags: list[str]
    status: FlowStatus
    flow_status: FlowStatus = Field(description="The same as `status`, under the column's name.")
    current_phase: str | None
    phases_completed: list[str]
    progress_percentage: float
    next_action: NextAction | None = Field(description="None in a list as of another time.")
    draining: bool
    parent_flow_id: UUID | None
    iteration_number: int
    created_at: datetime
    updated_at: datetime
    created_by: str
    updated_by: str
    version: int


class FlowList(Document):
    """A page of flows."""

    flows: list[FlowSummary]
    total: int = Field(
        description="Exact by type and status; with other filters counted up to 10,000, estimated above."
    )
    total_is_estimate: bool
    next_cursor: str | None


class FlowDetail(FlowSummary):
    """Everything about a flow: its row in the read model. A value moved to an artifact is `{"$artifact", "size_bytes"}`."""

    next_action: NextAction
    client_account_id: UUID
    engagement_id: UUID
    user_id: str
    flow_configuration: Json
    flow_state: Json
    flow_persistence_data: Json = Field(description="The same as `flow_state`, under its older name.")
    phase_results: Json
    validation_results: Json
    performance_metrics: Json
    phase_execution_times: Json
    resource_usage: Json
    error_log: list[Json]
    agent_collaboration_log: list[Json]
    agent_insights: list[Json]
    learning_patterns: list[Json]
    memory_usage_metrics: Json
    phase_transitions: list[Json]
    retry_count: int
    dependent_flow_ids: list[UUID]
    child_flow_ids: list[UUID]
    flow_metadata: Json
    deletion_metadata: Json | None
    active_phases: list[str] = Field(description="The phases in hand, in their order; several where the type says so.")
    phases: list[PhaseView]
    input_request: Json | None
    outputs: Json = Field(description="Outputs of the phases that have some, by phase.")
    errors: list[Json]
    allowed: list[str] = Field(description="The verbs that the flow takes now.")
    position: str


class Progress(Document):
    """How far a flow is."""

    percentage: float
    phases_completed: list[str]
    phases_remaining: list[str]
    estimated_completion: datetime | None = Field(
        description="By the median of each phase that is left, in the last completed flows of the type; null unless processing."
    )


class Performance(Document):
    """How long a flow's phases took, in ms."""

    total_execution_time_ms: int
    phase_times: dict[str, int]


class MappingSuggestion(BaseModel):
    """What a column of a file seems to mean."""

    model_config = ConfigDict(extra="allow")

    source_file: str
    source_sheet: str | None
    source_field: str
    target_field: str | None
    confidence: float
    match_type: str
    samples: list[Any]
    unit: str | None


class RunProgress(Document):
    """What the handler last said of its work, about two seconds old at most."""

    done: int
    total: int
    message: str
    percentage: float | None = Field(description="100 x done / total, at most 100; none where the total is 0.")


class RunShown(Document):
    """The attempt that is under way, or waits for a worker."""

    run_id: UUID
    phase_name: str
    attempt: int
    max_attempts: int
    state: Literal["queued", "running"] | None = Field(description="None for a moment while it ends.")
    started_at: datetime
    timeout_seconds: float
    deadline: datetime | None = Field(description="When it ends as a timeout; none while it is queued.")
    progress: RunProgress | None = Field(description="None until the handler says something.")


class WaitingFor(Document):
    """What holds a flow's next attempt."""

    reason: Literal[
        "no_process", "flow_type_limit", "tenant_limit", "no_free_place", "others_first", "starting", "retry"
    ] = Field(
        description="no_process: nobody that runs offers the phase's handlers; flow_type_limit, tenant_limit: `running` of"
        " `limit` are in hand; no_free_place: all `limit` places for such work are taken; others_first: `before`; starting: a"
        " place is free; retry: the back-off ends at `until`."
    )
    message: str
    since: datetime = Field(description="When the run was queued first, or the retry was scheduled.")
    until: datetime | None
    priority: int | None = Field(description="1 (first) to 5 among the tenant's own.")
    before: int | None = Field(description="Runs of the same tenant that go first, counted up to 10,000.")
    running: int | None
    limit: int | None


class SuspendedRun(Document):
    """A run that gave way until something outside of it is there."""

    phase_name: str
    run_id: UUID
    attempt: int
    name: str = Field(description="The handler's step that gets the outcome.")
    until: Json = Field(description="What is waited for, such as `{kind: signal, name}`.")
    message: str = Field(description="The same in words.")
    since: datetime
    expires_at: datetime | None = Field(description="None: for ever; empty while the flow is paused, too.")


class Paused(Document):
    """Who paused a flow, when and why, and what its timers do meanwhile."""

    by: str
    at: datetime
    reason: str | None
    timers: Literal["frozen", "running"]
    drained_at: datetime | None = Field(description="Since when no work is under way.")
    tree: bool = Field(description="The flows under it are paused with it.")
    by_flow_id: UUID | None = Field(description="The flow above it that was paused with all under it.")
    standing_pause_id: UUID | None = Field(description="The standing pause that it began under.")


class TreeCounts(Document):
    """The flows under a flow, on every level, the flow itself not counted; as far as the read model has them."""

    flows: int
    draining: int = Field(description="How many are paused, but their work has not stopped yet.")
    statuses: dict[FlowStatus, int] = Field(description="How many have which status.")


class TreeNode(Document):
    """A flow with those under it."""

    flow_id: UUID
    flow_name: str
    flow_type: str
    status: FlowStatus
    current_phase: str | None
    progress: float
    draining: bool
    children: list[TreeNode]


class FlowTree(TreeNode):
    """A flow with all flows under it, as far as the read model has them; each level in the order of their making."""

    below: TreeCounts
    truncated: bool = Field(description="There are more than 5,000 flows under it; the deepest were left out.")


class DependencyShown(Document):
    """A flow that another waits for before it begins."""

    flow_id: UUID
    status: FlowStatus | None = Field(description="How it came to rest; null before that.")


class LaneShown(Document):
    """What is in hand of one phase, while others are in hand too."""

    phase_name: str
    state: Literal["running", "retrying", "waiting_for_input", "suspended"]
    run: RunShown | None
    waiting: WaitingFor | None = Field(
        description="Why its attempt that is due has not begun; null where one is in hand."
    )
    input_request: Json | None
    suspended: SuspendedRun | None
    attempts: list[FailedAttempt] = Field(description="How its attempts ended that did not work, oldest first.")


class FlowStatusAnswer(Document):
    """Where a flow stands."""

    flow_id: UUID
    flow_type: str
    flow_version: str
    flow_name: str
    status: FlowStatus
    current_phase: str | None = Field(description="The first of the phases in hand or, between phases, the next one.")
    active_phases: list[str] = Field(description="The phases in hand, in their order; several where the type says so.")
    lanes: list[LaneShown] = Field(
        description="What is in hand of each phase, in flows whose type runs phases at the same time; `run`, `waiting`,"
        " `input_request` and `suspended` show the first that has one."
    )
    progress: Progress
    performance: Performance
    next_action: NextAction
    run: RunShown | None
    waiting: WaitingFor | None = Field(
        description="Why the attempt that is due has not begun; null where one is in hand, or where a person is asked."
    )
    phases: list[PhaseView]
    paused: Paused | None = Field(description="While the flow is paused.")
    draining: bool
    draining_runs: int = Field(description="How many runs that had begun before the pause have not stopped yet.")
    drained_at: datetime | None = Field(description="Since when no work of the paused flow is under way.")
    tree: TreeCounts | None = Field(description="The flows under it, where it has children.")
    input_request: Json | None
    mapping_suggestions: list[MappingSuggestion] = Field(
        description="While the flow waits for field mappings; else empty."
    )
    errors: list[Json]
    error: Json | None
    suspended: SuspendedRun | None = Field(
        description="What the phase in hand waits for outside of its run; null where it waits for nothing."
    )
    signals: dict[str, int] = Field(
        description="How many signals of each name are kept until a handler waits for them."
    )
    dependencies: list[DependencyShown] = Field(description="The flows that it waits for before it begins.")
    timers: list[WaitedFor] = Field(description="What the flow waits for, the nearest first.")
    attempts: list[FailedAttempt] = Field(
        description="How the attempts of the current phase ended that did not work, since it was last begun afresh."
    )
    advice: Json | None = Field(description="What the type's error hooks say about the failure that stands.")
    iteration_number: int = Field(description="Which round of the phases this is, from 1.")
    recovery: RecoveryShown | None = Field(
        description="What is done by itself about a phase that used up its attempts; after a failure, what was done last."
    )
    rollback: RolledBack | None = Field(
        description="The last time that the flow went back, or was cancelled with its compensations."
    )
    allowed: list[str]
    created_at: datetime
    updated_at: datetime
    version: int
    position: str


class HistoryEvent(Document):
    """One event of a flow's history."""

    version: int
    position: str
    type: str = Field(description="`mfo.flow.<Event>.v1`")
    occurred_at: datetime
    actor: str
    command_id: str
    causation_id: str | None
    correlation_id: str
    source: str = Field(description="The door it came through: http, kafka, worker or timer.")
    data: Json


class History(Document):
    """A page of a flow's history, ascending."""

    events: list[HistoryEvent]
    total: int
    next_cursor: str | None


class ImportMade(Document):
    """A file that is kept, and how it is to be read."""

    import_file_id: UUID = Field(description="What flows take it by: `initial_data.import_file_id`.")
    filename: str = Field(description="The last part of the path that it was sent under.")
    size_bytes: int
    sha256: str = Field(description="Of its bytes, in hexadecimal.")
    import_options: Json = Field(description="As given (the schema ImportOptions); empty: everything is detected.")


class WarningRead(BaseModel):
    """What a reader noticed in a file that it could read all the same."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable, such as encoding_guessed, short_rows or not_used.")
    message: str
    sheet: str | None
    row: int | None = Field(description="As a spreadsheet counts.")


class FaultRead(BaseModel):
    """Why a file cannot be read, and what to do."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable, such as unknown_format or import_options_invalid.")
    detail: str | None = None


class SheetRead(BaseModel):
    """A table of a file and how it was read: detected, or as the import options say."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="Of the sheet; of a file without sheets its own; in a zip with the file before it.")
    rows: int = Field(description="Of data, without the header and without what was set aside.")
    columns: list[str] = Field(description="The names of the header, made different where two were the same.")
    kind: str = Field(description="Which export it is, such as rvtools.vinfo; table: none that is known.")
    role: str = Field(
        description="What its rows speak of: machines, applications, connections, detail, performance, software, tags; ignored:"
        " discovery does not use it."
    )
    header_row: int | None = Field(
        description="The last row of the header, as a spreadsheet counts; null: it has none."
    )
    header_rows: list[int] = Field(default=[], description="All rows of the header, where it is stacked.")
    set_aside: int = Field(description="Rows that are no data: totals, repeated headers, comments.")
    read_as: Json = Field(default={}, description="Delimiter, header rows, separators, order of dates.")


class ImportDetail(ImportMade):
    """A file and what is in it; what a reader finds is null until somebody has read it."""

    import_type: str | None = Field(description="The caller's note on what kind of file it is.")
    state: Literal["stored", "inspecting", "readable", "unreadable"] = Field(
        description="stored and inspecting: nobody has read it yet under these import options; `wait_ms` waits for that."
    )
    format: str | None = Field(description="csv, tsv, xlsx, ods, json, ndjson, xml, zip, ...")
    recognised_as: str | None = Field(description="Which export it is, such as rvtools; table: none that is known.")
    encoding: str | None = Field(description="Of its text; null for workbooks.")
    sheets: list[SheetRead] | None
    rows: int | None = Field(description="Of data, in the sheets that discovery uses.")
    warnings: list[WarningRead] | None
    error: FaultRead | None = Field(description="Where state is unreadable: why, and what to do.")
    created_at: datetime
    created_by: str


class ImportList(Document):
    """A page of files, newest first."""

    imports: list[ImportDetail]
    total: int
    next_cursor: str | None


class AsideRow(BaseModel):
    """A row that is no data."""

    model_config = ConfigDict(extra="allow")

    row: int = Field(description="As a spreadsheet counts; 0: something that stands outside of all rows.")
    reason: str = Field(description="Stable, such as totals_row, repeated_header or comment.")
    message: str
    cells: list[Any] = Field(default=[], description="The first 50, masked as in the preview.")


class ImportPreview(Document):
    """What a file was taken for, how it was read, and its first rows, as they are but for what must not be shown."""

    import_file_id: UUID
    filename: str
    import_options: Json = Field(description="As given (the schema ImportOptions); empty: everything was detected.")
    format: str | None = Field(description="csv, tsv, xlsx, ods, json, ndjson, xml, zip, ...")
    recognised_as: str | None = Field(description="Which export it is, such as rvtools; table: none that is known.")
    encoding: str | None = Field(description="Of its text; null for workbooks.")
    sheets: list[SheetRead] | None
    rows: int | None = Field(description="Of data, in the sheets that discovery uses.")
    preview: Any = Field(
        description="The first 20 rows of each sheet as `{column: cell}`; what looks like a credential or personal data is"
        " masked, long texts are cut."
    )
    set_aside: dict[str, list[AsideRow]] | None = Field(description="The first 20 rows set aside of each sheet.")
    warnings: list[WarningRead] | None


class CheckFlowType(Document):
    """Another version of a flow type, and which flows to ask about it. Give `definition`, or `flow_type` and `to_version`."""

    definition: Json | None = Field(
        default=None, description="A FlowTypeConfig, as `GET /flow-types/{type}` shows one."
    )
    flow_type: str | None = Field(default=None, min_length=1, max_length=50)
    to_version: str | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="One that is known; left out: the one that new flows get.",
    )
    phase_mapping: dict[str, str | None] = Field(
        default={}, max_length=200, description="As of MigrateFlow: what phases are called in that version."
    )
    back: bool = Field(
        default=False, strict=True, description="Only flows that were moved from that version, by their mapping back."
    )
    flow_ids: list[UUID] | None = Field(default=None, max_length=1000, description="Left out: all that are not over.")
    handlers: list[str] = Field(
        default=[], max_length=1000, description="Handlers and validators that will be there besides those that are."
    )
    include_safe: bool = Field(default=False, strict=True, description="Show flows too that could go on.")
    all_tenants: bool = Field(default=False, strict=True, description="Everybody's; needs X-MFO-Operator-Token.")
    limit: int = Field(default=200, ge=1, le=1000, strict=True)
    cursor: str | None = Field(default=None, max_length=2000)

    @model_validator(mode="after")
    def _one_question(self) -> CheckFlowType:
        if (self.definition is None) is (self.flow_type is None):
            raise ValueError("give definition, or flow_type and to_version")
        return self


class FlowObstacle(Document):
    """Why a flow could not go on by a version, or would stand still."""

    code: Literal[
        "phase_missing", "phase_vanished", "phase_out_of_order", "inputs_missing", "capability_dropped", "outputs_invalid",
        "progress_falls", "nothing_left", "mapping_wrong", "handlers_unknown", "history_unreadable",
    ]  # fmt: skip
    message: str
    phase: str | None


class CheckedFlow(Document):
    """What would become of one flow."""

    flow_id: UUID
    outcome: Literal["safe", "waits", "breaks", "there"] = Field(
        description="safe: it could go on; waits: it would stand still until somebody does something; breaks: it is not"
        " migrated; there: it has that version."
    )
    flow_name: str | None
    client_account_id: UUID | None
    engagement_id: UUID | None
    status: FlowStatus | None
    version: int
    from_version: str | None
    phase: str | None
    running: bool = Field(description="A phase is under way, which has to end first.")
    paused_for: str | None = Field(description="The reason of its pause.")
    obstacles: list[FlowObstacle]


class FlowTypeCheck(Document):
    """A page of flows, replayed."""

    flow_type: str
    to_version: str
    checked: int = Field(description="Flows of this page; the other counts are about these too.")
    safe: int
    waits: int
    breaks: int
    there: int
    seconds: float
    flows: list[CheckedFlow]
    next_cursor: str | None


class FlowTypeList(Document):
    """Every flow type, as of today."""

    flow_types: list[Json]
    total: int
    next_cursor: str | None


class FlowType(BaseModel):
    """A flow type: its phases in order and what holds for all of them."""

    model_config = ConfigDict(extra="allow")

    name: str
    display_name: str
    description: str
    version: str
    phases: list[Json]
    capabilities: Json
    versions: list[str] = Field(description="That flows may have been made with, as far as this service knows.")


class CommandParked(Document):
    """The command is kept and waits: the flow is parked, because this command or one before it could not be applied for no
    fault of its own. The same `Idempotency-Key` again answers the same, and the outcome when there is one."""

    flow_id: UUID
    command_id: str
    outcome: Literal["parked"]
    status: Literal["parked"]
    version: int = Field(description="The flow's, which the command has not changed; 0: none yet.")
    position: None


class ParkedReason(Document):
    """Why something could not be done."""

    code: str
    detail: str


class Parked(Document):
    """A flow whose commands wait (`command`), or that a projection set aside (`projection`)."""

    flow_id: UUID
    kind: Literal["command", "projection"]
    since: datetime
    error: ParkedReason | None
    waiting: int = Field(description="Commands that wait.")
    command: str | None = Field(description="The first of them.")
    command_id: str | None
    attempts: int | None = Field(description="How often it was tried again by itself.")
    retry_at: datetime | None = Field(description="When it is tried again by itself; null: next.")
    projection: str | None
    version: int | None = Field(description="The event that the projection could not follow.")


class ParkedList(Document):
    """The tenant's parked flows, the longest parked first."""

    parked: list[Parked]
    next_cursor: str | None


class WaitingCommand(Document):
    """A command that waits behind a parked flow. Sensitive values in its body are sealed."""

    command_id: str
    command: str
    user_id: str
    source: str
    received_at: datetime
    correlation_id: str
    expected_version: int | None
    error: ParkedReason | None
    body: Json


class ParkedDetail(Document):
    """A parked flow with its waiting commands in order."""

    flow_id: UUID
    parked: list[Parked]
    commands: list[WaitingCommand]
    next_cursor: str | None


class RetryAnswer(Document):
    """What a retry came to."""

    flow_id: UUID
    state: Literal["parked", "free"] = Field(description="Whether commands wait still.")
    applied: int = Field(description="Commands that have their outcome now.")
    waiting: int
    error: ParkedReason | None = Field(description="Why the first that waits could not be applied this time.")
    projections: int = Field(description="Projections that are told the flow's history once more.")


class DiscardAnswer(RetryAnswer):
    """What was given up, and what came of those behind it."""

    discarded: str = Field(description="The command's id; its outcome is `refused`, code `discarded`.")


class DiscardParked(Document):
    """Which waiting command is given up, and why."""

    reason: str = Field(min_length=1, max_length=4000, description="Kept in the command log.")
    command_id: str | None = Field(default=None, min_length=1, max_length=255, description="Left out: the first.")


class DeadLetterLine(Document):
    """A message that was no command. Texts are masked where they look like secrets."""

    partition: int
    offset: int
    at: datetime
    code: str | None = Field(description="Why it was no command.")
    detail: str
    source: dict[str, str | None] = Field(description="Where it came from: `topic`, `partition`, `offset`.")
    size_bytes: int
    replays: int = Field(description="How often it had been sent back before it came here.")
    type: str | None
    id: str | None
    preview: str = Field(description="Its first 200 characters.")


class DeadLetterList(Document):
    """Dead letters, the newest first; from an offset on the oldest first."""

    dead_letters: list[DeadLetterLine]
    total: int | None
    next_cursor: str | None


class DeadLetterHeader(Document):
    """A header of a message."""

    name: str
    value: str


class DeadLetter(DeadLetterLine):
    """A dead letter with its headers and body. What no text is, is escaped."""

    key: str | None
    headers: list[DeadLetterHeader]
    body: str | None
    complete: bool = Field(description="Whether `body` is all of it: long ones are cut, here at 64 KiB.")


class DeadLetterReplay(Document):
    """What is mended before a dead letter is sent back; what is left out stays as it came."""

    headers: dict[str, str | None] | None = Field(
        default=None, description="Take the place of those of their name; null: removed."
    )
    body: Json | str | None = Field(default=None, description="The whole value: a JSON object, or text as it is sent.")
    key: str | None = Field(
        default=None, min_length=1, max_length=255, description="The message's key, for a command its flow's id."
    )


class DeadLetterReplayed(Document):
    """Where the message lies now."""

    topic: str
    partition: int
    offset: int
    replays: int


class ParkedFlow(Document):
    """A flow that a projection had to set aside."""

    flow_id: UUID
    version: int
    error: str
    since: datetime


class RebuildView(Document):
    """The last rebuild of a projection, or the one under way."""

    state: Literal["filling", "indexing", "catching_up", "comparing", "swapping", "done", "kept", "interrupted"] = (
        Field(
            description="`kept`: made, and the old tables still serve; `interrupted`: its process is gone; it can go on."
        )
    )
    version: int
    flows_total: int
    flows_done: int
    events_done: int
    eta_seconds: float | None
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class ProjectionView(Document):
    """How far a projection is. `lag` counts events of the log that Kafka has been told and the projection has not taken."""

    name: str
    version: int
    state: Literal["starting", "catching_up", "live", "waiting", "rebuilding"]
    position: str
    lag: int
    lag_seconds: float = Field(description="Age of the oldest event that it has not taken.")
    rate: float | None = Field(description="Events of the log a second, as measured last.")
    eta_seconds: float | None = Field(
        description="Until the rebuild is filled, or until nothing is left; null: not known."
    )
    patience_seconds: float = Field(
        description="At most so long it gathers events, so that one batch holds many of each flow; 0: what comes is applied at once."
    )
    updated_at: datetime | None
    parked: int
    rebuild: RebuildView | None
    parked_flows: list[ParkedFlow] = Field(description="Those of the caller's tenant.")


class ProjectionList(Document):
    """Every projection."""

    projections: list[ProjectionView]
    total: int
    next_cursor: str | None


class TargetView(Document):
    """Another system that handlers call, and its circuit breaker."""

    target: str
    shared: bool = Field(description="All tenants share it; else it is the client account's own.")
    state: Literal["closed", "open", "half_open"] = Field(
        description="`closed`: it is called; `open`: it is left alone; `half_open`: one call is trying it."
    )
    failures: int = Field(description="Failures that count against it now.")
    last_class: str | None = Field(description="The class of its last failure.")
    last_failure_at: datetime | None
    reason: Literal["failures", "rate_limited"] | None = Field(description="Why it was opened; null while closed.")
    open_until: datetime | None
    seconds_left: float | None = Field(description="Until it may be tried; null while closed.")
    openings: int = Field(description="How often it has been opened.")
    opened_at: datetime | None
    closed_at: datetime | None
    asked_again_by: str | None = Field(description="Who had one of the client account's own tried again.")
    changed_at: datetime


class TargetList(Document):
    """A page of targets."""

    targets: list[TargetView]
    total: int
    next_cursor: str | None


class Live(Document):
    """The process answers."""

    status: Literal["alive"]


class DatabaseHealth(Document):
    """Whether PostgreSQL answers."""

    state: Part
    reason: str | None


class KafkaHealth(DatabaseHealth):
    """Whether a Kafka broker answers."""

    bootstrap: str


class RelayHealth(DatabaseHealth):
    """Whether history reaches Kafka."""

    leader: str | None = None
    position: str | None = None
    lag: int | None = None


class ProjectionsHealth(DatabaseHealth):
    """Whether the read models follow."""

    lag: dict[str, int] = {}
    parked: int = 0


class CommandsHealth(DatabaseHealth):
    """What waits in this process, and what is parked; `reason` says when it is worth a look, the part stays up."""

    waiting: int
    in_flight: int
    parked_flows: int | None


class Ready(Document):
    """Whether the whole of the service works, part by part."""

    status: Literal["ready", "not_ready"]
    database: DatabaseHealth
    kafka: KafkaHealth
    relay: RelayHealth
    projections: ProjectionsHealth
    commands: CommandsHealth


class DoctorFinding(Document):
    """One kind of trouble: what, why, and what mends it."""

    code: str
    severity: Literal["info", "warning", "critical"]
    message: str
    mend: str = Field(description="What to do about it.")
    count: int = Field(description="How many subjects there are.")
    repairable: bool = Field(description="Whether `mfo doctor --repair` does it.")
    subjects: list[dict[str, Any]] = Field(description="At most 20 of them, by their ids.")


class Doctor(Document):
    """What the quick checks find, the worst first."""

    status: Literal["well", "ailing"]
    findings: list[DoctorFinding]
