"""Whether history, command log and checkpoints are what they were: every finding with its place.

Three things are held against each other: the chain of hashes of each flow, the signed checkpoints of each client account, and
the command log, whose accepted commands name the events they brought about. What was published before is a fourth: it
shows what somebody did who may write everything in the database.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from domain.preview import references
from eventstore.audit.checkpoints import FIRST, Checkpoint, Statement, Stretch
from eventstore.audit.leaves import EVERYTHING, Leaves, command_leaves, event_leaves
from eventstore.audit.merkle import Tree
from eventstore.audit.signing import is_signed
from eventstore.codec import FIRST_HASH, chain, split
from eventstore.database import Connection

HISTORIES = """
select uuid_send(e.originator_id), e.originator_version, coalesce(e.topic, ''), coalesce(e.state, ''), e.hash,
       h.client_account_id, h.engagement_id
from stored_events e left join heads h on h.id = e.originator_id and e.originator_version = 1
where e.originator_id >= %(first)s and e.originator_id <= %(last)s
  and (%(account)s::uuid is null or e.originator_id in (select id from heads where client_account_id = %(account)s))
order by e.originator_id, e.originator_version
"""
HEADS = """
select h.id, h.version, h.hash, e.version, e.hash from heads h left join lateral (
    select originator_version as version, hash from stored_events where originator_id = h.id
    order by originator_version desc limit 1
) e on true
where h.id >= %(first)s and h.id <= %(last)s and (%(account)s::uuid is null or h.client_account_id = %(account)s)
  and (e.version, e.hash) is distinct from (h.version, h.hash)
order by h.id
"""
HEADLESS = """
select distinct e.originator_id from stored_events e
where e.originator_id >= %(first)s and e.originator_id <= %(last)s and %(account)s::uuid is null
  and not exists (select from heads h where h.id = e.originator_id) order by 1
"""
# an accepted command that brought something about names the last event of it
WITHOUT_EVENT = """
select c.flow_id, c.version, c.command, c.command_id from command_log c
where c.flow_id >= %(first)s and c.flow_id <= %(last)s and c.outcome = 'accepted' and c.position is not null
  and (%(account)s::uuid is null or c.client_account_id = %(account)s)
  and not exists (select from stored_events e where e.notification_id = c.position
                  and e.originator_id = c.flow_id and e.originator_version = c.version)
order by c.flow_id, c.version
"""
# before the checkpoints are read: whatever lies below was signed by then, but for accounts that nothing is signed for
SIGNED_UPTO = """
select f.position, s.commands_upto, array(select client_account_id from audit_refused)
from followers f, audit_signer s where f.name = 'checkpoints'
"""
CHECKPOINTS = """
select client_account_id, number, statement, signature, key_id from audit_checkpoints
where %(account)s::uuid is null or client_account_id = %(account)s order by client_account_id, number
"""
FETCH = 2000
NO_FLOW, ALL_FLOWS = UUID(int=0), UUID(int=(1 << 128) - 1)


# whoever names an artifact writes so, spilled values too
MARK = b'artifact"'
UNREADABLE = (zlib.error, msgspec.MsgspecError)

Artifact = tuple[UUID, str]
"""The client account, and the SHA-256 in hexadecimal."""


class Named(NamedTuple):
    """Where an artifact is named first."""

    flow_id: UUID
    version: int


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was. `code` is stable, `message` says what and where."""

    code: str
    message: str
    client_account_id: UUID | None = None
    flow_id: UUID | None = None
    version: int | None = None
    checkpoint: int | None = None


class Verdict(msgspec.Struct, kw_only=True):
    """What was looked at, and what was found; `unsigned` counts what no checkpoint covers, most often because it is newer.
    `published`: checkpoints of the copy that a trusted key has signed, and that were compared."""

    flows: int = 0
    events: int = 0
    commands: int = 0
    checkpoints: int = 0
    audit_events: int = 0
    artifacts: int = 0
    published: int = 0
    unsigned_events: int = 0
    unsigned_commands: int = 0
    keys: list[str] = []
    troubles: list[Trouble] = []

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.troubles


