"""One cell at a time: what a column's distinct cells mean under its target, and by which rule they were changed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from estate import dates
from estate.clean import Use
from estate.cleansing.figures import NUMBERS, number_cleaner, port
from estate.cleansing.outcome import NOTHING, Cleaner, Outcome, quoted
from estate.roles import SOFTWARE
from estate.tables import Cell
from estate.vocabulary import (
    LOCAL_NAMES,
    PLACEHOLDERS,
    SERIAL_PLACEHOLDERS,
    UUID_PLACEHOLDERS,
    asset_type_of,
    boolean_of,
    criticality_of,
    environment_of,
    is_host_name,
    is_hypervisor_type,
    is_placeholder,
    is_plain_ipv4,
    is_plain_mac,
    is_template_type,
    mac_says_nothing,
    parse_ip,
    parse_mac,
    power_state_of,
    says_nothing,
    split_fqdn,
)

MAX_CHARACTERS = 2_000
"""A longer text is cut, and told."""
MAX_LIST_CHARACTERS = 100_000
"""A longer list is cut, and told."""
DATES = frozenset({"last_seen", "first_seen", "observed_at", "measured_at", "end_of_support", "licence_expires"})
DAYS = frozenset({"end_of_support", "licence_expires"})
LISTS = frozenset({"technologies", "software", "depends_on", "hosts", "databases"})
_SORTS = {"is_template": is_template_type, "is_hypervisor": is_hypervisor_type}
"""What a stated type says beyond the type itself."""
FLAGS = frozenset({"is_template", "is_placeholder", "has_database", "is_physical"})
NAMES = frozenset({"name", "hostname", "fqdn", "source_name", "target_name", "runs_on"})

_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""Controls, zero-width and direction marks, soft hyphens: what nobody sees and what makes two names differ."""
_MINUS_ONE = frozenset({"-1", "-1.0"})
"""What tools write where they collected nothing."""
_NO_BREAK = re.compile("[\u00a0\u202f\u2007]")
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "132": "sctp"}
"""IANA protocol numbers."""
_NO_DATES = (
    "0001-01-01",
    "0000-00-00",
    "1899-12-30",
    "1899-12-31",
    "1900-01-01",
    "1970-01-01",
    "9999-12-31",
    "1601-01-01",
)
"""The zero and the last day of programs."""


@dataclass(slots=True)
class Cleaned:
    """A column's distinct cells after cleansing, place by place."""

    values: list[Any]
    rules: list[str | None] | None = None
    """None where nothing was changed."""
    doubts: dict[int, str] = field(default_factory=dict)
    more: dict[str, list[Any]] = field(default_factory=dict)
    """Values of further targets that the same cells tell (`443/tcp`)."""


def clean_column(use: Use, distinct: list[Cell], role: str, *, part: bool = False) -> Cleaned:
    """Clean the distinct cells of a column; `distinct[0]` is the empty cell. `part`: the column is one of several that
    add up to a size, so its 0 says that this part is empty."""
    target = use.target
    if target == "custom_attributes":
        if _is_tidy(distinct) and not _has_numbers(distinct):
            return _placeholders_only(distinct)
        return _each(distinct, _attribute_cleaner(distinct))
    clean = cleaner_of(use, distinct, role, part=part)
    texts = clean is _text or clean is _name or target in _SAYS_NOTHING
    if texts and _is_tidy(distinct, names=target in NAMES) and _says_something(distinct, _SAYS_NOTHING.get(target)):
        return _each(distinct, clean) if _has_numbers(distinct) else _placeholders_only(distinct)
    cleaned = _each(distinct, clean)
    if target == "asset_type":
        for flag, is_such in _SORTS.items():
            marks: list[Any] = [True if cell is not None and is_such(str(cell)) else None for cell in distinct]
            if any(marks):
                cleaned.more[flag] = marks
    if target == "port" and cleaned.rules is not None and "port_and_protocol" in cleaned.rules:
        cleaned.more["protocol"] = [
            ("udp" if "udp" in str(cell).lower() else "tcp") if rule == "port_and_protocol" else None
            for cell, rule in zip(distinct, cleaned.rules, strict=True)
        ]
    return cleaned


def cleaner_of(use: Use, distinct: list[Cell], role: str, *, part: bool = False) -> Cleaner:
    """What cleans one cell of a column."""
    target = use.target
    if target in NUMBERS or target.endswith("_percent"):
        return port if target == "port" else number_cleaner(target, use.unit, use.number_format, part=part)
    if target in DATES:
        return _date(use.date_order, day_only=target in DAYS)
    if target in LISTS:
        return _list(None if role == SOFTWARE and target == "software" else _divider(target, distinct))
    if target in FLAGS:
        return _boolean(target)
    return _CLEANERS.get(target, _text)


