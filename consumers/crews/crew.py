"""The crew of a run as its handler sees it: a process of its own from the first task on, gone with the run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from consumers.context import CrewAnswer, CrewTask, ModelRefused, RateLimited, Retryable
from domain.errors import SettingsError
from eventstore.config import CrewConfig
from eventstore.scratch import scratch

Json = dict[str, Any]

SCRIPT = Path(__file__).with_name("process.py")
START_SECONDS = 60.0
GRACE_SECONDS = 5.0
MAX_LINE = 2 << 20
MAX_TEXT = 64_000
"""Characters of an answer that are kept; a longer one is of no use to anybody."""
NEEDED = "crewai"
# how to leave the machine is the operator's to say
PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
# every switch that CrewAI and its libraries honour: nothing is told to anybody, nothing is kept outside the folder
SILENT = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "OTEL_SDK_DISABLED": "true",
    "ANONYMIZED_TELEMETRY": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class ModelUnreachable(Retryable):
    """The model's endpoint cannot be connected to."""

    kind = "network"
    code = "model_unreachable"


class ModelUnavailable(Retryable):
    """The model's endpoint says that it has a fault of its own."""

    kind = "network"
    code = "model_unavailable"


class ModelTimeout(Retryable):
    """The model's endpoint did not answer in time."""

    kind = "timeout"
    code = "model_timeout"


class CrewLost(Retryable):
    """The process of the crew could not be started, or ended by itself."""

    kind = "crew"
    code = "crew_lost"


def environment(folder: Path) -> dict[str, str]:
    """The variables of a crew's process: none of ours, everything it writes below `folder`."""
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    places = {"HOME": str(folder), "TMPDIR": str(folder), "CREWAI_STORAGE_DIR": str(folder / "storage")}
    return given | places | SILENT


def command(config: CrewConfig, *arguments: str) -> list[str]:
    """How the interpreter that has CrewAI is started; the script's own folder is no place to import from."""
    return [config.python or sys.executable, "-P", *arguments]


def check(config: CrewConfig) -> None:
    """See that the interpreter is there and has CrewAI, without loading it; raises SettingsError."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({NEEDED!r}) is None)"
    with scratch("mfo-crew-") as folder:
        try:
            found = subprocess.run(
                command(config, "-c", look),
                env=environment(folder),
                cwd=folder,
                capture_output=True,
                timeout=START_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SettingsError(
                f"MFO_CREW_PYTHON names {config.python}, which cannot be started: {type(error).__name__}"
            ) from None
    if found.returncode:
        where = f"{config.python}, which MFO_CREW_PYTHON names," if config.python else "this installation"
        raise SettingsError(
            f"MFO_CREW_MODEL names a model for agents, and {where} has no CrewAI: install what"
            " requirements-crew.lock names, as docs/how-to/use-a-crew.md says, or leave MFO_CREW_MODEL out and the rules"
            " alone map the columns."
        )


class ProcessCrew:
    """One agent and one task at a time; the process starts with the first, and anew after a task was given up."""

    def __init__(self, config: CrewConfig, folder: Callable[[], Path]) -> None:
        self.model = config.model
        self.max_calls = config.max_calls
        self.max_total_tokens = config.max_total_tokens
        self.max_asks = config.max_asks
        self.samples = config.samples
        self.run_seconds = config.run_seconds
        self.timeout_seconds = config.timeout_seconds
        self._config = config
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, task: CrewTask, *, within: float) -> CrewAnswer:
        """What the agent says, in one call of the model; see `Crew.ask` for what is raised."""
        async with self._one_at_a_time:
            until = monotonic() + within
            try:
                process = self._process or await self._start(min(within, START_SECONDS))
                seconds = max(0.0, min(until - monotonic(), self.timeout_seconds))
                asked = {
                    "role": task.role,
                    "goal": task.goal,
                    "backstory": task.backstory,
                    "task": task.task,
                    "expected": task.expected,
                    "timeout_seconds": seconds,
                }
                told = await _exchange(process, asked, seconds + GRACE_SECONDS)
            except BaseException:
                # an answer that nobody waits for must not be taken for the next one
                await self.close()
                raise
        if "failed" in told:
            raise _failure(told["failed"])
        return CrewAnswer(
            _storable(str(told["text"])),
            _storable(str(told["model"]))[:200],
            told["prompt_tokens"],
            told["completion_tokens"],
            told["total_tokens"],
        )

    async def _start(self, seconds: float) -> asyncio.subprocess.Process:
        folder = self._folder() / "crew"
        folder.mkdir(exist_ok=True)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *command(self._config, str(SCRIPT)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env=environment(folder),
                limit=MAX_LINE,
            )
        except OSError as error:
            raise CrewLost(f"the process of the crew could not be started: {type(error).__name__}") from error
        config = self._config
        begin = {"model": config.model, "base_url": config.base_url, "api_key": config.api_key}
        try:
            told = await _exchange(process, begin, seconds)
        except ModelTimeout as error:
            raise CrewLost(f"the process of the crew was not ready within {seconds:g} s") from error
        if not told["ready"]:
            raise CrewLost(str(told["detail"]))
        return process

    async def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _exchange(process: asyncio.subprocess.Process, said: Json, seconds: float) -> Json:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(said).encode() + b"\n")
        await process.stdin.drain()
        async with asyncio.timeout(seconds):
            line = await process.stdout.readline()
        told: Json = json.loads(line)
    except TimeoutError as error:
        raise ModelTimeout(f"the crew did not answer within {seconds:g} s") from error
    except (OSError, ValueError) as error:
        raise CrewLost("the process of the crew ended by itself") from error
    return told


def _failure(failed: Json) -> Exception:
    detail = str(failed["detail"])
    match failed["kind"]:
        case "rate_limited":
            return RateLimited(detail, float(failed["after_seconds"]))
        case "access":
            return ModelRefused("model_access_refused", f"{detail}; look at MFO_CREW_API_KEY")
        case "request":
            return ModelRefused("model_request_refused", f"{detail}; look at MFO_CREW_MODEL and MFO_CREW_BASE_URL")
        case "unreachable":
            return ModelUnreachable(detail)
        case "unavailable":
            return ModelUnavailable(detail)
        case "timeout":
            return ModelTimeout(detail)
        case _:
            return CrewLost(detail)


def _storable(text: str) -> str:
    """The text as JSON and PostgreSQL can hold it, cut where it is far too long."""
    return text[:MAX_TEXT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
