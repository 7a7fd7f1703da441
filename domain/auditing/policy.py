"""What entries of the trail are made under: what they keep from sight, and the rules that they are held against; also what a
deployment adds of its own, as data."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from domain.auditing.compliance import RULES, Rule
from domain.auditing.redaction import Policy
from domain.auditing.trail import Entry
from domain.errors import RegistrationError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MOST = 200
"""Most rules, paths and patterns of one's own, each."""


class AuditPolicy(Policy, frozen=True, kw_only=True):
    """What is kept from sight, and every rule that is run."""

    rules: tuple[Rule, ...] = RULES


SHIPPED = AuditPolicy()


class _OwnRule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as somebody writes it: what is misspelt is refused."""


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a deployment adds: rules, and paths and patterns (regular expressions) that are kept from sight."""

    rules: tuple[_OwnRule, ...] = ()
    redact_paths: tuple[str, ...] = ()
    redact_patterns: tuple[str, ...] = ()


def own(data: Any) -> Own:
    """What was read from a file, checked; raises RegistrationError that says which part is wrong."""
    try:
        found = msgspec.convert(data, Own)
    except msgspec.ValidationError as error:
        raise RegistrationError(str(error)) from None
    for name in Own.__struct_fields__:
        if len(getattr(found, name)) > MOST:
            raise RegistrationError(f"{name}: {len(getattr(found, name))} are given, at most {MOST} may be")
    names = [rule.name for rule in (*RULES, *found.rules)]
    for rule in found.rules:
        if not NAME.fullmatch(rule.name):
            raise RegistrationError(f"the rule {rule.name!r}: a name is small letters, figures and _, 63 at most")
        if names.count(rule.name) > 1:
            raise RegistrationError(
                f"the rule {rule.name!r}: there is another of this name; give each a name of its own"
            )
        _check(rule)
    for path in found.redact_paths:
        if not all(part in {"*", "**"} or re.fullmatch(r"[^.*]+", part) for part in path.split(".")):
            raise RegistrationError(f"redact_paths: {path!r} is not names, * or ** with dots between")
    for pattern in found.redact_patterns:
        if _compiled(pattern, "redact_patterns").fullmatch(""):
            raise RegistrationError(
                f"redact_patterns: {pattern!r} fits an empty text too; let it fit what is to be hidden"
            )
    return found


def policy_of(found: Own, *, email: bool = False, phone: bool = False, paths: tuple[str, ...] = ()) -> AuditPolicy:
    """The policy with what a deployment adds; shipped rules come first."""
    rules = tuple(Rule(**msgspec.structs.asdict(rule)) for rule in found.rules)
    return AuditPolicy(
        email=email,
        phone=phone,
        paths=(*paths, *found.redact_paths),
        patterns=found.redact_patterns,
        rules=(*RULES, *rules),
    )


def _check(rule: Rule) -> None:
    if not rule.title.strip():
        raise RegistrationError(f"the rule {rule.name!r}: its title is empty; say what must hold")
    wrong = [name for name in rule.operations if not NAME.fullmatch(name)]
    if wrong:
        raise RegistrationError(
            f"the rule {rule.name!r}: {wrong[0]!r} cannot be an operation; write it as the trail does"
        )
    strange = [name for name in rule.needs if not _is_column(name)]
    if strange:
        known = ", ".join(name for name in Entry._fields if name != "details")
        raise RegistrationError(
            f"the rule {rule.name!r}: it needs {strange[0]!r}, which is no column of the trail ({known}) and no path that"
            " begins with details."
        )
    if rule.reason_fits is not None:
        _compiled(rule.reason_fits, f"the rule {rule.name!r}")
    if not (rule.needs or rule.approved or rule.reason_fits or rule.youngest_days):
        raise RegistrationError(
            f"the rule {rule.name!r}: it asks for nothing; give it needs, approved, reason_fits or youngest_days"
        )


def _is_column(name: str) -> bool:
    first, *path = name.split(".")
    return bool(path) and all(path) if first == "details" else not path and first in Entry._fields


def _compiled(pattern: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RegistrationError(f"{where}: {pattern!r} is no regular expression: {error}") from None
