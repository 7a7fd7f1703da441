"""`mfo dev`, `env`, `api`, `consumers`, `projections`, `migrate`: what runs, and where."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import SettingsError
from mfo.commands.connection import environment
from mfo.commands.output import AsJson, give, plain, say, table
from mfo.running import Running, Unreachable, command, default_folder, running

projections = typer.Typer(help="Run the projections, or ask how far the read models are.")

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default=str(default_folder()))]


class Broker(StrEnum):
    """Which Kafka `mfo dev` starts."""

    AUTO = "auto"
    JARS = "jars"
    BUILTIN = "builtin"


def dev(
    *,
    data: Data = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where HTTP is served; 0 takes a free port.")] = 8080,
    kafka: Annotated[
        Broker, typer.Option(help="jars: a real broker (Java 17, Maven); builtin: in memory.")
    ] = Broker.AUTO,
    fresh: Annotated[bool, typer.Option("--fresh", help="Empty the data folder first.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every line of the services' logs.")] = False,
    as_json: AsJson = False,
) -> None:
    """The whole system on this machine, with a PostgreSQL and a Kafka of its own, until Ctrl-C."""
    from mfo.dev import Dev, Options

    def when_ready(note: Running) -> None:
        give({"state": "ready"} | note.as_public(), _welcome(note, data), as_json)

    Dev(Options(data=data or default_folder(), port=port, kafka=kafka.value, fresh=fresh, verbose=verbose), say).run(
        when_ready
    )


def _metrics(note: Running) -> str:
    """Where each service shows its figures: api, consumers, projections."""
    ports = (note.environment[f"MFO_{name}_HEALTH_PORT"] for name in ("CONSUMERS", "PROJECTIONS"))
    return ", ".join([f"{note.url}/metrics", *(f"http://127.0.0.1:{port}/metrics" for port in ports)])


def _welcome(note: Running, data: Path | None) -> str:
    option = f" --data {shlex.quote(str(data))}" if data else ""
    kind = "a real broker from its jars" if note.kafka == "jars" else "the built-in broker, in memory only"
    return "\n".join(
        (
            "",
            f"mfo is ready at {note.url}",
            f"  API documentation  {note.url}/docs",
            f"  health             {note.url}/health/ready",
            f"  metrics            {_metrics(note)}",
            f"  PostgreSQL         {note.postgres}, its data in {note.data}",
            f"  Kafka              {note.kafka_bootstrap}, {kind}",
            f'  in another shell   eval "$({command()} env{option})"',
            "Ctrl-C stops it; the data stays.",
        )
    )


def env(data: Data = None, as_json: AsJson = False) -> None:
    """Print the variables that lead to a running `mfo dev`, as shell exports."""
    found = running(data)
    if found is None:
        folder = (data or default_folder()).expanduser().resolve()
        raise Unreachable(f"no mfo dev is up in {folder}")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.environment.items()]
    give(found.environment, "\n".join(lines), as_json)


def api(as_json: AsJson = False) -> None:
    """The HTTP service, against MFO_DATABASE_URL and MFO_KAFKA_BOOTSTRAP."""
    _serve("api", as_json)


def consumers(as_json: AsJson = False) -> None:
    """The service that takes commands from Kafka, runs phases, fires timers and publishes events."""
    _serve("consumers", as_json)


@projections.callback(invoke_without_command=True)
def run_projections(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the service that keeps the read models, or one of the commands below."""
    if context.invoked_subcommand is None:
        _serve("projections", as_json)


@projections.command("list")
def list_projections(as_json: AsJson = False) -> None:
    """Every read model: its version, its state, how far behind it is, how many flows are set aside."""
    from mfo.readmodels import standings

    found = standings(_database_url())
    headings = ["name", "version", "state", "position", "lag", "lag_seconds", "rate", "parked"]
    rows = [[_shown(one[heading]) for heading in headings] + [_rebuild(one)] for one in found]
    give(
        {"projections": found},
        table([heading.replace("_", " ") for heading in headings] + ["last rebuild"], rows),
        as_json,
    )


def _shown(value: Any) -> Any:
    return round(value, 1) if isinstance(value, float) else value


def _rebuild(one: dict[str, Any]) -> str | None:
    """How far the last rebuild of a read model is, in words."""
    last = one["rebuild"]
    if last is None:
        return None
    if last["ended_at"] is not None:
        return f"{last['state']} {plain(last['ended_at'])}"
    left = f", {last['eta_seconds']:.0f} s left" if last["eta_seconds"] is not None else ""
    return f"{last['state']}, {last['flows_done']} of {last['flows_total']} flows{left}"


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; say whether the schema is up to date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema of MFO_DATABASE_URL up to date."""
    from eventstore import migrate as schema

    revision = schema.check(_database_url()) if check else schema.upgrade(_database_url())
    told = "is up to date" if check else "is up to date now"
    give({"revision": revision, "up_to_date": True}, f"the schema {told}: {revision}", as_json)


def _database_url() -> str:
    """That of the environment, else of the `mfo dev` that runs in its usual folder; raises SettingsError."""
    if url := os.environ.get("MFO_DATABASE_URL"):
        return url
    with suppress(Unreachable):
        if url := environment().get("MFO_DATABASE_URL"):
            return url
    raise SettingsError("MFO_DATABASE_URL is missing; set it to the database's address")


def _serve(name: Any, as_json: bool) -> None:
    from mfo.services import run_service

    run_service(name)
    if as_json:
        give({"service": name, "state": "stopped"}, "", as_json)
