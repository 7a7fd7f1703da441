"""What the doctor finds, and what it mends: each trouble is made in the tables, as a fault would leave it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from domain.fleet.commands import CancelOperation, StartOperation
from eventstore.config import ServiceConfig
from eventstore.doctor import CODES, Finding, examine
from eventstore.doctor.metrics import shown
from mfo.doctoring import look, mend
from tests.eventstore.house import House, config_for, open_house
from tests.projecting import project

Json = dict[str, Any]


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with open_house(database_url) as house:
        yield house


async def followed(house: House) -> None:
    """Every read model at the end of the log, and its row as the service leaves it."""
    for name in await project(house):
        await house.rows(
            "insert into projections (name, version, state, position, updated_at)"
            " values (%s, 1, 'live', (select max(notification_id) from stored_events), mfo_now())"
            " on conflict (name) do update set position = excluded.position, updated_at = excluded.updated_at",
            name,
        )


async def told_to_kafka(house: House) -> None:
    """The rows of the relay and of the followers as they are when all has been told and seen to."""
    await house.rows("update followers set position = (select max(notification_id) from stored_events)")
    await house.rows(
        "insert into relay (name, position, moved_at) select 'kafka', max(notification_id), mfo_now() from stored_events"
        " on conflict (name) do update set position = excluded.position, moved_at = excluded.moved_at"
    )
    await house.rows("update followers set position = (select max(notification_id) from stored_events)")


async def served(house: House) -> None:
    await followed(house)
    await told_to_kafka(house)


async def found(house: House, *, deep: bool = False) -> dict[str, Finding]:
    if deep:
        from eventstore.doctor import examine_deeply

        async with house.side.pool.connection() as connection:
            return {finding.code: finding for finding in await examine_deeply(connection)}
    async with house.side.pool.connection() as connection:
        return {finding.code: finding for finding in await examine(connection)}


async def mended(house: House, finding: Finding, *, deep: bool = False) -> list[Json]:
    return await mend(house.side.config, [finding], deep=deep, user_id="olga")


def flows_of(finding: Finding) -> list[str]:
    return [subject["flow_id"] for subject in finding.subjects]


async def test_a_store_that_is_served_is_well(house: House) -> None:
    for _ in range(3):
        await house.complete((await house.begin()).id)
    await served(house)
    assert await found(house) == {}
    assert await found(house, deep=True) == {}


async def test_an_operation_that_nobody_carries_out_stands_still(house: House) -> None:
    operation_id = uuid4()
    started = StartOperation.model_validate({"operation_id": operation_id, "verb": "pause", "filter": {"all": True}})
    await house.side.fleet.submit(started, house.envelope())
    assert "operation_standing_still" not in await found(house)
    await house.shift_clock(60)
    finding = (await found(house))["operation_standing_still"]
    assert (finding.count, [each["operation_id"] for each in finding.subjects]) == (1, [str(operation_id)])
    await house.side.fleet.submit(CancelOperation(operation_id=operation_id), house.envelope())
    assert "operation_standing_still" not in await found(house)


async def test_an_empty_store_is_well(house: House) -> None:
    assert await found(house) == {}
    assert await found(house, deep=True) == {}


async def test_a_run_past_its_deadline_is_found_and_ended(house: House) -> None:
    flow = await house.begin()
    await house.rows(
        "update runs set state = 'running', owner = 'gone', lease_until = mfo_now() - interval '60 s',"
        " deadline = mfo_now() - interval '60 s' where flow_id = %s",
        flow.id,
    )
    await served(house)
    trouble = await found(house)
    assert set(trouble) == {"run_overdue"}
    assert flows_of(trouble["run_overdue"]) == [str(flow.id)]
    (done,) = await mended(house, trouble["run_overdue"])
    assert (done["command"], done["outcome"]) == ("FailPhase", "accepted")
    assert "PhaseFailed" in await house.facts(flow.id)
    assert "run_overdue" not in await found(house)
    source, actor = (await house.rows("select source, user_id from command_log where command = 'FailPhase'"))[0]
    assert (source, actor) == ("doctor", "olga")


async def test_a_run_whose_worker_is_silent_is_found_and_done_anew(house: House) -> None:
    flow = await house.begin()
    await house.rows(
        "update runs set state = 'running', owner = 'gone', lease_until = mfo_now() - interval '60 s',"
        " deadline = mfo_now() + interval '60 s' where flow_id = %s",
        flow.id,
    )
    await served(house)
    trouble = await found(house)
    assert set(trouble) == {"lease_lapsed"}
    await mended(house, trouble["lease_lapsed"])
    assert (await house.facts(flow.id))[-1] == "RunReassigned"
    assert await house.one("select state from runs where flow_id = %s", flow.id) == "queued"


async def test_a_timer_that_nobody_fires_is_found_and_fired(house: House) -> None:
    flow = await house.begin()
    await house.fail(flow.id)
    await house.rows("update timers set due_at = mfo_now() - interval '1 h'")
    await served(house)
    trouble = await found(house)
    assert set(trouble) == {"timer_overdue"}
    await mended(house, trouble["timer_overdue"])
    assert (await house.facts(flow.id))[-1] == "PhaseStarted"
    assert await found(house) == {}


@pytest.mark.parametrize(
    ("lost", "lacks", "then"), [("runs", "run", "RunReassigned"), ("timers", "timer", "PhaseStarted")]
)
async def test_a_flow_with_nothing_under_way_is_found_and_goes_on(
    house: House, lost: str, lacks: str, then: str
) -> None:
    flow = await house.begin()
    if lost == "timers":
        await house.fail(flow.id)
    await house.rows(f"delete from {lost} where flow_id = %s", flow.id)
    await followed(house)
    await house.shift_clock(3600)
    await house.rows("update projections set updated_at = mfo_now()")
    await told_to_kafka(house)
    trouble = await found(house)
    assert set(trouble) == {"flow_stuck", "clock_shifted"}
    assert trouble["flow_stuck"].subjects[0]["lacks"] == lacks
    await mended(house, trouble["flow_stuck"])
    assert (await house.facts(flow.id))[-1] == then
    assert await house.one("select count(*) from runs where flow_id = %s", flow.id) == 1
    assert "flow_stuck" not in await found(house)


async def test_a_branch_whose_run_is_gone_is_found_beside_one_that_goes_on(database_url: str) -> None:
    async with open_house(database_url, flow_type_modules=("tests.consumers.forked",)) as house:
        flow = await house.begin(flow_type="working", initial_data={"folder": "/tmp"})
        await house.complete(flow.id)
        await followed(house)
        await house.shift_clock(3600)
        assert "flow_stuck" not in await found(house)
        await house.rows("delete from runs where phase_name = 'right'")
        trouble = (await found(house))["flow_stuck"]
        assert [(one["phase_name"], one["lacks"]) for one in trouble.subjects] == [("right", "run")]
        await mended(house, trouble)
        assert (await house.facts(flow.id))[-1] == "RunReassigned"
        assert await house.one("select token from runs where phase_name = 'right'") == 2
        assert await found(house, deep=True) == {}


async def test_who_is_silent_is_named(house: House) -> None:
    await house.begin()
    await served(house)
    await house.rows("update projections set updated_at = mfo_now() - interval '1 min' where name = 'inventory'")
    await house.rows("update relay set moved_at = mfo_now() - interval '1 min'")
    trouble = await found(house)
    names = [subject["name"] for subject in trouble["projection_silent"].subjects]
    assert set(trouble) == {"projection_silent", "relay_silent"}
    assert len(names) == 1
    shown(trouble.values())
    figures = {code: REGISTRY.get_sample_value("mfo_doctor_findings", {"code": code}) for code in CODES}
    assert {code for code, figure in figures.items() if figure} == set(trouble)


async def test_a_follower_that_nobody_leads_is_named_and_so_is_what_it_set_aside(house: House) -> None:
    await house.rows("insert into followers (name) values ('notes')")
    flow = await house.begin()
    await served(house)
    await house.rows("update followers set position = 0 where name = 'notes'")
    assert "follower_behind" not in await found(house)
    await house.rows(
        "insert into followers_set_aside (follower, position, flow_id, version, error, since, retry_at)"
        " select 'notes', notification_id, originator_id, 1, 'no', mfo_now(), mfo_now() from stored_events limit 1"
    )
    await house.shift_clock(60)
    trouble = await found(house)
    assert (trouble["follower_behind"].severity, trouble["follower_behind"].subjects[0]["name"]) == (
        "critical",
        "notes",
    )
    assert "no process leads it" in trouble["follower_behind"].message
    assert trouble["event_set_aside"].subjects[0]["flow_id"] == str(flow.id)
    await house.rows("update followers set leader = 'busy', lease_until = mfo_now() + interval '10 s'")
    assert (await found(house))["follower_behind"].severity == "warning"


async def test_a_read_model_that_stands_still_is_found_by_the_age_of_what_it_lacks(house: House) -> None:
    await house.shift_clock(-120)
    # two minutes ago may have been last month
    await house.rows("select command_log_partitions(0)")
    # the committer learns of the clock with a commit
    await house.begin()
    await served(house)
    await house.begin()
    await house.shift_clock(120)
    await told_to_kafka(house)
    await house.rows("update projections set updated_at = mfo_now()")
    assert set(await found(house)) == {"projection_behind"}


async def test_what_waits_for_minutes_is_named(house: House) -> None:
    flow = await house.begin()
    await served(house)
    await house.rows("update runs set queued_at = queued_at - interval '1 h' where flow_id = %s", flow.id)
    await house.rows(
        "insert into imports (id, client_account_id, engagement_id, filename, sha256, size_bytes, created_by, created_at)"
        " values (%s, %s, %s, 'a.csv', %s, 3, 'maria', mfo_now() - interval '1 h')",
        uuid4(),
        house.tenant.client_account_id,
        house.tenant.engagement_id,
        bytes(32),
    )
    trouble = await found(house)
    assert set(trouble) == {"run_waiting", "import_waiting"}
    assert flows_of(trouble["run_waiting"]) == [str(flow.id)]


async def test_a_flow_that_is_parked_is_named_with_what_waits(house: House) -> None:
    flow = await house.begin()
    await served(house)
    for n, error in ((1, '{"code": "unknown_topic", "detail": "a newer event"}'), (2, None)):
        await house.rows(
            "insert into parked_commands (flow_id, client_account_id, engagement_id, user_id, command_id, command, body,"
            " body_hash, source, correlation_id, received_at, error)"
            " values (%s, %s, %s, 'maria', %s, 'PauseFlow', '{}', '', 'http', 'c', mfo_now(), %s)",
            flow.id,
            house.tenant.client_account_id,
            house.tenant.engagement_id,
            str(n),
            error,
        )
    trouble = await found(house)
    assert set(trouble) == {"flow_parked"}
    assert trouble["flow_parked"].subjects == ({"flow_id": str(flow.id), "commands": 2, "error": "a newer event"},)


async def test_a_flow_that_was_set_aside_is_told_once_more(house: House) -> None:
    flow = await house.begin()
    await served(house)
    await house.rows(
        "insert into parked_flows (projection, flow_id, version, error, since)"
        " values ('crewai_flow_state_extensions', %s, 1, 'no such column', mfo_now())",
        flow.id,
    )
    trouble = await found(house)
    assert set(trouble) == {"flow_set_aside"}
    (done,) = await mended(house, trouble["flow_set_aside"])
    assert (done["outcome"], done["flow_id"]) == ("accepted", str(flow.id))
    assert await found(house) == {}


async def ended(house: House) -> UUID:
    """A flow that has ended, and another beside it that stays whole."""
    flow_id = (await house.begin()).id
    for _ in range(3):
        await house.complete(flow_id)
    await house.begin()
    return flow_id


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("delete from stored_events where originator_id = %s and originator_version = 2", "version_gap"),
        (
            "update stored_events set state = state || ' ' where originator_id = %s and originator_version = 3",
            "hash_broken",
        ),
        ("update heads set version = version - 1 where id = %s", "head_wrong"),
        ("delete from heads where id = %s", "head_wrong"),
    ],
)
async def test_a_history_that_somebody_changed_is_found_and_never_mended_in_silence(
    house: House, deed: str, code: str
) -> None:
    flow_id = await ended(house)
    await served(house)
    await house.rows(deed, flow_id)
    trouble = await found(house, deep=True)
    assert code in trouble
    assert set(trouble) <= {code, "read_model_differs"}
    assert flows_of(trouble[code]) == [str(flow_id)]
    assert not trouble[code].repairable


@pytest.mark.parametrize(
    "deed",
    [
        "update flow_state_extensions_v1 set version = version - 1 where flow_id = %s",
        "delete from flow_state_extensions_v1 where flow_id = %s",
    ],
)
async def test_a_row_that_differs_from_history_is_found_and_told_anew(house: House, deed: str) -> None:
    flow_id = await ended(house)
    await served(house)
    before = await house.rows("select * from crewai_flow_state_extensions where flow_id = %s", flow_id)
    await house.rows(deed, flow_id)
    trouble = await found(house, deep=True)
    assert set(trouble) == {"read_model_differs"}
    await mended(house, trouble["read_model_differs"], deep=True)
    assert await house.rows("select * from crewai_flow_state_extensions where flow_id = %s", flow_id) == before
    assert await found(house, deep=True) == {}


async def test_rows_of_a_sample_are_compared_with_what_history_says(
    database_url: str, kafka: str, topic_prefix: str
) -> None:
    config = config_for(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix)
    async with open_house(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix) as house:
        flow_id = await ended(house)
        await served(house)
        told: list[str] = []
        assert await untrue(config, told.append) == {}
        assert "crewai_flow_state_extensions: 2 flows, 4 rows compared with history" in told
        assert "hash chains: 13 events, 0 histories that do not hold" in told
        await house.rows("update flow_state_extensions_v1 set flow_name = 'ours' where flow_id = %s", flow_id)
        assert await untrue(config, told.append, sample=0) == {}
        finding = (await untrue(config, told.append))["rows_untrue"]
        assert (finding.count, finding.repairable) == (1, False)
        [subject] = finding.subjects
        assert (subject["flow_id"], subject["columns"]) == (str(flow_id), ["flow_name"])
        # what a row of another version says is told once, and mended there
        await house.rows("update flow_state_extensions_v1 set version = 1 where flow_id = %s", flow_id)
        assert set(await untrue(config, told.append)) == {"read_model_differs"}


async def untrue(config: ServiceConfig, said: Callable[[str], None], *, sample: int = 10) -> dict[str, Finding]:
    """What a deep look finds, but for what Kafka was not told here."""
    found = {finding.code: finding for finding in await look(config, deep=True, sample=sample, said=said)}
    found.pop("topic_behind", None)
    return found


async def test_a_stray_run_is_refused_and_removed(house: House) -> None:
    flow_id = await ended(house)
    await served(house)
    await house.rows(
        "insert into runs (id, flow_id, client_account_id, engagement_id, flow_type, phase_name, attempt, token, state,"
        " timeout_seconds, queued_at) values (%s, %s, %s, %s, 'inline', 'first', 1, 1, 'queued', 300,"
        " mfo_now() - interval '1 h')",
        uuid4(),
        flow_id,
        house.tenant.client_account_id,
        house.tenant.engagement_id,
    )
    trouble = await found(house, deep=True)
    assert set(trouble) == {"stray_run"}
    (done,) = await mended(house, trouble["stray_run"], deep=True)
    assert (done["command"], done["outcome"]) == ("FailPhase", "refused")
    assert await found(house, deep=True) == {}


async def test_a_topic_that_has_lost_what_it_was_told_is_told_anew(
    database_url: str, kafka: str, topic_prefix: str
) -> None:
    config = config_for(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix)
    async with open_house(database_url, kafka_bootstrap=kafka, topic_prefix=topic_prefix) as house:
        await house.begin()
        await served(house)
        trouble = {finding.code: finding for finding in await look(config, deep=True)}
        assert set(trouble) == {"topic_behind"}
        await mend(config, list(trouble.values()), deep=True, user_id="olga")
        assert await house.one("select position from relay") == 0


async def notification(house: House, **columns: str) -> None:
    given = {"state": "'pending'", "due_at": "mfo_now()", "ended_at": "null", **columns}
    await house.rows(
        f"insert into notifications (id, flow_id, version, client_account_id, engagement_id, event, kind, target, addressed,"
        f" payload, created_at, {', '.join(given)})"
        " select gen_random_uuid(), gen_random_uuid(), 3, gen_random_uuid(), gen_random_uuid(), 'flow.completed', 'email',"
        f" 'a@example.com', 'email:a@example.com', '{{}}', mfo_now(), {', '.join(given.values())}"
    )


async def test_notifications_that_were_given_up_or_that_nobody_sends_are_named(house: House) -> None:
    await notification(house)
    assert await found(house) == {}
    await notification(house, state="'dead'", ended_at="mfo_now()")
    await notification(house, due_at="mfo_now() - interval '31 s'")
    trouble = await found(house)
    assert {code: finding.count for code, finding in trouble.items()} == {
        "notification_dead": 1,
        "notification_overdue": 1,
    }
    # somebody sends, and the others wait for their turn
    await notification(house, lease_until="mfo_now() + interval '1 min'")
    assert set(await found(house)) == {"notification_dead"}
