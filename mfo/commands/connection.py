"""Which service the commands talk to, and as whom: the environment, else the `mfo dev` that runs in its usual folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import typer

from mfo.running import Unreachable, running

if TYPE_CHECKING:
    from mfo.client import Client

T = TypeVar("T")

TENANT = ("MFO_CLIENT_ACCOUNT_ID", "MFO_ENGAGEMENT_ID", "MFO_USER_ID")


def environment() -> Mapping[str, str]:
    """The variables that say where the service is and who asks.

    Without `MFO_URL` those of a `mfo dev` running in its usual folder are taken, under what is set here. Raises Unreachable.
    """
    given = {name: value for name, value in os.environ.items() if name.startswith("MFO_") and value}
    if "MFO_URL" in given:
        return given
    found = running()
    if found is None:
        raise Unreachable('no service is known; start "mfo dev", or set MFO_URL')
    return found.environment | given


def talk(conversation: Callable[[Client], Awaitable[T]], *, as_operator: bool = False) -> T:
    """Hold a conversation with the service and answer what came of it; `as_operator` shows it MFO_OPERATOR_TOKEN.

    Raises Unreachable, ServiceError, and a usage error.
    """
    # it loads slowly, and whoever only starts a service talks to nobody
    from mfo.client import Client

    found = environment()
    missing = [name for name in TENANT if not found.get(name)]
    if missing:
        raise typer.BadParameter(f"{', '.join(missing)} must be set: whose flows are meant, and who asks")

    async def hold() -> T:
        account, engagement, user = (found[name] for name in TENANT)
        operator = found.get("MFO_OPERATOR_TOKEN") if as_operator else None
        async with Client(
            found["MFO_URL"], account, engagement, user, found.get("MFO_TOKEN"), operator_token=operator
        ) as client:
            return await conversation(client)

    return asyncio.run(hold())