def _each(distinct: list[Cell], clean: Cleaner) -> Cleaned:
    values: list[Any] = [None]
    rules: list[str | None] = [None]
    doubts: dict[int, str] = {}
    for code in range(1, len(distinct)):
        value, rule, doubt = clean(distinct[code])
        values.append(value)
        rules.append(rule)
        if doubt is not None:
            doubts[code] = doubt
    return Cleaned(values, rules if any(rules) else None, doubts)


def _is_tidy(distinct: list[Cell], *, names: bool = False) -> bool:
    """A quick look at all texts at once: is there nothing to trim, to take out or to cut? False when unsure."""
    texts = [cell for cell in distinct if type(cell) is str]
    joined = f"|{'|'.join(texts)}|"
    return (
        joined.isprintable()
        and "  " not in joined
        and "| " not in joined
        and " |" not in joined
        and not (names and ".|" in joined)
        and (not joined.isascii() or _INVISIBLE.search(joined) is None)
        and max(map(len, texts), default=0) <= MAX_CHARACTERS
    )


def _says_something(distinct: list[Cell], said: frozenset[str] | None) -> bool:
    """Are all cells texts, and none of them what firmware says where nobody wrote anything?"""
    texts = [cell for cell in distinct if type(cell) is str]
    if len(texts) < len(distinct) - 1:
        return False
    return said is None or (
        said.isdisjoint(map(str.lower, texts)) and all(text.count(text[0]) < len(text) for text in texts)
    )


def _has_numbers(distinct: list[Cell]) -> bool:
    """Is some cell minus one, or a number that is none?"""
    odd = (cell for cell in distinct if cell == -1 or (type(cell) is float and not math.isfinite(cell)))
    return next(odd, None) is not None or "-1" in distinct or "-1.0" in distinct


def _placeholders_only(distinct: list[Cell]) -> Cleaned:
    """The cells of a tidy column: only placeholders are to be taken out."""
    texts = [cell for cell in distinct if type(cell) is str]
    if PLACEHOLDERS.isdisjoint(map(str.lower, texts)) and all(map(str.isascii, texts)):
        return Cleaned(distinct)
    values: list[Any] = list(distinct)
    rules: list[str | None] = [None] * len(distinct)
    for code, cell in enumerate(distinct):
        if type(cell) is str and len(cell) <= 40 and is_placeholder(cell):
            values[code], rules[code] = None, "placeholder_to_null"
    return Cleaned(values, rules) if any(rules) else Cleaned(distinct)


# --- texts ------------------------------------------------------------------------------------------------------


def _seen(text: str) -> tuple[str, str | None]:
    """The text with single blanks and without what nobody sees, and the rule if that changed it."""
    visible = _INVISIBLE.sub("", text)
    clean = " ".join(visible.split())
    if clean == text:
        return text, None
    return clean, "invisible_removed" if visible != text or _NO_BREAK.search(text) else "trim"


def _text(cell: Cell) -> Outcome:
    if type(cell) is float and cell.is_integer():
        return str(int(cell)), "number_as_text", None
    clean, rule = _seen(str(cell))
    if is_placeholder(clean):
        return NOTHING
    if clean in _MINUS_ONE:
        return None, "minus_one_to_null", None
    if len(clean) > MAX_CHARACTERS:
        return clean[:MAX_CHARACTERS], "cut_to_2000_characters", _too_long(clean)
    return clean, rule, None


def _too_long(text: str) -> str:
    return f"{len(text):,} characters, only the first {MAX_CHARACTERS:,} are kept"


def _name(cell: Cell) -> Outcome:
    clean, rule, doubt = _text(cell)
    if clean is not None and clean.endswith(".") and (split_fqdn(clean) or is_host_name(clean.rstrip("."))):
        return clean.rstrip("."), "trailing_dot", doubt
    return clean, rule, doubt


def _host(cell: Cell) -> Outcome:
    """A host's own name, unless it is the one that all hosts begin with."""
    clean, rule, doubt = _name(cell)
    if clean is not None and clean.lower() in LOCAL_NAMES:
        return None, "local_name_to_null", None
    return clean, rule, doubt


def _unless(said: frozenset[str]) -> Cleaner:
    """A text, unless it is one that firmware says where nobody wrote anything, or one letter repeated."""

    def clean(cell: Cell) -> Outcome:
        value, rule, doubt = _text(cell)
        lower = value.lower() if value is not None else ""
        if lower in said or (len(lower) > 1 and len(set(lower)) == 1 and not lower[0].isalpha()):
            return NOTHING
        return value, rule, doubt

    return clean


def _word(what: str, meaning: Callable[[str], str | None], *, keep_unknown: bool) -> Cleaner:
    def clean(cell: Cell) -> Outcome:
        text, rule, doubt = _text(cell)
        if text is None:
            return None, rule, None
        known = meaning(text)
        if known is not None:
            return known, (f"{what}_name" if known != cell else None), None
        if keep_unknown:
            return text, rule, doubt
        return None, f"unknown_{what}_to_null", f"{quoted(text)} is no known {what.replace('_', ' ')}"

    return clean


