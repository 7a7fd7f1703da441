"""What the services say about themselves: structured logs, each line with its service, flow and correlation, no secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Protocol, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

NOISY = ("aiokafka", "faststream", "httpx", "httpcore", "asyncio", "alembic")
HIDDEN = "***"
# whole words, so that a `tokenizer` stays readable
_SENSITIVE = re.compile(
    r"(?:^|_)(?:passwords?|secrets?|tokens?|credentials?|api_?keys?|connection_?strings?|private_?keys?|master_?keys?|authorization)(?:_|$)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_ADDRESS = re.compile(r"(?<=://)([^:/@\s]*):([^@\s]*)@")
_IN_CONNINFO = re.compile(r"\b(password|sslpassword)=('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)


class LogSettings(Protocol):
    """What of the settings the logs need."""

    @property
    def log_level(self) -> str: ...

    @property
    def log_format(self) -> str: ...


def set_up(settings: LogSettings, service: str, stream: TextIO | None = None) -> None:
    """Sends all logs, structlog's and the standard library's, to stderr in one shape; may be called again.

    A line has `timestamp` (UTC), `level`, `service`, `logger`, `event`, and what `structlog.contextvars` bound,
    such as `correlation_id` and `flow_id`.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        name_service,
    ]
    as_json = settings.log_format == "json"
    last: list[Processor] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(serializer=_json)]
        if as_json
        else [structlog.processors.format_exc_info, redact, structlog.dev.ConsoleRenderer(colors=_is_terminal(stream))]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # ten times a second for each topic that is missing; whoever waits for it says so
    logging.getLogger("aiokafka.cluster").setLevel(logging.CRITICAL)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # uvicorn brings handlers of its own, which would print every line twice
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.captureWarnings(capture=True)


def redact(_: WrappedLogger, __: str, event: EventDict) -> MutableMapping[str, Any]:
    """Hides texts and objects under sensitive names at any depth, and passwords inside addresses; numbers stay."""
    return {name: _hide(name, value) for name, value in event.items()}


def _hide(name: str, value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if _is_sensitive(name):
        return HIDDEN
    match value:
        case str():
            return hide_passwords(value)
        case Mapping():
            return {inner: _hide(str(inner), found) for inner, found in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_hide("", found) for found in value]
        case _:
            return value


@lru_cache(maxsize=1024)
def _is_sensitive(name: str) -> bool:
    return _SENSITIVE.search(_HUMP.sub("_", name).lower().replace("-", "_")) is not None


def hide_passwords(text: str) -> str:
    """The text without the passwords of the addresses and connection strings in it."""
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\1:{HIDDEN}@", text)
    return _IN_CONNINFO.sub(rf"\1={HIDDEN}", text) if "password=" in text.lower() else text


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(
        event, default=lambda value: hide_passwords(str(value)), option=orjson.OPT_NON_STR_KEYS
    ).decode()


def _is_terminal(stream: TextIO | None) -> bool:
    return (stream or sys.stderr).isatty()
