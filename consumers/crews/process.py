"""The process of a crew: CrewAI, one agent and one task at a time, and the one model endpoint it may speak to.

Run as a script, by an interpreter that has CrewAI and need have nothing of ours, so it imports nothing of ours. Lines
of JSON: first the endpoint comes in and `{"ready": true}` goes out; then for each `{"role", "goal", "backstory", "task",
"expected", "timeout_seconds"}` either `{"text", "model", "prompt_tokens", "completion_tokens", "total_tokens"}` or
`{"failed": {"kind", "detail", "after_seconds"?}}`. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

Json = dict[str, Any]

MAX_LINE = 1 << 20
MAX_ANSWER = 512 * 1024
"""Bytes of an endpoint's answer that are read."""
MEMORY = 1 << 30
"""Bytes this process may take."""


class Failed(Exception):
    """The endpoint gave no answer: `kind` says why, as the other side knows it."""

    def __init__(self, kind: str, detail: str, after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.told: Json = {"kind": kind, "detail": detail}
        if after_seconds is not None:
            self.told["after_seconds"] = after_seconds


def refused(status: int, after: str | None) -> Failed:
    """What an answer other than 200 means."""
    detail = f"the model's endpoint answered with status {status}"
    if status == 429:
        return Failed("rate_limited", detail, seconds_of(after))
    if status in (401, 403):
        return Failed("access", detail)
    if status >= 500 or status == 408:
        return Failed("unavailable", detail)
    return Failed("request", detail)


def seconds_of(after: str | None) -> float:
    """Seconds of a Retry-After, which is a number or a date; 1 where it is neither."""
    with suppress(TypeError, ValueError):
        return min(max(float(after or ""), 0.0), 1e6)
    with suppress(TypeError, ValueError):
        return max((parsedate_to_datetime(after or "") - datetime.now(UTC)).total_seconds(), 0.0)
    return 1.0


def answer_of(body: bytes) -> tuple[str, str | None, Json]:
    """Text, model and usage of a chat completion; an answer that is none has the text ``."""
    with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        found = json.loads(body)
        text = found["choices"][0]["message"]["content"]
        usage = found.get("usage")
        model = found.get("model")
        if isinstance(text, str):
            return text, model if isinstance(model, str) else None, usage if isinstance(usage, dict) else {}
    return "", None, {}


class Endpoint:
    """The OpenAI-compatible endpoint; every call of the process goes through it."""

    def __init__(self, model: str, base_url: str, api_key: str | None) -> None:
        import httpx

        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._httpx = httpx
        self._client = httpx.AsyncClient(headers=headers, follow_redirects=False)
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self.model = model
        self.timeout_seconds = 60.0
        self.calls = 0
        self.failed: Failed | None = None
        self.answered: tuple[str, str | None, Json] = ("", None, {})

    def begin(self, timeout_seconds: float) -> None:
        """The next task's calls are counted anew."""
        self.timeout_seconds = timeout_seconds
        self.calls, self.failed, self.answered = 0, None, ("", None, {})

    async def ask(self, messages: list[Json]) -> str:
        """One call; a task has one, whatever CrewAI would make of the answer. Raises Failed."""
        if self.calls:
            raise Failed("nonsense", "the answer is of no use to the agent")
        self.calls += 1
        try:
            async with asyncio.timeout(self.timeout_seconds):
                self.answered = answer_of(await self._post(messages))
        except TimeoutError:
            self.failed = Failed("timeout", f"the model's endpoint did not answer within {self.timeout_seconds:g} s")
        except self._httpx.HTTPError as error:
            self.failed = Failed("unreachable", f"the model's endpoint cannot be reached: {type(error).__name__}")
        except Failed as failed:
            self.failed = failed
        if self.failed is not None:
            raise self.failed
        if not self.answered[0].strip():
            raise Failed("nonsense", "the endpoint's answer holds no text")
        return self.answered[0]

    async def _post(self, messages: list[Json]) -> bytes:
        asked = {"model": self.model, "messages": messages, "temperature": 0, "stream": False}
        async with self._client.stream("POST", self._url, json=asked, timeout=self.timeout_seconds) as response:
            if response.status_code != 200:
                raise refused(response.status_code, response.headers.get("retry-after"))
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER:
                    return b""
            return body


def crew_for(endpoint: Endpoint) -> Any:
    """A function that makes a crew for one task."""
    from crewai import Agent, Crew, Task
    from crewai.llms.base_llm import BaseLLM

    loop = asyncio.get_running_loop()

    class Model(BaseLLM):  # type: ignore[misc] # CrewAI is not there where the types are checked
        """CrewAI's way to the endpoint."""

        def call(self, messages: Any, *_: Any, **__: Any) -> str:
            # an agent asks from a thread, even in `akickoff`
            return asyncio.run_coroutine_threadsafe(self.acall(messages), loop).result()

        async def acall(self, messages: Any, *_: Any, **__: Any) -> str:
            given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
            return await endpoint.ask([{"role": one["role"], "content": one["content"]} for one in given])

        def supports_function_calling(self) -> bool:
            return False

        def supports_stop_words(self) -> bool:
            return False

    def crew(asked: Json) -> Any:
        agent = Agent(
            role=asked["role"],
            goal=asked["goal"],
            backstory=asked["backstory"],
            llm=Model(model=endpoint.model),
            tools=[],
            allow_delegation=False,
            max_iter=1,
            max_retry_limit=0,
            memory=False,
            cache=False,
            verbose=False,
        )
        task = Task(description=asked["task"], expected_output=asked["expected"], agent=agent)
        return Crew(agents=[agent], tasks=[task], memory=False, cache=False, verbose=False, tracing=False)

    return crew


async def answer(endpoint: Endpoint, crew: Any, asked: Json) -> Json:
    """What one task brings."""
    endpoint.begin(float(asked["timeout_seconds"]))
    try:
        await crew(asked).akickoff()
    except Exception as error:
        # what the agent makes of an answer is told by the answer; without one, nothing can be made of it
        if endpoint.failed is not None:
            return {"failed": endpoint.failed.told}
        if not endpoint.calls:
            return {"failed": {"kind": "crew", "detail": f"CrewAI failed: {type(error).__name__}"}}
    text, model, usage = endpoint.answered
    counts = {
        name: usage[name] if type(usage.get(name)) is int else None
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    return {"text": text, "model": model or endpoint.model, **counts}


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    answers = os.dup(1)
    os.dup2(2, 1)
    orders = asyncio.StreamReader(limit=MAX_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    def say(told: Json) -> None:
        os.write(answers, json.dumps(told).encode() + b"\n")

    begin = json.loads(await orders.readline())
    try:
        endpoint = Endpoint(begin["model"], begin["base_url"], begin["api_key"])
        crew = crew_for(endpoint)
    except Exception as error:
        say({"ready": False, "detail": f"CrewAI cannot be used: {type(error).__name__}: {error}"[:500]})
        return
    say({"ready": True})
    line = await orders.readline()
    while line:
        work = asyncio.create_task(answer(endpoint, crew, json.loads(line)))
        # nothing comes in before it is answered, but the end
        further = asyncio.create_task(orders.readline())
        await asyncio.wait({work, further}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            break
        say(work.result())
        line = await further
    # CrewAI's threads have nothing left to do
    os._exit(0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    asyncio.run(main())
