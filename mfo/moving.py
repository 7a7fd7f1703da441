"""Moving many flows to another version of their type: one command for each, in any order, and again where it was broken off."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from mfo.client import Client, ServiceError

Json = dict[str, Any]

AT_ONCE = 8
PAUSE_SECONDS = 0.5
# a flow that went on meanwhile is looked at again
AGAIN = frozenset({"phase_running", "version_moved"})


class Running(StrEnum):
    """What is done about flows with a phase under way."""

    WAIT = "wait"
    PAUSE = "pause"
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Which flows go where. `flow_ids` none: all of the type; `patience_seconds` is how long phases under way are waited for."""

    flow_type: str
    to_version: str
    phase_mapping: Mapping[str, str | None]
    flow_ids: Sequence[str] | None = None
    back: bool = False
    running: Running = Running.WAIT
    patience_seconds: float = 30.0
    reason: str | None = None

    @property
    def pause_reason(self) -> str:
        """By which a flow that was paused for its move is known again."""
        return f"to be moved to version {self.to_version}"

    def key(self, row: Json) -> str:
        """The id of the command for a flow: the same for as long as neither the flow nor what is asked is another."""
        asked = [self.to_version, dict(self.phase_mapping), self.back, self.running, self.reason, row["version"]]
        return str(uuid5(UUID(row["flow_id"]), f"migrate:{json.dumps(asked, sort_keys=True)}"))

    async def check(self, client: Client, flow_ids: Sequence[str] | None, **more: Any) -> Json:
        """What would become of the flows."""
        return await client.check_flow_type(
            flow_type=self.flow_type,
            to_version=self.to_version,
            phase_mapping=dict(self.phase_mapping) or None,
            back=self.back or None,
            include_safe=True,
            flow_ids=flow_ids,
            **more,
        )


async def move(client: Client, moves: Moves, tell: Callable[[str], None]) -> Json:
    """Move the flows that can be: `{flow_type, to_version, checked, moved[], left[]}`; `left` says why of each.

    A phase under way is waited for, the flow paused around its move, or the phase begun anew, as `moves.running` says. Asked
    again, it goes on with those that are not there yet, and resumes what it had paused. Raises ServiceError, Unreachable.
    """
    first = await moves.check(client, moves.flow_ids)
    work = _Work(client, moves, tell, first["safe"])
    until = time.monotonic() + moves.patience_seconds
    rows = first["flows"]
    while True:
        await work.see_to(rows)
        again = [flow_id for flow_id, left in work.left.items() if left["code"] in AGAIN]
        if not again or time.monotonic() > until:
            break
        await asyncio.sleep(PAUSE_SECONDS)
        rows = (await moves.check(client, again))["flows"]
        # what has ended meanwhile needs no move
        for flow_id in set(again) - {row["flow_id"] for row in rows}:
            del work.left[flow_id]
    return {
        "flow_type": first["flow_type"],
        "to_version": first["to_version"],
        "checked": first["checked"],
        "moved": work.moved,
        "left": list(work.left.values()),
    }


class _Work:
    """What has been done so far."""

    def __init__(self, client: Client, moves: Moves, tell: Callable[[str], None], total: int) -> None:
        self._client = client
        self._moves = moves
        self._tell = tell
        self._total = total
        self._places = asyncio.Semaphore(AT_ONCE)
        self.moved: list[str] = []
        self.left: dict[str, Json] = {}

    async def see_to(self, rows: Sequence[Json]) -> None:
        """Do with each flow what its check allows, a few at once."""

        async def placed(row: Json) -> None:
            async with self._places:
                await self._see_to(row)

        await asyncio.gather(*map(placed, rows))

    async def _see_to(self, row: Json) -> None:
        if row["outcome"] == "safe":
            await self._move(row)
        elif row["outcome"] == "there":
            self.left.pop(row["flow_id"], None)
            if self._was_paused(row):
                await self._resume(row)
        else:
            self.left[row["flow_id"]] = _hindered(row)

    def _was_paused(self, row: Json) -> bool:
        """Whether the flow is paused for this move."""
        return bool(row["status"] == "paused" and row["paused_for"] == self._moves.pause_reason)

    async def _move(self, row: Json) -> None:
        """Move a flow, or say why not."""
        moves, flow_id = self._moves, row["flow_id"]
        restart = moves.running is Running.RESTART
        try:
            if row["running"] and not restart:
                if moves.running is Running.PAUSE and row["status"] != "paused":
                    await self._client.tell(flow_id, "pause", {"reason": moves.pause_reason})
                self.left[flow_id] = _left(row, "phase_running", f"{row['phase']} is under way")
                return
            await self._client.migrate(
                flow_id,
                moves.to_version,
                phase_mapping=moves.phase_mapping,
                back=moves.back,
                restart_run=restart,
                reason=moves.reason,
                key=moves.key(row),
            )
        except ServiceError as error:
            self.left[flow_id] = _left(row, error.problem_code, error.detail)
            return
        self.left.pop(flow_id, None)
        self.moved.append(flow_id)
        if len(self.moved) % 100 == 0 or len(self.moved) == self._total:
            self._tell(f"moved {len(self.moved)} of {self._total}")
        if self._was_paused(row):
            await self._resume(row)

    async def _resume(self, row: Json) -> None:
        """Let a flow go on that was paused for its move; one that somebody has resumed meanwhile does already."""
        try:
            await self._client.tell(row["flow_id"], "resume", {"reason": f"moved to version {self._moves.to_version}"})
        except ServiceError as error:
            if error.problem_code != "flow_not_paused":
                self._tell(f"{row['flow_id']} stays paused: {error.detail}")


def _left(row: Json, code: str, detail: str) -> Json:
    return {"flow_id": row["flow_id"], "from_version": row["from_version"], "code": code, "detail": detail}


def _hindered(row: Json) -> Json:
    first = row["obstacles"][0]
    return _left(row, first["code"], "; ".join(one["message"] for one in row["obstacles"]))
