"""What may be asked about subscriptions: whom to tell of which news."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.addresses import EmailAddress, WebhookUrl
from domain.commands import Name, Tag, Text
from domain.telling import News

MOST_SUBSCRIPTIONS = 100
"""Of one tenant."""
KEEP_SECONDS = 86_400
MOST_KEEP_SECONDS = 7 * 86_400

Kind = Literal["webhook", "email"]
Events = Annotated[tuple[News, ...], Field(max_length=len(News), description="The news that are told; none: all.")]
FormerSeconds = Annotated[int, Field(ge=0, le=MOST_KEEP_SECONDS, strict=True)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SubscriptionFilter(_Shape):
    """Of which flows is told; what is left out matters not."""

    flow_type: Name | None = Field(default=None, description="Only flows of this type.")
    tag: Tag | None = Field(default=None, description="Only flows that have this tag.")


class CreateSubscription(_Shape):
    """Tell an address of what happens to the tenant's flows from now on."""

    kind: Kind
    url: WebhookUrl | None = Field(default=None, description="Of a webhook: where news are posted.")
    address: EmailAddress | None = Field(default=None, description="Of an e-mail: who gets it.")
    description: Text | None = None
    events: Events = ()
    filter: SubscriptionFilter = SubscriptionFilter()

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.kind == "webhook" and (self.url is None or self.address is not None):
            raise ValueError("a webhook wants url, and no address")
        if self.kind == "email" and (self.address is None or self.url is not None):
            raise ValueError("an email wants address, and no url")
        return self

    @property
    def target(self) -> str:
        """The URL or the address."""
        return self.url or self.address or ""


class UpdateSubscription(_Shape):
    """Change what is given; `filter` is replaced as a whole."""

    not_null: ClassVar[tuple[str, ...]] = ("url", "address", "events", "filter", "enabled")

    url: WebhookUrl | None = None
    address: EmailAddress | None = None
    description: Text | None = None
    events: Events | None = None
    filter: SubscriptionFilter | None = None
    enabled: bool | None = Field(
        default=None, strict=True, description="false: nothing is told, and what waited is dropped; true: told again."
    )

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        null = [name for name in self.not_null if name in self.model_fields_set and getattr(self, name) is None]
        if null:
            raise ValueError(f"{', '.join(sorted(null))} must not be null; leave out what stays")
        return self


class RotateSubscriptionSecret(_Shape):
    """Have a new secret made; the one before signs too for a while."""

    keep_former_seconds: FormerSeconds = Field(
        default=KEEP_SECONDS, description="How long messages are signed with both, in seconds."
    )


# over Kafka the body names what it is about; over HTTP the path does


class SubscriptionCommand(_Shape):
    """A request about one subscription."""

    subscription_id: UUID = Field(description="The subscription that is asked.")


class CreateNamed(CreateSubscription, SubscriptionCommand):
    """Tell an address of what happens to the tenant's flows from now on. The id follows from the command's; a webhook's secret
    is in no reply: have one made by `rotate` over HTTP."""


class UpdateNamed(UpdateSubscription, SubscriptionCommand):
    """Change what is given; `filter` is replaced as a whole."""


class DeleteNamed(SubscriptionCommand):
    """Tell it nothing more; what waits is dropped."""

    reason: Text | None = None


PUBLIC_SUBSCRIPTION: dict[str, type[SubscriptionCommand]] = {
    "CreateSubscription": CreateNamed,
    "UpdateSubscription": UpdateNamed,
    "DeleteSubscription": DeleteNamed,
}


def new_subscription_id(client_account_id: UUID, engagement_id: UUID, command_id: str) -> UUID:
    """The id of a subscription: the same for the same command."""
    return uuid5(client_account_id, f"subscription:{engagement_id}:{command_id}")
