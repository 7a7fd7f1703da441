"""`mfo flow ...`: the life of a flow, over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from domain.words import ENDED, Status, counted
from mfo.client import Client, Verb
from mfo.commands.connection import talk
from mfo.commands.given import duration, object_in, object_of
from mfo.commands.output import AsJson, Code, facts, give, say, seconds, table

Json = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Create flows, watch them, and tell them what to do.")

FlowId = Annotated[str, typer.Argument(metavar="ID", help="The flow's id.")]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="K=V|@FILE.json", help="A value (read as JSON if it is), or a file with a JSON object."
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(min=1, max=5, help="1 (first) to 5 (last) among this tenant's flows that wait for a place."),
]
AskingPhase = Annotated[
    str | None, typer.Option("--phase", help="Which question is meant, where several phases ask at the same time.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until nothing happens any more; progress on stderr.")]

InputTimeout = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long a question waits for its answer: 90, 15m, 2h, 1d.")
]

Alone = Annotated[bool, typer.Option("--alone", help="This flow only, not those under it.")]
At = Annotated[str | None, typer.Option(metavar="VERSION|TIME", help="As of then, such as 12 or 2026-11-20T12:00:00Z.")]
NoReuse = Annotated[
    bool, typer.Option("--no-reuse", help="Do all work anew, whatever earlier runs with the same inputs brought.")
]

Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="K=V|@FILE.json",
        help="How phases run, such as max_retries=0, timeout_seconds=60 or save_checkpoints=false; may be repeated.",
    ),
]

PARKED = "parked"
RESTING = ENDED | {Status.WAITING_FOR_INPUT, Status.INITIALIZED}


def values(given: list[str] | None, option: str = "--input") -> Json:
    """The values of `--input` options, later ones winning; raises a usage error for what is neither `K=V` nor `@file.json`."""
    found: Json = {}
    for text in given or []:
        if text.startswith("@"):
            found |= object_in(Path(text[1:]), option)
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{option} {text!r} is neither K=V nor @file.json")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


@app.command()
def create(
    *,
    flow_type: Annotated[str, typer.Argument(metavar="TYPE", help="One of `mfo flow-types`.")],
    name: Annotated[str | None, typer.Option(help="Its name; left out: the type and the file.")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="An inventory to upload first; may be repeated."),
    ] = None,
    inputs: Inputs = None,
    auto: Annotated[bool, typer.Option("--auto", help="Run the phases one after the other.")] = False,
    wait: Wait = False,
    description: Annotated[str | None, typer.Option(help="What it is about.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; may be repeated.")] = None,
    start_at: Annotated[
        str | None, typer.Option(help="Run the first phase at this time, such as 2026-11-20T12:00:00+01:00.")
    ] = None,
    start_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Run the first phase after so long: 90, 15m, 2h, 1d.")
    ] = None,
    flow_timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Fail the flow when it takes longer, pauses not counted.")
    ] = None,
    input_timeout: InputTimeout = None,
    priority: Priority = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="The flow that this one is a child of.")] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A flow that must complete before this one begins; may be repeated."),
    ] = None,
    on_dependency_failure: Annotated[
        str | None, typer.Option(help="Where one of those does not complete: wait (default), ignore, fail.")
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="EMAIL", help="Who is told when it completes, fails or wants input; may be repeated."),
    ] = None,
    no_reuse: NoReuse = False,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Begin a flow, with --file on an inventory uploaded first; --wait ends with 0 only if it completed."""
    data, further = values(inputs), values(option, "--option")
    files = list(file or ())
    options = {
        "auto_execute": auto or None,
        "start_at": start_at,
        "start_after_seconds": duration(start_after, "--start-after"),
        "flow_timeout_seconds": duration(flow_timeout, "--flow-timeout"),
        "input_timeout_seconds": duration(input_timeout, "--input-timeout"),
        "on_dependency_failure": on_dependency_failure,
        "notification_emails": notify or None,
        "reuse_results": False if no_reuse else None,
    }

    async def converse(client: Client) -> Json:
        uploads = []
        for path in files:
            uploads.append(await client.upload(path))
            say(f"uploaded {path}: import_file_id {uploads[-1]['import_file_id']}")
        ids = [upload["import_file_id"] for upload in uploads]
        named = {"import_file_id": ids[0]} if len(ids) == 1 else {"import_file_ids": ids} if ids else {}
        flow = await client.create_flow(
            flow_type,
            name or " ".join([flow_type, *(path.name for path in files[:3])])[:255],
            initial_data=named | data,
            options=further | {name: value for name, value in options.items() if value is not None},
            priority=priority,
            description=description,
            tags=tuple(tag or ()),
            parent=parent,
            depends_on=after or (),
        )
        if _waits(flow) or not wait:
            return flow
        return await wait_for(client, flow["flow_id"], int(flow["version"]))

    answer = talk(converse)
    if wait:
        _end(answer, as_json)
    give(answer, _brief(answer), as_json)


