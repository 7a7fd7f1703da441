"""An address is written in one way only, and may be told only where the settings say so."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.addresses import Addressing, EmailAddress, WebhookUrl, host_of
from domain.errors import NotAllowed, NotSupported

EMAILS: TypeAdapter[str] = TypeAdapter(EmailAddress)
URLS: TypeAdapter[str] = TypeAdapter(WebhookUrl)


@pytest.mark.parametrize(
    "text", ["ann@example.com", "a.b-c+d@sub.example.com", "ops@localhost", "x@" + "a" * 63 + ".com"]
)
def test_an_address_of_mail_is_taken_as_it_is(text: str) -> None:
    assert EMAILS.validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@@example.com",
            "ann@example..com",
            "ann@-example.com",
            ".ann@example.com",
        ),
        *(
            "ann@example.com\n",
            "ann@example.com\r\nBcc: eve@evil.test",
            "Ann <ann@example.com>",
            "ann@example.com,eve@evil.test",
        ),
        *(
            "ann%evil.test@example.com",
            "evil.test!ann@example.com",
            '"ann eve"@example.com',
            "änn@example.com",
            "ann@[10.0.0.1]",
        ),
        *("a" * 65 + "@example.com", "ann@" + "a" * 64 + ".com", "ann@" + "abcdefgh." * 30 + "com"),
    ],
)
def test_what_is_no_address_of_mail_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        EMAILS.validate_python(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://hooks.example.com", "hooks.example.com"),
        ("https://Hooks.Example.com:8443/a/b%20c?x=1&y=/?", "hooks.example.com"),
        ("http://127.0.0.1:80/x", "127.0.0.1"),
        ("https://[2606:4700::1111]:443/x", "2606:4700::1111"),
    ],
)
def test_the_host_of_a_url_is_what_stands_before_its_path(text: str, host: str) -> None:
    assert host_of(URLS.validate_python(text)) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", "hooks.example.com", "ftp://example.com", "https://", "https://exa mple.com", "https://example.com#x"),
        *("https://user:password@example.com/", "https://example.com\\@evil.test/", "https://example.com:0/"),
        *("https://example.com:99999/", "https://example.com/\n", "https://example.com/ä", "https://" + "a" * 2000),
    ],
)
def test_what_may_be_read_in_two_ways_is_no_url(text: str) -> None:
    with pytest.raises(ValidationError):
        URLS.validate_python(text)
    assert host_of("no url") == ""


def test_without_a_mail_server_nobody_is_told_by_mail() -> None:
    none = Addressing(email_domains=("*",))
    none.check_emails((), "options.notification_emails")
    with pytest.raises(NotSupported, match="MFO_SMTP_URL") as refused:
        none.check_emails(("ann@example.com",), "options.notification_emails")
    assert [error.field for error in refused.value.errors] == ["options.notification_emails"]


def test_mail_goes_to_the_domains_that_are_named() -> None:
    some = Addressing(mail=True, email_domains=("Example.com", "*.corp.test"))
    some.check_emails(("ann@EXAMPLE.com", "bob@it.corp.test"), "address")
    for wrong in ("eve@evil.test", "eve@corp.test", "eve@notexample.com", "eve@evilcorp.test"):
        with pytest.raises(NotAllowed, match="MFO_NOTIFY_EMAIL_DOMAINS") as refused:
            some.check_emails(("ann@example.com", wrong), "address")
        assert [error.message for error in refused.value.errors] == [f"mail to {wrong} is not allowed"]
    with pytest.raises(NotAllowed):
        Addressing(mail=True).check_emails(("ann@example.com",), "address")
    Addressing(mail=True, email_domains=("*",)).check_emails(("ann@example.com",), "address")


def test_webhooks_go_to_the_hosts_that_are_named_and_by_https() -> None:
    some = Addressing(webhook_hosts=("hooks.example.com",))
    some.check_url("https://hooks.example.com/x", "url")
    with pytest.raises(NotAllowed, match="MFO_WEBHOOK_HOSTS"):
        some.check_url("https://evil.test/hooks.example.com", "url")
    with pytest.raises(NotAllowed, match="MFO_WEBHOOK_ALLOW_HTTP"):
        some.check_url("http://hooks.example.com/x", "url")
    Addressing(webhook_hosts=("*",), webhook_http=True).check_url("http://anywhere.test/x", "url")
