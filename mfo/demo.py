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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from rich.console import Console
from rich.live import Live
from rich.table import Table

from domain.errors import MfoError
from domain.words import Status
from eventstore.service import Topics
from mfo.client import Client
from mfo.commands.flows import RESTING, phase_line, phase_message, reason_of
from mfo.commands.output import facts, seconds, sentence, table
from mfo.running import Running, command, running

Json = dict[str, Any]

SERVERS = 500
START_SECONDS = 180.0
STOP_SECONDS = 15.0
SEVERITIES = ("critical", "high", "medium", "low", "info")
ENDS = frozenset({"FlowCompleted", "FlowFailed", "FlowCancelled"})
SHOWN = 8
EXAMPLES = 2


class DemoFailed(MfoError):
    """The demo could not be shown to its end."""

    code = "demo_failed"


@dataclass(slots=True)
class Step:
    """One thing the demo did, and how long it took in seconds."""

    name: str
    seconds: float


@dataclass(slots=True)
class Found:
    """What the service says it discovered, asked over HTTP."""

    flow: Json
    assets: list[Json]
    dependencies: list[Json]
    issues: list[Json]


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
    """One showing: start, discover, report, and end everything that was started."""

    def __init__(self, files: Sequence[Path], *, keep: bool, console: Console) -> None:
        self.files = list(files)
        self.keep = keep
        self.console = console
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
                completed = await self._discover(note, await making)
                if self.keep:
                    await self._stay(note)
        finally:
            making.cancel()
        self._say(f"everything is stopped, {time.monotonic() - self._began:.1f} s in all")
        return completed

    def _inventory(self, scratch: Path) -> list[Path]:
        if self.files:
            return self.files
        # the libraries that write workbooks load slowly; nothing else here needs them
        from estate.sample import write_sample

        sample = scratch / f"estate-of-{SERVERS}-servers.xlsx"
        with self._step("made-up inventory"):
            write_sample(sample, servers=SERVERS)
        return [sample]

    async def _discover(self, note: Running, files: Sequence[Path]) -> bool:
        told = note.environment
        tenant = (told["MFO_CLIENT_ACCOUNT_ID"], told["MFO_ENGAGEMENT_ID"], told["MFO_USER_ID"])
        async with _subscriber(note.kafka_bootstrap) as subscriber, Client(note.url, *tenant) as client:
            with self._step("upload"):
                uploads = [await client.upload(file) for file in files]
            for upload in uploads:
                self._say(f"uploaded {upload['filename']} ({upload['size_bytes']} bytes)")
            ids = [upload["import_file_id"] for upload in uploads]
            with self._step("flow, from its creation to its end"):
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
            heard = await subscriber.until_end_of(created["flow_id"]) if status["status"] == Status.COMPLETED else []
            if status["status"] != Status.COMPLETED:
                self._say(reason_of(status))
                for suggestion in _open_questions(status):
                    self._say(f"  {suggestion}")
                return False
            with self._step("reading the result"):
                found = await _found(client, status)
        self._report(note, files, found, heard)
        return True

    async def _watch(self, client: Client, created: Json) -> Json:
        status: Json = {}
        with self._phases() as show_status:
            async for status in client.follow(created["flow_id"], min_version=int(created["version"])):
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

    def _report(self, note: Running, files: Sequence[Path], found: Found, heard: Sequence[Heard]) -> None:
        self._head("What it ran on")
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
        self._assets(found.assets)
        self._dependencies(found)
        self._findings(found)
        self._quality(found.issues)
        self._history(heard)
        self._times(found.flow)

    def _assets(self, assets: Sequence[Json]) -> None:
        self._head(f"{len(assets)} assets")
        environments = _ranked(asset["environment"] for asset in assets)
        kinds = _ranked(asset["asset_type"] for asset in assets)
        both = Counter((asset["asset_type"], asset["environment"]) for asset in assets)
        rows = [
            [kind or "unknown", *(both[kind, environment] or "" for environment, _ in environments), total]
            for kind, total in kinds
        ]
        rows.append(["total", *(count for _, count in environments), len(assets)])
        self._print(table(["type", *(environment or "unknown" for environment, _ in environments), "total"], rows))
        self._head("Operating systems")
        systems = _ranked(_system(asset) for asset in assets)
        self._print(table(["system", "assets"], [[system or "unknown", count] for system, count in _first(systems)]))

    def _dependencies(self, found: Found) -> None:
        edges = found.dependencies
        plain = [edge for edge in edges if not edge["noise"]]
        outputs = _outputs(found.flow, "dependency_analysis")
        self._head(f"{len(edges)} dependencies")
        if not edges:
            self._print(str(outputs.get("message", "")))
            return
        self._print(
            facts(
                {
                    "between machines": f"{len(plain)}, by kind: {_counts(edge.get('kind') for edge in plain)}",
                    "noise, set apart": f"{len(edges) - len(plain)}: {_counts(edge['noise_reason'] for edge in edges if edge['noise'])}",
                    "with an unknown end": sum(1 for edge in edges if edge.get("unknown_endpoint")),
                    "move groups": f"{outputs.get('groups')}, the largest of {outputs.get('largest_group')} machines",
                    "circles": outputs.get("cycles"),
                }
            )
        )

    def _findings(self, found: Found) -> None:
        outputs = _outputs(found.flow, "tech_debt_assessment")
        listed = [issue for issue in found.issues if issue.get("finding_id")]
        severities, score = outputs.get("by_severity") or {}, outputs.get("score")
        self._head(f"{outputs.get('findings_total', len(listed))} findings, as of {outputs.get('reference_date')}")
        self._print(
            facts(
                {
                    "by severity": _told({word: severities[word] for word in SEVERITIES if word in severities}),
                    "by kind": _most(outputs.get("by_kind") or {}),
                    "estate's score": score and f"{score} of 100 ({outputs.get('assets_scored')} assets scored)",
                    "out of support": _most(outputs.get("out_of_support_systems") or {}),
                }
            )
        )
        top = sorted(listed, key=lambda one: (SEVERITIES.index(one["severity"]), one["message"]))[:SHOWN]
        if top:
            rows = [
                [one["severity"], one["message"], _evidence(one.get("evidence")), _place(one.get("source"))]
                for one in top
            ]
            self._print("", table(["severity", "finding", "evidence", "found in"], rows))
        assets = {asset["asset_id"]: asset for asset in found.assets}
        worst = [(one, assets[one["asset_id"]]) for one in outputs.get("worst") or [] if one["asset_id"] in assets][
            :SHOWN
        ]
        if worst:
            rows = [
                [one["score"], one["name"], _system(asset), _place(next(iter(asset["sources"]), None))]
                for one, asset in worst
            ]
            self._print("", table(["score", "worst machines", "system", "found in"], rows))

    def _quality(self, issues: Sequence[Json]) -> None:
        doubts = [issue for issue in issues if not issue.get("finding_id")]
        self._head(f"{len(doubts)} data-quality issues")
        rows, examples = [], []
        for kind, count in _ranked(issue["kind"] for issue in doubts):
            of_kind = [issue for issue in doubts if issue["kind"] == kind]
            rows.append([count, kind, of_kind[0]["severity"]])
            placed = [issue for issue in of_kind if issue.get("source")] or of_kind
            examples += [
                f"{kind}: {issue['message']} [{_place(issue.get('source')) or 'no single row'}]"
                for issue in placed[:EXAMPLES]
            ]
        self._print(table(["count", "kind", "severity"], rows), "", *examples)

    def _history(self, heard: Sequence[Heard]) -> None:
        self._head(f"The flow's history, as a Kafka subscriber saw it ({len(heard)} events)")
        rows = [[event.version, event.name, event.phase, f"{event.late_ms:.0f} ms"] for event in heard]
        self._print(table(["version", "event", "phase", "after its commit"], rows))

    def _times(self, flow: Json) -> None:
        self._head("How long it took")
        rows = [[phase["name"], seconds(phase["execution_time_ms"])] for phase in flow["phases"]]
        rows += [[step.name, seconds(step.seconds * 1000)] for step in self.steps]
        self._print(table(["step", "took"], rows))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(name, time.monotonic() - began))

    def _head(self, text: str) -> None:
        self.console.print(f"\n{text}", style="bold", markup=False, highlight=False)

    def _print(self, *lines: str) -> None:
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self._print(f"{time.monotonic() - self._began:5.1f} s  {text}")


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
    await consumer.start()
    try:
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


