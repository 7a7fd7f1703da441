"""The OpenAPI document: bodies from the command classes, errors as problems, headers that hold for every call."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.audit_documents import PlaceHold, SetRetention
from api.documents import CheckFlowType, DeadLetterReplay, DiscardParked, Problem
from api.repair_documents import Repair
from domain.commands import PUBLIC, Command
from domain.fleet.commands import PUBLIC_FLEET, FleetCommand
from domain.import_options import ImportOptions
from domain.schedules.commands import PUBLIC_SCHEDULE, ScheduleCommand
from domain.subscriptions import CreateSubscription, RotateSubscriptionSecret, UpdateSubscription

Json = dict[str, Any]

REF = "#/components/schemas/"
REASONS = {
    304: "Nothing has changed since the version you hold",
    400: "The tenant headers are missing or malformed, or the body is not JSON",
    403: "Others may ask this, or answer it; for operators' routes: only an operator",
    404: "There is no such thing for this tenant",
    405: "The route does not take this method",
    409: "Refused: the flow cannot do that now",
    412: "The flow has moved on since the version in If-Match",
    413: "Too large",
    422: "A field, parameter or header has a wrong value",
    500: "Something went wrong inside the service",
    503: "The store cannot be reached; try again",
    504: "The read model has not reached what was asked for in time",
}
DONE = {200: "Done", 201: "Made", 202: "Accepted", 204: "Done; nothing to say"}

# beside the flows, what has a version to hold on to
VERSIONED = tuple(f"/api/v1/{each}/{{" for each in ("schedules", "operations", "standing-pauses", "pause-rules"))
UUID_HEADER = {"type": "string", "format": "uuid"}
PARAMETERS: dict[str, Json] = {
    "ClientAccount": {
        "name": "X-Client-Account-ID",
        "in": "header",
        "required": True,
        "schema": UUID_HEADER,
        "description": "The client account; with the engagement it is the tenant.",
    },
    "Engagement": {"name": "X-Engagement-ID", "in": "header", "required": True, "schema": UUID_HEADER},
    "User": {
        "name": "X-User-ID",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "Who is acting.",
    },
    "Correlation": {
        "name": "X-Correlation-ID",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Taken where it is 1 to 255 printable ASCII characters, else made; in every answer, log line and"
        " event.",
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The command's id: the same key and body get the same answer, another body 422.",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": '^((W/)?"[0-9]{1,18}"|[0-9]{1,18}|\\*)$'},
        "description": "The version the flow must be at.",
    },
    "OperatorToken": {
        "name": "X-MFO-Operator-Token",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "What `MFO_OPERATOR_TOKEN` is set to. Dead letters belong to no tenant.",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "The version you hold; 304 when it is still the one.",
    },
}
TENANT = ("ClientAccount", "Engagement", "User")

EVENTS = "text/event-stream"
NDJSON: dict[int, Json] = {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}
EVENT_STREAM: dict[int, Json] = {200: {"content": {EVENTS: {"schema": {"type": "string"}}}}}
FILE: Json = {"schema": {"type": "string", "format": "binary"}}
REPORT: dict[int, Json] = {
    200: {
        "content": {
            "text/html": {"schema": {"type": "string"}},
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": FILE,
        }
    }
}
CSV: dict[int, Json] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
NDJSON_OR_CSV: dict[int, Json] = {200: {"content": NDJSON[200]["content"] | CSV[200]["content"]}}
DELETE_FLOW: Json = {"x-mfo-headers": ["IdempotencyKey", "IfMatch"]}
UPLOAD: Json = {
    "x-mfo-headers": ["IdempotencyKey"],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The inventory."},
                        "import_type": {
                            "type": "string",
                            "maxLength": 100,
                            "description": "A note on what kind of file it is; it changes nothing about how it is read.",
                        },
                        "import_options": {
                            "type": "string",
                            "maxLength": 20_000,
                            "description": "How it is to be read, as JSON: the schema ImportOptions. Left out: everything"
                            " is detected.",
                        },
                    },
                }
            }
        },
    },
}

RETRY: Json = {"x-mfo-headers": ["IdempotencyKey"]}
DISCARD: Json = {
    "x-mfo-headers": ["IdempotencyKey"],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"{REF}DiscardParked"}}},
    },
}
CHECK: Json = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": f"{REF}CheckFlowType"}}},
    },
}

OPERATOR: Json = {"x-mfo-headers": ["OperatorToken"]}
REPLAY: Json = {
    "x-mfo-headers": ["OperatorToken", "IdempotencyKey"],
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"$ref": f"{REF}DeadLetterReplay"}}},
    },
}

READ_ANEW: Json = {
    "x-mfo-headers": ["IdempotencyKey"],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["import_options"],
                    "additionalProperties": False,
                    "properties": {
                        "import_options": {
                            "allOf": [{"$ref": f"{REF}ImportOptions"}],
                            "description": "They take the place of those before; `{}`: everything is detected.",
                        }
                    },
                }
            }
        },
    },
}


def answers(
    done: int,
    model: Any,
    *others: int,
    also: dict[int, type[BaseModel]] | None = None,
    extra: dict[int, Json] | None = None,
) -> dict[int | str, Json]:
    """The `responses` of a route: the answer when done, and problems for every other status named."""
    also = also or {}
    found: dict[int | str, Json] = {done: {"description": DONE[done], **({"model": model} if model else {})}}
    for status, other in also.items():
        found[status] = {"description": DONE.get(status) or REASONS[status], "model": other}
    for status in others:
        if status in also:
            continue
        found[status] = {"description": REASONS[status]}
        if status >= 400:
            found[status]["content"] = {"application/problem+json": {"schema": {"$ref": f"{REF}Problem"}}}
    for number, more in (extra or {}).items():
        found[number] |= more
    return found


def flow_of_type() -> Json:
    """The `openapi_extra` of a route that makes a flow of the type that its path names."""
    return {
        "x-mfo-headers": ["IdempotencyKey"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"{REF}CreateFlowOfType"}}},
        },
    }


def takes(
    command: type[Command] | type[ScheduleCommand] | type[FleetCommand],
    *,
    required: bool = False,
    if_match: bool = True,
) -> Json:
    """The `openapi_extra` of a route whose body is this command without the id that the path names."""
    return {
        "x-mfo-headers": ["IdempotencyKey", "IfMatch"] if if_match else ["IdempotencyKey"],
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": {"$ref": f"{REF}{command.__name__}"}}},
        },
    }


def body_of(model: type[BaseModel], *, required: bool = False) -> Json:
    """The `openapi_extra` of a route whose body is this document."""
    return {
        "x-mfo-headers": ["IdempotencyKey"],
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": {"$ref": f"{REF}{model.__name__}"}}},
        },
    }


def install(app: FastAPI) -> None:
    """Let the application tell this document."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def document(app: FastAPI) -> Json:
    """The OpenAPI document of the application's routes."""
    told = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = told.setdefault("components", {})
    schemas: Json = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    models: tuple[type[BaseModel], ...] = (
        *(Problem, ImportOptions, DiscardParked, DeadLetterReplay, CheckFlowType),
        *(*PUBLIC.values(), *PUBLIC_SCHEDULE.values(), *PUBLIC_FLEET.values()),
        Repair,
        *(CreateSubscription, UpdateSubscription, RotateSubscriptionSecret),
        *(SetRetention, PlaceHold),
    )
    for model in models:
        schemas.update(_schemas(model))
    of_type = {**schemas["CreateFlow"], "title": "CreateFlowOfType", "required": ["flow_name"]}
    schemas["CreateFlowOfType"] = of_type | {"description": "As CreateFlow; the path names the type."}
    components["parameters"] = PARAMETERS
    components["headers"] = {
        "Correlation": {"description": "As sent, or made.", "schema": {"type": "string"}},
        "ETag": {"description": "The flow's version in quotes.", "schema": {"type": "string"}},
        "Position": {"description": "Place in the log.", "schema": {"type": "string"}},
        "Location": {"description": "Where it is read.", "schema": {"type": "string"}},
        "RetryAfter": {"description": "Seconds after which to ask again.", "schema": {"type": "string"}},
        "Deprecation": {"description": "Since when, as RFC 9745 writes it.", "schema": {"type": "string"}},
        "Sunset": {"description": "Until when the route is there.", "schema": {"type": "string"}},
        "Successor": {"description": "The route to use instead.", "schema": {"type": "string"}},
        "Disposition": {"description": "The name to keep the file under.", "schema": {"type": "string"}},
        "Options": {"description": "`nosniff`.", "schema": {"type": "string"}},
        "Uncached": {"description": "No one between may keep it or hold it up.", "schema": {"type": "string"}},
        "Policy": {"description": "The page runs no script and loads nothing.", "schema": {"type": "string"}},
    }
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation)
    return told


