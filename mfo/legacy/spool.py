"""What is too much to be held in memory: it lies in a temporary file, and comes back one by one."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from mfo.legacy.dump import Values

AT_HAND = 8
LENGTH_BYTES = 8


class Spool:
    """Things in a temporary file, each under its place, to be had in any order; the last few are at hand."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="mfo-legacy-")  # noqa: SIM115 - closed with the spool
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._at_hand: dict[int, Any] = {}

    def put(self, thing: Any) -> int:
        """Keep it; its place."""
        data = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
        place = self._end
        self._file.seek(place)
        self._file.write(len(data).to_bytes(LENGTH_BYTES) + data)
        self._end += LENGTH_BYTES + len(data)
        return place

    def get(self, place: int) -> Any:
        """What was kept there."""
        if place not in self._at_hand:
            while len(self._at_hand) >= AT_HAND:
                del self._at_hand[next(iter(self._at_hand))]
            self._file.seek(place)
            length = int.from_bytes(self._file.read(LENGTH_BYTES))
            self._at_hand[place] = pickle.loads(self._file.read(length))  # noqa: S301 - written by this process
        return self._at_hand[place]


class KeptValues(Mapping[str, str | None]):
    """The values of a row that lie in a spool."""

    __slots__ = ("_place", "_spool")

    def __init__(self, spool: Spool, values: Values) -> None:
        self._spool, self._place = spool, spool.put(values)

    def __getitem__(self, name: str) -> str | None:
        value: str | None = self._spool.get(self._place)[name]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._spool.get(self._place))

    def __len__(self) -> int:
        return len(self._spool.get(self._place))
