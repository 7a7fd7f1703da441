"""Which definitions a registry takes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from domain.decide import decide
from domain.errors import PhaseUnknown, RegistrationError, TypeUnknown
from domain.flow import Flow
from domain.flow_types import FlowTypeConfig, FlowTypes, Hooks, RetryConfig
from domain.types import FLOW_TYPES
from domain.types.discovery import DISCOVERY
from tests import examples
from tests.examples import CREATE, EXECUTE, FLOW_ID, TWO_STEPS
from tests.moving import OLD
from tests.spec import TYPES, meta, raises

FIRST, SECOND = TWO_STEPS.phases


def register(config: FlowTypeConfig, types: FlowTypes | None = None) -> FlowTypes:
    known = types or FlowTypes()
    known.register(config, handlers={"work"}, validators={"check"})
    return known


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: replace(c, phases=()), "has no phases"),
        (lambda c: replace(c, phases=(FIRST, FIRST)), "repeats the phase first"),
        (lambda c: replace(c, phases=(replace(FIRST, handlers=("magic",)),)), "unknown handler magic"),
        (lambda c: replace(c, phases=(replace(FIRST, validators=("magic",)),)), "unknown validator magic"),
        (lambda c: replace(c, phases=(replace(FIRST, handlers=()),)), "has no handler"),
        (lambda c: replace(c, phases=(replace(FIRST, before=("magic",)),)), "unknown hook magic"),
        (lambda c: replace(c, phases=(replace(FIRST, after=("magic",)),)), "unknown hook magic"),
        (lambda c: replace(c, hooks=Hooks(start=("magic",))), "unknown hook magic"),
        (lambda c: replace(c, hooks=Hooks(end=("work",), error=("magic", "spell"))), "unknown hook magic, spell"),
        (lambda c: replace(c, phases=(replace(FIRST, weight=0.0),)), "weight above 0"),
        (
            lambda c: replace(c, phases=(replace(FIRST, retry_config=RetryConfig(max_attempts=0)),)),
            "at least one attempt",
        ),
        (lambda c: replace(c, phase_aliases={"one": "third"}), "alias 'one'"),
        (lambda c: replace(c, phase_aliases={"first": "second"}), "alias 'first'"),
        (lambda c: replace(c, name="n" * 51), "1 to 50 characters"),
        (lambda c: replace(c, name=""), "1 to 50 characters"),
        (lambda c: replace(c, version="2026-11-22.nightly-17"), "the version must have 1 to 20 characters"),
        (lambda c: replace(c, version=""), "the version must have 1 to 20 characters"),
        (lambda c: replace(c, name="Two Steps"), "must be written 'two_steps'"),
        (lambda c: replace(c, phases=(replace(FIRST, name="first-of-all"),)), "must be written 'first_of_all'"),
        (lambda c: replace(c, phase_aliases={"The First": "first"}), "must be written 'the_first'"),
        (lambda c: replace(c, retry_config=RetryConfig(max_attempts=0)), "at least one attempt"),
        (lambda c: replace(c, timeout_seconds=0.0), "timeout above 0"),
        (lambda c: replace(c, max_running=0), "at least one run at once"),
        (lambda c: replace(c, phases=(replace(FIRST, timeout_seconds=-1.0),)), "timeout above 0"),
        (lambda c: replace(c, output_schema={"type": "text"}), "two_steps' 1.0.0: output_schema: it is no JSON Schema"),
        (
            lambda c: replace(c, phases=(replace(FIRST, output_schema={"type": "text"}),)),
            "phase 'first': output_schema: it is no JSON Schema",
        ),
        (lambda c: replace(c, description=7), "a value of a wrong kind: Expected `str`, got `int`"),
    ],
)
def test_what_could_not_run_is_refused(change: Callable[[FlowTypeConfig], FlowTypeConfig], sentence: str) -> None:
    with raises(RegistrationError, sentence):
        register(change(replace(TWO_STEPS, phase_aliases={})))


def test_a_changed_definition_needs_a_new_version() -> None:
    types = register(TWO_STEPS)
    register(TWO_STEPS, types)
    with raises(RegistrationError, "another definition"):
        register(replace(TWO_STEPS, description="changed"), types)


def test_a_flow_keeps_the_version_it_was_made_with() -> None:
    types = register(TWO_STEPS)
    newer = replace(TWO_STEPS, version="2.0.0", phases=(FIRST,), phase_aliases={})
    register(newer, types)
    assert types.get("Two-Steps") == newer
    assert types.version("two_steps", "1.0.0") == TWO_STEPS


def test_older_versions_can_be_remembered_and_strange_ones_are_named() -> None:
    types = register(TWO_STEPS)
    older = replace(TWO_STEPS, version="0.9.0")
    types.remember(older)
    assert types.version("two_steps", "0.9.0") is older
    assert types.knows("two_steps", "0.9.0")
    assert types.versions() == [TWO_STEPS, older]
    assert not types.knows("two_steps", "0.1.0")
    with raises(RegistrationError, "0.1.0 is not known"):
        types.version("two_steps", "0.1.0")
    with raises(TypeUnknown, "use one of two_steps"):
        types.get("three_steps")


def test_phases_are_found_by_name_and_alias_and_follow_each_other() -> None:
    assert DISCOVERY.phase("tech-debt").name == "tech_debt_assessment"
    assert DISCOVERY.phase(" Attribute Mapping ").name == "field_mapping"
    with raises(PhaseUnknown, "no phase 'nothing'"):
        DISCOVERY.phase("nothing")


def test_discovery_has_the_six_phases_in_order() -> None:
    assert [phase.name for phase in DISCOVERY.phases] == [
        "data_import",
        "field_mapping",
        "data_cleansing",
        "asset_inventory",
        "dependency_analysis",
        "tech_debt_assessment",
    ]
    assert DISCOVERY.capabilities.max_iterations == 5


def test_all_types_are_listed_by_name() -> None:
    assert TYPES.names() == sorted(config.name for config in (*FLOW_TYPES, *examples.FLOW_TYPES, OLD))
    assert [config.name for config in TYPES.all()] == TYPES.names()


def test_a_flow_of_an_older_version_goes_on_by_it() -> None:
    types = register(TWO_STEPS)
    flow = decide(Flow(id=FLOW_ID), CREATE, meta(), types).flow
    newer = replace(TWO_STEPS, version="2.0.0", phases=(SECOND,), phase_aliases={})
    register(newer, types)
    started = decide(flow, EXECUTE, meta(), types)
    assert started.flow.run is not None
    assert (started.flow.flow_version, started.flow.run.phase_name) == ("1.0.0", "first")
    created = decide(Flow(id=FLOW_ID), CREATE, meta(), types).flow
    assert (created.flow_version, [phase.name for phase in created.phases]) == ("2.0.0", ["second"])


def test_a_definition_is_the_same_when_its_digest_is() -> None:
    same = msgspec.convert(msgspec.to_builtins(TWO_STEPS), FlowTypeConfig)
    assert same.digest() == TWO_STEPS.digest()
    assert replace(TWO_STEPS, description="changed").digest() != TWO_STEPS.digest()


def test_whole_numbers_of_seconds_are_the_same_with_and_without_a_point() -> None:
    types = register(replace(TWO_STEPS, timeout_seconds=600, retry_config=RetryConfig(initial_delay_seconds=1)))
    [kept] = types.all()
    assert kept.digest() == msgspec.convert(msgspec.to_builtins(kept), FlowTypeConfig).digest()
    register(replace(TWO_STEPS, timeout_seconds=600.0, retry_config=RetryConfig(initial_delay_seconds=1.0)), types)


def test_a_registry_says_which_versions_it_knows() -> None:
    known = TYPES.get("two_steps")
    assert TYPES.knows(known.name, known.version)
    assert not TYPES.knows(known.name, "9.9.9")
