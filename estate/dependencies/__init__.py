"""Who talks to whom: edges with direction, port and process; noise set apart with its reason; cycles and move
groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from estate.assets import AssetFacts
from estate.bulk import bulk
from estate.clean import CleanTable
from estate.dependencies.directory import Directory
from estate.dependencies.edges import Edges
from estate.dependencies.findings import Findings, summarise, told_incomplete
from estate.dependencies.groups import Pair, group
from estate.dependencies.noise import kinds, reasons
from estate.dependencies.rows import Incomplete, clock_of, needed, read_connections, read_relations
from estate.roles import CONNECTIONS

__all__ = ["Dependencies", "analyse"]


@dataclass(slots=True)
class Dependencies:
    """What `analyse` found besides the dependencies it handed over."""

    groups: list[dict[str, Any]]
    """Move groups, the largest first; see `estate.dependencies.groups.group`."""
    issues: list[dict[str, Any]]
    summary: dict[str, Any]


@bulk
def analyse(
    tables: Iterable[CleanTable],
    assets: Iterable[AssetFacts],
    namespace: UUID,
    each: Callable[[dict[str, Any]], None],
) -> Dependencies:
    """Turn rows into dependencies between assets; `each` is given one at a time.

    The rows are those of CONNECTIONS tables, and of MACHINES and APPLICATIONS tables the columns that name other
    assets (`application_name, runs_on, depends_on, hosts, databases`). One dependency per source, target, port,
    protocol, process, asking process and relation:
    `{dependency_id, source_asset_id, source_name, target_asset_id, target_name, port, protocol, process,
    source_process, source_application, target_application, relation, kind, direction, turned, noise, noise_reason,
    unknown_endpoint, outside, confidence, observations, bytes, connections, first_seen, last_seen, source, sources}`.
    The source opens the connection, or needs the target; `direction` says how that is known (`as_stated, by_relation,
    by_port`), `turned` that the ports of at least one row told the opposite of its columns. Unknown is None.
    `observations` are rows, `sources` the first 20 of them, `bytes` and `connections` sums.

    Noise (`noise_reason`) is kept, and left out of cycles and groups. An end that is no asset stays,
    `unknown_endpoint` true; `outside` says that it is an address of the internet. Cycles are the strongly connected
    components of what is left, groups its connected components.
    """
    listed = needed(tables)
    directory = Directory(assets, {(table.file, table.sheet) for table in listed if table.role != CONNECTIONS})
    edges = Edges(directory, clock_of(listed))
    issues: list[dict[str, Any]] = []
    incomplete_rows = 0
    for table in listed:
        if table.role != CONNECTIONS:
            read_relations(table, edges)
            continue
        incomplete = Incomplete()
        read_connections(table, edges, incomplete)
        incomplete_rows += incomplete.count
        if incomplete.count:
            issues.append(told_incomplete(table, edges, incomplete, namespace))
    told = kinds(edges)
    why = reasons(edges, told)
    sources = edges.sources()
    pairs: Counter[Pair] = Counter(
        (start, end) for start, end, reason in zip(edges.source, edges.target, why, strict=True) if reason is None
    )
    found = group(pairs, directory, namespace)
    issues.extend(Findings(edges, why, sources, namespace).issues(found))
    for document in edges.documents(namespace, told, why, sources):
        each(document)
    connected = len({end for pair in pairs for end in pair if directory.is_known(end)})
    summary = summarise(edges, told, why, found, connected) | {"incomplete_rows": incomplete_rows}
    return Dependencies(found.groups, issues, summary)
