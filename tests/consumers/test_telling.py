"""People and services are told what happens to flows: at least once, under one id, and never where it is not allowed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consumers.follower import Followers
from consumers.telling.mail import compose, send
from consumers.telling.notifier import notifier
from consumers.telling.outcome import Came
from consumers.telling.sender import LEASE_SECONDS, Sender, pause_after
from consumers.telling.webhooks import NOT_PUBLIC, Webhooks, may_reach
from domain.addresses import Addressing
from domain.commands import CreateOptions, ExecutePhase, PauseFlow, RequestInput
from domain.errors import SubscriptionDisabled
from domain.subscriptions import CreateSubscription, RotateSubscriptionSecret, SubscriptionFilter, UpdateSubscription
from eventstore.notifications import Notifications, ToTell, make
from eventstore.service import MailFolder, SmtpConfig, TellingConfig
from eventstore.subscriptions import Subscriptions, new_secret
from eventstore.tasks import end_all
from tests.eventstore.house import House, imported, open_house
from tests.receivers import Got, MailServer, Receiver, mail_server, receiver
from tests.waiting import until

Json = dict[str, Any]
PATIENCE = 40.0


def config(mail: MailServer | None = None, **given: Any) -> TellingConfig:
    """Mail to example.com and webhooks on loopback."""
    known = {
        "addressing": Addressing(
            mail=mail is not None,
            email_domains=("example.com",),
            webhook_hosts=("127.0.0.1", "localhost"),
            webhook_http=True,
        ),
        "mail": SmtpConfig(host="127.0.0.1", port=mail.port, security="plain", sender="mfo@mfo.test") if mail else None,
        "webhook_networks": ("127.0.0.0/8", "::1/128"),
        "webhook_timeout_seconds": 20.0,
        "public_url": "https://flows.test",
    }
    return TellingConfig(**{**known, **given})


@dataclass
class Tellers:
    """A house whose news are told."""

    house: House

    @property
    def subscriptions(self) -> Subscriptions:
        side = self.house.side
        return Subscriptions(side.pool, side.keyring, side.config.telling.addressing)

    @property
    def notifications(self) -> Notifications:
        return Notifications(self.house.side.pool)

    async def subscribe(self, url: str, **fields: Any) -> Json:
        wanted = CreateSubscription(kind="webhook", url=url, **fields)
        return await self.subscriptions.create(self.house.envelope(), wanted)

    async def completed(self, **fields: Any) -> UUID:
        """A flow that has completed."""
        flow = await self.house.begin(**fields)
        for _ in range(3):
            await self.house.complete(flow.id, {"secret_figure": 4711})
        return flow.id

    async def all(self, **wanted: Any) -> list[Json]:
        return await self.notifications.page(self.house.tenant, 200, **wanted)

    async def in_state(self, state: str, number: int = 1) -> list[Json]:
        """Those in a state, as soon as there are so many."""

        async def there() -> list[Json]:
            found = await self.all(state=state)
            return found if len(found) >= number else []

        found: list[Json] = await until(there, PATIENCE)
        return found

    async def tried(self, notification_id: UUID, times: int) -> list[Json]:
        """What the attempts came to, as soon as there were so many and the last is noted."""

        async def there() -> list[Json]:
            one = await self.notifications.one(self.house.tenant, notification_id)
            return one["tries"] if len(one["tries"]) >= times else []

        tries: list[Json] = await until(there, PATIENCE)
        return tries

    async def later(self, seconds: float) -> None:
        """So much time passes, and the senders look."""
        await self.house.shift_clock(seconds)
        await self.house.rows("select pg_notify('mfo_notifications', current_schema())")


@asynccontextmanager
async def telling(database_url: str, given: TellingConfig, *, processes: int = 1) -> AsyncIterator[Tellers]:
    """A write side with so many followers and senders, as the service has them."""
    async with open_house(database_url, telling=given) as house:
        tasks = []
        for _ in range(processes):
            tasks.append(asyncio.create_task(Followers(house.side.config, [notifier(house.side.config)]).run()))
            tasks.append(asyncio.create_task(Sender(house.side).run()))
        try:
            yield Tellers(house)
        finally:
            await end_all(tasks)


def signed(got: Got, secret: str) -> str:
    """The signature as the rules have it, computed here anew."""
    key = b64decode(secret.removeprefix("whsec_"))
    text = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    return "v1," + b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


async def arrived(there: Receiver, number: int = 1) -> list[Got]:
    await until(lambda: len(there.got) >= number, PATIENCE)
    return there.got


async def test_a_webhook_is_told_with_a_signature_that_holds(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        made = await tell.subscribe(there.url("/hook?key=1"))
        assert made["secret"].startswith("whsec_")
        flow_id = await tell.completed(flow_name="Estate", flow_tags=("june",), initial_data={"n": "hush-hush"})
        [got] = await arrived(there)
        assert got.headers["webhook-signature"] == signed(got, made["secret"])
        assert abs(int(got.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 300
        assert got.headers["content-type"] == "application/json"
        assert "." not in got.id
        assert got.json["type"] == "flow.completed"
        assert datetime.fromisoformat(got.json["timestamp"]).tzinfo is not None
        version = await tell.house.one("select version from heads where id = %s", flow_id)
        assert got.json["data"] == {
            "flow_id": str(flow_id),
            "flow_name": "Estate",
            "flow_type": "inline",
            "flow_tags": ["june"],
            "status": "completed",
            "phase": None,
            "version": version,
            "client_account_id": str(tell.house.tenant.client_account_id),
            "engagement_id": str(tell.house.tenant.engagement_id),
            "url": f"https://flows.test/flows/{flow_id}",
        }
        [sent] = await tell.in_state("sent")
        assert (sent["event"], sent["attempts"], sent["last_status"], sent["last_error"]) == (
            "flow.completed",
            1,
            204,
            None,
        )
        kept = await tell.house.one("select secret::text from subscriptions")
        assert made["secret"] not in kept
        assert "sealed" in kept


async def test_what_becomes_of_a_flow_that_was_taken_over_is_told_too(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        await tell.subscribe(there.url("/hook"), filter=SubscriptionFilter(flow_type="inline", tag="old"))
        flow_id = (await tell.house.ask(imported(flow_tags=("old",)))).flow_id
        await tell.house.ask(ExecutePhase(flow_id=flow_id))
        await tell.house.fail(flow_id, retryable=False)
        [got] = await arrived(there)
        assert (got.json["type"], got.json["data"]["flow_name"]) == ("flow.failed", "Of old")


async def test_a_flow_that_names_addresses_has_mail_sent(database_url: str) -> None:
    async with mail_server() as mail, telling(database_url, config(mail)) as tell:
        options = CreateOptions(
            auto_execute=True, notification_emails=("ann@example.com", "Bob@Example.com", "bob@example.com")
        )
        name = "Estate <b>\r\nBcc: eve@evil.test\r\n\r\nHello ä"
        flow_id = await tell.completed(flow_name=name, options=options, initial_data={"n": "hush-hush"})
        sent = await tell.in_state("sent", 2)
        await until(lambda: len(mail.got) == 2, PATIENCE)
        assert {got.recipient.lower() for got in mail.got} == {"ann@example.com", "bob@example.com"}
        [got] = [got for got in mail.got if got.recipient == "ann@example.com"]
        letter = got.mail
        assert (got.sender, letter["From"], letter["To"]) == ("mfo@mfo.test", "mfo@mfo.test", "ann@example.com")
        assert letter["Bcc"] is None
        assert letter["Subject"] == "Flow Estate <b> Bcc: eve@evil.test Hello ä has completed"
        [row] = [row for row in sent if row["address"] == "ann@example.com"]
        assert letter["Message-ID"] == f"<{row['notification_id']}.notification@mfo.test>"
        text, html = got.part("plain"), got.part("html")
        for told in (text, html):
            assert "has completed" in told
            assert f"https://flows.test/flows/{flow_id}" in told
            assert "hush-hush" not in told
            assert "4711" not in told
        assert "Estate &lt;b&gt;" in html


async def test_failures_questions_and_pauses_by_rule_are_news_and_other_pauses_are_not(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        await tell.subscribe(there.url())
        house = tell.house
        failing, asking, paused, stopped = [(await house.begin()).id for _ in range(4)]
        await house.fail(failing, retryable=False)
        run = await house.run_of(asking)
        question = {"fields": ("mappings",), "message": "the password is x", "suggestions": {"a": "hush-hush"}}
        await house.ask(RequestInput(flow_id=asking, run_id=run.run_id, token=run.token, **question))
        await house.ask(PauseFlow(flow_id=stopped, reason="by hand"))
        await house.ask(PauseFlow(flow_id=paused, reason="error rate 0.6 in 5 min"), source="rule")
        told = {got.json["data"]["flow_id"]: got.json for got in await arrived(there, 3)}
        assert told[str(failing)]["type"] == "flow.failed"
        assert told[str(failing)]["data"]["error"]["class"] == "network"
        assert told[str(failing)]["data"]["phase"]
        assert told[str(asking)]["type"] == "flow.input_requested"
        assert told[str(paused)]["data"]["reason"] == "error rate 0.6 in 5 min"
        for got in there.got:
            assert b"hush-hush" not in got.body
            assert b"password" not in got.body
        await tell.in_state("sent", 3)
        assert str(stopped) not in told


async def test_a_subscription_hears_only_what_it_asked_for_and_nothing_from_before(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        await tell.completed(flow_tags=("june",))
        await tell.subscribe(there.url("/all"))
        await tell.subscribe(there.url("/june"), filter=SubscriptionFilter(tag="june"))
        await tell.subscribe(there.url("/type"), filter=SubscriptionFilter(flow_type="discovery"))
        await tell.subscribe(there.url("/failed"), events=("flow.failed",))
        stranger = replace_tenant(tell)
        await stranger.subscribe(there.url("/stranger"))
        june, july = await tell.completed(flow_tags=("june",)), await tell.completed(flow_tags=("july",))
        await tell.in_state("sent", 3)
        heard = sorted((got.path, got.json["data"]["flow_id"]) for got in await arrived(there, 3))
        assert heard == sorted([("/all", str(june)), ("/all", str(july)), ("/june", str(june))])


def replace_tenant(tell: Tellers) -> Tellers:
    return Tellers(replace(tell.house, tenant=tell.house.tenant.__class__(uuid4(), uuid4(), "eve")))


async def test_what_failed_is_tried_again_under_the_same_id(database_url: str) -> None:
    async with receiver(web.Response(status=500)) as there, telling(database_url, config()) as tell:
        made = await tell.subscribe(there.url())
        await tell.completed()
        [row] = await tell.in_state("pending")
        [tried] = await tell.tried(row["notification_id"], 1)
        assert (tried["status"], tried["error"]) == (500, "it answered 500")
        await tell.later(7)
        [sent] = await tell.in_state("sent")
        first, second = await arrived(there, 2)
        assert first.id == second.id == f"msg_{sent['notification_id'].hex}"
        assert first.body == second.body
        assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
        assert second.headers["webhook-signature"] == signed(second, made["secret"])
        assert sent["attempts"] == 2


async def test_a_receiver_that_is_away_is_tried_again_until_the_notification_is_dead_and_can_be_replayed(
    database_url: str,
) -> None:
    async with receiver() as before:
        port = before.port
    async with telling(database_url, config(max_attempts=2)) as tell:
        await tell.subscribe(f"http://127.0.0.1:{port}/hook")
        await tell.completed()
        [row] = await tell.in_state("pending")
        [tried] = await tell.tried(row["notification_id"], 1)
        assert tried["error"] == "it cannot be reached: ConnectionRefusedError"
        await tell.later(7)
        [dead] = await tell.in_state("dead")
        assert (dead["attempts"], dead["last_status"]) == (2, None)
        async with receiver(port=port) as there:
            again = await tell.notifications.replay(tell.house.envelope("r-1"), dead["notification_id"])
            assert (again["state"], again["replays"]) == ("pending", 1)
            await tell.notifications.replay(tell.house.envelope("r-1"), dead["notification_id"])
            [sent] = await tell.in_state("sent")
            assert (sent["attempts"], sent["replays"]) == (1, 1)
            assert [got.id for got in there.got] == [f"msg_{dead['notification_id'].hex}"]
        assert await tell.house.rows("select command, outcome, user_id from command_log where command_id = 'r-1'") == [
            ("ReplayNotification", "accepted", "maria"),
            ("ReplayNotification", "repeated", "maria"),
        ]


KILLED = """
import asyncio, sys
from consumers.telling.sender import Sender
from tests.consumers.test_telling import config
from tests.eventstore.house import open_house

