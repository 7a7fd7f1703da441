"""What is empty in a flow is one object for all flows, which nobody can change."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import msgspec
import pytest

from domain.flow import Flow, Json, Phase


def test_empty_values_are_shared_and_read_and_written_as_any_other() -> None:
    one, other = Phase(name="a", weight=1.0), Phase(name="b", weight=1.0)
    assert one.outputs is other.outputs is Flow(id=uuid4()).options
    assert msgspec.json.decode(msgspec.json.encode(one), type=Phase) == one


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.__setitem__("a", 1),
        lambda value: value.update(a=1),
        lambda value: value.setdefault("a", 1),
        lambda value: value.__ior__({"a": 1}),
    ],
)
def test_nobody_can_put_something_into_what_all_flows_share(change: Callable[[Json], object]) -> None:
    flow = Flow(id=uuid4())
    with pytest.raises(TypeError, match="make a new object"):
        change(flow.inputs)
    assert flow.inputs == {}