def _lower(cell: Cell) -> Outcome:
    text, rule, _ = _text(cell)
    if text is None:
        return None, rule, None
    name = _PROTOCOLS.get(text, text.lower())
    return name, ("protocol_name" if name != text else rule), None


def _boolean(target: str) -> Cleaner:
    def clean(cell: Cell) -> Outcome:
        value = boolean_of(cell, target)
        if value is not None:
            return value, None, None
        if is_placeholder(str(cell)):
            return NOTHING
        return None, "not_a_boolean_to_null", f"{quoted(cell)} is neither yes nor no"

    return clean


def _attribute_cleaner(distinct: list[Cell]) -> Cleaner:
    """An attribute keeps its kind; -1 says `not collected` unless the column has other negative numbers."""
    negative = any(type(cell) in {int, float} and cell < 0 and cell != -1 for cell in distinct)  # type: ignore[operator]

    def clean(cell: Cell) -> Outcome:
        if isinstance(cell, bool):
            return cell, None, None
        if isinstance(cell, int | float):
            if isinstance(cell, float) and not math.isfinite(cell):
                return None, "not_a_number_to_null", None
            return (None, "minus_one_to_null", None) if cell == -1 and not negative else (cell, None, None)
        return _attribute_text(cell or "")

    return clean


def _attribute_text(cell: str) -> Outcome:
    visible = _INVISIBLE.sub(lambda found: found[0] if found[0] in "\u200c\u200d" else "", cell)
    text = visible.strip()
    if is_placeholder(text):
        return NOTHING
    if text in _MINUS_ONE:
        return None, "minus_one_to_null", None
    if len(text) > MAX_CHARACTERS:
        return text[:MAX_CHARACTERS], "cut_to_2000_characters", _too_long(text)
    if text == cell:
        return text, None, None
    return text, "invisible_removed" if visible != cell else "trim", None


# --- lists ------------------------------------------------------------------------------------------------------


_HOST = re.compile(r"[A-Za-z0-9](?=[\w.-]*[\d.-])[\w.-]*")
Divide = Callable[[str], list[str]]


def _divider(target: str, distinct: list[Cell]) -> Divide:
    """What divides a list, cell by cell: lines, `;` and `|`; else commas; else ` / ` between host names.

    Where other cells of the column use `;`, `|` or lines, a comma may be part of a name: it divides hosts, and parts
    that all look like host names or versions.
    """
    strong = any(
        type(cell) is str and re.search(r"[;|\n]", cell.strip().rstrip(";").strip()) is not None for cell in distinct
    )

    def divide(text: str) -> list[str]:
        if re.search(r"[;|\n]", text):
            return re.split(r"[;|\n]", text)
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > 1:
            told = not strong or target == "hosts" or all(re.search(r"\d", part) for part in parts)
            return parts if told else [text]
        parts = re.split(r"\s+/\s+", text)
        return parts if all(map(_HOST.fullmatch, parts)) else [text]

    return divide


def _list(divide: Divide | None) -> Cleaner:
    """A list of texts from a cell; None for `divide` = the cell is one part."""

    def clean(cell: Cell) -> Outcome:
        text, rule, doubt = _text_of_list(cell)
        if text is None:
            return None, rule, None
        parts = _json_list(text)
        if parts is None:
            bare = text.rstrip(";").strip()
            if bare.startswith("[") and bare.endswith("]"):
                bare = bare[1:-1]
            parts = divide(bare) if divide is not None and not bare.startswith("{") else [bare]
        tidy = (_seen(part.strip().strip("\"'"))[0] for part in parts)
        found = list(dict.fromkeys(part for part in tidy if part and not is_placeholder(part)))
        if not found:
            return NOTHING
        return found, (rule if found == [text] else "list_split"), doubt

    return clean


def _text_of_list(cell: Cell) -> Outcome:
    """As a text, lines kept."""
    text = _INVISIBLE.sub("", str(cell)).strip()
    if is_placeholder(text):
        return NOTHING
    if len(text) > MAX_LIST_CHARACTERS:
        doubt = f"{len(text):,} characters, only the first {MAX_LIST_CHARACTERS:,} are read"
        return text[:MAX_LIST_CHARACTERS], "cut_to_100000_characters", doubt
    return text, (None if text == cell else "trim"), None


def _json_list(text: str) -> list[str] | None:
    if not (text.startswith("[") and text.endswith("]")) or ('"' not in text and "{" not in text):
        return None
    try:
        parts = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return [part if isinstance(part, str) else orjson.dumps(part).decode() for part in parts if part is not None]


