"""One agent and one task through the real CrewAI, against an endpoint that answers in every way there is."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from consumers.context import CrewTask, ModelRefused, RateLimited, Retryable
from consumers.crews.crew import CrewLost, ModelTimeout, ModelUnavailable, ModelUnreachable, ProcessCrew
from eventstore.service import CrewConfig
from tests.crews.server import Endpoint, Reply, says
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASK = CrewTask("analyst", "say what {it} is", "You have read much.", "What is {it}? Final Answer: nothing", "one word")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crew")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def crew(crew_config: CrewConfig, folder: Path) -> AsyncIterator[ProcessCrew]:
    """One process for all tests of this file that leave it whole."""
    crew = ProcessCrew(crew_config, lambda: folder)
    yield crew
    await crew.close()


async def asked(crew: ProcessCrew, within: float = 30.0) -> Any:
    return await crew.ask(TASK, within=within)


def children(name: str = "process.py") -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if any(name in part for part in child.cmdline())]


async def test_an_agent_answers_with_what_it_cost(crew: ProcessCrew, model: Endpoint) -> None:
    model.replies(says("a server", prompt_tokens=41, completion_tokens=2))
    answer = await asked(crew)
    assert (answer.text, answer.model) == ("a server", "scripted-1")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.total_tokens) == (41, 2, 43)
    (call,) = model.calls
    assert call.headers["authorization"] == "Bearer sk-secret-of-the-house"
    assert call.body["model"] == "scripted"
    # nothing in a task is a template
    assert "What is {it}?" in call.text


async def test_figures_that_the_endpoint_does_not_tell_are_unknown(crew: ProcessCrew, model: Endpoint) -> None:
    model.replies(says("a server", usage=False))
    answer = await asked(crew)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.total_tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        (Reply(429, headers={"retry-after": "7"}), RateLimited, "rate_limited"),
        (Reply(429), RateLimited, "rate_limited"),
        (Reply(500), ModelUnavailable, "model_unavailable"),
        (Reply(503, headers={"retry-after": "7"}), ModelUnavailable, "model_unavailable"),
        (Reply(401), ModelRefused, "model_access_refused"),
        (Reply(403), ModelRefused, "model_access_refused"),
        (Reply(404), ModelRefused, "model_request_refused"),
        (Reply(307, headers={"location": "http://127.0.0.1:9/elsewhere"}), ModelRefused, "model_request_refused"),
    ],
)
async def test_a_failure_is_told_by_its_type(
    crew: ProcessCrew, model: Endpoint, reply: Reply, error: type[Exception], code: str
) -> None:
    model.replies(reply)
    with pytest.raises(error) as failed:
        await asked(crew)
    assert failed.value.code == code  # type: ignore[attr-defined]
    assert "sk-secret" not in str(failed.value)
    # nobody asks again behind our back
    assert len(model.calls) == 1
    if isinstance(failed.value, RateLimited):
        assert failed.value.after_seconds == float(reply.headers.get("retry-after", 1))


async def test_an_endpoint_may_say_until_when_it_wants_to_be_left_alone(crew: ProcessCrew, model: Endpoint) -> None:
    then = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1000)
    model.replies(Reply(429, headers={"retry-after": format_datetime(then, usegmt=True)}))
    with pytest.raises(RateLimited) as failed:
        await asked(crew)
    assert 500 < failed.value.after_seconds <= 1000


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "' + b"x" * 600_000 + b'"}}]}',
        b"\xff\xfe",
    ],
    ids=["html", "empty", "no choice", "no text", "too large", "bytes"],
)
async def test_nonsense_is_an_answer_without_text(crew: ProcessCrew, model: Endpoint, body: bytes) -> None:
    model.replies(Reply(body=body))
    assert (await asked(crew)).text == ""
    assert len(model.calls) == 1


async def test_what_looks_like_the_use_of_a_tool_is_only_text(crew: ProcessCrew, model: Endpoint) -> None:
    model.replies(says("Thought: hm\nAction: shell\nAction Input: {}"))
    assert "Action: shell" in (await asked(crew)).text
    assert len(model.calls) == 1


async def test_text_that_cannot_be_kept_is_made_so(crew: ProcessCrew, model: Endpoint) -> None:
    body = '{"choices": [{"message": {"content": "a\\u0000b\\ud800c"}}], "model": "m"}'
    model.replies(Reply(body=body.encode()))
    text = (await asked(crew)).text
    assert json.loads(json.dumps(text).encode()) == text
    assert "\x00" not in text
    text.encode()


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "drop by drop"])
async def test_an_endpoint_that_takes_too_long_is_given_up(crew: ProcessCrew, model: Endpoint, drip: bool) -> None:
    hold = threading.Event()
    model.replies(Reply(body=b" " * 1000, drip=True) if drip else Reply(hold=hold))
    with pytest.raises(ModelTimeout):
        await asked(crew, within=0.5)
    hold.set()
    model.replies(says("again"))
    assert (await asked(crew)).text == "again"


async def test_an_endpoint_that_hangs_up_may_come_back(crew: ProcessCrew, model: Endpoint) -> None:
    model.replies(Reply(hang_up=True))
    with pytest.raises(ModelUnreachable) as failed:
        await asked(crew)
    assert isinstance(failed.value, Retryable)
    assert failed.value.kind == "network"


async def test_a_process_that_dies_is_told_and_replaced(crew: ProcessCrew, model: Endpoint) -> None:
    hold = threading.Event()
    model.replies(Reply(hold=hold), says("alive"))
    asking = asyncio.create_task(asked(crew))
    await until(lambda: model.calls, 60)
    for child in children():
        child.kill()
    with pytest.raises(CrewLost):
        await asking
    hold.set()
    assert (await asked(crew)).text == "alive"
    await crew.close()
    assert not children()


async def test_nothing_leaves_the_house_but_to_the_endpoint_and_nothing_is_left_on_disk(
    model: Endpoint, crew_config: CrewConfig, watched_python: tuple[str, Path], tmp_path: Path
) -> None:
    python, log = watched_python
    folder = tmp_path / "run"
    folder.mkdir()
    crew = ProcessCrew(replace(crew_config, python=python), lambda: folder)
    model.replies(says("a server"))
    try:
        assert (await asked(crew)).text == "a server"
        assert (await asked(crew)).text == "a server"
        (process,) = children()
        environ = process.environ()
    finally:
        await crew.close()
    told = log.read_text().splitlines()
    port = int(model.url.split(":")[2].split("/")[0])
    connected = {line for line in told if line.startswith("socket.connect")}
    assert connected == {f"socket.connect ('127.0.0.1', {port})"}
    looked_up = {line for line in told if line.startswith(("socket.getaddrinfo", "socket.sendto"))}
    assert all("127.0.0.1" in line for line in looked_up), looked_up
    assert not [line for line in told if line.startswith(("subprocess", "os."))]
    written = {Path(line.removeprefix("write ")) for line in told if line.startswith("write ")}
    outside = {path for path in written if folder not in (folder / path).parents and path != Path(os.devnull)}
    assert outside == set()
    assert not [name for name in environ if name.startswith("MFO_")]
    assert "sk-secret" not in json.dumps(environ)
