"""The shapes of the answers with figures, as the OpenAPI document tells them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.documents import Document, FlowStatus, PhaseState

Rate = float | None
QUANTILES = "Percentiles are read from a histogram and at most 9.1 % off."


class AnalyticsWindow(Document):
    """Flows made from `from` on and before `to`; null: from the first, to the last."""

    since: datetime | None = Field(alias="from")
    until: datetime | None = Field(alias="to")


class DurationsView(Document):
    """From begin to completion, pauses and waiting included, of the flows (or rounds of flows) that completed."""

    completed: int
    mean_seconds: float | None
    p50_seconds: float | None = Field(description=QUANTILES)
    p95_seconds: float | None = Field(description=QUANTILES)


class TypeFigures(Document):
    """The flows of one type."""

    flow_type: str
    total_flows: int
    flows_by_status: dict[str, int]
    success_rate: Rate = Field(description="Completed of those completed, failed or cancelled; null of none.")
    error_rate: Rate = Field(description="Failed of those completed, failed or cancelled; null of none.")
    durations: DurationsView | None
    mean_work_seconds: float | None = Field(description="Time of runs of a flow, on average.")


class ErrorFigures(Document):
    """How often attempts ended with an error."""

    error_type: str = Field(description="`class/code`")
    error_class: str
    code: str
    count: int
    flows: int = Field(description="How many flows met it.")
    flow_types: list[str]
    recovery_rate: Rate = Field(description="How many of the flows that met it completed.")


class TrendPoint(Document):
    """The flows of one type that were made on one day, or in the month that begins then."""

    date: date
    flow_type: str
    total_flows: int
    completed: int
    failed: int
    success_rate: Rate
    average_duration_seconds: float | None
    p95_duration_seconds: float | None
    cpu_seconds: float
    p95_peak_memory_mb: float | None


class ResourceFigures(Document):
    """What runs took. Memory is that of the process in which a run was."""

    cpu_seconds: float
    cpu_seconds_per_flow: float | None
    p50_peak_memory_mb: float | None
    p95_peak_memory_mb: float | None
    max_peak_memory_mb: float | None
    tokens: int


class PhaseFigures(Document):
    """One phase of one type. Work is the time of its runs; elapsed is from the end of the phase before to its own, with
    queueing, retries, questions and pauses."""

    flow_type: str
    phase_name: str
    completed: int
    failed_attempts: int
    mean_work_seconds: float | None
    p50_work_seconds: float | None = Field(description=QUANTILES)
    p95_work_seconds: float | None = Field(description=QUANTILES)
    mean_elapsed_seconds: float | None
    mean_waiting_seconds: float | None
    elapsed_seconds: float = Field(description="Of all completions together.")
    share_of_elapsed: Rate = Field(description="Its part of the time of all phases of its type.")
    cpu_seconds: float
    p95_peak_memory_mb: float | None
    tokens: int


class PhaseTransition(Document):
    """How often one phase was begun after another, or a flow ended after it (`completed`, `failed`, `cancelled`)."""

    flow_type: str
    begun_before: str = Field(alias="from")
    to: str
    count: int


class FlowAnalytics(Document):
    """Figures of many flows. As of an earlier time (`at`) there are the counts and rates alone, the rest is null."""

    window: AnalyticsWindow
    at: datetime | None
    generated_at: datetime
    total_flows: int
    flows_by_type: dict[str, int]
    flows_by_status: dict[str, int]
    success_rate: Rate
    error_rate: Rate
    types: list[TypeFigures]
    durations: DurationsView | None
    most_common_errors: list[ErrorFigures] | None
    trend_step: Literal["day", "month"] | None = Field(description="`month` for windows of more than 366 days.")
    performance_trends: list[TrendPoint] | None
    resource_utilization: ResourceFigures | None
    phases: list[PhaseFigures] | None = Field(description="The bottlenecks first: by the time spent in them.")
    phase_transitions: list[PhaseTransition] | None


class TypePerformance(Document):
    """How flows of one type perform."""

    flow_type: str
    window: AnalyticsWindow
    generated_at: datetime
    total_flows: int
    flows_by_status: dict[str, int]
    success_rate: Rate
    error_rate: Rate
    average_execution_time_seconds: float | None = Field(description="From begin to completion.")
    p95_execution_time_seconds: float | None = Field(description=QUANTILES)
    durations: DurationsView
    mean_work_seconds: float | None
    phases: list[PhaseFigures]
    most_common_errors: list[ErrorFigures]
    resource_utilization: ResourceFigures
    trend_step: Literal["day", "month"]
    resource_usage_trends: list[TrendPoint]


class TypicalTime(Document):
    """What the phase takes in the flows of this type that the tenant made in the last 90 days."""

    completed: int
    p50_work_seconds: float | None = Field(description=QUANTILES)
    p95_work_seconds: float | None = Field(description=QUANTILES)


class PhasePerformance(Document):
    """One phase of one flow."""

    phase_name: str
    status: PhaseState
    attempts: int
    execution_time_ms: int
    cpu_seconds: float | None
    cpu_percent: float | None = Field(description="Processor time of the time of its last run's work; null: not known.")
    peak_memory_mb: float | None
    tokens: int
    typical: TypicalTime | None
    slower_than_p95: bool | None


class FlowPerformance(Document):
    """How one flow performs."""

    flow_id: UUID
    flow_type: str
    status: FlowStatus
    version: int
    total_phases: int
    phases_completed: int
    total_execution_time_ms: int
    elapsed_ms: int = Field(description="From its making to its last change.")
    cpu_seconds: float
    peak_memory_mb: float | None
    tokens: int
    phase_transitions_count: int
    error_count: int = Field(description="Of the last ten that are kept.")
    retry_count: int
    agent_collaboration_entries: int
    learning_patterns_count: int
    iteration_number: int
    phases: list[PhasePerformance]


class Gate(Document):
    """What a flow cannot go on without: another flow, an answer, somebody who resumes it, or a start."""

    flow_id: UUID
    kind: Literal["dependency", "input", "pause", "start"]
    other_flow_id: UUID | None = Field(description="The flow that it waits for.")
    other_status: str | None = Field(description="How that one came to rest; null while it is under way.")
    blocked: bool = Field(description="It does not open by itself: what it waits for came to another end.")
    since: datetime | None
    message: str


class PortfolioFlow(Document):
    """A flow that is not over, and when it should be."""

    flow_id: UUID
    flow_name: str
    flow_type: str
    status: FlowStatus
    current_phase: str | None
    progress_percentage: float
    parent_flow_id: UUID | None
    depends_on: list[UUID]
    remaining_seconds: float = Field(description="Of its own phases, as they usually take.")
    basis: Literal["history", "expected", "mixed"] = Field(
        description="Medians of flows of the type that completed, or what the type says where there are fewer than five."
    )
    forecast_finish_at: datetime = Field(description="If every gate that waits for a person opened now.")
    critical: bool


class ForecastError(Document):
    """How far forecasts of past flows of a type were off. Each of the last 50 that completed is forecast by the medians of the
    (at most 100) flows that had ended when it began, at least five, and held against what it took."""

    flow_type: str
    past_flows: int = Field(description="How many completed flows the medians of now are of; 200 at most.")
    tested_flows: int
    median_error: float | None = Field(description="As a part of what a flow took; null: too few to test.")
    p90_error: float | None
    bias: float | None = Field(description="Above 0: flows took longer than was said.")


class CriticalPath(Document):
    """The flows, first to last, that decide when the last of all is done."""

    flow_ids: list[UUID]
    seconds: float
    finish_at: datetime


class Portfolio(Document):
    """All flows of the tenant that are not over: what they wait for, and when they should be done."""

    generated_at: datetime
    flows: list[PortfolioFlow]
    gates: list[Gate]
    critical_path: CriticalPath | None
    forecast_error: list[ForecastError]
    truncated: bool = Field(description="There are more flows than `limit`; the oldest are shown.")
