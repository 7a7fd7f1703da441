"""Figures, as somebody types it."""

from __future__ import annotations

from tests.cli.support import mfo

Environment = dict[str, str]


def test_figures_are_shown_for_many_flows_and_for_one(environment: Environment) -> None:
    made = mfo("flow", "create", "discovery", "--name", "figures", "--json", environment=environment)
    assert made.code == 0, made.err
    flow_id = made.document["flow_id"]
    portfolio = mfo("portfolio", environment=environment)
    assert portfolio.code == 0, portfolio.err
    assert "FLOW_ID" in portfolio.out
    shown = mfo("flow", "performance", flow_id, environment=environment)
    assert shown.code == 0, shown.err
    assert "data_import" in shown.out
    figures = mfo("flow", "analytics", "--type", "discovery", "--from", "2026-01-01", environment=environment)
    assert figures.code == 0, figures.err
    assert "success rate" in figures.out
    wrong = mfo("flow", "analytics", "--at", "soon", "--json", environment=environment)
    assert wrong.code == 1
    assert wrong.document["error"]["code"] == "parameter_invalid"
