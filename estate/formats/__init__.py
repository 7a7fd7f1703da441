"""Which export a table is: recognised by its column names, whatever the file or the sheet is called; tables no known
tool wrote are judged by what they hold."""

from __future__ import annotations

import re

from estate.errors import EstateError
from estate.formats.clouds import EXPORTS as CLOUDS
from estate.formats.exports import Export
from estate.formats.generic import classify, label
from estate.formats.others import CAST, COSTS, KONVEYOR_APPLICATIONS, KONVEYOR_DEPENDENCIES
from estate.formats.others import EXPORTS as OTHERS
from estate.formats.rvtools import EXPORTS as RVTOOLS
from estate.formats.rvtools import TABS
from estate.formats.splitting import split_cast, split_konveyor, split_pairs
from estate.lexicon import compact, header_key, words
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES, PERFORMANCE, SOFTWARE, TAGS, USED
from estate.tables import Table, Warned, Workbook

EXPORTS: tuple[Export, ...] = (*RVTOOLS, *CLOUDS, *OTHERS)
BY_KIND: dict[str, Export] = {known.kind: known for known in (*EXPORTS, KONVEYOR_DEPENDENCIES)}
VROPS = "vrops.metrics"
GENERIC_KINDS: dict[str, str] = {
    "table": MACHINES, "machines": MACHINES, "detail": DETAIL, "applications": APPLICATIONS, "connections": CONNECTIONS,
    "performance": PERFORMANCE, "software": SOFTWARE, "licences": SOFTWARE, "tags": TAGS, "pivot": IGNORED,
    "notes": IGNORED, VROPS: MACHINES,
}  # fmt: skip
"""Kinds of tables no known tool wrote, with the role each stands for."""
COST_KINDS = frozenset(known.kind for known in COSTS)
_TAB_NAME = re.compile(r"^(?:rvtools_tab)?(v[a-z_]+|dvswitch|dvport)$", re.IGNORECASE)


def recognise(book: Workbook) -> None:
    """Set `kind` and `role` on every table of the workbook, with the reason in `read_as["why"]`; split tables that
    hold several; warn about tables that discovery does not use.

    `read_as["kind"]` and `read_as["role"]`, where the caller gave them, are followed; raises EstateError
    `import_options_invalid` when they are none of the known.
    """
    made: list[Table] = []
    for table in book.tables:
        split_pairs(table)
        kind, role, why = _judged(table)
        table.kind, table.role = kind, role
        table.read_as = {**table.read_as, "why": why}
        if kind in {KONVEYOR_APPLICATIONS.kind, KONVEYOR_DEPENDENCIES.kind} and "role" not in table.read_as:
            parts, warnings = split_konveyor(table)
            book.warnings += warnings
            made += parts
        elif kind == CAST.kind and "role" not in table.read_as:
            made += split_cast(table)
        else:
            made.append(table)
        if role == IGNORED:
            book.warnings.append(_warning(table))
    book.tables = _distinct(made)


def _warning(table: Table) -> Warned:
    code = "cost_data" if table.kind in COST_KINDS else "not_used"
    return Warned(code, not_used(table), table.sheet)


def not_used(table: Table) -> str:
    """Why discovery does not use a table, as a sentence."""
    known = BY_KIND.get(table.kind)
    why = table.read_as.get("why") or (known.why_ignored if known is not None else "it holds no inventory")
    return f"{table.place} ({table.kind}) is not used: {why}."


def _distinct(tables: list[Table]) -> list[Table]:
    """Each (file, sheet) once: a second table of a sheet says from which rows it is."""
    seen: set[tuple[str, str | None]] = set()
    for table in tables:
        if (table.file, table.sheet) in seen:
            last = table.numbers[-1] if len(table) else table.header_row
            table.sheet = f"{table.sheet or 'table'} (rows {table.header_row}-{last})"
        seen.add((table.file, table.sheet))
    return tables


def kind_of(table: Table) -> tuple[str, str]:
    """The kind and role of one table."""
    kind, role, _ = _judged(table)
    return kind, role


def _judged(table: Table) -> tuple[str, str, str]:
    given_kind, given_role = table.read_as.get("kind"), table.read_as.get("role")
    if given_kind is not None:
        kind, role, why = *_given(table, str(given_kind)), "the import options say so"
    else:
        kind, role, why = _recognised(table) or classify(table)
    if given_role is not None:
        if given_role not in (*USED, IGNORED):
            raise _invalid(table, "role", str(given_role), (*USED, IGNORED))
        return kind, str(given_role), str(table.read_as.get("role_why") or "the import options say so")
    return kind, role, why


def _given(table: Table, kind: str) -> tuple[str, str]:
    if kind in BY_KIND:
        return kind, BY_KIND[kind].role
    if kind in GENERIC_KINDS:
        return kind, GENERIC_KINDS[kind]
    matching = [known for known in (*EXPORTS, KONVEYOR_DEPENDENCIES) if known.product == kind]
    names = frozenset(map(compact, table.names))
    exact = next((known for known in matching if known.recognises(names)), None)
    if exact is not None:
        return exact.kind, exact.role
    raise _invalid(table, "kind", kind, sorted({*BY_KIND, *GENERIC_KINDS}))


def _invalid(table: Table, member: str, value: str, allowed: tuple[str, ...] | list[str]) -> EstateError:
    sentence = f"{table.place}: {value!r} is no {member} of tables; it can be {', '.join(allowed)}."
    return EstateError("import_options_invalid", sentence, file=table.file, sheet=table.sheet)


def _recognised(table: Table) -> tuple[str, str, str] | None:
    names = frozenset(map(compact, table.names))
    for known in EXPORTS:
        if known.recognises(names):
            if known.kind == "servicenow.relations" and len(names) > 8:
                continue
            return known.kind, known.role, known.why_ignored or f"its columns are those of {known.kind}"
    if sum("|" in name for name in table.names) >= 2:
        return _vrops(table)
    tab = _TAB_NAME.match(label(table))
    if tab is not None and tab.group(1).lower() in TABS:
        kind = f"rvtools.{tab.group(1).lower()}"
        known_tab = BY_KIND.get(kind)
        if known_tab is not None and known_tab.role == IGNORED:
            return kind, IGNORED, known_tab.why_ignored
    return None


def _vrops(table: Table) -> tuple[str, str, str]:
    """Metrics of vRealize Operations are named `CPU|Usage (%)`; with a time per row they are measurements."""
    _, role, _ = classify(table)
    return VROPS, role if role == PERFORMANCE else MACHINES, "its columns are named like metrics of vRealize Operations"


def recognised_as(book: Workbook) -> str:
    """The product a file comes from (`rvtools, azure_migrate, azure_dependencies, aws_migration_hub, ...`), or the kind
    of its tables where no known tool wrote it (`table, connections, applications, ...`)."""
    kinds = [table.kind for table in book.tables]
    products = [kind.split(".", 1)[0] for kind in kinds if "." in kind]
    if products:
        used = [table.kind.split(".", 1)[0] for table in book.tables if "." in table.kind and table.role != IGNORED]
        first = (used or products)[0]
        if first == "azure_migrate" and {kind for kind in kinds if "." in kind} == {"azure_migrate.dependencies"}:
            return "azure_dependencies"
        return first
    used_kinds = {table.kind for table in book.tables if table.role != IGNORED}
    return used_kinds.pop() if len(used_kinds) == 1 else "table"


__all__ = [
    "BY_KIND", "COST_KINDS", "EXPORTS", "GENERIC_KINDS", "header_key", "kind_of", "not_used", "recognise",
    "recognised_as", "words",
]  # fmt: skip
