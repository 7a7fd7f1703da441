"""What an inventory costs from upload to assets: stored, read, and taken through discovery by the whole service.

A list of 60 columns, made from a seed; memory of every process is taken each second. `estate` measures the same phases alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.estate import wide_csv
from bench.flows import versions_of
from bench.overload import Memory
from bench.processor import Parts, spent
from bench.report import Figure, Report, figure
from bench.stack import whole_service
from mfo.client import Client
from mfo.running import Running

ROWS = 100_000
PATIENCE_SECONDS = 300.0
ENDS = {"completed", "failed", "cancelled", "waiting_for_input"}


async def _measured(where: Running, file: Path, rows: int) -> dict[str, Any]:
    """Seconds of each step, and what it all took; raises RuntimeError where the flow does not get to its assets."""
    found, parts = where.environment, Parts(where.pid)
    took: dict[str, float] = {}
    async with Client(where.url, found["MFO_CLIENT_ACCOUNT_ID"], found["MFO_ENGAGEMENT_ID"], "bench") as client:
        with Memory(where) as memory:
            before, began = parts.take(), time.perf_counter()
            upload = await client.upload(file)
            took["stored"] = time.perf_counter() - began
            said = await client.described(upload["import_file_id"], patience_seconds=PATIENCE_SECONDS)
            took["read"] = time.perf_counter() - began
            made = await client.create_flow(
                "discovery",
                "bench",
                initial_data={"import_file_id": upload["import_file_id"], "auto_approve_mappings": True},
                options={"auto_execute": True, "timeout_seconds": PATIENCE_SECONDS},
            )
            flow: dict[str, Any] = {}
            async with aclosing(client.follow(made["flow_id"])) as told:
                async for flow in told:
                    if flow["status"] in ENDS:
                        break
            took["assets"] = time.perf_counter() - began
            processor = spent(before, parts.take(), rows / 1000, "1,000 rows")
    if said["state"] != "readable" or said["rows"] < rows or flow["status"] != "completed":
        raise RuntimeError(
            f"{said['state']}, {said['rows']} rows, the flow is {flow['status']} in {flow['current_phase']}"
        )
    return {"seconds": took, "memory_mb": memory.figures(), "processor": processor}


def run(*, rows: int = ROWS, repeats: int = 1) -> Report:
    """One list, on a fresh service each time: the same bytes twice would be stored once."""
    runs = []
    with TemporaryDirectory(prefix="mfo-bench-import-") as folder:
        [file] = wide_csv(Path(folder), rows)
        megabytes = file.stat().st_size / 1e6
        for _ in range(repeats):
            with whole_service(MFO_FLOW_TYPES="bench.noop") as where:
                runs.append(asyncio.run(_measured(where, file, rows)))
                versions = asyncio.run(versions_of(where))
    figures: list[Figure] = [
        figure("stored", "MB/s", [megabytes / each["seconds"]["stored"] for each in runs]),
        *(
            figure(
                f"upload to {step}", "rows/s", [rows / each["seconds"][step] for each in runs], share_of="json decode"
            )
            for step in ("read", "assets")
        ),
        *(
            figure(f"peak of {part}", "MB", [each["memory_mb"][part]["most"] for each in runs])
            for part in runs[-1]["memory_mb"]
        ),
    ]
    return Report(
        f"an inventory of {rows:,} rows and 60 columns ({megabytes:.1f} MB), from upload to assets",
        figures,
        processor={"importing": runs[-1]["processor"]},
        versions=versions,
        runs=runs,
    )
