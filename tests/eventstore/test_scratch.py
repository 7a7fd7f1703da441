"""What becomes of temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from eventstore.scratch import scratch

HOLDS = """
import sys, tempfile
from eventstore.scratch import scratch
tempfile.tempdir = sys.argv[1]
with scratch("mfo-trial-") as folder:
    (folder / "rows").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_after_its_block(place: Path) -> None:
    with scratch("mfo-trial-") as folder:
        (folder / "deep").mkdir()
        assert folder.parent == place
        assert folder.name.startswith("mfo-trial-")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(place: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with scratch("mfo-trial-"), scratch("mfo-trial-"):
            assert (theirs / "rows").read_text() == "x"
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert theirs.exists()
        with scratch("mfo-other-"):
            assert theirs.exists()
        with scratch("mfo-trial-") as mine:
            assert list(place.iterdir()) == [mine]


def test_what_is_no_folder_of_ours_is_let_be(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept").write_text("x")
    (place / "mfo-trial-link").symlink_to(elsewhere)
    (place / "mfo-trial-file").write_text("x")
    with scratch("mfo-trial-"):
        assert (elsewhere / "kept").exists()
        assert (place / "mfo-trial-file").exists()
