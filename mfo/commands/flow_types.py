"""`mfo flow-types ...`: which kinds of flows there are, whether flows under way can go on by a new version, and moving them."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import typer

from mfo.client import Client
from mfo.commands.connection import talk
from mfo.commands.flows import some
from mfo.commands.given import duration
from mfo.commands.output import AsJson, Code, facts, give, say, short, table
from mfo.moving import Moves, Running, move

Json = dict[str, Any]

SHOWN = 20
FILTERS = ("status", "tag", "search", "created_after", "created_before", "parent_flow_id")

app = typer.Typer(invoke_without_command=True, help="Flow types: their versions, and flows that move between them.")

FlowType = Annotated[str, typer.Argument(metavar="TYPE", help="The flow type's name.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OLD=NEW", help="What a phase is called in the new version; OLD= leaves it behind."),
]
Flows = Annotated[list[str] | None, typer.Option("--flow", metavar="ID", help="Only this flow; may be repeated.")]


@app.callback()
def _list_by_default(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_types(as_json=as_json)


@app.command("list")
def list_types(as_json: AsJson = False) -> None:
    """The flow types and their phases, as new flows get them."""
    kinds = talk(lambda client: client.flow_types())
    give({"flow_types": kinds}, "\n\n".join(_flow_type(kind) for kind in kinds), as_json)


@app.command()
def show(
    name: FlowType,
    version: Annotated[str | None, typer.Option(help="Left out: the one that new flows get.")] = None,
    as_json: AsJson = False,
) -> None:
    """One flow type, in any version that flows were made with."""
    kind = talk(lambda client: client.flow_type(name, version))
    rows = [
        [
            phase["name"],
            phase["weight"],
            ", ".join(phase["handlers"]),
            ", ".join(phase["required_inputs"]),
            ", ".join(phase["optional_inputs"]),
            phase["description"],
        ]
        for phase in kind["phases"]
    ]
    phases = table(["phase", "weight", "handlers", "requires", "takes", "description"], rows)
    give(kind, f"{_flow_type(kind)}\n{_what_it_can(kind)}\n\n{phases}", as_json)


@app.command()
def check(
    *,
    source: Annotated[
        str, typer.Argument(metavar="FILE|MODULE", help="A Python file or module with FLOW_TYPES, or JSON of one type.")
    ],
    flow_type: Annotated[str | None, typer.Option("--type", help="Only this one of those in it.")] = None,
    flows: Flows = None,
    mapped: Mapping = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Everybody's flows; shows MFO_OPERATOR_TOKEN to the service.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which flows under way would break with a new version; exit 1 where one would, or would stand still."""
    found, handlers = _definitions(source)
    wanted = [one for one in found if flow_type in (None, one.get("name"))]
    if not wanted:
        raise typer.BadParameter(f"{source} has no flow type {flow_type or 'at all'}")
    mapping = _mapping(mapped)

    async def converse(client: Client) -> list[Json]:
        return [
            await client.check_flow_type(
                one,
                phase_mapping=mapping or None,
                flow_ids=flows,
                handlers=handlers or None,
                all_tenants=all_tenants or None,
                on_page=_looking,
            )
            for one in wanted
        ]

    checked = talk(converse, as_operator=all_tenants)
    document = checked[0] if len(checked) == 1 else {"checks": checked}
    give(document, "\n\n".join(_checked(one) for one in checked), as_json)
    if any(one["breaks"] or one["waits"] for one in checked):
        raise typer.Exit(Code.REFUSED)


@app.command()
def migrate(
    *,
    name: FlowType,
    to: Annotated[str, typer.Option("--to", metavar="VERSION", help="The version they go on by.")],
    mapped: Mapping = None,
    flows: Flows = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="K=V", help=f"Only flows with this, as in a list: {', '.join(FILTERS)}."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each, and move none.")] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Undo: flows that came from that version go back to it.")
    ] = False,
    running: Annotated[
        Running,
        typer.Option(
            help="With a phase under way: wait for its end, pause the flow around its move, or restart the phase."
        ),
    ] = Running.WAIT,
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="How long phases under way are waited for: 90, 15m, 2h.")
    ] = "30",
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history of each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Move this tenant's flows to another version of their type; run it again to go on. Exit 1 where some are left."""
    mapping = _mapping(mapped)
    if back and mapping:
        raise typer.BadParameter("--back goes by the mapping that brought the flows here; leave --map out")
    params = _params(filters)
    patience_seconds = float(duration(patience, "--patience") or 0)

    async def converse(client: Client) -> tuple[Json, bool]:
        chosen = flows
        if params is not None:
            # strong: flows made a moment ago are to be moved too
            wanted = {**params, "flow_type": name, "limit": 200, "consistency": "strong"}
            listed = client.pages("/flows", "flows", params=wanted)
            ids = [str(flow["flow_id"]) for flow in await some(listed, None)]
            chosen = [one for one in ids if flows is None or one in flows]
        moves = Moves(
            flow_type=name,
            to_version=to,
            phase_mapping=mapping,
            flow_ids=chosen,
            back=back,
            running=running,
            patience_seconds=patience_seconds,
            reason=reason,
        )
        if dry_run:
            looked = await moves.check(client, chosen, on_page=_looking)
            return looked, not (looked["breaks"] or looked["waits"])
        done = await move(client, moves, say)
        return done, not done["left"]

    document, fine = talk(converse)
    give(document, _listed(document) if dry_run else _moved(document), as_json)
    if not fine:
        raise typer.Exit(Code.REFUSED)


