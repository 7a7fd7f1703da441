"""The service as a process of its own: large uploads, an orderly end, an address that is taken."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from api.app import run
from domain.errors import SettingsError
from mfo.embedded.processes import free_port
from tests.api.conftest import config_for, new_tenant, problem

SERVE = """
import json, sys
from api.app import serve
from eventstore.service import ServiceConfig
serve(ServiceConfig(master_key=bytes(range(32)), kafka_bootstrap="127.0.0.1:1", **json.loads(sys.argv[1])))
"""
ROOT = Path(__file__).parents[2]


@contextmanager
def process(database_url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running service and its address."""
    port = free_port()
    given = json.dumps({"database_url": database_url, "http_port": port})
    served = subprocess.Popen(
        [sys.executable, "-c", SERVE, given], cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ}
    )
    try:
        yield served, f"http://127.0.0.1:{port}"
    finally:
        if served.poll() is None:
            served.kill()
        served.wait()


async def ready(url: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"{url}/health/live")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_fifty_megabytes_do_not_fill_the_memory(shared_database_url: str) -> None:
    chunk, count = os.urandom(1 << 20), 50
    head = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head
        for n in range(count):
            yield n.to_bytes(4, "big") + chunk[4:]
        yield b"\r\n--xx--\r\n"

    expected = hashlib.sha256()
    for n in range(count):
        expected.update(n.to_bytes(4, "big") + chunk[4:])
    headers = {**new_tenant(), "Content-Type": "multipart/form-data; boundary=xx"}
    with process(shared_database_url) as (served, url):
        await ready(url)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            small = {"file": ("small.csv", b"name\n")}
            tenant = {name: headers[name] for name in headers if name.startswith("X-")}
            assert (await client.post("/api/v1/imports", files=small, headers=tenant)).status_code == 201
            before = peak_mb(served.pid)
            response = await client.post("/api/v1/imports", content=body(), headers=headers)
            after = peak_mb(served.pid)
    assert response.status_code == 201
    assert (response.json()["size_bytes"], response.json()["sha256"]) == (count << 20, expected.hexdigest())
    assert after - before < 20
    assert after < 150


def peak_mb(pid: int) -> float:
    """The most memory a process has held so far, in MiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return float(psutil.Process(pid).memory_info().rss) / 1048576
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_order_and_soon(shared_database_url: str, number: signal.Signals) -> None:
    with process(shared_database_url) as (served, url):
        await ready(url)
        async with httpx.AsyncClient(base_url=url, timeout=60, headers=new_tenant()) as client:
            made = (await client.post("/api/v1/flows", json={"flow_type": "discovery", "flow_name": "x"})).json()
            path = f"/api/v1/flows/{made['flow_id']}?min_version=9&wait_ms=60000"
            waiting = asyncio.create_task(client.get(path))
            # the answer to a later request says that the one before it is being waited for
            await client.get(f"/api/v1/flows/{made['flow_id']}?min_version=9&wait_ms=100")
            served.send_signal(number)
            problem(await waiting, 504, "read_model_behind")
        # long before the minute that the caller would have waited
        code = await asyncio.to_thread(served.wait, 30)
    assert code == 0


async def test_a_cancelled_service_ends_and_frees_its_port(shared_database_url: str) -> None:
    port = free_port()
    serving = asyncio.create_task(run(config_for(shared_database_url, http_port=port)))
    await ready(f"http://127.0.0.1:{port}")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


async def test_a_taken_port_is_named(shared_database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="MFO_HTTP_PORT"):
            await run(config_for(shared_database_url, http_port=taken.getsockname()[1]))
