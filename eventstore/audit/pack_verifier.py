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
"""

import base64
import hashlib
import json
import sys
import uuid
import zipfile
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]
UUIDS = {"client_account_id", "engagement_id", "flow_id"}
COLUMNS = (
    *(
        "n",
        "at",
        "client_account_id",
        "engagement_id",
        "user_id",
        "command_id",
        "command",
        "flow_id",
        "source",
        "outcome",
    ),
    *("version", "position", "error", "correlation_id", "causation_id", "expected_version", "ip_address", "user_agent"),
    "body",
)
NUMBERS = {"n", "at", "version", "position", "expected_version"}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def u64(number: int) -> bytes:
    return int(number).to_bytes(8, "big")


def verify(path: str, public_keys: list[bytes]) -> tuple[list[str], dict[str, int]]:
    """What is wrong with a pack, as sentences, and what was counted: `(troubles, counts)`; raises ValueError for no pack."""
    keys = {hashlib.sha256(key).hexdigest()[:16]: Ed25519PublicKey.from_public_bytes(key) for key in public_keys}
    try:
        with zipfile.ZipFile(path) as pack:
            names = pack.namelist()
            files = {name: pack.read(name) for name in names}
        manifest = json.loads(files.pop("manifest.json"))
        troubles = [f"{name}: there more than once" for name in sorted(set(names)) if names.count(name) > 1]
        troubles += check_files(files, manifest["files"])
        checkpoints = [json.loads(line) for line in files.get("checkpoints.ndjson", b"").splitlines()]
        events = [json.loads(line) for line in files.get("events.ndjson", b"").splitlines()]
        commands = [json.loads(line) for line in files.get("commands.ndjson", b"").splitlines()]
        signed, wrong = check_checkpoints(checkpoints, keys)
        troubles += wrong + check_chains(events) + check_commands(commands, events)
        troubles += [] if events else ["there is no event in it"]
        counts = {"flows": len({event["flow_id"] for event in events}), "events": len(events)}
        counts |= {"commands": len(commands), "checkpoints": len(signed), "unsigned": 0}
        leaves = [("events", one, event_leaf(one)) for one in events]
        leaves += [("commands", one, command_leaf(one)) for one in commands]
        for kind, one, leaf in leaves:
            if one.get("proof") is None:
                counts["unsigned"] += 1
            elif one["proof"]["client_account_id"] != manifest["client_account_id"] or not is_proven(
                leaf, one["proof"], kind, signed
            ):
                where = f"version {one['version']}" if kind == "events" else f"command {one['command_id']}"
                troubles.append(f"flow {one['flow_id']}, {where}: not in the signed checkpoint that it names")
    except (KeyError, TypeError, AttributeError, OSError, OverflowError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(f"this is no evidence pack: {type(error).__name__}: {error}") from error
    return troubles, counts


def verdict(troubles: list[str], counts: dict[str, int]) -> str:
    return "broken" if troubles else "unproven" if counts["unsigned"] else "holds"


def check_files(files: dict[str, bytes], named: dict[str, str]) -> list[str]:
    troubles = [f"{name}: not in the manifest" for name in sorted(set(files) - set(named))]
    troubles += [f"{name}: missing" for name in sorted(set(named) - set(files))]
    there = sorted(set(files) & set(named))
    return troubles + [f"{name}: changed" for name in there if sha256(files[name]).hex() != named[name]]


def check_chains(events: list[Json]) -> list[str]:
    troubles: list[str] = []
    last: dict[str, tuple[int, bytes]] = {}
    for event in events:
        flow, topic = event["flow_id"], event["topic"].encode()
        version, previous = last.get(flow, (0, bytes(32)))
        state = base64.b64decode(event["state"])
        line = b"\x01" + previous + uuid.UUID(flow).bytes + u64(event["version"]) + len(topic).to_bytes(2, "big")
        digest = sha256(line + topic + state)
        if event["version"] != version + 1:
            troubles.append(f"flow {flow}: version {event['version']} follows {version}")
        elif digest.hex() != event["hash"]:
            troubles.append(f"flow {flow}, version {event['version']}: changed")
        last[flow] = event["version"], bytes.fromhex(event["hash"])
    return troubles


def check_commands(commands: list[Json], events: list[Json]) -> list[str]:
    there = {(event["flow_id"], event["version"]) for event in events}
    return [
        f"flow {one['flow_id']}: version {one['version']} is missing, though command {one['command_id']} was accepted with it"
        for one in commands
        if one["outcome"] == "accepted"
        and one["position"] is not None
        and (one["flow_id"], one["version"]) not in there
    ]


def check_checkpoints(checkpoints: list[Json], keys: dict[str, Ed25519PublicKey]) -> tuple[dict[Any, Json], list[str]]:
    signed: dict[Any, Json] = {}
    digests: dict[Any, str] = {}
    troubles: list[str] = []
    for one in checkpoints:
        statement = one["statement"].encode()
        said = json.loads(statement)
        name = (said["client_account_id"], said["number"])
        digests[name] = sha256(statement).hex()
        former = digests.get((name[0], name[1] - 1))
        if one["key_id"] not in keys:
            troubles.append(f"checkpoint {name[1]}: signed by the key {one['key_id']}, which is not one of yours")
            continue
        try:
            keys[one["key_id"]].verify(bytes.fromhex(one["signature"]), statement)
        except InvalidSignature:
            troubles.append(f"checkpoint {name[1]}: its signature does not hold")
            continue
        if former is None and len(digests) > 1:
            troubles.append(f"checkpoint {name[1]}: the one before it is missing")
        elif former is not None and said["previous"] != former:
            troubles.append(f"checkpoint {name[1]}: it does not follow the one before")
        signed[name] = said
    return signed, troubles


def event_leaf(event: Json) -> bytes:
    return b"event" + uuid.UUID(event["flow_id"]).bytes + u64(event["version"]) + bytes.fromhex(event["hash"])


def command_leaf(command: Json) -> bytes:
    digest = hashlib.sha256()
    for name in COLUMNS:
        data = column(name, command[name])
        digest.update(b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4, "big") + data)
    return b"command" + u64(command["n"]) + digest.digest()


def column(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    if name in UUIDS:
        return uuid.UUID(value).bytes
    if name in NUMBERS:
        return int(value).to_bytes(8, "big", signed=True)
    return base64.b64decode(value) if name == "body" else str(value).encode()


def is_proven(leaf: bytes, proof: Json, kind: str, signed: dict[Any, Json]) -> bool:
    said = signed.get((proof["client_account_id"], proof["checkpoint"]))
    if said is None or not 0 <= proof["index"] < said[kind]["count"]:
        return False
    digest, place, last, path = sha256(b"\x00" + leaf), proof["index"], said[kind]["count"] - 1, list(proof["path"])
    while last:
        if place % 2 or place < last:
            if not path:
                return False
            other = bytes.fromhex(path.pop(0))
            digest = sha256(b"\x01" + other + digest) if place % 2 else sha256(b"\x01" + digest + other)
        place, last = place // 2, last // 2
    return not path and digest.hex() == str(said[kind]["root"])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    found, seen = verify(sys.argv[1], [base64.b64decode(text) for text in sys.argv[2:]])
    print(*found, f"{verdict(found, seen)}: {json.dumps(seen)}", sep="\n")
    sys.exit(verdict(found, seen) != "holds")
