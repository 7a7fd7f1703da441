"""The places for runs in a process: what can be run in them, who has used them for how long, and whose they are next."""

from __future__ import annotations

from collections import defaultdict
from time import monotonic

from consumers.phases import Mode, PhaseWork
from domain.flow import Flow
from eventstore.claims import Claimed, Offer, Owner, Spent, kind
from eventstore.service import WriteSide

# a flow whose phases are short goes on in its place for so long while others wait
SLICE_SECONDS = 0.5
TELL_SECONDS = 2.0


def offer_of(owner: str, side: WriteSide, work: PhaseWork, *, children: int, slots: int) -> Offer:
    """Every phase that can be run here, of every definition there is, and the limits that hold."""
    lanes: dict[bool, list[str]] = {True: [], False: []}
    for config in side.types.versions():
        for phase in config.phases:
            named = config.work_of(phase)
            if work.offers(phase, named):
                lanes[work.mode(phase, named) == "exclusive"].append(kind(config.name, config.version, phase.name))
    return Offer(
        owner=owner,
        exclusive=lanes[True],
        shared=lanes[False],
        exclusive_places=children,
        shared_places=slots,
        tenant_runs=side.config.tenant_runs,
        type_runs={config.name: config.max_running for config in side.types.all() if config.max_running is not None},
    )


class Place:
    """A run's hold on a place. When its work is done the place is kept while the result is committed, and may be `passed_on`
    to the flow's next run; `since` is when the first of such a row of runs got it."""

    __slots__ = ("former", "left", "metered", "mode", "passed_on", "since", "tenant", "work_done")

    def __init__(self, flow: Flow, mode: Mode, former: Place | None = None) -> None:
        assert flow.client_account_id is not None
        assert flow.engagement_id is not None
        self.tenant: Owner = (flow.client_account_id, flow.engagement_id)
        self.mode = mode
        self.metered = monotonic()
        self.former = former
        self.since: float = self.metered if former is None else former.since
        self.work_done = False
        self.passed_on = False
        self.left = False

    @property
    def exclusive(self) -> bool:
        return self.mode == "exclusive"


class Line:
    """Those who wait for places, as the last claim saw them."""

    def __init__(self) -> None:
        self._lanes = {True: Claimed([], []), False: Claimed([], [])}

    def seen(self, exclusive: Claimed, shared: Claimed) -> None:
        """What a claim has told."""
        self._lanes = {True: exclusive, False: shared}

    @property
    def anybody(self) -> bool:
        return any(lane.waiting for lane in self._lanes.values())

    def lets_in(self, exclusive: bool) -> bool:
        """Whether a flow that has no place may have a free one without waiting for its turn."""
        return all(one.flow_type is not None for one in self._lanes[exclusive].waiting)

    def lets_go_on(self, flow: Flow, exclusive: bool, since: float) -> bool:
        """Whether a flow that has had a place since then may keep it for its next phase."""
        return monotonic() - since < SLICE_SECONDS or not self._lanes[exclusive].should_go_before(flow)


class Meter:
    """Running seconds of tenants that the store has not been told yet."""

    def __init__(self) -> None:
        self._spent: defaultdict[tuple[Owner, bool], float] = defaultdict(float)
        self._told_at = monotonic()

    def read(self, place: Place) -> None:
        """Count the time since the place was looked at last."""
        now = monotonic()
        self._spent[place.tenant, place.exclusive] += now - place.metered
        place.metered = now

    @property
    def due(self) -> bool:
        return monotonic() - self._told_at >= TELL_SECONDS

    def tell(self) -> list[Spent]:
        """What was counted since the last time."""
        spent = [Spent(tenant, exclusive, seconds) for (tenant, exclusive), seconds in self._spent.items()]
        self._spent.clear()
        self._told_at = monotonic()
        return spent

    def take_back(self, spent: list[Spent]) -> None:
        """It could not be told."""
        for one in spent:
            self._spent[one.tenant, one.exclusive] += one.seconds