def _definitions(source: str) -> tuple[list[Json], list[str]]:
    """The definitions in a file or module, and the handlers and validators that it brings; raises a usage error."""
    path = Path(source)
    if path.suffix == ".json":
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{source} cannot be read as JSON: {error}") from None
        found = read if isinstance(read, list) else [read]
        if not all(isinstance(one, dict) for one in found):
            raise typer.BadParameter(f"{source} holds no definition of a flow type, which is a JSON object")
        return found, []
    from domain.flow_types import FlowTypeConfig

    module = _module(source)
    types = getattr(module, "FLOW_TYPES", None)
    if not types or not all(isinstance(one, FlowTypeConfig) for one in types):
        raise typer.BadParameter(f"{source} offers no FLOW_TYPES")
    names = {*getattr(module, "HANDLERS", {}), *getattr(module, "VALIDATORS", {})}
    return [msgspec.to_builtins(one) for one in types], sorted(names)


def _module(source: str) -> ModuleType:
    path = Path(source)
    try:
        if path.suffix != ".py":
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(source)
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[path.stem] = module
        sys.path.insert(0, str(path.parent.resolve()))
        spec.loader.exec_module(module)
    except Exception as error:
        raise typer.BadParameter(f"{source} cannot be loaded: {type(error).__name__}: {error}") from None
    return module


def _mapping(given: list[str] | None) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for text in given or ():
        old, equals, new = text.partition("=")
        if not equals or not old.strip():
            raise typer.BadParameter(f"--map {text!r} is not OLD=NEW")
        found[old.strip()] = new.strip() or None
    return found


def _params(given: list[str] | None) -> Json | None:
    if not given:
        return None
    found: Json = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in FILTERS:
            raise typer.BadParameter(f"--filter {text!r} is not K=V with K one of {', '.join(FILTERS)}")
        found[name] = value
    return found


def _flow_type(kind: Json) -> str:
    phases = ", ".join(str(phase["name"]) for phase in kind.get("phases") or [])
    return facts(
        {
            "type": kind["name"],
            "version": kind.get("version"),
            "versions": kind.get("versions"),
            "description": kind.get("description"),
            "phases": phases,
        }
    )


def _what_it_can(kind: Json) -> str:
    aliases = kind.get("phase_aliases") or {}
    return facts(
        {
            "can": ", ".join(
                f"{name} {value}" if name == "max_iterations" else name.removeprefix("supports_")
                for name, value in kind["capabilities"].items()
                if value is not False
            ),
            "other names": ", ".join(f"{alias}: {phase}" for alias, phase in aliases.items()),
        }
    )


def _looking(sofar: Json) -> None:
    if sofar["checked"] and sofar["checked"] % 1000 == 0:
        say(f"{sofar['checked']} flows looked at")


def _counts(found: Json) -> str:
    there = f", {found['there']} there already" if found["there"] else ""
    return (
        f"{found['flow_type']} {found['to_version']}: {found['checked']} flows looked at in {found['seconds']:g} s:"
        f" {found['safe']} safe, {found['breaks']} would break, {found['waits']} would stand still{there}"
    )


def _checked(found: Json) -> str:
    """The counts, the reasons with how many flows each concerns, and the first of the flows."""
    reasons = Counter(
        (flow["from_version"], one["phase"], one["code"], one["message"])
        for flow in found["flows"]
        for one in flow["obstacles"]
    )
    if not reasons:
        return _counts(found)
    rows = [[number, *reason] for reason, number in reasons.most_common(SHOWN)]
    return "\n\n".join([_counts(found), table(["flows", "from", "phase", "what", "why"], rows), _flows(found["flows"])])


def _listed(found: Json) -> str:
    return "\n\n".join([_counts(found), _flows(found["flows"], None)])


def _flows(flows: list[Json], most: int | None = SHOWN) -> str:
    rows = [
        [
            flow["flow_id"],
            flow["outcome"],
            flow["from_version"],
            flow["status"],
            f"{flow['phase']} (running)" if flow["running"] else flow["phase"],
            "; ".join(one["code"] for one in flow["obstacles"]),
            short(flow["flow_name"] or "", 40),
        ]
        for flow in flows[:most]
    ]
    shown = table(["flow_id", "outcome", "from", "status", "phase", "obstacles", "name"], rows)
    left = len(flows) - len(rows)
    return f"{shown}\n... and {left} more; --json shows all" if left else shown


def _moved(done: Json) -> str:
    head = f"{done['flow_type']} {done['to_version']}: {len(done['moved'])} moved, {len(done['left'])} left"
    rows = [[one["flow_id"], one["from_version"], one["code"], one["detail"]] for one in done["left"][:SHOWN]]
    return f"{head}\n\n{table(['flow_id', 'from', 'what', 'why'], rows)}" if rows else head
