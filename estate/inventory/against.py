"""What speaks against two things being one."""

from __future__ import annotations

from collections.abc import Iterable

from estate.inventory.clusters import Resolution
from estate.inventory.identity import mac_is_key
from estate.inventory.sightings import Units


def disjoint(one: Iterable[str], other: Iterable[str]) -> bool:
    """Are both known and without anything in common?"""
    a, b = set(one), set(other)
    return bool(a) and bool(b) and not a & b


class Against:
    """Compares units, and clusters of units, by their keys, domains, addresses and systems."""

    def __init__(self, units: Units, found: Resolution) -> None:
        self.units = units
        self.found = found
        self.unlike: set[tuple[str, int, int]] = set()
        """(key, table, table): tables whose keys of this sort cannot be compared."""
        self.instances = set().union(*(view.instances for view in units.views))

    def comparable(self, label: str, one: int, other: int) -> bool:
        """Can keys of this sort of the tables of two units be compared?"""
        a, b = self.units.view[one], self.units.view[other]
        return (label, min(a, b), max(a, b)) not in self.unlike

    def differing(self, one: int, other: int) -> list[str]:
        """The sorts of strong keys by which two units are different: both know one, and they have none in common."""
        units = self.units
        found = []
        a, b = units.uuids(one), units.uuids(other)
        if a and b and set(a).isdisjoint(b) and self.comparable("UUID", one, other):
            # a vCenter's own UUID says nothing about that of the hardware
            sorts = [{key in self.instances for key in keys} for keys in (a, b)]
            if not sorts[0].isdisjoint(sorts[1]):
                found.append("UUID")
        x, y = units.serial(one), units.serial(other)
        if x is not None and y is not None and x != y and self.comparable("serial number", one, other):
            found.append("serial number")
        return found

    def against(self, one: int, other: int) -> str | None:
        """Why two units of one name are not one machine by their strong keys; None where nothing speaks against it, or
        another such key or a hardware address is the same."""
        differing = self.differing(one, other)
        if not differing or self._common_key(one, other):
            return None
        return f"different {differing[0]}s"

    def _common_key(self, one: int, other: int) -> bool:
        units = self.units
        if not set(units.uuids(one)).isdisjoint(units.uuids(other)) or self.common_mac(one, other):
            return True
        serial = units.serial(one)
        return serial is not None and serial == units.serial(other)

    def common_mac(self, one: int, other: int) -> bool:
        """Have two units a hardware address in common that belongs to one machine?"""
        return any(mac_is_key(mac) for mac in self.units.macs(one).keys() & self.units.macs(other).keys())

    def apart(self, one: int, other: int) -> str | None:
        """Why two units of one name are different things; None where nothing speaks against their being one."""
        units = self.units
        if units.view[one] == units.view[other]:
            return "one table lists them as different"
        reason = self.against(one, other)
        if reason is not None:
            return reason
        if self.domains_differ([one], [other]):
            if disjoint(units.addresses(one), units.addresses(other)):
                return "different domains and addresses"
            if not self.meet([one], [other]) and self.families_differ([one], [other]):
                return "different domains and operating systems"
        view = units.of(one)
        if (
            view.lists
            and "." in view.kind
            and view.kind == units.of(other).kind
            and disjoint(units.externals(one), units.externals(other))
            and disjoint(units.addresses(one), units.addresses(other))
            and not self.common_mac(one, other)
        ):
            return "different keys in one kind of export, and different addresses"
        return None

    def obstacle(self, one: int, other: int) -> str | None:
        """Why two clusters of different names cannot be one machine; None where nothing speaks against it."""
        units, found = self.units, self.found
        a, b = found.cluster(one), found.cluster(other)
        listed = {units.view[unit] for unit in a if units.name[unit] is not None}
        both = next(
            (units.view[unit] for unit in b if units.name[unit] is not None and units.view[unit] in listed), None
        )
        if both is not None:
            return f"{units.views[both].table.place} lists both"
        # of two names a key that is the same does not make up for one that differs
        for x in a:
            for y in b:
                differing = self.differing(x, y)
                if differing:
                    return f"different {differing[0]}s"
        return None

    def systems_differ(self, one: int, other: int) -> bool:
        """Do two clusters run operating systems of different families?"""
        return self.families_differ(self.found.cluster(one), self.found.cluster(other))

    def families_differ(self, *parts: list[int]) -> bool:
        """Are the families of the operating systems of all parts known, and none the same?"""
        families: list[set[str]] = []
        for units in parts:
            said = (self.units.system(unit) for unit in units)
            families.append(
                {family for system in said if isinstance(system, dict) and (family := system.get("os_family"))}
            )
        return disjoint(*families)

    def domains_differ(self, one: list[int], other: list[int]) -> bool:
        """Are the domains of both known, and none the same?"""
        domain = self.units.domain
        return disjoint((d for unit in one if (d := domain(unit))), (d for unit in other if (d := domain(unit))))

    def elsewhere(self, one: list[int], other: list[int]) -> bool:
        """Are the addresses of both known, and none the same?"""
        addresses = self.units.addresses
        return disjoint((a for unit in one for a in addresses(unit)), (a for unit in other for a in addresses(unit)))

    def meet(self, one: list[int], other: list[int]) -> bool:
        """Have they an address or a hardware address in common?"""
        units = self.units
        if any(units.addresses(a).keys() & units.addresses(b).keys() for a in one for b in other):
            return True
        return any(self.common_mac(a, b) for a in one for b in other)

    def is_copy(self, one: int, other: int) -> bool:
        """Do two clusters of one UUID look like a machine and its copy: no name and no address the same?"""
        first, second = self.found.cluster(one), self.found.cluster(other)
        names = ({name for unit in part if (name := self.units.name[unit])} for part in (first, second))
        return disjoint(*names) and self.elsewhere(first, second) and not self.meet(first, second)
