"""A table on its way from raw to clean, column by column."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from estate.bulk import bulk
from estate.clean import CleanColumn, CleanTable, Use
from estate.cleansing.cells import Cleaned, clean_column
from estate.cleansing.findings import LARGEST, SPELLED, Findings, one_spelling, outliers
from estate.cleansing.rows import QUIET, Changed, Changes, Rejected, in_words, places_of, with_cells
from estate.cleansing.systems import Systems, TextColumn, put_together
from estate.personal import SECRET, WORDS, credentials, personal_data, without_credentials
from estate.quality import StatedColumn, TableQuality, measure
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, MACHINES, PERFORMANCE, SOFTWARE, TAGS
from estate.tables import Cell, Codes, Column, Table
from estate.vocabulary import parse_os

NAME_TARGETS = ("name", "hostname", "fqdn")
IDENTITY = (*NAME_TARGETS, "external_id", "uuid", "serial_number", "ip_addresses")
"""What says whose disk, measurement, product or tag a row is."""
_REQUIRED: dict[str, tuple[tuple[tuple[str, ...], str, str], ...]] = {
    MACHINES: ((NAME_TARGETS, "missing_name", "the row names no machine"),),
    APPLICATIONS: (((*NAME_TARGETS, "application_name"), "missing_name", "the row names no application"),),
    DETAIL: ((IDENTITY, "missing_name", "the row names no machine"),),
    PERFORMANCE: ((IDENTITY, "missing_name", "the row names no machine"),),
    SOFTWARE: ((("software",), "missing_software", "the row names no product"),),
    TAGS: (
        (IDENTITY, "missing_name", "the row names no machine"),
        (("tag_key",), "missing_tag", "the row names no tag"),
    ),
    CONNECTIONS: tuple(
        ((f"{end}_name", f"{end}_ip", f"{end}_application"), f"missing_{end}", f"the row names no {word}")
        for end, word in (("source", "source"), ("target", "destination"))
    ),
}
"""By role: one of these targets has to be known, else the row is rejected with the reason."""
_MAY_SAY_SECRET = frozenset({"custom_attributes", "description", "tag_value"})
"""Targets that keep what is shown in a credential's place; elsewhere it would be taken for a name or a number."""
_NOT_STATED = frozenset({"placeholder_to_null", "minus_one_to_null", "zero_size_to_null", "credential_masked"})
_TOTALS = frozenset(
    {"total", "totals", "grand total", "grand totals", "subtotal", "subtotals", "sub-total", "sub-totals", "sum", "summe",
     "gesamt", "gesamtsumme", "insgesamt", "zwischensumme", "average", "count", "somme", "suma", "totale", "totaal",
     "total general", "total général", "durchschnitt", "moyenne", "anzahl"}
)  # fmt: skip
_COMMENTS = ("#", "//", "**", "note:", "Note:", "NOTE:")


@dataclass(slots=True)
class Cleansed:
    """What cleansing made of one table."""

    table: CleanTable
    changes: Changes
    """`{source{file, sheet, row}, field, target, old, new, rule, count, rows}`, made while iterated"""
    rejected: Rejected
    """`{source, reason, message, values{column: cell}}`, made while iterated"""
    issues: list[dict[str, Any]]
    quality: TableQuality


@dataclass(slots=True)
class _Used:
    """A column in use: its cells (credentials masked) and what became of them."""

    use: Use
    cells: list[Cell]
    codes: Codes
    cleaned: Cleaned

    @property
    def values(self) -> list[Any]:
        return self.cleaned.values

    def clean(self) -> CleanColumn:
        return CleanColumn(self.use, self.cleaned.values, self.codes)


@bulk
def cleanse(table: Table, uses: Iterable[Use], namespace: UUID, *, today: date | None = None) -> Cleansed:
    """Clean the columns in use, reject rows that name nothing (or lack an end), and tell what was changed.

    Works on distinct cells. Nothing is invented: what cannot be read becomes None with a rule and an issue; outliers
    and contradictions are flagged and kept; credentials are masked in whatever comes out. `namespace` makes the ids of
    the issues; dates after `today` are flagged. Raises nothing.
    """
    return _Work(table, list(uses), namespace, today).done()


