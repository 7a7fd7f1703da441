"""What the projections count, for Prometheus: the flows themselves, and how far each projection is."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from domain.events import (
    FlowCancelled,
    FlowCompleted,
    FlowCreated,
    FlowDeleted,
    FlowEvent,
    FlowFailed,
    FlowImported,
    PhaseCompleted,
    PhaseFailed,
)

FLOWS = Counter("flow_total", "Flows that reached this status", ["flow_type", "status"])
ACTIVE = Gauge("active_flows", "Flows that have not ended, in the whole store", ["flow_type"])
PHASE_SECONDS = Histogram(
    "phase_duration_seconds",
    "Execution time of one attempt of a phase",
    ["flow_type", "phase"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 600, 1800, 3600),
)

EVENTS = Counter("mfo_projection_events_total", "Events taken in, repeats too", ["projection"])
ROWS = Counter("mfo_projection_rows_total", "Rows written", ["projection"])
BATCH_SECONDS = Histogram(
    "mfo_projection_batch_seconds",
    "Time of one batch from receipt to commit",
    ["projection"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
POSITION = Gauge("mfo_projection_position", "Place in the log up to which everything is applied", ["projection"])
LAG_EVENTS = Gauge("mfo_projection_lag_events", "Places in the log between its end and what is applied", ["projection"])
LAG_SECONDS = Gauge("mfo_projection_lag_seconds", "Age of the oldest event that is not yet applied", ["projection"])
RATE = Gauge(
    "mfo_projection_rows_per_second", "Rows written a second, over the last measuring interval", ["projection"]
)
PARKED = Gauge("mfo_projection_parked_flows", "Flows set aside", ["projection"])
STRANGE = Counter("mfo_projection_strange_records_total", "Records on the event topic that are no events")
CUT_OFF = Counter(
    "mfo_projection_cut_off_total", "Times it was slower than the topic and went on from the store", ["projection"]
)

REACHED: dict[type[FlowEvent], str] = {
    FlowCreated: "created",
    FlowImported: "imported",
    FlowCompleted: "completed",
    FlowFailed: "failed",
    FlowCancelled: "cancelled",
    FlowDeleted: "deleted",
}


def count(flow_type: str, fact: FlowEvent) -> None:
    """Count one event of a flow; call it once for each."""
    kind = type(fact)
    if kind is PhaseCompleted or kind is PhaseFailed:
        assert isinstance(fact, PhaseCompleted | PhaseFailed)
        _seconds(flow_type, fact.phase_name).observe(fact.execution_time_ms / 1000)
    elif kind in REACHED:
        _flows(flow_type, REACHED[kind]).inc()


# looking a labelled series up costs more than counting in it
@lru_cache(maxsize=1024)
def _flows(flow_type: str, status: str) -> Counter:
    return FLOWS.labels(flow_type, status)


@lru_cache(maxsize=1024)
def _seconds(flow_type: str, phase: str) -> Histogram:
    return PHASE_SECONDS.labels(flow_type, phase)
