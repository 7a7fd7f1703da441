"""What the write side counts, for Prometheus."""

from __future__ import annotations

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