async def histories(
    connection: Connection,
    *,
    account: UUID | None = None,
    first: UUID = NO_FLOW,
    last: UUID = ALL_FLOWS,
    named: dict[Artifact, Named] | None = None,
) -> Verdict:
    """The chains of the flows from one id to another, their heads, and the commands that say what must be there.

    The artifacts that the events name are put into `named`, so that nobody else has to read them for that.
    """
    verdict = Verdict()
    which = {"account": account, "first": first, "last": last}
    owner, flow_id = b"", NO_FLOW
    version, previous, lost = 0, FIRST_HASH, False
    async for rows in _batches(connection, HISTORIES, which):
        verdict.events += len(rows)
        for of, number, topic, state, digest, client, engagement in rows:
            if of != owner:
                owner, flow_id, version, previous, lost = of, UUID(bytes=of), 0, FIRST_HASH, False
                verdict.flows += 1
            if named is not None and (MARK in state or state[:1] != b"{"):
                _note_artifacts(named, Named(flow_id, number), state)
            if lost:
                continue
            if number != version + 1:
                lost = True
                what = f"version {version + 1} is missing, {number} follows {version}"
                verdict.troubles.append(_of_flow("event_missing", flow_id, version + 1, f"flow {flow_id}: {what}"))
            elif chain(previous, flow_id, number, topic, state) != digest:
                lost = True
                what = f"flow {flow_id}, version {number} ({topic}): the event or its hash was changed"
                verdict.troubles.append(_of_flow("event_changed", flow_id, number, what))
            elif number == 1 and client is not None and (whose := _owner(state)) != (client, engagement):
                what = (
                    f"flow {flow_id}: its head says account {client}, engagement {engagement}; its history says account"
                    f" {whose[0]}, engagement {whose[1]}"
                )
                verdict.troubles.append(_of_flow("head_differs", flow_id, number, what))
            version, previous = number, digest
    async for head_id, wanted, _, found, _ in _rows(connection, HEADS, which):
        message = f"flow {head_id}: its head says version {wanted}, its history ends at {found or 0}"
        if found == wanted:
            message = f"flow {head_id}: its head and its last event have different hashes"
        verdict.troubles.append(Trouble(code="head_differs", message=message, flow_id=head_id, version=wanted))
    async for (headless,) in _rows(connection, HEADLESS, which):
        message = f"flow {headless}: it has events and no head, so that no account is known that it belongs to"
        verdict.troubles.append(Trouble(code="head_missing", message=message, flow_id=headless))
    async for of_flow, number, command, command_id in _rows(connection, WITHOUT_EVENT, which):
        message = (
            f"flow {of_flow}: version {number} is not there, or at another place of the log, though {command} {command_id}"
            " was accepted with it"
        )
        verdict.troubles.append(Trouble(code="event_removed", message=message, flow_id=of_flow, version=number))
    return verdict


def _of_flow(code: str, flow_id: UUID, version: int, message: str) -> Trouble:
    return Trouble(code=code, message=message, flow_id=flow_id, version=version)


def _note_artifacts(named: dict[Artifact, Named], where: Named, state: bytes) -> None:
    # what cannot be read was changed, and the chain says so
    with suppress(*UNREADABLE):
        meta, data = split(state)
        for sha256, _ in references(msgspec.json.decode(data)) if MARK in data else ():
            named.setdefault((meta.client_account_id, sha256), where)


def _owner(state: bytes) -> tuple[UUID, UUID]:
    meta, _ = split(state)
    return meta.client_account_id, meta.engagement_id


