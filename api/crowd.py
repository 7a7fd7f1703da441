"""How much of what is asked is taken in at once. What comes beyond is told to come again before anything of it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge
from starlette.datastructures import Headers
from starlette.types import Scope

from domain.errors import Overloaded

IN_FLIGHT = Gauge("mfo_http_in_flight", "Requests under way, by what they do", ["what"])
TURNED_AWAY = Counter("mfo_http_turned_away_total", "Requests answered 503 because too many were under way", ["what"])

WRITES, READS, UPLOADS, LISTENERS = "writes", "reads", "uploads", "listeners"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
UPLOAD = ("POST", "/api/v1/imports")
LISTENING = ("GET", "/api/v1/events")
# each holds a connection and hardly anything else
MOST_LISTENERS = 2000
# reads wait for others more often than they work
READS_A_WRITE = 4


@dataclass(slots=True)
class Place:
    """A request's place among those under way."""

    crowd: Crowd
    what: str
    size: int

    def wait(self) -> None:
        """The command has been answered; from now on the request only waits, as a read does."""
        if self.what == WRITES:
            self.leave()
            self.what, self.size = READS, 0
            self.crowd.enter(self)

    def leave(self) -> None:
        """The request has been answered."""
        self.crowd.under_way[self.what] -= 1
        self.crowd.bytes -= self.size
        IN_FLIGHT.labels(self.what).set(self.crowd.under_way[self.what])


@dataclass(slots=True)
class Crowd:
    """The requests under way in this process: `writes` at most, four times as many reads, `uploads` and 2,000 who listen to
    events beside them.

    Bodies of writes take `body_bytes` together at most; `full` says whether the committer's queue takes no more.
    """

    writes: int
    uploads: int
    body_bytes: int
    longest_body: int
    full: Callable[[], bool]
    under_way: dict[str, int] = field(default_factory=lambda: dict.fromkeys((WRITES, READS, UPLOADS, LISTENERS), 0))
    bytes: int = 0

    def admit(self, scope: Scope) -> Place:
        """A place for a request; raises Overloaded."""
        what, size = READS, 0
        if (scope["method"], scope["path"]) == LISTENING:
            what = LISTENERS
        elif scope["method"] not in READING:
            what = UPLOADS if (scope["method"], scope["path"]) == UPLOAD else WRITES
        if what == WRITES:
            length = Headers(scope=scope).get("content-length", "")
            # what does not say how long it is may be as long as a body may be
            size = min(int(length), self.longest_body) if length.isdigit() else self.longest_body
        most = {
            WRITES: self.writes,
            READS: READS_A_WRITE * self.writes,
            UPLOADS: self.uploads,
            LISTENERS: MOST_LISTENERS,
        }[what]
        queue_is_full = what == WRITES and self.full()
        if self.under_way[what] >= most or queue_is_full or (self.bytes and self.bytes + size > self.body_bytes):
            TURNED_AWAY.labels(what).inc()
            raise Overloaded
        place = Place(self, what, size)
        self.enter(place)
        return place

    def is_full(self, begun: int) -> bool:
        """Whether no write has a place, where so many requests have begun, those counted whose work has not started yet."""
        others = self.under_way[READS] + self.under_way[UPLOADS] + self.under_way[LISTENERS]
        return begun - others >= self.writes or self.full()

    def enter(self, place: Place) -> None:
        """Count a request among those under way."""
        self.under_way[place.what] += 1
        self.bytes += place.size
        IN_FLIGHT.labels(place.what).set(self.under_way[place.what])
