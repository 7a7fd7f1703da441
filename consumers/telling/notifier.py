"""From the log to rows: for each event that is news, one for every address that is to hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from consumers.follower import Follower
from domain.events import FlowCreated, FlowImported
from domain.telling import NEWS_TOPICS, News, news_of, told
from eventstore.config import ServiceConfig
from eventstore.database import Connection
from eventstore.followers import Happened
from eventstore.notifications import FOLLOWER, ToTell, beginnings, make
from eventstore.subscriptions import Subscriber, subscribers


def notifier(config: ServiceConfig) -> Follower:
    """The follower that makes notifications."""
    return Follower(config, FOLLOWER, NEWS_TOPICS, Notifier(config.telling.public_url).follow)


class Notifier:
    """Makes the rows of a batch of events. `public_url` is where people reach the flows."""

    def __init__(self, public_url: str | None = None) -> None:
        self._public_url = public_url

    async def follow(self, connection: Connection, events: Sequence[Happened]) -> bool:
        """Make what is to be told of these events, if anything; raises what keeps an event from being understood."""
        news = [(event, found) for event in events if (found := news_of(event.recorded)) is not None]
        if not news:
            return False
        created = await beginnings(connection, {event.recorded.flow_id for event, _ in news})
        tenants = {(event.recorded.meta.client_account_id, event.recorded.meta.engagement_id) for event, _ in news}
        known: dict[tuple[UUID, UUID], list[Subscriber]] = {}
        for each in await subscribers(connection, sorted(tenants)):
            known.setdefault((each.client_account_id, each.engagement_id), []).append(each)
        rows: list[ToTell] = []
        for event, found in news:
            meta = event.recorded.meta
            interested = known.get((meta.client_account_id, meta.engagement_id), [])
            rows += self._rows(event, found, created[event.recorded.flow_id], interested)
        await make(connection, rows)
        return bool(rows)

    def _rows(
        self, event: Happened, news: News, created: FlowCreated | FlowImported, interested: Sequence[Subscriber]
    ) -> list[ToTell]:
        wanted = [each for each in interested if each.wants(event.position, news, created.flow_type, created.flow_tags)]
        emails = created.options.get("notification_emails", ())
        if not wanted and not emails:
            return []
        recorded = event.recorded
        payload = told(recorded, news, created)
        if self._public_url is not None:
            payload["data"]["url"] = f"{self._public_url}/flows/{recorded.flow_id}"

        def row(kind: str, target: str, subscriber: Subscriber | None) -> ToTell:
            meta = recorded.meta
            return ToTell(
                flow_id=recorded.flow_id,
                version=recorded.version,
                client_account_id=meta.client_account_id,
                engagement_id=meta.engagement_id,
                event=str(news),
                subscription_id=subscriber.id if subscriber is not None else None,
                kind=kind,
                target=target,
                payload=payload,
            )

        # the flow's own addresses first: where a subscription has the same one, that one hears of it once
        return [row("email", address, None) for address in emails] + [
            row(each.kind, each.target, each) for each in wanted
        ]
