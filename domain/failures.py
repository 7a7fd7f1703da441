"""What a failure is, and what is to be done about it: one table, decided by class, never by words in a message."""

from __future__ import annotations

from typing import Any

import msgspec

from domain.flow_types import RetryConfig
from domain.words import FailureClass, Resolve

Json = dict[str, Any]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of failure leads to. `retry` is used where neither the call, the phase nor the type says otherwise;
    none: the type's. `needs_person`: trying again cures nothing until somebody has done something."""

    action: Resolve
    severity: str
    message: str
    retry: RetryConfig | None = None
    needs_person: bool = False
    notify: bool = False


def _tries(attempts: int, multiplier: float) -> RetryConfig:
    return RetryConfig(max_attempts=attempts, backoff_multiplier=multiplier)


RESOLUTIONS: dict[FailureClass, Resolution] = {
    FailureClass.VALIDATION: Resolution(
        action=Resolve.WAIT_FOR_INPUT,
        severity="low",
        message="Some inputs are wrong; correct the fields named and the phase goes on.",
        needs_person=True,
    ),
    FailureClass.NETWORK: Resolution(
        action=Resolve.RETRY,
        severity="medium",
        message="Another system could not be reached; it is asked again.",
        retry=_tries(5, 1.5),
    ),
    FailureClass.DATABASE: Resolution(
        action=Resolve.RETRY,
        severity="high",
        message="A database did not answer as it should; it is asked again.",
        retry=_tries(3, 2.0),
        notify=True,
    ),
    FailureClass.TIMEOUT: Resolution(
        action=Resolve.RETRY,
        severity="medium",
        message="The phase did not end in time; it is tried again.",
        retry=_tries(3, 2.0),
    ),
    FailureClass.RATE_LIMITED: Resolution(
        action=Resolve.RETRY,
        severity="low",
        message="Another system asks for patience; it is asked again when it said.",
        retry=_tries(10, 2.0),
    ),
    FailureClass.RESOURCE: Resolution(
        action=Resolve.RETRY,
        severity="high",
        message="The worker ran out of what it needs, or was lost; another one tries again.",
        retry=_tries(3, 3.0),
        notify=True,
    ),
    FailureClass.CREW: Resolution(
        action=Resolve.RETRY,
        severity="high",
        message="The agents came to no result; they are asked again.",
        retry=_tries(2, 2.0),
    ),
    FailureClass.EXECUTION: Resolution(
        action=Resolve.RETRY, severity="high", message="The work failed; it is tried again.", retry=_tries(3, 2.0)
    ),
    FailureClass.RETRYABLE: Resolution(
        action=Resolve.RETRY,
        severity="medium",
        message="The work failed for a reason that may pass; it is tried again.",
    ),
    FailureClass.PERMISSION: Resolution(
        action=Resolve.FAIL,
        severity="high",
        message="Access was refused; give the permission that is missing, then execute the phase again.",
        needs_person=True,
        notify=True,
    ),
    FailureClass.BUSINESS_LOGIC: Resolution(
        action=Resolve.FAIL,
        severity="medium",
        message="A rule of the business forbids it; look at the error, then execute the phase again or cancel the flow.",
        needs_person=True,
        notify=True,
    ),
    FailureClass.PERMANENT: Resolution(
        action=Resolve.FAIL,
        severity="high",
        message="Trying again cures nothing; look at the error, then execute the phase again or cancel the flow.",
        needs_person=True,
        notify=True,
    ),
    FailureClass.CANCELLED: Resolution(
        action=Resolve.FAIL, severity="low", message="The work was stopped.", needs_person=True
    ),
    FailureClass.TARGET_OPEN: Resolution(
        action=Resolve.WAIT,
        severity="low",
        message="Another system is left alone for a while; the phase waits for it, and no attempt is used up.",
    ),
    FailureClass.UNKNOWN: Resolution(
        action=Resolve.RETRY, severity="high", message="The work failed; it is tried again.", notify=True
    ),
}


def resolution_of(error: Json) -> Resolution:
    """The resolution of an error `{class, code, message, retryable, fields?, after_seconds?}`.

    A class that is not known is `unknown`. An error that says of itself whether it may pass (`retryable`) is believed
    where its class says retry or fail; wrong inputs that name no field are a failure.
    """
    try:
        found = RESOLUTIONS[FailureClass(str(error.get("class")))]
    except ValueError:
        found = RESOLUTIONS[FailureClass.UNKNOWN]
    retryable = error.get("retryable")
    if found.action is Resolve.WAIT_FOR_INPUT and not error.get("fields"):
        return RESOLUTIONS[FailureClass.RETRYABLE if retryable else FailureClass.PERMANENT]
    if found.action is Resolve.RETRY and retryable is False:
        permanent = RESOLUTIONS[FailureClass.PERMANENT]
        return Resolution(
            action=Resolve.FAIL,
            severity=found.severity,
            message=permanent.message,
            needs_person=True,
            notify=permanent.notify,
        )
    if found.action is Resolve.FAIL and retryable is True:
        return RESOLUTIONS[FailureClass.RETRYABLE]
    return found
