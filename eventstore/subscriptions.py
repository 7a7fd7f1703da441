"""Subscriptions: whom a tenant wants told of which news. Every change of one is kept in the command log.

A webhook's secret is made here, given out with the answer that made it and with repeats of that command for ten minutes, and
kept sealed by the key of the client account.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.addresses import Addressing, host_of
from domain.commands import Envelope, Tenant
from domain.errors import (
    BodyInvalid,
    FieldError,
    KeyReused,
    MfoError,
    NotHere,
    Refused,
    SubscriptionsFull,
)
from domain.subscriptions import (
    MOST_SUBSCRIPTIONS,
    CreateSubscription,
    RotateSubscriptionSecret,
    UpdateSubscription,
    new_subscription_id,
)
from eventstore.acts import Act, RefusedBefore, acting
from eventstore.database import Connection
from eventstore.keys import Keyring
from eventstore.notifications import DROP

Json = dict[str, Any]
Asked = CreateSubscription | UpdateSubscription | RotateSubscriptionSecret | Json
"""The body of a command; that of a deletion is `{reason}`."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every such secret begins with, no secret
SECRET_BYTES = 32
# a name under which the keyring seals
SEALED_AS = "tokens"
ACTIVE, DISABLED, DELETED = "active", "disabled", "deleted"
BY_USER = "disabled by {}"

COLUMNS = (
    "id as subscription_id, kind, target, description, events, flow_type, tag, state, reason, former_until, created_by,"
    " created_at, updated_by, updated_at"
)
OF_TENANT = "client_account_id = %(client)s and engagement_id = %(engagement)s"
COUNT = f"select count(*) as n from subscriptions where {OF_TENANT} and state <> 'deleted'"
INSERT = f"""
insert into subscriptions (id, client_account_id, engagement_id, kind, target, description, events, flow_type, tag, secret,
                           after_position, created_by, created_at, updated_by, updated_at)
select %(id)s, %(client)s, %(engagement)s, %(kind)s, %(target)s, %(description)s, %(events)s, %(flow_type)s, %(tag)s, %(secret)s,
       (select coalesce(max(notification_id), 0) from stored_events), %(user)s, at, %(user)s, at
from mfo_now() as at returning {COLUMNS}
"""
ONE = f"select {COLUMNS} from subscriptions where id = %(id)s and {OF_TENANT} and state <> 'deleted'"
PAGE = f"""
select {COLUMNS} from subscriptions
where {OF_TENANT} and state <> 'deleted' and (%(kind)s::text is null or kind = %(kind)s)
  and (%(state)s::text is null or state = %(state)s)
  and (%(before)s::timestamptz is null or (created_at, id) < (%(before)s, %(below)s))
order by created_at desc, id desc limit %(limit)s
"""
UPDATE = f"""
update subscriptions set target = %(target)s, description = %(description)s, events = %(events)s, flow_type = %(flow_type)s,
       tag = %(tag)s, state = %(state)s, reason = %(reason)s, updated_by = %(user)s, updated_at = mfo_now()
where id = %(id)s and {OF_TENANT} and state <> 'deleted' returning {COLUMNS}
"""
ROTATE = f"""
update subscriptions set former_secret = secret, former_until = mfo_now() + make_interval(secs => %(keep)s), secret = %(secret)s,
       updated_by = %(user)s, updated_at = mfo_now()
where id = %(id)s and {OF_TENANT} and state <> 'deleted' returning {COLUMNS}
"""
DELETE = f"""
update subscriptions set state = 'deleted', secret = null, former_secret = null, former_until = null, updated_by = %(user)s,
       updated_at = mfo_now()
where id = %(id)s and {OF_TENANT} and state <> 'deleted' returning id
"""
MATCHING = """
select id, client_account_id, engagement_id, kind, target, events, flow_type, tag, after_position from subscriptions
where state = 'active' and (client_account_id, engagement_id) in (select * from unnest(%s::uuid[], %s::uuid[]))
"""