class _Work:
    """The state of one table's cleansing."""

    def __init__(self, table: Table, uses: list[Use], namespace: UUID, today: date | None) -> None:
        self.table = table
        self.today = today
        self.findings = Findings(namespace, table.file, table.sheet)
        columns = {column.name: column for column in table.columns}
        self.masks = {column.name: self._sensitive(column) for column in table.columns}
        used = _parts_named(table, [use for use in uses if use.field in columns])
        raw = {use.field: (columns[use.field].codes, self._cells(columns[use.field])) for use in used}
        if table.role == TAGS:
            self._mask_tags(used, raw)
        self.ranks = Counter(use.rank for use in used if use.target == "storage_gb")
        """How many columns of storage have a rank: several are parts of one sum."""
        self.facts: list[_Used] = []
        self.attributes: list[_Used] = []
        for use in used:
            codes, cells = raw[use.field]
            self._take(use, cells, codes)
        self.rejected = Rejected(table, lambda name, cell: without_credentials(name, cell)[0])
        self.numbers = table.numbers

    def _cells(self, column: Column) -> list[Cell]:
        return with_cells(column, self.masks[column.name])

    def _take(self, use: Use, cells: list[Cell], codes: Codes) -> None:
        part = use.target == "storage_gb" and self.ranks[use.rank] > 1
        cleaned = clean_column(use, cells, self.table.role, part=part)
        masked = self.masks.get(use.field)
        if masked:
            rules = cleaned.rules or [None] * len(cells)
            whole = {code for code, cell in masked.items() if cell == SECRET and use.target not in _MAY_SAY_SECRET}
            if whole:
                cleaned.values = [None if code in whole else value for code, value in enumerate(cleaned.values)]
                cleaned.doubts = {code: why for code, why in cleaned.doubts.items() if code not in whole}
            for code in masked:
                if cleaned.values[code] is not None or code in whole:
                    rules[code] = "credential_masked"
            cleaned.rules = rules
        kept = self.attributes if use.target == "custom_attributes" else self.facts
        kept.append(_Used(use, cells, codes, cleaned))
        for target, values in cleaned.more.items():
            self.facts.append(_Used(replace(use, target=target, rank=use.rank + 1), cells, codes, Cleaned(values)))

    # --- credentials and personal data

    def _sensitive(self, column: Column) -> dict[int, Cell]:
        """Masked cells by code; what was found is told."""
        masked = credentials(column.name, column.distinct)
        if masked:
            kinds = sorted({kind for _, found in masked.values() for kind in found})
            self._tell_of("credential_in_data", "high", column, masked, kinds)
        for kind, codes in personal_data(column.name, column.distinct).items():
            self._tell_of("personal_data", "info" if kind == "email" else "low", column, codes, [kind])
        return {code: cell for code, (cell, _) in masked.items()}

    def _tell_of(self, kind: str, severity: str, column: Column, codes: Iterable[int], kinds: list[str]) -> None:
        places = sorted(place for found in places_of(column.codes, set(codes)).values() for place in found)
        if not places:
            return
        rows = [self.table.numbers[place] for place in places]
        what = " or ".join(WORDS[one] for one in kinds)
        then = (
            "; it is masked from here on, only the uploaded file and the raw table read from it still hold it"
            if kind == "credential_in_data"
            else ""
        )
        sentence = f"{self.findings.place}, {in_words(rows)}, {column.name}: {what} is in the cells{then}."
        self.findings.add(kind, severity, sentence, rows[0], column.name)

    def _mask_tags(self, used: list[Use], raw: dict[str, tuple[Codes, list[Cell]]]) -> None:
        """A tag's key says what its value is, as a header does for a column."""
        keys = next((use for use in used if use.target == "tag_key"), None)
        values = next((use for use in used if use.target == "tag_value"), None)
        if keys is None or values is None:
            return
        key_codes, key_cells = raw[keys.field]
        codes, cells = raw[values.field]
        secret = {
            code: True for code, cell in enumerate(key_cells) if isinstance(cell, str) and _names_a_credential(cell)
        }
        if not secret:
            return
        places = [
            place
            for place, (key, code) in enumerate(zip(key_codes, codes, strict=True))
            if key in secret and without_credentials(str(key_cells[key]), cells[code])[1]
        ]
        if not places:
            return
        codes = array("I", codes)
        for place in places:
            codes[place] = len(cells)
        raw[values.field] = (codes, [*cells, SECRET])
        self.masks[values.field] = {**self.masks[values.field], len(cells): SECRET}
        rows = [self.table.numbers[place] for place in places]
        self.findings.add(
            "credential_in_data",
            "high",
            f"{self.findings.place}, {in_words(rows)}, {values.field}: the tag's key says that the value is a credential; "
            "it is masked from here on, only the uploaded file and the raw table read from it still hold it.",
            rows[0],
            values.field,
        )

    # --- rows

    def of(self, *targets: str) -> list[_Used]:
        """The columns of these targets, in the order of the targets, then by rank."""
        return [
            one
            for target in targets
            for one in sorted((f for f in self.facts if f.use.target == target), key=lambda f: f.use.rank)
        ]

    def _reject_rows(self) -> None:
        """Find the rows that are not taken, and keep the codes of the others."""
        refused: dict[int, tuple[str, str]] = {}
        for targets, reason, message in _REQUIRED.get(self.table.role, ()):
            for place in self._unknown(self.of(*targets), reason):
                refused.setdefault(place, (reason, message))
        for place, reason, message in self._no_things():
            refused.setdefault(place, (reason, message))
        if not refused:
            return
        for place in sorted(refused):
            self.rejected.add(place, *refused[place])
        kept = [place for place in range(len(self.table)) if place not in refused]
        self.numbers = array("I", [self.table.numbers[place] for place in kept])
        for one in (*self.facts, *self.attributes):
            codes = one.codes
            one.codes = array("I", [codes[place] for place in kept])

    def _unknown(self, columns: list[_Used], reason: str) -> Iterator[int]:
        """The rows in which none of the columns knows anything."""
        if not columns:
            if reason == "missing_tag":
                return
            yield from range(len(self.table))
            return
        known = 0
        for one in columns:
            flags = bytes(0 if value is None else 1 for value in one.values)
            known |= int.from_bytes(map(flags.__getitem__, one.codes), "big")
        row_flags = known.to_bytes(len(self.table), "big")
        place = row_flags.find(0)
        while place >= 0:
            yield place
            place = row_flags.find(0, place + 1)

    def _no_things(self) -> Iterator[tuple[int, str, str]]:
        """Rows whose name is that of a sum or of a comment."""
        if self.table.role in {CONNECTIONS, TAGS, SOFTWARE}:
            return
        what = "an application" if self.table.role == APPLICATIONS else "a machine"
        columns = self.of(*NAME_TARGETS)
        systems = self.of("operating_system")
        for at, one in enumerate(columns):
            totals = {
                c for c, value in enumerate(one.values) if value is not None and value.lower().rstrip(" :") in _TOTALS
            }
            comments = {c for c, value in enumerate(one.values) if value is not None and value.startswith(_COMMENTS)}
            if not totals | comments:
                continue
            for code, places in places_of(one.codes, totals | comments).items():
                for place in places:
                    if any(before.values[before.codes[place]] is not None for before in columns[:at]):
                        continue
                    if code in totals and any(_is_system(found.values[found.codes[place]]) for found in systems):
                        continue
                    if code in totals:
                        yield place, "totals_row", f"the row is a total, not {what}"
                    elif sum(fact.values[fact.codes[place]] is not None for fact in self.facts) == 1:
                        yield place, "comment", f"the row is a comment, not {what}"

    # --- put together

    def done(self) -> Cleansed:
        """The clean table, what was changed and what there is to say."""
        self._reject_rows()
        for one in (*self.facts, *self.attributes):
            self._tell_of_values(one)
        systems = self._systems()
        stated = [self._stated(one) for one in self.facts]
        plain = [one for one in self.facts if one.use.target not in {"operating_system", "os_version"}]
        clean = CleanTable(
            self.table.file,
            self.table.sheet,
            self.table.kind,
            self.table.role,
            self.numbers,
            self._in_order([*(one.clean() for one in plain), *systems.columns]),
            [one.clean() for one in self.attributes],
        )
        changes = Changes(self.table.file, self.table.sheet, self.numbers)
        for one in (*plain, *self.attributes):
            if one.cleaned.rules is not None:
                changes.add(Changed(one.use.field, one.use.target, one.cells, one.values, one.cleaned.rules, one.codes))
        for changed in systems.changes:
            changes.add(changed)
        for column, doubts in zip(systems.columns, systems.doubts, strict=True):
            self.findings.of_codes("doubtful_value", column, self.numbers, doubts)
        quality = measure(clean, stated, systems.contradictions)
        for target in dict.fromkeys(target for target, _, _ in quality.contradictions):
            by_reason: dict[str, list[int]] = {}
            for found, why, row in quality.contradictions:
                if found == target:
                    by_reason.setdefault(why, []).append(row)
            self.findings.of_values("contradiction", target, target, [(rows, why) for why, rows in by_reason.items()])
        self.findings.rejected(self.rejected.reasons(), QUIET)
        return Cleansed(clean, changes, self.rejected, self.findings.issues, quality)

    def _tell_of_values(self, one: _Used) -> None:
        """Doubts, outliers and spellings of one column."""
        use = one.use
        self.findings.of_codes("doubtful_value", one.clean(), self.numbers, one.cleaned.doubts)
        if use.target in LARGEST:
            found = outliers(one.clean(), one.cells)
            self.findings.of_codes("outlier", one.clean(), self.numbers, found)
        elif use.target in SPELLED:
            values, rules, said = one_spelling(one.clean())
            if values is not None:
                kept = one.cleaned.rules or [None] * len(values)
                one.cleaned = replace(
                    one.cleaned, values=values, rules=[rules.get(code, rule) for code, rule in enumerate(kept)]
                )
                for _, sentence in said:
                    message = f"{self.findings.place}, {use.field}: {sentence}."
                    self.findings.add("spelling_variants", "info", message, None, use.target)
        elif use.target in {"last_seen", "measured_at", "observed_at", "first_seen"} and self.today is not None:
            last = self.today.isoformat()
            late = {
                code: f"{value} is after the day of reading, {last}"
                for code, value in enumerate(one.values)
                if value is not None and value[:10] > last
            }
            self.findings.of_codes("outlier", one.clean(), self.numbers, late)

    def _systems(self) -> Systems:
        texts = {
            target: [TextColumn(one.use, one.cells, one.values, one.codes) for one in self.of(target)]
            for target in ("operating_system", "os_version")
        }
        return put_together(texts["operating_system"], texts["os_version"])

    def _in_order(self, columns: list[CleanColumn]) -> list[CleanColumn]:
        order = {column.name: at for at, column in enumerate(self.table.columns)}
        return sorted(columns, key=lambda column: order[column.use.field])

    def _stated(self, one: _Used) -> StatedColumn:
        """Which cells state something, and which of those could be read."""
        rules, doubts = one.cleaned.rules, one.cleaned.doubts
        unstated, unreadable = set(), set()
        for code in [code for code, value in enumerate(one.values) if value is None]:
            rule = rules[code] if rules is not None else None
            if one.cells[code] is None or rule in _NOT_STATED or (rule == "no_address_to_null" and code not in doubts):
                unstated.add(code)
            else:
                unreadable.add(code)
        return StatedColumn(one.use.field, one.use.target, frozenset(unstated), frozenset(unreadable), one.codes)


def _is_system(text: str | None) -> bool:
    """A sum runs no operating system."""
    found = parse_os(text) if text is not None else None
    return found is not None and found.family is not None


def _parts_named(table: Table, uses: list[Use]) -> list[Use]:
    """In a list inside of records the parent's key says whose row it is; the row's own name is that of the part."""
    key = table.read_as.get("parent_key")
    if table.role != DETAIL or not any(use.field == key and use.target in IDENTITY for use in uses):
        return uses
    return [
        replace(use, target="detail_key") if use.target in NAME_TARGETS and use.field != key else use for use in uses
    ]


def _names_a_credential(key: str) -> bool:
    return bool(without_credentials(key, "Xy7-secret-9")[1])
