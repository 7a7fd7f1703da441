"""`mfo target list|retry`: the other systems that handlers call, and which of them are left alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.output import AsJson, facts, give, table

Json = dict[str, Any]

app = typer.Typer(
    help="The other systems that handlers call: which are left alone, why and until when.", no_args_is_help=True
)

COLUMNS = ("target", "state", "failures", "last_class", "reason", "open_until", "openings")


@app.command("list")
def list_targets(
    state: Annotated[str | None, typer.Option(help="Only these: closed, open, half_open, comma between.")] = None,
    as_json: AsJson = False,
) -> None:
    """The targets that have failed at some time; (own): the client account's own."""

    async def converse(client: Client) -> list[Json]:
        return [target async for target in client.targets(states=state)]

    found = talk(converse)
    rows = [
        [f"{one['target']}{'' if one['shared'] else ' (own)'}", *(one[name] for name in COLUMNS[1:])] for one in found
    ]
    give({"targets": found}, table(COLUMNS, rows) if rows else "no target has failed", as_json)


@app.command()
def retry(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="As `mfo target list` names it.")],
    own: Annotated[bool, typer.Option("--own", help="The client account's own, not the one that all share.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have the next call of an open target try it, whatever its time."""
    found = talk(lambda client: client.retry_target(target, own=own))
    give(found, facts(found), as_json)
