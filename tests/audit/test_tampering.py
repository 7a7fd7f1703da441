"""Whoever changes history is found out, by what, and where; also who may write everything in the database."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain.commands import PauseFlow, ResumeFlow
from eventstore.audit import artifacts_verify, settings_verify, trail_verify, verify
from eventstore.audit.checkpoints import Checkpoint
from eventstore.audit.leaves import COMMAND_SELECT, command_digest
from eventstore.audit.signer import Round, Signer
from eventstore.audit.signing import SigningKey, trusted
from tests.audit.archive import KEY, KEYS, Archive
from tests.eventstore.house import new_tenant


async def test_what_nobody_touched_holds(archive: Archive) -> None:
    verdict = await archive.verify(published=True)
    assert (verdict.troubles, verdict.flows, verdict.checkpoints) == ([], 4, 2)
    assert (verdict.unsigned_events, verdict.unsigned_commands) == (0, 0)
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    assert (await archive.verify()).unsigned_commands == 1


async def test_a_checkpoint_covers_what_is_new_and_refused_commands_too(archive: Archive) -> None:
    first, second = (checkpoint.said for checkpoint in archive.published)
    assert (first.number, first.events.count, first.commands.count) == (1, 6, 4)
    assert second.client_account_id != first.client_account_id
    assert second.commands.count == 2
    assert await archive.sign() == Round(0, 0, more=False)
    await archive.house.ask(PauseFlow(flow_id=archive.flows[3]))
    assert await archive.sign() == Round(1, 0, more=False)
    third = archive.published[-1].said
    assert (third.number, third.previous) == (2, archive.published[1].digest)
    assert third.events.after == second.events.upto


Tamper = Callable[[Archive], Awaitable[Any]]


async def change_a_byte(archive: Archive) -> None:
    """One digit in the middle of an event."""
    await archive.do(
        "update stored_events set state = convert_to(replace(convert_from(state, 'UTF8'), 'maria', 'marie'), 'UTF8')"
        " where originator_id = %s and originator_version = 2",
        archive.flows[1],
    )


async def remove_the_last_event(archive: Archive) -> None:
    await archive.do("delete from stored_events where originator_id = %s and originator_version = 2", archive.flows[1])
    await archive.do(
        "update heads set version = 1, hash = (select hash from stored_events where originator_id = heads.id) where id = %s",
        archive.flows[1],
    )


async def remove_an_event_between(archive: Archive) -> None:
    await archive.do("delete from stored_events where originator_id = %s and originator_version = 2", archive.flows[3])


async def remove_a_head(archive: Archive) -> None:
    await archive.do("delete from heads where id = %s", archive.flows[1])


async def remove_a_flow(archive: Archive) -> None:
    for statement in (
        "delete from stored_events where originator_id = %s",
        "delete from heads where id = %s",
        "delete from runs where flow_id = %s",
    ):
        await archive.do(statement, archive.flows[1])


async def insert_an_event(archive: Archive) -> None:
    """A third event of a flow, with the place of one that a rolled back transaction left free."""
    flow = archive.flows[1]
    await archive.do("update stored_events set notification_id = notification_id + 1000 where notification_id > 4")
    await archive.do("update stored_events set notification_id = notification_id - 999 where notification_id > 1000")
    await archive.do(
        "insert into stored_events (originator_id, originator_version, topic, state, hash, notification_id)"
        " select originator_id, 3, topic, state, hash, 5 from stored_events where originator_id = %s and originator_version = 2",
        flow,
    )
    await archive.rewrite(flow)


async def swap_two_events(archive: Archive) -> None:
    """Two flows' beginnings change places in the log."""
    one, two = archive.flows[:2]
    await archive.do(
        "update stored_events set notification_id = -1 where originator_id = %s and originator_version = 1", one
    )
    await archive.do(
        "update stored_events set notification_id = 1 where originator_id = %s and originator_version = 1", two
    )
    await archive.do("update stored_events set notification_id = 3 where notification_id = -1")


async def change_a_command(archive: Archive) -> None:
    await archive.do("update command_log set user_id = 'nobody' where outcome = 'refused'")


async def remove_a_command(archive: Archive) -> None:
    await archive.do("delete from command_log where outcome = 'refused'")


async def forge_a_checkpoint(archive: Archive) -> None:
    """Its root is made to fit, its signature cannot be."""
    await archive.do(
        "update audit_checkpoints set statement = convert_to(replace(convert_from(statement, 'UTF8'), '\"count\":6',"
        " '\"count\":5'), 'UTF8') where statement like %s",
        b'%"count":6%',
    )


