"""`mfo legacy`: the guide, followed as it is written."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mfo.cli import run
from mfo.embedded.processes import wait_until

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "leave-the-old-system.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def test_the_guide_is_followed_as_written(
    environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    import_id = ""

    def said(command: str, code: int = 0) -> str:
        words = [word.replace("$IMPORT", import_id) for word in shlex.split(command)]
        assert words[0] == "mfo"
        assert run(words[1:]) == code, capsys.readouterr()
        return capsys.readouterr().out

    sample, dry, apply, listed, undo, again, reconcile, orphans = COMMANDS
    assert "fault" in said(sample)
    told = said(dry)
    assert "Nothing was changed" in told
    assert "moon_landing" in told
    assert "checksums equal" in said(apply)
    document: dict[str, Any] = json.loads((tmp_path / "import.json").read_text())
    assert (document["imported"], document["refused"], document["left_out"] > 10) == (document["flows"], [], True)
    import_id = document["import_id"]
    assert import_id in said(listed)
    assert "wrong wave" in said(undo)
    assert f"{document['flows']} imported" in said(again)
    # as one of those whose flows they are
    [row, *_] = [line for line in (tmp_path / "old.sql").read_text().splitlines() if "\tProgramme 1\t" in line]
    _, flow_id, account, engagement, *_ = row.split("\t")
    monkeypatch.setenv("MFO_CLIENT_ACCOUNT_ID", account)
    monkeypatch.setenv("MFO_ENGAGEMENT_ID", engagement)

    def shown() -> bool:
        if run([*shlex.split(reconcile)[1:], "--json"]) != 0:
            capsys.readouterr()
            return False
        return bool(json.loads(capsys.readouterr().out)["reconciled_flows"])

    assert wait_until(shown, 60, every=0.3)
    assert "are what their history tells" in said(reconcile)
    assert "all of it fits" in said(orphans)
    assert "Programme 1" in said(f"mfo flow status {flow_id}")
    assert "nothing to repair" in said(f"mfo legacy repair {flow_id}")
