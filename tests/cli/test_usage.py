"""What the command line says when nothing runs: exit codes, one JSON document, sentences."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mfo.cli import run
from mfo.client import ServiceError
from mfo.commands.flows import values, waiting_line
from mfo.commands.output import plain, sentence, short, table
from mfo.running import NOTE, Running
from tests.cli.support import ROOT, mfo

TENANT = {
    "MFO_CLIENT_ACCOUNT_ID": "11111111-1111-4111-8111-111111111111",
    "MFO_ENGAGEMENT_ID": "22222222-2222-4222-8222-222222222222",
    "MFO_USER_ID": "ann",
}
# nothing listens on port 1
NOWHERE = TENANT | {"MFO_URL": "http://127.0.0.1:1"}


@pytest.fixture(autouse=True)
def no_usual_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def test_a_command_starts_without_what_only_services_need() -> None:
    heavy = (
        *("psycopg", "cryptography", "jsonschema", "boto3", "reportlab", "opentelemetry", "faststream", "aiokafka"),
        *("eventstore.service", "domain.commands", "estate.inspect"),
    )
    assert loaded(heavy, "mfo.cli") == "[]"


def test_a_service_starts_without_what_only_commands_need() -> None:
    assert loaded(("httpx", "rich", "mfo.client", "mfo.commands.flows"), "mfo.cli, mfo.commands.services") == "[]"


def loaded(names: tuple[str, ...], modules: str) -> str:
    """Which of the names are loaded once the modules are."""
    code = f"import sys, {modules}; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("word", ["nonsense", "audit", "surgeon", "replay", "legacy", "parked", "dlq", "schedule"])
def test_an_unknown_command_is_wrong_usage(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([word]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["flow", "create", "--json"],
        ["flow", "list", "--limit", "0", "--json"],
        ["import", "/no/such/file", "--json"],
        ["sample", "--format", "pdf", "--json"],
        ["projections", "rebuild", "--json"],
        ["projections", "verify", "inventory", "--all", "--sample", "3", "--json"],
        ["dev", "--port", "70000", "--json"],
    ],
)
def test_wrong_usage_with_json_is_one_document(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "words",
    [
        ["flow", "list"],
        ["flow", "status", "1"],
        ["flow", "create", "discovery", "--auto"],
        ["flow", "delete", "1"],
        ["imports"],
        ["flow-types"],
    ],
)
def test_a_service_that_does_not_answer_is_exit_code_3(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    assert run([*words, "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["code"] == "unreachable"
    assert "http://127.0.0.1:1" in said.err


def test_no_service_known_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["flow", "list"]) == 3
    assert "mfo dev" in capsys.readouterr().err


def test_a_missing_tenant_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MFO_URL", "http://127.0.0.1:1")
    assert run(["flow", "list"]) == 2
    assert "MFO_CLIENT_ACCOUNT_ID" in capsys.readouterr().err


def test_the_exit_code_reaches_the_shell() -> None:
    said = mfo("flow", "list", "--json", environment=NOWHERE)
    assert (said.code, said.document["error"]["code"]) == (3, "unreachable")


@pytest.fixture
def other_server() -> Iterator[str]:
    """Something that speaks HTTP and is not this service."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<h1>nothing here</h1>")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_is_not_ours_is_a_failure(
    other_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (TENANT | {"MFO_URL": other_server}).items():
        monkeypatch.setenv(name, value)
    assert run(["flow", "list", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "http_404"


def test_inputs_are_json_where_they_can_be_read_as_json(tmp_path: Path) -> None:
    file = tmp_path / "more.json"
    file.write_text('{"mappings": {"Host": "name"}, "approval": false}')
    found = values([f"@{file}", "approval=true", "count=3", "name=web 01", 'tags=["a"]', "empty=", "equation=a=b"])
    assert found == {
        "mappings": {"Host": "name"},
        "approval": True,
        "count": 3,
        "name": "web 01",
        "tags": ["a"],
        "empty": "",
        "equation": "a=b",
    }


@pytest.mark.parametrize("text", ["nothing", "=value", "@/no/such/file"])
def test_an_input_that_is_none_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["flow", "create", "discovery", "--input", text]) == 2
    assert text in capsys.readouterr().err


def test_a_problem_is_one_sentence_with_its_code_fields_and_what_is_allowed() -> None:
    problem = {
        "title": "Refused",
        "detail": "The flow is paused; resume it first.",
        "code": "flow_paused",
        "allowed": ["resume", "cancel"],
        "errors": [{"field": "inputs.mappings", "message": "must be an object"}],
    }
    assert sentence(ServiceError(409, problem)) == (
        "The flow is paused; resume it first (flow_paused). Fields: inputs.mappings: must be an object. Allowed now: resume, cancel."
    )


def test_a_table_cuts_nothing_off() -> None:
    long = "x" * 300
    assert table(["name", "value"], [[long, None], ["b", 2.50]]).splitlines()[1:] == [f"{long}  -", f"{'b':300}  2.5"]


def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, other = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv"))
    assert run(["sample", str(first), "--servers", "30", "--seed", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["servers"]) == ("csv", 30)
    assert run(["sample", str(second), "--servers", "30", "--seed", "3"]) == 0
    assert run(["sample", str(other), "--servers", "30", "--seed", "4"]) == 0
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


@pytest.mark.parametrize(
    "words", [["x.pdf"], ["x.csv", "--format", "xlsx"], ["x.xlsx", "--format", "csv"], ["x.csv.gz"], [".csv.bak"]]
)
def test_a_sample_of_an_unknown_kind_is_wrong_usage(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["sample", *words]) == 2
    assert "a file that ends in ." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "fmt"), [(["a"], "xlsx"), (["A.CSV"], "csv"), (["a", "--format", "csv"], "csv")])
def test_a_sample_is_written_as_its_name_ends(
    words: list[str], fmt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["sample", *words, "--servers", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == fmt


@pytest.mark.parametrize(
    "words",
    [
        ["flow", "list"],
        ["imports"],
        ["import", __file__],
        ["sample", "x.csv"],
        ["env"],
        ["migrate", "--check"],
        ["projections", "list"],
        ["flow-types"],
        ["dev"],
        ["api"],
    ],
)
@pytest.mark.parametrize(
    "variable",
    [
        ("MFO_CLIENT_ACOUNT_ID", "x", "did you mean MFO_CLIENT_ACCOUNT_ID?"),
        ("MFO_HTTP_PORT", "ninety", "MFO_HTTP_PORT is 'ninety'"),
    ],
)
def test_a_variable_that_is_unknown_or_wrong_is_refused_by_every_command(
    words: list[str],
    variable: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, value, said = variable
    monkeypatch.setenv(name, value)
    assert run([*words, "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["code"] == "settings_invalid"
    assert said in told.err


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["flow", "create", "--help"]])
def test_help_is_given_whatever_is_set(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFO_COLOUR", "red")
    assert run(words) == 0
    assert "mfo" in capsys.readouterr().out


def test_a_number_loses_no_digit() -> None:
    given = [2.0, 2.171875, 1234567.25, 1e-07, 1e21, 0.1, 0, None, True, ["a", 1.50]]
    assert [plain(one) for one in given] == [
        *("2", "2.171875", "1234567.25", "0.0000001", "1000000000000000000000", "0.1", "0", "-", "yes", "a, 1.5"),
    ]


def test_what_holds_a_flow_is_told_in_sentences() -> None:
    wait = {"message": "All 2 places for such work are taken.", "since": "12:00", "before": 3, "priority": 4}
    assert waiting_line(wait) == (
        "All 2 places for such work are taken. Before it: 3 of this tenant (priority 4). Since 12:00."
    )
    assert waiting_line({"message": "Again.", "since": "12:00", "until": "12:01"}) == "Again. Until 12:01. Since 12:00."
    assert waiting_line(None) is None


def test_a_text_is_cut_between_words() -> None:
    assert [short("one two three", most) for most in (13, 12, 9, 8, 4)] == [
        *("one two three", "one two…", "one two…", "one two…", "one…"),
    ]
    assert short("x" * 20, 10) == "x" * 9 + "…"


def test_env_without_a_dev_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "--data", str(tmp_path)]) == 3
    assert str(tmp_path) in capsys.readouterr().err


def test_env_survives_the_shell_whatever_is_in_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {
        "MFO_URL": "http://x/?a=1&b='2'",
        "MFO_USER_ID": 'o\'neil "$(touch pwned)" `id` \\',
        "MFO_MASTER_KEY_FILE": "/a b/ké y",
    }
    _note(tmp_path, hostile)
    assert run(["env", "--data", str(tmp_path)]) == 0
    script = capsys.readouterr().out + 'for name in MFO_URL MFO_USER_ID MFO_MASTER_KEY_FILE; do printenv "$name"; done'
    printed = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert printed.splitlines() == list(hostile.values())
    assert not (tmp_path / "pwned").exists()
    assert run(["env", "--data", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == hostile


def test_a_dev_that_was_killed_is_not_running(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    started = psutil.Process(ended.pid).create_time()
    ended.wait()
    _note(tmp_path, {"MFO_URL": "http://x"}, pid=ended.pid, started=started)
    assert run(["env", "--data", str(tmp_path)]) == 3


def test_migrate_says_whether_the_schema_is_up_to_date(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFO_DATABASE_URL", empty_database_url)
    assert run(["migrate", "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "schema_behind"
    assert run(["projections", "list", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "schema_behind"
    assert run(["migrate", "--json"]) == 0
    revision = json.loads(capsys.readouterr().out)["revision"]
    assert run(["migrate", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"revision": revision, "up_to_date": True}
    assert run(["projections", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"projections": []}


def test_a_database_that_does_not_answer_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFO_DATABASE_URL", "postgresql://mfo@127.0.0.1:1/mfo")
    assert run(["migrate", "--check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "store_unavailable"


def test_migrate_without_an_address_names_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate"]) == 1
    assert "MFO_DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize("service", ["api", "consumers", "projections"])
def test_a_wrong_setting_is_named_and_nothing_starts(service: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    given = {
        "MFO_DATABASE_URL": "postgresql://mfo@127.0.0.1:1/mfo",
        "MFO_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MFO_MASTER_KEY_FILE": str(key),
        "MFO_HTTP_PORT": "ninety",
    }
    said = mfo(service, "--json", environment=given)
    assert said.code == 1
    assert "MFO_HTTP_PORT" in said.document["error"]["detail"]
    assert "Traceback" not in said.err


def _note(folder: Path, environment: dict[str, str], *, pid: int | None = None, started: float | None = None) -> None:
    process = psutil.Process(os.getpid())
    note = Running(
        pid=pid or process.pid,
        process_started=started or process.create_time(),
        data=str(folder),
        url="http://x",
        postgres="18",
        kafka="jars",
        kafka_bootstrap="127.0.0.1:1",
        kafka_reason="",
        environment=environment,
    )
    (folder / NOTE).write_text(note.as_note())
