"""Agents are set up whole, or the service says at its start what is missing."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.app import run
from consumers.crews.crew import check
from domain.errors import SettingsError
from eventstore.service import CrewConfig
from mfo.settings import load_settings
from tests.eventstore.house import config_for

KEY = "sk-secret-of-the-house"


@pytest.fixture
def needed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What a service needs besides."""
    monkeypatch.setenv("MFO_DATABASE_URL", "postgresql://mfo:word@db:5432/mfo")
    monkeypatch.setenv("MFO_KAFKA_BOOTSTRAP", "one:9092")
    monkeypatch.setenv("MFO_MASTER_KEY", b64encode(secrets.token_bytes(32)).decode())
    return monkeypatch


def test_without_a_model_there_are_no_agents(needed: pytest.MonkeyPatch) -> None:
    assert load_settings().service_config("consumers").crew is None


def test_consumers_alone_get_the_model_and_its_key(needed: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    needed.setenv("MFO_CREW_MODEL", "some-model")
    needed.setenv("MFO_CREW_BASE_URL", "https://models.example/v1")
    needed.setenv("MFO_CREW_API_KEY_FILE", str(file))
    needed.setenv("MFO_CREW_SAMPLES", "0")
    settings = load_settings()
    crew = settings.service_config("consumers").crew
    assert crew is not None
    assert (crew.model, crew.api_key, crew.samples, crew.python) == ("some-model", KEY, 0, None)
    assert KEY not in repr(crew)
    assert settings.service_config("api").crew is settings.service_config("projections").crew is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"MFO_CREW_MODEL": "m"}, "MFO_CREW_BASE_URL is missing"),
        ({"MFO_CREW_BASE_URL": "https://m/v1"}, "MFO_CREW_BASE_URL is set and MFO_CREW_MODEL is not"),
        ({"MFO_CREW_API_KEY": KEY}, "MFO_CREW_API_KEY is set and MFO_CREW_MODEL is not"),
        ({"MFO_CREW_API_KEY": KEY, "MFO_CREW_API_KEY_FILE": "/f"}, "set only one of MFO_CREW_API_KEY and"),
        ({"MFO_CREW_BASE_URL": "models.example"}, "MFO_CREW_BASE_URL is 'models.example', which is wrong"),
        ({"MFO_CREW_SAMPLES": "6"}, "MFO_CREW_SAMPLES is '6', which is wrong"),
        ({"MFO_CREW_MAX_CALLS": "0"}, "MFO_CREW_MAX_CALLS is '0', which is wrong"),
        (
            {"MFO_CREW_MODEL": "m", "MFO_CREW_BASE_URL": "http://m", "MFO_CREW_API_KEY_FILE": "/nowhere"},
            "MFO_CREW_API_KEY_FILE names /nowhere, which cannot be read",
        ),
    ],
)
def test_half_a_set_up_is_refused_by_name(needed: pytest.MonkeyPatch, given: dict[str, str], sentence: str) -> None:
    for name, value in given.items():
        needed.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(sentence)) as refused:
        load_settings().service_config("consumers")
    assert KEY not in str(refused.value)


def test_an_interpreter_without_crewai_is_refused_at_the_start(tmp_path: Path, crew_config: CrewConfig) -> None:
    check(crew_config)
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(SettingsError, match=r"has no CrewAI: install what requirements-crew\.lock names"):
        check(replace(crew_config, python=str(bare)))
    with pytest.raises(SettingsError, match="MFO_CREW_PYTHON names /nowhere/python"):
        check(replace(crew_config, python="/nowhere/python"))


async def test_consumers_do_not_start_with_a_model_and_no_crewai() -> None:
    crew = CrewConfig(model="m", base_url="http://127.0.0.1:9/v1", python="/nowhere/python")
    with pytest.raises(SettingsError, match="MFO_CREW_PYTHON"):
        await run(config_for("postgresql://nobody@127.0.0.1:1/none", crew=crew))