@app.command("list")
def list_flows(
    *,
    flow_type: Annotated[str | None, typer.Option("--type", help="Only these types, comma between.")] = None,
    status: Annotated[str | None, typer.Option(help="Only these statuses, comma between.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    search: Annotated[str | None, typer.Option(help="Words of the name or description.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Only the children of this flow.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="As they stood then: 2026-11-20T12:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """The flows of this engagement, the newest first."""
    params = {"flow_type": flow_type, "status": status, "tag": tag, "search": search, "limit": min(limit, 200)}
    params |= {"parent_flow_id": parent, "at": at}

    async def converse(client: Client) -> list[Json]:
        return await some(client.pages("/flows", "flows", params=params), limit)

    flows = talk(converse)
    rows = [
        [
            flow["flow_id"],
            flow["flow_type"],
            flow.get("status") or flow.get("flow_status"),
            flow.get("current_phase"),
            flow["flow_name"],
        ]
        for flow in flows
    ]
    give({"flows": flows}, table(["flow_id", "type", "status", "phase", "name"], rows) if rows else "no flows", as_json)


@app.command()
def show(flow_id: FlowId, at: At = None, as_json: AsJson = False) -> None:
    """Everything about a flow, now or as of then."""
    flow = talk(lambda client: client.flow(flow_id, at=at))
    give(
        flow,
        facts({name: value for name, value in flow.items() if name != "phases"})
        + "\n\n"
        + "\n\n".join(filter(None, (_phases(flow), _code(flow)))),
        as_json,
    )


@app.command()
def status(flow_id: FlowId, at: At = None, as_json: AsJson = False) -> None:
    """Where a flow stands and what it needs next, or stood then."""
    found = talk(lambda client: client.status(flow_id, at=at))
    give(found, _status(found), as_json)


@app.command()
def execute(
    *,
    flow_id: FlowId,
    phase: Annotated[str | None, typer.Argument(help="Left out: the next one.")] = None,
    inputs: Inputs = None,
    wait: Wait = False,
    input_timeout: InputTimeout = None,
    priority: Priority = None,
    no_reuse: NoReuse = False,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Run the next phase of a flow, or the one named; with --wait ends with 1 if it failed or asks for something."""
    given = values(inputs)
    patience = duration(input_timeout, "--input-timeout")
    options = values(option, "--option") | ({"input_timeout_seconds": patience} if patience is not None else {})
    if no_reuse:
        options["reuse_results"] = False

    async def converse(client: Client) -> Json:
        started = await client.execute(flow_id, phase, inputs=given, options=options or None, priority=priority)
        return await wait_for(client, flow_id, int(started["version"])) if not _waits(started) and wait else started

    answer = talk(converse)
    if wait:
        _end(answer, as_json, between_phases_is_fine=True)
    give(answer, facts(answer), as_json)


@app.command()
def pause(
    flow_id: FlowId,
    reason: Reason = None,
    timers: Annotated[
        str | None,
        typer.Option(
            metavar="frozen|running", help="What its timers do meanwhile: keep what is left (left out), or go on."
        ),
    ] = None,
    alone: Alone = False,
    as_json: AsJson = False,
) -> None:
    """Stop a flow before its next phase; work in progress drains."""
    _tell(flow_id, "pause", {"reason": reason, "timers": timers, "tree": False if alone else None}, as_json)


@app.command()
def resume(flow_id: FlowId, reason: Reason = None, alone: Alone = False, as_json: AsJson = False) -> None:
    """Go on where a flow was paused."""
    _tell(flow_id, "resume", {"reason": reason, "tree": False if alone else None}, as_json)


@app.command()
def cancel(
    flow_id: FlowId,
    reason: Reason = None,
    compensate: Annotated[bool, typer.Option("--compensate", help="Undo what its phases did, newest first.")] = False,
    alone: Alone = False,
    as_json: AsJson = False,
) -> None:
    """End a flow for good, without a result; its type may clean up after it."""
    _tell(
        flow_id,
        "cancel",
        {"reason": reason, "compensate": compensate or None, "tree": False if alone else None},
        as_json,
    )


@app.command("input")
def give_input(
    *,
    flow_id: FlowId,
    inputs: Inputs = None,
    phase: AskingPhase = None,
    reason: Reason = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Answer what a flow asked for, such as --input approval=true."""
    given = values(inputs)
    if not given:
        raise typer.BadParameter("say what the answer is: --input K=V or --input @file.json")
    named = {"phase_name": phase} if phase is not None else {}
    _tell(flow_id, "input", given | named | {"reason": reason}, as_json, wait=wait)


@app.command()
def signal(
    *,
    flow_id: FlowId,
    name: Annotated[str, typer.Argument(help="What the handler waits for.")],
    payload: Annotated[
        list[str] | None,
        typer.Option("--payload", metavar="K=V|@FILE.json", help="What there is to say; as with --input."),
    ] = None,
    signal_id: Annotated[
        str | None, typer.Option("--id", help="Your own id: a second signal under it changes nothing.")
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Tell a flow something from outside: kept in order until a handler waits for it."""
    body = {"name": name, "payload": values(payload, "--payload"), "signal_id": signal_id}
    _tell(flow_id, "signals", body, as_json, wait=wait)


@app.command()
def skip(
    flow_id: FlowId,
    phase: Annotated[
        str | None, typer.Argument(help="Left out: the next one; where several are next, one of them.")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE.json", help="What stands in for its outputs; fits its schema.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Leave the next phase out, also one that is running, waits or has failed."""
    given = object_of(outputs, "--outputs") if outputs is not None else None
    _tell(flow_id, "skip", {"phase_name": phase, "outputs": given, "reason": reason}, as_json)


@app.command()
def retry(flow_id: FlowId, reason: Reason = None, wait: Wait = False, as_json: AsJson = False) -> None:
    """Try a failed flow again from its failed phase, or begin the attempt that waits at once."""
    _tell(flow_id, "retry", {"reason": reason}, as_json, wait=wait)


@app.command()
def iterate(
    *,
    flow_id: FlowId,
    phase: Annotated[str | None, typer.Argument(help="From this phase on; left out: from the first.")] = None,
    inputs: Inputs = None,
    reason: Reason = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new round of a flow's phases; what the former rounds brought stays (mfo flow iterations)."""
    given = values(inputs)
    _tell(flow_id, "iterate", {"phase_name": phase, "inputs": given or None, "reason": reason}, as_json, wait=wait)


@app.command()
def iterations(
    flow_id: FlowId,
    number: Annotated[int | None, typer.Argument(min=1, help="Only this round, with its phases and outputs.")] = None,
    as_json: AsJson = False,
) -> None:
    """The rounds of a flow, or what the phases of one of them brought."""
    if number is not None:
        one = talk(lambda client: client.iteration(flow_id, number))
        shown = {name: value for name, value in one.items() if name not in {"phases", "outputs", "inputs"}}
        give(one, facts(shown) + "\n\n" + _phases(one), as_json)
        return
    found = talk(lambda client: client.iterations(flow_id))
    rows = [
        [each["number"], each["from_phase"], each["status"], each["started_at"], each["ended_at"], each["reason"]]
        for each in found["iterations"]
    ]
    give(found, table(["round", "from", "status", "began", "ended", "reason"], rows), as_json)


@app.command()
def delete(flow_id: FlowId, reason: Reason = None, alone: Alone = False, as_json: AsJson = False) -> None:
    """Hide a flow; its history stays."""
    answer = talk(lambda client: client.delete(flow_id, reason, tree=not alone))
    if _waits(answer):
        give(answer, facts(answer), as_json)
        return
    give({"flow_id": flow_id, "status": "deleted"}, f"{flow_id} is deleted; its history stays", as_json)


@app.command()
def tree(flow_id: FlowId, as_json: AsJson = False) -> None:
    """A flow with all flows under it, and where each stands."""
    found = talk(lambda client: client.tree(flow_id))
    give(found, "\n".join([*branch(found), "", counted_below(found)]), as_json)


@app.command()
def summary(flow_id: FlowId, as_json: AsJson = False) -> None:
    """A flow and all flows under it, added up: how they stand, what they found, how good it is."""
    found = talk(lambda client: client.summary(flow_id))
    rows = [
        [each["flow_type"], each["phase_name"], _counted(each["statuses"]), each["quality"]] for each in found["phases"]
    ]
    told = {name: _counted(value) if isinstance(value, dict) else value for name, value in found.items()}
    del told["phases"]
    give(found, facts(told) + "\n\n" + table(["type", "phase", "statuses", "quality"], rows), as_json)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


@app.command()
def watch(flow_id: FlowId, as_json: AsJson = False) -> None:
    """Show a flow's phases as they happen, until it is over."""

    async def converse(client: Client) -> Json:
        async with aclosing(client.follow(flow_id)) as changes:
            with shown() as show_status:
                async for found in changes:
                    show_status(found)
        return found

    _end(talk(converse), as_json)


async def wait_for(client: Client, flow_id: str, version: int) -> Json:
    """The flow's status once nothing more happens by itself: over, paused, between phases, or waiting for somebody."""
    async with aclosing(client.follow(flow_id, min_version=version)) as changes:
        with shown() as show_status:
            async for found in changes:
                show_status(found)
                if (found.get("next_action") or {}).get("type") == "wait":
                    continue
                if found["status"] in RESTING or (found["status"] == Status.PAUSED and not found.get("draining")):
                    break
    return found


@contextmanager
def shown() -> Iterator[Any]:
    """A way to show statuses as they come: a bar on a terminal, a line for each change otherwise; on stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=100)
        lines = Lines(lambda line: progress.console.print(line, markup=False, highlight=False))

        def show_status(found: Json) -> None:
            lines(found)
            doing = run_line(found.get("run")) or (
                found.get("current_phase") if found["status"] == Status.PROCESSING else found["status"]
            )
            progress.update(
                task, completed=float((found.get("progress") or {}).get("percentage") or 0), description=str(doing)
            )

        yield show_status


class Lines:
    """Says each change of a phase or of the flow once."""

    def __init__(self, out: Any = say) -> None:
        self._out = out
        self._phases: dict[str, tuple[Any, ...]] = {}
        self._status: str | None = None

    def __call__(self, found: Json) -> None:
        for phase in found.get("phases") or []:
            mark = (phase["status"], phase.get("attempt"))
            if phase["status"] == "pending" or self._phases.get(phase["name"]) == mark:
                continue
            self._phases[phase["name"]] = mark
            self._out(phase_line(phase))
        if found["status"] != self._status:
            self._status = found["status"]
            percentage = (found.get("progress") or {}).get("percentage") or 0
            self._out(f"{found['status']} ({percentage:g} %)")


def phase_line(phase: Json) -> str:
    """One phase in a line: its name, how it stands, how long it took, what came of it."""
    parts = [f"{phase['name']}: {phase['status']}"]
    if phase["status"] == "completed":
        parts.append(f"in {seconds(phase.get('execution_time_ms'))}")
    if (phase.get("attempt") or 0) > 1:
        parts.append(f"(attempt {phase['attempt']})")
    message = (phase.get("outputs") or {}).get("message") or (phase.get("error") or {}).get("message")
    return " ".join(parts) + (f" - {message}" if message else "")


def run_line(run: Json | None) -> str | None:
    """The attempt in hand in a line: which one it is, how far, and what its handler says of it."""
    if not run:
        return None
    parts = [run["phase_name"]]
    if run["attempt"] > 1:
        parts.append(f"attempt {run['attempt']} of {run['max_attempts']}")
    if run.get("state") == "queued":
        parts.append("waits for a worker")
    if said := run.get("progress"):
        parts.append(f"{said['done']} of {said['total']}" if said["total"] else f"{said['done']} done")
        if said["message"]:
            parts.append(said["message"])
    return ", ".join(parts)


def reason_of(found: Json) -> str:
    """Why a flow that was waited for has not completed, in a sentence."""
    action = found.get("next_action") or {}
    failures = [
        phase["error"] for phase in found.get("phases") or [] if phase.get("error") and phase["status"] == "failed"
    ]
    text = f"The flow is {found['status'].replace('_', ' ')}"
    if failures:
        text += f": {failures[-1].get('message') or failures[-1].get('code')}"
    if action.get("type") and action["type"] != "none":
        wanted = f" ({', '.join(action['required_inputs'])})" if action.get("required_inputs") else ""
        text += f"; next: {action['type']} {action.get('phase') or ''}".rstrip() + wanted
        text += f" - {action['message']}" if action.get("message") else ""
    return text


def _end(found: Json, as_json: bool, *, between_phases_is_fine: bool = False) -> None:
    """Give the status a wait ended with, and exit as it says."""
    if found.get("outcome") == PARKED:
        give(found, facts(found), as_json)
        raise typer.Exit(Code.REFUSED)
    give(found, _status(found), as_json)
    fine = found["status"] == Status.COMPLETED
    if between_phases_is_fine and found["status"] in {Status.INITIALIZED, Status.WAITING_FOR_INPUT}:
        fine = (found.get("next_action") or {}).get("type") == "execute_phase"
    if not fine:
        say(reason_of(found))
    raise typer.Exit(Code.DONE if fine else Code.REFUSED)


def _tell(flow_id: str, verb: str, body: Json, as_json: bool, *, wait: bool = False) -> None:
    given = {name: value for name, value in body.items() if value is not None}

    async def converse(client: Client) -> Json:
        told = await client.tell(flow_id, cast(Verb, verb), given)
        return await wait_for(client, flow_id, int(told["version"])) if not _waits(told) and wait else told

    answer = talk(converse)
    if wait:
        _end(answer, as_json, between_phases_is_fine=True)
    give(answer, facts(answer), as_json)


def _waits(answer: Json) -> bool:
    """Whether a command was kept behind a parked flow; says so."""
    parked = answer.get("outcome") == PARKED
    if parked:
        say(f"The flow is parked and the command waits; see: mfo parked show {answer['flow_id']}")
    return parked


async def some(rows: AsyncIterator[Json], limit: int | None) -> list[Json]:
    """The first rows, at most `limit`."""
    found: list[Json] = []
    async for row in rows:
        found.append(row)
        if limit is not None and len(found) >= limit:
            break
    return found


def _brief(flow: Json) -> str:
    action = flow.get("next_action") or {}
    return facts(
        {
            "flow_id": flow["flow_id"],
            "status": flow.get("status"),
            "current_phase": flow.get("current_phase"),
            "next_action": action.get("type"),
            "until": action.get("until"),
            "message": action.get("message"),
            "version": flow.get("version"),
        }
    )


def lanes_line(lanes: list[Json]) -> str | None:
    """Where each phase in hand stands, where there are several; none else."""
    return ", ".join(f"{lane['phase_name']} ({lane['state'].replace('_', ' ')})" for lane in lanes) or None


def _status(found: Json) -> str:
    progress, action = found.get("progress") or {}, found.get("next_action") or {}
    head = facts(
        {
            "flow_id": found.get("flow_id"),
            "name": found.get("flow_name"),
            "status": found["status"],
            "paused": paused_line(found.get("paused"), found.get("draining_runs") or 0),
            "progress": f"{progress.get('percentage') or 0:g} %",
            "current_phase": found.get("current_phase"),
            "in hand": lanes_line(found.get("lanes") or []),
            "run": run_line(found.get("run")),
            "deadline": (found.get("run") or {}).get("deadline"),
            "next_action": f"{action.get('type')} {action.get('phase') or ''}".strip(),
            "message": action.get("message"),
            "rolled back": rollback_line(found.get("rollback")),
            "timers": ", ".join(waits_for(one) for one in found.get("timers") or []) or None,
            "waiting": waiting_line(found.get("waiting")),
            "round": found.get("iteration_number") if (found.get("iteration_number") or 1) > 1 else None,
            "recovery": recovery_line(found.get("recovery")),
            "below it": below_line(found["tree"]) if found.get("tree") else None,
            "version": found.get("version"),
        }
    )
    return head + "\n\n" + _phases(found)


def rollback_line(back: Json | None) -> str | None:
    """When and why a flow went back, which is why its progress fell, and what is left to undo."""
    if not back:
        return None
    parts = [f"to {back['phase_name']}" if back["phase_name"] else "cancelled", f"by {back['by']} at {back['at']}"]
    parts += [back["reason"]] if back["reason"] else []
    parts += [f"left to undo: {', '.join(one['phase_name'] for one in back['left'])}"] if back["left"] else []
    return "; ".join(parts)


def paused_line(pause: Json | None, draining: int) -> str | None:
    """Who paused the flow, and whether work that had begun is still under way."""
    if not pause:
        return None
    why = f" ({pause['reason']})" if pause.get("reason") else ""
    drains = f"draining {draining}" if draining else f"drained {pause.get('drained_at') or ''}".rstrip()
    running = "; timers go on" if pause.get("timers") == "running" else ""
    return f"by {pause['by']} at {pause['at']}{why}; {drains}{running}"


def branch(node: Json, depth: int = 0) -> list[str]:
    """A flow and those under it, a line each, indented by level."""
    draining = ", draining" if node["draining"] else ""
    phase = f", {node['current_phase']}" if node.get("current_phase") else ""
    line = (
        f"{'  ' * depth}{node['flow_id']}  {node['flow_name']} ({node['flow_type']}):"
        f" {node['status']} {node['progress']:g} %{phase}{draining}"
    )
    return [line, *(inner for child in node["children"] for inner in branch(child, depth + 1))]


def counted_below(found: Json) -> str:
    """How many flows there are under one, and how they stand, in a line."""
    return f"below it: {below_line(found['below'])}" + (" (more were left out)" if found["truncated"] else "")


def below_line(below: Json) -> str:
    """The flows under one in figures."""
    parts = [f"{number} {status.replace('_', ' ')}" for status, number in sorted(below["statuses"].items())]
    draining = f"; {below['draining']} still draining" if below["draining"] else ""
    return counted(below["flows"], "flow") + (f" ({', '.join(parts)})" if parts else "") + draining


def waits_for(timer: Json) -> str:
    """A timer of a flow in words: when it is due or, while the flow is paused, what is left of it."""
    return (
        f"{timer['name']} at {timer['due_at']}"
        if timer["due_at"]
        else (f"{timer['name']} with {seconds(timer['remaining_seconds'] * 1000)} left")
    )


def waiting_line(wait: Json | None) -> str | None:
    """What holds the next attempt, what is before it and since when, in a sentence or two."""
    if not wait:
        return None
    parts = [wait["message"]]
    if wait.get("until"):
        parts.append(f"Until {wait['until']}.")
    if wait.get("before"):
        parts.append(f"Before it: {wait['before']} of this tenant (priority {wait.get('priority')}).")
    return " ".join([*parts, f"Since {wait['since']}."])


def recovery_line(recovery: Json | None) -> str | None:
    """What is done by itself about a phase that used up its attempts."""
    if not recovery:
        return None
    where = f", from {recovery['from_phase']}" if recovery.get("from_phase") else ""
    return f"{recovery['action']} for {recovery['phase_name']} ({recovery['number']} of {recovery['at_most']}){where}"


def _phases(found: Json) -> str:
    rows = [
        [
            phase["name"],
            phase["status"],
            phase.get("attempt"),
            seconds(phase.get("execution_time_ms")),
            phase_message(phase),
        ]
        for phase in found.get("phases") or []
    ]
    return table(["phase", "status", "attempts", "took", "result"], rows)


def _code(found: Json) -> str:
    """Which code brought each phase's last result or failure."""
    rows = [
        [phase["name"], name, version]
        for phase in found.get("phases") or []
        for name, version in (phase.get("handler_versions") or {}).items()
    ]
    return table(["phase", "code", "version"], rows) if rows else ""


def phase_message(phase: Json) -> str | None:
    """What a phase says of its result, or of its failure."""
    return (phase.get("outputs") or {}).get("message") or (phase.get("error") or {}).get("message")
