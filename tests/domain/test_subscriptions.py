"""A subscription names one address that fits its kind."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from domain.subscriptions import (
    PUBLIC_SUBSCRIPTION,
    CreateSubscription,
    RotateSubscriptionSecret,
    UpdateSubscription,
    new_subscription_id,
)


def test_a_webhook_has_a_url_and_mail_an_address() -> None:
    assert CreateSubscription(kind="webhook", url="https://a.test/x").target == "https://a.test/x"
    assert CreateSubscription(kind="email", address="ann@a.test").target == "ann@a.test"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "webhook"},
        {"kind": "webhook", "address": "ann@a.test"},
        {"kind": "webhook", "url": "https://a.test", "address": "ann@a.test"},
        {"kind": "email"},
        {"kind": "email", "url": "https://a.test"},
        {"kind": "email", "url": "https://a.test", "address": "ann@a.test"},
        {"kind": "pigeon", "url": "https://a.test"},
        {"kind": "webhook", "url": "https://a.test", "events": ["flow.exploded"]},
        {"kind": "webhook", "url": "https://a.test", "secret": "mine"},
    ],
)
def test_anything_else_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CreateSubscription.model_validate(fields)


def test_what_is_to_stay_is_left_out_not_null() -> None:
    assert UpdateSubscription.model_validate({"description": None}).model_fields_set == {"description"}
    with pytest.raises(ValidationError, match="enabled, filter must not be null"):
        UpdateSubscription.model_validate({"enabled": None, "filter": None})


def test_a_former_secret_counts_for_a_week_at_most() -> None:
    assert RotateSubscriptionSecret().keep_former_seconds == 86_400
    with pytest.raises(ValidationError):
        RotateSubscriptionSecret(keep_former_seconds=604_801)


def test_over_kafka_the_id_of_a_new_one_follows_from_its_command() -> None:
    ids = {new_subscription_id(UUID(int=1), UUID(int=2), name) for name in ("a", "a", "b")}
    assert len(ids) == 2
    assert set(PUBLIC_SUBSCRIPTION) == {"CreateSubscription", "UpdateSubscription", "DeleteSubscription"}
