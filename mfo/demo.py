"""`make demo`: an estate is discovered before your eyes, by the whole system, on a real PostgreSQL and a real Kafka."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from rich.console import Console
from rich.live import Live
from rich.table import Table

from domain.errors import MfoError
from domain.words import Status
from eventstore.config import Topics
from mfo.client import Client
from mfo.commands.flows import RESTING, phase_line, phase_message, reason_of
from mfo.commands.output import facts, seconds, sentence, table
from mfo.running import Running, command, running
from mfo.shown import Found, Shown, suggestions

Json = dict[str, Any]

SERVERS = 500
GONE, GROWN, NEW = 10, 5, 2
REPORT = Path("build") / "demo-report.html"
START_SECONDS = 180.0
STOP_SECONDS = 15.0
ENDS = frozenset({"FlowCompleted", "FlowFailed", "FlowCancelled"})


class DemoFailed(MfoError):
    """The demo could not be shown to its end."""

    code = "demo_failed"


@dataclass(slots=True)
class Step:
    """One thing the demo did, and how long it took in seconds."""

    name: str
    seconds: float


@dataclass(slots=True)
class Heard:
    """One event as a subscriber of Kafka got it; `late_ms` is the time from its commit to us, in milliseconds."""

    version: int
    name: str
    phase: str | None
    late_ms: float


@dataclass(slots=True)
class Subscriber:
    """Somebody who only reads `mfo.events.v1`."""

    consumer: AIOKafkaConsumer
    heard: dict[str, list[Heard]] = field(default_factory=dict)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)

    async def listen(self) -> None:
        """Notes every event of every flow, repeats dropped, until cancelled."""
        record: ConsumerRecord[bytes, bytes]
        async for record in self.consumer:
            headers = {name: value.decode() for name, value in record.headers}
            subject, version = headers["ce_subject"], int(headers["ce_sequence"])
            events = self.heard.setdefault(subject, [])
            if events and version <= events[-1].version:
                continue
            name = headers["ce_type"].split(".")[2]
            data = json.loads(record.value or b"{}")
            late = datetime.now(UTC) - datetime.fromisoformat(headers["ce_time"])
            events.append(Heard(version, name, data.get("phase_name"), late.total_seconds() * 1000))
            if name in ENDS:
                self.ended.setdefault(subject, asyncio.Event()).set()

    async def until_end_of(self, flow_id: str, at_most: float = 10.0) -> list[Heard]:
        """What was heard of the flow, once its last event is there."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.setdefault(flow_id, asyncio.Event()).wait(), at_most)
        return self.heard.get(flow_id, [])