def _addresses(cell: Cell) -> Outcome:
    """A machine's own addresses: without those that every machine may have."""
    text = str(cell)
    if is_plain_ipv4(text) and not says_nothing(text):
        return [text], None, None
    clean, _ = _seen(text)
    alone = parse_ip(clean)
    if alone is not None and not says_nothing(alone):
        return [alone], (None if alone == text else "address_list"), None
    if is_placeholder(clean):
        return NOTHING
    found, doubt = _all_addresses(clean)
    addresses = [address for address in found if not says_nothing(address)]
    if not addresses:
        return None, "no_address_to_null", doubt
    if len(addresses) < len(found) and doubt is None:
        return addresses, "local_address_left_out", None
    return addresses, (None if addresses == [text] else "address_list"), doubt


def _ends(cell: Cell) -> Outcome:
    """The addresses of an end of a connection as they were seen, loopback and multicast too."""
    text = str(cell)
    if is_plain_ipv4(text):
        return [text], None, None
    clean, _ = _seen(text)
    if is_placeholder(clean):
        return NOTHING
    addresses, doubt = _all_addresses(clean)
    if not addresses:
        return None, "no_address_to_null", doubt
    return addresses, (None if addresses == [text] else "address_list"), doubt


def _all_addresses(text: str) -> tuple[list[str], str | None]:
    """The addresses of a list, and what in it is none."""
    if len(text) > MAX_LIST_CHARACTERS:
        return [], f"{len(text):,} characters are no addresses"
    found: dict[str, None] = {}
    bad: list[str] = []
    for part in re.split(r"[\s,;|\[\]()\"']+", text):
        if not part or is_placeholder(part):
            continue
        address = parse_ip(part)
        if address is None:
            bad.append(part)
        else:
            found[address] = None
    return list(found), f"{quoted(', '.join(bad[:5]))} is no IP address" if bad else None


def _macs(cell: Cell) -> Outcome:
    text = str(cell)
    if is_plain_mac(text) and not mac_says_nothing(text):
        return [text], None, None
    if len(text) > MAX_LIST_CHARACTERS:
        return None, "no_address_to_null", f"{len(text):,} characters are no addresses"
    parts = [part for part in re.split(r"[\s,;|\[\]]+", _seen(text)[0]) if part and not is_placeholder(part)]
    read = [(part, parse_mac(part)) for part in parts]
    bad = [part for part, mac in read if mac is None]
    doubt = f"{quoted(', '.join(bad[:5]))} is no hardware address" if bad else None
    macs = list(dict.fromkeys(mac for _, mac in read if mac is not None and not mac_says_nothing(mac)))
    if not macs:
        return None, "no_address_to_null" if parts else "placeholder_to_null", doubt
    return macs, (None if macs == [text] else "address_list"), doubt


# --- dates ------------------------------------------------------------------------------------------------------


def _date(order: str | None, *, day_only: bool) -> Cleaner:
    known = order if order in dates.ORDERS else None

    def clean(cell: Cell) -> Outcome:
        if type(cell) is not str:
            return None, "not_a_date_to_null", f"{quoted(cell)} is a bare number, not a date"
        text, rule = _seen(cell)
        if is_placeholder(text) or text.startswith("0000-00-00"):
            return NOTHING
        found = dates.parse(text, known)
        if found is None:
            if known is None and dates.is_date(text):
                return (
                    None,
                    "date_order_unknown_to_null",
                    f"{quoted(cell)} does not say which number is the day and which the month",
                )
            return None, "not_a_date_to_null", f"{quoted(cell)} is no date"
        if found.startswith(_NO_DATES) and found[10:19] in {"", "T00:00:00"}:
            return NOTHING
        if day_only:
            found = found[:10]
        return found, (rule if found == text else "date_format"), None

    return clean


_CLEANERS: dict[str, Cleaner] = (
    {
        "environment": _word("environment", environment_of, keep_unknown=True),
        "criticality": _word("criticality", criticality_of, keep_unknown=False),
        "power_state": _word("power_state", power_state_of, keep_unknown=False),
        "asset_type": _word("asset_type", asset_type_of, keep_unknown=False),
        "ip_addresses": _addresses,
        "source_ip": _ends,
        "target_ip": _ends,
        "mac_addresses": _macs,
        "protocol": _lower,
        "serial_number": _unless(SERIAL_PLACEHOLDERS),
        "uuid": _unless(UUID_PLACEHOLDERS),
    }
    | dict.fromkeys(NAMES, _name)
    | dict.fromkeys(("hostname", "fqdn"), _host)
)
_SAYS_NOTHING = {
    "serial_number": SERIAL_PLACEHOLDERS,
    "uuid": UUID_PLACEHOLDERS,
    "hostname": LOCAL_NAMES,
    "fqdn": LOCAL_NAMES,
}