def _schemas(model: type[BaseModel]) -> Json:
    """A model and what it is made of; a command without the id that the path names."""
    schema = model.model_json_schema(ref_template=REF + "{model}")
    inner: Json = schema.pop("$defs", {})
    if issubclass(model, Command | ScheduleCommand | FleetCommand):
        named = "flow_id" if issubclass(model, Command) else getattr(model, "named", "schedule_id")
        schema["properties"].pop(named)
        schema["required"] = [name for name in schema.get("required", []) if name != named]
        if not schema["required"]:
            del schema["required"]
    for name in getattr(model, "not_null", ()):
        told = schema["properties"][name]
        kinds = [kind for kind in told.pop("anyOf") if kind != {"type": "null"}]
        told.pop("default")
        schema["properties"][name] = told | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
    return {model.__name__: schema, **inner}


def _complete(path: str, method: str, operation: Json) -> None:
    headers = list(operation.pop("x-mfo-headers", []))
    if "304" in operation["responses"]:
        headers.append("IfNoneMatch")
    if path.startswith("/api/"):
        headers = [*TENANT, *headers]
    operation.setdefault("parameters", []).extend(
        {"$ref": f"#/components/parameters/{name}"} for name in (*headers, "Correlation")
    )
    for status, response in operation["responses"].items():
        # a title made of the path says nothing that the description does not
        response.get("content", {}).get("application/json", {}).get("schema", {}).pop("title", None)
        response.setdefault("headers", {}).update(
            {
                name: {"$ref": f"#/components/headers/{told}"}
                for name, told in _headers(path, method, operation, status).items()
            }
        )


