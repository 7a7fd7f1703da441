"""`mfo audit` on the store of a running service."""

from __future__ import annotations

import sys
from pathlib import Path

from mfo.embedded.processes import wait_until
from tests.cli.support import mfo


def test_history_is_signed_verified_and_given_to_an_auditor(environment: dict[str, str], tmp_path: Path) -> None:
    made = mfo("flow", "create", "discovery", "--name", "Audited", "--json", environment=environment).document
    flow_id = made["flow_id"]

    def signed() -> bool:
        found = mfo("audit", "verify", "--no-artifacts", "--json", environment=environment).document
        return bool(found["checkpoints"] and not found["unsigned_commands"])

    assert wait_until(signed, 60, every=1.0)
    [key] = mfo("audit", "keys", "--json", environment=environment).document["keys"]
    words = ("audit", "verify", "--key", key["public_key"], "--published", "kafka", "--json")
    said = mfo(*words, environment=environment)
    assert said.code == 0, said.out
    assert (said.document["status"], said.document["trusted_by"], said.document["troubles"]) == ("holds", "caller", [])
    assert said.document["published"] == said.document["published_lines"] >= 1
    pack = tmp_path / "evidence.zip"
    told = mfo("audit", "export", flow_id, "-o", str(pack), environment=environment)
    assert "1 flow" in told.out
    offline = {"PATH": str(Path(sys.executable).parent)}
    verified = mfo("audit", "verify", str(pack), "--key", key["public_key"], "--json", environment=offline)
    assert (verified.code, verified.document["status"], verified.document["flows"]) == (0, "holds", 1)
    stranger = mfo("audit", "verify", str(pack), "--key", "A" * 43 + "=", environment=offline)
    assert stranger.code == 1
    assert "not one of yours" in stranger.out


def test_the_trail_is_listed_and_reported(environment: dict[str, str], tmp_path: Path) -> None:
    made = mfo("flow", "create", "discovery", "--name", "Listed", "--json", environment=environment).document
    flow_id = made["flow_id"]

    def entered() -> bool:
        found = mfo("audit", "list", "--flow", flow_id, "--json", environment=environment).document
        return bool(found["audit_events"])

    assert wait_until(entered, 30, every=0.5)
    listed = mfo("audit", "list", "--operation", "create", "--flow", flow_id, environment=environment)
    assert "accepted" in listed.out
    file = tmp_path / "audit.csv"
    words = ("--flow", flow_id, "--format", "csv", "-o", str(file), "--reason", "for the auditor")
    assert mfo("audit", "list", *words, environment=environment).code == 0
    assert file.read_text().startswith("audit_event_id,at,category,")
    said = mfo("audit", "report", "--flow", flow_id, environment=environment)
    assert "flow_approval" in said.out
    assert mfo("audit", "retention", "user_action", environment=environment).code == 2
    nobody = {name: value for name, value in environment.items() if name != "MFO_OPERATOR_TOKEN"}
    refused = mfo("audit", "hold", "--reason", "in court", environment=nobody)
    assert (refused.code, "operator_only" in refused.err) == (1, True)


def test_wrong_words_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    assert mfo("audit", "export", environment=environment).code == 2
    assert mfo("audit", "verify", str(tmp_path / "none.zip"), environment=environment).code == 2
    (tmp_path / "no.zip").write_text("nothing")
    words = ("audit", "verify", str(tmp_path / "no.zip"), "--key", "A" * 43 + "=")
    said = mfo(*words, environment=environment)
    assert (said.code, "pack_unreadable" in said.err) == (1, True)
    assert mfo(*words, "--published", "kafka", environment=environment).code == 2
    said = mfo("audit", "verify", "--flow", "00000000-0000-0000-0000-000000000001", environment=environment)
    assert (said.code, "flow_not_found" in said.err) == (1, True)
    said = mfo("audit", "verify", "--key", "short", environment=environment)
    assert (said.code, "32 bytes in base64" in said.err) == (1, True)
    missing = mfo("audit", "export", "00000000-0000-0000-0000-000000000001", environment=environment)
    assert (missing.code, "flow_not_found" in missing.err) == (1, True)
    said = mfo("audit", "verify", "--published", str(tmp_path / "no.zip"), environment=environment)
    assert (said.code, "copy_unreadable" in said.err) == (1, True)
