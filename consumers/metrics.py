"""What the consumers count, for Prometheus."""

from __future__ import annotations

import logging
from functools import cache

import structlog
from prometheus_client import Counter, Gauge, Histogram

from domain.flow import Flow, Run

log = structlog.get_logger()
FINE = logging.getLogger(__name__)

RUNS = Counter("mfo_runs_total", "Runs ended, by how", ["flow_type", "phase", "how"])
RUNS_ACTIVE = Gauge("mfo_runs_active", "Runs in hand in this process")
WORKERS_ENDED = Counter("mfo_workers_ended_total", "Worker processes that ended, by why", ["why"])
HANDLER_FAULTS = Counter(
    "mfo_handler_faults_total", "Handlers that did harm to their worker process", ["flow_type", "phase", "fault"]
)
TIMERS_FIRED = Counter("mfo_timers_fired_total", "Timers fired")
TIMER_DELAY = Histogram("mfo_timer_delay_seconds", "From the time of a timer to what it brought about")
FIRINGS = Counter("mfo_schedule_firings_total", "Firings of schedules, by what became of them", ["outcome"])
OPERATIONS = Gauge("mfo_operations_in_hand", "Operations over many flows that this process carries out")
OPERATION_FLOWS = Counter("mfo_operation_flows_total", "Flows asked by operations", ["verb", "outcome"])
PAUSE_RULES_TRIPPED = Counter("mfo_pause_rules_tripped_total", "Pause rules that passed their limit", ["measure"])
TAKEN_IN = Counter("mfo_commands_taken_in_total", "Commands taken in from Kafka, by what became of them", ["outcome"])
TARGETS = Gauge("mfo_targets_not_closed", "Targets that are left alone or being tried, in the whole store")
TARGET_STATE = Gauge("mfo_target_state", "1 for each target that is not closed", ["target", "scope", "state"])
NOTIFICATIONS = Counter(
    "mfo_notifications_total",
    "Attempts to send a notification, by what came of it: sent, failed, dead, dropped",
    ["kind", "outcome"],
)
NOTIFICATION_SECONDS = Histogram(
    "mfo_notification_seconds", "Time of an attempt to send", ["kind"], buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 60)
)
NOTIFICATIONS_WAITING = Gauge("mfo_notifications_waiting", "Notifications to be sent, in the whole store")
NOTIFICATIONS_DEAD = Gauge("mfo_notifications_dead", "Notifications that were given up, in the whole store")
NOTIFICATION_LAG = Gauge(
    "mfo_notification_lag_seconds", "For how long the first notification in the store has been due"
)
IMPORTS_DESCRIBED = Counter("mfo_imports_described_total", "Uploads described, by result", ["state"])
PARTITIONS_PAUSED = Gauge("mfo_partitions_paused", "Partitions of commands that are paused while a batch waits")


def run_ended(flow: Flow, run: Run, how: str, duration_ms: int | None = None) -> None:
    """Count a run that has ended; at the level debug the log tells it, too."""
    _runs(flow.flow_type, run.phase_name, how).inc()
    # asked first: making a line that nobody keeps costs more than all else here
    if FINE.isEnabledFor(logging.DEBUG):
        told = {"flow_type": flow.flow_type, "phase": run.phase_name, "attempt": run.attempt, "hook": run.hook}
        log.debug("run ended", flow_id=str(flow.id), **told, status=how, duration_ms=duration_ms)


@cache
def _runs(flow_type: str, phase: str, how: str) -> Counter:
    """The counter of RUNS with these labels; looking it up each time costs more than counting."""
    return RUNS.labels(flow_type, phase, how)
