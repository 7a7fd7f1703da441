"""A flow type in many versions, each of which does something else to flows of the first."""

from __future__ import annotations

from typing import Any

from domain.flow_types import FlowCapabilities, FlowTypeConfig, Hooks, PhaseConfig

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def phase(name: str, **given: Any) -> PhaseConfig:
    return PhaseConfig(name=name, display_name=name.title(), description=name, handlers=("work",), **given)


def version(number: str, *phases: PhaseConfig | str, **given: Any) -> FlowTypeConfig:
    """A version of the type `moving`."""
    named = tuple(one if isinstance(one, PhaseConfig) else phase(one) for one in phases)
    return FlowTypeConfig(
        name="moving", display_name="Moving", description="Moves", version=number, phases=named, **given
    )


OLD = version("1", "fetch", phase("clean", required_inputs=("rules",)), "report")
VERSIONS = {
    "longer": version("longer", "fetch", phase("clean", required_inputs=("rules",)), "report", "archive"),
    "renamed": version("renamed", "load", "clean", "report"),
    "aliased": version("aliased", "load", "clean", "report", phase_aliases={"fetch": "load"}),
    "shorter": version("shorter", "fetch", "report"),
    "turned": version("turned", "clean", "fetch", "report"),
    "headed": version("headed", "check", "fetch", "clean", "report"),
    "between": version("between", "fetch", "check", "clean", "report"),
    "wanting": version("wanting", "fetch", phase("clean", required_inputs=("rules", "depth")), "report"),
    "announced": version(
        "announced",
        phase("fetch", output_schema={"properties": {"depth": {"type": "integer"}}}),
        phase("clean", required_inputs=("depth",)),
        phase("report", required_inputs=("tone",), input_alternatives={"tone": ("rules",)}),
    ),
    "asking": version("asking", "fetch", phase("clean", required_inputs=("depth",), asks_for_inputs=True), "report"),
    "strict": version("strict", phase("fetch", output_schema=TEXT), "clean", "report"),
    "restless": version(
        "restless", "fetch", "clean", "report", capabilities=FlowCapabilities(supports_pause_resume=False)
    ),
    "heavier": version("heavier", "fetch", phase("clean", weight=9.0), "report"),
    "last": version("last", "fetch"),
    "wound up": version("wound up", "fetch", hooks=Hooks(end=("sum_up",))),
    "new": version("new", "check"),
}
