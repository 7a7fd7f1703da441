"""Sensitive values, encrypted with a key per client account before anything is kept.

Each account's keys lie in `tenant_keys`, wrapped by a master key that is given from outside; erasing an account's keys
makes its sealed values unreadable for ever and breaks no hash, because hashes are taken over the sealed form.
A sealed value is `{"$sealed": {"alg": "AES-256-GCM", "key": <key id>, "nonce": <base64>, "data": <base64>}}`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from typing import Any
from uuid import UUID, uuid4

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg_pool import AsyncConnectionPool

from domain.errors import MfoError, SettingsError
from domain.words import SEALED, SENSITIVE_KEYS
from eventstore.database import Connection

ALGORITHM = "AES-256-GCM"
_suspicious = re.compile("|".join(f'"{key}"' for key in sorted(SENSITIVE_KEYS)).encode(), re.IGNORECASE)


class KeyMissing(MfoError):
    """The key that sealed this value is gone or is not ours; the value cannot be read."""

    code = "key_missing"


def master_key_from(text: str) -> bytes:
    """The 32 bytes of a base64 text; raises SettingsError."""
    try:
        key = b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError("MFO_MASTER_KEY must be 32 bytes in base64; make one with: openssl rand -base64 32")
    return key


class Keyring:
    """The keys of every client account, fetched and made as they are needed."""

    def __init__(self, master_key: bytes, pool: AsyncConnectionPool[Connection]) -> None:
        self._master = AESGCM(master_key)
        self._digest_secret = hmac.new(master_key, b"body-hash", hashlib.sha256).digest()
        self._pool = pool
        self._current: dict[UUID, tuple[UUID, bytes]] = {}
        self._known: dict[tuple[UUID, UUID], bytes] = {}

    async def check(self) -> None:
        """Unwrap one kept key, so that a wrong master key is found at start; raises SettingsError."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("select client_account_id, key_id, wrapped from tenant_keys limit 1")
            row = await cursor.fetchone()
        if row is not None:
            self._unwrap(row[0], row[1], row[2])

    async def seal(self, client_account_id: UUID, value: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """`value` with its sensitive parts sealed, and the same with them replaced by a keyed hash.

        The second form serves to compare two bodies without keeping what is in them. Both are `value` itself when
        nothing in it is sensitive.
        """
        if not is_suspicious(msgspec.json.encode(value)):
            return value, value
        key_id, key = await self._key(client_account_id)
        cipher, account = AESGCM(key), client_account_id.bytes

        def sealed(inner: Any) -> Any:
            nonce = os.urandom(12)
            data = cipher.encrypt(nonce, msgspec.json.encode(inner), account)
            return {SEALED: {"alg": ALGORITHM, "key": str(key_id), "nonce": _text(nonce), "data": _text(data)}}

        def digest(inner: Any) -> Any:
            return hmac.new(self._digest_key(account), msgspec.json.encode(inner, order="sorted"), "sha256").hexdigest()

        return _walk(value, sealed), _walk(value, digest)

    async def unseal(self, client_account_id: UUID, value: Any) -> Any:
        """`value` with every sealed part in clear again; raises KeyMissing."""
        sealed: list[Any] = []
        copy = _copied(value, sealed)
        return await self._opened(client_account_id, value) if sealed else copy

    async def _opened(self, client_account_id: UUID, value: Any) -> Any:
        if isinstance(value, list):
            return [await self._opened(client_account_id, inner) for inner in value]
        if not isinstance(value, dict):
            return value
        box = value.get(SEALED)
        if isinstance(box, dict) and len(value) == 1:
            key = await self._key_by_id(client_account_id, UUID(box["key"]))
            try:
                opened = AESGCM(key).decrypt(b64decode(box["nonce"]), b64decode(box["data"]), client_account_id.bytes)
            except InvalidTag:
                raise KeyMissing from None
            return msgspec.json.decode(opened)
        return {name: await self._opened(client_account_id, inner) for name, inner in value.items()}

    def _digest_key(self, account: bytes) -> bytes:
        return hmac.new(self._digest_secret, account, hashlib.sha256).digest()

    async def _key(self, client_account_id: UUID) -> tuple[UUID, bytes]:
        known = self._current.get(client_account_id)
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            select = "select key_id, wrapped from tenant_keys where client_account_id = %s order by created_at, key_id limit 1"
            row = await (await connection.execute(select, (client_account_id,))).fetchone()
            if row is None:
                key_id, key = uuid4(), AESGCM.generate_key(256)
                nonce = os.urandom(12)
                wrapped = nonce + self._master.encrypt(nonce, key, client_account_id.bytes + key_id.bytes)
                # two processes may make the first key at once; both then use the one that is older
                await connection.execute(
                    "insert into tenant_keys (client_account_id, key_id, wrapped, created_at)"
                    " select %s, %s, %s, mfo_now() where not exists"
                    " (select from tenant_keys where client_account_id = %s)",
                    (client_account_id, key_id, wrapped, client_account_id),
                )
                row = await (await connection.execute(select, (client_account_id,))).fetchone()
        assert row is not None
        key = self._unwrap(client_account_id, row[0], row[1])
        self._current[client_account_id] = (row[0], key)
        return row[0], key

    async def _key_by_id(self, client_account_id: UUID, key_id: UUID) -> bytes:
        known = self._known.get((client_account_id, key_id))
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "select wrapped from tenant_keys where client_account_id = %s and key_id = %s",
                (client_account_id, key_id),
            )
            row = await cursor.fetchone()
        if row is None:
            raise KeyMissing
        return self._unwrap(client_account_id, key_id, row[0])

    def _unwrap(self, client_account_id: UUID, key_id: UUID, wrapped: bytes) -> bytes:
        try:
            key = self._master.decrypt(wrapped[:12], wrapped[12:], client_account_id.bytes + key_id.bytes)
        except InvalidTag:
            raise SettingsError("MFO_MASTER_KEY is not the key that this store was made with") from None
        self._known[client_account_id, key_id] = key
        return key


def is_suspicious(written: bytes) -> bool:
    """Whether there may be a sensitive value in this JSON."""
    return _suspicious.search(written) is not None


def _walk(value: Any, replace: Any) -> Any:
    if isinstance(value, list):
        return [_walk(inner, replace) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: replace(inner)
        if name.lower() in SENSITIVE_KEYS and inner is not None and not _is_sealed(inner)
        else _walk(inner, replace)
        for name, inner in value.items()
    }


def _copied(value: Any, sealed: list[Any]) -> Any:
    """A copy of a JSON value; its sealed parts are put on the list."""
    if isinstance(value, dict):
        if SEALED in value:
            sealed.append(value)
        return {name: _copied(inner, sealed) for name, inner in value.items()}
    return [_copied(inner, sealed) for inner in value] if isinstance(value, list) else value


def _is_sealed(value: Any) -> bool:
    box = value.get(SEALED) if isinstance(value, dict) and len(value) == 1 else None
    return isinstance(box, dict) and set(box) == {"alg", "key", "nonce", "data"}


def _text(data: bytes) -> str:
    return b64encode(data).decode()