class _Account:
    """The checkpoints of one account, and how far the leaves have been followed."""

    def __init__(self) -> None:
        self.said: list[Statement] = []
        self.at = {"events": 0, "commands": 0}
        self.trees: dict[str, list[Tree]] = {"events": [], "commands": []}
        self.unsigned: Counter[str] = Counter()
        # what lies where it should have been signed: the first of each kind, and how many
        self.uncovered: dict[str, tuple[int, int]] = {}
        self.unsound = False

    def stretch(self, kind: str, number: int) -> Stretch:
        found: Stretch = getattr(self.said[number], kind)
        return found

    def add(self, kind: str, leaves: Leaves, signed_upto: int) -> None:
        """Leaves in the order of their places, each to the tree of the checkpoint that covers it."""
        at, first = self.at[kind], 0
        while first < len(leaves):
            while at < len(self.said) and leaves[first][0] > self.stretch(kind, at).upto:
                at += 1
            signed = self.stretch(kind, at) if at < len(self.said) else None
            # up to where all is the same: before the checkpoint, in it, or after the last one
            if signed is None:
                last = len(leaves)
            else:
                upto = signed.after if leaves[first][0] <= signed.after else signed.upto
                last = bisect_right(leaves, upto, lo=first, key=itemgetter(0))
            some, first = leaves[first:last], last
            if signed is None or some[0][0] <= signed.after:
                self._unsigned(kind, some, signed_upto)
            else:
                self.trees[kind][at].add([leaf for _, leaf, _ in some])
        self.at[kind] = at

    def _unsigned(self, kind: str, leaves: Leaves, signed_upto: int) -> None:
        self.unsigned[kind] += len(leaves)
        if beside := bisect_right(leaves, signed_upto, key=itemgetter(0)):
            first, count = self.uncovered.get(kind, (leaves[0][0], 0))
            self.uncovered[kind] = first, count + beside


async def checkpoints(
    connection: Connection,
    keys: Mapping[str, bytes],
    *,
    account: UUID | None = None,
    published: Iterable[Checkpoint] = (),
) -> Verdict:
    """The signatures of all checkpoints, and every leaf below them; `published` are those that were told to others.

    `keys` are the public keys that the reader trusts, by id.
    """
    verdict = Verdict(keys=sorted(keys))
    which = {"account": account}
    accounts: dict[UUID, _Account] = {}
    kept: dict[tuple[UUID, int], Checkpoint] = {}
    before: dict[UUID, Checkpoint] = {}
    row = await (await connection.execute(SIGNED_UPTO)).fetchone()
    assert row is not None
    events_upto, commands_upto, refused = row
    async for owner, number, statement, signature, key_id in _rows(connection, CHECKPOINTS, which):
        verdict.checkpoints += 1
        found = Checkpoint(bytes(statement), bytes(signature), key_id)
        kept[owner, number] = found
        said = _sound(found, owner, number, former=before.get(owner), keys=keys, verdict=verdict)
        before[owner] = found
        known = accounts.setdefault(owner, _Account())
        known.unsound = known.unsound or said is None
        if said is not None:
            known.said.append(said)
            for trees in known.trees.values():
                trees.append(Tree())
    _compare_with_published(published, kept, keys, account, verdict)
    everything = EVERYTHING._replace(account=account)
    async for some in event_leaves(connection, everything):
        for owner, leaves in some.items():
            accounts.setdefault(owner, _Account()).add("events", leaves, events_upto)
            verdict.events += len(leaves)
    async for some in command_leaves(connection, everything):
        for owner, leaves in some.items():
            accounts.setdefault(owner, _Account()).add("commands", leaves, commands_upto)
            verdict.commands += len(leaves)
    for owner, each in sorted(accounts.items()):
        verdict.unsigned_events += each.unsigned["events"]
        verdict.unsigned_commands += each.unsigned["commands"]
        told = len(verdict.troubles)
        _compare_roots(owner, each, verdict)
        # where what was signed differs, what lies beside it does, too
        if owner not in refused and len(verdict.troubles) == told:
            _tell_uncovered(owner, each, verdict)
    return verdict


def _sound(
    found: Checkpoint,
    owner: UUID,
    number: int,
    *,
    former: Checkpoint | None,
    keys: Mapping[str, bytes],
    verdict: Verdict,
) -> Statement | None:
    """What a checkpoint says, if it is signed and follows the one before; what is wrong goes into the verdict."""

    def wrong(code: str, what: str) -> None:
        message = f"account {owner}, checkpoint {number}: {what}"
        verdict.troubles.append(Trouble(code=code, message=message, client_account_id=owner, checkpoint=number))

    if found.key_id not in keys:
        wrong("key_unknown", f"it is signed by the key {found.key_id}, which is not among the trusted ones")
        return None
    if not is_signed(found.statement, found.signature, found.key_id, keys):
        wrong("checkpoint_forged", "its signature does not hold")
        return None
    try:
        said = found.said
    except msgspec.MsgspecError:
        wrong("checkpoint_forged", "what is signed is no statement")
        return None
    if (said.client_account_id, said.number) != (owner, number):
        wrong("checkpoint_forged", f"it is number {said.number} of account {said.client_account_id}")
        return None
    wanted = 1 if former is None else _number(former) + 1
    if number != wanted or said.previous != (FIRST if former is None else former.digest):
        wrong("checkpoint_missing", f"it does not follow the one before; {wanted} is missing or was replaced")
    return said


