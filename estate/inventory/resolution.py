"""Which things of several tables are one: by name first, then by what the hardware, the sources and the network say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from rapidfuzz import fuzz

from estate.inventory.against import Against, disjoint
from estate.inventory.clusters import Resolution, Review, Shared
from estate.inventory.identity import is_generic_host, mac_is_key, similar, squashed
from estate.inventory.sightings import Units
from estate.inventory.views import APPLICATION
from estate.vocabulary import parse_ip

MAX_NAMED = 8
MAX_TOGETHER = 100
"""So many assets one doubt lists."""
MAX_ONE_NAME = 200
"""Above so many things of one name only their keys are compared, not each with each."""
_ADDRESS_BEGINS = frozenset("0123456789abcdef:")
CONFIDENCE = {
    "UUID": 0.98, "serial number": 0.97, "external id": 0.95, "hardware address": 0.9, "host name": 0.9,
    "address": 0.85, "address alone": 0.8, "similar name": 0.5, "elimination": 0.8, "name in another domain": 0.7,
}  # fmt: skip
"""How sure a match is by the key that made it; the same name with nothing against it is 1."""


def resolve(units: Units) -> Resolution:
    """Bring units together. What is doubtful stays apart and becomes a review."""
    work = _Resolver(units)
    work.one_name()
    work.hardware()
    work.sources_own_ids()
    work.host_names()
    work.network()
    work.spellings()
    work.found.evidence.sort()
    return work.found


class _Resolver(Against):
    def __init__(self, units: Units) -> None:
        super().__init__(units, Resolution(units, list(range(len(units.first)))))
        self.by_name: dict[str, int | list[int]] = {}
        for unit, name in enumerate(units.name):
            if name is None:
                continue
            known = self.by_name.get(name)
            if known is None:
                self.by_name[name] = unit
            elif isinstance(known, int):
                self.by_name[name] = [known, unit]
            else:
                known.append(unit)
        self.applications = any(name is not None and name.startswith(APPLICATION) for name in units.name)

    # --- joining

    def union(self, one: int, other: int) -> None:
        found = self.found
        a, b = sorted((found.find(one), found.find(other)))
        if a == b:
            return
        found.parent[b] = a
        merged = [*found.members.pop(a, (a,)), *found.members.pop(b, (b,))]
        merged.sort()
        found.members[a] = merged
        sure = min(found.confidence.pop(a, 1.0), found.confidence.pop(b, 1.0))
        if sure < 1.0:
            found.confidence[a] = sure

    def join(self, one: int, other: int, label: str, words: str, confidence: float) -> None:
        """Bring two clusters together and say why."""
        one, other = sorted((one, other))
        self.union(one, other)
        root = self.found.find(one)
        self.found.confidence[root] = min(self.found.confidence.get(root, 1.0), confidence)
        self.found.matches[label] += 1
        if self.units.of(other).standing < self.units.of(one).standing:
            one, other = other, one
        self.found.evidence.append((other, f"{self.units.place(other)}: {words} as {self.units.place(one)}"))

    # --- one name

    def one_name(self) -> None:
        """Units of one name are one, unless their keys say otherwise."""
        groups = [units for units in self.by_name.values() if not isinstance(units, int)]
        if not groups:
            return
        self._compare_tables(groups)
        for units in groups:
            if self._may_differ(units):
                self._told_apart(units)
                continue
            first = units[0]
            self.found.members[first] = units[:]
            for unit in units[1:]:
                self.found.parent[unit] = first
            self.found.matches["name"] += len(units) - 1

    def _may_differ(self, units: list[int]) -> bool:
        u = self.units
        if len({u.view[unit] for unit in units}) < len(units):
            return True
        kinds = Counter(u.of(unit).kind for unit in units)
        if any(count > 1 and "." in kind for kind, count in kinds.items()):
            return True
        for key in (u.serial, u.domain):
            known = {found for unit in units if (found := key(unit)) is not None}
            if len(known) > 1:
                return True
        return len({uuids for unit in units if (uuids := u.uuids(unit))}) > 1

    def _compare_tables(self, groups: list[list[int]]) -> None:
        """Find pairs of tables whose UUIDs (or serials) are of different sorts: for machines that are the same by name
        and address they differ nearly always."""
        u = self.units

        def serial(unit: int) -> tuple[str, ...]:
            found = u.serial(unit)
            return () if found is None else (found,)

        for label, key, has in (
            ("UUID", u.uuids, [view.uuids is not None for view in u.views]),
            ("serial number", serial, [view.serials is not None for view in u.views]),
        ):
            if sum(has) < 2:
                continue
            same: Counter[tuple[int, int]] = Counter()
            other: Counter[tuple[int, int]] = Counter()
            for units in groups:
                known = [unit for unit in units if has[u.view[unit]] and key(unit)]
                for at, one in enumerate(known[:8]):
                    for two in known[at + 1 : 8]:
                        pair = (u.view[one], u.view[two])
                        if pair[0] == pair[1]:
                            continue
                        if not set(key(one)).isdisjoint(key(two)):
                            same[pair] += 1
                        elif u.addresses(one).keys() & u.addresses(two).keys() or self.common_mac(one, two):
                            other[pair] += 1
            for pair, count in other.items():
                if count >= 3 and count > 4 * same[pair]:
                    self.unlike.add((label, *pair))
                    self.found.incomparable.append((label, *pair, count))

    def _told_apart(self, units: list[int]) -> None:
        """Units of one name of which some are different things."""
        u, found = self.units, self.found
        self._by_common_keys(units)
        clusters = list(dict.fromkeys(found.find(unit) for unit in units))
        if len(clusters) == 1:
            return
        if len(clusters) > MAX_ONE_NAME:
            found.ambiguous.update(root for root in clusters if self._says_nothing(root))
            return
        seeds = [
            one
            for one in clusters
            if any(one != two and self._clusters_apart(one, two) is not None for two in clusters)
        ]
        if not seeds:
            for other in clusters[1:]:
                self._same_name(clusters[0], other)
            return
        results: list[int] = []
        for seed in sorted(seeds, key=lambda root: (-len(found.cluster(root)), root)):
            fits = [one for one in results if self._clusters_apart(one, seed) is None]
            if len(fits) > 1:
                self._ambiguous(seed, fits)
            elif fits and len(results) > 1:
                words = f"the same name {u.title(seed)}, and nothing else of that name fits,"
                self.join(fits[0], seed, "elimination", words, CONFIDENCE["elimination"])
            elif fits:
                self._same_name(fits[0], seed)
            else:
                results.append(seed)
        floating = [one for one in clusters if one not in set(seeds)]
        if len(results) == 1:
            for one in floating:
                self._same_name(results[0], one)
            return
        for one in floating[1:]:
            self._same_name(floating[0], one)
        if floating:
            self._ambiguous(floating[0], results)
        tables = [{u.view[unit] for unit in found.cluster(root)} for root in results]
        if not any(a & b for at, a in enumerate(tables) for b in tables[at + 1 :]):
            found.apart.append(tuple(results))

    def _same_name(self, one: int, other: int) -> None:
        first, second = self.found.cluster(one), self.found.cluster(other)
        if self.domains_differ(first, second) and not self.meet(first, second):
            words = f"the same name {self.units.title(one)}, in another domain,"
            self.join(one, other, "name", words, CONFIDENCE["name in another domain"])
            return
        self.union(one, other)
        self.found.matches["name"] += 1

    def _says_nothing(self, unit: int) -> bool:
        u = self.units
        keys = (u.uuids, u.serial, u.externals, u.domain)
        return not any(key(member) for member in self.found.cluster(unit) for key in keys)

    def _clusters_apart(self, one: int, other: int) -> str | None:
        for a in self.found.cluster(one):
            for b in self.found.cluster(other):
                reason = self.apart(a, b)
                if reason is not None:
                    return reason
        return None

    def _by_common_keys(self, units: list[int]) -> None:
        """Join what has a key in common, the surest first."""
        u = self.units

        def one(key: Any) -> Any:
            return lambda unit: [found] if (found := key(unit)) is not None else []

        for label, keys_of, words in (
            ("UUID", u.uuids, "the same name and UUID"),
            ("serial number", one(u.serial), "the same name and serial number"),
            ("external id", u.externals, "the same name and external id"),
            ("full name", one(u.domain), "the same full name"),
            ("hardware address", lambda unit: filter(mac_is_key, u.macs(unit)), "the same name and hardware address"),
            ("name and address", u.addresses, "the same name and address"),
        ):
            buckets: dict[str, list[int]] = defaultdict(list)
            for unit in units:
                for key in keys_of(unit):
                    buckets[key].append(unit)
            for key, same in buckets.items():
                for other in same[1:]:
                    if (
                        self.found.find(other) != self.found.find(same[0])
                        and self._clusters_apart(same[0], other) is None
                    ):
                        self.join(same[0], other, label, f"{words} {key}" if label != "UUID" else words, 1.0)

    def _ambiguous(self, unit: int, results: list[int]) -> None:
        u, found = self.units, self.found
        found.ambiguous.add(unit)
        name = u.title(unit)
        listed = any(u.of(member).lists for member in found.cluster(unit))
        if listed:
            found.doubt(
                Review(
                    "ambiguous_match",
                    (unit, *results),
                    f"{name} names {len(results)} machines, and {u.place(unit)} does not say which one it means; it was"
                    " kept as one of its own.",
                    0.5,
                    tuple(f"{u.place(root)}: {self._marks(root)}" for root in results[:10]),
                    "Add the address, the full name or the serial number to the row, or leave the row out.",
                )
            )

    def _marks(self, unit: int) -> str:
        """What is known to tell one thing of a name from another."""
        u = self.units
        members = self.found.cluster(unit)
        view = u.of(unit)
        parts = [
            f"{target.replace('_', ' ')} {value}"
            for target in ("uuid", "serial_number", "external_id")
            if (value := view.first(target, u.first[unit])) is not None
        ]
        domain = next((d for member in members if (d := u.domain(member))), None)
        if domain:
            parts.append(f"domain {domain}")
        addresses = list(dict.fromkeys(address for member in members for address in u.addresses(member)))
        if addresses:
            parts.append(f"address {', '.join(addresses[:3])}")
        return ", ".join(parts) or u.title(unit)

    # --- other names

    def is_machine(self, unit: int) -> bool:
        name = self.units.name[unit]
        return name is None or not name.startswith(APPLICATION)

    def collected(self, keys: Iterable[tuple[str, int]]) -> Iterator[tuple[str, list[int]]]:
        """Keys that more than one cluster has, with units that state them, at least one of each cluster."""
        first: dict[str, int] = {}
        shared: dict[str, list[int]] = {}
        find = self.found.find
        for key, unit in keys:
            known = first.setdefault(key, unit)
            if known != unit and find(known) != find(unit):
                shared.setdefault(key, [known]).append(unit)
        del first
        for key, units in shared.items():
            root = find(units[0])
            if any(find(unit) != root for unit in units):
                yield key, units

    def roots(self, units: Iterable[int]) -> list[int]:
        return list(dict.fromkeys(self.found.find(unit) for unit in units))

    def listed_twice(self, units: list[int]) -> bool:
        """Does one table give the key to things it lists as different?"""
        seen: dict[int, int] = {}
        for unit in units:
            root = self.found.find(unit)
            if seen.setdefault(self.units.view[unit], root) != root:
                return True
        return False

    def by_strong_key(self, label: str, key: str, units: list[int]) -> None:
        """A key that belongs to one machine: join those that have it, or say why they are not joined."""
        stated = self._as_written(label, units[0]) or key.rpartition("|")[2]
        if self.listed_twice(units):
            self.suspect(units, f"have the same {label} {stated}", 0.8)
            return
        for unit in units[1:]:
            if self.found.find(units[0]) == self.found.find(unit):
                continue
            reason = self.obstacle(units[0], unit)
            if reason is None and label == "UUID" and self.is_copy(units[0], unit):
                reason = "their names and addresses differ, as those of a copy do"
            if reason is None:
                words = f"the same {label} {stated}"
                self.join(units[0], unit, label, words, CONFIDENCE[label])
            else:
                self.suspect([units[0], unit], f"have the same {label} {stated}, but {reason}", 0.6)

    def _as_written(self, label: str, unit: int) -> str | None:
        target = {"UUID": "uuid", "serial number": "serial_number", "external id": "external_id"}.get(label)
        if target is None:
            return None
        view = self.units.of(unit)
        value = next((v for row in self.units.rows(unit) if (v := view.first(target, row)) is not None), None)
        return str(value) if value is not None else None

    def suspect(self, units: list[int], reason: str, confidence: float) -> None:
        """A review: these may be one."""
        u = self.units
        firsts: dict[int, int] = {}
        for unit in units:
            firsts.setdefault(self.found.find(unit), unit)
        named = [u.title(unit) for unit in list(firsts.values())[:MAX_NAMED]]
        more = f" and {len(firsts) - MAX_NAMED} more" if len(firsts) > MAX_NAMED else ""
        self.found.doubt(
            Review(
                "possible_duplicate",
                tuple(firsts)[:MAX_TOGETHER],
                f"{' and '.join(named)}{more} {reason}; they were kept apart.",
                confidence,
                tuple(f"{u.place(unit)}: {u.title(unit)}" for unit in list(firsts.values())[:MAX_NAMED]),
                "If they are one machine, give both the same name, or leave one of the rows out.",
            )
        )

    def hardware(self) -> None:
        """UUID and serial number."""
        u = self.units

        def uuids() -> Iterator[tuple[str, int]]:
            yield from u.stated(lambda view: view.uuids)
            for key, unit in u.stated(lambda view: view.external):
                if key.startswith("uuid|"):
                    yield key[5:], unit

        if any(view.uuids is not None or view.external is not None for view in u.views):
            for key, units in self.collected(self.of_machines(uuids())):
                self.by_strong_key("UUID", key, units)
        serials = u.stated(lambda view: view.serials)
        for key, units in self.collected(self.of_machines(serials)):
            self.by_strong_key("serial number", key, units)

    def of_machines(self, keys: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
        """Without what applications state."""
        if not self.applications:
            return keys
        return ((key, unit) for key, unit in keys if self.is_machine(unit))

    def sources_own_ids(self) -> None:
        """The keys that exports give to what they list."""
        u = self.units
        if all(view.external is None for view in u.views):
            return
        identify = set().union(*(view.identifies for view in u.views))
        keys = ((key, unit) for key, unit in u.stated(lambda view: view.external) if not key.startswith("uuid|"))
        for key, units in self.collected(keys):
            if len({self.is_machine(unit) for unit in units}) > 1:
                continue
            if key in identify or self.listed_twice(units):
                self.by_strong_key("external id", key, units)
                continue
            # such an id says whose a row is only where the row has no name that says otherwise
            named = self.roots(unit for unit in units if u.name[unit] is not None)
            nameless = [unit for unit in units if u.name[unit] is None]
            for unit in nameless:
                if len(named) <= 1:
                    self.by_strong_key("external id", key, [named[0] if named else nameless[0], unit])

    def host_names(self) -> None:
        """A host name in one table is the name in another."""
        u, found = self.units, self.found
        claims: dict[str, dict[int, str | None]] = {}
        seen: set[tuple[int, str]] = set()
        for view in u.views:
            rows_to_unit: dict[int, int] | None = None
            for row, (host, domain) in view.aliases:
                if host is None or is_generic_host(host):
                    continue
                if rows_to_unit is None:
                    rows_to_unit = u.by_row(view)
                unit = rows_to_unit[row]
                if self.is_machine(unit) and (unit, host) not in seen:
                    seen.add((unit, host))
                    claims.setdefault(host, {})[unit] = domain
        for host, claimants in claims.items():
            holders = self.by_name.get(host, [])
            named = self.roots([holders] if isinstance(holders, int) else holders)
            if len(named) > 1:
                named = self._fitting(named, claimants)
                if len(named) != 1:
                    continue
            contenders = self.roots([*claimants, *named])
            if len(contenders) < 2:
                continue
            everyone = [*claimants, *(member for root in named for member in found.cluster(root))]
            if self.listed_twice(everyone) or any(
                self.obstacle(one, two) for at, one in enumerate(contenders[:20]) for two in contenders[at + 1 : 20]
            ):
                found.shared_hosts.append(Shared(host, tuple(contenders), next(iter(claimants))))
                continue
            first = named[0] if named else contenders[0]
            for unit, domain in claimants.items():
                if found.find(unit) == found.find(first):
                    continue
                if self._another_domain(unit, domain, first) or self.systems_differ(unit, first):
                    self.suspect([first, unit], f"have the same host name {host}, but other facts differ", 0.5)
                    continue
                full = f"{host}.{domain}" if domain else host
                self.join(first, unit, "host name", f"the same host name {full}", CONFIDENCE["host name"])

    def _fitting(self, named: list[int], claimants: dict[int, str | None]) -> list[int]:
        """Of several things with the name those that have the domain or an address of a claimant."""
        u, found = self.units, self.found
        domains = {domain for domain in claimants.values() if domain}
        addresses = {address for unit in claimants for address in u.addresses(unit)}
        return [
            root
            for root in named
            if any(u.domain(m) in domains or addresses & u.addresses(m).keys() for m in found.cluster(root))
        ]

    def _another_domain(self, unit: int, domain: str | None, other: int) -> bool:
        u = self.units
        members = self.found.cluster(other)
        domains = {d for member in members if (d := u.domain(member))}
        if not domain or not domains or domain in domains:
            return False
        return disjoint(u.addresses(unit), [address for member in members for address in u.addresses(member)])

    def network(self) -> None:
        """Hardware addresses, then addresses with names that are alike."""
        for mac, units in self.collected(
            self.of_machines(self.units.entries(lambda view: view.facts.get("mac_addresses", ())))
        ):
            if not mac_is_key(mac) or self.listed_twice(units):
                continue
            for unit in units[1:]:
                if self.found.find(units[0]) == self.found.find(unit):
                    continue
                reason = self.obstacle(units[0], unit)
                if reason is None and self.systems_differ(units[0], unit):
                    reason = "their operating systems are of different families"
                if reason is None:
                    self.join(units[0], unit, "hardware address", f"the same MAC address {mac}", 0.9)
                else:
                    self.suspect([units[0], unit], f"have the same MAC address {mac}, but {reason}", 0.5)
        self._addresses()

    def _addresses(self) -> None:
        u, found = self.units, self.found
        shared = found.shared_addresses

        def addresses() -> Iterator[tuple[str, int]]:
            yield from u.entries(lambda view: view.telling)
            for unit, name in enumerate(u.name):
                if name is not None and name[:1] in _ADDRESS_BEGINS and (address := parse_ip(name)):
                    yield address, unit

        for address, units in self.collected(self.of_machines(addresses())):
            if self.listed_twice(units):
                shared[address] = units
                continue
            roots = self.roots(units)
            named = [root for root in roots if not self._is_address(root)]
            if len(named) == 1:
                for root in roots:
                    if root != named[0]:
                        self._same_address(named[0], root, address, "address alone")
            else:
                for at, one in enumerate(named):
                    for other in named[at + 1 :]:
                        if self._alike(one, other):
                            self._same_address(one, other, address, "address")
            if len(self.roots(units)) > 1:
                shared[address] = units
                if len(named) == 2 and len(self.roots(named)) == 2 and self.obstacle(*named) is None:
                    near = max(
                        fuzz.ratio(u.name[a] or "", u.name[b] or "")
                        for a in found.cluster(named[0])
                        for b in found.cluster(named[1])
                    )
                    self.suspect(
                        named,
                        f"are given the address {address} by different sources (one of them may be old, or it is given"
                        " out anew)",
                        0.6 if near >= 75 else 0.4,
                    )

    def _is_address(self, root: int) -> bool:
        """Is nothing known of its name but an address?"""
        u = self.units
        return all((name := u.name[unit]) is None or parse_ip(name) for unit in self.found.cluster(root))

    def _alike(self, one: int, other: int) -> bool:
        u = self.units
        names = [[n for unit in self.found.cluster(root) if (n := u.name[unit])] for root in (one, other)]
        return any(similar(a, b) for a in names[0] for b in names[1])

    def _same_address(self, one: int, other: int, address: str, label: str) -> None:
        if self.found.find(one) == self.found.find(other):
            return
        if self.obstacle(one, other) is None and not self.systems_differ(one, other):
            words = f"the same address {address}"
            if label == "address":
                words = f"a like name ({self.units.title(one)}, {self.units.title(other)}) and {words}"
            self.join(one, other, label, words, CONFIDENCE[label])

    def spellings(self) -> None:
        """Names that differ in punctuation alone, with nothing else in common: for people to decide."""
        u = self.units
        if sum(view.lists for view in u.views) < 2:
            return
        keys = (
            (squashed(name), unit)
            for unit, name in enumerate(u.name)
            if name is not None and u.of(unit).lists and self.is_machine(unit) and parse_ip(name) is None
        )
        for key, units in self.collected(keys):
            roots = self.roots(units)
            if len(key) < 4 or len(roots) != 2 or self.listed_twice(units):
                continue
            if u.name[roots[0]] != u.name[roots[1]] and self.obstacle(*roots) is None:
                self.suspect(roots, "differ in punctuation alone", CONFIDENCE["similar name"])
