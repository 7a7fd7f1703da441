"""Settings are refused by the variable's name, all at once, and never show a secret."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from domain.errors import SettingsError
from eventstore.config import MailFolder, SmtpConfig
from mfo.settings import Settings, as_markdown, load_settings, variable

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"
KEY = b64encode(secrets.token_bytes(32)).decode()


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"`{variable(name)}`" in as_markdown()


def test_a_service_gets_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFO_DATABASE_URL", "postgresql://mfo:geheim@db:5432/mfo?options=-csearch_path%3Dmfo")
    monkeypatch.setenv("MFO_KAFKA_BOOTSTRAP", "one:9092,[::1]:9093")
    monkeypatch.setenv("MFO_MASTER_KEY", KEY)
    monkeypatch.setenv("MFO_REPLY_TOPICS", "a.replies, b_replies")
    monkeypatch.setenv("MFO_CONSUMERS_HEALTH_PORT", "8081")
    monkeypatch.setenv("MFO_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("MFO_SLOTS", "")
    settings = load_settings()
    config = settings.service_config("consumers")
    assert config.reply_topics == ("a.replies", "b_replies")
    assert (config.health_port, config.slots, len(config.master_key)) == (8081, 64, 32)
    assert settings.log_level == "debug"
    assert settings.service_config("projections").health_port == 0
    assert "geheim" not in repr(settings)
    assert KEY not in repr(settings)


POLICY = """
redact_paths = ["**.ssn"]
redact_patterns = ['DE\\d{20}']

