"""Schedules, as somebody types them."""

from __future__ import annotations

import pytest
import typer

from mfo.commands.schedules import seconds_of
from tests.cli.support import mfo

Environment = dict[str, str]


def test_times_are_read_as_people_write_them() -> None:
    assert [seconds_of(text, "--every") for text in ("90", "90s", "15m", "6h", "2d")] == [90, 90, 900, 21_600, 172_800]
    assert seconds_of(None, "--every") is None
    for text in ("soon", "-5m", "5 weeks", ""):
        with pytest.raises(typer.BadParameter, match="use 90s, 15m, 6h or 2d"):
            seconds_of(text, "--every")


def test_a_schedule_from_its_making_to_its_end(environment: Environment) -> None:
    def said(*words: str, code: int = 0) -> dict[str, object]:
        done = mfo("schedule", *words, "--json", environment=environment)
        assert done.code == code, done.err
        found: dict[str, object] = done.document
        return found

    made = said(
        *("create", "From the shell", "--type", "discovery", "--cron", "30 6 * * MON-FRI", "--zone", "Europe/Berlin"),
        *("--input", "import_file_id=none", "--catch-up", "2h", "--overlap", "buffer_one", "--max-firings", "3"),
    )
    schedule_id = str(made["schedule_id"])
    assert (made["state"], made["catch_up_window_seconds"], made["max_firings"]) == ("active", 7200, 3)
    times = said("next", schedule_id, "--count", "9")["times"]
    assert isinstance(times, list)
    assert [each["local"][11:16] for each in times] == ["06:30"] * 3
    listed = said("list", "--state", "active")["schedules"]
    assert isinstance(listed, list)
    assert schedule_id in [each["schedule_id"] for each in listed]
    assert said("pause", schedule_id, "--reason", "lunch")["state"] == "paused"
    assert said("trigger", schedule_id)["state"] == "paused"
    assert said("resume", schedule_id)["state"] == "active"
    changed = said("update", schedule_id, "--zone", "UTC", "--input", "environment=production")
    assert changed["timing"] == {"cron": "30 6 * * MON-FRI", "time_zone": "UTC"}
    flow = changed["flow"]
    assert isinstance(flow, dict)
    assert flow["initial_data"] == {"import_file_id": "none", "environment": "production"}
    refused = said("backfill", schedule_id, "--from", "2020-01-01T00:00:00Z", "--to", "2021-01-01T00:00:00Z", code=1)
    assert isinstance(refused["error"], dict)
    assert refused["error"]["code"] == "backfill_too_large"
    assert said("show", schedule_id)["schedule_id"] == schedule_id
    firings = said("history", schedule_id)["firings"]
    assert isinstance(firings, list)
    assert {each["kind"] for each in firings} <= {"triggered"}
    assert said("delete", schedule_id)["state"] == "deleted"
    wrong = mfo("schedule", "create", "x", "--type", "discovery", "--cron", "every day", environment=environment)
    assert wrong.code == 1
    assert "use five fields" in wrong.err
    shown = mfo("schedule", "list", "--state", "deleted", environment=environment)
    assert "30 6 * * MON-FRI (UTC)" in shown.out