def _number(checkpoint: Checkpoint) -> int:
    try:
        return checkpoint.said.number
    except msgspec.MsgspecError:
        return 0


def _compare_with_published(
    published: Iterable[Checkpoint],
    kept: Mapping[tuple[UUID, int], Checkpoint],
    keys: Mapping[str, bytes],
    account: UUID | None,
    verdict: Verdict,
) -> None:
    for told in published:
        if not is_signed(told.statement, told.signature, told.key_id, keys):
            # whoever may write to the copy may add to it; what is not signed proves nothing
            continue
        said = told.said
        if account is not None and said.client_account_id != account:
            continue
        verdict.published += 1
        here = kept.get((said.client_account_id, said.number))
        if here is not None and here.statement == told.statement:
            continue
        what = "is not in the store any more" if here is None else "says something else than the one in the store"
        verdict.troubles.append(
            Trouble(
                code="history_rewritten",
                message=f"account {said.client_account_id}: the published checkpoint {said.number} of"
                f" {said.made_at.isoformat()} {what}: history up to there was rewritten",
                client_account_id=said.client_account_id,
                checkpoint=said.number,
            )
        )


def _compare_roots(owner: UUID, account: _Account, verdict: Verdict) -> None:
    for place, said in enumerate(account.said):
        for kind, code in (("events", "history_differs"), ("commands", "command_log_differs")):
            signed: Stretch = getattr(said, kind)
            tree = account.trees[kind][place]
            if (signed.count, signed.root) == (tree.size, tree.root().hex()):
                continue
            what = f"{signed.count} {kind} were signed, {tree.size} are there"
            if signed.count == tree.size:
                what = f"{kind} were changed or put into another order"
            verdict.troubles.append(
                Trouble(
                    code=code,
                    message=f"account {owner}, checkpoint {said.number} of {said.made_at.isoformat()}: {what}, between"
                    f" {signed.after} and {signed.upto}",
                    client_account_id=owner,
                    checkpoint=said.number,
                )
            )


def _tell_uncovered(owner: UUID, account: _Account, verdict: Verdict) -> None:
    """What lies below the signer's progress, and in no checkpoint."""
    if account.unsound or [said.number for said in account.said] != list(range(1, len(account.said) + 1)):
        # what one that is missing or forged covered is uncovered, and that has been told
        return
    for kind, code in (("events", "history_differs"), ("commands", "command_log_differs")):
        if kind not in account.uncovered:
            continue
        place, count = account.uncovered[kind]
        last = account.stretch(kind, -1).upto if account.said else 0
        what = f"{count} {kind} from place {place} on lie in no checkpoint"
        if place > last:
            what += (
                ", though all up to there was signed: the newest checkpoint was removed, or they were put there since"
            )
        else:
            what += ": they were put before the first place of the log"
        number = len(account.said) + 1
        message = (
            f"account {owner}, {f'after checkpoint {number - 1}' if account.said else 'without a checkpoint'}: {what}"
        )
        verdict.troubles.append(
            Trouble(
                code="checkpoint_missing" if place > last else code,
                message=message,
                client_account_id=owner,
                checkpoint=number,
            )
        )


async def _rows(connection: Connection, statement: str, which: Mapping[str, Any]) -> AsyncIterator[tuple[Any, ...]]:
    async for rows in _batches(connection, statement, which):
        for row in rows:
            yield row


async def _batches(
    connection: Connection, statement: str, which: Mapping[str, Any]
) -> AsyncIterator[list[tuple[Any, ...]]]:
    async with connection.transaction(), connection.cursor("audit", binary=True) as cursor:
        await cursor.execute(statement, which)
        while rows := await cursor.fetchmany(FETCH):
            yield rows
