"""What differs between two documents."""

from __future__ import annotations

import msgspec

from domain.difference import Difference, compared, differences
from domain.view import row
from tests.examples import COMPLETED, QUIET, STARTED
from tests.spec import TYPES, flow_of


def test_each_member_that_differs_is_named_with_both_values() -> None:
    before = {"status": "paused", "old": 1, "phases": {"a": {"attempt": 1}, "b": {}}, "tags": ["x"]}
    after = {"new": None, "status": "completed", "phases": {"a": {"attempt": 2}, "b": {}}, "tags": ["x", "y"]}
    assert list(differences(before, after)) == [
        Difference("/new", "added", after=None),
        Difference("/old", "removed", before=1),
        Difference("/phases/a/attempt", "changed", 1, 2),
        Difference("/status", "changed", "paused", "completed"),
        Difference("/tags", "changed", ["x"], ["x", "y"]),
    ]


def test_equal_documents_do_not_differ() -> None:
    assert list(differences({"a": {"b": [1]}}, {"a": {"b": [1]}})) == []


def test_a_name_with_a_slash_is_written_as_a_pointer_writes_it() -> None:
    assert [each.path for each in differences({"a/b~c": 1}, {"a/b~c": 2})] == ["/a~1b~0c"]


def test_what_is_sealed_is_compared_as_a_whole_and_stays_sealed() -> None:
    before, after = ({"password": {"$sealed": {"data": data}}} for data in ("AAA", "BBB"))
    (found,) = differences(before, after)
    assert (found.path, found.before, found.after) == ("/password", before["password"], after["password"])


def test_what_a_side_does_not_have_is_left_out_of_the_document() -> None:
    (added,) = differences({}, {"a": None})
    assert msgspec.to_builtins(added) == {"path": "/a", "change": "added", "after": None}


def test_two_moments_of_a_flow_differ_in_what_happened_between_them() -> None:
    then, now = (compared(row(flow, TYPES)) for flow in (flow_of(QUIET), flow_of(QUIET, STARTED, COMPLETED)))
    found = {each.path: (each.before, each.after) for each in differences(then, now)}
    assert found["/phases_completed"] == ([], ["first"])
    assert found["/phases/first/status"] == ("pending", "completed")
    assert not [path for path in found if "outputs" in path]
