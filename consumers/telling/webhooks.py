"""Webhooks by the rules of Standard Webhooks 1.0: signed, with a time, never redirected, never into a private network.

A host's name is resolved once for each attempt; the connection goes to an address that was checked, so that a name which
leads elsewhere a moment later leads nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import socket
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from consumers.telling.outcome import Came, Outcome
from domain.addresses import host_of
from eventstore.subscriptions import SECRET_PREFIX

USER_AGENT = "mfo-webhooks/1"
GONE = 410
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
NOT_PUBLIC = "its host leads to an address that is not public; MFO_WEBHOOK_NETWORKS names the exceptions"
# IPv4 addresses as IPv6 writes them for a translator
NAT64 = IPv6Network("64:ff9b::/96")

Network = IPv4Network | IPv6Network


class NotPublic(OSError):
    """An address that no webhook may go to."""


class PublicResolver(AbstractResolver):
    """Resolves names, and gives only addresses that webhooks may go to; raises NotPublic where there is none."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if may_reach(each["host"], self._networks)]
        if not allowed:
            raise NotPublic(NOT_PUBLIC)
        return allowed

    async def close(self) -> None:
        """Nothing is held open."""
        await self._resolver.close()


def may_reach(address: str, networks: Sequence[Network]) -> bool:
    """Whether a webhook may go to this address: a public one, or one of these networks."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found in NAT64:
            found = IPv4Address(int(found) & 0xFFFFFFFF)
    if any(found.version == network.version and found in network for network in networks):
        return True
    tunnelled = isinstance(found, IPv6Address) and (found.sixtofour is not None or found.teredo is not None)
    return found.is_global and not found.is_multicast and not tunnelled


def signatures(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The header `webhook-signature`: one `v1,<base64>` for each secret, with blanks between."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + b64encode(hmac.digest(b64decode(secret.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256)).decode()
        for secret in secrets
    )


class Webhooks:
    """Posts messages; `close` when done."""

    def __init__(self, networks: Sequence[str], timeout_seconds: float) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._timeout = timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PublicResolver(self._networks), use_dns_cache=False, force_close=True, limit=0
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()

    async def post(self, url: str, message_id: str, body: bytes, secrets: Sequence[str], now: datetime) -> Outcome:
        """Send one message, signed with each of the secrets; `now` is the time that it carries."""
        if _is_address(host := host_of(url)) and not may_reach(host, self._networks):
            return Outcome(Came.FAILED, None, NOT_PUBLIC)
        timestamp = int(now.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(message_id, timestamp, body, secrets),
        }
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as answer:
                return _outcome(answer.status, answer.headers.get("retry-after"), now)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Outcome(Came.FAILED, None, f"it did not answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(Came.FAILED, None, _why(error))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _outcome(status: int, retry_after: str | None, now: datetime) -> Outcome:
    if 200 <= status < 300:
        return Outcome(Came.SENT, status)
    if status == GONE:
        return Outcome(Came.GONE, status, "it answered 410: it wants no more of these")
    said = f"it answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else "")
    return Outcome(Came.FAILED, status, said, _seconds(retry_after, now))


def _seconds(retry_after: str | None, now: datetime) -> float:
    """What `Retry-After` asks for: seconds, or the time until a date; 0 where it says nothing that can be read."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - now).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else 0.0


def _why(error: Exception) -> str:
    """What went wrong, without addresses of our own network and without the path of the URL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NOT_PUBLIC if isinstance(error.os_error, NotPublic) else "the name of its host cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its TLS certificate is not valid, or TLS failed"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached: {type(error.os_error).__name__}"
    return f"the connection broke: {type(error).__name__}"
