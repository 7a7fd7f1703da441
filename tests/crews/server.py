"""A scripted OpenAI-compatible endpoint: real HTTP on the loopback, answers as a test wants them, every call kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What goes over the wire; `drip` sends a byte every tenth of a second, `hold` waits before anything is sent, `hang_up` closes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    drip: bool = False
    hang_up: bool = False


def says(text: str | Json, *, prompt_tokens: int = 100, completion_tokens: int = 20, usage: bool = True) -> Reply:
    """A chat completion with this text."""
    content = text if isinstance(text, str) else json.dumps(text)
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    body: Json = {"id": "1", "object": "chat.completion", "model": "scripted-1", "choices": [choice]}
    if usage:
        body["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
    return Reply(body=json.dumps(body).encode())


def meanings(asked: Asked, **targets: str | None) -> Reply:
    """An answer that gives columns these targets, by header (`_` for a blank); the others none."""
    wanted = {header.replace("_", " "): target for header, target in targets.items()}
    return says(
        {
            "columns": [
                {
                    "column": column["column"],
                    "target": wanted.get(column["header"]),
                    "confidence": 0.9,
                    "reason": "the header says so",
                }
                for column in asked.columns
            ]
        }
    )


@dataclass(frozen=True)
class Asked:
    """One call as it came in."""

    body: Json
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """All that was said to the model."""
        return "\n".join(message["content"] for message in self.body["messages"])

    @property
    def question(self) -> Json:
        """The JSON in the task."""
        line = next(line for line in self.text.splitlines() if line.startswith('{"fields"'))
        question: Json = json.loads(line)
        return question

    @property
    def columns(self) -> list[Json]:
        columns: list[Json] = self.question["columns"]
        return columns

    @property
    def task(self) -> str:
        """Which task it is: its headers."""
        return ", ".join(column["header"] for column in self.columns)

    @property
    def again(self) -> bool:
        return "Your last answer was refused" in self.text


Script = Callable[[Asked], Reply]


class Endpoint:
    """The endpoint; `script` says what it answers, call by call."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: Script = lambda asked: says({"columns": []})
        self.calls: list[Asked] = []
        self.answered: list[Asked] = []

    def replies(self, *replies: Reply | Script) -> None:
        """Answer with these, one after the other, the last for ever."""
        left = list(replies)

        def script(asked: Asked) -> Reply:
            reply = left.pop(0) if len(left) > 1 else left[0]
            return reply(asked) if callable(reply) else reply

        self.script = script
        self.calls.clear()
        self.answered.clear()


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """A new endpoint on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked = Asked(body, {name.lower(): value for name, value in self.headers.items()})
            told.calls.append(asked)
            reply = told.script(asked) if self.path == "/v1/chat/completions" else Reply(404)
            if reply.hold is not None:
                reply.hold.wait(60)
            if reply.hang_up:
                self.close_connection = True
                return
            # whoever asked may have gone
            with suppress(OSError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                for part in _parts(reply):
                    self.wfile.write(part)
                    self.wfile.flush()
                told.answered.append(asked)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()


def _parts(reply: Reply) -> Iterator[bytes]:
    if not reply.drip:
        yield reply.body
        return
    pause = threading.Event()
    for place in range(len(reply.body)):
        pause.wait(0.1)
        yield reply.body[place : place + 1]
