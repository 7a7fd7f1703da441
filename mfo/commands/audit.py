"""`mfo audit ...`: whether history is what it was, and the keys that say so."""

from __future__ import annotations

import getpass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from domain.errors import TenantMissing
from domain.words import counted
from eventstore.config import JOBS
from mfo.commands import audit_trail
from mfo.commands.output import AsJson, Code, give, say, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The audit trail: whether history is what it was.")


@app.command()
def verify(
    pack: Annotated[
        Path | None, typer.Argument(metavar="[PACK]", help="An evidence pack, verified by itself; left out: the store.")
    ] = None,
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
        typer.Option(
            "--published", metavar="FILE|kafka|s3://...", help="Checkpoints that were published, to compare with."
        ),
    ] = None,
    artifacts: Annotated[
        bool, typer.Option("--artifacts/--no-artifacts", help="Read what lies in artifacts, too; all of their bytes.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that read side by side.")] = JOBS,
    as_json: AsJson = False,
) -> int:
    """Hold history, command log and signed checkpoints against each other; says what is wrong, and where. Exit code 1 then."""
    if pack is not None:
        if account is not None or flow is not None or published is not None:
            raise typer.BadParameter("--account, --flow and --published are about the store, and go without a PACK")
        return _verify_pack(pack, key or [], as_json)
    from eventstore.audit.signing import public_key_from, trusted
    from mfo.auditing import Which, known_keys, published_in
    from mfo.auditing import verify as read_all
    from mfo.doctoring import settings

    known = settings()
    config = known.service_config()
    trusts = [public_key_from(text) for text in key or ()]
    if not trusts:
        trusts = [public_key_from(one["public_key"]) for one in known_keys(config)]
        if flow is None:
            say("no --key: the keys that the store itself names are trusted, which whoever may write there can change")
    copies = published_in(published, config, known.audit_s3_endpoint) if published else ()
    which = Which(account, flow, artifacts, copies)
    began = monotonic()
    verdict = read_all(config, trusted(trusts), which, jobs=jobs, said=say)
    seconds = monotonic() - began
    document = {
        "status": "holds" if verdict.holds else "broken",
        **msgspec.to_builtins(verdict),
        "published_lines": len(which.published),
        "trusted_by": "caller" if key else "store",
        "seconds": round(seconds, 1),
    }
    give(document, _text(document), as_json)
    return Code.DONE if verdict.holds else Code.REFUSED


def _verify_pack(pack: Path, key: list[str], as_json: bool) -> int:
    from eventstore.audit.signing import public_key_from
    from mfo.auditing import verify_pack

    if not key:
        raise typer.BadParameter("a pack proves nothing without a --key that you trust")
    document = verify_pack(pack, [public_key_from(text) for text in key])
    seen = ", ".join(
        f"{number} {name}" if name == "unsigned" else counted(number, name.removesuffix("s"))
        for name, number in document.items()
        if isinstance(number, int)
    )
    lines = [*document["troubles"], f"{document['status']}: {seen}"]
    if document["status"] == "unproven":
        lines.append(
            f"{counted(document['unsigned'], 'entry', 'entries')} in no signed checkpoint: ask for a newer pack"
        )
    give(document, "\n".join(lines), as_json)
    return Code.DONE if document["status"] == "holds" else Code.REFUSED


@app.command()
def export(
    flow: Annotated[UUID | None, typer.Argument(metavar="[FLOW]", help="The flow's id.")] = None,
    *,
    engagement: Annotated[
        bool, typer.Option("--engagement", help="Every flow of the engagement that commands speak for.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the zip is written.")] = Path("evidence.zip"),
    reason: Annotated[str | None, typer.Option(help="Why, and who approved it; kept in the audit trail.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write an evidence pack: events, commands, proofs, checkpoints, and a program that verifies them without us."""
    from domain.commands import Tenant
    from mfo.auditing import export as write_pack
    from mfo.doctoring import settings

    if (flow is None) is not engagement:
        raise typer.BadParameter("name a flow, or give --engagement")
    known = settings()
    if known.client_account_id is None or known.engagement_id is None:
        raise TenantMissing("say whose history: set MFO_CLIENT_ACCOUNT_ID and MFO_ENGAGEMENT_ID")
    manifest = write_pack(
        known.service_config(),
        out,
        flow=flow,
        tenant=Tenant(known.client_account_id, known.engagement_id, known.user_id or getpass.getuser()),
        reason=reason,
    )
    text = f"{out}: {counted(manifest['flows'], 'flow')}, {counted(manifest['events'], 'event')}"
    text += f", {counted(manifest['commands'], 'command')}, {counted(manifest['checkpoints'], 'checkpoint')}"
    if manifest["unsigned"]:
        text += f"; {counted(manifest['unsigned'], 'entry', 'entries')} newer than the last checkpoint, and not proven"
        text += " by this pack: export again in ten seconds"
    give({"file": str(out), **manifest}, text, as_json)


def _text(document: Json) -> str:
    lines = [f"{trouble['code']:<20} {trouble['message']}" for trouble in document["troubles"]]
    seen = f"{counted(document['flows'], 'flow')}, {counted(document['events'], 'event')}"
    seen += f", {counted(document['commands'], 'command')}, {counted(document['checkpoints'], 'checkpoint')}"
    if document["audit_events"]:
        seen += f", {counted(document['audit_events'], 'audit event')}"
    if document["artifacts"]:
        seen += f", {counted(document['artifacts'], 'artifact')}"
    if document["published_lines"]:
        seen += f", {document['published']} of {document['published_lines']} published ones compared"
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


app.command("list")(audit_trail.list_events)
app.command()(audit_trail.report)
app.command()(audit_trail.retention)
app.command()(audit_trail.holds)
app.command()(audit_trail.hold)
app.command()(audit_trail.release)