async def remove_a_checkpoint(archive: Archive) -> None:
    await archive.house.ask(PauseFlow(flow_id=archive.flows[3]))
    await archive.sign()
    await archive.do(
        "delete from audit_checkpoints where number = 1 and client_account_id = %s",
        archive.house.tenant.client_account_id,
    )


async def remove_the_newest_checkpoint(archive: Archive) -> None:
    await archive.do(
        "delete from audit_checkpoints where client_account_id = %s", archive.house.tenant.client_account_id
    )


async def insert_an_event_before_the_first_place(archive: Archive) -> None:
    """Where no checkpoint ever looks."""
    flow = archive.flows[1]
    await archive.do(
        "insert into stored_events (originator_id, originator_version, topic, state, hash, notification_id)"
        " select originator_id, 3, topic, state, hash, -7 from stored_events where originator_id = %s and originator_version = 2",
        flow,
    )
    await archive.rewrite(flow)


async def insert_a_command_before_the_first_place(archive: Archive) -> None:
    columns = "at, client_account_id, engagement_id, user_id, command_id, command, flow_id, source, outcome, version"
    await archive.do(
        f"insert into command_log (n, {columns}, correlation_id)"
        f" select -7, {columns}, 'made up' from command_log where outcome = 'refused'"
    )


async def give_a_flow_to_another_engagement(archive: Archive) -> None:
    await archive.do("update heads set engagement_id = gen_random_uuid() where id = %s", archive.flows[1])


async def pretend_that_retention_removed_a_command(archive: Archive) -> None:
    """With the digest that the checkpoint wants."""
    async with archive.house.side.pool.connection() as connection:
        cursor = await connection.execute(
            f"select {COMMAND_SELECT} from command_log where outcome = 'refused'", binary=True
        )
        for row in await cursor.fetchall():
            await connection.execute(
                "insert into command_log_removed values (%s, %s, %s, now())", (row[0], row[2], command_digest(row))
            )
    await archive.do("delete from command_log where outcome = 'refused'")


@pytest.mark.parametrize(
    ("tamper", "codes"),
    [
        (change_a_byte, {"event_changed"}),
        (remove_the_last_event, {"history_differs", "event_removed"}),
        (remove_a_flow, {"history_differs", "event_removed"}),
        (remove_an_event_between, {"event_missing", "history_differs", "event_removed"}),
        (remove_a_head, {"head_missing", "history_differs"}),
        (insert_an_event, {"history_differs", "event_removed"}),
        (swap_two_events, {"history_differs"}),
        (change_a_command, {"command_log_differs"}),
        (remove_a_command, {"command_log_differs"}),
        (forge_a_checkpoint, {"checkpoint_forged"}),
        (remove_a_checkpoint, {"checkpoint_missing"}),
        (remove_the_newest_checkpoint, {"checkpoint_missing"}),
        (insert_an_event_before_the_first_place, {"history_differs"}),
        (insert_a_command_before_the_first_place, {"command_log_differs"}),
        (give_a_flow_to_another_engagement, {"head_differs"}),
        (pretend_that_retention_removed_a_command, {"removal_unexplained"}),
    ],
)
async def test_each_way_to_change_history_is_found(archive: Archive, tamper: Tamper, codes: set[str]) -> None:
    await tamper(archive)
    assert await archive.codes() == codes


async def test_what_was_changed_is_named(archive: Archive) -> None:
    await change_a_byte(archive)
    [trouble] = (await archive.verify()).troubles
    assert (trouble.flow_id, trouble.version) == (archive.flows[1], 2)
    assert f"flow {archive.flows[1]}, version 2" in trouble.message


async def test_what_was_removed_is_named_by_the_command_that_brought_it_about(archive: Archive) -> None:
    await remove_a_flow(archive)
    removed = [trouble for trouble in (await archive.verify()).troubles if trouble.code == "event_removed"]
    assert [trouble.flow_id for trouble in removed] == [archive.flows[1]]
    assert "CreateFlow" in removed[0].message


async def test_history_that_is_rewritten_consistently_does_not_hold_against_what_is_signed(archive: Archive) -> None:
    await change_a_byte(archive)
    await archive.rewrite(archive.flows[1])
    assert await archive.codes() == {"history_differs"}


