"""A flow under way goes on by another version of its type, and back."""

from __future__ import annotations

from domain.commands import MigrateFlow
from domain.deciding.starting import go_on, move_on, start_phase
from domain.deciding.story import Story, allowed, not_over
from domain.errors import FieldError, NothingToUndo, NotMigratable, PhaseOutOfOrder, PhaseRunning, TypeVersionUnknown
from domain.events import FlowMigrated
from domain.flow import Phase
from domain.flow_types import FlowTypeConfig
from domain.graph import at_once
from domain.migration import Names, obstacles, plan, undone, wrong_names
from domain.words import Status


def migrate(story: Story, command: MigrateFlow) -> None:
    """Move the flow; silence where it is at that version already. What stands in the way is refused with all of it."""
    flow = story.flow
    not_over(story)
    if flow.undoing is not None:
        raise PhaseOutOfOrder(
            f"phase {flow.undoing.phase_name} is to be undone first; execute the flow",
            allowed=allowed(flow, story.types),
        )
    version, mapping, restored = _undoing(story, command) if command.back else _asked(story, command)
    if version == flow.flow_version:
        return
    new = _known(story, version)
    if wrong := wrong_names(flow, new, mapping):
        raise NotMigratable("; ".join(error.message for error in wrong[:3]), errors=wrong)
    found = obstacles(flow, story.type, new, mapping, restored)
    if found:
        raise NotMigratable(
            f"the flow cannot go on by version {version}: " + "; ".join(one.message for one in found[:3]),
            allowed=allowed(flow, story.types),
            errors=[FieldError(f"phases.{one.phase}" if one.phase else "flow", one.message) for one in found],
        )
    runs = flow.runs
    if any(run.hook is not None or not command.restart_run for run in runs):
        raise PhaseRunning(allowed=allowed(flow, story.types))
    moved = plan(flow, new, mapping, restored)
    story.tell(
        FlowMigrated(
            from_version=flow.flow_version,
            to_version=version,
            phases=moved.planned,
            mapping=moved.mapping,
            restored=tuple(restored),
            back=command.back,
            reason=command.reason,
            follows=at_once(new),
        )
    )
    story.config = None
    _carry_on(story, [moved.mapping[run.phase_name] or run.phase_name for run in runs])


def _asked(story: Story, command: MigrateFlow) -> tuple[str, Names, dict[str, Phase]]:
    return command.to_version or story.types.get(story.flow.flow_type).version, command.phase_mapping, {}


def _undoing(story: Story, command: MigrateFlow) -> tuple[str, Names, dict[str, Phase]]:
    """The last migration the other way round: phases it brought are left behind, those it left behind come back."""
    if not story.flow.moves:
        raise NothingToUndo(allowed=allowed(story.flow, story.types))
    last = story.flow.moves[-1]
    if command.to_version not in (None, last.from_version):
        raise NothingToUndo(
            f"the flow came from version {last.from_version}, not {command.to_version}", allowed=[last.from_version]
        )
    return last.from_version, *undone(story.flow, last)


def _known(story: Story, version: str) -> FlowTypeConfig:
    name = story.flow.flow_type
    if not story.types.knows(name, version):
        known = story.types.versions_of(name)
        raise TypeVersionUnknown(
            f"{name} has no version {version} here; start the services that bring it, or use one of {', '.join(known)}",
            allowed=known,
        )
    return story.types.version(name, version)


def _carry_on(story: Story, interrupted: list[str]) -> None:
    """Begin anew what was under way; a flow that has nothing left to do ends."""
    flow = story.flow
    if flow.paused is not None or flow.status is Status.FAILED:
        return
    for name in interrupted:
        phase = flow.phase(name)
        start_phase(story, story.type.phase(name), {}, phase.options, attempt=phase.attempt)
    if story.flow.follows and story.flow.ready:
        move_on(story)
    elif not interrupted and flow.next_phase is None and flow.retry is None:
        go_on(story)
