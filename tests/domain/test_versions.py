"""What is asked only of a version that is still the newest."""

from __future__ import annotations

from domain.errors import FlowExists, VersionMoved
from domain.events import FlowCreated
from tests.examples import CREATE, EXECUTE, PAUSE
from tests.spec import after, given


def test_a_version_that_has_moved_on_is_refused() -> None:
    after(CREATE).when(EXECUTE, expected_version=1)
    after(CREATE, EXECUTE).when(PAUSE, expected_version=1).then_refused(
        VersionMoved, allowed=["pause", "cancel", "delete"]
    )
    assert after(CREATE, EXECUTE).when(PAUSE, expected_version=2).facts


def test_a_repeat_under_an_old_version_is_refused_too() -> None:
    after(CREATE, PAUSE).when(PAUSE, expected_version=1).then_refused(VersionMoved)
    after(CREATE, PAUSE).when(PAUSE, expected_version=2).then_nothing()


def test_a_flow_that_is_to_be_created_has_no_version_yet() -> None:
    given().when(CREATE, expected_version=3).then_refused(VersionMoved, allowed=[])
    given().when(CREATE, expected_version=0).then(FlowCreated)
    after(CREATE).when(CREATE, expected_version=1).then_refused(FlowExists)


def test_versions_count_from_one_without_gaps() -> None:
    story = after(CREATE).when(EXECUTE).story
    assert story is not None
    assert [recorded.version for recorded in story.facts] == [2]
    assert story.flow.version == 2
