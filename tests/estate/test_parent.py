"""Helping processes end with those that started them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.estate.xlsb import binary_workbook
from tests.waiting import until

ROOT = Path(__file__).parents[2]
READER = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "estate.readers.binary_child", sys.argv[1]], stdin=int(sys.argv[2]), stdout=subprocess.DEVNULL
)
print(child.pid, flush=True)
child.wait()
"""


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "gone"


def has_begun(pid: int) -> bool:
    """Its limits are set after it has asked to be ended."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return "120" in next(line for line in lines if "cpu time" in line)


async def test_a_reader_of_binary_workbooks_does_not_outlive_who_asked_for_it(tmp_path: Path) -> None:
    path = binary_workbook(tmp_path / "e.xlsb", [["Name"]])
    # it waits for its orders on a pipe that stays open
    orders, ours = os.pipe()
    try:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READER, str(path), str(orders)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            pass_fds=[orders],
        )
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        await until(lambda: has_begun(pid))
        parent.kill()
        await parent.wait()
        await until(lambda: state(pid) in ("gone", "Z", "X"))
    finally:
        os.close(orders)
        os.close(ours)
