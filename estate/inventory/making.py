"""One asset of all the rows that speak of one thing."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from estate.assets import Asset
from estate.ids import id_of
from estate.inventory.attaching import Attached
from estate.inventory.choosing import (
    Row,
    Said,
    attributes,
    by_precedence,
    candidates,
    choose,
    conflict,
    disk_sums,
    first_of_each,
    people_first,
    system,
    why,
)
from estate.inventory.classification import Seen, classify, hint
from estate.inventory.clusters import Resolution
from estate.inventory.standing import BUSINESS
from estate.inventory.told import Told
from estate.inventory.views import APPLICATION, Stated, View
from estate.roles import DETAIL, PERFORMANCE, SOFTWARE, TAGS
from estate.sizing import MEASURES, measure
from estate.software import parse_product
from estate.vocabulary import environment_of, is_host_name, parse_ip, split_fqdn

SINGLE = (
    "serial_number", "uuid", "cpu_cores", "memory_gb", "storage_gb", "environment", "location", "criticality",
    "business_owner", "technical_owner", "department", "application_name", "description", "power_state",
    "cpu_utilization_percent", "memory_utilization_percent",
)  # fmt: skip
"""Targets of which an asset has one value."""
KEPT = (
    "role", "runs_on", "manufacturer", "model", "memory_used_gb", "storage_used_gb", "strategy", "wave", "users_count",
    "end_of_support", "last_seen",
)  # fmt: skip
"""Targets kept among the asset's own attributes, one value each."""
LISTS = ("hosts", "databases", "depends_on", "technologies")
"""Targets kept among the asset's own attributes, all values."""
TOGETHER = frozenset({"last_seen", "memory_used_gb", "storage_used_gb"})
"""Values that differ because they were taken at different times, which is no conflict."""
CONFLICT_SEVERITY = dict.fromkeys(
    ("cpu_cores", "memory_gb", "storage_gb", "operating_system", "os_version", "uuid", "serial_number"), "medium"
) | {"description": "info"}
MAX_SOURCES = 200
"""Rows of disks, cards, products, measurements and tags that an asset names as its sources; all others are named."""
MAX_EXPLAINED = 50
MAX_SAID = 10
"""So many values one sentence tells."""
MEASURED = {"cpu_percent": "cpu_utilization", "memory_percent": "memory_utilization"}
_TAGS = {
    "environment": "environment", "env": "environment", "stage": "environment", "owner": "business_owner",
    "business owner": "business_owner", "business_owner": "business_owner", "technical owner": "technical_owner",
    "technical_owner": "technical_owner", "application": "application_name", "app": "application_name",
    "application name": "application_name", "department": "department", "location": "location",
}  # fmt: skip


class _Plan:
    """What one table can say, worked out once for all of its rows."""

    def __init__(self, view: View) -> None:
        facts = view.facts
        self.simple = [(t, facts[t][0].values, facts[t][0].codes) for t in SINGLE if len(facts.get(t, ())) == 1]
        self.several = [target for target in SINGLE if len(facts.get(target, ())) > 1]
        self.kept = [(t, facts[t]) for t in KEPT if t in facts]
        self.lists = [target for target in LISTS if target in facts]
        self.names = sorted(view.names, key=lambda one: ("fqdn", "hostname", "name").index(one[0]))
        self.measures = [
            (one.name, figure, facts[target])
            for one in MEASURES
            for figure, target in (("average", one.average), ("p95", one.p95), ("peak", one.peak))
            if target is not None and target in facts
        ]
        self.addresses = [
            (at, column.values, column.codes)
            for at, target in enumerate(("ip_addresses", "mac_addresses", "external_id"))
            for column in facts.get(target, ())
        ]
        self.software = "software" in facts or "technologies" in facts


