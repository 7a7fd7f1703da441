from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.personal import CREDENTIALS, PERSONAL, SECRET, flags, luhn, masked, without_credentials
from estate.tables import Cell

_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


def kinds(column: str, *cells: Cell) -> list[str]:
    return [flag.kind for flag in flags(column, [None, *cells])]


@pytest.mark.parametrize(
    ("column", "cell", "kind", "shown"),
    [
        ("Password", "hunter2", "password", SECRET), ("Admin Password", "Blue.Sky1", "password", SECRET),
        ("root_pwd", "toor!", "password", SECRET), ("Passwort", "geheim1", "password", SECRET), ("Password 2", 12345678, "password", SECRET),
        ("Mot de passe", "soleil12", "password", SECRET), ("SNMP Community", "pr1vate", "password", SECRET),
        ("api_key", "abcd1234efgh", "access_key", SECRET), ("clientSecret", "abc~123456", "access_key", SECRET),
        ("Auth Token", "tok-123456", "token", SECRET), ("Private Key", "MIIEow12", "private_key", SECRET),
        ("Notes", "user=sa;password=S3cret!", "connection_string", "user=sa;password=[secret]"),
        ("Notes", "Server=db1;Database=x;Pwd=S3cret!;", "connection_string", "Server=db1;Database=x;Pwd=[secret];"),
        ("Notes", "login with pwd: S3cret! please", "password", "login with pwd: [secret] please"),
        ("Notes", '{"password": "abc123x", "x": 1}', "password", '{"password": "[secret]", "x": 1}'),
        ("URL", "postgres://app:pw12@db/x", "connection_string", "postgres://app:[secret]@db/x"),
        ("Notes", "key AKIAIOSFODNN7EXAMPLE here", "access_key", "key [secret] here"),
        ("Notes", "AccountName=a;AccountKey=Zm9vYmFyYmF6MTIz==", "access_key", "AccountName=a;AccountKey=[secret]"),
        ("Notes", "https://x.blob.core.windows.net/c?sv=1&sig=aB3dE6gH9", "token", "https://x.blob.core.windows.net/c?sv=1&sig=[secret]"),
        ("Notes", f"t {_JWT}", "token", "t [secret]"), ("Notes", "Authorization: Bearer abcdef1234567890abcd", "token", "Authorization: Bearer [secret]"),
        ("Notes", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "token", "Authorization: Basic [secret]"),
        ("Notes", "ghp_" + "a1" * 18, "token", SECRET), ("Notes", _KEY, "private_key", SECRET),
        ("Owner", "ann.lee@corp.example", "email", "a***@corp.example"),
        ("Owner", "Ann Lee <ann@corp.example>, b@x.org", "email", "Ann Lee <a***@corp.example>, b***@x.org"),
        ("Phone", "069 1234567", "phone", "***67"), ("Mobile", 491701234567, "phone", "***67"), ("Notes", "call +49 69 1234567 now", "phone", "call ***67 now"),
        ("Notes", "4111 1111 1111 1111", "credit_card", "***1111"), ("Notes", "pan 4111111111111111.", "credit_card", "pan ***1111."),
        ("Notes", "DE89 3704 0044 0532 0130 00", "bank_account", "DE***"), ("Notes", "ssn 123-45-6789", "national_id", "ssn [national id]"),
        ("SSN", "123456789", "national_id", "[national id]"), ("National ID", "X1234567L", "national_id", "[national id]"),
    ],
)  # fmt: skip
def test_what_is_found_and_how_it_is_shown(column: str, cell: Cell, kind: str, shown: str) -> None:
    assert kinds(column, cell) == [kind]
    assert masked(column, cell) == shown
    assert (without_credentials(column, cell)[0] == cell) == (kind in PERSONAL)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("Password Policy", "Strong 12"), ("Token ring", "abcd1234efgh"), ("Key contact", "Ann Lee"), ("Password last set", "2020-01-01"),
        ("Password", "N/A"), ("Password", "None"), ("Passwort", "k.A."), ("Password", "[secret]"), ("Password", True), ("Password", "********"),
        ("Password never expires", "True"), ("Has Password", "hunter2x"), ("Password", "${DB_PASSWORD}"), ("DB Connections", 5), ("Pins", "x1234567"),
        ("Secret Server", "srv01x12"), ("Tokens", 12), ("SAS", "yes"), ("Keyboard", "de-DE-1234"), ("Notes", "password: required"),
        ("Notes", "password=<password>"), ("Notes", "token: none"), ("Notes", "secret: arn:aws:secretsmanager:eu-1:1:secret:x"),
        ("Name", "SRV-PASSWD-01"), ("Name", "key-mgmt01"), ("Name", "git@server01"), ("UUID", "564d1234-1234-1234-1234-123456789012"),
        ("UUID", "4111111111111111"), ("Serial Number", "VMware-56 4d 12 34 12 34 12 34-12 34 12 34 12 34 12 34"), ("Serial Number", "123-45-6789"),
        ("MD5", "d41d8cd98f00b204e9800998ecf8427e"), ("IP", "10.0.0.1"), ("MAC", "00:50:56:aa:bb:cc"), ("URL", "https://host:8080/a@b"),
        ("URL", "https://user@host.example/x"), ("Phone model", "iPhone 12"), ("Phone", "10.20.30.40"), ("Version", "+1.2.3"), ("Offset", "+12345678"), ("Notes", "4111 1111 1111 1112"),
        ("Notes", "1234567890123456"), ("Network card", "Intel 82599"), ("Folder", "/DC1/vm/Key Mgmt"), ("Size", 4111111111), ("Created", "2023-01-01T10:00:00Z"),
        ("Notes", "DE00 3704 0044 0532 0130 00"), ("Basic", "Basic Windows-Server-2019x"), ("Cost", 4.5), ("Empty", None),
    ],
)  # fmt: skip
def test_what_is_neither_secret_nor_personal(column: str, cell: Cell) -> None:
    assert kinds(column, cell) == []
    assert masked(column, cell) == cell
    assert type(masked(column, cell)) is type(cell)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("Root Password", "password"), ("Passwort", "password"), ("SSH Key", "private_key"), ("API Token", "token"), ("Secret", "access_key"),
        ("PIN", "password"), ("DB Connection", "connection_string"), ("Connection String", "connection_string"), ("License Key", "licence_key"),
    ],
)  # fmt: skip
def test_whatever_stands_in_a_column_of_credentials_is_masked(column: str, kind: str) -> None:
    cells: list[Cell] = [
        "abc",
        "1234",
        1234,
        "root",
        "changeme",
        "P@ss",
        "yes",
        "see vault",
        "2020-01-01",
        "Server=db;User Id=sa;Password=x",
    ]
    assert [masked(column, cell) for cell in cells] == [SECRET] * len(cells)
    (flag,) = flags(column, [None, "n/a", *cells])
    assert (flag.kind, flag.count) == (kind, len(cells))


