"""The command line `mfo`.

Every command takes `--json`. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the service cannot be reached.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command_name
from typer.models import CommandInfo

from domain.errors import MfoError, Unavailable
from mfo.commands.output import Code, give, say, sentence
from mfo.running import Unreachable
from mfo.settings import load_settings

# who asks what there is gets an answer whatever is set
ASKING = {"--help", "--version"}

# by the word that is said: where it is, as `module:name`. What is not said is not loaded
COMMANDS = {
    "dev": "services:dev",
    "env": "services:env",
    "api": "services:api",
    "consumers": "services:consumers",
    "migrate": "services:migrate",
    "doctor": "doctor:doctor",
    "import": "imports:import_file",
    "preview": "imports:preview",
    "imports": "imports:imports",
    "sample": "data:sample",
    "portfolio": "analytics:portfolio",
    "replay": "replay:replay",
}
GROUPS = {
    "projections": "services:projections",
    "flow-types": "flow_types:app",
    "target": "targets:app",
    "flow": "flows:app",
    "inputs": "inputs:app",
    "parked": "parked:app",
    "dlq": "dlq:app",
    "audit": "audit:app",
    "legacy": "legacy:app",
    "schedule": "schedules:app",
    "subscriptions": "subscriptions:app",
    "notifications": "notifications:app",
    "operation": "operations:app",
    "pauses": "pauses:app",
}
# words of a group that another module has
FURTHER = {
    "projections": {
        "rebuild": "read_models:rebuild",
        "rollback": "read_models:rollback",
        "verify": "read_models:verify",
    },
    "flow-types": {"performance": "analytics:type_performance"},
    "flow": {
        "report": "reports:report",
        "assets": "reports:assets",
        "dependencies": "reports:dependencies",
        "issues": "reports:issues",
        "reviews": "reports:reviews",
        "changes": "reports:changes",
        "rollback": "back:rollback",
        "checkpoint": "back:checkpoint",
        "checkpoints": "back:checkpoints",
        "history": "past:history",
        "diff": "past:diff",
        "analytics": "analytics:analytics",
        "performance": "analytics:performance",
    },
}


def _offered(first: str) -> typer.Typer:
    """The command line, as far as the first word needs it: all of it where that is no command."""
    app = typer.Typer(
        name="mfo",
        help="Master Flow Orchestrator: long-running flows of migration programmes, every step of them kept.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    known = first in COMMANDS or first in GROUPS
    for word, where in COMMANDS.items():
        if word == first or not known:
            app.command(word)(_loaded(where))
    for word in GROUPS:
        if word == first or not known:
            app.add_typer(_group(word), name=word)
    return app


@cache
def _group(word: str) -> typer.Typer:
    group: typer.Typer = _loaded(GROUPS[word])
    for verb, where in FURTHER.get(word, {}).items():
        group.command(verb)(_loaded(where))
    return group


def _loaded(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(f"mfo.commands.{module}"), name)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mfo {version('mfo')}")
        except PackageNotFoundError:
            print("mfo, not installed as a package")
        raise typer.Exit


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
        return int(
            _meant(_offered(words[0] if words else ""), words)(args=list(words), prog_name="mfo", standalone_mode=False)
            or Code.DONE
        )
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
