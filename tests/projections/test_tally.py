"""What one flow adds, where its phases run at the same time."""

from __future__ import annotations

from domain.commands import Command, CompletePhase, CreateFlow, CreateOptions, FailPhase
from domain.flow import Flow, evolve
from projections.tally import ELAPSED, FAILED, N, Tally
from tests.examples import FLOW_ID
from tests.spec import Given, meta

CREATE = CreateFlow(
    flow_id=FLOW_ID, flow_type="forked", flow_name="x", options=CreateOptions(auto_execute=True, save_checkpoints=False)
)
CUT = {"class": "network", "code": "io_failed", "message": "cut", "retryable": False}


class Told:
    """A flow, and what it adds."""

    def __init__(self) -> None:
        self.flow, self.tally, self.folded = Flow(id=FLOW_ID), Tally(), Tally()
        self.asked(CREATE, 0)

    def asked(self, command: Command, seconds: float) -> None:
        story = Given(self.flow).when(command, asked=meta(seconds=seconds)).story
        assert story is not None
        flow = self.flow
        for recorded in story.facts:
            flow = evolve(flow, recorded)
            self.tally.tell(recorded)
            self.folded.tell(recorded, flow)
        # whoever folds the flow, it adds the same
        assert (self.folded.shares, self.folded.stays) == (self.tally.shares, self.tally.stays)
        self.flow = story.flow

    def ended(self, name: str, seconds: float, *, failed: bool = False) -> None:
        """The run of the phase comes to its end so long after the flow was made."""
        run = self.flow.on(name).run
        assert run is not None
        of = {"flow_id": FLOW_ID, "run_id": run.run_id, "token": run.token}
        self.asked(FailPhase(**of, error=CUT) if failed else CompletePhase(**of, outputs={"rows": 3}), seconds)


def test_a_phase_is_waited_for_from_the_end_of_the_last_that_it_comes_after() -> None:
    told = Told()
    told.ended("prepare", 10)
    told.ended("left", 20)
    told.ended("right", 40)
    told.ended("left_too", 50)
    told.ended("join", 55)
    # the hook at its end
    told.ended("join", 56)
    assert told.flow.status == "completed"
    shares = told.tally.shares
    elapsed = {name: numbers[ELAPSED] / 1000 for (kind, name), numbers in shares.items() if kind == "phase"}
    assert elapsed == {"prepare": 10, "left": 10, "right": 30, "left_too": 30, "join": 5}
    assert shares["flow", ""][ELAPSED] == 56_000
    ways = {name: numbers[N] for (kind, name), numbers in shares.items() if kind == "transition"}
    # the way that was not taken is none
    assert ways == {
        "prepare -> left": 1,
        "prepare -> right": 1,
        "left -> left_too": 1,
        "left_too -> join": 1,
        "right -> join": 1,
        "join -> completed": 1,
    }


def test_what_is_given_up_beside_a_failure_is_no_failure() -> None:
    told = Told()
    told.ended("prepare", 10)
    told.ended("right", 40, failed=True)
    assert told.flow.status == "failed"
    failed = {name: numbers[FAILED] for (kind, name), numbers in told.tally.shares.items() if kind == "phase"}
    assert failed == {"prepare": 0, "right": 1}
    assert told.tally.shares["error", "network/io_failed"][N] == 1