class SubscriptionNotFound(NotHere):
    """There is no subscription with this id."""

    code = "subscription_not_found"


class NoSecret(Refused):
    """Only a webhook has a secret."""

    code = "no_secret"


class Subscriber(NamedTuple):
    """An active subscription, as the follower of the log sees it; `after_position`: what was before is not told."""

    id: UUID
    client_account_id: UUID
    engagement_id: UUID
    kind: str
    target: str
    events: Sequence[str]
    flow_type: str | None
    tag: str | None
    after_position: int

    def wants(self, position: int, news: str, flow_type: str, tags: Sequence[str]) -> bool:
        """Whether it is told of these news, at this place of the log, of a flow of this type and with these tags."""
        return (
            position > self.after_position
            and (not self.events or news in self.events)
            and self.flow_type in (None, flow_type)
            and (self.tag is None or self.tag in tags)
        )


class Subscriptions:
    """The subscriptions of every tenant."""

    def __init__(self, pool: AsyncConnectionPool[Connection], keyring: Keyring, addressing: Addressing) -> None:
        self._pool = pool
        self._keyring = keyring
        self._addressing = addressing

    async def create(self, envelope: Envelope, wanted: CreateSubscription) -> Json:
        """Make a subscription; it as `one` shows it and, of a webhook, its `secret`.

        Raises NotAllowed, NotSupported and SubscriptionsFull (kept as refused), and KeyReused.
        """
        made = new_subscription_id(envelope.client_account_id, envelope.engagement_id, envelope.command_id)
        act = Act("CreateSubscription", made, _shown_body(wanted))
        refusal = self._refusal(wanted.kind, wanted.target)
        secret = new_secret() if wanted.kind == "webhook" else None
        values = {
            "kind": wanted.kind,
            "target": wanted.target,
            "description": wanted.description,
            "events": [str(news) for news in wanted.events],
            "flow_type": wanted.filter.flow_type,
            "tag": wanted.filter.tag,
            "secret": await self._sealed(envelope.client_account_id, secret),
        }
        async with acting(self._pool) as doing:
            if refusal is None and (await _rows(doing.connection, COUNT, envelope, made))[0]["n"] >= MOST_SUBSCRIPTIONS:
                refusal = SubscriptionsFull()
            before = await doing.keep(envelope, act, refusal)
            if before is None and refusal is None:
                return view((await _rows(doing.connection, INSERT, envelope, made, **values))[0]) | _with(secret)
        if before is None and refusal is not None:
            raise refusal
        assert before is not None
        found = await self.one(_tenant(envelope), made)
        return found | (_with(await self._secret_of(envelope, made)) if before.fresh else {})

    async def one(self, tenant: Tenant, subscription_id: UUID) -> Json:
        """A subscription: `{subscription_id, kind, url, address, events[], filter{}, state, ...}`. Raises SubscriptionNotFound."""
        async with self._pool.connection() as connection:
            return view(await _found(connection, tenant, subscription_id))

    async def page(
        self,
        tenant: Tenant,
        limit: int,
        *,
        kind: str | None = None,
        state: str | None = None,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[Json]:
        """The tenant's subscriptions, the newest first; `before` is `(created_at, id)` of the last one seen."""
        at, below = before or (None, None)
        values = {"kind": kind, "state": state, "before": at, "below": below, "limit": limit}
        async with self._pool.connection() as connection:
            return [view(row) for row in await _rows(connection, PAGE, tenant, None, **values)]

    async def update(self, envelope: Envelope, subscription_id: UUID, changes: UpdateSubscription) -> Json:
        """Change what is given; the subscription after it. What waits for one that is disabled is dropped.

        Raises SubscriptionNotFound, BodyInvalid, NotAllowed and NotSupported (kept as refused), and KeyReused.
        """
        tenant = _tenant(envelope)
        async with self._pool.connection() as connection:
            known = await _found(connection, tenant, subscription_id)
        target = _target(known["kind"], changes)
        act = Act("UpdateSubscription", subscription_id, _shown_body(changes))
        refusal = None
        if target is not None or changes.enabled:
            refusal = self._refusal(known["kind"], target or known["target"])
        async with acting(self._pool) as doing:
            connection = doing.connection
            if await doing.keep(envelope, act, refusal) is not None:
                return view(await _found(connection, tenant, subscription_id))
            if refusal is None:
                locked = await _found(connection, tenant, subscription_id, lock=True)
                values = _changed(locked, changes, target, envelope.user_id)
                rows = await _rows(connection, UPDATE, envelope, subscription_id, **values)
                if values["state"] == DISABLED:
                    await connection.execute(DROP, (values["reason"], subscription_id))
                return view(rows[0])
        assert refusal is not None
        raise refusal

    async def rotate(self, envelope: Envelope, subscription_id: UUID, wanted: RotateSubscriptionSecret) -> Json:
        """Have a new secret; the subscription with it. Messages are signed with the former one too until `former_until`.

        Raises SubscriptionNotFound, NoSecret and KeyReused.
        """
        secret = new_secret()
        sealed = await self._sealed(envelope.client_account_id, secret)
        act = Act("RotateSubscriptionSecret", subscription_id, _shown_body(wanted))
        async with acting(self._pool) as doing:
            known = await _found(doing.connection, _tenant(envelope), subscription_id, lock=True)
            if known["kind"] != "webhook":
                raise NoSecret
            before = await doing.keep(envelope, act)
            if before is None:
                values = {"secret": sealed, "keep": wanted.keep_former_seconds}
                rows = await _rows(doing.connection, ROTATE, envelope, subscription_id, **values)
                return view(rows[0]) | _with(secret)
        return view(known) | (_with(await self._secret_of(envelope, subscription_id)) if before.fresh else {})

    async def delete(self, envelope: Envelope, subscription_id: UUID, reason: str | None) -> None:
        """Tell it nothing more; what waits is dropped. Raises SubscriptionNotFound and KeyReused."""
        act = Act("DeleteSubscription", subscription_id, _shown_body({"reason": reason}))
        async with acting(self._pool) as doing:
            if await doing.keep(envelope, act) is not None:
                return
            if not await _rows(doing.connection, DELETE, envelope, subscription_id):
                raise SubscriptionNotFound
            await doing.connection.execute(DROP, ("the subscription was deleted", subscription_id))

    async def refuse(
        self, envelope: Envelope, subscription_id: UUID, body: Asked, refusal: MfoError, *, again: bool
    ) -> None:
        """Keep that a command was refused, where nobody has kept its outcome yet; `again`: it is known to be a repeat."""
        act = Act(_name_of(body), subscription_id, _shown_body(body))
        async with acting(self._pool) as doing:
            if again or not await doing.knows(envelope):
                with suppress(KeyReused, RefusedBefore):
                    await doing.keep(envelope, act, refusal)

    def _refusal(self, kind: str, target: str) -> MfoError | None:
        """Why an address may not be told; none where it may."""
        try:
            if kind == "webhook":
                self._addressing.check_url(target, "url")
            else:
                self._addressing.check_emails([target], "address")
        except MfoError as refusal:
            return refusal
        return None

    async def _sealed(self, account: UUID, secret: str | None) -> str | None:
        if secret is None:
            return None
        sealed, _ = await self._keyring.seal(account, {SEALED_AS: secret})
        return msgspec.json.encode(sealed).decode()

    async def _secret_of(self, envelope: Envelope, subscription_id: UUID) -> str | None:
        async with self._pool.connection() as connection:
            rows = await _rows(
                connection,
                f"select secret from subscriptions where id = %(id)s and {OF_TENANT}",
                envelope,
                subscription_id,
            )
        return await opened(self._keyring, envelope.client_account_id, rows[0]["secret"] if rows else None)


async def opened(keyring: Keyring, account: UUID, sealed: Json | None) -> str | None:
    """A secret as it was given out. Raises KeyMissing where the account's key is gone."""
    return None if sealed is None else str((await keyring.unseal(account, sealed))[SEALED_AS])


async def subscribers(connection: Connection, tenants: Sequence[tuple[UUID, UUID]]) -> list[Subscriber]:
    """The active subscriptions of these client accounts and engagements."""
    accounts, engagements = [tenant[0] for tenant in tenants], [tenant[1] for tenant in tenants]
    cursor = await connection.execute(MATCHING, (accounts, engagements))
    return [Subscriber(*row) for row in await cursor.fetchall()]


async def disable(connection: Connection, subscription_id: UUID, reason: str) -> None:
    """Tell a subscription nothing more, because its receiver said so; what waits is dropped."""
    async with connection.transaction():
        await connection.execute(
            "update subscriptions set state = 'disabled', reason = %s, updated_by = 'system', updated_at = mfo_now()"
            " where id = %s and state = 'active'",
            (reason, subscription_id),
        )
        await connection.execute(DROP, (reason, subscription_id))


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64, as Standard Webhooks write it."""
    return SECRET_PREFIX + b64encode(os.urandom(SECRET_BYTES)).decode()


def view(row: Json) -> Json:
    """A row of the table as callers see it."""
    shown = {name: value for name, value in row.items() if name not in {"target", "flow_type", "tag"}}
    webhook = row["kind"] == "webhook"
    return shown | {
        "url": row["target"] if webhook else None,
        "address": None if webhook else row["target"],
        "filter": {"flow_type": row["flow_type"], "tag": row["tag"]},
    }


def _with(secret: str | None) -> Json:
    return {"secret": secret} if secret is not None else {}


def _tenant(envelope: Envelope) -> Tenant:
    return Tenant(envelope.client_account_id, envelope.engagement_id, envelope.user_id)


def _target(kind: str, changes: UpdateSubscription) -> str | None:
    wrong = "address" if kind == "webhook" else "url"
    if wrong in changes.model_fields_set:
        message = f"this subscription is one of kind {kind}, which has no {wrong}"
        raise BodyInvalid(f"{wrong}: {message}", errors=[FieldError(wrong, message)])
    return changes.url if kind == "webhook" else changes.address


def _changed(known: Json, changes: UpdateSubscription, target: str | None, user_id: str) -> Json:
    state, reason = known["state"], known["reason"]
    if changes.enabled is not None:
        state, reason = (ACTIVE, None) if changes.enabled else (DISABLED, BY_USER.format(user_id))
    given = changes.filter
    return {
        "target": target or known["target"],
        "description": changes.description if "description" in changes.model_fields_set else known["description"],
        "events": known["events"] if changes.events is None else [str(news) for news in changes.events],
        "flow_type": known["flow_type"] if given is None else given.flow_type,
        "tag": known["tag"] if given is None else given.tag,
        "state": state,
        "reason": reason,
    }


def _name_of(wanted: Asked) -> str:
    return "DeleteSubscription" if isinstance(wanted, dict) else type(wanted).__name__


def _shown_body(wanted: Asked) -> Json:
    """A body as the command log keeps it: of a URL, whose path may be a secret, the host, and a hash that tells it from others."""
    body = wanted if isinstance(wanted, dict) else wanted.model_dump(mode="json", exclude_unset=True)
    url = body.get("url")
    if not url:
        return body
    return body | {"url": {"host": host_of(url), "sha256": hashlib.sha256(url.encode()).hexdigest()}}


async def _found(connection: Connection, tenant: Tenant, subscription_id: UUID, *, lock: bool = False) -> Json:
    rows = await _rows(connection, ONE + (" for update" if lock else ""), tenant, subscription_id)
    if not rows:
        raise SubscriptionNotFound
    return rows[0]


async def _rows(
    connection: Connection, statement: str, who: Tenant | Envelope, subscription_id: UUID | None, **values: Any
) -> list[Json]:
    given = {
        "client": who.client_account_id,
        "engagement": who.engagement_id,
        "user": who.user_id,
        "id": subscription_id,
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, given | values)
        return await cursor.fetchall()
