"""When a rule trips, and what it says then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.fleet.subjects import PauseRule
from domain.words import counted as counting

Json = dict[str, Any]


def figures_of(rule: PauseRule, counted: Json) -> Json:
    """Those of the counted figures that the rule's measure goes by, with the error rate where there is one."""
    if rule.measure == "error_rate":
        ended, failed = counted.get("ended", 0), counted.get("failed", 0)
        figures = {"ended": ended, "failed": failed, "error_rate": round(failed / ended, 4) if ended else 0.0}
    elif rule.measure == "tokens":
        figures = {"tokens_used": counted.get("tokens_used", 0)}
    elif rule.measure == "slow_runs":
        figures = {"slow_runs": counted.get("slow_runs", 0), "slower_than_seconds": rule.slower_than_seconds}
    else:
        figures = {"flows_begun": counted.get("flows_begun", 0)}
    return figures | {"limit": rule.limit, "window_seconds": rule.window_seconds}


def trips(rule: PauseRule, counted: Json) -> bool:
    """Whether these counts of the window `{ended, failed, tokens_used, flows_begun, slow_runs}` pass the rule's limit."""
    figures = figures_of(rule, counted)
    if rule.measure == "error_rate":
        return bool(figures["ended"] >= rule.at_least and figures["failed"] > rule.limit * figures["ended"])
    if rule.measure == "tokens":
        return bool(figures["tokens_used"] > rule.limit)
    if rule.measure == "slow_runs":
        return bool(figures["slow_runs"] >= rule.limit)
    return bool(figures["flows_begun"] >= rule.limit)


def message_of(rule: PauseRule, figures: Json) -> str:
    """What happened, in one sentence with its numbers."""
    within = f"within {timedelta(seconds=rule.window_seconds)} h"
    if rule.measure == "error_rate":
        return (
            f"{figures['failed']} of {figures['ended']} attempts failed {within}"
            f" ({figures['error_rate']:.0%}, limit {rule.limit:.0%})"
        )
    if rule.measure == "tokens":
        return f"{figures['tokens_used']} tokens were used {within} (limit {rule.limit:g})"
    if rule.measure == "slow_runs":
        slow = f"longer than {figures['slower_than_seconds']:g} s"
        return f"{counting(figures['slow_runs'], 'run')} took {slow} {within} (limit {rule.limit:g})"
    return f"{figures['flows_begun']} flows were begun {within} (limit {rule.limit:g})"
