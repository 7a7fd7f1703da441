"""What a flow type has done about a phase that has no attempt left, before the flow fails: data, checked at registration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from domain.errors import RegistrationError
from domain.words import FailureClass

Json = dict[str, Any]

MAX_TIMES = 10
MAX_DELAY_SECONDS = 7 * 86_400
CODE = "code:"
NOT_RETRYABLE = "not_retryable"
CLASSES = frozenset({*FailureClass, NOT_RETRYABLE})


class Remedy(StrEnum):
    """What is done about a failure that trying again has not cured."""

    RETRY_WITH_BACKOFF = "retry_with_backoff"
    RETRY_WITH_DATA_CLEANUP = "retry_with_data_cleanup"
    RESTART_FROM_PHASE = "restart_from_phase"
    RESTART_FROM_LAST_CHECKPOINT = "restart_from_last_checkpoint"
    FALLBACK = "fallback"
    MANUAL_INTERVENTION_REQUIRED = "manual_intervention_required"


RESTARTS = frozenset({Remedy.RESTART_FROM_PHASE, Remedy.RESTART_FROM_LAST_CHECKPOINT})
WITH_INPUTS = frozenset({Remedy.RETRY_WITH_DATA_CLEANUP, Remedy.FALLBACK})


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: `when` names classes of failure (`network`), codes (`code:rows_missing`) or `not_retryable`, none: any.

    `with_inputs` are laid over what the flow knows; `from_phase` is where a restart begins (none: the phase that failed);
    `delay_seconds` is how long is waited before; the rule is used `at_most` so often until a person takes the flow in hand.
    """

    action: str
    when: tuple[str, ...] = ()
    with_inputs: Json = {}
    from_phase: str | None = None
    delay_seconds: float = 0.0
    at_most: int = 1

    def concerns(self, error: Json) -> bool:
        """Whether the rule is about this error."""
        words = {str(error.get("class")), f"{CODE}{error.get('code')}"}
        if error.get("retryable") is False:
            words.add(NOT_RETRYABLE)
        return not self.when or bool(words & set(self.when))


def check_recovery(where: str, rules: Sequence[Recovery], startable: Collection[str]) -> None:
    """Raises RegistrationError for a rule that could not be carried out; a restart may begin at the phases `startable`."""
    for rule in rules:
        unknown = [word for word in rule.when if word not in CLASSES and not word.startswith(CODE)]
        if unknown:
            raise RegistrationError(
                f"{where}: recovery is about {unknown[0]!r}; name one of {', '.join(sorted(CLASSES))}, or {CODE}<code>"
            )
        if rule.action not in set(Remedy):
            raise RegistrationError(f"{where}: recovery says {rule.action!r}; use one of {', '.join(Remedy)}")
        if rule.from_phase is not None and rule.action != Remedy.RESTART_FROM_PHASE:
            raise RegistrationError(f"{where}: only restart_from_phase takes from_phase, not {rule.action}")
        if rule.from_phase is not None and rule.from_phase not in startable:
            raise RegistrationError(
                f"{where}: a restart begins at one of {', '.join(startable)}, not at {rule.from_phase!r}"
            )
        if bool(rule.with_inputs) is not (rule.action in WITH_INPUTS):
            raise RegistrationError(f"{where}: with_inputs and one of {', '.join(sorted(WITH_INPUTS))} need each other")
        if not 1 <= rule.at_most <= MAX_TIMES:
            raise RegistrationError(f"{where}: a recovery is tried 1 to {MAX_TIMES} times, not {rule.at_most}")
        if not 0 <= rule.delay_seconds <= MAX_DELAY_SECONDS:
            raise RegistrationError(f"{where}: a recovery waits 0 to {MAX_DELAY_SECONDS} s, not {rule.delay_seconds:g}")
