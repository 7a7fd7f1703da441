"""Flows of the older system taken into history, and given back.

Nothing here has to end at once: what was planned is noted first, each flow is one command under an id of its own, and who
begins again goes on with what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from domain.commands import DeleteFlow, Envelope, ImportFlow
from domain.errors import BodyTooLarge, StoreBusy
from domain.events import FlowImported
from domain.flow import DONE, Flow
from domain.flow_types import FlowTypeConfig, placeholder
from domain.words import Status, counted
from eventstore.committer import Answer
from eventstore.legacy import IMPORTED, REFUSED, THERE, UNDONE, LegacyImports, Noted, keep_types
from eventstore.service import WriteSide
from mfo.legacy.flows import Old, shown
from mfo.legacy.plan import Plan, checksum, make
from mfo.legacy.tables import named, read

Json = dict[str, Any]
Said = Callable[[str], None]

AT_ONCE = 200
LISTS = ("agent_insights", "agent_collaboration_log", "learning_patterns")
SOURCE = "legacy"


async def look(side: WriteSide, source: str) -> Plan:
    """What an import of this source would take over; changes nothing. Raises SourceUnreadable."""
    return await asyncio.to_thread(lambda: make(read(source), side.types))


def report(plan: Plan, source: str, *, dry_run: bool) -> Json:
    """The plan as it is told: `{import_id, source, tables, flows, left_out, bad_rows[], checksums, ...}`."""
    return {
        "import_id": str(plan.import_id),
        "dry_run": dry_run,
        "source": named(source),
        "tables": plan.tables,
        **plan.counts(),
        "unknown_types": plan.placeholders,
        "bad_rows": [fault._asdict() for fault in plan.faults],
        "checksums": {"before": checksum(_hash(flow.shown) for flow in plan.flows)},
    }


async def take_over(side: WriteSide, source: str, by: str, said: Said) -> Json:
    """Take the flows over; the report, with `imported`, `there` (before), `refused[]` and the checksums after.

    Begun again after it was cut short, it goes on; of the same rows a second time, all flows are `there`.
    """
    began = monotonic()
    plan = await look(side, source)
    told = report(plan, source, dry_run=False)
    imports = LegacyImports(side.pool)
    kept = [(one.flow_id, one.client_account_id, one.engagement_id, one.fact.origin.sha256) for one in plan.flows]
    await imports.begin(plan.import_id, named(source), by, told, kept)
    await keep_types(side.pool, side.types, _placeholders(plan))
    outcomes: list[_Outcome] = []
    for part in _parts(plan.flows):
        outcomes += await _take(side, imports, plan.import_id, part, by)
        said(f"{len(outcomes)} of {counted(len(plan.flows), 'flow')}")
    refused = [one.noted for one in outcomes if one.noted.outcome == REFUSED]
    again = await asyncio.to_thread(lambda: make(read(source), side.types).tables)
    after, same, moved = await _compare(side, plan, {one.flow_id for one in refused})
    told["checksums"] |= {"after": after, "equal": same}
    told |= {
        "imported": sum(not one.before and one.noted.outcome == IMPORTED for one in outcomes),
        "there": sum(one.before for one in outcomes),
        "refused": [{"flow_id": str(one.flow_id), "detail": one.detail} for one in refused],
        "moved_on": moved,
        "source_unchanged": again == plan.tables,
        "seconds": round(monotonic() - began, 2),
    }
    await imports.end(plan.import_id, told)
    return told


async def give_back(
    side: WriteSide, import_id: UUID, by: str, said: Said, *, reason: str | None, moved_too: bool
) -> Json:
    """Delete the flows of an import, with the reason; its history stays. Flows that somebody has worked on since are left, and
    named, unless `moved_too`. Raises LegacyImportNotFound."""
    imports = LegacyImports(side.pool)
    taken = [one for one in await imports.flows(import_id) if one.outcome == IMPORTED]
    why = reason or f"rollback of the import {import_id}"
    left: list[Json] = []
    deleted = gone = 0
    for n in range(0, len(taken), AT_ONCE):
        part = {one.flow_id: one for one in taken[n : n + AT_ONCE]}
        noted: list[Noted] = []
        asked: list[Flow] = []
        worked_on = await imports.worked_on(part.values())
        for flow_id, loaded in (await side.store.load(part)).items():
            flow, moved = loaded.flow, flow_id in worked_on
            if flow.status is Status.DELETED and moved:
                noted.append(Noted(flow_id, UNDONE, flow.version))
                gone += 1
            elif moved and not moved_too:
                left.append({"flow_id": str(flow_id), "status": str(flow.status), "version": flow.version})
            else:
                asked.append(flow)
        for answer in await asyncio.gather(*(_delete(side, flow, import_id, by, why) for flow in asked)):
            if answer.error is None:
                noted.append(Noted(answer.flow_id, UNDONE, answer.version))
                deleted += 1
            else:
                left.append({"flow_id": str(answer.flow_id), "error": answer.error})
        await imports.note(import_id, noted)
        said(f"{min(n + AT_ONCE, len(taken))} of {counted(len(taken), 'flow')}")
    told = {"import_id": str(import_id), "deleted": deleted, "deleted_before": gone, "left": left, "reason": why}
    await imports.end(import_id, {"undone": told}, undone=True)
    return told


async def _delete(side: WriteSide, flow: Flow, import_id: UUID, by: str, why: str) -> Answer:
    key = f"{SOURCE}:{import_id}:undo:{flow.id}:{flow.version}"
    command = DeleteFlow(flow_id=flow.id, reason=why, tree=False)
    return await side.committer.submit(command, _envelope(flow, key, by, import_id))


class _Outcome(NamedTuple):
    """What is noted of a flow, and whether it was there before this run."""

    noted: Noted
    before: bool = False


async def _take(
    side: WriteSide, imports: LegacyImports, import_id: UUID, part: Sequence[Old], by: str
) -> list[_Outcome]:
    known = {flow_id: loaded.flow for flow_id, loaded in (await side.store.load(one.flow_id for one in part)).items()}
    given_back = await imports.given_back(flow_id for flow_id, flow in known.items() if flow.status is Status.DELETED)
    outcomes: list[_Outcome] = []
    asked: list[Awaitable[Noted]] = []
    for one in part:
        imported = known[one.flow_id].imported
        if one.flow_id in given_back or imported is None or imported.origin.sha256 != one.fact.origin.sha256:
            again = one.flow_id in given_back
            asked.append(_asked(side, import_id, one, by, before=known[one.flow_id].version, again=again))
        elif imported.origin.import_id == str(import_id):
            # also one of a run that was cut short before it could note it
            noted = Noted(one.flow_id, IMPORTED, imported.version)
            outcomes.append(_Outcome(noted, before=True))
        else:
            outcomes.append(_Outcome(Noted(one.flow_id, THERE), before=True))
    outcomes += [_Outcome(noted) for noted in await asyncio.gather(*asked)]
    await imports.note(import_id, [outcome.noted for outcome in outcomes])
    return outcomes


async def _asked(side: WriteSide, import_id: UUID, one: Old, by: str, *, before: int, again: bool) -> Noted:
    # an id may be used once, and an import that was given back may be done again; what was refused before that, too
    key = f"{SOURCE}:{import_id}:{one.flow_id}:{before}" + (":again" if again else "")
    try:
        fact = await _small(side, one)
        command = ImportFlow(flow_id=one.flow_id, told=msgspec.to_builtins(fact), again=again)
        answer = await side.committer.submit(command, _envelope(one, key, by, import_id))
    except (BodyTooLarge, StoreBusy) as error:
        return Noted(one.flow_id, REFUSED, None, error.detail)
    if answer.error is not None or answer.flow is None:
        return Noted(one.flow_id, REFUSED, None, str((answer.error or {}).get("detail", answer.outcome)))
    return Noted(one.flow_id, IMPORTED, answer.version)


async def _small(side: WriteSide, one: Old) -> FlowImported:
    """The event with what is sensitive sealed, and small enough: its largest values moved to artifacts."""
    fact, account = one.fact, one.client_account_id
    places: Json = {"former": fact.former, "initial": fact.initial_data}
    places |= {f"phase {phase.name}": phase.outputs for phase in fact.phases}
    sealed, _ = await side.keyring.seal(account, places)
    # of these the shape is fixed, so that nothing of them is moved
    lists = {"errors": list(fact.errors), "transitions": list(fact.transitions)}
    kept, _ = await side.keyring.seal(account, {"error": fact.error, "deletion": fact.deletion, **lists})
    names = [(place, name) for place, values in sealed.items() for name in values]
    flat = {str(n): sealed[place][name] for n, (place, name) in enumerate(names)}
    flat = await side.artifacts.spill(account, flat)
    small: dict[str, Json] = {place: {} for place in places}
    for n, (place, name) in enumerate(names):
        small[place][name] = flat[str(n)]
    former = small["former"]
    # a list with a column of its own is shown there only as a list
    moved = {name: former.pop(name) for name in LISTS if isinstance(former.get(name), dict)}
    phases = tuple(replace(phase, outputs=small[f"phase {phase.name}"]) for phase in fact.phases)
    fact = replace(
        fact,
        error=kept["error"],
        errors=tuple(kept["errors"]),
        transitions=tuple(kept["transitions"]),
        deletion=kept["deletion"],
    )
    return replace(
        fact, former=former | ({"moved": moved} if moved else {}), initial_data=small["initial"], phases=phases
    )


def _envelope(of: Old | Flow, key: str, by: str, import_id: UUID) -> Envelope:
    assert of.client_account_id is not None
    assert of.engagement_id is not None
    return Envelope(
        command_id=key,
        client_account_id=of.client_account_id,
        engagement_id=of.engagement_id,
        user_id=by,
        correlation_id=f"{SOURCE}-{import_id}",
        source=SOURCE,
    )


async def _compare(side: WriteSide, plan: Plan, refused: set[UUID]) -> tuple[str, bool, int]:
    """The checksum of the flows as their histories tell them, whether it is that of the source, and how many flows somebody has
    worked on since they were imported: of those, it is how they were then."""
    hashes: list[str] = []
    moved = 0
    async for flow, one in _stored(side, plan):
        if one.flow_id in refused:
            continue
        at = flow.imported.version if flow.imported is not None else flow.version
        if flow.version != at:
            moved += 1
        then = flow if flow.version == at else await side.store.flow(flow.id, upto=at)
        hashes.append(_hash(_shown(then)))
    before = checksum(_hash(one.shown) for one in plan.flows if one.flow_id not in refused)
    after = checksum(hashes)
    return after, before == after, moved


async def _stored(side: WriteSide, plan: Plan) -> AsyncIterator[tuple[Flow, Old]]:
    for part in _parts(plan.flows):
        found = await side.store.load(one.flow_id for one in part)
        for one in part:
            yield found[one.flow_id].flow, one


def _shown(flow: Flow) -> Json:
    done = [phase.name for phase in flow.phases if phase.status in DONE]
    return shown(flow.id, (flow.client_account_id, flow.engagement_id), flow, str(flow.status), done)


def _hash(values: Json) -> str:
    return checksum([msgspec.json.encode(values, order="sorted").decode()])


def _placeholders(plan: Plan) -> Iterator[FlowTypeConfig]:
    known = {
        (one.fact.flow_type, tuple(phase.name for phase in one.fact.phases))
        for one in plan.flows
        if one.fact.flow_version.startswith("imported-")
    }
    return (placeholder(name, phases) for name, phases in sorted(known))


def _parts(flows: Sequence[Old]) -> Iterator[Sequence[Old]]:
    return (flows[n : n + AT_ONCE] for n in range(0, len(flows), AT_ONCE))
