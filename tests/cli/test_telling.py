"""Subscriptions and notifications, as somebody types them, and a webhook that a whole `mfo dev` sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mfo.cli import run
from tests.receivers import receiver
from tests.waiting import until

Environment = dict[str, str]
Json = dict[str, Any]
Said = Callable[..., Awaitable[Json]]


@pytest.fixture
def said(environment: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """The document that a command prints; it must leave with the exit code `code`."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def say(*words: str, code: int = 0) -> Json:
        capsys.readouterr()
        # beside the receiver, which answers meanwhile
        assert await asyncio.to_thread(run, [*words, "--json"]) == code
        found: Json = json.loads(capsys.readouterr().out)
        return found

    return say


async def test_a_failed_flow_is_told_and_its_notification_can_be_sent_again(said: Said) -> None:
    async with receiver() as there:
        made = await said(
            "subscriptions",
            "create",
            "--url",
            there.url(),
            "--event",
            "flow.failed",
            "--event",
            "flow.input_requested",
            "--tag",
            "cli",
        )
        subscription_id = made["subscription_id"]
        assert made["secret"].startswith("whsec_")
        listed = (await said("subscriptions", "list", "--state", "active"))["subscriptions"]
        assert [each["subscription_id"] for each in listed] == [subscription_id]
        await said(
            "flow",
            "create",
            "discovery",
            "--name",
            "Told",
            "--tag",
            "cli",
            "--auto",
            "--input",
            "import_file_id=none",
        )
        await until(lambda: there.got, 60)
        assert there.got[0].json["data"]["flow_name"] == "Told"

        async def sent() -> list[Json]:
            words = ("notifications", "list", "--state", "sent", "--subscription", subscription_id)
            found: list[Json] = (await said(*words))["notifications"]
            return found

        [told] = await until(sent, 60)
        shown = await said("notifications", "show", told["notification_id"])
        assert shown["tries"][0]["status"] == 204
        again = await said("notifications", "replay", told["notification_id"])
        assert again["notifications"][0]["replays"] == 1
        await until(lambda: len(there.got) == 2, 60)
        assert there.got[0].id == there.got[1].id
    changed = await said("subscriptions", "update", subscription_id, "--all-events", "--all-flows")
    assert (changed["events"], changed["filter"]) == ([], {"flow_type": None, "tag": None})
    assert (await said("subscriptions", "disable", subscription_id))["state"] == "disabled"
    assert (await said("subscriptions", "enable", subscription_id))["state"] == "active"
    rotated = await said("subscriptions", "rotate", subscription_id, "--keep-former", "1h")
    assert rotated["secret"] != made["secret"]
    assert "secret" not in await said("subscriptions", "show", subscription_id)
    assert (await said("subscriptions", "delete", subscription_id))["state"] == "deleted"
    assert (await said("notifications", "replay", "--dead"))["notifications"] == []


async def test_mail_that_mfo_dev_would_send_lies_in_its_folder(said: Said, environment: Environment) -> None:
    folder = Path(environment["MFO_MAIL_FOLDER"])
    made = await said("flow", "create", "discovery", "--name", "Mailed", "--auto", "--notify", "ann@example.com")

    def kept() -> list[bytes]:
        return [each for each in map(Path.read_bytes, folder.glob("*.eml")) if made["flow_id"].encode() in each]

    [found] = await until(kept)
    mail = message_from_bytes(found, policy=policy.SMTP)
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Flow Mailed waits for input")


async def test_what_is_not_set_up_is_refused_with_the_settings_name(said: Said) -> None:
    refused = await said("subscriptions", "create", "--url", "https://evil.test/x", code=1)
    assert refused["error"]["code"] == "not_allowed"
    assert (await said("subscriptions", "create", code=2))["error"]["code"] == "usage"
    assert (await said("notifications", "replay", code=2))["error"]["code"] == "usage"
