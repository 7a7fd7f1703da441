"""Master and child: two looks at where one flow stands, in the words of the older system.

The master is the envelope (may it run, is it over), the child the work (who is it waiting for). Both follow from the flow, so
they cannot disagree; the views `discovery_flows` and `assessment_flows` say the same in SQL.
"""

from __future__ import annotations

from domain.words import Action, Status

MASTER: dict[Status, str] = {
    Status.INITIALIZED: "initialized",
    Status.PROCESSING: "running",
    Status.WAITING_FOR_INPUT: "running",
    Status.PAUSED: "paused",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
    Status.DELETED: "deleted",
}
DISCOVERY: dict[Status, str] = {
    **{status: str(status) for status in Status},
    Status.INITIALIZED: "active",
    Status.WAITING_FOR_INPUT: "waiting_for_approval",
    Status.CANCELLED: "failed",
    Status.DELETED: "failed",
}
ASSESSMENT: dict[Status, str] = {
    **{status: str(status) for status in Status},
    Status.WAITING_FOR_INPUT: "paused_for_user_input",
    **dict.fromkeys((Status.FAILED, Status.CANCELLED, Status.DELETED), "error"),
}


def master_status(status: Status) -> str:
    """The master's word: `initialized, running, paused, completed, failed, deleted`."""
    return MASTER[status]


def child_status(flow_type: str, status: Status, next_action: str) -> str:
    """The child's word for a flow whose next action is of this type; types without a table of their own use discovery's words."""
    if flow_type == "assessment":
        return ASSESSMENT[status]
    if status is Status.WAITING_FOR_INPUT and next_action == Action.EXECUTE_PHASE:
        return "active"
    return DISCOVERY[status]
