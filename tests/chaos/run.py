"""One run: the stack is started, flows are driven, faults strike, all comes to rest, and the record is judged."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec
import psutil
import psycopg

from mfo.embedded.processes import EmbeddedError, wait_until
from tests.chaos.checker import findings
from tests.chaos.driver import Scenario
from tests.chaos.faults import HOUR, LONE_SECONDS, Fault, Kind, Struck, lone_kills, schedule
from tests.chaos.house import ChaosError, House, Service
from tests.chaos.record import Record, known_types, load_files, load_store, load_topics, verify
from tests.chaos.report import Report, Spread, commands, histories_of, reruns, shapes, work
from tests.chaos.scenario import plan
from tests.chaos.shapes import BY_NAME

TICK_SECONDS = 0.05
CALM_SECONDS = 0.5
MISSED_AGAIN_SECONDS = 1.0
TRIES = 8
DRIVER_SECONDS = 60.0

STANDING = """
select (select count(*) from stored_events), (select coalesce(max(notification_id), 0) from stored_events),
       (select coalesce(max(position), 0) from relay), (select coalesce(min(position), 0) from projections),
       (select count(*) from runs)
"""


@dataclass(frozen=True)
class Options:
    """How large a run is. `seconds` is how long faults strike, one every `every` seconds; after them come `kills` kills with
    nothing else wrong. Flows are begun all the while."""

    seed: int
    flows: int
    seconds: float
    every: float = 3.0
    calm_seconds: float = 120.0
    consumers: int = 2
    kills: int = 0
    kinds: tuple[Kind, ...] = tuple(Kind)
    say: Callable[[str], None] = print

    @property
    def lasts(self) -> float:
        """How many seconds flows are begun for."""
        return self.seconds + (LONE_SECONDS * (self.kills + 1) if self.kills else 0)


@dataclass
class Chaos:
    """The faults of one run, as they come about."""

    house: House
    seed: int
    struck: list[Struck] = field(default_factory=list)
    missed: int = 0
    shift: float = 0.0
    furthest: float = 0.0
    _frozen: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def strike(self, fault: Fault) -> bool:
        """Bring it about; False where there was nobody to strike."""
        random = Random(f"{self.seed} {fault.at}")
        at = time.monotonic()
        try:
            pids = self._strike(fault, random)
        except (psycopg.Error, psutil.Error, ProcessLookupError):
            return False
        if pids:
            frozen = "freeze" in fault.kind
            over = at + fault.seconds if frozen else time.monotonic()
            self.struck.append(Struck(kind=fault.kind, at=at, over=over, pids=pids))
        return bool(pids)

    def _strike(self, fault: Fault, random: Random) -> tuple[int, ...]:
        house, pick = self.house, fault.pick
        one = house.consumers[int(pick * len(house.consumers))]
        strikes: dict[Kind, Callable[[], tuple[int, ...]]] = {
            Kind.KILL_API: lambda: _kill(house.service("api")),
            Kind.KILL_PROJECTIONS: lambda: _kill(house.service("projections")),
            Kind.KILL_CONSUMERS: lambda: _kill(one),
            Kind.KILL_RELAY: lambda: _kill(house.relay_leader()),
            Kind.KILL_OWNER: lambda: _kill(house.owner_of_most()),
            Kind.STOP_CONSUMERS: lambda: _kill(one, signal.SIGTERM),
            Kind.KILL_WORKER: lambda: _kill_child(one, pick),
            Kind.FREEZE_API: lambda: self._freeze(_pids(house.service("api")), fault.seconds),
            Kind.FREEZE_PROJECTIONS: lambda: self._freeze(_pids(house.service("projections")), fault.seconds),
            Kind.FREEZE_CONSUMERS: lambda: self._freeze(_pids(one), fault.seconds),
            Kind.FREEZE_OWNER: lambda: self._freeze(_whole(house.owner_of_most()), fault.seconds),
            Kind.FREEZE_WORKER: lambda: self._freeze(_children(one, pick), fault.seconds),
            Kind.CRASH_POSTGRES: lambda: house.crash_postgres(random, fault.seconds),
            Kind.CRASH_KAFKA: lambda: house.crash_kafka(fault.seconds),
            Kind.CLOCK_AHEAD: lambda: self._move_clock(HOUR),
            Kind.CLOCK_BACK: lambda: self._move_clock(-HOUR),
            Kind.CUT: house.cut_connections,
        }
        return strikes[fault.kind]()

    def _move_clock(self, seconds: float) -> tuple[int, ...]:
        moved = self.house.sql("update clock set shift = shift + make_interval(secs => %s) returning 0", seconds)
        self.shift += seconds
        self.furthest = max(self.furthest, self.shift)
        return (os.getpid(),) if moved else ()

    def _freeze(self, pids: list[int], seconds: float) -> tuple[int, ...]:
        held = [psutil.Process(pid) for pid in pids]
        for process in held:
            process.suspend()

        def thaw() -> None:
            for process in held:
                with suppress(psutil.Error):
                    process.resume()

        self._frozen.append((time.monotonic() + seconds, thaw))
        return tuple(pids)

    def thaw(self, *, everything: bool = False) -> None:
        """Let those go on whose time is over, or all."""
        for one in list(self._frozen):
            if everything or time.monotonic() >= one[0]:
                self._frozen.remove(one)
                one[1]()

    def set_clock_right(self) -> bool:
        """Set the clock to the furthest that it ever stood at, so that all that was set comes due."""
        with suppress(psycopg.Error):
            self.house.sql("update clock set shift = make_interval(secs => %s)", self.furthest)
            return True
        return False


def _kill(service: Service | None, how: signal.Signals = signal.SIGKILL) -> tuple[int, ...]:
    struck = _whole(service)
    if not struck or service is None or service.pid != struck[0]:
        return ()
    os.kill(struck[0], how)
    return tuple(struck)


def _pids(service: Service | None) -> list[int]:
    return [service.pid] if service is not None and service.pid is not None else []


def _children(service: Service, pick: float) -> list[int]:
    """One worker child, where there is one."""
    children = service.children()
    return [children[int(pick * len(children))]] if children else []


def _whole(service: Service | None) -> list[int]:
    """A service that runs, with all its worker children."""
    own = _pids(service)
    return [*own, *service.children()] if own and service is not None else []


def _kill_child(service: Service, pick: float) -> tuple[int, ...]:
    struck = _children(service, pick)
    for pid in struck:
        os.kill(pid, signal.SIGKILL)
    return tuple(struck)


def run(options: Options, folder: Path) -> tuple[Report, Record]:
    """Run it in an empty folder; raises ChaosError where the stack does not come up."""
    began = time.monotonic()
    with House(folder, consumers=options.consumers) as house:
        options.say(f"the stack is up after {time.monotonic() - began:.0f} s")
        scenario = Scenario(
            seed=options.seed,
            flows=options.flows,
            seconds=options.lasts,
            url=house.url,
            bootstrap=house.bootstrap,
        )
        house.driver(msgspec.json.encode(scenario))
        wait_until(lambda: bool(house.driver_says()), DRIVER_SECONDS, every=TICK_SECONDS)
        chaos = Chaos(house, options.seed)
        _strike_all(options, chaos)
        calm = _come_to_rest(options, chaos)
        record = _read(options, house, chaos)
    report = _judge(options, record, calm=calm, seconds=time.monotonic() - began)
    report.missed = chaos.missed
    report.restarts = {service.name: service.starts - 1 for service in house.services if service.name != "driver"}
    report.driver = house.driver_says().get("figures", {})
    return report, record


def _strike_all(options: Options, chaos: Chaos) -> None:
    """Follow the schedule; what found nobody to strike is tried again a little later."""
    faults = schedule(options.seed, options.seconds, options.every, options.kinds)
    waiting = [(fault.at, 0, fault) for fault in [*faults, *lone_kills(options.seed, options.seconds, options.kills)]]
    began = time.monotonic()
    under_way: list[tuple[Future[bool], Fault, int]] = []
    with ThreadPoolExecutor(8) as threads:
        while waiting or under_way or time.monotonic() < began + options.lasts:
            now = time.monotonic() - began
            for due in [one for one in waiting if one[0] <= now]:
                waiting.remove(due)
                under_way.append((threads.submit(chaos.strike, due[2]), due[2], due[1]))
            for one in [one for one in under_way if one[0].done()]:
                under_way.remove(one)
                struck, fault, tries = one[0].result(), one[1], one[2]
                if struck:
                    options.say(f"{now:6.1f} s  {fault.kind}")
                elif tries < TRIES:
                    waiting.append((now + MISSED_AGAIN_SECONDS, tries + 1, fault))
                else:
                    chaos.missed += 1
            _tend(chaos)


def _tend(chaos: Chaos) -> None:
    chaos.house.watch()
    chaos.thaw()
    driver = chaos.house.service("driver")
    if driver.pid is None:
        raise ChaosError(f"the driver ended with exit code {driver.code}; see {chaos.house.folder / 'driver.log'}")
    time.sleep(TICK_SECONDS)


def _come_to_rest(options: Options, chaos: Chaos) -> bool:
    """No faults any more: wait until everybody has said and heard everything; whether that came about in time."""
    chaos.thaw(everything=True)
    options.say("no more faults; coming to rest")
    until = time.monotonic() + options.calm_seconds
    right = False
    looked, calm = 0.0, 0
    while time.monotonic() < until and calm < 3:
        _tend(chaos)
        right = right or chaos.set_clock_right()
        if right and time.monotonic() - looked > CALM_SECONDS:
            looked = time.monotonic()
            calm = calm + 1 if _is_calm(chaos.house) else 0
    return calm >= 3


def _is_calm(house: House) -> bool:
    says = house.driver_says()
    if not says.get("begun") or says["open"]:
        return False
    with suppress(psycopg.Error):
        events, end, relayed, projected, runs = house.sql(STANDING)[0]
        statuses = house.sql("select flow_type, flow_status from crewai_flow_state_extensions group by 1, 2")
        resting = all(status in BY_NAME[shape].rests for shape, status in statuses)
        return bool(says["heard"] == events and relayed == end and projected >= end and not runs and resting)
    return False


def _read(options: Options, house: House, chaos: Chaos) -> Record:
    (house.folder / "stop").touch()
    driver = house.service("driver")
    until = time.monotonic() + 15
    while driver.pid is not None and time.monotonic() < until:
        time.sleep(TICK_SECONDS)
    record = Record(plan(options.seed, options.flows, options.lasts), known_types(), struck=chaos.struck)
    load_store(record, house.dsn)
    asyncio.run(load_topics(record, house.bootstrap))
    load_files(record, house.folder)
    asyncio.run(verify(record, house.dsn, house.bootstrap, house.audit_seed))
    return record


def _judge(options: Options, record: Record, *, calm: bool, seconds: float) -> Report:
    histories = histories_of(record)
    quiet, every = reruns(record)
    struck = Counter(str(one.kind) for one in record.struck)
    return Report(
        seed=options.seed,
        seconds=round(seconds, 1),
        flows=len(record.plan),
        shapes=shapes(record, histories),
        events=len(record.events),
        faults={str(kind): struck[str(kind)] for kind in Kind if struck[str(kind)]},
        commands=commands(record),
        work=work(record, histories),
        rerun=Spread.of(quiet),
        rerun_all=Spread.of(every),
        findings=findings(record),
        calm=calm,
    )


__all__ = ["ChaosError", "EmbeddedError", "Options", "run"]
