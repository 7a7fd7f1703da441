"""How commands write times and errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.errors import FieldError, ParameterInvalid
from mfo.commands.output import give, plain, sentence, table

AT = datetime(2026, 11, 21, 21, 0, 46, 357921, tzinfo=UTC)


def test_a_time_is_written_as_the_service_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(AT) == plain(AT.astimezone(timezone(timedelta(hours=2)))) == "2026-11-21T21:00:46.357921Z"
    assert table(["at"], [[AT]]).splitlines()[1] == "2026-11-21T21:00:46.357921Z"
    assert plain({"at": AT}) == '{"at": "2026-11-21T21:00:46.357921Z"}'
    give({"at": AT}, "", as_json=True)
    assert '"at": "2026-11-21T21:00:46.357921Z"' in capsys.readouterr().out


def test_what_an_error_says_of_a_field_is_not_said_twice() -> None:
    once = ParameterInvalid("at lies ahead", errors=[FieldError("at", "lies ahead")])
    assert sentence(once) == "at lies ahead (parameter_invalid)."
    further = ParameterInvalid("at lies ahead", errors=[FieldError("to", "is no time")])
    assert sentence(further) == "at lies ahead (parameter_invalid). Fields: to: is no time."