class Maker:
    """Makes assets."""

    def __init__(
        self,
        namespace: UUID,
        found: Resolution,
        attached: Attached,
        told: Told,
    ) -> None:
        self._namespace = namespace
        self._found = found
        self._units = found.units
        self._attached = attached
        self._told = told
        self._plans = {view.order: _Plan(view) for view in found.units.views}
        self._evidence: dict[int, list[str]] = defaultdict(list)
        for unit, words in found.evidence:
            self._evidence[found.find(unit)].append(words)
        self._products: dict[tuple[str, str | None, str | None], dict[str, Any]] = {}

    def asset_id(self, key: str) -> str:
        """The id that follows from an asset's key."""
        return id_of(self._namespace, f"asset|{key}")

    def make(self, root: int, key: str) -> Asset:
        """The asset of a cluster."""
        units = self._found.cluster(root)
        stated = [
            (view, row) for unit in units if (view := self._units.of(unit)).inventory for row in self._units.rows(unit)
        ]
        attached = self._attached.rows.get(root, [])
        rows = by_precedence(stated)
        conflicts: list[dict[str, Any]] = []
        asset = Asset(asset_id=self.asset_id(key), name="")
        if stated:
            self._names(asset, root, units, stated)
            self._addresses(asset, rows)
        else:
            self._who_was_seen(asset, root, units)
        known = rows[0][0].facts if len(rows) == 1 else set[str]().union(*(view.facts for view, _ in rows))
        running = system(rows, conflicts) if "operating_system" in known else {}
        self._system(asset, running)
        extra = self._facts_beside(attached) if attached else {}
        if len(rows) == 1 and rows[0][0].lists and not extra:
            self._facts_of_one(asset, rows, conflicts)
        else:
            self._facts(asset, rows, known, extra, conflicts)
        asset.custom_attributes = self._attributes(rows, attached, running, conflicts)
        self._utilization(asset, rows, attached)
        self._software(asset, rows, attached)
        name_key = self._units.name[units[0]]
        seen = Seen(rows, known, name_key, asset.name, running, asset.mac_addresses, asset.external_ids)
        found, stays = classify(seen)
        asset.asset_type, confidence, evidence = found
        asset.classification = {"confidence": confidence, "evidence": evidence}
        suggested = hint(asset.name, asset.asset_type)
        if suggested:
            asset.classification["hint"] = suggested
        if stays is not None:
            asset.migratable = False
            asset.classification["not_migratable"] = stays
        asset.conflicts = conflicts
        asset.sources, asset.rows = self._sources(rows, attached)
        asset.confidence = round(min(self._found.confidence.get(root, 1.0), self._sure_of_name(units, stated)), 2)
        explained = self._evidence.get(root)
        if explained:
            asset.matched_by = explained[:MAX_EXPLAINED]
            if len(explained) > MAX_EXPLAINED:
                asset.matched_by.append(f"and {len(explained) - MAX_EXPLAINED} more rows in the same ways")
        if conflicts or len(rows) > 1:
            self._report(asset, rows)
        return asset

    # --- what it is called

    def _names(self, asset: Asset, root: int, units: list[int], rows: list[Row]) -> None:
        best = units[0]
        if len(units) > 1:
            best = min(units, key=lambda unit: (self._units.name[unit] is None, self._units.of(unit).standing, unit))
        first = self._units.title(best)
        is_application = (self._units.name[best] or "").startswith(APPLICATION)
        parts = split_fqdn(first) if "." in first and not is_application and parse_ip(first) is None else None
        asset.name = parts[0] if parts else first
        if is_application:
            asset.also_known_as = _others(first, asset.name, None, self._titles(rows))
            return
        ordered = rows if len(rows) == 1 else sorted(rows, key=lambda at: at[0].standing)
        hosts: dict[str, None] = {}
        domains: dict[str, None] = {}
        for view, row in ordered:
            for target, (values, codes, _), read in self._plans[view.order].names:
                code = codes[row]
                stated = values[code]
                if stated is None:
                    continue
                host, domain = read[code]
                if host and domain:
                    hosts[stated[: len(host)]] = None
                    domains[f"{host}.{domain}"] = None
                elif target != "name" and is_host_name(stated):
                    hosts[stated] = None
        asset.hostname = next(iter(hosts)).lower() if hosts else None
        asset.fqdn = next(iter(domains), None)
        if len(units) > 1 or len(hosts) > 1:
            also = self._titles(ordered)
            also.update(dict.fromkeys(host for host in hosts if host.lower() != asset.name.lower()))
            asset.also_known_as = _others(first, asset.name, asset.fqdn, also)

    def _who_was_seen(self, asset: Asset, root: int, units: list[int]) -> None:
        """Who a thing is of which no list was given: by the rows of measurements, products and tags."""
        spoken = [(self._units.of(unit), row) for unit in units for row in self._units.rows(unit)]
        self._names(asset, root, units, spoken)
        self._addresses(asset, spoken)
        for target in ("serial_number", "uuid"):
            said = candidates(spoken, target)
            if said:
                setattr(asset, target, said[0].value)

    @staticmethod
    def _titles(rows: list[Row]) -> dict[str, None]:
        return {named[0]: None for view, row in rows if (named := view.named(row)) is not None}

    def _sure_of_name(self, units: list[int], rows: list[Row]) -> float:
        """How sure it is that the column of the name is one."""
        if not rows:
            return 0.5
        view, row = rows[0]
        if view.certain or (named := view.named(row)) is None:
            return 1.0
        return view.confidence[named[1].field]

    def _addresses(self, asset: Asset, rows: list[Row]) -> None:
        """All addresses and the source's own ids, each once."""
        found: tuple[dict[str, None], ...] = ({}, {}, {})
        for view, row in rows:
            for at, values, codes in self._plans[view.order].addresses:
                stated = values[codes[row]]
                if isinstance(stated, list):
                    for entry in stated:
                        found[at][entry] = None
                elif stated is not None:
                    found[at][stated] = None
        addresses, macs, external = found
        asset.ip_addresses = list(addresses)
        if not addresses and (address := parse_ip(asset.name)):
            asset.ip_addresses = [address]
        asset.mac_addresses = list(macs)
        asset.external_ids = [str(value) for value in external]

    # --- what it is like

    @staticmethod
    def _system(asset: Asset, running: dict[str, Any]) -> None:
        asset.operating_system = running.get("operating_system")
        asset.os_version = running.get("os_version")
        asset.os_family = running.get("os_family")
        asset.os_edition = running.get("os_edition")

    def _facts_of_one(self, asset: Asset, rows: list[Row], conflicts: list[dict[str, Any]]) -> None:
        """The facts of a thing that one row names: it cannot disagree with itself, unless two columns do."""
        view, row = rows[0]
        plan = self._plans[view.order]
        for target, values, codes in plan.simple:
            setattr(asset, target, values[codes[row]])
        for target in plan.several:
            said = candidates(rows, target)
            setattr(asset, target, choose(target, first_of_each(said) if target == "uuid" else said, conflicts))

    def _facts(
        self,
        asset: Asset,
        rows: list[Row],
        known: Collection[str],
        extra: dict[str, list[Said]],
        conflicts: list[dict[str, Any]],
    ) -> None:
        people = people_first(rows)
        for target in SINGLE:
            if target not in known and target not in extra:
                continue
            said = candidates(people if target in BUSINESS else rows, target)
            if target == "storage_gb":
                said = [one for one in said if one.view.role != DETAIL] + self._disks(asset, rows)
            elif target == "uuid":
                # a row may give the UUID of the hardware and that of its vCenter
                said = first_of_each(said)
            setattr(asset, target, choose(target, said + extra.get(target, []), conflicts))

    def _disks(self, asset: Asset, rows: list[Row]) -> list[Said]:
        sums, partial = disk_sums(rows)
        for part in partial:
            self._told.add(
                "partial_sum",
                "low",
                f"{asset.name}: {part.unknown} of {part.disks} disks have no size; the sum of the others,"
                f" {part.total:g} GiB, was not used.",
                asset_id=asset.asset_id,
                field="storage_gb",
                source=part.view.where(part.row),
            )
        return sums

    @staticmethod
    def _facts_beside(attached: list[tuple[View, array[int]]]) -> dict[str, list[Said]]:
        """What tags and measurements say of the asset itself."""
        found: dict[str, list[Said]] = defaultdict(list)
        for view, rows in attached:
            if view.role == TAGS:
                for row in rows:
                    key, value = view.first("tag_key", row), view.first("tag_value", row)
                    target = _TAGS.get(str(key).strip().lower()) if value is not None else None
                    if target:
                        said = environment_of(str(value)) or value if target == "environment" else value
                        found[target].append(Said(said, view, row, str(key)))
            elif view.role == PERFORMANCE:
                for target in ("cpu_cores", "memory_gb", "storage_gb"):
                    if target in view.facts:
                        said = next(((view, row) for row in rows if view.first(target, row) is not None), None)
                        found[target] += candidates([said], target) if said is not None else []
        return found

    def _attributes(
        self,
        rows: list[Row],
        attached: list[tuple[View, array[int]]],
        running: dict[str, Any],
        conflicts: list[dict[str, Any]],
    ) -> dict[str, Any]:
        found = attributes(rows, conflicts)
        if len(rows) == 1:
            view, row = rows[0]
            plan = self._plans[view.order]
            for target, columns in plan.kept:
                value = _first(columns, row)
                if value is not None:
                    found.setdefault(target, value)
            for target in plan.lists:
                if entries := view.many(target, [row]):
                    found[target] = list(entries)
        else:
            self._attributes_of_several(rows, found, conflicts)
        for part in ("os_bits", "os_service_pack", "os_hint"):
            if running.get(part) is not None:
                found[part] = running[part]
        tags = [at for at in attached if at[0].role == TAGS]
        if tags:
            self._tags(tags, found, conflicts)
        return found

    @staticmethod
    def _attributes_of_several(rows: list[Row], found: dict[str, Any], conflicts: list[dict[str, Any]]) -> None:
        known = set().union(*(view.facts.keys() for view, _ in rows))
        for target in KEPT:
            if target not in known:
                continue
            said = candidates(rows, target)
            if target == "storage_used_gb":
                said = [one for one in said if one.view.role != DETAIL] + disk_sums(rows, target)[0]
            if not said:
                continue
            if target == "last_seen":
                latest = max(said, key=lambda one: one.view.last_seen(one.row) or float("-inf"))
                found.setdefault(target, latest.value)
            elif target in TOGETHER:
                found.setdefault(target, said[0].value)
            else:
                differing: list[dict[str, Any]] = []
                found.setdefault(target, choose(target, said, differing))
                conflicts += [one | {"field": f"custom_attributes.{target}"} for one in differing]
        for target in LISTS:
            if target in known:
                entries: dict[Any, None] = {}
                for view, row in rows:
                    entries.update(view.many(target, [row]))
                if entries:
                    found[target] = list(entries)

    @staticmethod
    def _tags(tags: list[tuple[View, array[int]]], found: dict[str, Any], conflicts: list[dict[str, Any]]) -> None:
        """Tags are attributes; one that says something else than an attribute or tag of its name is a conflict."""
        stated: dict[str, list[Said]] = defaultdict(list)
        for view, rows in tags:
            for row in rows:
                key, value = view.first("tag_key", row), view.first("tag_value", row)
                if key is not None and value is not None:
                    stated[str(key)].append(Said(value, view, row, str(key)))
        for key, said in stated.items():
            known = next((name for name in found if name.casefold() == key.casefold()), None)
            chosen = found.setdefault(known if known is not None else key, said[0].value)
            other = next((one for one in said if str(one.value).casefold() != str(chosen).casefold()), None)
            if other is not None:
                reason = (
                    "an attribute of the machine comes before a tag" if known is not None else why(key, said[0], other)
                )
                conflicts.append(conflict(f"custom_attributes.{key}", chosen, said, reason))

    def _utilization(self, asset: Asset, rows: list[Row], attached: list[tuple[View, array[int]]]) -> None:
        """Measured where measurements were given, else what inventories state."""
        found: dict[str, Any] = {}
        for view, row in rows:
            if view.lists:
                for name, figure, columns in self._plans[view.order].measures:
                    value = _first(columns, row)
                    if value is not None:
                        found.setdefault(name, {}).setdefault(figure, value)
        measured = [(view.table, own) for view, own in attached if view.role == PERFORMANCE]
        if measured:
            found |= measure(measured)
            for name, target in MEASURED.items():
                average = found.get(name, {}).get("average")
                if average is not None and getattr(asset, f"{target}_percent") is None:
                    setattr(asset, f"{target}_percent", average)
        asset.utilization = found

    def _software(self, asset: Asset, rows: list[Row], attached: list[tuple[View, array[int]]]) -> None:
        places = [at for at in rows if self._plans[at[0].order].software]
        places += [(view, row) for view, own in attached if view.role == SOFTWARE for row in own]
        if not places:
            return
        found: dict[tuple[str, str | None, str | None], dict[str, Any]] = {}
        for view, row in places:
            version = view.first("software_version", row)
            vendor = view.first("software_vendor", row)
            entries = view.many("software", [row])
            alone = len(entries) == 1
            products = [
                self._product(str(text), version, vendor) if alone else self._product(str(text)) for text in entries
            ]
            products += [self._product(str(text)) for text in view.many("technologies", [row])]
            for product in products:
                key = (product["product"].casefold(), product["version"], product["edition"])
                if key not in found:
                    found[key] = product | {"source": view.where(row)}
        asset.software = list(found.values())

    def _product(self, text: str, version: str | None = None, vendor: str | None = None) -> dict[str, Any]:
        """A product as `{product, version, edition, vendor}`; what is not known here stays as it was written."""
        known = self._products.get((text, version, vendor))
        if known is None:
            parsed = parse_product(text, version, vendor)
            known = self._products[text, version, vendor] = {
                "product": parsed.product if parsed else text,
                "version": parsed.version if parsed else version,
                "edition": parsed.edition if parsed else None,
                "vendor": parsed.vendor if parsed else vendor,
            }
        return known

    # --- where it was found

    @staticmethod
    def _sources(rows: list[Row], attached: list[tuple[View, array[int]]]) -> tuple[list[dict[str, Any]], int]:
        """Every row of a list that names the thing, and the first of the other rows; and how many rows there are."""
        if len(rows) == 1 and not attached:
            view, row = rows[0]
            return [view.where(row)], 1
        sources = [view.where(row) for view, row in rows if view.lists]
        room = MAX_SOURCES
        details = [(view, row) for view, row in rows if not view.lists]
        sources += [view.where(row) for view, row in details[:room]]
        room -= len(details[:room])
        count = len(rows)
        for view, own in attached:
            count += len(own)
            if room > 0:
                sources += [view.where(row) for row in own[:room]]
                room -= len(own[:room])
        return sources, count

    def _report(self, asset: Asset, rows: list[Row]) -> None:
        for found in asset.conflicts:
            values = found["values"]
            said = " / ".join(f"{value['value']} ({_place(value['sources'][0])})" for value in values[:MAX_SAID])
            if len(values) > MAX_SAID:
                said += f" / and {len(values) - MAX_SAID + found.get('further', 0)} more"
            name = found["field"]
            severity = CONFLICT_SEVERITY.get(name, "low")
            if name.startswith("custom_attributes."):
                severity = "low" if name == "custom_attributes.VM ID" else "info"
            self._told.add(
                "conflict",
                severity,
                f"{asset.name}: sources disagree on {name}: {said}; {found['chosen']} was chosen: {found['why']}.",
                asset_id=asset.asset_id,
                field=name,
                source={part: found["values"][0]["sources"][0][part] for part in ("file", "sheet", "row")},
            )
        if len(rows) < 2:
            return
        per_table: dict[int, list[Row]] = defaultdict(list)
        for view, row in rows:
            if view.lists:
                per_table[view.order].append((view, row))
        for repeated in per_table.values():
            if len(repeated) > 1:
                view = repeated[0][0]
                lines = sorted(row for _, row in repeated)
                numbers = ", ".join(str(view.table.numbers[row]) for row in lines[:10])
                more = ", ..." if len(lines) > 10 else ""
                self._told.add(
                    "duplicate_rows",
                    "info",
                    f"{asset.name} is listed {len(lines)} times in {view.table.place} (rows {numbers}{more}); it is one"
                    " asset.",
                    asset_id=asset.asset_id,
                    source=view.where(lines[0]),
                )


def _first(columns: list[Stated], row: int) -> Any:
    for values, codes, _ in columns:
        value = values[codes[row]]
        if value is not None:
            return value
    return None


def _others(first: str, name: str, fqdn: str | None, also: dict[str, None]) -> list[str]:
    """The further names, without those that are the name in other letters."""
    own = {first.lower(), name.lower(), fqdn}
    return [other for other in also if other.lower() not in own]


def _place(where: dict[str, Any]) -> str:
    parts = [where["file"]]
    if where["sheet"]:
        parts.append(f"sheet {where['sheet']}")
    if where["row"] is not None:
        parts.append(f"row {where['row']}")
    return " ".join(parts)
