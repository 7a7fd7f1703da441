"""What an audit entry never shows, in the many shapes that it comes in; and what it shows all the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.auditing.redaction import DEEPEST, FILTERED, LONGEST_LIST, LONGEST_TEXT, Policy, is_secret, redacted, text

SECRETS = (
    *("password", "Password", "db_password", "dbPassword", "DB-PASSWORD", "user.passwd", "pwd", "passphrase", "PWD"),
    *("secret", "client_secret", "clientSecret", "aws_secret_access_key", "token", "accessToken", "refresh_tokens"),
    *("api_key", "apiKey", "API-Key", "apikey", "X-Api-Key", "private_key", "privateKeys", "ssh key", "encryptionKey"),
    *("connection_string", "ConnectionStrings", "connectionstring", "database_url", "dsn", "credentials", "creds"),
    *("Authorization", "cookie", "accountKey", "licenseKey", "master_key", "signing-key", "jwt"),
)
PLAIN = (
    *("flow_name", "name", "key", "keys", "primary_key", "primaryKey", "keyboard", "monkey", "sort_key", "secretary"),
    *(
        "passenger",
        "compass",
        "tokenizer",
        "author",
        "connection",
        "string",
        "passing_score",
        "idempotency_key",
    ),
)


@pytest.mark.parametrize("name", SECRETS)
def test_what_stands_under_such_a_name_is_not_shown(name: str) -> None:
    assert is_secret(name)
    assert redacted({"a": [{name: "hunter2"}]}) == {"a": [{name: FILTERED}]}
    assert redacted({name: {"inner": ["x"]}}) == {name: FILTERED}


@pytest.mark.parametrize("name", PLAIN)
def test_a_name_that_only_looks_alike_hides_nothing(name: str) -> None:
    assert not is_secret(name)
    assert redacted({name: "web01"}) == {name: "web01"}


def test_numbers_and_what_is_empty_open_nothing() -> None:
    told = {"max_tokens": 4000, "password_set": True, "token": None, "secret": "", "tokens_per_second": 1.5}
    assert redacted(told) == told


def test_the_name_of_a_flow_is_always_shown() -> None:
    told = {
        "flow_name": "password=hunter2",
        "inner": {"flow_name": "ann@example.com", "flowName": "Bearer abc12345678"},
    }
    assert redacted(told, Policy(email=True, phone=True, paths=("**.flow_name",))) == told


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("postgresql://mfo:hunter2@db:5432/x", f"postgresql://mfo:{FILTERED}@db:5432/x"),
        ("see amqp://:p@ss/w0rd@queue/ now", f"see amqp://:{FILTERED}@queue/ now"),
        ("Server=db;User Id=sa;Password=hunter2;Encrypt=yes", f"Server=db;User Id=sa;Password={FILTERED};Encrypt=yes"),
        ("AccountName=x;AccountKey=abc/def==;", f"AccountName=x;AccountKey={FILTERED};"),
        ("pwd: 'two words' and on", f"pwd: {FILTERED} and on"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {FILTERED}"),
        ("curl -u x --token=t0ps3cret -v", f"curl -u x --token={FILTERED} -v"),
        ("got eyJhbGciOi.eyJzdWIiOi.SflKxwRJ", f"got {FILTERED}"),
        ("AKIAIOSFODNN7EXAMPLE", FILTERED),
        ("use ghp_abcdefghijklmnopqrstuvwx", f"use {FILTERED}"),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", f"a\n{FILTERED}\nb"),
        ("-----BEGIN PRIVATE KEY-----\nMIIcut off", FILTERED),
    ],
)
def test_secrets_inside_of_a_text_are_not_shown(said: str, shown: str) -> None:
    assert text(said) == shown
    assert redacted({"detail": [said]}) == {"detail": [shown]}


@pytest.mark.parametrize(
    "said",
    [
        "basic authentication is on", "http://web01:8080/path", "10.0.0.1:443", "the token has expired", "2026-11-20 12:00",
        "bearer of news", "ratio: 3", "password reset was asked for", "sk-learn", "user@host:/path",
    ],
)  # fmt: skip
def test_plain_texts_stay(said: str) -> None:
    assert text(said) == said


def test_addresses_and_telephone_numbers_are_kept_from_sight_where_it_is_wanted() -> None:
    said = {
        "note": "ask ann.lee@example.co.uk or +49 (30) 1234-567",
        "rows": 1234567,
        "ip": "10.20.30.40",
        "n": "12345678",
    }
    assert redacted(said) == said
    assert redacted(said, Policy(email=True))["note"] == f"ask {FILTERED} or +49 (30) 1234-567"
    shown = redacted(said, Policy(email=True, phone=True))
    assert shown == {**said, "note": f"ask {FILTERED} or {FILTERED}"}


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [
        ("body.initial_data.iban", {"iban"}),
        ("body.*.iban", {"iban"}),
        ("**.iban", {"iban"}),
        ("body.initial_data.**", {"iban", "rows", "deep"}),
        ("iban", set()),
        ("body.iban", set()),
    ],
)
def test_a_path_names_what_is_to_be_hidden_besides(pattern: str, hidden: set[str]) -> None:
    data: dict[str, Any] = {"iban": "DE02", "rows": 7, "deep": {"x": 1}}
    shown = redacted({"initial_data": data}, Policy(paths=(pattern,)), path=("body",))["initial_data"]
    assert {name for name, value in shown.items() if value == FILTERED} == hidden


def test_sealed_values_stay_sealed() -> None:
    assert redacted({"settings": {"$sealed": {"key": "k", "data": "x"}}}) == {"settings": FILTERED}


def test_what_is_long_is_cut_and_says_by_how_much() -> None:
    assert text("x" * (LONGEST_TEXT + 5)).endswith("... 5 more")
    assert redacted(list(range(LONGEST_LIST + 3)))[-1] == "... 3 more"
    many = redacted({f"n{place}": place for place in range(LONGEST_LIST + 2)})
    assert (len(many), many["..."]) == (LONGEST_LIST + 1, "2 more")


def test_what_is_nested_without_end_is_not_followed() -> None:
    nested: Any = "x"
    for _ in range(DEEPEST + 5):
        nested = {"a": nested}
    assert FILTERED in str(redacted(nested))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_it_never_fails_and_what_was_hidden_stays_hidden(value: Any) -> None:
    once = redacted(value, Policy(email=True, phone=True))
    assert "hunter2" not in str(redacted({"password": value, "x": "pwd=hunter2"}))
    redacted(once, Policy(email=True, phone=True))
