"""Evidence packs: a zip with the histories of flows, their commands, and the proofs that they lie in signed checkpoints.

Whoever has the pack and a public key that he trusts can verify it without us: `pack_verifier.py` is inside, and needs nothing of
the service. Sealed values stay sealed; keys inside only say which key is meant. What is gathered goes to files at once, in the order
of the log; of the trees that proofs come from one is held at a time.
"""

from __future__ import annotations

import hashlib
import zipfile
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from domain.errors import FlowNotFound, MfoError
from eventstore.artifacts import parts_of
from eventstore.audit.checkpoints import Checkpoint, Statement, Stretch
from eventstore.audit.leaves import (
    COMMAND_COLUMNS,
    COMMAND_SELECT,
    Span,
    command_leaf,
    command_leaves,
    event_leaf,
    event_leaves,
)
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
where originator_id = any(%s) order by notification_id
"""
COMMANDS = f"select {COMMAND_SELECT} from command_log where flow_id = any(%s) and client_account_id = %s order by n"
EVENT_PLACES = "select notification_id from stored_events where originator_id = any(%s) order by 1"
COMMAND_PLACES = "select n from command_log where flow_id = any(%s) and client_account_id = %s order by 1"
CHECKPOINTS = """
select statement, signature, key_id from audit_checkpoints
where client_account_id = %s and number >= %s and number <= %s order by number
"""
LAST_NUMBER = 2**62
FETCH = 200
DEFINITIONS = "select name, version, sha256 from flow_types"
KEYS = "select key_id, public_key from audit_keys order by first_used_at"


class PackTooLarge(MfoError):
    """The engagement has more flows than one pack may hold; export the flows that matter, one by one."""

    code = "pack_too_large"


class Tampered(MfoError):
    """What is in the store is not what was signed, so no proof can be made; run `mfo audit verify`."""

    code = "history_differs"


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
    """What goes into the zip: `events.ndjson`, `commands.ndjson` and `checkpoints.ndjson` lie in the folder, here are their counts;
    `unsigned` events and commands are covered by no checkpoint yet."""

    folder: Path
    account: UUID
    engagement: UUID
    flows: list[UUID]
    events: int = 0
    commands: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    keys: list[Json] = field(default_factory=list)
    definitions: dict[tuple[str, str], str] = field(default_factory=dict)

    def told(self) -> Iterator[Told]:
        """Its events as they are told."""
        for row in self.rows("events.ndjson"):
            meta, data = split(b64decode(row["state"]))
            yield Told(UUID(row["flow_id"]), row["version"], row["topic"], meta, msgspec.json.decode(data))

    def rows(self, name: str) -> Iterator[Json]:
        """The lines of one of its files."""
        with (self.folder / name).open("rb") as file:
            for line in file:
                yield msgspec.json.decode(line)


class Again:
    """What can be gone through several times."""

    def __init__(self, begin: Callable[[], Iterator[Any]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[Any]:
        return self._begin()


class Prover:
    """The proofs of events, or of commands, asked for in the order of their places; one tree is held at a time."""

    def __init__(self, connection: Connection, account: UUID, kind: str, used: list[Statement]) -> None:
        self._connection = connection
        self._account = account
        self._kind = kind
        self._used = iter(used)
        self._said: Statement | None = next(self._used, None)
        self._tree: Proofs | None = None

    async def proof(self, place: int, leaf: bytes) -> Json | None:
        """`{client_account_id, checkpoint, index, path}`; none where no checkpoint covers the place. Raises Tampered."""
        while self._said is not None and place > self._stretch(self._said).upto:
            self._said, self._tree = next(self._used, None), None
        if self._said is None or place <= self._stretch(self._said).after:
            return None
        if self._tree is None:
            self._tree = await self._grown(self._said)
        at = self._tree.path(leaf)
        if at is None:
            raise _tampered(self._said, self._kind)
        account = str(self._said.client_account_id)
        return {"client_account_id": account, "checkpoint": self._said.number, "index": at[0], "path": at[1]}

    def _stretch(self, said: Statement) -> Stretch:
        found: Stretch = getattr(said, self._kind)
        return found

    async def _grown(self, said: Statement) -> Proofs:
        stretch, read = self._stretch(said), event_leaves if self._kind == "events" else command_leaves
        span = Span(stretch.after, stretch.upto, self._account)
        leaves = [leaf async for some in read(self._connection, span) for _, leaf, _ in some[self._account]]
        tree = Proofs(leaves)
        if tree.size != stretch.count or (tree.size and tree.root().hex() != stretch.root):
            raise _tampered(said, self._kind)
        return tree


def _tampered(said: Statement, kind: str) -> Tampered:
    return Tampered(f"checkpoint {said.number} does not hold for the {kind}; run `mfo audit verify`")


async def gather(
    connection: Connection,
    folder: Path,
    *,
    flow: UUID | None = None,
    account: UUID | None = None,
    engagement: UUID | None = None,
) -> Pack:
    """All there is about a flow, or about every flow of an engagement, in files of an empty folder; as it is at one moment.

    Raises FlowNotFound, PackTooLarge, Tampered, OSError.
    """
    if flow is not None:
        owner = await (await connection.execute(OWNERS, ([flow],))).fetchone()
        if owner is None or account not in {None, owner[0]}:
            raise FlowNotFound
        pack = Pack(folder, owner[0], owner[1], [flow])
    else:
        assert account is not None
        assert engagement is not None
        rows = await (await connection.execute(FLOWS_OF_ENGAGEMENT, (account, engagement, MOST_FLOWS + 1))).fetchall()
        if not rows:
            raise FlowNotFound(f"the engagement {engagement} has no flows here")
        if len(rows) > MOST_FLOWS:
            raise PackTooLarge(f"the engagement has more than {MOST_FLOWS} flows; export those that matter, one by one")
        pack = Pack(folder, account, engagement, [row[0] for row in rows])
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read read only")
        await _fill(connection, pack)
    return pack


async def _fill(connection: Connection, pack: Pack) -> None:
    used = await _used(connection, pack)
    asked = (pack.flows, pack.account)
    with ExitStack() as files:
        events, commands, checkpoints = (
            files.enter_context((pack.folder / f"{name}.ndjson").open("wb"))
            for name in ("events", "commands", "checkpoints")
        )
        prover = Prover(connection, pack.account, "events", used["events"])
        last: dict[UUID, bytes] = {}
        async for place, flow_id, version, topic, state, digest in _rows(connection, EVENTS, asked[:1], "events"):
            if chain(last.get(flow_id, FIRST_HASH), flow_id, version, topic, bytes(state)) != bytes(digest):
                raise Tampered(f"flow {flow_id} does not hold at version {version}; run `mfo audit verify`")
            last[flow_id] = bytes(digest)
            proof = await prover.proof(place, event_leaf(flow_id, version, bytes(digest)))
            row = {
                "flow_id": str(flow_id),
                "version": version,
                "topic": topic,
                "state": b64encode(bytes(state)).decode(),
                "hash": bytes(digest).hex(),
                "position": place,
                "proof": proof,
            }
            events.write(msgspec.json.encode(row) + b"\n")
            pack.events += 1
            pack.unsigned += proof is None
        prover = Prover(connection, pack.account, "commands", used["commands"])
        async for said in _rows(connection, COMMANDS, asked, "commands"):
            proof = await prover.proof(said[0], command_leaf(said))
            row = dict(zip(COMMAND_COLUMNS, map(_plain, said), strict=True)) | {"proof": proof}
            commands.write(msgspec.json.encode(row) + b"\n")
            pack.commands += 1
            pack.unsigned += proof is None
        numbers = [said.number for kind in used.values() for said in kind]
        if numbers:
            # those between as well, so that each names the one before
            span = (pack.account, min(numbers), max(numbers))
            async for statement, signature, key_id in _rows(connection, CHECKPOINTS, span, "checkpoints"):
                one = Checkpoint(bytes(statement), bytes(signature), key_id)
                checkpoints.write(msgspec.json.encode(one.as_dict()) + b"\n")
                pack.checkpoints += 1
    pack.definitions = {(row[0], row[1]): row[2] for row in await (await connection.execute(DEFINITIONS)).fetchall()}
    rows = await (await connection.execute(KEYS)).fetchall()
    pack.keys = [{"key_id": row[0], "public_key": b64encode(bytes(row[1])).decode()} for row in rows]


async def _used(connection: Connection, pack: Pack) -> dict[str, list[Statement]]:
    """The statements that cover some of the events, and of the commands, in order."""
    asked = (pack.flows, pack.account)
    places = {"events": array("q"), "commands": array("q")}
    async for row in _rows(connection, EVENT_PLACES, asked[:1], "places"):
        places["events"].append(row[0])
    async for row in _rows(connection, COMMAND_PLACES, asked, "places"):
        places["commands"].append(row[0])
    used: dict[str, list[Statement]] = {kind: [] for kind in places}
    following = dict.fromkeys(places, 0)
    every = (pack.account, 0, LAST_NUMBER)
    async for statement, signature, key_id in _rows(connection, CHECKPOINTS, every, "checkpoints"):
        said = Checkpoint(bytes(statement), bytes(signature), key_id).said
        for kind, known in places.items():
            stretch: Stretch = getattr(said, kind)
            at = bisect_right(known, stretch.after, following[kind])
            following[kind] = bisect_right(known, stretch.upto, at)
            if following[kind] > at:
                used[kind].append(said)
    return used


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return b64encode(bytes(value)).decode() if isinstance(value, bytes | memoryview) else value


async def _rows(
    connection: Connection, statement: str, asked: tuple[Any, ...], name: str
) -> AsyncIterator[tuple[Any, ...]]:
    async with connection.cursor(f"pack_{name}", binary=True) as cursor:
        cursor.itersize = FETCH
        await cursor.execute(statement, asked)
        async for row in cursor:
            yield row


def write(pack: Pack, out: Path, *, by: str) -> Json:
    """Write the zip; answers its manifest. The file is made whole or not at all; raises OSError."""
    about = summary(pack.told(), pack.definitions)
    page = Page(
        f"Evidence of client account {pack.account}",
        f"Engagement {pack.engagement}. {len(pack.flows)} flows, {pack.events} events, {pack.commands} commands,"
        f" {pack.checkpoints} signed checkpoints; {pack.unsigned} entries are newer than the last one.",
        about,
        Again(pack.told),
        Again(lambda: pack.rows("commands.ndjson")),
    )
    files: dict[str, Iterable[bytes]] = {
        "README.txt": [README.encode()],
        **{name: _chunks(pack.folder / name) for name in ("events.ndjson", "commands.ndjson", "checkpoints.ndjson")},
        "keys.json": [msgspec.json.encode(pack.keys)],
        "summary.json": [msgspec.json.encode(about, order="sorted")],
        "report.html": (part.encode() for part in as_html(page)),
        "report.pdf": [as_pdf(page)],
        "pack_verifier.py": _chunks(Path(__file__).with_name("pack_verifier.py")),
    }
    at = datetime.now(UTC)
    hashes: dict[str, str] = {}
    half = out.with_name(out.name + ".part")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as made:
            for name, parts in files.items():
                hashes[name] = _put(made, name, parts, at)
            manifest: Json = {
                "made_at": at.isoformat(timespec="seconds"),
                "made_by": by,
                "client_account_id": str(pack.account),
                "engagement_id": str(pack.engagement),
                "flows": len(pack.flows),
                "events": pack.events,
                "commands": pack.commands,
                "checkpoints": pack.checkpoints,
                "unsigned": pack.unsigned,
                "files": hashes,
            }
            _put(made, "manifest.json", [msgspec.json.encode(manifest)], at)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
    return manifest


def _put(made: zipfile.ZipFile, name: str, parts: Iterable[bytes], at: datetime) -> str:
    """Write a file of the zip part by part; its SHA-256."""
    about = zipfile.ZipInfo(name, at.timetuple()[:6])
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o600 << 16
    hasher = hashlib.sha256()
    with made.open(about, "w", force_zip64=True) as file:
        for part in parts:
            hasher.update(part)
            file.write(part)
    return hasher.hexdigest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from parts_of(opened)


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
