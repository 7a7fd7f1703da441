"""What the cells of a column look like, told from its distinct cells and how often each occurs."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice

from estate import dates, numbers
from estate.tables import Cell, Column
from estate.targets import DATE_TARGETS, FLAG, NUMBER_TARGETS, TARGETS
from estate.vocabulary import (
    FALSE_WORDS,
    TRUE_WORDS,
    asset_type_of,
    criticality_of,
    environment_of,
    is_placeholder,
    parse_ip,
    parse_mac,
    parse_os,
    power_state_of,
    split_fqdn,
)

MAX_LOOKED_AT = 250
"""Distinct cells looked at for their shape, spread over the column; numbers are all looked at."""
MAX_CHARACTERS = 300
"""Of a longer text only the beginning is looked at."""
_LONGEST_PLACEHOLDER = 64
_COUNTED = frozenset({"cpu", "cpus", "vcpu", "vcpus", "vcpu(s)", "cpu(s)", "core", "cores", "core(s)", "vcores", "kern", "kerne",
                      "processor", "processors", "processor(s)", "prozessoren", "iops", "ops", "mhz", "ghz"})  # fmt: skip
"""What a number of these is a number of, beside units of size and rate."""
_MOST_CORES = 512
"""A column of which half of the machines have more logical processors than that counts something else."""
_POWER_OF_TEN = re.compile(r"\d(?:[.,]\d+)?e\+\d{1,2}", re.IGNORECASE)
_PERSON = re.compile(
    r"[^\W\d_a-z][^\W\d_]+,?(?: [^\W\d_]\.)? (?:(?:de|van|von|der|la|di) )*[^\W\d_a-z][^\W\d_]*(?:[-'’][^\W\d_]+)?"
)
_PATH = re.compile(r"^(?:[a-z]:[\\/]|[\\/]|https?:)", re.IGNORECASE)
_RACK = re.compile(r"\b(?:rack|cabinet|schrank)\b|^r\d{1,3}[-/. ]?u\d{1,2}\b|\bU\d{1,2}\b", re.IGNORECASE)
_LEVEL = re.compile(
    r"(?:tier|level|klasse|class|stufe|t|p|l)[- ]?\d|gold|silver|silber|bronze|platin(?:um)?", re.IGNORECASE
)
_ROLE = re.compile(
    r"\b(?:web|app|application|db|database|dc|domain controller|file|print|mail|proxy|dns|dhcp|ldap|cache|queue|middleware|batch"
    r"|front ?-?end|back ?-?end|integration|reporting|citrix|terminal|backup|monitoring|presentation|datenbank)\b",
    re.IGNORECASE,
)
_SMALL_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d+)?")


class Profile:
    """A column's cells that say something (no blanks, no placeholders), with their weights (rows)."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._numbers: dict[str | None, list[tuple[float, int]]] = {}

    @cached_property
    def counts(self) -> Counter[int]:
        """Rows by the place of the distinct cell."""
        return Counter(self.column.codes)

    def said(self, step: int = 1) -> Iterator[tuple[Cell, int]]:
        """The distinct cells that say something, with their rows, in order of appearance; every `step`th of them."""
        counts, distinct = self.counts, self.column.distinct
        for code in range(1, len(distinct), step):
            cell = distinct[code]
            if code in counts and cell is not None and not (isinstance(cell, str) and _is_blank(cell)):
                yield cell, counts[code]

    @cached_property
    def filled(self) -> list[tuple[Cell, int]]:
        """All distinct cells that say something, with their rows, in order of appearance."""
        return list(self.said())

    @cached_property
    def blank(self) -> bool:
        """No row says anything."""
        return next(self.said(), None) is None

    @cached_property
    def rows(self) -> int:
        """Rows whose cell is not empty."""
        return len(self.column) - self.counts[0]

    @property
    def distinct(self) -> int:
        """Different cells that are not empty."""
        return len(self.counts) - (0 in self.counts)

    @property
    def repeats(self) -> float:
        """Rows by distinct cell: 1.0 where each is different."""
        return self.rows / self.distinct if self.distinct else 0.0

    @cached_property
    def looked_at(self) -> list[tuple[Cell, int]]:
        """The distinct cells that shapes are told from."""
        step = max(1, (len(self.column.distinct) - 1) // MAX_LOOKED_AT)
        found = list(self.said(step)) or list(islice(self.said(), MAX_LOOKED_AT))
        return [(cell[:MAX_CHARACTERS] if isinstance(cell, str) else cell, count) for cell, count in found]

    def share(self, test: Callable[[Cell], bool]) -> float:
        """The share of rows whose cell passes; 0.0 for a blank column."""
        weight = passed = 0
        for cell, count in self.looked_at:
            weight += count
            if test(cell):
                passed += count
        return passed / weight if weight else 0.0

    def distinct_share(self, test: Callable[[Cell], bool]) -> float:
        """The share of distinct cells that pass; 0.0 for a blank column."""
        return sum(test(cell) for cell, _ in self.looked_at) / len(self.looked_at) if self.looked_at else 0.0

    def samples(self, most: int = 5) -> list[Cell]:
        """The first distinct cells that say something."""
        return [cell for cell, _ in islice(self.said(), most)]

    def number_format(
        self, *, delimiter: str | None = None, decimal: str | None = None, thousands: str | None = None
    ) -> str | None:
        """How the text numbers are written, by all distinct cells."""
        cells = (cell for cell, _ in self.filled)
        return numbers.format_of(cells, delimiter=delimiter, decimal=decimal, thousands=thousands)

    def numbers(self, number_format: str | None) -> list[tuple[float, int]]:
        """All numbers with their rows, ascending; -1 (not collected) left out."""
        if number_format not in self._numbers:
            self._numbers[number_format] = sorted(_numbers(self.filled, number_format))
        return self._numbers[number_format]

    @cached_property
    def some_numbers(self) -> list[float]:
        """The plain numbers among the cells looked at, ascending."""
        return sorted(number for number, _ in _numbers(self.looked_at, None))

    @cached_property
    def units(self) -> Counter[str]:
        """Rows by the unit their cell says, `` where it says none; of all cells."""
        return _units(self.filled)

    def unit_share(self, *wanted: str) -> float:
        """The share of rows whose cell says one of the units, by the cells looked at."""
        found = _units(self.looked_at)
        return sum(found[unit] for unit in wanted) / found.total() if found else 0.0

    def fits(self, target: str) -> bool | None:
        """Do the cells look like the target? None = nothing to tell by."""
        if self.blank:
            return None
        shape = _SHAPES.get(target)
        return shape(self) if shape is not None else None


def _is_blank(text: str) -> bool:
    return len(text) <= _LONGEST_PLACEHOLDER and is_placeholder(text)


def _numbers(cells: Iterable[tuple[Cell, int]], number_format: str | None) -> Iterator[tuple[float, int]]:
    for cell, count in cells:
        number = numbers.parse(numbers.split_unit(cell)[0] if isinstance(cell, str) else cell, number_format)
        if number is not None and number != -1:
            yield number, count


def _units(cells: Iterable[tuple[Cell, int]]) -> Counter[str]:
    said: Counter[str] = Counter()
    for cell, count in cells:
        unit = numbers.split_unit(cell)[1] if isinstance(cell, str) else None
        said[unit or ""] += count
    return said


def is_number(cell: Cell) -> bool:
    """A number, with a unit or what it counts behind it at most; versions and addresses are none."""
    if isinstance(cell, bool) or cell is None:
        return False
    if isinstance(cell, int | float):
        return True
    bare, unit = numbers.split_unit(cell)
    if unit is not None and numbers.unit_of(unit) is None and unit.lower() not in _COUNTED:
        return False
    return any(numbers.parse(bare, written) is not None for written in (None, *numbers.FORMATS))


def is_address_list(cell: Cell) -> bool:
    """One address or several."""
    parts = [part for part in re.split(r"[\s,;|\[\]]+", str(cell)) if part]
    return bool(parts) and all(parse_ip(part) is not None for part in parts)


def is_network(cell: Cell) -> bool:
    """A range of addresses, not one of them: `10.0.0.0/24`."""
    if not isinstance(cell, str) or "/" not in cell:
        return False
    try:
        return ipaddress.ip_network(cell.strip()).num_addresses > 2
    except ValueError:
        return False


def is_time(cell: Cell) -> bool:
    """A date or a date and time; bare numbers are none."""
    return isinstance(cell, str) and not cell.strip().isdigit() and dates.is_date(cell)


def is_flag(cell: Cell) -> bool:
    """Yes or no."""
    return isinstance(cell, bool) or str(cell).strip().lower() in TRUE_WORDS | FALSE_WORDS


def is_system(cell: Cell) -> bool:
    """The name of an operating system."""
    return isinstance(cell, str) and parse_os(cell) is not None


def names_system(cell: Cell) -> bool:
    """The name of an operating system that is not at the same time like that of a machine: `Windows 2019`, not `win01`."""
    return is_system(cell) and (" " in str(cell).strip() or not any(char.isdigit() for char in str(cell)))


def is_environment(cell: Cell) -> bool:
    """The name of an environment, of more than two letters."""
    return isinstance(cell, str) and len(cell.strip()) > 2 and environment_of(cell) is not None


def is_person(cell: Cell) -> bool:
    """Like the name of a person: `Ann Smith`, `Smith, Ann B.`; a mail address."""
    return isinstance(cell, str) and bool(
        _PERSON.fullmatch(cell.strip()) or re.fullmatch(r"[^@\s]+@[^@\s]+", cell.strip())
    )


def is_power_of_ten(cell: Cell) -> bool:
    """A long number that a spreadsheet has cut to a power of ten: `1.23E+11`."""
    return isinstance(cell, str) and bool(_POWER_OF_TEN.fullmatch(cell.strip()))


def _means(meaning: Callable[[str], str | None]) -> Callable[[Cell], bool]:
    return lambda cell: isinstance(cell, str) and meaning(cell) is not None


_says_power = _means(power_state_of)


def _matches(pattern: re.Pattern[str], *, whole: bool = False) -> Callable[[Cell], bool]:
    match = pattern.fullmatch if whole else pattern.search
    return lambda cell: isinstance(cell, str) and bool(match(cell.strip()))


def _address(profile: Profile) -> bool:
    return profile.share(is_address_list) >= 0.6 and profile.share(is_network) <= 0.5


def _mac(profile: Profile) -> bool:
    def macs(cell: Cell) -> bool:
        parts = [part for part in re.split(r"[\s,;|\[\]]+", str(cell)) if part]
        return bool(parts) and all(parse_mac(part) is not None for part in parts)

    return profile.share(macs) >= 0.6


def _system(profile: Profile) -> bool | None:
    if profile.distinct_share(is_system) >= 0.4:
        return True
    odd = profile.share(lambda cell: is_number(cell) or is_time(cell) or is_flag(cell) or is_address_list(cell))
    return False if odd > 0.5 else None


def _number(profile: Profile) -> bool:
    return profile.share(is_number) >= 0.6


def _cores(profile: Profile) -> bool:
    found = profile.some_numbers
    if not _number(profile) or profile.unit_share("MHz", "GHz", "%", *numbers.GIB):
        return False
    whole = sum(number == int(number) for number in found)
    return not found or (whole >= 0.8 * len(found) and found[len(found) // 2] <= _MOST_CORES)


def _environment(profile: Profile) -> bool | None:
    if profile.share(_means(environment_of)) >= 0.5:
        return True
    return False if profile.share(is_number) > 0.5 else None


def _criticality(profile: Profile) -> bool:
    return profile.share(_means(criticality_of)) >= 0.3


def _fqdn(profile: Profile) -> bool | None:
    if profile.share(is_address_list) > 0.5:
        return False
    return True if profile.share(lambda cell: split_fqdn(str(cell)) is not None) >= 0.5 else None


def _naming(profile: Profile) -> bool | None:
    if profile.rows >= 20 and profile.distinct < 0.1 * profile.rows:
        return False
    small = _matches(_SMALL_NUMBER, whole=True)
    odd = profile.share(lambda cell: isinstance(cell, bool) or small(str(cell)) or is_power_of_ten(cell))
    return False if odd > 0.5 else None


def _key(profile: Profile) -> bool | None:
    return False if profile.share(is_power_of_ten) > 0.1 else None


def _location(profile: Profile) -> bool | None:
    path, rack = _matches(_PATH), _matches(_RACK)
    if profile.share(lambda cell: path(cell) or rack(cell)) > 0.5:
        return False
    return _text(profile)


def _role(profile: Profile) -> bool | None:
    level, environment = _matches(_LEVEL, whole=True), _means(environment_of)
    if profile.share(lambda cell: level(cell) or environment(cell)) > 0.5:
        return False
    return True if profile.share(_matches(_ROLE)) >= 0.5 else _text(profile)


def _date(profile: Profile) -> bool:
    return profile.share(is_time) >= 0.6


def _text(profile: Profile) -> bool | None:
    return False if profile.share(is_number) > 0.6 or profile.share(is_flag) > 0.8 else None


def _port(profile: Profile) -> bool:
    def port(cell: Cell) -> bool:
        return bool(re.match(r"^\d{1,5}(?:\.0)?(?:\s*/\s*(?:tcp|udp))?$", str(cell).strip(), re.IGNORECASE))

    return profile.share(port) >= 0.6


def _uuid(profile: Profile) -> bool:
    dashed = re.compile(r"^[{]?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}[}]?$|^VMware-", re.IGNORECASE)
    return profile.share(lambda cell: bool(dashed.match(str(cell).strip()))) >= 0.5


def _end_name(profile: Profile) -> bool | None:
    return False if profile.share(is_time) > 0.5 else None


def _flag(profile: Profile) -> bool:
    return profile.share(is_flag) >= 0.6


_WORDS = ("business_owner", "technical_owner", "department", "description", "application_name",
          "manufacturer", "software", "relation", "direction", "strategy", "hosts", "databases", "depends_on")  # fmt: skip
_SHAPES: dict[str, Callable[[Profile], bool | None]] = {
    **dict.fromkeys(NUMBER_TARGETS, _number),
    **dict.fromkeys(DATE_TARGETS, _date),
    **dict.fromkeys((name for name, target in TARGETS.items() if target.kind == FLAG), _flag),
    **dict.fromkeys(("ip_addresses", "source_ip", "target_ip"), _address),
    **dict.fromkeys(("name", "hostname"), _naming),
    **dict.fromkeys(("source_name", "target_name"), _end_name),
    **dict.fromkeys(_WORDS, _text),
    "mac_addresses": _mac,
    "operating_system": _system,
    "cpu_cores": _cores,
    "environment": _environment,
    "location": _location,
    "role": _role,
    "serial_number": _key,
    "external_id": _key,
    "power_state": lambda profile: profile.share(lambda cell: _says_power(cell) and not is_flag(cell)) >= 0.6,
    "criticality": _criticality,
    "asset_type": lambda profile: profile.share(_means(asset_type_of)) >= 0.6,
    "fqdn": _fqdn,
    "uuid": _uuid,
    "port": _port,
    "source_port": _port,
}