async def _found(client: Client, status: Json) -> Found:
    flow_id, version = status["flow_id"], int(status["version"])
    params = {"limit": 1000, "min_version": version, "wait_ms": 20_000}

    async def every(name: str) -> list[Json]:
        return [row async for row in client.pages(f"/flows/{flow_id}/{name}", name, params=params)]

    flow = await client.flow(flow_id, min_version=version)
    return Found(flow, await every("assets"), await every("dependencies"), await every("issues"))


def _outputs(flow: Json, phase: str) -> Json:
    return next((dict(each["outputs"] or {}) for each in flow["phases"] if each["name"] == phase), {})


def _open_questions(status: Json) -> list[str]:
    """The columns that the flow is not sure about, as it suggests them."""
    return [
        f"{one['source_field']} -> {one['target_field'] or '?'} (confidence {one['confidence']:g})"
        for one in status.get("mapping_suggestions") or []
    ][:20]


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


def _ranked(values: Iterable[Any]) -> list[tuple[Any, int]]:
    return Counter(values).most_common()


def _first(ranked: Sequence[tuple[Any, int]], most: int = 20) -> list[tuple[Any, int]]:
    rest = ranked[most:]
    more = [(f"{len(rest)} more", sum(count for _, count in rest))] if rest else []
    return [*ranked[:most], *more]


def _counts(values: Iterable[Any]) -> str:
    return _told(dict(_first(_ranked(values), SHOWN))) or "none"


def _most(counts: Mapping[Any, int]) -> str:
    return _told(dict(Counter(counts).most_common()))


def _told(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _system(asset: Json) -> str | None:
    return " ".join(filter(None, (asset["operating_system"], asset["os_version"]))) or None


def _evidence(evidence: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (evidence or {}).items() if value is not None)


def _place(source: Mapping[str, Any] | None) -> str:
    if not source:
        return ""
    parts = [
        str(source.get("file") or ""),
        str(source.get("sheet") or ""),
        f"row {source['row']}" if source.get("row") else "",
    ]
    return ", ".join(filter(None, parts))


def main() -> None:
    """The demo from the shell; leaves with 0 only if the flow completed."""
    parser = argparse.ArgumentParser(prog="python -m mfo.demo", description=__doc__)
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="your own inventory; left out: a made-up one"
    )
    parser.add_argument(
        "--file", action="append", type=Path, dest="more", default=[], metavar="FILE", help="the same, as an option"
    )
    parser.add_argument("--keep", action="store_true", help="leave it up until Ctrl-C")
    given = parser.parse_args()
    files = [*given.files, *given.more]
    for file in files:
        if not file.is_file():
            parser.error(f"{file} is no file")
    try:
        completed = asyncio.run(_interruptible(Demo(files, keep=given.keep, console=Console()).show()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        sys.exit(130)
    except MfoError as error:
        print(f"The demo failed: {sentence(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if completed else 1)


async def _interruptible(showing: Any) -> bool:
    task = asyncio.ensure_future(showing)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return bool(await task)


if __name__ == "__main__":
    main()
