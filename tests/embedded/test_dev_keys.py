"""`mfo dev` signs with the configured key, else with one of its folder's own."""

from __future__ import annotations

import secrets
from base64 import b64encode
from pathlib import Path

import pytest

from domain.errors import SettingsError
from eventstore.audit.signing import SigningKey, seed_from, shown
from mfo.dev_keys import MARKER, signing_variables


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Where a data folder's own key lies, or will."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / MARKER).touch()
    return tmp_path / "data" / "audit.key"


def new_key(file: Path | None = None) -> str:
    text = b64encode(secrets.token_bytes(32)).decode()
    if file is not None:
        file.write_text(text)
    return text


def public(file: Path) -> str:
    return shown(SigningKey(seed_from(file.read_text())).public_key)


def test_without_a_configured_one_the_folder_has_its_own(own: Path) -> None:
    told: list[str] = []
    assert signing_variables(own, told.append) == {"MFO_AUDIT_KEY_FILE": str(own)}
    made = own.read_text()
    assert own.stat().st_mode & 0o077 == 0
    assert signing_variables(own, told.append) == {"MFO_AUDIT_KEY_FILE": str(own)}
    assert (own.read_text(), len(told)) == (made, 1)


def test_a_configured_one_is_taken_from_a_file_or_the_environment(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key(tmp_path / "signer")
    monkeypatch.setenv("MFO_AUDIT_KEY_FILE", str(tmp_path / "signer"))
    assert signing_variables(own, print) == {"MFO_AUDIT_KEY_FILE": str(tmp_path / "signer")}
    assert not own.exists()
    monkeypatch.delenv("MFO_AUDIT_KEY_FILE")
    monkeypatch.setenv("MFO_AUDIT_KEY", new_key())
    assert signing_variables(own, print) == {}


def test_what_the_folders_own_key_signed_stays_known(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing_variables(own, print)
    new_key(tmp_path / "signer")
    monkeypatch.setenv("MFO_AUDIT_KEY_FILE", str(tmp_path / "signer"))
    assert signing_variables(own, print)["MFO_AUDIT_FORMER_KEYS"] == public(own)
    monkeypatch.setenv("MFO_AUDIT_FORMER_KEYS", public(tmp_path / "signer"))
    assert signing_variables(own, print)["MFO_AUDIT_FORMER_KEYS"] == f"{public(tmp_path / 'signer')},{public(own)}"
    monkeypatch.setenv("MFO_AUDIT_FORMER_KEYS", public(own))
    assert "MFO_AUDIT_FORMER_KEYS" not in signing_variables(own, print)


def test_what_mfo_env_says_of_another_folder_is_no_choice_of_a_key(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "audit.key"
    other.parent.mkdir()
    (other.parent / MARKER).touch()
    new_key(other)
    monkeypatch.setenv("MFO_AUDIT_KEY_FILE", str(other))
    assert signing_variables(own, print) == {"MFO_AUDIT_KEY_FILE": str(own)}


def test_a_wrong_one_is_refused_before_anything_starts(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFO_AUDIT_KEY", "secret")
    with pytest.raises(SettingsError, match="MFO_AUDIT_KEY must be 32 bytes in base64"):
        signing_variables(own, print)
    monkeypatch.setenv("MFO_AUDIT_KEY", "")
    monkeypatch.setenv("MFO_AUDIT_KEY_FILE", "/nowhere/key")
    with pytest.raises(SettingsError, match="MFO_AUDIT_KEY_FILE names /nowhere/key, which cannot be read"):
        signing_variables(own, print)
    monkeypatch.delenv("MFO_AUDIT_KEY_FILE")
    monkeypatch.setenv("MFO_AUDIT_POLICY", "/nowhere/audit.toml")
    with pytest.raises(SettingsError, match=r"MFO_AUDIT_POLICY names /nowhere/audit.toml, which cannot be read"):
        signing_variables(own, print)
    assert not own.exists()
