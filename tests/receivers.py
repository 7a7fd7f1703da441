"""Whoever is told: a mail server and a webhook's receiver on loopback, as real as the protocols, that keep what they get."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import msgspec
from aiohttp import web

Json = dict[str, Any]


@dataclass
class Delivered:
    """A mail as the server took it."""

    sender: str
    recipient: str
    raw: bytes

    @property
    def mail(self) -> EmailMessage:
        mail = message_from_bytes(self.raw, policy=SMTP)  # type: ignore[arg-type]
        assert isinstance(mail, EmailMessage)
        return mail

    def part(self, kind: str) -> str:
        body = self.mail.get_body((kind,))
        assert body is not None
        return str(body.get_content())


@dataclass
class MailServer:
    """SMTP as far as mail needs it. `refuse` are answers to `RCPT` by recipient; `users` may log in."""

    port: int = 0
    refuse: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    starttls: ssl.SSLContext | None = None
    got: list[Delivered] = field(default_factory=list)
    logged_in: list[tuple[str, bool]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = recipient = ""

        def say(text: str) -> None:
            writer.write(text.encode() + b"\r\n")

        say("220 mail.test ESMTP")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    say("250-mail.test")
                    if self.starttls is not None and writer.get_extra_info("ssl_object") is None:
                        say("250-STARTTLS")
                    if self.users:
                        say("250-AUTH PLAIN")
                    say("250 8BITMIME")
                case "STARTTLS":
                    assert self.starttls is not None
                    say("220 go on")
                    await writer.drain()
                    await writer.start_tls(self.starttls)
                case "AUTH":
                    _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                    good = self.users.get(user) == password
                    self.logged_in.append((user, writer.get_extra_info("ssl_object") is not None))
                    say("235 welcome" if good else "535 5.7.8 who are you?")
                case "MAIL":
                    sender = rest.partition("<")[2].partition(">")[0]
                    say("250 fine")
                case "RCPT":
                    recipient = rest.partition("<")[2].partition(">")[0]
                    say(self.refuse.get(recipient, "250 fine"))
                case "DATA":
                    say("354 end with a dot")
                    await writer.drain()
                    raw = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                    self.got.append(Delivered(sender, recipient, raw))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 fine")
            await writer.drain()


@asynccontextmanager
async def mail_server(tls: ssl.SSLContext | None = None, **given: Any) -> AsyncIterator[MailServer]:
    """A mail server; with `tls` one that speaks it from the first byte."""
    mail = MailServer(**given)
    server = await asyncio.start_server(mail.serve, "127.0.0.1", 0, ssl=tls)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()


@dataclass
class Got:
    """A message as the receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Json:
        body: Json = msgspec.json.decode(self.body)
        return body


@dataclass
class Receiver:
    """Takes webhooks. `answers` are used up one by one, then all is 204; none: it keeps the caller waiting."""

    port: int = 0
    answers: list[web.Response | None] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path, headers, await request.read()))
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        if answer is None or request.path == "/slow":
            await self.go_on.wait()
            return web.Response(status=204)
        return answer


@asynccontextmanager
async def receiver(*answers: web.Response | None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    there = Receiver(answers=list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", there.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    there.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield there
    finally:
        there.go_on.set()
        await runner.cleanup()
