"""`mfo audit ...`: whether history is what it was, and the keys that say so."""

from __future__ import annotations

import os
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from domain.words import counted
from mfo.commands.output import AsJson, Code, give, say, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The audit trail: whether history is what it was.")

JOBS = os.cpu_count() or 1


@app.command()
def verify(
    *,
    account: Annotated[
        UUID | None, typer.Option("--account", help="One client account; left out: the whole store.")
    ] = None,
    flow: Annotated[UUID | None, typer.Option("--flow", help="The chain of one flow, without the checkpoints.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="PUBLIC_KEY|FILE", help="A public key that you trust; may be repeated."),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option("--published", metavar="FILE|kafka", help="Checkpoints that were published, to compare with."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that read side by side.")] = JOBS,
    as_json: AsJson = False,
) -> int:
    """Hold history, command log and signed checkpoints against each other; says what is wrong, and where. Exit code 1 then."""
    from eventstore.audit.signing import public_key_from, trusted
    from mfo.auditing import Which, known_keys, published_in
    from mfo.auditing import verify as read_all
    from mfo.doctoring import settings

    config = settings().service_config()
    trusts = [public_key_from(text) for text in key or ()]
    if not trusts:
        trusts = [public_key_from(known["public_key"]) for known in known_keys(config)]
        if flow is None:
            say("no --key: the keys that the store itself names are trusted, which whoever may write there can change")
    which = Which(account, flow, published_in(published, config) if published else ())
    began = monotonic()
    verdict = read_all(config, trusted(trusts), which, jobs=jobs, said=say)
    seconds = monotonic() - began
    document = {
        "status": "holds" if verdict.holds else "broken",
        **msgspec.to_builtins(verdict),
        "published": len(which.published),
        "trusted_by": "caller" if key else "store",
        "seconds": round(seconds, 1),
    }
    give(document, _text(document), as_json)
    return Code.DONE if verdict.holds else Code.REFUSED


def _text(document: Json) -> str:
    lines = [f"{trouble['code']:<20} {trouble['message']}" for trouble in document["troubles"]]
    seen = f"{counted(document['flows'], 'flow')}, {counted(document['events'], 'event')}"
    seen += f", {counted(document['commands'], 'command')}, {counted(document['checkpoints'], 'checkpoint')}"
    if document["published"]:
        seen += f", {document['published']} published"
    lines.append(f"{document['status']}: {seen}, in {document['seconds']} s")
    if document["unsigned_events"] or document["unsigned_commands"]:
        lines.append(
            f"newer than the last checkpoint: {counted(document['unsigned_events'], 'event')},"
            f" {counted(document['unsigned_commands'], 'command')}"
        )
    return "\n".join(lines)


@app.command()
def keys(as_json: AsJson = False) -> None:
    """The public keys that have signed here. Pass them on by a way on which nobody can change them."""
    from mfo.auditing import known_keys
    from mfo.doctoring import settings

    found = known_keys(settings().service_config())
    rows = [[one["key_id"], one["public_key"], one["first_used_at"], one["last_used_at"]] for one in found]
    headings = ["key_id", "public_key", "first_used", "last_used"]
    give({"keys": found}, table(headings, rows) if rows else "nothing has been signed yet", as_json)
