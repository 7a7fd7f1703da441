"""Results that a phase takes from an earlier run of the tenant, where all that they follow from is the same.

That is: the flow type, the phase, its handlers in their versions, the inputs, the outputs of earlier phases, and the files that
any of them names, by content. It is opted in for each phase (`PhaseConfig.reusable`) by whoever knows that its handlers look at
nothing else: not at the day, not at other flows, not at who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import structlog

from consumers.context import Outputs, PhaseContext
from consumers.frames import Job
from consumers.phases import PhaseWork
from domain.commands import Tenant
from domain.errors import ArtifactNotFound
from eventstore.artifacts import ArtifactStore
from eventstore.faults import lived_through
from eventstore.keys import Keyring
from eventstore.results import MAX_FILES, Results

log = structlog.get_logger()

Json = dict[str, Any]
FIRST = b"mfo.result.v1"


class Reuse:
    """What one run may take of others, and leaves to them; a store that is away costs work and nothing else."""

    def __init__(self, job: Job, work: PhaseWork, results: Results, keyring: Keyring, artifacts: ArtifactStore) -> None:
        self._job = job
        self._work = work
        self._results = results
        self._keyring = keyring
        self._artifacts = artifacts
        self._tenant = Tenant(job.client_account_id, job.engagement_id, job.user_id)
        self._key: bytes | None = None
        self.reused_from: Json | None = None

    async def taken(self, context: PhaseContext) -> Outputs | None:
        """What an earlier run brought under the same conditions, whole; none where the work is to be done."""
        if not self._job.reusable:
            return None
        with lived_through("looking for a result to take"):
            self._key = await self._key_of(context)
            found = await self._results.find(self._tenant, self._key)
            if found is None:
                return None
            try:
                outputs = await self._artifacts.unspill(self._tenant.client_account_id, found.outputs)
            except ArtifactNotFound:
                return None
            told = {"flow_id": str(found.flow_id), "run_id": str(found.run_id), "version": found.version}
            self.reused_from = told
            return outputs
        return None

    async def leave(self, outputs: Outputs) -> None:
        """Keep what the handlers brought, unless something in it is sensitive, or it was taken itself."""
        if self._key is None or self.reused_from is not None:
            return
        job = self._job
        try:
            with lived_through("keeping a result for others"):
                sealed, _ = await self._keyring.seal(job.client_account_id, outputs)
                if sealed is outputs:
                    small = await self._artifacts.spill(job.client_account_id, outputs)
                    await self._results.keep(
                        *(self._tenant, self._key, job.flow_id, job.run_id),
                        flow_type=job.flow_type,
                        phase_name=job.phase_name,
                        outputs=small,
                    )
        except (TypeError, ValueError, psycopg.Error, msgspec.MsgspecError) as error:
            # outputs that cannot be written fail the run where they are written for the flow
            log.warning("result is not kept for others", error=type(error).__name__)

    async def _key_of(self, context: PhaseContext) -> bytes:
        job = self._job
        given: Json = {"inputs": dict(context.inputs), "outputs": {n: dict(o) for n, o in context.outputs.items()}}
        # sensitive values count by a keyed hash
        _, counted = await self._keyring.seal(job.client_account_id, given)
        named = set(_ids_in(counted))
        files = await self._results.files(self._tenant, sorted(named)[:MAX_FILES])
        told = [
            job.flow_type,
            job.phase_name,
            [[name, self._work.handler_version(name)] for name in job.handlers],
            _with_files(counted, files),
        ]
        return hashlib.sha256(FIRST + msgspec.json.encode(told, order="sorted")).digest()


def _ids_in(value: Any) -> Iterator[UUID]:
    """The texts that are written like ids, at any depth."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _ids_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _ids_in(inner)
    elif isinstance(value, str) and len(value) == 36:
        try:
            found = UUID(value)
        except ValueError:
            return
        if str(found) == value:
            yield found


def _with_files(value: Any, files: dict[str, Json]) -> Any:
    """The value with the ids of uploads replaced by what is in them."""
    if isinstance(value, dict):
        return {name: _with_files(inner, files) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_files(inner, files) for inner in value]
    return files.get(value, value) if isinstance(value, str) else value
