"""How soon a flow gets a place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from domain.commands import CreateOptions
from tests.examples import CREATE
from tests.spec import after


@pytest.mark.parametrize(("asked", "found"), [(None, 3), (1, 1), (5, 5)])
def test_a_flow_has_the_priority_it_was_made_with(asked: int | None, found: int) -> None:
    options = CreateOptions(priority=asked)
    assert after(CREATE.model_copy(update={"options": options})).flow.priority == found


@pytest.mark.parametrize("asked", [0, 6, "3", True])
def test_a_priority_is_one_of_five(asked: object) -> None:
    with pytest.raises(ValidationError):
        CreateOptions.model_validate({"priority": asked})
