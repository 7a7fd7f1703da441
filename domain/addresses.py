"""Addresses that may be told what happens: how they are written, and which of them the settings allow."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field

from domain.errors import FieldError, NotAllowed, NotSupported

MAX_EMAIL = 254
MAX_LOCAL_PART = 64
MAX_URL = 2000
MOST_EMAILS = 20
ANY_HOST = "*"

_label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_host = rf"{_label}(?:\.{_label})*"
# without % and !, by which some servers pass mail on
_atom = "[A-Za-z0-9#$&'*+/=?^_`{|}~-]+"
EMAIL = rf"^{_atom}(?:\.{_atom})*@{_host}$"
# as strict as can be: what one reader takes for the host, another must not take for the path
URL = (
    rf"^https?://(?:{_host}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?"
    r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$"
)
_url = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_host}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?(?:[/?].*)?", re.IGNORECASE
)


def _local_part(value: str) -> str:
    if len(value.partition("@")[0]) > MAX_LOCAL_PART:
        raise ValueError(f"what stands before the @ is longer than {MAX_LOCAL_PART} characters")
    return value


EmailAddress = Annotated[str, Field(max_length=MAX_EMAIL, pattern=EMAIL), AfterValidator(_local_part)]


def _port(value: str) -> str:
    found = _url.fullmatch(value)
    if found is not None and found["port"] is not None and not 0 < int(found["port"]) < 65536:
        raise ValueError("the port must be from 1 to 65535")
    return value


WebhookUrl = Annotated[str, Field(max_length=MAX_URL, pattern=URL), AfterValidator(_port)]


def host_of(url: str) -> str:
    """The host in a URL that was checked, in small letters and without brackets; it may be shown where the path may not."""
    found = _url.fullmatch(url)
    return found["host"].strip("[]").lower() if found is not None else ""


class Addressing(msgspec.Struct, frozen=True, kw_only=True):
    """Which addresses may be told. Nothing is allowed unless it is said so.

    `mail`: a mail server, or a folder for mail, is set up. `email_domains` and `webhook_hosts` are names, `*.` before one stands for whatever is
    below it; the host `*` alone for all.
    """

    mail: bool = False
    email_domains: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()
    webhook_http: bool = False

    def check_emails(self, addresses: Sequence[str], field: str) -> None:
        """Raise NotSupported where mail is sent to nobody here, and NotAllowed naming the addresses that may not be told."""
        if not addresses:
            return
        if not self.mail:
            raise NotSupported(
                f"{field}: no mail server is set up here; set MFO_SMTP_URL or MFO_MAIL_FOLDER, or leave it out",
                errors=[FieldError(field, "no mail server is set up here")],
            )
        wrong = [address for address in addresses if not _named(address.rpartition("@")[2], self.email_domains)]
        if wrong:
            raise NotAllowed(
                f"{field}: mail to {', '.join(wrong)} is not allowed; MFO_NOTIFY_EMAIL_DOMAINS names the domains that are",
                allowed=self.email_domains,
                errors=[FieldError(field, f"mail to {address} is not allowed") for address in wrong],
            )

    def check_url(self, url: str, field: str) -> None:
        """Raise NotAllowed where the host of a webhook, or http, is not allowed."""
        if not self.webhook_http and not url.lower().startswith("https:"):
            raise NotAllowed(
                f"{field}: use https; http is taken only where MFO_WEBHOOK_ALLOW_HTTP says so",
                errors=[FieldError(field, "must begin with https")],
            )
        host = host_of(url)
        if not _named(host, self.webhook_hosts):
            raise NotAllowed(
                f"{field}: webhooks to {host} are not allowed; MFO_WEBHOOK_HOSTS names the hosts that are",
                allowed=self.webhook_hosts,
                errors=[FieldError(field, f"webhooks to {host} are not allowed")],
            )


def _named(host: str, patterns: Collection[str]) -> bool:
    host = host.lower()
    return any(
        pattern in (ANY_HOST, host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in (each.lower() for each in patterns)
    )
