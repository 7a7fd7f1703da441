"""What a check says: one finding for each kind of trouble, with examples."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Json = dict[str, Any]
Severity = Literal["info", "warning", "critical"]

EXAMPLES = 20
"""Subjects that a finding names; the rest is counted."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of trouble. `message` says what and why, `mend` what to do; `repairable`: `mfo doctor --repair` does it.

    `subjects` are examples, at most 20: `{flow_id?, run_id?, name?, ...}`; `count` is how many there are.
    """

    code: str
    severity: Severity
    message: str
    mend: str
    count: int = 1
    repairable: bool = False
    subjects: tuple[Json, ...] = ()


CODES: dict[str, str] = {
    "run_overdue": "Runs past their deadline that nobody has ended",
    "lease_lapsed": "Runs whose worker is silent and that nobody has taken over",
    "run_waiting": "Runs that have waited for a place for minutes",
    "handlers_missing": "Runs of phases that no running process offers, because it lacks their handlers",
    "timer_overdue": "Timers that are due and have not fired",
    "schedule_overdue": "Schedules whose time has come and that have not fired",
    "operation_standing_still": "Operations over many flows that should go on and do not",
    "flow_parked": "Flows with a command that could not be applied, and what waits behind it",
    "flow_stuck": "Flows that are processing with nothing under way: no run, no timer, nobody asked",
    "stray_run": "Rows of runs that their flow does not know",
    "relay_silent": "No relay tells Kafka what happens",
    "relay_behind": "The relay does not keep up with the history",
    "topic_behind": "Kafka lacks events that the relay has told it",
    "projection_silent": "A read model that no process keeps",
    "projection_behind": "A read model that is behind while history grows",
    "flow_set_aside": "Flows that a read model could not follow",
    "follower_behind": "Other flows, or people, are not told what follows from history",
    "event_set_aside": "Events from which nothing could follow yet",
    "signing_refused": "Client accounts whose last signed checkpoint does not hold any more",
    "notification_dead": "Notifications that were given up",
    "notification_overdue": "Notifications that are due and that nobody sends",
    "import_waiting": "Uploads that nobody has described",
    "log_partition_missing": "The command log lacks the partition of this month",
    "clock_shifted": "The store's clock is not the machine's",
    "version_gap": "Histories with a version missing",
    "head_wrong": "Flows whose head is not the end of their history",
    "hash_broken": "Histories whose hash chain does not hold",
    "outputs_lost": "Flows under way whose state names artifacts that are gone",
    "flow_unreadable": "Flows under way whose history cannot be read",
    "read_model_differs": "Rows of the read model that are not at their flow's version",
    "rows_untrue": "Rows of a read model that are not what history says",
}
"""Every code with what it means."""
