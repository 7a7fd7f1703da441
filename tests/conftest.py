"""The stack as fixtures: a database of its own and topics of its own for each test, and at the end what all ran on."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import PurePath
from threading import current_thread, main_thread
from typing import Any

import pytest

from eventstore.broken_wires import mend_wires
from tests.stack import Stack, session_stack

STACK = pytest.StashKey[Stack]()
TOLD = pytest.StashKey[list[str]]()
TOGETHER = ("chaos",)
# what follows needs no service and no waiting: it fills the end, so that no process is busy alone
LONGEST = (
    *("chaos", "faults", "e2e", "cli", "crews", "consumers", "tests", "projections", "audit", "eventstore", "api"),
)
# what waits most of its time, for leases, restarts and services
PATIENT = ("chaos", "faults", "e2e", "embedded")


def pytest_configure(config: pytest.Config) -> None:
    # settings of the reader's shell must not reach the tests
    for name in [name for name in os.environ if name.startswith("MFO_") and not name.startswith("MFO_TEST_")]:
        del os.environ[name]
    # a hundred services, children and commands are started: each compiles all of our modules where bytecode is not kept
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # as in a service: what a client leaves open would fail whichever test the garbage is collected in
    mend_wires()
    config.stash[STACK] = session_stack(dict(os.environ))
    # told to end, a run ends as by Ctrl-C: with all that it started
    for number in (signal.SIGTERM, signal.SIGHUP):
        if current_thread() is main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    config.stash[TOLD] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Among several processes a file's tests stay together, those of a package that share a costly record too; the first
    process begins with those that wait, so that what they wait for costs the others little."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = PurePath(nodeid.split("::", 1)[0])
            return path.parent.name if path.parent.name in TOGETHER else str(path)

        def _assign_work_unit(self, node: Any) -> None:
            patient = node is self.nodes[0]
            fitting = (
                scope for scope in self.workqueue if any(part in PATIENT for part in PurePath(scope).parts) is patient
            )
            self.workqueue.move_to_end(next(fitting, next(iter(self.workqueue))), last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STACK].stop()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes tells the first what it ran on."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["stack"] = _ran_on(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[TOLD].extend(getattr(node, "workeroutput", {}).get("stack", []))


def _ran_on(config: pytest.Config) -> list[str]:
    stack = config.stash[STACK]
    if not stack.ran_on:
        return []
    return [*(f"{part} {said}" for part, said in stack.ran_on.items()), *stack.choice.unproven]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = dict.fromkeys([*config.stash[TOLD], *_ran_on(config)])
    if lines:
        terminalreporter.section("stack")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    """What the session runs on; most tests want `database_url`, `kafka` and `topic_prefix` instead."""
    return request.config.stash[STACK]


@pytest.fixture(scope="session")
def postgres_url(stack: Stack) -> str:
    """The server's maintenance database, whose user may create others."""
    return stack.database_url


@pytest.fixture
def database_url(stack: Stack) -> Iterator[str]:
    """A new database with the newest schema, this test's alone."""
    with stack.database(migrated=True) as url:
        yield url


@pytest.fixture(scope="module")
def module_url(stack: Stack) -> Iterator[str]:
    """A new database with the newest schema for the tests of one module."""
    with stack.database(migrated=True) as url:
        yield url


@pytest.fixture
def empty_database_url(stack: Stack) -> Iterator[str]:
    """A new database without any table of ours, this test's alone."""
    with stack.database(migrated=False) as url:
        yield url


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> str:
    """Kafka's address, `host:port`."""
    return stack.kafka


@pytest.fixture
def real_kafka(stack: Stack) -> str:
    """A real broker's address, for what librdkafka's cannot do: a second member in a group, a restart, a long topic."""
    if not stack.kafka_is_real:
        pytest.skip("needs a real Kafka; here only the built-in broker can run")
    return stack.kafka


@pytest.fixture
def topic_prefix(stack: Stack, kafka: str) -> Iterator[str]:
    """A prefix of this test's alone, its five topics (`<prefix>.commands.v1`, ...) there with 4 partitions each."""
    prefix = f"t{secrets.token_hex(4)}"
    with stack.topics(prefix):
        yield prefix
