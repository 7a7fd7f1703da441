from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.tables import pack_codes, unpack_codes


@given(
    st.sampled_from([1, 2, 256, 257, 65_536, 65_537, 1 << 31]).flatmap(
        lambda end: st.tuples(st.just(end), st.lists(st.integers(0, end - 1)))
    )
)
def test_codes_survive_being_kept_however_narrow(case: tuple[int, list[int]]) -> None:
    end, numbers = case
    codes = array("I", numbers)
    for packed in (pack_codes(codes), pack_codes(codes, end)):
        assert unpack_codes(packed) == codes
        assert len(packed[1]) == packed[0] * len(numbers)


@pytest.mark.parametrize(("end", "width"), [(0, 1), (1, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 4)])
def test_codes_are_as_narrow_as_they_allow(end: int, width: int) -> None:
    assert pack_codes(array("I"), end)[0] == width
    assert pack_codes(array("I", [end - 1] if end else []))[0] == width
