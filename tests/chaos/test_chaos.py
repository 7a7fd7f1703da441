"""A minute of chaos: every process is killed, frozen or cut off, and every flow ends as if nothing had happened."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import SHORT
from tests.chaos.faults import Kind, schedule
from tests.chaos.report import Report
from tests.chaos.scenario import plan, sending
from tests.chaos.shapes import SHAPES

# the stack is started, hurt for a minute and waited for
pytestmark = pytest.mark.timeout(420)


def test_nothing_is_lost_done_twice_or_stuck(report: Report) -> None:
    assert report.calm, str(report)
    assert report.findings == [], str(report)
    assert report.flows == SHORT.flows
    assert set(report.shapes) == {shape.name for shape in SHAPES if shape.share}


def test_faults_of_every_kind_struck_while_flows_were_under_way(report: Report) -> None:
    # one that finds nobody to strike, because that process is down already, is tried for a while and then left out
    assert len(report.faults) >= len(Kind) - 2, str(report)
    assert {str(Kind.CRASH_POSTGRES), str(Kind.CRASH_KAFKA)} <= set(report.faults)
    assert report.work["takeovers"] > 0, str(report)
    assert report.driver["repeated"] > 0
    assert report.driver["delayed"] > 0


def test_plan_and_schedule_follow_from_the_seed() -> None:
    assert schedule(7, 50, 2.9) == schedule(7, 50, 2.9)
    assert schedule(7, 50, 2.9) != schedule(8, 50, 2.9)
    assert {fault.kind for fault in schedule(7, 50, 2.9)} == set(Kind)
    assert plan(7, 70, 50) == plan(7, 70, 50)
    assert {one.shape for one in plan(7, 70, 50)} == {shape.name for shape in SHAPES if shape.share}
    ways = [sending(7, one.command_id) for one in plan(7, 300, 50)]
    assert {way.door for way in ways} == {"http", "kafka", "both"}
    assert any(way.late for way in ways)
    assert any(way.copies for way in ways)
    assert any(way.cut for way in ways)