async def test_who_signs_a_rewritten_history_anew_is_found_by_the_published_checkpoints(archive: Archive) -> None:
    await change_a_byte(archive)
    await archive.rewrite(archive.flows[1])
    thief = SigningKey(b"\x07" * 32)
    for statement in (
        "delete from audit_checkpoints",
        "delete from audit_keys",
        "update followers set position = 0, leader = null where name = 'checkpoints'",
        "update audit_signer set commands_upto = 0",
    ):
        await archive.do(statement)
    before = list(archive.published)
    await archive.sign(Signer(thief, {}, "thief"))
    archive.published = before
    # who believes the keys in the store sees nothing
    assert await archive.codes(keys=trusted([thief.public_key])) == set()
    assert await archive.codes(keys=trusted([thief.public_key, KEY.public_key]), published=True) == {
        "history_rewritten"
    }
    assert await archive.codes() == {"key_unknown"}


async def test_a_stranger_s_line_among_the_published_ones_proves_nothing(archive: Archive) -> None:
    told = archive.published[0]
    archive.published.append(
        Checkpoint(told.statement.replace(b'"count":6', b'"count":7'), told.signature, told.key_id)
    )
    verdict = await archive.verify(published=True)
    assert (verdict.troubles, verdict.published) == ([], 2)


async def test_nothing_is_signed_on_ground_that_gives_way_until_it_holds_again(archive: Archive) -> None:
    await archive.do("update command_log set user_id = 'nobody' where command = 'PauseFlow'")
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    assert await archive.sign() == Round(0, 1, more=False)
    [(why,)] = await archive.do("select why from audit_refused")
    assert "mfo audit verify" in why
    await archive.do("update command_log set user_id = 'maria' where command = 'PauseFlow'")
    await archive.house.ask(PauseFlow(flow_id=archive.flows[3]))
    assert await archive.sign() == Round(1, 0, more=False)
    assert await archive.do("select 1 from audit_refused") == []
    # what came while nothing was signed is covered
    verdict = await archive.verify()
    assert (verdict.troubles, verdict.unsigned_events, verdict.unsigned_commands) == ([], 0, 0)
    assert archive.published[-1].said.commands.count == 2


async def test_of_accounts_that_were_signed_together_only_the_one_that_was_changed_is_refused(archive: Archive) -> None:
    house, here = archive.house, archive.house.tenant
    elsewhere = new_tenant()

    async def begun_and_signed() -> Round:
        for tenant in (here, elsewhere):
            house.tenant = tenant
            await house.begin()
        return await archive.sign()

    assert await begun_and_signed() == Round(2, 0, more=False)
    assert await begun_and_signed() == Round(2, 0, more=False)
    newest = "select max(n) from command_log where client_account_id = %s"
    await archive.do(f"update command_log set user_id = 'nobody' where n = ({newest})", elsewhere.client_account_id)
    assert await begun_and_signed() == Round(1, 1, more=False)
    assert await archive.do("select client_account_id from audit_refused") == [(elsewhere.client_account_id,)]
    assert await archive.codes() == {"command_log_differs"}


async def test_a_new_key_goes_on_where_it_knows_the_one_before(archive: Archive) -> None:
    following = SigningKey(b"\x01" * 32)
    await archive.house.ask(ResumeFlow(flow_id=archive.flows[3]))
    assert (await archive.sign(Signer(following, {}, "first"))).refused == 1
    [(why,)] = await archive.do("select why from audit_refused")
    assert "MFO_AUDIT_FORMER_KEYS" in why
    await archive.house.ask(PauseFlow(flow_id=archive.flows[3]))
    assert (await archive.sign(Signer(following, KEYS, "first"))).made == 1
    assert await archive.codes(keys=trusted([KEY.public_key, following.public_key])) == set()
    named = await archive.do("select key_id from audit_keys order by first_used_at")
    assert [row[0] for row in named] == [KEY.key_id, following.key_id]


async def test_of_two_signers_one_signs(archive: Archive) -> None:
    async with archive.house.side.pool.connection() as connection:
        assert await Signer(KEY, {}, str(uuid4())).round(connection) is None


GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "audit-history.md"
CODES = (
    *(trail_verify.CHANGED, trail_verify.MISSING, trail_verify.INSERTED, trail_verify.UNEXPLAINED),
    *(settings_verify.POLICY, settings_verify.RETENTION, settings_verify.HOLD),
    *re.findall(r'(?:code=|wrong\(|_of_flow\(|"events", |"commands", )"(\w+)"', Path(verify.__file__).read_text()),
    *re.findall(r'"(artifact_\w+)"', Path(artifacts_verify.__file__).read_text()),
)


def test_every_finding_is_explained_in_the_guide_and_is_in_its_table_of_faults() -> None:
    explained, faults = GUIDE.read_text().split("What somebody may do, and what tells.")
    assert len(set(CODES)) >= 19
    assert {code for code in CODES if f"`{code}`" not in explained} == set()
    assert {code for code in CODES if f"`{code}`" not in faults} == set()
