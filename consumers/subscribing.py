"""Commands about subscriptions from Kafka, done one after the other in the order in which they came.

They have no history of their own: what became of each is in the command log, and a repeat has the first outcome.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import psycopg

from domain.commands import Envelope
from domain.errors import KeyReused, MfoError, StoreUnavailable
from domain.subscriptions import (
    CreateNamed,
    CreateSubscription,
    DeleteNamed,
    SubscriptionCommand,
    SubscriptionFilter,
    UpdateSubscription,
)
from eventstore.acts import RefusedBefore
from eventstore.committer import ACCEPTED, REFUSED, REPEATED, Answer
from eventstore.parking import blames_the_store
from eventstore.service import WriteSide
from eventstore.subscriptions import Asked, Subscriptions


class SubscriptionAnswer(Answer, frozen=True):
    """What became of a command; `flow_id` is the subscription's id."""


class Subscribing:
    """The door for commands about subscriptions."""

    def __init__(self, side: WriteSide) -> None:
        self._side = side
        self._subscriptions = Subscriptions(side.pool, side.keyring, side.config.telling.addressing)
        self._turn = asyncio.Lock()

    async def put(self, command: SubscriptionCommand, envelope: Envelope) -> asyncio.Future[SubscriptionAnswer]:
        """Do it, after those that came before; the future raises StoreUnavailable where it has to be asked again."""
        return asyncio.create_task(self._in_turn(command, envelope))

    async def _in_turn(self, command: SubscriptionCommand, envelope: Envelope) -> SubscriptionAnswer:
        async with self._turn:
            try:
                return await self._answered(command, envelope)
            except (psycopg.Error, OSError) as error:
                if blames_the_store(error):
                    raise StoreUnavailable from error
                raise MfoError(f"the command could not be kept: {type(error).__name__}") from error

    async def _answered(self, command: SubscriptionCommand, envelope: Envelope) -> SubscriptionAnswer:
        known = await self._side.store.first_answers([envelope])
        first = next(iter(known.values()), None)
        body, error = _body(command), None
        try:
            await self._do(command.subscription_id, self._named(body), envelope)
        except KeyReused as reused:
            return _answer(command, envelope, REFUSED, reused.as_dict())
        except RefusedBefore as again:
            error = again.error
        except MfoError as refusal:
            if refusal.status >= 500:
                raise
            await self._subscriptions.refuse(envelope, command.subscription_id, body, refusal, again=first is not None)
            error = refusal.as_dict()
        if first is not None:
            return _answer(command, envelope, REPEATED, first.error)
        return _answer(command, envelope, REFUSED if error else ACCEPTED, error)

    async def _do(self, subscription_id: UUID, body: Asked, envelope: Envelope) -> None:
        match body:
            case CreateSubscription():
                await self._subscriptions.create(envelope, body)
            case UpdateSubscription():
                await self._subscriptions.update(envelope, subscription_id, body)
            case dict():
                await self._subscriptions.delete(envelope, subscription_id, body["reason"])

    def _named(self, body: Asked) -> Asked:
        """The body with the flow type as it is called; raises TypeUnknown."""
        if not isinstance(body, CreateSubscription | UpdateSubscription):
            return body
        given: SubscriptionFilter | None = body.filter
        if given is None or given.flow_type is None:
            return body
        called = given.model_copy(update={"flow_type": self._side.types.get(given.flow_type).name})
        return body.model_copy(update={"filter": called})


def _body(command: SubscriptionCommand) -> Asked:
    """What the same call over HTTP has in its body."""
    if isinstance(command, DeleteNamed):
        return {"reason": command.reason}
    given: dict[str, Any] = command.model_dump(exclude={"subscription_id"}, exclude_unset=True)
    kind = CreateSubscription if isinstance(command, CreateNamed) else UpdateSubscription
    return kind.model_validate(given)


def _answer(
    command: SubscriptionCommand, envelope: Envelope, outcome: str, error: dict[str, Any] | None
) -> SubscriptionAnswer:
    return SubscriptionAnswer(envelope.command_id, outcome, command.subscription_id, 0, None, error)
