"""`mfo doctor`: what is stuck, lagging, set aside or inconsistent, why, and what mends it."""

from __future__ import annotations

import asyncio
import getpass
import os
from typing import Annotated, Any

import msgspec
import typer

from domain.words import counted
from mfo.commands.output import AsJson, Code, give, say

Json = dict[str, Any]


def doctor(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every history too, and compare it with its rows and with Kafka.")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            min=0, help="With --deep: of so many flows, chosen at random, every row is made anew and compared."
        ),
    ] = 1000,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what a command can mend; it is in the history.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """What is stuck, lagging, set aside or inconsistent, why, and what mends it. Exit code 1 where something is."""
    # the projections load slowly, and only this command needs them
    from mfo.doctoring import look, mend, settings

    config = settings().service_config("consumers")
    found = asyncio.run(look(config, deep=deep, sample=sample, said=say))
    done: list[Json] = []
    if repair and any(finding.repairable for finding in found):
        user = os.environ.get("MFO_USER_ID") or getpass.getuser()
        done = asyncio.run(mend(config, found, deep=deep, user_id=user))
        say(f"{counted(len(done), 'repair')} given; looking again")
        found = asyncio.run(look(config, deep=deep, sample=sample, said=say))
    ailing = any(finding.severity != "info" for finding in found)
    document = {
        "status": "ailing" if ailing else "well",
        "findings": msgspec.to_builtins(found),
        "repairs": done,
    }
    give(document, _text(document), as_json)
    return Code.REFUSED if ailing else Code.DONE


def _text(document: Json) -> str:
    lines = []
    for done in document["repairs"]:
        about = f" of {done['flow_id']}" if done.get("flow_id") else ""
        detail = f": {done['detail']}" if done["detail"] else ""
        lines.append(f"repaired  {done['code']}{about}: {done['command']}, {done['outcome']}{detail}")
    for finding in document["findings"]:
        lines += [
            f"{finding['severity']:<9} {finding['code']}  {finding['message']}",
            f"          mend: {finding['mend']}",
            *(f"          - {_subject(subject)}" for subject in finding["subjects"]),
        ]
        if (more := finding["count"] - len(finding["subjects"])) > 0 and finding["subjects"]:
            lines.append(f"          - and {more} more")
    if document["status"] == "well":
        lines.append("all is well")
    return "\n".join(lines)


def _subject(subject: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in subject.items())