class Demo:
    """One showing: start, discover, report, discover again, and end everything that was started.

    The report is written to `report`. With `again` the same files are discovered a second time, to show what has changed;
    of the made-up estate a later state is discovered, always.
    """

    def __init__(self, files: Sequence[Path], *, keep: bool, again: bool, report: Path, console: Console) -> None:
        self.files = list(files)
        self.keep = keep
        self.again = again
        self.report = report
        self.console = console
        self.shown = Shown(console)
        self.steps: list[Step] = []
        self._began = time.monotonic()

    async def show(self) -> bool:
        """Whether the flow completed. Raises MfoError where something failed on the way."""
        scratch = Path(tempfile.mkdtemp(prefix="mfo-demo-"))
        try:
            return await self._show(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    async def _show(self, scratch: Path) -> bool:
        making = asyncio.create_task(asyncio.to_thread(self._inventory, scratch))
        try:
            async with AsyncExitStack() as stack:
                with self._step("start of everything"):
                    note = await stack.enter_async_context(_dev(scratch / "data", self._say))
                self._say(f"ready at {note.url}: PostgreSQL {note.postgres}, Kafka {note.kafka_reason}")
                completed = await self._show_all(note, await making)
                if self.keep:
                    await self._stay(note)
        finally:
            making.cancel()
        self._say(f"everything is stopped, {time.monotonic() - self._began:.1f} s in all")
        return completed

    def _inventory(self, scratch: Path) -> list[list[Path]]:
        """The files of the first discovery, and those of the second where there is one."""
        if self.files:
            return [self.files] * (1 + self.again)
        # the libraries that write workbooks load slowly; nothing else here needs them
        from estate.sample import write_sample

        sample = scratch / f"estate-of-{SERVERS}-servers.xlsx"
        later = scratch / f"{sample.stem}-half-a-year-later.xlsx"
        with self._step("made-up inventories"):
            write_sample(sample, servers=SERVERS)
            _half_a_year_later(sample, later)
        return [[sample], [later]]

    async def _show_all(self, note: Running, estates: Sequence[Sequence[Path]]) -> bool:
        told = note.environment
        tenant = (told["MFO_CLIENT_ACCOUNT_ID"], told["MFO_ENGAGEMENT_ID"], told["MFO_USER_ID"])
        async with _subscriber(note.kafka_bootstrap) as subscriber, Client(note.url, *tenant) as client:
            first, *later = estates
            found = await self._discover(client, first)
            if found is None:
                return False
            heard = await subscriber.until_end_of(found.flow["flow_id"])
            self._environment(note, first, found)
            self.shown.all_of(found)
            with self._step("report"):
                await self._write_report(client, found)
            for files in later:
                second = await self._discover(client, files, "second ")
                if second is None:
                    return False
                self.shown.changed(second)
        self._history(heard)
        self._times(found.flow)
        return True

    async def _discover(self, client: Client, files: Sequence[Path], which: str = "") -> Found | None:
        """What a discovery of the files found; none where it did not complete, which was told then. `which` one of several
        it is stands before its steps."""
        with self._step(f"{which}upload"):
            uploads = [await client.upload(file) for file in files]
        for upload in uploads:
            self._say(f"uploaded {upload['filename']} ({upload['size_bytes']} bytes)")
        ids = [upload["import_file_id"] for upload in uploads]
        with self._step(f"{which}flow, from its creation to its end"):
            created = await client.create_flow(
                "discovery",
                f"Demo: {', '.join(file.name for file in files)}"[:255],
                initial_data={
                    **({"import_file_id": ids[0]} if len(ids) == 1 else {"import_file_ids": ids}),
                    "auto_approve_mappings": True,
                },
                options={"auto_execute": True},
            )
            status = await self._watch(client, created)
        if status["status"] != Status.COMPLETED:
            self._say(reason_of(status))
            suggestions(status, self._say)
            return None
        with self._step(f"{which}reading of the result"):
            return await _found(client, status, ids)

    async def _write_report(self, client: Client, found: Found) -> None:
        self.report.parent.mkdir(parents=True, exist_ok=True)
        written = await client.report(found.flow["flow_id"], "html", self.report)
        self.shown.head("Report")
        self._print(f"{self.report.resolve()} ({written['size_bytes']} bytes): open it in a browser")

    async def _watch(self, client: Client, created: Json) -> Json:
        status: Json = {}
        async with aclosing(client.follow(created["flow_id"], min_version=int(created["version"]))) as changes:
            with self._phases() as show_status:
                async for status in changes:
                    show_status(status)
                    if status["status"] in RESTING:
                        break
        return status

    @contextmanager
    def _phases(self) -> Iterator[Callable[[Json], None]]:
        """Shows phases as they happen: a live table on a terminal, a line for each change otherwise."""
        if not self.console.is_terminal:
            seen: dict[str, str] = {}

            def lines(status: Json) -> None:
                for phase in status["phases"]:
                    if phase["status"] not in {"pending", seen.get(phase["name"])}:
                        seen[phase["name"]] = phase["status"]
                        self._say(phase_line(phase))

            yield lines
            return
        with Live(console=self.console, refresh_per_second=10) as live:
            yield lambda status: live.update(_live_table(status))

    async def _stay(self, note: Running) -> None:
        self._print(
            "",
            f"It stays up until Ctrl-C: {note.url}  (documentation: {note.url}/docs)",
            f'  eval "$({command()} env --data {shlex.quote(note.data)})"',
            '  psql "$MFO_DATABASE_URL" -c "select flow_name, flow_status from crewai_flow_state_extensions"',
            '  kcat -b "$MFO_KAFKA_BOOTSTRAP" -t mfo.events.v1 -C -e',
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()

    def _environment(self, note: Running, files: Sequence[Path], found: Found) -> None:
        self.shown.head("What it ran on")
        self._print(
            facts(
                {
                    "PostgreSQL": note.postgres,
                    "Kafka": f"{note.kafka_reason}, at {note.kafka_bootstrap}",
                    "input": ", ".join(str(file) for file in files),
                    "flow": found.flow["flow_id"],
                }
            )
        )

    def _history(self, heard: Sequence[Heard]) -> None:
        self.shown.head(f"The flow's history, as a Kafka subscriber saw it ({len(heard)} events)")
        rows = [[event.version, event.name, event.phase, f"{event.late_ms:.0f} ms"] for event in heard]
        self._print(table(["version", "event", "phase", "after its commit"], rows))

    def _times(self, flow: Json) -> None:
        self.shown.head("How long it took")
        rows = [[phase["name"], seconds(phase["execution_time_ms"])] for phase in flow["phases"]]
        rows += [[step.name, seconds(step.seconds * 1000)] for step in self.steps]
        self._print(table(["step", "took"], rows))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(name, time.monotonic() - began))

    def _print(self, *lines: str) -> None:
        self.shown.lines(*lines)

    def _say(self, text: str) -> None:
        self._print(f"{time.monotonic() - self._began:5.1f} s  {text}")


def _half_a_year_later(before: Path, after: Path) -> None:
    """Write the made-up estate as it is later: of its application servers some are gone, some have twice the memory, and
    copies of two have come."""
    import openpyxl

    book: Any = openpyxl.load_workbook(before)
    header = [cell.value for cell in book["vInfo"][1]]
    at = {name: header.index(name) for name in ("VM", "DNS Name", "VM UUID", "Primary IP Address")}
    rows = [[cell.value for cell in row] for row in book["vInfo"].iter_rows(min_row=2)]
    plain = [str(row[at["VM"]]) for row in rows if "-app" in str(row[at["VM"]]) and str(row[at["VM"]]).islower()]
    names = list(dict.fromkeys(name.strip() for name in plain if "." not in name))
    gone, grown, copied = set(names[:GONE]), set(names[GONE : GONE + GROWN]), names[-NEW:]
    for sheet in book:
        columns = {cell.value: cell.column for cell in sheet[1]}
        name_in = columns.get("VM")
        size_in = columns.get("Memory") or columns.get("Size MiB")
        if name_in is None:
            continue
        for row in range(sheet.max_row, 1, -1):
            name = str(sheet.cell(row, name_in).value or "").strip().lower().partition(".")[0]
            if name in gone:
                sheet.delete_rows(row)
            elif name in grown and size_in is not None:
                size = str(sheet.cell(row, size_in).value).replace(",", "")
                sheet.cell(row, size_in).value = int(size) * 2 if size.isdigit() else None
    for number, name in enumerate(copied, 1):
        copy = next(list(each) for each in rows if str(each[at["VM"]]).strip() == name)
        new = f"{name}-new{number}"
        copy[at["VM"]], copy[at["DNS Name"]] = new, f"{new}.corp.example"
        copy[at["VM UUID"]], copy[at["Primary IP Address"]] = str(uuid5(NAMESPACE_DNS, new)), f"10.99.0.{number}"
        book["vInfo"].append(copy)
    book.save(after)


@asynccontextmanager
async def _dev(data: Path, say: Callable[[str], None]) -> AsyncIterator[Running]:
    """A `mfo dev` of our own, ready; ended with the block, PostgreSQL and Kafka with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MFO_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mfo", "dev", "--data", str(data), "--port", "0", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        # a Ctrl-C is ours alone: we end it in good order
        start_new_session=True,
    )
    telling = asyncio.create_task(_pass_on(process.stderr, say))
    try:
        try:
            await asyncio.wait_for(_document(process.stdout), START_SECONDS)
        except TimeoutError:
            raise DemoFailed(f"mfo dev was not ready after {START_SECONDS:.0f} s") from None
        note = running(data)
        if note is None:
            await telling
            raise DemoFailed("mfo dev could not be started; what it said is above")
        yield note
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


async def _document(stream: asyncio.StreamReader | None) -> None:
    """Waits for the JSON document that says that it is ready, or for the end of the stream."""
    text = b""
    while stream is not None and (line := await stream.readline()):
        text += line
        with contextlib.suppress(ValueError):
            json.loads(text)
            return


async def _pass_on(stream: asyncio.StreamReader | None, say: Callable[[str], None]) -> None:
    while stream is not None and (line := await stream.readline()):
        text = line.decode(errors="replace").rstrip()
        # its own clock is left out, ours is in front
        say("mfo dev: " + text.partition(" s  ")[2] if " s  " in text[:12] else f"mfo dev: {text}")


@asynccontextmanager
async def _subscriber(bootstrap: str) -> AsyncIterator[Subscriber]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    try:
        await consumer.start()
        topic = Topics().events
        partitions = consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        consumer.assign([TopicPartition(topic, number) for number in partitions])
        subscriber = Subscriber(consumer)
        listening = asyncio.create_task(subscriber.listen())
        try:
            yield subscriber
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The topic's partitions, on a broker that makes a topic when it is first asked for."""
    consumer.subscribe([topic])
    await consumer.getmany(timeout_ms=500)
    found = {partition.partition for partition in consumer.assignment() if partition.topic == topic}
    consumer.unsubscribe()
    return found


async def _found(client: Client, status: Json, import_ids: Sequence[str]) -> Found:
    flow_id, version = status["flow_id"], int(status["version"])
    params = {"limit": 1000, "min_version": version, "wait_ms": 20_000}

    async def every(name: str) -> list[Json]:
        return [row async for row in client.pages(f"/flows/{flow_id}/{name}", name, params=params)]

    flow = await client.flow(flow_id, min_version=version)
    previews = [
        await client.request("GET", f"/imports/{one}/preview", params={"wait_ms": 20_000}) for one in import_ids
    ]
    return Found(flow, previews, await every("assets"), await every("dependencies"), await every("issues"))


def _live_table(status: Json) -> Table:
    progress = status["progress"]["percentage"]
    shown = Table(title=f"{status['flow_name']}: {status['status']}, {progress:g} %", title_justify="left")
    for heading in ("phase", "status", "took", "result"):
        shown.add_column(heading)
    colours = {"completed": "green", "running": "yellow", "failed": "red", "waiting": "magenta"}
    for phase in status["phases"]:
        took = seconds(phase["execution_time_ms"]) if phase["status"] == "completed" else ""
        shown.add_row(
            phase["display_name"],
            phase["status"],
            took,
            phase_message(phase) or "",
            style=colours.get(phase["status"], "dim"),
        )
    return shown


def main() -> None:
    """The demo from the shell; leaves with 0 only if the flow completed."""
    parser = argparse.ArgumentParser(prog="python -m mfo.demo", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="your own inventory; left out: a made-up one"
    )
    parser.add_argument(
        "--file", action="append", type=Path, dest="more", default=[], metavar="FILE", help="the same, as an option"
    )
    parser.add_argument(
        "--again", action="store_true", help="discover the files a second time, to see what has changed"
    )
    parser.add_argument(
        "--report", type=Path, default=REPORT, metavar="FILE", help=f"where the report goes; left out: {REPORT}"
    )
    parser.add_argument("--keep", action="store_true", help="leave it up until Ctrl-C")
    given = parser.parse_args()
    files = [part for file in (*given.files, *given.more) for part in _parts(file)]
    for file in files:
        if not file.is_file():
            parser.error(f"{file} is no file")
    try:
        demo = Demo(files, keep=given.keep, again=given.again, report=given.report, console=Console())
        completed = asyncio.run(_interruptible(demo.show()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        sys.exit(130)
    except MfoError as error:
        print(f"The demo failed: {sentence(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if completed else 1)


def _parts(file: Path) -> list[Path]:
    """The file, or those that its name lists with commas where it is none itself."""
    return [file] if file.exists() else [Path(part) for part in str(file).split(",") if part]


async def _interruptible(showing: Any) -> bool:
    task = asyncio.ensure_future(showing)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return bool(await task)


if __name__ == "__main__":
    main()
