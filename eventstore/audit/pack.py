"""Evidence packs: a zip with the histories of flows, their commands, and the proofs that they lie in signed checkpoints.

Whoever has the pack and a public key that he trusts can verify it without us: `pack_verifier.py` is inside, and needs nothing of
the service. Sealed values stay sealed; keys inside only say which key is meant.
"""

from __future__ import annotations

import hashlib
import zipfile
from base64 import b64encode
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from domain.errors import FlowNotFound, MfoError
from eventstore.audit.checkpoints import COMMANDS_OF_ONE, EVENTS_OF_ONE, Checkpoint, Statement, Stretch
from eventstore.audit.leaves import COMMAND_COLUMNS, COMMAND_SELECT, command_leaf, event_leaf, leaf_of
from eventstore.audit.merkle import leaf_hash, node_hash
from eventstore.audit.pack_report import Page, Told, as_html, as_pdf, summary
from eventstore.codec import FIRST_HASH, chain, split
from eventstore.database import Connection

Json = dict[str, Any]

MOST_FLOWS = 10_000
FLOWS_OF_ENGAGEMENT = """
select id from heads where client_account_id = %s and engagement_id = %s order by id limit %s
"""
OWNERS = "select distinct client_account_id, engagement_id from heads where id = any(%s)"
EVENTS = """
select notification_id, originator_id, originator_version, topic, state, hash from stored_events
where originator_id = any(%s) order by originator_id, originator_version
"""
COMMANDS = f"select {COMMAND_SELECT} from command_log where flow_id = any(%s) and client_account_id = %s order by n"
CHECKPOINTS = """
select statement, signature, key_id from audit_checkpoints where client_account_id = %s order by number
"""
DEFINITIONS = "select name, version, sha256 from flow_types"
KEYS = "select key_id, public_key from audit_keys order by first_used_at"


class PackTooLarge(MfoError):
    """The engagement has more flows than one pack may hold; export the flows that matter, one by one."""

    code = "pack_too_large"


class Tampered(MfoError):
    """What is in the store is not what was signed, so no proof can be made; run `mfo audit verify`."""

    code = "history_differs"


class Cover:
    """Which statement covers a place of one of the logs."""

    def __init__(self, statements: Sequence[Statement], kind: str) -> None:
        self._statements = statements
        self._stretches: list[Stretch] = [getattr(said, kind) for said in statements]
        self._ends = [stretch.upto for stretch in self._stretches]

    def of(self, place: int) -> Statement | None:
        """The statement, none where the place is newer than all of them."""
        n = bisect_left(self._ends, place)
        return self._statements[n] if n < len(self._ends) and place > self._stretches[n].after else None