async def main():
    async with open_house(sys.argv[1], telling=config()) as house:
        await Sender(house.side).run()

asyncio.run(main())
"""


async def test_who_is_killed_between_sending_and_noting_leaves_it_to_another(database_url: str) -> None:
    async with receiver(None) as there, open_house(database_url, telling=config()) as house:
        tell = Tellers(house)
        await tell.subscribe(there.url())
        follower = asyncio.create_task(Followers(house.side.config, [notifier(house.side.config)]).run())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, cwd=Path(__file__).parents[2]
        )
        try:
            await tell.completed()
            await arrived(there)
            process.kill()
            await process.wait()
            sender = asyncio.create_task(Sender(house.side).run())
            try:
                await tell.later(LEASE_SECONDS + 1)
                [sent] = await tell.in_state("sent")
            finally:
                await end_all([sender])
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await end_all([follower])
        assert [got.id for got in there.got] == [f"msg_{sent['notification_id'].hex}"] * 2
        [silent, taken] = await tell.tried(sent["notification_id"], 2)
        assert silent["error"] == "the process that sent it never said what came of it"
        assert taken["status"] == 204


async def test_each_event_is_told_once_to_each_address_however_many_processes_there_are(database_url: str) -> None:
    async with mail_server() as mail, receiver() as there, telling(database_url, config(mail), processes=2) as tell:
        await tell.subscribe(there.url())
        wanted = CreateSubscription(kind="email", address="ANN@example.com")
        await tell.subscriptions.create(tell.house.envelope(), wanted)
        options = CreateOptions(auto_execute=True, notification_emails=("ann@example.com",))
        flows = await asyncio.gather(*(tell.completed(options=options) for _ in range(8)))
        await tell.in_state("sent", 16)
        assert sorted(got.json["data"]["flow_id"] for got in there.got) == sorted(map(str, flows))
        assert len({got.id for got in there.got}) == 8
        assert [got.recipient for got in mail.got] == ["ann@example.com"] * 8
        assert len({got.mail["Message-ID"] for got in mail.got}) == 8
        # what a follower does that comes again to events it has seen
        await tell.house.rows("update followers set position = 0")
        later = await tell.completed(options=options)
        await tell.in_state("sent", 18)
        assert there.got[-1].json["data"]["flow_id"] == str(later)
        assert len(there.got) == 9
        assert len(mail.got) == 9


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_network_is_never_reached(database_url: str, host: str) -> None:
    async with receiver() as there, telling(database_url, config(webhook_networks=())) as tell:
        await tell.subscribe(f"http://{host}:{there.port}/hook")
        await tell.completed()
        [row] = await tell.in_state("pending")
        [tried] = await tell.tried(row["notification_id"], 1)
        assert tried["error"] == NOT_PUBLIC
        assert there.got == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "not an address"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not may_reach(address, [])


def test_public_addresses_and_the_exceptions_are_reached() -> None:
    assert may_reach("93.184.216.34", [])
    assert may_reach("2606:4700::1111", [])
    assert may_reach("10.1.2.3", [ip_network("10.1.0.0/16")])
    assert may_reach("::ffff:10.1.2.3", [ip_network("10.1.0.0/16")])
    assert not may_reach("10.2.0.1", [ip_network("10.1.0.0/16"), ip_network("::1/128")])


async def test_redirects_are_not_followed_and_patience_is_what_was_asked_for(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
        there.answers += [
            web.Response(status=302, headers={"location": there.url("/elsewhere")}),
            web.Response(status=503, headers={"retry-after": "3600"}),
            web.Response(status=429, headers={"retry-after": date}),
        ]
        await tell.subscribe(there.url())
        await tell.completed()
        [row] = await tell.in_state("pending")
        asked = []
        for times, seconds in ((1, 7.0), (2, 3601.0), (3, 0.0)):
            tries = await tell.tried(row["notification_id"], times)
            [waiting] = await tell.in_state("pending")
            asked.append((waiting["due_at"] - datetime.fromisoformat(tries[-1]["at"])).total_seconds())
            await tell.later(seconds)
        assert [got.path for got in there.got] == ["/hook"] * 3
        assert 4 <= asked[0] < 100
        assert 3599 <= asked[1] < 3700
        # by the store's clock, an hour of these two has passed
        assert 2000 < asked[2] < 3700


async def test_a_receiver_that_is_gone_is_told_no_more(database_url: str) -> None:
    async with receiver(web.Response(status=410)) as there, telling(database_url, config()) as tell:
        made = await tell.subscribe(there.url())
        await tell.completed()
        [dead] = await tell.in_state("dead")
        assert dead["last_status"] == 410

        async def disabled() -> bool:
            one = await tell.subscriptions.one(tell.house.tenant, made["subscription_id"])
            return (one["state"], one["reason"]) == ("disabled", "its receiver answered 410 Gone")

        await until(disabled, PATIENCE)
        with pytest.raises(SubscriptionDisabled):
            await tell.notifications.replay(tell.house.envelope(), dead["notification_id"])
        changed = UpdateSubscription(enabled=True)
        await tell.subscriptions.update(tell.house.envelope(), made["subscription_id"], changed)
        await tell.notifications.replay(tell.house.envelope(), dead["notification_id"])
        await tell.in_state("sent")


async def test_a_rotated_secret_signs_beside_the_one_before_until_its_time(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config()) as tell:
        made = await tell.subscribe(there.url())
        rotated = await tell.subscriptions.rotate(
            tell.house.envelope(), made["subscription_id"], RotateSubscriptionSecret(keep_former_seconds=3600)
        )
        assert rotated["secret"] != made["secret"]
        await tell.completed()
        [got] = await arrived(there)
        assert got.headers["webhook-signature"] == f"{signed(got, rotated['secret'])} {signed(got, made['secret'])}"
        await tell.later(3601)
        await tell.completed()
        got = (await arrived(there, 2))[1]
        assert got.headers["webhook-signature"] == signed(got, rotated["secret"])


async def test_a_slow_receiver_keeps_no_other_waiting(database_url: str) -> None:
    async with receiver() as there, telling(database_url, config(at_once=3, at_once_per_address=2)) as tell:
        await tell.subscribe(there.url("/slow"))
        for _ in range(5):
            await tell.completed()
        await until(lambda: len(there.got) == 2, PATIENCE)
        await tell.subscribe(there.url("/quick"))
        await tell.completed()
        await until(lambda: [got.path for got in there.got].count("/quick") == 1, PATIENCE)
        assert [got.path for got in there.got].count("/slow") == 2


async def test_what_cannot_be_sent_or_takes_its_process_along_is_given_up_like_any_other(database_url: str) -> None:
    async with mail_server() as mail, telling(database_url, config(mail, max_attempts=2)) as tell:
        tenant = tell.house.tenant
        odd = ToTell(
            flow_id=uuid4(),
            version=1,
            client_account_id=tenant.client_account_id,
            engagement_id=tenant.engagement_id,
            event="flow.completed",
            subscription_id=None,
            kind="email",
            target="ann@example.com",
            payload={"type": "flow.exploded"},
        )
        async with tell.house.side.pool.connection() as connection:
            await make(connection, [odd])
        [tried] = await tell.tried(odd.id, 1)
        assert tried["error"] == "it cannot be sent, for a fault of ours: KeyError"
        # as if a process had died with it each time
        await tell.house.rows("update notifications set attempts = 2, due_at = mfo_now()")
        await tell.later(0)
        [dead] = await tell.in_state("dead")
        assert dead["last_error"] == "too many attempts came to no end"


async def test_a_sender_that_is_told_to_stop_lets_what_is_under_way_come_to_its_end(database_url: str) -> None:
    async with receiver(None) as there, open_house(database_url, telling=config()) as house:
        tell = Tellers(house)
        await tell.subscribe(there.url())
        sender = Sender(house.side)
        tasks = [
            asyncio.create_task(Followers(house.side.config, [notifier(house.side.config)]).run()),
            asyncio.create_task(sender.run()),
        ]
        try:
            await tell.completed()
            await arrived(there)
            draining = asyncio.create_task(sender.drain(PATIENCE))
            await tell.completed()
            await tell.in_state("pending", 2)
            there.go_on.set()
            await draining
            assert (sender.sending, len(there.got)) == (0, 1)
            await tell.in_state("sent")
        finally:
            await end_all(tasks)


async def test_mail_that_the_server_will_never_take_is_dead_at_once_and_a_passing_refusal_is_not(
    database_url: str,
) -> None:
    async with mail_server() as mail, telling(database_url, config(mail)) as tell:
        mail.refuse = {"ann@example.com": "550 5.1.1 nobody here", "bob@example.com": "451 4.3.0 later"}
        options = CreateOptions(auto_execute=True, notification_emails=("ann@example.com", "bob@example.com"))
        await tell.completed(options=options)
        [dead] = await tell.in_state("dead")
        assert (dead["address"], dead["last_status"]) == ("ann@example.com", 550)
        assert dead["last_error"] == "the mail server answered 550: 5.1.1 nobody here"
        [row] = await tell.in_state("pending")
        await tell.tried(row["notification_id"], 1)
        mail.refuse.clear()
        await tell.later(7)
        [sent] = await tell.in_state("sent")
        assert sent["address"] == "bob@example.com"


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_password_goes_over_tls_and_never_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    context = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    given = {"users": {"mfo": "hunter2"}, "starttls": context if security == "starttls" else None}
    letter = a_letter()
    async with mail_server(context if security == "tls" else None, **given) as mail:
        smtp = SmtpConfig(
            host="127.0.0.1",
            port=mail.port,
            security=security,
            sender="mfo@mfo.test",
            user="mfo",
            password="hunter2",  # type: ignore[arg-type]
        )
        assert (await asyncio.to_thread(send, smtp, letter)).came is Came.SENT
        assert mail.logged_in == [("mfo", True)]
        refused = await asyncio.to_thread(send, replace(smtp, password="wrong"), letter)
        assert (refused.came, refused.status) == (Came.FAILED, 535)
    # a server that does not offer TLS gets neither the password nor the mail
    async with mail_server(users={"mfo": "hunter2"}) as mail:
        outcome = await asyncio.to_thread(send, replace(smtp, port=mail.port, security="starttls"), letter)
        assert outcome.came is Came.FAILED
        assert (mail.got, mail.logged_in) == ([], [])


def test_mail_for_a_folder_is_a_file_that_is_whole_and_sent_again_replaces_itself(tmp_path: Path) -> None:
    folder, letter = MailFolder(path=tmp_path / "mail", sender="mfo@mfo.test"), a_letter()
    assert [send(folder, letter).came for _ in range(2)] == [Came.SENT, Came.SENT]
    [kept] = folder.path.iterdir()
    assert kept.suffix == ".eml"
    assert kept.read_bytes() == letter.as_bytes()
    taken = tmp_path / "taken"
    taken.touch()
    outcome = send(replace(folder, path=taken), letter)
    assert (outcome.came, outcome.error) == (Came.FAILED, "the mail folder cannot be written to: FileExistsError")


def a_letter() -> EmailMessage:
    payload = {
        "type": "flow.completed",
        "timestamp": "",
        "data": {"flow_name": "n", "flow_type": "t", "status": "s", "flow_id": "i"},
    }
    return compose(uuid4(), payload, "ann@example.com", "mfo@mfo.test", datetime.now(UTC))


def certified(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate of its own for 127.0.0.1, which is written to `ca.pem`."""
    from ipaddress import ip_address

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


