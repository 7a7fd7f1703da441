"""What is different between two inventories of one estate: what is new, gone, renamed or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import msgspec
import orjson

from estate.bulk import bulk
from estate.ids import id_of
from estate.inventory.choosing import same
from estate.inventory.identity import identifies, is_instance_uuid, mac_is_key, serial_key, uuid_key
from estate.names import canonical
from estate.vocabulary import telling

PROVENANCE = frozenset(
    {
        "asset_id", "sources", "rows", "conflicts", "classification", "matched_by", "confidence", "also_known_as",
        "utilization", "cpu_utilization_percent", "memory_utilization_percent",
    }
)  # fmt: skip
"""Where a fact is from, how sure it is, and what differs whenever it is measured: not compared."""
PASSING = frozenset({"last_seen"})
"""Attributes that differ in every export."""
_SPACE = UUID("7a1a2f0e-3a7b-5c55-9c2e-6d0c3f6f2b11")
"""Namespace of change ids: they follow from the two assets, which have ids of their flows."""


class _Known(msgspec.Struct):
    """What identifies an asset, and where its line begins."""

    asset_id: str
    name: str
    asset_type: str = "other"
    fqdn: str | None = None
    uuid: str | None = None
    serial_number: str | None = None
    external_ids: list[str] = []
    mac_addresses: list[str] = []
    ip_addresses: list[str] = []
    offset: int = 0

    @property
    def sort(self) -> str:
        """Applications and machines of one name are different things."""
        return "application" if self.asset_type == "application" else "machine"

    @property
    def key(self) -> str:
        """The name as a key."""
        return " ".join(self.name.split()).casefold() if self.sort == "application" else canonical(self.name)[0]


_known = msgspec.json.Decoder(_Known)


def _uuid(asset: _Known) -> Iterable[str]:
    own = uuid_key(asset.uuid) if asset.uuid else None
    spelled = serial_key(asset.serial_number)[1] if asset.serial_number else None
    return [key for key in (own, spelled) if key is not None]


def _serial(asset: _Known) -> Iterable[str]:
    key = serial_key(asset.serial_number)[0] if asset.serial_number else None
    return [key] if key is not None else []


def _macs(asset: _Known) -> Iterable[str]:
    return filter(mac_is_key, asset.mac_addresses)


def _fqdn(asset: _Known) -> Iterable[str]:
    return [asset.fqdn] if asset.fqdn else []


IDENTITIES: tuple[tuple[str, Callable[[_Known], Iterable[str]]], ...] = (
    ("uuid", _uuid),
    ("serial number", _serial),
    ("external id", lambda asset: filter(identifies, asset.external_ids)),
    ("full name", _fqdn),
    ("name and external id", lambda asset: [f"{asset.key}|{external}" for external in asset.external_ids]),
    ("name and address", lambda asset: [f"{asset.key}|{address}" for address in telling(asset.ip_addresses)]),
    ("name", lambda asset: [asset.key]),
    ("name and type", lambda asset: [f"{asset.key}|{asset.asset_type}"]),
    ("hardware address", _macs),
)
"""By what an asset of one inventory is found in the other, the surest first; only keys that one asset on each side has."""


@bulk
def compare(before: Path, after: Path, each: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Compare two files of assets, one JSON document per line, and hand each change to `each`.

    A change is `{change_id, kind, asset_id, before_asset_id, name, asset_type, matched_by, fields: [{field, before,
    after}]}`; kind is `new` (in the second only; no fields), `gone` (in the first only; no fields), `renamed` (another
    name, and what else differs) or `changed`. An attribute's field is `custom_attributes.<name>`. First what is in the
    second inventory, in its order, then what is gone. Assets with different UUIDs or serial numbers are different
    assets, unless they have one name and another of these keys or a hardware address in common; a hardware address
    alone makes no one asset of two that have other names and other addresses. Where a value is from, how sure it is, and utilisation are not compared.

    The summary is `{before, after, unchanged, by_kind, by_field, matched_by}`; before = unchanged + changed + renamed +
    gone, after = unchanged + changed + renamed + new.
    """
    old, new = list(_read(before)), list(_read(after))
    pairs, by_key = _matched(old, new)
    kinds: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    with before.open("rb") as first, after.open("rb") as second:
        for at, asset in enumerate(new):
            found = pairs.get(at)
            if found is None:
                kinds["new"] += 1
                each(_change("new", asset, None, None, []))
                continue
            known, label = old[found[0]], found[1]
            differing = list(_differences(_document(first, known.offset), _document(second, asset.offset)))
            if not differing:
                kinds["unchanged"] += 1
                continue
            kind = "renamed" if known.key != asset.key else "changed"
            kinds[kind] += 1
            fields.update(one["field"] for one in differing)
            each(_change(kind, asset, known, label, differing))
    matched = {at for at, _ in pairs.values()}
    for at, asset in enumerate(old):
        if at not in matched:
            kinds["gone"] += 1
            each(_change("gone", None, asset, None, []))
    return {
        "before": len(old),
        "after": len(new),
        "unchanged": kinds.pop("unchanged", 0),
        "by_kind": {kind: kinds[kind] for kind in ("new", "gone", "changed", "renamed")},
        "by_field": dict(sorted(fields.items(), key=lambda one: (-one[1], one[0]))),
        "matched_by": dict(by_key.most_common()),
    }


