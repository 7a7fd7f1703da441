"""What the consumers count, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RUNS = Counter("mfo_runs_total", "Runs ended, by how", ["flow_type", "phase", "how"])
RUNS_ACTIVE = Gauge("mfo_runs_active", "Runs in hand in this process")
TIMERS_FIRED = Counter("mfo_timers_fired_total", "Timers fired")
FIRINGS = Counter("mfo_schedule_firings_total", "Firings of schedules, by what became of them", ["outcome"])
TAKEN_IN = Counter("mfo_commands_taken_in_total", "Commands taken in from Kafka, by what became of them", ["outcome"])
IMPORTS_DESCRIBED = Counter("mfo_imports_described_total", "Uploads described, by result", ["state"])