class Proofs:
    """Audit paths out of one tree, the roots of its parts computed once."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._hashes = [leaf_hash(leaf) for leaf in leaves]
        self._place = {digest: place for place, digest in enumerate(self._hashes)}
        self._roots: dict[tuple[int, int], bytes] = {}

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._hashes)

    def root(self, first: int = 0, end: int | None = None) -> bytes:
        """The root over the leaves from one place to before another."""
        end = len(self._hashes) if end is None else end
        if end - first == 1:
            return self._hashes[first]
        if (first, end) not in self._roots:
            split = first + (1 << (end - first - 1).bit_length() - 1)
            self._roots[first, end] = node_hash(self.root(first, split), self.root(split, end))
        return self._roots[first, end]

    def path(self, leaf: bytes) -> tuple[int, list[str]] | None:
        """The place of a leaf and its audit path in hexadecimal, from the leaf up; none where it is not in the tree."""
        place = self._place.get(leaf_hash(leaf))
        if place is None:
            return None
        path: list[str] = []
        first, end = 0, len(self._hashes)
        while end - first > 1:
            split = first + (1 << (end - first - 1).bit_length() - 1)
            left = place < split
            path.append((self.root(split, end) if left else self.root(first, split)).hex())
            first, end = (first, split) if left else (split, end)
        return place, path[::-1]


@dataclass
class Pack:
    """What goes into the zip, file by file."""

    account: UUID
    engagement: UUID
    flows: list[UUID]
    events: list[Json] = field(default_factory=list)
    commands: list[Json] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    keys: list[Json] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    definitions: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def unsigned(self) -> int:
        """Events and commands that no checkpoint covers yet."""
        return sum(each["proof"] is None for each in (*self.events, *self.commands))


async def gather(
    connection: Connection, *, flow: UUID | None = None, account: UUID | None = None, engagement: UUID | None = None
) -> Pack:
    """All there is about a flow, or about every flow of an engagement; raises FlowNotFound, PackTooLarge, Tampered."""
    if flow is not None:
        owner = await (await connection.execute(OWNERS, ([flow],))).fetchone()
        if owner is None or account not in {None, owner[0]}:
            raise FlowNotFound
        pack = Pack(owner[0], owner[1], [flow])
    else:
        assert account is not None
        assert engagement is not None
        rows = await (await connection.execute(FLOWS_OF_ENGAGEMENT, (account, engagement, MOST_FLOWS + 1))).fetchall()
        if not rows:
            raise FlowNotFound(f"the engagement {engagement} has no flows here")
        if len(rows) > MOST_FLOWS:
            raise PackTooLarge(f"the engagement has more than {MOST_FLOWS} flows; export those that matter, one by one")
        pack = Pack(account, engagement, [row[0] for row in rows])
    await _fill(connection, pack)
    return pack


async def _fill(connection: Connection, pack: Pack) -> None:
    cursor = await connection.execute(CHECKPOINTS, (pack.account,), binary=True)
    signed = [Checkpoint(bytes(row[0]), bytes(row[1]), row[2]) for row in await cursor.fetchall()]
    statements = [checkpoint.said for checkpoint in signed]
    cover = Cover(statements, "events")
    events = await _trees(connection, cover, pack, "events")
    previous = FIRST_HASH
    async for place, flow_id, version, topic, state, digest in _rows(connection, EVENTS, (pack.flows,)):
        if version == 1:
            previous = FIRST_HASH
        if chain(previous, flow_id, version, topic, bytes(state)) != bytes(digest):
            raise Tampered(
                f"flow {flow_id} does not hold at version {version}, so no pack is made of it; run `mfo audit verify`"
            )
        previous = bytes(digest)
        leaf = event_leaf(flow_id, version, bytes(digest))
        meta, data = split(bytes(state))
        pack.told.append(Told(flow_id, version, topic, meta, msgspec.json.decode(data)))
        pack.events.append(
            {
                "flow_id": str(flow_id),
                "version": version,
                "topic": topic,
                "state": b64encode(bytes(state)).decode(),
                "hash": bytes(digest).hex(),
                "position": place,
                "proof": _proof(cover.of(place), events, leaf),
            }
        )
    cover = Cover(statements, "commands")
    commands = await _trees(connection, cover, pack, "commands")
    async for row in _rows(connection, COMMANDS, (pack.flows, pack.account)):
        proof = _proof(cover.of(row[0]), commands, command_leaf(row))
        pack.commands.append(dict(zip(COMMAND_COLUMNS, map(_plain, row), strict=True)) | {"proof": proof})
    used = {each["proof"]["checkpoint"] for each in (*pack.events, *pack.commands) if each["proof"]}
    # from the first that is needed to the last that there is, so that each names the one before
    first = min(used, default=0)
    pack.checkpoints = [
        checkpoint for checkpoint, said in zip(signed, statements, strict=True) if used and said.number >= first
    ]
    pack.definitions = {(row[0], row[1]): row[2] for row in await (await connection.execute(DEFINITIONS)).fetchall()}
    rows = await (await connection.execute(KEYS)).fetchall()
    pack.keys = [{"key_id": row[0], "public_key": b64encode(bytes(row[1])).decode()} for row in rows]


async def _trees(connection: Connection, cover: Cover, pack: Pack, kind: str) -> dict[int, Proofs]:
    """The trees of the checkpoints that cover something of these flows, by number."""
    wanted = f"select distinct {'notification_id' if kind == 'events' else 'n'} from " + (
        "stored_events where originator_id = any(%s)" if kind == "events" else "command_log where flow_id = any(%s)"
    )
    places = [row[0] async for row in _rows(connection, wanted, (pack.flows,))]
    found: dict[int, Proofs] = {}
    for said in {said.number: said for place in places if (said := cover.of(place)) is not None}.values():
        stretch = getattr(said, kind)
        asked = (stretch.after, stretch.upto, pack.account)
        statement = EVENTS_OF_ONE if kind == "events" else COMMANDS_OF_ONE
        leaves = [
            event_leaf(row[0], row[1], bytes(row[2])) if kind == "events" else leaf_of(row)
            async for row in _rows(connection, statement, asked)
        ]
        tree = Proofs(leaves)
        if tree.size != stretch.count or (tree.size and tree.root().hex() != stretch.root):
            raise Tampered(f"checkpoint {said.number} does not hold for the {kind}; run `mfo audit verify`")
        found[said.number] = tree
    return found


def _proof(said: Statement | None, trees: dict[int, Proofs], leaf: bytes) -> Json | None:
    if said is None:
        return None
    at = trees[said.number].path(leaf)
    assert at is not None
    account = str(said.client_account_id)
    return {"client_account_id": account, "checkpoint": said.number, "index": at[0], "path": at[1]}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return b64encode(bytes(value)).decode() if isinstance(value, bytes | memoryview) else value


async def _rows(connection: Connection, statement: str, asked: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    async with connection.transaction(), connection.cursor("pack", binary=True) as cursor:
        await cursor.execute(statement, asked)
        async for row in cursor:
            yield row


def write(pack: Pack, out: Path, *, by: str) -> Json:
    """Write the zip; answers its manifest. The file is made whole or not at all; raises OSError."""
    verifier = Path(__file__).with_name("pack_verifier.py").read_bytes()
    about = summary(pack.told, pack.definitions)
    page = Page(
        f"Evidence of client account {pack.account}",
        f"Engagement {pack.engagement}. {len(pack.flows)} flows, {len(pack.events)} events, {len(pack.commands)} commands,"
        f" {len(pack.checkpoints)} signed checkpoints; {pack.unsigned} entries are newer than the last one.",
        about,
        pack.told,
        pack.commands,
    )
    files = {
        "README.txt": README.encode(),
        "events.ndjson": _lines(pack.events),
        "commands.ndjson": _lines(pack.commands),
        "checkpoints.ndjson": _lines([checkpoint.as_dict() for checkpoint in pack.checkpoints]),
        "keys.json": msgspec.json.encode(pack.keys),
        "summary.json": msgspec.json.encode(about, order="sorted"),
        "report.html": as_html(page).encode(),
        "report.pdf": as_pdf(page),
        "pack_verifier.py": verifier,
    }
    manifest: Json = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": by,
        "client_account_id": str(pack.account),
        "engagement_id": str(pack.engagement),
        "flows": len(pack.flows),
        "events": len(pack.events),
        "commands": len(pack.commands),
        "checkpoints": len(pack.checkpoints),
        "unsigned": pack.unsigned,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    half = out.with_name(out.name + ".part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in {**files, "manifest.json": msgspec.json.encode(manifest)}.items():
                made.writestr(name, data)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
    return manifest


def _lines(rows: Iterable[Json]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


README = """Evidence of the Master Flow Orchestrator.

report.html         what happened, for people; made from the other files, and proves nothing
report.pdf          the same to print: the first 2,000 events and commands
summary.json        who approved what, which versions of flow types, code and prompts took part, and what it cost
events.ndjson       every event of the flows as it is stored: state in base64 (JSON; zlib where it does not begin with {)
commands.ndjson     every command about them with its answer, the refused ones too
checkpoints.ndjson  signed statements about the account's history; events and commands name theirs in `proof`
keys.json           public keys by their names; trust none that you have not got another way
manifest.json       SHA-256 of every file
pack_verifier.py    python pack_verifier.py PACK.zip PUBLIC_KEY   (needs Python 3.11 and the package cryptography)
"""
