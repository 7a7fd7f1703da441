"""What differs between two documents, member by member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from domain.words import SEALED, SPILLED

Json = dict[str, Any]

# of a flow's row: what it is and how it stands; outputs are compared by themselves
COMPARED = (
    *("flow_type", "flow_version", "flow_name", "flow_description", "flow_tags", "flow_status", "current_phase"),
    *(
        "phases_completed",
        "progress_percentage",
        "flow_configuration",
        "validation_results",
        "error_log",
        "retry_count",
    ),
    *("parent_flow_id", "dependent_flow_ids", "child_flow_ids", "iteration_number", "deletion_metadata", "draining"),
    *("next_action", "input_request", "created_by", "updated_by"),
)


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member that is not the same in both: its place as a JSON pointer (RFC 6901), and its values where it has them."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


def differences(before: Json, after: Json, path: str = "") -> Iterator[Difference]:
    """Every member of two JSON objects that differs, in the order of their names.

    Lists, and values that are sealed or were moved to an artifact, are compared as a whole.
    """
    for name in sorted({*before, *after}):
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in before:
            yield Difference(place, "added", after=after[name])
        elif name not in after:
            yield Difference(place, "removed", before=before[name])
        elif _parted(before[name]) and _parted(after[name]):
            yield from differences(before[name], after[name], place)
        elif before[name] != after[name]:
            yield Difference(place, "changed", before[name], after[name])


def compared(row: Json) -> Json:
    """What of a flow's row is compared: COMPARED, its inputs, and its phases by name without their outputs."""
    phases = {phase["name"]: {name: phase[name] for name in phase if name != "outputs"} for phase in row["phases"]}
    inputs = row["flow_state"]["inputs"]
    return {**{name: row[name] for name in COMPARED}, "inputs": inputs, "phases": phases}


def _parted(value: Any) -> bool:
    return isinstance(value, dict) and SEALED not in value and SPILLED not in value