[[rules]]
name = "change_ticket"
title = "Whoever cancels names a ticket"
operations = ["cancel"]
reason_fits = 'CHG-\\d+'
"""


def test_what_the_audit_trail_is_made_under_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    monkeypatch.setenv("MFO_AUDIT_KEY", KEY)
    monkeypatch.setenv("MFO_AUDIT_REDACT_PATHS", "body.iban")
    monkeypatch.setenv("MFO_AUDIT_POLICY", str(file))
    with pytest.raises(
        SettingsError, match=r"^MFO_AUDIT_POLICY names .*audit.toml, which cannot be read: No such file"
    ):
        load_settings().audit_config()
    file.write_text(POLICY)
    found = load_settings().audit_config()
    assert found is not None
    assert (found.policy.rules[-1].name, found.policy.paths) == ("change_ticket", ("body.iban", "**.ssn"))
    file.write_text("[[rules]")
    with pytest.raises(SettingsError, match=r"which is no TOML: .*line 1"):
        load_settings().audit_config()
    file.write_text(POLICY.replace("reason_fits", "reason_has"))
    with pytest.raises(SettingsError, match=r"which is wrong: .*unknown field `reason_has`"):
        load_settings().audit_config()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MFO_HTTP_PORT", "http", "MFO_HTTP_PORT is 'http', which is wrong"),
        ("MFO_HTTP_PORT", "70000", "MFO_HTTP_PORT is '70000', which is wrong: it must be less than or equal to 65535"),
        ("MFO_WORKERS", "0", "MFO_WORKERS is '0'"),
        ("MFO_LOG_FORMAT", "xml", "MFO_LOG_FORMAT is 'xml', which is wrong: it must be 'json' or 'console'"),
        ("MFO_KAFKA_BOOTSTRAP", "kafka", "'kafka' is not host:port"),
        ("MFO_REPLY_TOPICS", "my topic", "'my topic' is not the name of a Kafka topic"),
        ("MFO_FLOW_TYPES", "os; rm", "'os; rm' is not a Python module"),
        ("MFO_SHARD", "a-b", "MFO_SHARD is 'a-b'"),
        ("MFO_CLIENT_ACCOUNT_ID", "7", "MFO_CLIENT_ACCOUNT_ID is '7'"),
        ("MFO_ARTIFACTS", "s3://bucket", "MFO_ARTIFACTS is 's3://bucket', which is wrong: it must be 'postgres'"),
        ("MFO_OPERATOR_TOKEN", "short", "MFO_OPERATOR_TOKEN is wrong: it must have at least 16 characters"),
        ("MFO_HTP_PORT", "80", "MFO_HTP_PORT is not a setting; did you mean MFO_HTTP_PORT?"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        load_settings()


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFO_SLOTS", "many")
    monkeypatch.setenv("MFO_WORKERS", "none")
    monkeypatch.setenv("MFO_TEST_DATA", "the tests' own, not a setting")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert all(name in refused.value.detail for name in ("MFO_SLOTS", "MFO_WORKERS"))
    assert "MFO_TEST_DATA" not in refused.value.detail


def test_a_wrong_database_address_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFO_DATABASE_URL", "host=db password=geheim port")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "MFO_DATABASE_URL" in refused.value.detail
    assert "geheim" not in refused.value.detail


def test_what_a_service_cannot_do_without_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(SettingsError) as refused:
            load_settings().service_config()
        return refused.value.detail

    assert "MFO_DATABASE_URL is missing" in refusal()
    monkeypatch.setenv("MFO_DATABASE_URL", "postgresql://db/mfo")
    assert "MFO_KAFKA_BOOTSTRAP is missing" in refusal()
    monkeypatch.setenv("MFO_KAFKA_BOOTSTRAP", "kafka:9092")
    assert "MFO_MASTER_KEY is missing" in refusal()
    monkeypatch.setenv("MFO_MASTER_KEY", "c2hvcnQ=")
    assert "MFO_MASTER_KEY must be 32 bytes" in refusal()
    monkeypatch.setenv("MFO_MASTER_KEY_FILE", str(tmp_path / "key"))
    assert "only one of MFO_MASTER_KEY and MFO_MASTER_KEY_FILE" in refusal()
    monkeypatch.delenv("MFO_MASTER_KEY")
    assert "cannot be read" in refusal()
    (tmp_path / "key").write_text("short")
    assert "does not hold 32 bytes" in refusal()
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert len(load_settings().service_config().master_key) == 32


def test_every_variable_in_compose_is_a_setting() -> None:
    known = {variable(name) for name in Settings.model_fields}
    text = COMPOSE.read_text(encoding="utf-8")
    passed = set()
    for service in yaml.safe_load(text)["services"].values():
        passed |= {name for name in service.get("environment", {}) if name.startswith("MFO_")}
    assert passed >= {"MFO_DATABASE_URL", "MFO_KAFKA_BOOTSTRAP"}
    assert passed <= known
    assert set(re.findall(r"\$\{(MFO_[A-Z_]+)", text)) <= known


def test_compose_has_no_secret_and_opens_no_port_to_the_world() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    for name in re.findall(r"\$\{([A-Z_]*(?:PASSWORD|KEY)[A-Z_]*[^}]*)\}", text):
        assert ":?" in name, f"{name} must have no default"
    for service in yaml.safe_load(text)["services"].values():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), port


MAIL = {"MFO_SMTP_URL": "smtp+starttls://mail.example.com", "MFO_SMTP_FROM": "mfo@example.com"}


def test_the_ways_of_telling_are_what_was_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    more = {
        "MFO_SMTP_USER": "mfo",
        "MFO_SMTP_PASSWORD_FILE": str(tmp_path / "password"),
        "MFO_NOTIFY_EMAIL_DOMAINS": "example.com, *.corp.test",
        "MFO_WEBHOOK_HOSTS": "*",
        "MFO_WEBHOOK_NETWORKS": "10.1.0.0/16,::1/128",
        "MFO_PUBLIC_URL": "https://flows.example.com/",
    }
    for name, value in (MAIL | more).items():
        monkeypatch.setenv(name, value)
    telling = load_settings().telling_config()
    assert isinstance(telling.mail, SmtpConfig)
    assert (telling.mail.host, telling.mail.port, telling.mail.security) == ("mail.example.com", 587, "starttls")
    assert (telling.mail.user, telling.mail.password) == ("mfo", "hunter2")
    assert "hunter2" not in repr(telling)
    assert telling.addressing.mail
    assert telling.addressing.email_domains == ("example.com", "*.corp.test")
    assert telling.webhook_networks == ("10.1.0.0/16", "::1/128")
    assert telling.public_url == "https://flows.example.com"


def test_mail_is_put_into_a_folder_instead_where_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MFO_MAIL_FOLDER", str(tmp_path))
    telling = load_settings().telling_config()
    assert telling.mail == MailFolder(path=tmp_path, sender="mfo@localhost")
    assert telling.addressing.mail
    monkeypatch.setenv("MFO_SMTP_FROM", "flows@example.com")
    assert load_settings().telling_config().mail == MailFolder(path=tmp_path, sender="flows@example.com")


def test_without_a_word_nothing_is_told_to_anybody() -> None:
    telling = Settings().telling_config()
    assert telling.mail is None
    assert not telling.addressing.mail
    assert telling.addressing.email_domains == telling.addressing.webhook_hosts == telling.webhook_networks == ()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"MFO_SMTP_FROM": "mfo@example.com"}, "MFO_SMTP_FROM is set and MFO_SMTP_URL is not"),
        ({"MFO_SMTP_URL": "smtp://mail"}, "MFO_SMTP_FROM is missing"),
        (MAIL | {"MFO_MAIL_FOLDER": "/mail"}, "MFO_SMTP_URL and MFO_MAIL_FOLDER are both set"),
        ({"MFO_MAIL_FOLDER": "/mail", "MFO_SMTP_USER": "mfo"}, "MFO_SMTP_USER is set and MFO_SMTP_URL is not"),
        (
            MAIL | {"MFO_SMTP_URL": "smtp://mfo:hunter2@mail"},
            "the password go into MFO_SMTP_USER and MFO_SMTP_PASSWORD",
        ),
        (MAIL | {"MFO_SMTP_URL": "smtp://mail:99999"}, "MFO_SMTP_URL must be"),
        (MAIL | {"MFO_SMTP_USER": "mfo"}, "MFO_SMTP_USER goes with"),
        (
            MAIL | {"MFO_SMTP_URL": "smtp://mail", "MFO_SMTP_USER": "mfo", "MFO_SMTP_PASSWORD": "hunter2"},
            "would send the password in clear",
        ),
        (MAIL | {"MFO_SMTP_USER": "mfo", "MFO_SMTP_PASSWORD_FILE": "/nowhere"}, "which cannot be read"),
        ({"MFO_WEBHOOK_NETWORKS": "10.1.2.3/8"}, "has host bits set"),
        ({"MFO_WEBHOOK_HOSTS": "https://x"}, "is not a host such as"),
        ({"MFO_NOTIFY_EMAIL_DOMAINS": "@example.com"}, "is not a domain such as"),
    ],
)
def test_ways_of_telling_that_do_not_go_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sentence: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(sentence)) as refused:
        load_settings().telling_config()
    assert "hunter2" not in refused.value.detail
