"""What a rollback would do, told before it is done: decided as it would be, and thrown away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from domain.commands import RollbackFlow
from domain.decide import decide
from domain.events import FlowRolledBack
from domain.flow import Flow, Meta, Phase, progress
from domain.flow_types import FlowTypes
from domain.measures import tokens

Json = dict[str, Any]

REFERENCES = ({"artifact", "size_bytes", "media_type"}, {"$artifact", "size_bytes"})
"""The members that references to artifacts have in outputs: those of handlers, and of what was too large for an event."""
SHA256 = re.compile("[0-9a-f]{64}")


def preview(
    flow: Flow, command: RollbackFlow, meta: Meta, types: FlowTypes, *, expected_version: int | None = None
) -> Json:
    """What `command` would bring about now; raises what it would be refused with.

    `{flow_id, version, target, undone[], inputs_dropped[], artifacts[], compensations[], cost, progress, goes_on}`. Sizes are
    in bytes of JSON, artifacts included; `cost` is what the phases undone took, in ms and tokens.
    """
    story = decide(flow, command, meta, types, expected_version=expected_version)
    fact = next(recorded.fact for recorded in story.facts if isinstance(recorded.fact, FlowRolledBack))
    after = story.flow
    point = next((one for one in flow.checkpoints if one.checkpoint_id == fact.checkpoint_id), None)
    undone = [flow.phase(name) for name in fact.undone]
    kept = {sha256 for sha256, _ in references(state_of(after))}
    gone = {sha256: size for phase in undone for sha256, size in references(phase.outputs) if sha256 not in kept}
    config = types.version(flow.flow_type, flow.flow_version)
    return {
        "flow_id": flow.id,
        "version": flow.version,
        "target": {
            "phase_name": fact.phase_name,
            "checkpoint_id": fact.checkpoint_id,
            "version": fact.to_version,
            "created_at": point.created_at if point is not None else flow.created_at,
        },
        "undone": [_undone(phase) for phase in undone],
        "inputs_dropped": sorted(name for name in flow.known_inputs if name not in after.known_inputs),
        "inputs_restored": sorted(
            name for name, value in after.known_inputs.items() if flow.known_inputs.get(name) != value
        ),
        "artifacts": [{"artifact": sha256, "size_bytes": size} for sha256, size in gone.items()],
        "compensations": [{"phase_name": one.phase_name, "handlers": one.handlers} for one in fact.compensations],
        "cost": {
            "execution_time_ms": sum(phase.execution_time_ms for phase in undone),
            "total_tokens": sum(tokens(phase.resource_usage) for phase in undone),
            "expected_seconds": sum(config.phase(phase.name).expected_seconds for phase in undone),
        },
        "progress": {"before": progress(flow), "after": progress(after)},
        "goes_on": flow.auto_execute and flow.paused is None,
    }


def state_of(flow: Flow) -> Json:
    """What a checkpoint holds: the inputs, and the outputs of the phases that are done."""
    return {"inputs": flow.known_inputs, "outputs": {phase.name: phase.outputs for phase in flow.phases}}


def references(value: Any) -> Iterator[tuple[str, int]]:
    """The artifacts that a JSON value names at any depth: SHA-256 in hex, and the size in bytes that it says."""
    if isinstance(value, Mapping):
        sha256, size = value.get("artifact", value.get("$artifact")), value.get("size_bytes")
        whole = any(members <= value.keys() for members in REFERENCES)
        if whole and isinstance(sha256, str) and SHA256.fullmatch(sha256) and isinstance(size, int):
            yield sha256, size
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)


def _undone(phase: Phase) -> Json:
    artifacts = dict(references(phase.outputs))
    return {
        "phase_name": phase.name,
        "status": phase.status,
        "attempt": phase.attempt,
        "completed_at": phase.completed_at,
        "execution_time_ms": phase.execution_time_ms,
        "outputs": sorted(phase.outputs),
        "message": phase.outputs.get("message"),
        "size_bytes": len(msgspec.json.encode(phase.outputs)) + sum(artifacts.values()),
        "artifacts": [{"artifact": sha256, "size_bytes": size} for sha256, size in artifacts.items()],
    }
