"""Whether another round of a flow may begin."""

from __future__ import annotations

from domain.flow import Flow
from domain.flow_types import FlowTypeConfig
from domain.words import Moment, PhaseStatus, Status


def at_work(flow: Flow) -> bool:
    """Whether a phase or the flow's end is in hand, waits for its next attempt, or for something outside; hooks after a failure
    do not count."""
    return any(
        view.suspended is not None
        or any(part is not None and part.hook != Moment.ERROR for part in (view.run, view.retry))
        for view in flow.each
    )


def begun(flow: Flow) -> bool:
    """Whether the round at hand has begun."""
    return any(phase.status is not PhaseStatus.PENDING or phase.interrupted for phase in flow.phases)


def can_iterate(flow: Flow, config: FlowTypeConfig) -> bool:
    """Whether the flow takes a new round now."""
    capabilities = config.capabilities
    return (
        capabilities.supports_iterations
        and flow.undoing is None
        and flow.iteration_number < capabilities.max_iterations
        and flow.status not in {Status.CANCELLED, Status.DELETED}
        and flow.paused is None
        and not at_work(flow)
        and begun(flow)
    )
