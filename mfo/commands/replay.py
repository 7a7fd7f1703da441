"""`mfo replay`: history told again, from the store."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from domain.events import BY_TOPIC
from domain.fleet.events import FLEET_BY_TOPIC
from domain.schedules.events import SCHEDULE_BY_TOPIC
from domain.words import counted
from mfo.commands.output import AsJson, give, say

KNOWN = {
    kind.__name__: topic for topics in (BY_TOPIC, SCHEDULE_BY_TOPIC, FLEET_BY_TOPIC) for topic, kind in topics.items()
}


def replay(
    *,
    to_topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="A Kafka topic of your own.")] = None,
    to_file: Annotated[Path | None, typer.Option(metavar="FILE", help="CloudEvents, one JSON object a line.")] = None,
    handler: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="A Python function, called with each event.")
    ] = None,
    flow: Annotated[UUID | None, typer.Option(help="Only this flow.")] = None,
    account: Annotated[UUID | None, typer.Option(help="Only this client account.")] = None,
    engagement: Annotated[UUID | None, typer.Option(help="Only this engagement of the account.")] = None,
    flow_type: Annotated[str | None, typer.Option("--type", help="Only flows of this type.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only such events (PhaseCompleted); may be repeated.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 2026-11-20T12:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="At most so many events a second.")] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where it is kept how far the replay is; left out: named so.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Give up what was broken off, and overwrite the file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell a window of history again, from the store, marked as replay; a command that was broken off goes on where it was."""
    from eventstore.windows import Window
    from mfo.doctoring import settings
    from mfo.replaying import ReplayRefused, ToFile, ToHandler, ToTopic, handler_named, unfinished
    from mfo.replaying import replay as tell

    if sum(target is not None for target in (to_topic, to_file, handler)) != 1:
        raise typer.BadParameter("say where to: one of --to-topic, --to-file and --handler")
    if engagement is not None and account is None:
        raise typer.BadParameter("--engagement goes with its --account")
    window = Window(
        since=_time(since, "--since"),
        until=_time(until, "--until"),
        flow=flow,
        account=account,
        engagement=engagement,
        flow_type=flow_type,
        topics=tuple(sorted(_topic(name) for name in event)) if event else None,
    )
    config = settings().service_config()
    target: Any
    if to_topic is not None:
        target, default = ToTopic(config, to_topic), Path(f"mfo-replay-{_plain(to_topic)}.json")
    elif to_file is not None:
        target, default = ToFile(config, to_file), to_file.with_name(f"{to_file.name}.state")
        if to_file.exists() and not fresh and unfinished(state or default) is None:
            raise ReplayRefused(f"{to_file} exists; name another file, or give --fresh to overwrite it")
    else:
        assert handler is not None
        target = ToHandler(config, handler_named(handler), handler)
        default = Path(f"mfo-replay-{_plain(handler)}.json")
    file = state or default
    done = asyncio.run(tell(config, window, target, file, rate=rate, fresh=fresh, said=say))
    document = {
        "replay_id": done.replay_id,
        "target": done.target,
        "events": done.told,
        "position": f"{config.shard}:{done.position}",
        "state_file": str(file),
    }
    give(document, f"replay {done.replay_id}: {counted(done.told, 'event')} told to {done.target}", as_json)


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]", "-", text)


def _topic(name: str) -> str:
    if name in KNOWN:
        return KNOWN[name]
    if name in KNOWN.values():
        return name
    raise typer.BadParameter(f"--event {name!r} is no event; it is one of {', '.join(sorted(KNOWN))}")


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no time such as 2026-11-20T12:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