def test_flags_name_the_cells_by_their_places() -> None:
    first, second = flags("Notes", [None, "x", "a@b.example", "pwd=hunter2", "pwd=other99, c@d.example"])
    assert (first.kind, list(first.codes), first.count, first.is_credential) == ("password", [3, 4], 2, True)
    assert (second.kind, list(second.codes), second.count, second.is_credential) == ("email", [2, 4], 2, False)


def test_the_check_digit() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")


@given(st.text(max_size=40), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=60)))
def test_anything_is_taken_and_masking_twice_is_masking_once(column: str, cell: Cell) -> None:
    shown, found = without_credentials(column, cell)
    assert set(found) <= set(CREDENTIALS)
    if not found:
        assert shown is cell
    again, _ = without_credentials(column, shown)
    assert repr(again) == repr(shown)
    assert {flag.kind for flag in flags(column, [None, cell])} <= {*CREDENTIALS, *PERSONAL}


@given(
    st.text(alphabet="abcdefghijkXYZ0123456789!$#._", min_size=6, max_size=20).filter(lambda text: not text.isalpha())
)
def test_a_password_in_a_connection_string_never_shows(secret: str) -> None:
    shown = masked("Notes", f"Server=db1;User Id=app;Password={secret};Encrypt=yes")
    if shown != f"Server=db1;User Id=app;Password={secret};Encrypt=yes":
        assert secret not in str(shown).replace("[secret]", "")
    else:
        assert set(secret) <= set("xX.*#") or secret[0] == "$"


@pytest.mark.parametrize(
    "piece",
    ["a_", "a", "pwd=", "pwd=abc1;", "eyJ", "eyJa.", "a@", "a.b@", "://a:", "1", "1 ", "12-", "+1 ", "AB12", "AB12 ", "-----BEGIN PRIVATE KEY-----", "bearer ", "AKIA", "key:"],
)  # fmt: skip
def test_huge_cells_are_looked_through_in_time(piece: str) -> None:
    cell = piece * (1_000_000 // len(piece))
    started = time.process_time()
    masked("Notes", cell)
    masked("Password", cell)
    flags("Phone", [None, cell])
    assert time.process_time() - started < 5


def test_passwords_are_found_in_the_ways_of_shells_and_of_oracle() -> None:
    assert masked("Notes", "user=admin pass=Adm1n!23") == "user=admin pass=[secret]"
    assert masked("Notes", "test pass: ok, bypass=enabled1") == "test pass: ok, bypass=enabled1"
    assert (
        masked("Notes", "jdbc:oracle:thin:scott/tiger@//db1:1521/x") == "jdbc:oracle:thin:scott/[secret]@//db1:1521/x"
    )
    [flag] = flags("Notes", [None, "pass=Adm1n!23"])
    assert flag.kind == "password"
    [flag] = flags("Notes", [None, "jdbc:oracle:thin:scott/tiger@//db1:1521/x"])
    assert flag.kind == "connection_string"


@pytest.mark.parametrize("text", ["pw: hunter2hunter2", "login maria PW=Geheim99x", "pass: Geheim99xx"])
def test_a_password_after_its_short_name_is_masked(text: str) -> None:
    assert "[secret]" in str(masked("Notes", text))
