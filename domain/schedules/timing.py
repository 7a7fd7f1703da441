"""The nominal times of a schedule: cron in a time zone, intervals from an anchor, one moment.

Cron follows Debian's cron where clocks change. A time of day that does not exist fires once, at the first minute that does,
so that a nightly job is never left out; one that exists twice fires at the first of the two only, so that it is never done
twice. An expression that is not about a time of day (its minute or hour begins with `*`) means "every so often" and goes by
the time that really passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from domain.schedules.events import Settings, Timing
from domain.words import counted

CRON_FIELDS = 5
# what begins small is about this machine (localtime), or counts leap seconds (right/...)
ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
CRON_HELP = "five fields: minute, hour, day of month, month, day of week, such as 30 6 * * MON-FRI"


def cron_problem(expression: str) -> str | None:
    """What is wrong with a cron expression, in a sentence; none where nothing is."""
    fields = expression.split()
    if len(fields) != CRON_FIELDS:
        return f"{expression!r} has {counted(len(fields), 'field')}; use {CRON_HELP}"
    try:
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return f"{expression!r} is no cron expression: {str(error).lower()}; use {CRON_HELP}"
    except StopIteration:
        return f"{expression!r} names a day that never comes"
    return None


def zone_problem(name: str) -> str | None:
    """What is wrong with a time zone's name; none where nothing is."""
    if ZONE_NAME.fullmatch(name):
        with suppress(ZoneInfoNotFoundError, OSError, ValueError):
            ZoneInfo(name)
            return None
    return f"{name!r} is no time zone; use a name of the IANA database, such as Europe/Berlin or UTC"


def zone_of(timing: Timing) -> ZoneInfo:
    """The zone that the times are told in."""
    return ZoneInfo(timing.time_zone)


def occurrences(timing: Timing, after: datetime) -> Iterator[datetime]:
    """The nominal times later than `after`, ascending, in UTC; without end but for `at`."""
    if timing.at is not None:
        if timing.at > after:
            yield timing.at
    elif timing.interval_seconds is not None:
        assert timing.anchor_at is not None
        step = timedelta(seconds=timing.interval_seconds)
        # counted from the anchor each time: an interval never drifts, however late a firing was
        number = (after - timing.anchor_at) // step
        while True:
            number += 1
            yield timing.anchor_at + number * step
    else:
        assert timing.cron is not None
        local = after.astimezone(UTC if timing.time_zone == "UTC" else zone_of(timing))
        for moment in CronSim(timing.cron, local):
            found = moment.astimezone(UTC)
            # in the second of two equal hours the library begins with the first one
            if found > after:
                yield found


def between(settings: Settings, after: datetime) -> Iterator[datetime]:
    """The nominal times later than `after` that lie within the schedule's bounds, both included."""
    if settings.start_at is not None and settings.start_at > after:
        after = settings.start_at - timedelta(microseconds=1)
    for found in occurrences(settings.timing, after):
        if settings.end_at is not None and found > settings.end_at:
            return
        yield found


def fire_at(schedule_id: UUID, settings: Settings, nominal_at: datetime) -> datetime:
    """When the firing of a nominal time is due: later by a jitter that follows from schedule and time."""
    if not settings.jitter_seconds:
        return nominal_at
    share = uuid5(schedule_id, f"jitter:{nominal_at.isoformat()}").int % 1_000_000 / 1_000_000
    return nominal_at + timedelta(seconds=round(settings.jitter_seconds * share, 3))