def _read(path: Path) -> Iterator[_Known]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line != b"\n":
                asset = _known.decode(line)
                asset.offset = offset
                yield asset
            offset += len(line)


def _document(file: IO[bytes], offset: int) -> dict[str, Any]:
    file.seek(offset)
    document: dict[str, Any] = orjson.loads(file.readline())
    return document


def _matched(old: list[_Known], new: list[_Known]) -> tuple[dict[int, tuple[int, str]], Counter[str]]:
    """By place in the second: (place in the first, the key that found it); and how many each key found."""
    pairs: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    by_key: Counter[str] = Counter()
    for label, keys_of in IDENTITIES:
        mine = _unique(new, keys_of, pairs.keys())
        theirs = _unique(old, keys_of, taken)
        for key, at in mine.items():
            other = theirs.get(key)
            if other is None or at in pairs or other in taken or _contradict(old[other], new[at]):
                continue
            if keys_of is _macs and _elsewhere(old[other], new[at]):
                continue
            pairs[at] = (other, label)
            taken.add(other)
            by_key[label] += 1
    return pairs, by_key


def _unique(
    assets: list[_Known], keys_of: Callable[[_Known], Iterable[str]], without: Iterable[int]
) -> dict[tuple[str, str], int]:
    """The assets by a key that no other of them has."""
    left_out = set(without)
    found: dict[tuple[str, str], int] = {}
    several: set[tuple[str, str]] = set()
    for at, asset in enumerate(assets):
        if at in left_out:
            continue
        for key in set(keys_of(asset)):
            if found.setdefault((asset.sort, key), at) != at:
                several.add((asset.sort, key))
    for place in several:
        del found[place]
    return found


def _contradict(one: _Known, other: _Known) -> bool:
    """Do two assets have different UUIDs or serial numbers, and nothing that says they are one nevertheless? Of
    one name another key that is the same says so; of two names none does."""
    uuids, serials = ((set(keys_of(one)), set(keys_of(other))) for keys_of in (_uuid, _serial))
    if one.key == other.key:
        macs = set(_macs(one)) & set(other.mac_addresses)
        if macs or uuids[0] & uuids[1] or serials[0] & serials[1]:
            return False
    if _differ(*serials):
        return True
    of_one_sort = one.uuid and other.uuid and is_instance_uuid(one.uuid) == is_instance_uuid(other.uuid)
    return bool(of_one_sort) and _differ(*uuids)


def _elsewhere(one: _Known, other: _Known) -> bool:
    """Have two assets addresses, and none in common? Hypervisors give a hardware address anew."""
    return _differ(set(telling(one.ip_addresses)), set(telling(other.ip_addresses)))


def _differ(one: set[str], other: set[str]) -> bool:
    return bool(one) and bool(other) and not one & other


def _differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`{field, before, after}` of what differs."""
    for name in dict.fromkeys([*one, *other]):
        if name in PROVENANCE or name == "custom_attributes":
            continue
        a, b = _comparable(name, one.get(name)), _comparable(name, other.get(name))
        if not _same(name, a, b):
            yield {"field": name, "before": a, "after": b}
    mine, theirs = one.get("custom_attributes") or {}, other.get("custom_attributes") or {}
    for name in dict.fromkeys([*mine, *theirs]):
        if name not in PASSING and not _same(name, mine.get(name), theirs.get(name)):
            yield {"field": f"custom_attributes.{name}", "before": mine.get(name), "after": theirs.get(name)}


def _comparable(name: str, value: Any) -> Any:
    """Software as texts, other lists in alphabetical order."""
    if name == "software":
        return sorted(
            " ".join(str(part) for part in (one.get("product"), one.get("version"), one.get("edition")) if part)
            for one in value or ()
        )
    return sorted(value, key=str) if isinstance(value, list) else value


def _same(name: str, one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return same(name, one, other)


def _change(
    kind: str, asset: _Known | None, before: _Known | None, matched_by: str | None, fields: list[dict[str, Any]]
) -> dict[str, Any]:
    told = asset or before
    assert told is not None
    ids = [one.asset_id if one is not None else None for one in (asset, before)]
    return {
        "change_id": id_of(_SPACE, "|".join(map(str, ("change", kind, *ids)))),
        "kind": kind,
        "asset_id": ids[0],
        "before_asset_id": ids[1],
        "name": told.name,
        "asset_type": told.asset_type,
        "matched_by": matched_by,
        "fields": fields,
    }
