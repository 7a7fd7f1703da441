"""What a flow knows of others: its children, and the flows that it waits for before it begins."""

from __future__ import annotations

from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.words import Status

MAX_LEVELS = 8
MAX_CHILDREN = 1000
AT_REST = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})
"""The statuses that a parent, or whoever waits for a flow, is told of."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A flow under another. `status` is how it came to rest, none before."""

    flow_id: UUID
    status: str | None = None


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that must complete first. `status` is how it came to rest, none before."""

    flow_id: UUID
    status: str | None = None

    def holds(self, *, ignored: bool) -> bool:
        """Whether it is still waited for; with `ignored` only until it comes to rest, however that is."""
        return self.status != Status.COMPLETED and not (ignored and self.status is not None)


def with_child(children: tuple[Child, ...], flow_id: UUID, status: str | None = None) -> tuple[Child, ...]:
    """The children with this one as it stands now."""
    if all(child.flow_id != flow_id for child in children):
        return (*children, Child(flow_id=flow_id, status=status))
    return tuple(replace(child, status=status) if child.flow_id == flow_id else child for child in children)


def with_dependency(dependencies: tuple[Dependency, ...], flow_id: UUID, status: str) -> tuple[Dependency, ...]:
    """The dependencies with this one as it stands now."""
    return tuple(replace(each, status=status) if each.flow_id == flow_id else each for each in dependencies)
