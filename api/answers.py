"""How answers are written: JSON with ISO 8601 times in UTC, and the flow's version as ETag."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


class Json(Response):
    """A JSON answer; ids, times and domain objects may stand in it as they are."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(_encode(content), status_code, headers)


def etag(version: int) -> str:
    """The entity tag of a flow at a version."""
    return f'"{version}"'


def deleted(version: int, position: str | None) -> Response:
    """204, with the version and the place of what says so."""
    place = {"X-MFO-Position": position} if position is not None else {}
    return Response(status_code=204, headers={"ETag": etag(version), **place})


def not_modified(request: Request, version: int) -> Response | None:
    """304 when the caller holds this version already (`If-None-Match`), else none."""
    given = request.headers.get("if-none-match")
    if given is None:
        return None
    held = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if etag(version) in held or "*" in held:
        return Response(status_code=304, headers={"ETag": etag(version)})
    return None


def in_utc(row: Mapping[str, Any]) -> dict[str, Any]:
    """A database row with its times in UTC, whatever the session's time zone."""
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
