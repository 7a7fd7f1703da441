"""The key with which `mfo dev` signs checkpoints: the configured one, else one of the data folder's own.

What is wrong with the settings of the audit trail is said before anything starts.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from mfo.embedded.processes import write_private

MARKER = ".mfo-dev"
KEY, KEY_FILE, FORMER = "MFO_AUDIT_KEY", "MFO_AUDIT_KEY_FILE", "MFO_AUDIT_FORMER_KEYS"
POLICY = "MFO_AUDIT_POLICY"


def signing_variables(own: Path, say: Callable[[str], None]) -> dict[str, str]:
    """The variables that give the services their key; `own` is the file of the folder's key, made where none is configured.

    A folder that was signed with its own key goes on with a configured one: the public half of the former is named to the
    services. Raises SettingsError where the configured key, or the file of the audit policy, is wrong.
    """
    from eventstore.audit.signing import SigningKey, seed_from, shown
    from mfo.settings import load_settings

    file = Path(os.environ.get(KEY_FILE) or own).expanduser().resolve()
    # what `mfo env` says of this or another folder is no choice of a key
    handed_on = file.name == own.name and (file.parent / MARKER).exists()
    if os.environ.get(POLICY):
        load_settings().audit_policy_config()
    if not os.environ.get(KEY) and (file == own or handed_on):
        if not own.exists():
            write_private(own, base64.b64encode(secrets.token_bytes(32)).decode())
            say(f"made a key for this folder that signs checkpoints of history: {own}")
        return {KEY_FILE: str(own)}
    configured = load_settings().audit_config()
    assert configured is not None
    given = {} if os.environ.get(KEY) else {KEY_FILE: str(file)}
    say(f"checkpoints of history are signed with the configured key, {given.get(KEY_FILE, KEY)}")
    if own.exists():
        before = SigningKey(seed_from(own.read_text(encoding="utf-8"))).public_key
        if before not in {SigningKey(configured.seed).public_key, *configured.former}:
            given[FORMER] = ",".join([*filter(None, [os.environ.get(FORMER)]), shown(before)])
    return given
