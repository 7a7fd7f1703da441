"""What the write side counts, for Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

COMMANDS = Counter("mfo_commands_total", "Commands decided, by name and outcome", ["command", "outcome"])
CONFLICTS = Counter("mfo_committer_conflicts_total", "Commands decided again because their flow had moved on")
COMMIT_SECONDS = Histogram(
    "mfo_commit_seconds", "Time of one group commit", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)
)
GROUP_SIZE = Histogram(
    "mfo_commit_group_size", "Commands in one group", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 500)
)
COMMITTER_QUEUE = Gauge("mfo_committer_queue", "Commands waiting for the next group")
COMMITTER_QUEUE_BYTES = Gauge("mfo_committer_queue_bytes", "About how much memory they take")
TURNED_AWAY = Counter("mfo_commands_turned_away_total", "Commands turned away because the queue was full", ["source"])
PARKED = Counter("mfo_commands_parked_total", "Commands that had to wait behind a parked flow, repeats too")
PARKED_FLOWS = Gauge("mfo_parked_flows", "Flows whose commands wait because one of them could not be applied")
PARKED_COMMANDS = Gauge("mfo_parked_commands", "Commands that wait behind parked flows")
PARKED_OLDEST = Gauge("mfo_parked_oldest_seconds", "How long the oldest of them has waited")
LATE_REPLIES = Gauge("mfo_late_replies", "Outcomes of such commands that their senders have not been told yet")


@cache
def commands_decided(command: str, outcome: str) -> Counter:
    """The counter of COMMANDS with these labels; looking it up each time costs more than counting."""
    return COMMANDS.labels(command, outcome)
