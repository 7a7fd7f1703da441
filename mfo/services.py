"""How one service is started: settings read and checked, logs and metrics set up, then the service until it is told to end."""

from __future__ import annotations

import asyncio
import gc
import importlib
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

import uvloop

from eventstore import tracing
from eventstore.broken_wires import mend_wires
from eventstore.config import ServiceConfig
from eventstore.garbage import collecting_seldom
from mfo.settings import load_settings
from mfo.telemetry import set_up

Name = Literal["api", "consumers", "projections"]


def run_service(name: Name) -> None:
    """Run one service until SIGTERM or SIGINT. Raises SettingsError where a setting is missing or wrong.

    Only the package of that service is loaded, which keeps each process small.
    """
    settings = load_settings()
    set_up(settings, service=name)
    if settings.traces_endpoint is not None:
        tracing.set_up(name, settings.traces_endpoint)
    config = settings.service_config(name)
    run: Callable[[ServiceConfig], Awaitable[None]] = importlib.import_module(f"{name}.app").run
    mend_wires()
    # what a service has loaded by now stays until its end
    gc.collect()
    gc.freeze()
    with collecting_seldom():
        uvloop.run(_until_told(run, config))


async def _until_told(run: Callable[[ServiceConfig], Awaitable[None]], config: ServiceConfig) -> None:
    work = asyncio.ensure_future(run(config))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):
        await work
