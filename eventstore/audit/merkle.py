"""Merkle trees as RFC 6962, section 2.1, defines them: SHA-256, leaves and nodes told apart by their first byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 | data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 | left | right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows to the right and keeps no more than one hash of each height."""

    __slots__ = ("_waiting", "size")

    def __init__(self) -> None:
        self.size = 0
        # by height: the root of a full subtree that waits for one of its size to its right
        self._waiting: list[bytes | None] = []

    def add(self, leaves: Sequence[bytes]) -> None:
        """More leaves, to the right of the others; height by height, for that takes half as long as one by one."""
        self.size += len(leaves)
        level = [leaf_hash(data) for data in leaves]
        height = 0
        while level:
            if height == len(self._waiting):
                self._waiting.append(None)
            if (left := self._waiting[height]) is not None:
                level.insert(0, left)
            self._waiting[height] = level.pop() if len(level) % 2 else None
            level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
            height += 1

    def root(self) -> bytes:
        """The root over the leaves so far."""
        digest: bytes | None = None
        for left in self._waiting:
            if left is not None:
                digest = left if digest is None else node_hash(left, digest)
        return EMPTY_ROOT if digest is None else digest


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over the leaves' data."""
    tree = Tree()
    tree.add(list(leaves))
    return tree.root()


def inclusion(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of a leaf (section 2.1.1), from the leaf up; `hashes` are the leaf hashes. Raises IndexError."""
    if not 0 <= index < len(hashes):
        raise IndexError(index)
    if len(hashes) == 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if index < split:
        return [*inclusion(hashes[:split], index), _root(hashes[split:])]
    return [*inclusion(hashes[split:], index - split), _root(hashes[:split])]


def root_from(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf's data and its audit path lead to; none where the path does not fit a tree of that size."""
    if not 0 <= index < size:
        return None
    digest, place, last, left = leaf_hash(leaf), index, size - 1, list(path)
    while last:
        if place % 2 or place < last:
            if not left:
                return None
            other = left.pop(0)
            digest = node_hash(other, digest) if place % 2 else node_hash(digest, other)
        place, last = place // 2, last // 2
    return digest if not left else None


def _root(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(_root(hashes[:split]), _root(hashes[split:]))
