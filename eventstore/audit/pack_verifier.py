#!/usr/bin/env python3
"""Verifies an evidence pack of the Master Flow Orchestrator, offline: python pack_verifier.py PACK.zip PUBLIC_KEY...

Needs Python 3.11 and the package `cryptography`, and nothing of the service. PUBLIC_KEY is what you were given by a way that you
trust, base64 of 32 bytes; keys inside the pack are labels and prove nothing. What is checked:
1. every file is the one that the manifest names, and nothing else is there;
2. each flow's events follow one another: versions 1, 2, ... and
   hash = SHA-256(0x01 | previous hash | flow id | version | len(topic) | topic | state), zeros before the first;
3. checkpoints are signed (Ed25519) by one of your keys, and each but the first names the SHA-256 of the one before, which is here;
4. every event and command lies in a signed Merkle tree (RFC 6962) of the account that the pack is about; those that have no
   proof are counted, and a pack with any of them is `unproven`: it may have been exported too early, or they were made up;
5. the last event that each accepted command brought about is there.
It cannot be seen from a pack that its maker left out commands, or the newest events together with their commands.
It is read line by line; what unpacks to over 1 GiB and 200 times its size is refused; after 1,000 troubles it stops.
"""

import json
import sys
import zipfile
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]
Signed = dict[tuple[str, str, int], tuple[int, str]]
MOST_TROUBLES, MOST_FLOWS, LONGEST_LINE, MOST_BYTES, MOST_TIMES = 1000, 10_000, 96 << 20, 1 << 30, 200
COLUMNS = """n at client_account_id engagement_id user_id command_id command flow_id source outcome version position error
correlation_id causation_id expected_version ip_address user_agent body"""


def verify(path: str, public_keys: list[bytes]) -> tuple[list[str], dict[str, int]]:
    """What is wrong with a pack, as sentences, and what was counted: `(troubles, counts)`; raises ValueError for no pack."""
    keys = {sha256(key).hexdigest()[:16]: Ed25519PublicKey.from_public_bytes(key) for key in public_keys}
    counts = dict.fromkeys(("flows", "events", "commands", "checkpoints", "unsigned"), 0)
    try:
        with zipfile.ZipFile(path) as pack:
            if sum(one.file_size for one in pack.infolist()) > max(MOST_BYTES, MOST_TIMES * Path(path).stat().st_size):
                raise ValueError("it unpacks to far more than it is")
            return list(islice(troubles_of(pack, keys, counts), MOST_TROUBLES)), counts
    except Exception as error:
        raise ValueError(f"this is no evidence pack: {type(error).__name__}: {error}") from error


def verdict(troubles: list[str], counts: dict[str, int]) -> str:
    return "broken" if troubles else "unproven" if counts["unsigned"] else "holds"


def troubles_of(pack: zipfile.ZipFile, keys: dict[str, Ed25519PublicKey], counts: dict[str, int]) -> Iterator[str]:
    manifest, there = next(rows(pack, "manifest.json")), Counter(pack.namelist())
    named = manifest["files"]
    yield from (f"{name}: there more than once" for name in sorted(there) if there[name] > 1)
    yield from (f"{name}: not in the manifest" for name in sorted(set(there) - set(named) - {"manifest.json"}))
    yield from (f"{name}: missing" for name in sorted(set(named) - set(there)))
    for name in sorted(set(named) & set(there)):
        with pack.open(name) as file:
            if file_digest(file, "sha256").hexdigest() != named[name]:  # type: ignore[arg-type]
                yield f"{name}: changed"
    signed: Signed = {}
    heads: dict[str, tuple[int, bytes]] = {}
    yield from check_checkpoints(rows(pack, "checkpoints.ndjson"), keys, signed)
    for kind, check in (("events", check_event), ("commands", check_command)):
        for one in rows(pack, f"{kind}.ndjson"):
            counts[kind] += 1
            yield from check(one, heads)
            if one.get("proof") is None:
                counts["unsigned"] += 1
            elif not is_proven(kind, one, manifest["client_account_id"], signed):
                where = f"version {one['version']}" if kind == "events" else f"command {one['command_id']}"
                yield f"flow {one['flow_id']}, {where}: not in the signed checkpoint that it names"
    counts["flows"], counts["checkpoints"] = len(heads), len(signed) // 2
    if not heads:
        yield "there is no event in it"


