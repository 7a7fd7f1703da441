"""The answers about subscriptions and notifications, as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.documents import Document
from domain.subscriptions import Kind
from domain.telling import News

NotificationState = Literal["pending", "sent", "dead", "dropped"]


class FilterView(Document):
    """Of which flows is told."""

    flow_type: str | None
    tag: str | None


class SubscriptionView(Document):
    """Whom to tell of which news."""

    subscription_id: UUID
    kind: Kind
    url: str | None = Field(description="Of a webhook.")
    address: str | None = Field(description="Of an e-mail.")
    description: str | None
    events: list[News] = Field(description="The news that are told; none: all.")
    filter: FilterView
    state: Literal["active", "disabled"]
    reason: str | None = Field(description="Why it is disabled: who did it, or that its receiver answered 410.")
    former_until: datetime | None = Field(description="Until then messages are signed with the former secret too.")
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime


class SubscriptionMade(SubscriptionView):
    """A subscription just made, or whose secret was just rotated."""

    secret: str | None = Field(
        default=None,
        description="Of a webhook, `whsec_...`: what its messages are signed with. Shown here and, to a repeat of the same"
        " call, for ten minutes; never again.",
    )


class SubscriptionList(Document):
    """A page of subscriptions."""

    subscriptions: list[SubscriptionView]
    next_cursor: str | None


class NotificationView(Document):
    """One event that is told to one address."""

    notification_id: UUID
    event: News
    state: NotificationState = Field(
        description="`pending`: it is or will be tried; `sent`; `dead`: given up, it can be replayed; `dropped`: its"
        " subscription was disabled or deleted before."
    )
    kind: Kind
    url: str | None
    address: str | None
    subscription_id: UUID | None = Field(description="null: the flow itself names the address.")
    flow_id: UUID
    version: int = Field(description="Of the flow: the event that is told.")
    attempts: int = Field(description="Since it was made or replayed.")
    replays: int
    due_at: datetime | None = Field(description="When it is tried next, while it is pending.")
    created_at: datetime
    ended_at: datetime | None
    last_error: str | None
    last_status: int | None = Field(description="HTTP status of a webhook, code of the mail server.")


class Tried(Document):
    """What an attempt came to."""

    at: datetime | None
    status: int | None
    error: str | None
    took_ms: int | None


class NotificationDetail(NotificationView):
    """A notification with what it says and how the last attempts ended."""

    tries: list[Tried] = Field(description="The last 10, oldest first.")
    payload: dict[str, Any] = Field(
        description="The body of the webhook, `{type, timestamp, data{}}`; mail says the same."
    )


class NotificationList(Document):
    """A page of notifications."""

    notifications: list[NotificationView]
    next_cursor: str | None
