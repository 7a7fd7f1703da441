"""The whole service on a scratch folder, for as long as a measurement lasts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfo.running import Running, running

START_SECONDS = 90


@contextmanager
def whole_service(**settings: str) -> Iterator[Running]:
    """`mfo dev` with further settings; raises RuntimeError when it does not come up."""
    folder = Path(tempfile.mkdtemp(prefix="mfo-bench-"))
    root = str(Path(__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFO_")}
    environment |= {"PYTHONPATH": root, **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "mfo", "dev", "--data", str(folder), "--port", "0"],
        env=environment,
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _wait(process, folder)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> Running:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"mfo dev ended with {process.returncode}")
        found = running(folder)
        if found is not None:
            return found
        time.sleep(0.1)
    raise RuntimeError(f"mfo dev was not ready within {START_SECONDS} s")
