"""Which asset is behind a name or an address, and what stands for an end that is no asset."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from estate.assets import AssetFacts
from estate.dependencies.services import is_outside
from estate.names import canonical
from estate.vocabulary import parse_ip, special_address, telling

MACHINE = "machine"
APPLICATION = "application"
DATABASE = "database"

BETWEEN = re.compile(r"\s*[;,|\n]\s*")
"""Between several applications in one cell."""

Place = tuple[str, str | None]
"""(file, sheet) of a table."""


@dataclass(frozen=True, slots=True)
class Known:
    """What groups and edges need of an asset."""

    asset_id: str
    name: str
    asset_type: str
    environment: str | None
    application_name: str | None
    cpu_cores: int | None
    memory_gb: float | None
    storage_gb: float | None
    migratable: bool


@dataclass(slots=True)
class Unknown:
    """An end that is no asset, or may be one of several."""

    key: str
    title: str
    what: str = MACHINE
    """`machine, application, database`: what the column that names it is of."""
    outside: bool = False
    special: str | None = None
    candidates: tuple[int, ...] = ()
    """The assets it may be, where a name or an address is of several."""


class Directory:
    """All ends by number: the assets first, then the ends that are none, as they are met."""

    def __init__(self, assets: Iterable[AssetFacts], places: Iterable[Place]) -> None:
        """`places` are the tables whose rows are asked for by `at`."""
        self.assets: list[Known] = []
        self.unknown: list[Unknown] = []
        self._names: dict[str, list[int]] = defaultdict(list)
        self._fqdns: dict[str, list[int]] = defaultdict(list)
        self._domains: dict[int, str] = {}
        self._ids: dict[str, list[int]] = defaultdict(list)
        self._addresses: dict[str, list[int]] = defaultdict(list)
        self._rows: dict[Place, dict[int, int]] = {place: {} for place in places}
        self._keys: dict[str, int] = {}
        for asset in assets:
            self._take(asset)

    def _take(self, asset: AssetFacts) -> None:
        number = len(self.assets)
        self.assets.append(
            Known(
                asset.asset_id,
                asset.name,
                asset.asset_type,
                asset.environment,
                asset.application_name,
                asset.cpu_cores,
                asset.memory_gb,
                asset.storage_gb,
                asset.migratable,
            )
        )
        stated = [asset.name, asset.hostname, *asset.also_known_as]
        for key in dict.fromkeys(_name_key(name, asset.asset_type) for name in stated if name):
            self._names[key].append(number)
        fqdns = [asset.fqdn, *(name for name in stated if name and canonical(name)[1])]
        for fqdn in dict.fromkeys(name.lower() for name in fqdns if name):
            self._fqdns[fqdn].append(number)
        domain = canonical(asset.fqdn)[1] if asset.fqdn else None
        if domain:
            self._domains[number] = domain
        for external in dict.fromkeys(text.lower() for text in asset.external_ids):
            self._ids[external].append(number)
        for address in telling(dict.fromkeys(asset.ip_addresses)):
            self._addresses[address].append(number)
        for source in asset.sources:
            rows = self._rows.get((source["file"], source["sheet"]))
            if rows is not None and source["row"] is not None:
                rows[source["row"]] = number

    def at(self, place: Place, row: int) -> int | None:
        """The asset that a row of a table was found to be."""
        return self._rows.get(place, {}).get(row)

    @property
    def count(self) -> int:
        """How many ends there are."""
        return len(self.assets) + len(self.unknown)

    def is_known(self, end: int) -> bool:
        """Is this end an asset?"""
        return end < len(self.assets)

    def asset_id(self, end: int) -> str | None:
        """The asset's id; None for an end that is no asset."""
        return self.assets[end].asset_id if end < len(self.assets) else None

    def title(self, end: int) -> str:
        """The name to show."""
        return self.assets[end].name if end < len(self.assets) else self.unknown[end - len(self.assets)].title

    def key(self, end: int) -> str:
        """What makes ids: the asset's id, else the canonical name."""
        return self.assets[end].asset_id if end < len(self.assets) else self.unknown[end - len(self.assets)].key

    def stranger(self, end: int) -> Unknown | None:
        """What is known of an end that is no asset; None for an asset."""
        return None if end < len(self.assets) else self.unknown[end - len(self.assets)]

    def asset_type(self, end: int) -> str | None:
        """The type of an asset; of what is none `application` or `database` where that is known, else None."""
        if end < len(self.assets):
            return self.assets[end].asset_type
        what = self.unknown[end - len(self.assets)].what
        return what if what in {APPLICATION, DATABASE} else None

    def end(
        self, name: str | None, addresses: Iterable[str] = (), *, prefer: str = MACHINE
    ) -> tuple[int, float] | None:
        """(end, confidence) of a name and addresses; None where there is neither.

        By full name, by name, by external id, by address. A name or an address of several assets needs the other; where
        that does not settle it, the end stays unknown (0.3). A name whose address is another asset's counts, with less
        confidence (0.7). Of several assets of one name the type that is meant
        (`prefer`) wins.
        """
        name = " ".join(name.split()) if name else None
        listed = [address for address in addresses if address]
        if name is not None and (parse_ip(name) is not None or special_address(name)):
            listed.insert(0, parse_ip(name) or name)
            name = None
        usable = telling(address for address in listed if special_address(address) is None)
        if name is None and not listed:
            return None
        found, confidence, candidates = self._find(name, usable, prefer)
        if found is not None:
            return found, confidence
        return self._stranger(name, listed, usable, candidates, prefer), confidence

    def application(self, name: str) -> int | None:
        """The one application of this name among the assets."""
        found = [
            number for number in self._names.get(_name_key(name, APPLICATION), ()) if self._is(number, APPLICATION)
        ]
        return found[0] if len(found) == 1 else None

    def applications(self, text: str) -> list[int]:
        """The applications among the assets that a cell names: one, or several with `;`, `,`, `|` or lines between."""
        whole = self.application(text)
        if whole is not None:
            return [whole]
        return [found for name in dict.fromkeys(BETWEEN.split(text)) if (found := self.application(name)) is not None]

    def _is(self, number: int, wanted: str) -> bool:
        held = self.assets[number].asset_type
        return held == wanted if wanted in {APPLICATION, DATABASE} else held != APPLICATION

    def _find(self, name: str | None, addresses: list[str], prefer: str) -> tuple[int | None, float, tuple[int, ...]]:
        by_address = dict.fromkeys(number for address in addresses for number in self._addresses.get(address, ()))
        if name is not None:
            named = self._by_name(name, prefer)
            if named is not None:
                numbers, confidence = named
                if len(numbers) == 1:
                    contradicted = bool(by_address) and numbers[0] not in by_address
                    return numbers[0], min(confidence, 0.7) if contradicted else confidence, ()
                both = [number for number in numbers if number in by_address]
                return (both[0], 0.8, ()) if len(both) == 1 else (None, 0.3, tuple(numbers))
        if len(by_address) == 1:
            return next(iter(by_address)), 0.8 if name is None else 0.6, ()
        return None, 0.3 if by_address else 0.5, tuple(by_address)

    def _by_name(self, name: str, prefer: str) -> tuple[list[int], float] | None:
        """(the assets of this name, confidence of one match); None where nobody has it."""
        whole = self._narrowed(self._fqdns.get(name.lower(), []), prefer)
        if len(whole) == 1:
            return whole, 1.0
        key, domain = canonical(name)
        pool = self._names.get(name.lower()) or self._names.get(key)
        if not pool:
            pool = self._ids.get(name.lower())
            return (self._narrowed(pool, prefer), 1.0) if pool else None
        numbers = self._narrowed(pool, prefer)
        other_domain = domain is not None and self._domains.get(numbers[0], domain) != domain
        unlike = prefer == APPLICATION and not self._is(numbers[0], APPLICATION)
        return numbers, 0.6 if unlike else 0.7 if other_domain else 1.0

    def _narrowed(self, numbers: list[int], prefer: str) -> list[int]:
        return [number for number in numbers if self._is(number, prefer)] or numbers

    def _stranger(
        self, name: str | None, listed: list[str], usable: list[str], candidates: tuple[int, ...], what: str
    ) -> int:
        """The number of an end that is no asset; the same end is one however often it is met."""
        shown = name or (usable or listed)[0]
        key = f"application {shown.lower()}" if what == APPLICATION else canonical(shown)[0]
        number = self._keys.get(key)
        outside = bool(usable) and all(is_outside(address) for address in usable)
        if number is None:
            special = None if name or usable else special_address(shown)
            number = self._keys[key] = len(self.assets) + len(self.unknown)
            self.unknown.append(Unknown(key, shown, what, outside, special, candidates))
        else:
            known = self.unknown[number - len(self.assets)]
            known.candidates = known.candidates or candidates
        return number


def _name_key(name: str, asset_type: str) -> str:
    """Applications keep their dots: `Shop.Net` is no host `shop` of a domain `net`."""
    return " ".join(name.lower().split()) if asset_type == APPLICATION else canonical(name)[0]