async def test_the_receiver_of_the_how_to_takes_what_is_sent_and_nothing_else() -> None:
    written = (Path(__file__).parents[2] / "docs" / "how-to" / "be-told.md").read_text()
    how_to: Json = {}
    exec(written.partition("```python\n")[2].partition("```")[0], how_to)
    verified, now, secret = how_to["verified"], datetime.now(UTC), new_secret()
    webhooks = Webhooks(("127.0.0.0/8",), 20.0)
    try:
        async with receiver() as there:
            await webhooks.post(there.url(), "msg_1", b'{"a": 1}', [new_secret(), secret], now)
            await webhooks.post(there.url(), "msg_2", b'{"a": 1}', [secret], now - timedelta(minutes=6))
    finally:
        await webhooks.close()
    good, stale = there.got
    assert verified(good.headers, good.body, secret)
    assert not verified(good.headers, good.body, new_secret())
    assert not verified(good.headers, b'{"a": 2}', secret)
    assert not verified(good.headers | {"webhook-id": "msg_2"}, good.body, secret)
    assert not verified(stale.headers, stale.body, secret)


async def test_a_receiver_that_does_not_answer_in_time_has_failed() -> None:
    webhooks = Webhooks(("127.0.0.0/8",), 0.2)
    try:
        async with receiver(None) as there:
            outcome = await webhooks.post(there.url(), "msg_1", b"{}", ["whsec_AAAA"], datetime.now(UTC))
    finally:
        await webhooks.close()
    assert (outcome.came, outcome.error) == (Came.FAILED, "it did not answer within 0.2 s")


def test_attempts_are_ever_further_apart() -> None:
    pauses = [pause_after(n) for n in range(1, 13)]
    assert 4 <= pauses[0] <= 6
    assert 16 <= pauses[1] <= 24
    assert 34_560 <= pauses[-1] <= 51_840
    assert sum(pauses[:-1]) > 86_400
