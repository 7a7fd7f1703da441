"""What a flow wants to be told when its time has come."""

from __future__ import annotations

from domain.flow import Timer
from tests.examples import CREATE, EXECUTE
from tests.spec import Given, after, fail


def test_a_flow_that_will_try_again_has_a_timer_for_it_until_it_ends() -> None:
    running = after(CREATE, EXECUTE)
    assert running.flow.timers == {}
    failed = running.when(fail(running.flow, retryable=True))
    retry = failed.flow.retry
    assert retry is not None
    assert failed.flow.timers == {"retry": Timer(token=retry.timer_token, delay_seconds=retry.delay_seconds)}
    assert Given(failed.flow).when(EXECUTE).flow.timers == {}
