"""Keys that sign checkpoints: Ed25519, the private half from outside, the public halves for everybody."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import SettingsError

MAKE_ONE = "make one with: openssl rand -base64 32"


def key_id_of(public_key: bytes) -> str:
    """The name of a key: the first 16 hexadecimal digits of SHA-256 over its 32 public bytes."""
    return hashlib.sha256(public_key).hexdigest()[:16]


class SigningKey:
    """The key that signs now."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public_key)

    def sign(self, statement: bytes) -> bytes:
        """64 bytes, RFC 8032."""
        return self._key.sign(statement)


def seed_from(text: str) -> bytes:
    """The 32 bytes of a base64 text; raises SettingsError."""
    return _32_bytes(text, f"MFO_AUDIT_KEY must be 32 bytes in base64; {MAKE_ONE}")


def public_key_from(text: str) -> bytes:
    """A public key as `mfo audit keys` prints it, base64 of 32 bytes, or the file that holds it; raises SettingsError."""
    there = Path(text)
    if len(text) < 4096 and there.is_file():
        text = there.read_text()
    return _32_bytes(text, "a public key is 32 bytes in base64, as `mfo audit keys` prints it, or a file with them")


def _32_bytes(text: str, refusal: str) -> bytes:
    try:
        key = b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsError(refusal)
    return key


def shown(public_key: bytes) -> str:
    """A public key as people pass it on."""
    return b64encode(public_key).decode()


def trusted(public_keys: Iterable[bytes]) -> dict[str, bytes]:
    """Public keys by their ids."""
    return {key_id_of(key): key for key in public_keys}


def is_signed(statement: bytes, signature: bytes, key_id: str, keys: Mapping[str, bytes]) -> bool:
    """Whether one of these keys, named by its id, made the signature."""
    public = keys.get(key_id)
    if public is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)
    except InvalidSignature:
        return False
    return True
