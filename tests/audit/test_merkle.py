"""The trees of RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.audit.merkle import EMPTY_ROOT, Tree, inclusion, leaf_hash, root_from, root_of

# the leaves and roots of the test vectors that certificate transparency logs share
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
}


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_the_roots_are_those_that_others_compute(size: int, root: str) -> None:
    assert root_of(LEAVES[:size]).hex() == root


def test_a_leaf_is_no_node() -> None:
    one, two = leaf_hash(b"a"), leaf_hash(b"b")
    assert root_of([b"a", b"b"]) == hashlib.sha256(b"\x01" + one + two).digest()
    assert root_of([one + two]) != root_of([b"a", b"b"])
    assert root_of([]) == EMPTY_ROOT


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_a_path_leads_from_each_leaf_to_the_root_and_from_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree()
    at = data.draw(st.integers(0, len(leaves)))
    for some in (leaves[:at], leaves[at:]):
        tree.add(some)
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion([leaf_hash(leaf) for leaf in leaves], index)
    assert root_from(leaves[index], index, len(leaves), path) == tree.root()
    assert root_from(leaves[index] + b"!", index, len(leaves), path) != tree.root()
    assert root_from(leaves[index], index, len(leaves), [*path, bytes(32)]) is None
    assert root_from(leaves[index], len(leaves), len(leaves), path) is None


def test_a_leaf_that_is_not_there_has_no_path() -> None:
    with pytest.raises(IndexError):
        inclusion([leaf_hash(b"a")], 1)