def _headers(path: str, method: str, operation: Json, status: str) -> dict[str, str]:
    """The headers that an answer may have, and the components that tell of them."""
    found = {"X-Correlation-ID": "Correlation"}
    of_flow = path.endswith(("/flows", "/create")) or ("/flows/{flow_id}" in path and not path.endswith("/audit"))
    versioned = of_flow or f"{path}/{{".startswith(VERSIONED)
    one = "{" in path or method != "get"
    if versioned and one and status in ("200", "201", "202", "204", "304"):
        found["ETag"] = "ETag"
    if method == "delete" and status == "204":
        found["X-MFO-Position"] = "Position"
    if method == "post" and (status in ("201", "202") or path.endswith("/imports")):
        found["Location"] = "Location"
    if status == "503" or (method == "get" and status == "409"):
        found["Retry-After"] = "RetryAfter"
    if operation.get("deprecated"):
        found |= {"Deprecation": "Deprecation", "Sunset": "Sunset", "Link": "Successor"}
    others = set(operation["responses"][status].get("content", ())) - {"application/json", "application/problem+json"}
    if EVENTS in others:
        found |= {"Cache-Control": "Uncached", "X-Accel-Buffering": "Uncached"}
    elif others and path.startswith("/api/"):
        found |= {"Content-Disposition": "Disposition", "X-Content-Type-Options": "Options"}
    if "text/html" in others:
        found["Content-Security-Policy"] = "Policy"
    return found
