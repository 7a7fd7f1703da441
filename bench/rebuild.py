"""How fast a read model is made anew, alone and while commands go on, and how fast it is verified.

A PostgreSQL of its own with the real history of discovery flows that are done. The first filling has nothing to be compared
with; the second is compared row by row; the third, too, while commands are sent at a fixed rate. Nobody follows the log
beside it, so what is sent comes into the read model by the swap alone, and the last verification says that all of it did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Event
from typing import Any

from bench.history import ask, create, load
from bench.processor import Parts, spent
from bench.report import Report, figure
from bench.store import own_store
from domain.commands import CancelFlow
from eventstore.service import ServiceConfig, write_side
from projections.rebuild import rebuild
from projections.verifying import verify

NAME = "crewai_flow_state_extensions"
FLOWS = 50_000
A_SECOND = 1000
LEAST_EVENTS_PER_SECOND = 50_000
TICK_SECONDS = 0.01
IN_FLIGHT = 500


async def write(config: ServiceConfig, a_second: int, done: Callable[[], bool]) -> tuple[int, float]:
    """Make flows, and cancel each second one, at a fixed rate or as fast as it goes; answers commands and seconds."""
    answered, tasks = 0, set[asyncio.Task[None]]()

    async def one(n: int) -> None:
        nonlocal answered
        command = create(f"late {n}") if n % 2 == 0 else CancelFlow(flow_id=create(f"late {n - 1}").flow_id)
        await ask(side, command, f"late {n}")
        answered += 1

    async with write_side(config) as side:
        sent, began = 0, time.perf_counter()
        while not done():
            while sent < int((time.perf_counter() - began) * a_second) and len(tasks) < IN_FLIGHT:
                task = asyncio.create_task(one(sent))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*tasks)
        return answered, time.perf_counter() - began


def write_here(config: ServiceConfig, a_second: int, stop: Event) -> tuple[int, float]:
    """As `write`, in a process of its own, until `stop` is set."""
    return asyncio.run(write(config, a_second, stop.is_set))


async def _measured(config: ServiceConfig, flows: int, a_second: int) -> dict[str, Any]:
    began = time.perf_counter()
    events = await load(config, flows)
    figures: dict[str, Any] = {"flows": flows, "events": events, "load_seconds": round(time.perf_counter() - began, 1)}
    parts, taken = Parts(), [Parts().take()]
    figures["first"] = _rebuilt(await rebuild(config, NAME, said=_quiet))
    taken.append(parts.take())
    figures["compared"] = _rebuilt(await rebuild(config, NAME, said=_quiet))
    taken.append(parts.take())
    report = await verify(config, NAME, said=_quiet)
    taken.append(parts.take())
    figures["processor"] = {
        name: spent(before, after, events / 1000, "1,000 events")
        for name, before, after in zip(("first", "compared", "verify"), taken, taken[1:], strict=False)
    }
    figures["verify"] = {name: report[name] for name in ("seconds", "rows", "rows_per_second", "equal")}
    figures["verify"]["events_per_second"] = round(events / report["seconds"])
    context = get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        stop = manager.Event()
        writing = asyncio.get_running_loop().run_in_executor(pool, write_here, config, a_second, stop)
        report = await rebuild(config, NAME, said=_quiet)
        stop.set()
        commands, seconds = await writing
    figures["while written"] = _rebuilt(report) | {
        "commands": commands,
        "commands_per_second": round(commands / seconds),
        "missing": (await verify(config, NAME, said=_quiet))["different"],
    }
    return figures


def _rebuilt(report: dict[str, Any]) -> dict[str, Any]:
    compared = report.get("compared") or {}
    return {
        "seconds": report["seconds"],
        "fill_events_per_second": report["events_per_second"],
        "events_per_second": round(report["events"] / report["seconds"]),
        "rows_compared": compared.get("rows", 0),
        "different": compared.get("different", 0),
        "held_ms": report["held_ms"],
    }


def _quiet(_: str) -> None:
    """Figures are told at the end."""


def run(*, flows: int = FLOWS, a_second: int = A_SECOND) -> Report:
    """The figures on a PostgreSQL of its own."""
    with own_store() as store:
        found = asyncio.run(_measured(store.config, flows, a_second))
    figures = []
    for name in ("first", "compared", "while written"):
        each = found[name]
        figures += [
            figure(
                f"rebuild, {name}",
                "events/s",
                each["events_per_second"],
                at_least=LEAST_EVENTS_PER_SECOND if name == "compared" else None,
                share_of="json decode",
            ),
            figure(f"flows that differ, {name}", "flows", each["different"], at_most=0),
            figure(f"readers held up by the swap, {name}", "ms", each["held_ms"]),
        ]
    figures += [
        figure("verify", "events/s", found["verify"]["events_per_second"], share_of="json decode"),
        *(
            figure(f"{name}, processor", "ms/1,000 events", each["total_ms"], share_of="json decode", units=1000)
            for name, each in found["processor"].items()
        ),
        figure("lost while written", "flows", found["while written"]["missing"], at_most=0),
    ]
    return Report(
        f"the read model of {found['events']:,} events of {flows:,} flows, made anew and verified",
        figures,
        processor=found.pop("processor"),
        versions=store.versions,
        runs=[found],
    )
