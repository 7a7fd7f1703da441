"""The command line `mfo`.

Every command takes `--json`. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the service cannot be reached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command_name
from typer.models import CommandInfo

from domain.errors import MfoError, Unavailable
from mfo.client import Unreachable
from mfo.commands import (
    analytics,
    audit,
    back,
    data,
    dlq,
    doctor,
    flow_types,
    flows,
    imports,
    inputs,
    legacy,
    notifications,
    operations,
    parked,
    past,
    pauses,
    read_models,
    replay,
    reports,
    schedules,
    services,
    subscriptions,
    targets,
)
from mfo.commands.output import Code, give, say, sentence
from mfo.settings import load_settings

# who asks what there is gets an answer whatever is set
ASKING = {"--help", "--version"}

app = typer.Typer(
    name="mfo",
    help="Master Flow Orchestrator: long-running flows of migration programmes, every step of them kept.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(services.dev)
app.command()(services.env)
app.command()(services.api)
app.command()(services.consumers)
for step in (read_models.rebuild, read_models.rollback, read_models.verify):
    services.projections.command()(step)
app.add_typer(services.projections, name="projections")
app.command()(services.migrate)
app.command()(doctor.doctor)
app.command("import")(imports.import_file)
app.command()(imports.preview)
app.command()(imports.imports)
app.command()(data.sample)
app.add_typer(flow_types.app, name="flow-types")
app.add_typer(targets.app, name="target")
flow_types.app.command("performance")(analytics.type_performance)
for verb in (*reports.VERBS, *back.VERBS, *past.VERBS, *analytics.VERBS):
    flows.app.command()(verb)
app.add_typer(flows.app, name="flow")
app.command()(analytics.portfolio)
app.add_typer(inputs.app, name="inputs")
app.add_typer(parked.app, name="parked")
app.add_typer(dlq.app, name="dlq")
app.add_typer(audit.app, name="audit")
app.command()(replay.replay)
app.add_typer(legacy.app, name="legacy")
app.add_typer(schedules.app, name="schedule")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(notifications.app, name="notifications")
app.add_typer(operations.app, name="operation")
app.add_typer(pauses.app, name="pauses")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mfo {version('mfo')}")
        except PackageNotFoundError:
            print("mfo, not installed as a package")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our answer has seen enough; the interpreter must not complain about it on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Code.REFUSED
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run one command; its exit code. An error is one sentence on stderr, and with `--json` a document on stdout too."""
    as_json = "--json" in words
    try:
        if not ASKING & set(words):
            load_settings()
        return int(_meant(app, words)(args=list(words), prog_name="mfo", standalone_mode=False) or Code.DONE)
    except TyperException as error:
        return _failed(
            {"code": "usage", "detail": error.format_message()}, error.format_message(), error.exit_code, as_json
        )
    except MfoError as error:
        unreachable = isinstance(error, Unreachable | Unavailable)
        return _failed(error.as_dict(), sentence(error), Code.UNREACHABLE if unreachable else Code.REFUSED, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _failed({"code": "interrupted", "detail": "interrupted"}, "interrupted", Code.INTERRUPTED, as_json)


def _meant(offered: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """What is offered, but for the commands beside the one that the first words name: building them all takes 0.2 s."""
    first = words[0] if words else ""
    commands = [one for one in offered.registered_commands if _name(one) == first]
    groups = [copy(one) for one in offered.registered_groups if one.name == first]
    if not commands and not groups:
        return offered
    for group in groups:
        if group.typer_instance is not None:
            group.typer_instance = _meant(group.typer_instance, words[1:])
    narrowed = copy(offered)
    narrowed.registered_commands, narrowed.registered_groups = commands, groups
    return narrowed


def _name(command: CommandInfo) -> str:
    return command.name or (get_command_name(command.callback.__name__) if command.callback else "")


def _failed(error: dict[str, Any], text: str, code: int, as_json: bool) -> int:
    say(text)
    if as_json:
        give({"error": error}, text, as_json)
    return int(code)
