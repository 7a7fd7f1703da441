"""What an edge is for, and whether it says that its ends belong together."""

from __future__ import annotations

from collections import Counter

from estate.dependencies.directory import APPLICATION, DATABASE, Directory
from estate.dependencies.edges import Detail, Edges
from estate.dependencies.relations import Relation, understand
from estate.dependencies.services import AGENTS, NOISE_PORTS, PROCESS_KINDS, kind_by_port, program

FAN_IN_LEAST = 20
FAN_IN_SHARE = 0.3
"""A service that at least 20 machines and at least 30 % of all connecting machines use is a shared one."""

SELF = "a machine talking to itself"
SELF_NAMED = "an application naming itself"
PLACEMENT = "placement"
"""Where a machine runs says nothing about which machines belong together."""
SHARED = "shared service"

_PORTLESS = 1 << 16


def kinds(edges: Edges) -> list[str]:
    """The kind of every edge: `database, web, file, messaging, mail, management, directory, application, hosted_on,
    runs_on, load_balancing, connection`; said by the relation, else the port, else the process, else the ends."""
    directory = edges.directory
    by_detail: dict[Detail, str | None] = {}
    told = []
    for start, end, detail in zip(edges.source, edges.target, edges.detail, strict=True):
        if detail not in by_detail:
            by_detail[detail] = _kind_of_detail(detail)
        told.append(by_detail[detail] or _kind_of_ends(directory, start, end, detail))
    return told


def _kind_of_detail(detail: Detail) -> str | None:
    meaning = understand(detail.relation).meaning if detail.relation else "needs"
    if meaning in {"database", "load_balancing"}:
        return meaning
    if meaning in {"runs_on", "contains"}:
        return None
    if meaning != "needs":
        return "management"
    process = program(detail.process) if detail.process else ""
    return kind_by_port(detail.port) or PROCESS_KINDS.get(process) or ("management" if process in AGENTS else None)


def _kind_of_ends(directory: Directory, start: int, end: int, detail: Detail) -> str:
    one, other = directory.asset_type(start), directory.asset_type(end)
    meaning = understand(detail.relation).meaning if detail.relation else "needs"
    if meaning in {"runs_on", "contains"} and not (one == other == APPLICATION):
        if one == APPLICATION or (meaning == "runs_on" and one == DATABASE and _migratable(directory, end)):
            return "hosted_on"
        return "runs_on" if meaning == "runs_on" else "connection"
    if APPLICATION in {one, other}:
        return "application"
    if other == DATABASE:
        return "database"
    return "load_balancing" if one == "load_balancer" else "connection"


def _migratable(directory: Directory, end: int) -> bool:
    return directory.is_known(end) and directory.assets[end].migratable


def reasons(edges: Edges, told: list[str]) -> list[str | None]:
    """For every edge why it is set apart, None for those that count: a machine talking to itself, an address that is
    no machine's own, placement, a relation of management, a port or a program that everybody uses, a service with
    large fan-in. `told` are the kinds."""
    shared = _shared(edges)
    directory = edges.directory
    by_detail: dict[Detail, str | None] = {}
    found: list[str | None] = []
    for number, detail in enumerate(edges.detail):
        start, end = edges.source[number], edges.target[number]
        if detail not in by_detail:
            by_detail[detail] = _reason_of_detail(detail)
        found.append(
            (_itself(directory, start) if start == end else None)
            or _special(directory, start)
            or _special(directory, end)
            or (PLACEMENT if _is_placement(directory, start, end, detail, told[number]) else None)
            or by_detail[detail]
            or shared.get(number)
        )
    return found


def _itself(directory: Directory, end: int) -> str:
    return SELF_NAMED if directory.asset_type(end) == APPLICATION else SELF


def _special(directory: Directory, end: int) -> str | None:
    stranger = directory.stranger(end)
    return stranger.special if stranger is not None else None


def _is_placement(directory: Directory, start: int, end: int, detail: Detail, kind: str) -> bool:
    if kind == "runs_on":
        return True
    if kind == "hosted_on" or detail.relation is None or understand(detail.relation).meaning != "contains":
        return False
    return not (_migratable(directory, start) and _migratable(directory, end))


def _reason_of_detail(detail: Detail) -> str | None:
    relation: Relation | None = understand(detail.relation) if detail.relation else None
    if relation is not None and relation.set_apart:
        return relation.set_apart
    if detail.port in NOISE_PORTS:
        return f"port {detail.port}: {NOISE_PORTS[detail.port]}"
    for process in (detail.process, detail.client):
        if process and (name := program(process)) in AGENTS:
            return f"process {name}: {AGENTS[name]}"
    return None


def _shared(edges: Edges) -> dict[int, str]:
    """The edges to services of large fan-in, with the reason.

    Applications are counted among applications and machines among machines; clients on the internet are not counted.
    """
    services = [_service(edges, number) for number in range(len(edges))]
    many = {service for service, count in Counter(services).items() if service is not None and count >= FAN_IN_LEAST}
    talkers: dict[bool, set[int]] = {False: set(), True: set()}
    clients: dict[int, set[int]] = {service: set() for service in many}
    for start, service in zip(edges.source, services, strict=True):
        if service is not None:
            talkers[bool(service & 1)].add(start)
            if service in many:
                clients[service].add(start)
    shared = {}
    for service, users in clients.items():
        layer = bool(service & 1)
        if len(users) >= FAN_IN_LEAST and len(users) >= FAN_IN_SHARE * len(talkers[layer]):
            who = "applications" if layer else "machines"
            shared[service] = f"{SHARED}: {len(users)} of {len(talkers[layer])} {who} use it"
    return {number: shared[service] for number, service in enumerate(services) if service in shared}


def _service(edges: Edges, number: int) -> int | None:
    """Target, port and whether applications use it, as one number; None for what no asset of the estate uses."""
    directory, start, port = edges.directory, edges.source[number], edges.detail[number].port
    stranger = directory.stranger(start)
    if stranger is not None and (stranger.outside or stranger.special):
        return None
    used_by_applications = directory.asset_type(start) == APPLICATION
    return (edges.target[number] << 17 | (_PORTLESS if port is None else port)) << 1 | used_by_applications


def in_short(reason: str) -> str:
    """A reason as it is counted: shared services together."""
    return f"{SHARED} by fan-in" if reason.startswith(SHARED) else reason
