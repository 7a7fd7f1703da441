"""The audit trail follows from the command log and history, and shows when somebody changed it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.auditing.compliance import RULES, Rule
from domain.auditing.policy import AuditPolicy
from domain.auditing.redaction import FILTERED
from domain.auditing.trail import Category
from domain.commands import DeleteFlow, PauseFlow, ResumeFlow
from domain.errors import KeyReused, OperatorOnly
from eventstore.audit import retention, trail
from eventstore.audit.notes import Note, Notes
from eventstore.audit.retention import HoldNotFound, Retention, apply
from eventstore.audit.settings_verify import settings
from projections.audit_trail import Trail
from tests.audit.archive import Archive
from tests.eventstore.house import create, new_tenant
from tests.waiting import until

COLUMNS = "select operation, category, level, outcome from audit_events"


async def entries(archive: Archive, where: str = "true", columns: str = COLUMNS) -> list[tuple[Any, ...]]:
    return await archive.do(f"{columns} where {where} order by source, place, part")


async def test_every_command_is_there_with_its_answer(archive: Archive) -> None:
    house = archive.house
    await house.ask(PauseFlow(flow_id=archive.flows[3], reason="again"), "twice")
    await house.ask(PauseFlow(flow_id=archive.flows[3], reason="again"), "twice")
    await archive.grow()
    asked = await entries(archive, f"flow_id = '{archive.flows[3]}' and source = 'command'")
    assert asked == [
        ("create", "flow_lifecycle", "info", "accepted"),
        ("pause", "flow_lifecycle", "info", "accepted"),
        ("pause", "flow_lifecycle", "debug", "repeated"),
        ("pause", "flow_lifecycle", "debug", "repeated"),
    ]
    refused = await entries(archive, "outcome = 'refused'", "select operation, error_code, actor from audit_events")
    assert refused == [("resume", "flow_not_paused", "maria")]
    # what entries are made under is a command of its own
    assert await archive.grow() == 1
    assert await archive.grow() == 0


async def test_what_the_system_did_and_rules_that_were_broken_are_there_too(archive: Archive) -> None:
    await archive.house.complete(archive.flows[3])
    flow = await archive.house.begin()
    await archive.house.fail(flow.id, retryable=False)
    await archive.house.ask(DeleteFlow(flow_id=flow.id))
    await archive.grow()
    found = {row[0]: row[1:3] for row in await entries(archive, "source = 'event'")}
    assert found["phase_completed"] == ("performance_event", "info")
    assert found["phase_failed"] == ("error_event", "warning")
    assert found["flow_failed"] == ("error_event", "error")
    columns = "select operation, error_code, details ->> 'what' from audit_events"
    [broken] = await entries(archive, "category = 'compliance_event'", columns)
    assert broken == ("compliance_violation", "flow_approval", "neither a reason nor an approver is recorded")
    assert await archive.compared() == []
    # a reader without other rights sees it
    async with archive.house.side.pool.connection() as connection, connection.transaction():
        await connection.execute("set local role mfo_reader")
        assert await (await connection.execute("select count(*) > 6 from audit_events")).fetchone() == (True,)


async def test_secrets_are_kept_from_sight_and_names_of_flows_are_not(archive: Archive) -> None:
    data = {
        "db": {"password": "hunter2"},
        "url": "postgresql://a:hunter2@db/x",
        "iban": "DE02",
        "who": "ann@example.com",
    }
    flow = create(flow_name="token of love", initial_data=data, flow_description="ask ann@example.com")
    await archive.house.ask(flow)
    await archive.grow(AuditPolicy(email=True, paths=("**.iban",)))
    [(body,)] = await entries(archive, f"flow_id = '{flow.flow_id}'", "select details -> 'body' from audit_events")
    assert body["flow_name"] == "token of love"
    assert body["flow_description"] == f"ask {FILTERED}"
    shown = {"db": {"password": FILTERED}, "url": f"postgresql://a:{FILTERED}@db/x", "iban": FILTERED, "who": FILTERED}
    assert body["initial_data"] == shown
    assert await archive.compared() == []


async def test_under_a_new_policy_older_entries_stay_what_they_were(archive: Archive) -> None:
    await archive.grow()
    await archive.house.ask(create(flow_description="ask ann@example.com"))
    await archive.grow(AuditPolicy(email=True))
    await archive.house.ask(create(flow_description="ask ann@example.com"))
    await archive.grow(AuditPolicy(phone=True))
    assert len(await archive.do("select 1 from audit_policies")) == 3
    assert await archive.compared() == []


async def test_who_asks_for_a_strangers_flow_is_noted_for_operators(archive: Archive) -> None:
    stranger = new_tenant()
    envelope = archive.house.envelope(tenant=stranger)
    await archive.house.committer.submit(PauseFlow(flow_id=archive.flows[0]), envelope)
    await archive.house.ask(PauseFlow(flow_id=uuid4()))
    await archive.grow()
    found = await entries(
        archive,
        "category = 'security_event'",
        "select operation, flow_id, client_account_id, restricted from audit_events",
    )
    assert found == [("access_foreign_flow", archive.flows[0], stranger.client_account_id, True)]
    assert await archive.compared() == []


async def test_notes_lie_in_the_command_log_and_only_where_there_is_something_to_note(archive: Archive) -> None:
    notes, stranger = Notes(archive.house.side.pool), new_tenant()
    notes.start()
    await notes.keep(archive.house.envelope(), Note("ReadAuditTrail", None, {"filters": {"actor": "maria"}}))
    notes.later(archive.house.envelope(tenant=stranger), Note("ForeignFlowRead", archive.flows[0], {}))
    notes.later(archive.house.envelope(tenant=stranger), Note("ForeignFlowRead", uuid4(), {}))
    notes.later(archive.house.envelope(), Note("AccessRefused", None, {"path": "/dlq"}, OperatorOnly()))

    async def noted() -> bool:
        return (
            len(await archive.do("select 1 from command_log where command in ('ForeignFlowRead', 'AccessRefused')"))
            == 2
        )

    await until(noted)
    await notes.stop()
    await archive.grow()
    found = await entries(archive, "operation in ('read_audit_trail', 'access', 'access_foreign_flow')")
    assert found == [
        ("read_audit_trail", "user_action", "info", "accepted"),
        ("access_foreign_flow", "security_event", "error", "accepted"),
        ("access", "security_event", "error", "refused"),
    ]
    await archive.sign()
    assert await archive.codes(published=True) == set()


async def test_it_goes_through_a_long_log_in_parts(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.audit_trail.MOST", 2)
    monkeypatch.setattr("eventstore.audit.trail.CHUNK", 1)
    assert await archive.grow() == 6 + 1
    assert await archive.compared() == []
    async with archive.house.side.pool.connection() as connection:
        # somebody else keeps the trail
        assert await Trail(AuditPolicy(), "second").round(connection) is None


Tamper = Callable[[Archive], Awaitable[Any]]


async def change_an_entry(archive: Archive) -> None:
    await archive.do("update audit_events_v1 set actor = 'nobody' where outcome = 'refused'")


async def change_details(archive: Archive) -> None:
    await archive.do("update audit_events_v1 set details = details || '{\"reason\": \"?\"}' where operation = 'pause'")


async def remove_an_entry(archive: Archive) -> None:
    await archive.do("delete from audit_events_v1 where outcome = 'refused'")


async def remove_a_violation(archive: Archive) -> None:
    await archive.do("delete from audit_events_v1 where category = 'compliance_event'")


async def make_an_entry_up(archive: Archive) -> None:
    await archive.do(
        "insert into audit_events_v1 select (jsonb_populate_record(a, jsonb_build_object('part', 5))).* from audit_events_v1 a"
        " where outcome = 'refused' and part = 0"
    )


async def take_an_entry_further(archive: Archive) -> None:
    await archive.do("update audit_events_v1 set place = place + 1000 where outcome = 'refused'")


async def pretend_retention(archive: Archive) -> None:
    await archive.do(
        "insert into audit_events_removed select source, place, part, policy, sha256('x') from audit_events_v1"
        " where source = 'event'"
    )
    await archive.do("delete from audit_events_v1 where source = 'event'")


async def make_an_entry_up_before_the_first_place(archive: Archive) -> None:
    await archive.do(
        "insert into audit_events_v1 select (jsonb_populate_record(a, jsonb_build_object('place', -3))).* from audit_events_v1 a"
        " where outcome = 'refused' and part = 0"
    )


async def pretend_retention_well(archive: Archive) -> None:
    async with archive.house.side.pool.connection() as connection:
        cursor = await connection.execute(
            f"select {', '.join(trail.COLUMNS)} from audit_events_v1 where source = 'event'", binary=True
        )
        for row in await cursor.fetchall():
            left = (*row[:3], row[-1], trail.digest(row[:-1]))
            await connection.execute("insert into audit_events_removed values (%s, %s, %s, %s, %s)", left)
    await archive.do("delete from audit_events_v1 where source = 'event'")


TAMPERINGS: list[tuple[Tamper, set[str]]] = [
    (change_an_entry, {"audit_event_changed"}),
    (change_details, {"audit_event_changed"}),
    (remove_an_entry, {"audit_event_missing"}),
    (remove_a_violation, {"audit_event_missing"}),
    (make_an_entry_up, {"audit_event_inserted"}),
    (take_an_entry_further, {"audit_event_inserted", "audit_event_missing"}),
    (make_an_entry_up_before_the_first_place, {"audit_event_inserted"}),
    (pretend_retention, {"audit_event_changed", "removal_unexplained"}),
    (pretend_retention_well, {"removal_unexplained"}),
]


async def test_each_way_to_change_the_trail_is_found(archive: Archive) -> None:
    await archive.house.complete(archive.flows[3])
    await archive.house.ask(DeleteFlow(flow_id=archive.flows[3]))
    await archive.sign()
    found = {}
    for tamper, _ in TAMPERINGS:
        # the trail can be made again at any time: nothing of it is the truth
        for statement in (
            "truncate audit_events_v1, audit_events_removed",
            "update audit_progress set commands_upto = 0",
            "update followers set position = 0 where name = 'audit_events'",
        ):
            await archive.do(statement)
        await archive.grow()
        assert await archive.compared() == []
        await tamper(archive)
        found[tamper] = await archive.codes()
    assert found == dict(TAMPERINGS)


async def test_what_differs_is_named(archive: Archive) -> None:
    await archive.grow()
    await change_an_entry(archive)
    [trouble] = await archive.compared()
    assert trouble.flow_id == archive.flows[0]
    assert "(resume, " in trouble.message
    assert trouble.message.endswith("changed in actor")
    assert await archive.compared(flow=archive.flows[1]) == []
    assert await archive.compared(account=archive.house.tenant.client_account_id) == []
    assert len(await archive.compared(flow=archive.flows[0])) == 1


async def kept_for(archive: Archive, days: int, *categories: Category) -> Retention:
    retention = Retention(archive.house.side.pool)
    for category in categories:
        await retention.set(archive.house.envelope(), category, days, "law")
    return retention


async def aged(archive: Archive, days: float) -> None:
    """Sign and enter what there is, and let so many days go by."""
    await archive.sign()
    await archive.grow()
    await archive.house.shift_clock(days * 86_400)


async def removed(archive: Archive) -> dict[str, int]:
    async with archive.house.side.pool.connection() as connection:
        found = await apply(connection)
    return {category: number for one in found for category, number in one.entries.items()}


async def test_what_retention_removes_leaves_what_verification_needs(archive: Archive) -> None:
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    await archive.house.complete(archive.flows[3])
    retention = await kept_for(archive, 100, Category.FLOW_LIFECYCLE, Category.PERFORMANCE_EVENT)
    await aged(archive, 99)
    assert await removed(archive) == {}
    await archive.house.shift_clock(2 * 86_400)
    assert await removed(archive) == {"flow_lifecycle": 3, "performance_event": 1}
    account = archive.house.tenant.client_account_id
    gone = await archive.do("select 1 from command_log where client_account_id = %s and command = 'PauseFlow'", account)
    assert gone == []
    assert [row["keep_days"] for row in await retention.all(account) if row["keep_days"]] == [100, 100]
    await archive.sign()
    await archive.grow()
    assert await archive.codes(published=True) == set()
    [body] = await entries(
        archive, "operation = 'apply_audit_retention'", "select details -> 'body' -> 'removed' from audit_events"
    )
    assert body == ({"flow_lifecycle": 3, "performance_event": 1},)
    # what says so is kept, though it is old and of a category that is not
    await kept_for(archive, 100, *Category)
    await aged(archive, 200)
    await removed(archive)
    await archive.sign()
    await archive.grow()
    assert await archive.codes(published=True) == set()
    assert len(await entries(archive, "operation = 'apply_audit_retention'")) == 2
    # another account's is untouched, and what was removed cannot be told to have been something else
    assert len(await entries(archive, f"flow_id = '{archive.flows[0]}' and operation = 'create'")) == 1
    await archive.do("update command_log_removed set digest = sha256('x')")
    assert "command_log_differs" in await archive.codes()


OWN = Rule(name="no_lunch", title="Nobody pauses for lunch", operations=("pause",), reason_fits="^(?!lunch)")


async def test_rules_of_ones_own_are_run_and_verified_with_those_that_are_shipped(archive: Archive) -> None:
    await archive.grow()
    assert await entries(archive, "category = 'compliance_event'") == []
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    await archive.house.ask(PauseFlow(flow_id=archive.flows[3], reason="lunch again, IBAN DE021"))
    await archive.grow(AuditPolicy(rules=(*RULES, OWN), patterns=(r"DE\d+",)))
    columns = "select error_code, details ->> 'title', reason from audit_events"
    broken = await entries(archive, "category = 'compliance_event'", columns)
    assert broken == [("no_lunch", "Nobody pauses for lunch", f"lunch again, IBAN {FILTERED}")]
    # entries that were made before hold without it, and those after it with it
    assert await archive.codes() == set()


async def soften_a_policy(archive: Archive) -> None:
    await archive.do("update audit_policies set document = replace(document, '\"email\":true', '\"email\":false')")
    await archive.do("delete from audit_events_v1")
    await archive.do("update audit_progress set commands_upto = 0")
    await archive.do("update followers set position = 0 where name = 'audit_events'")
    await archive.grow()


async def shorten_retention(archive: Archive) -> None:
    await archive.do("update audit_retention set keep_days = 1")


async def forget_retention(archive: Archive) -> None:
    await archive.do("delete from audit_retention")


async def make_retention_up(archive: Archive) -> None:
    await archive.do("insert into audit_retention values (gen_random_uuid(), 'user_action', 1, 'nobody', now())")


async def remove_a_hold(archive: Archive) -> None:
    await archive.do("delete from audit_holds")


async def release_a_hold(archive: Archive) -> None:
    await archive.do("update audit_holds set released_at = now(), released_by = 'nobody'")


async def remove_under_another_retention(archive: Archive) -> None:
    """With the table as it was before, after the deed."""
    await archive.do("alter table audit_holds rename to holds")
    await archive.do("create table audit_holds (like holds)")
    await archive.do("update audit_retention set keep_days = 1")
    await archive.house.shift_clock(5 * 86_400)
    assert await removed(archive) == {"flow_lifecycle": 2}
    await archive.do("update audit_retention set keep_days = 100")
    await archive.do("drop table audit_holds")
    await archive.do("alter table holds rename to audit_holds")


@pytest.mark.parametrize(
    ("tamper", "codes"),
    [
        (soften_a_policy, {"audit_policy_changed"}),
        (shorten_retention, {"audit_retention_changed"}),
        (forget_retention, {"audit_retention_changed"}),
        (make_retention_up, {"audit_retention_changed"}),
        (remove_a_hold, {"legal_hold_changed"}),
        (release_a_hold, {"legal_hold_changed"}),
        (remove_under_another_retention, {"removal_unexplained"}),
    ],
)
async def test_each_way_to_change_what_governs_the_trail_is_found(
    archive: Archive, tamper: Tamper, codes: set[str]
) -> None:
    retention = await kept_for(archive, 100, Category.FLOW_LIFECYCLE)
    await retention.place(archive.house.envelope(), None, "in court")
    await archive.grow(AuditPolicy(email=True))
    await archive.sign()
    await archive.grow(AuditPolicy(email=True))
    assert await archive.codes() == set()
    await tamper(archive)
    await archive.sign()
    assert await archive.codes() == codes


async def test_an_upgrade_says_in_the_command_log_what_governs_the_trail_by_then(archive: Archive) -> None:
    retention = await kept_for(archive, 100, Category.FLOW_LIFECYCLE)
    hold = await retention.place(archive.house.envelope(), None, "in court")
    await retention.place(archive.house.envelope(), archive.flows[3], "in court, too")
    await retention.release(archive.house.envelope(), hold, "settled")
    await archive.grow()
    governing = "command ~ 'Audit|Hold'"
    await archive.do(f"delete from command_log where {governing}")
    assert await archive.codes() >= {"audit_policy_changed", "audit_retention_changed", "legal_hold_changed"}
    await archive.do(files("eventstore.sql").joinpath("audit_settings.sql").read_text())
    async with archive.house.side.pool.connection() as connection:
        assert (await settings(connection)).troubles == []
    assert len(await archive.do(f"select 1 from command_log where {governing}")) == 5


async def test_what_is_not_signed_yet_is_not_removed(archive: Archive) -> None:
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    await kept_for(archive, 1, *Category)
    await archive.grow()
    await archive.house.shift_clock(5 * 86_400)
    assert await removed(archive) == {"flow_lifecycle": 2}


async def test_a_hold_that_is_placed_while_entries_are_removed_keeps_them(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = await kept_for(archive, 90, Category.FLOW_LIFECYCLE)
    await aged(archive, 91)
    remove = retention._remove_commands

    async def held_first(*asked: Any) -> None:
        monkeypatch.undo()
        await keeping.place(archive.house.envelope(), archive.flows[3], "in court")
        await remove(*asked)

    monkeypatch.setattr(retention, "_remove_commands", held_first)
    assert await removed(archive) == {}
    assert len(await entries(archive, f"flow_id = '{archive.flows[3]}' and category = 'flow_lifecycle'")) == 2


async def test_a_legal_hold_keeps_what_it_names(archive: Archive) -> None:
    retention, tenant = await kept_for(archive, 90, Category.FLOW_LIFECYCLE), archive.house.tenant
    envelope = archive.house.envelope()
    hold = await retention.place(envelope, archive.flows[3], "in court")
    assert await retention.place(envelope, archive.flows[3], "in court") == hold
    with pytest.raises(KeyReused):
        await retention.place(envelope, archive.flows[3], "for fun")
    await aged(archive, 91)
    assert await removed(archive) == {}
    with pytest.raises(HoldNotFound):
        await retention.release(archive.house.envelope(), UUID(int=1), None)
    await retention.release(archive.house.envelope(), hold, "settled")
    [shown] = await retention.holds(tenant)
    assert (shown["reason"], shown["released_by"]) == ("in court", "maria")
    assert await removed(archive) == {"flow_lifecycle": 2}
    await archive.grow()
    await kept_for(archive, 30, Category.USER_ACTION)
    await retention.set(archive.house.envelope(), Category.USER_ACTION, None, None)
    await archive.grow()
    broken = await entries(archive, "category = 'compliance_event'", "select error_code from audit_events")
    assert broken == [("data_retention",), ("flow_approval",)]
    admin = {row[0] for row in await entries(archive, "category = 'security_event'")}
    assert admin == {"set_audit_retention", "place_legal_hold", "release_legal_hold"}
