"""The words that everything shares: statuses, results, next actions, and the other names people use for them."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a flow stands."""

    INITIALIZED = "initialized"
    PROCESSING = "processing"
    WAITING_FOR_INPUT = "waiting_for_input"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.DELETED})
"""Where a flow stands that does nothing more by itself."""


class PhaseStatus(StrEnum):
    """Where one phase of a flow stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Action(StrEnum):
    """What a flow needs next."""

    EXECUTE_PHASE = "execute_phase"
    PROVIDE_INPUT = "provide_input"
    APPROVE = "approve"
    WAIT = "wait"
    RESUME = "resume"
    RETRY = "retry"
    NONE = "none"


STATUS_ALIASES: dict[str, Status] = {
    "active": Status.PROCESSING,
    "running": Status.PROCESSING,
    "in_progress": Status.PROCESSING,
    "pending": Status.INITIALIZED,
    "waiting": Status.WAITING_FOR_INPUT,
    "waiting_for_approval": Status.WAITING_FOR_INPUT,
    "waiting_for_user_approval": Status.WAITING_FOR_INPUT,
    "paused_for_user_input": Status.WAITING_FOR_INPUT,
    "error": Status.FAILED,
    "canceled": Status.CANCELLED,
}


class FailureClass(StrEnum):
    """What kind of thing went wrong."""

    VALIDATION = "validation"
    NETWORK = "network"
    DATABASE = "database"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    RESOURCE = "resource"
    CREW = "crew"
    EXECUTION = "execution"
    RETRYABLE = "retryable"
    PERMISSION = "permission"
    BUSINESS_LOGIC = "business_logic"
    PERMANENT = "permanent"
    CANCELLED = "cancelled"
    TARGET_OPEN = "target_open"
    UNKNOWN = "unknown"


class Resolve(StrEnum):
    """What is done about a failure."""

    RETRY = "retry"
    WAIT_FOR_INPUT = "wait_for_input"
    FAIL = "fail"
    PAUSE = "pause"
    CONTINUE = "continue"
    WAIT = "wait"


class Moment(StrEnum):
    """When a hook of a flow type runs."""

    START = "start"
    BEFORE = "before"
    AFTER = "after"
    END = "end"
    ERROR = "error"
    COMPENSATE = "compensate"
    CANCEL = "cancel"


# at any depth, upper and lower case alike; the singulars are what people write
SENSITIVE_KEYS = frozenset(
    {
        *("credentials", "api_keys", "connection_strings", "passwords", "tokens", "private_keys", "secrets"),
        *("credential", "api_key", "connection_string", "password", "token", "private_key", "secret"),
    }
)


SEALED, SPILLED = "$sealed", "$artifact"
"""The one member of an object that stands for a sensitive value, and a member of one for a value that was moved to an artifact."""
APPROVAL = "approval"
"""The input by which a person agrees to what a phase suggests; it holds for one round."""

SYSTEM_USER = "mfo"
"""The actor of what the service does by itself: timers that fire, runs taken over."""


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number and what it counts: `1 row`, `2 rows`, `2 matches`."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def status_of(text: str) -> Status:
    """The status a caller means; raises ValueError with the allowed words."""
    word = text.strip().lower().replace("-", "_")
    if word in STATUS_ALIASES:
        return STATUS_ALIASES[word]
    try:
        return Status(word)
    except ValueError:
        allowed = ", ".join(Status)
        raise ValueError(f"{text!r} is no status; use one of {allowed}") from None
