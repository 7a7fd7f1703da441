"""What an audit entry never shows: found by path, by the whole words of a name, and by the shape of a text.

`max_tokens: 4000` is a number and stays, `primaryKey` is no key to anything; a flow's name is always shown as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

import msgspec

from domain.words import SEALED

FILTERED = "***FILTERED***"
NEVER = frozenset({"flow_name", "flowName"})
LONGEST_TEXT, LONGEST_LIST, DEEPEST = 2000, 100, 20

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ALONE = frozenset(
    {
        *("password", "passwords", "passwd", "pwd", "passphrase", "passcode", "secret", "secrets", "token", "tokens"),
        *("credential", "credentials", "creds", "authorization", "bearer", "cookie", "dsn", "apikey", "apikeys"),
        *("accesskey", "privatekey", "secretkey", "connectionstring", "jwt", "otp"),
    }
)
_BEFORE_KEY = frozenset(
    {
        *(
            "api",
            "access",
            "private",
            "secret",
            "ssh",
            "encryption",
            "signing",
            "master",
            "account",
            "shared",
            "license",
        ),
        *("licence", "wrapping", "session", "storage", "ssl", "tls", "pgp", "gpg", "host"),
    }
)
_PAIRS = frozenset({("connection", "string"), ("connection", "strings"), ("database", "url"), ("conn", "str")})

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), FILTERED),
    # a password may hold @ and /: the last @ before a blank ends it
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,30}://[^\s:/@]*):[^\s]+@"), rf"\1:{FILTERED}@"),
    (
        re.compile(
            r"(?i)\b((?:pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|client[_-]?secret)"
            r"\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s;,&}\"']+)"
        ),
        rf"\1{FILTERED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*[0-9=])[a-z0-9._~+/=-]{8,}"), rf"\1 {FILTERED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), FILTERED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), FILTERED),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{16,})"), FILTERED),
)
# named once: a union is made anew each time that it is written where it is asked for
_LISTS, _NUMBERS = (list, tuple), (bool, int, float)
# ids, numbers and short names, which none of the shapes fits
_PLAIN = re.compile(r"[0-9a-fA-F-]*|[A-Za-z0-9_]{0,19}")
_EMAIL = re.compile(r"\b[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b")
# a plus or a nought before, and seven figures at least: numbers of rows and versions are no telephone numbers
_PHONE = re.compile(r"(?<![\w.:/-])(?:\+|00|0|\(0)[0-9][0-9 ()/.-]{5,}[0-9](?![\w:-]|\.[0-9])")


class Policy(msgspec.Struct, frozen=True):
    """What is kept from sight besides secrets: e-mail addresses, telephone numbers, values at paths of the details, and what
    fits patterns (regular expressions) in any text.

    A path is names with dots between; `*` stands for one name, `**` for any number of them.
    """

    email: bool = False
    phone: bool = False
    paths: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


SECRETS_ONLY = Policy()


def redacted(value: Any, policy: Policy = SECRETS_ONLY, *, path: tuple[str, ...] = ()) -> Any:
    """A JSON value as it may be shown; long texts and lists are cut, and say by how much."""
    if isinstance(value, str):
        return text(value, policy)
    if isinstance(value, dict):
        if len(path) > DEEPEST or SEALED in value:
            return FILTERED
        members = value.items() if len(value) <= LONGEST_LIST else islice(value.items(), LONGEST_LIST)
        shown = {_no_nul(name): _member(name, inner, policy, path) for name, inner in members}
        if len(value) > LONGEST_LIST:
            shown["..."] = f"{len(value) - LONGEST_LIST} more"
        return shown
    if isinstance(value, _LISTS):
        some = [redacted(inner, policy, path=path) for inner in value[:LONGEST_LIST]]
        return some if len(some) == len(value) else [*some, f"... {len(value) - len(some)} more"]
    return value


def text(value: str, policy: Policy = SECRETS_ONLY) -> str:
    """A text without what looks like a secret in it."""
    shown = value
    if not _PLAIN.fullmatch(value):
        shown = _no_nul(value)
        for shape, instead in _SHAPES:
            shown = shape.sub(instead, shown)
    if policy.email:
        shown = _EMAIL.sub(FILTERED, shown)
    if policy.phone:
        shown = _PHONE.sub(FILTERED, shown)
    for pattern in policy.patterns:
        shown = _compiled(pattern).sub(FILTERED, shown)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}... {len(shown) - LONGEST_TEXT} more"


def _no_nul(value: str) -> str:
    """PostgreSQL's jsonb cannot hold NUL."""
    return value.replace("\x00", "\\0") if "\x00" in value else value


def _member(name: str, value: Any, policy: Policy, path: tuple[str, ...]) -> Any:
    if value is None or value == "" or name in NEVER:
        return value
    number = isinstance(value, _NUMBERS)
    if not number and is_secret(name):
        return FILTERED
    if policy.paths and any(_fits(pattern, (*path, name)) for pattern in policy.paths):
        return FILTERED
    if number:
        return value
    if isinstance(value, str):
        return text(value, policy)
    return redacted(value, policy, path=(*path, name))


@lru_cache(maxsize=8192)
def is_secret(name: str) -> bool:
    """Whether what stands under a name opens something, by the whole words of the name."""
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = list(pairwise(words))
    return (
        not _ALONE.isdisjoint(words)
        or not _PAIRS.isdisjoint(pairs)
        or any(before in _BEFORE_KEY and key in {"key", "keys"} for before, key in pairs)
    )


def _fits(pattern: str, path: tuple[str, ...]) -> bool:
    return _expression(pattern).fullmatch(".".join(path)) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = [
        r"(?:[^.]+\.)*" if part == "**" else (r"[^.]+\." if part == "*" else re.escape(part) + r"\.")
        for part in pattern.split(".")
    ]
    whole = "".join(parts).removesuffix(r"\.")
    return re.compile(whole if not pattern.endswith("**") else f"{whole}[^.]+")