def rows(pack: zipfile.ZipFile, name: str) -> Iterator[Json]:
    if name in pack.namelist():
        with pack.open(name) as file:
            while line := file.readline(LONGEST_LINE):
                yield json.loads(line)


def check_checkpoints(checkpoints: Iterator[Json], keys: dict[str, Ed25519PublicKey], signed: Signed) -> Iterator[str]:
    former: tuple[str, int, str] | None = None
    for one in checkpoints:
        statement = one["statement"].encode()
        said = json.loads(statement)
        account, number, before = said["client_account_id"], said["number"], former
        former = account, number, sha256(statement).hexdigest()
        if one["key_id"] not in keys:
            yield f"checkpoint {number}: signed by the key {one['key_id']}, which is not one of yours"
            continue
        try:
            keys[one["key_id"]].verify(bytes.fromhex(one["signature"]), statement)
        except InvalidSignature:
            yield f"checkpoint {number}: its signature does not hold"
            continue
        if before and before[:2] != (account, number - 1):
            yield f"checkpoint {number}: the one before it is missing"
        elif before and before[2] != said["previous"]:
            yield f"checkpoint {number}: it does not follow the one before"
        for kind in ("events", "commands"):
            signed[kind, account, number] = said[kind]["count"], said[kind]["root"]


def check_event(event: Json, heads: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    flow, version, topic = event["flow_id"], event["version"], event["topic"].encode()
    former, previous = heads.get(flow, (0, bytes(32)))
    line = b"\x01" + previous + UUID(flow).bytes + version.to_bytes(8, "big") + len(topic).to_bytes(2, "big") + topic
    if version != former + 1:
        yield f"flow {flow}: version {version} follows {former}"
    elif sha256(line + b64decode(event["state"])).hexdigest() != event["hash"]:
        yield f"flow {flow}, version {version}: changed"
    heads[flow] = version, bytes.fromhex(event["hash"])
    if len(heads) > MOST_FLOWS:
        raise ValueError(f"it has more than {MOST_FLOWS} flows")


def check_command(one: Json, heads: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    last = one["version"] if one["outcome"] == "accepted" and one["position"] is not None else 0
    if last > heads.get(one["flow_id"], (0, b""))[0]:
        yield f"flow {one['flow_id']}: version {last} is missing, though command {one['command_id']} was accepted with it"


def is_proven(kind: str, one: Json, account: str, signed: Signed) -> bool:
    proof, digest = one["proof"], sha256(b"\x00" + leaf(kind, one)).digest()
    count, root = signed.get((kind, account, proof["checkpoint"]), (0, ""))
    place, last = proof["index"], count - 1
    if proof["client_account_id"] != account or not 0 <= place <= last:
        return False
    for other in map(bytes.fromhex, proof["path"]):
        if not last:
            return False
        is_right = place % 2 or place == last
        digest = sha256(b"\x01" + (other + digest if is_right else digest + other)).digest()
        while is_right and place and not place % 2:
            place, last = place // 2, last // 2
        place, last = place // 2, last // 2
    return not last and digest.hex() == root


def leaf(kind: str, one: Json) -> bytes:
    if kind == "events":
        place = UUID(one["flow_id"]).bytes + int(one["version"]).to_bytes(8, "big")
        return b"event" + place + bytes.fromhex(one["hash"])
    digest = sha256()
    for name in COLUMNS.split():
        value = one[name]
        if value is None:
            digest.update(b"\xff\xff\xff\xff")
            continue
        if name in {"n", "at", "version", "position", "expected_version"}:
            data = value.to_bytes(8, "big", signed=True)
        elif name in {"client_account_id", "engagement_id", "flow_id"}:
            data = UUID(value).bytes
        else:
            data = b64decode(value) if name == "body" else value.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return b"command" + int(one["n"]).to_bytes(8, "big") + digest.digest()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    found, seen = verify(sys.argv[1], [b64decode(text) for text in sys.argv[2:]])
    print(*found, f"{verdict(found, seen)}: {json.dumps(seen)}", sep="\n")
    sys.exit(verdict(found, seen) != "holds")
