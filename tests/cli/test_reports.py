"""What a discovery found, as somebody asks for it at the command line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import openpyxl
import pytest

from tests.cli.support import mfo

Environment = dict[str, str]

INVENTORY = """Server Name,IP Address,Operating System,vCPU,Memory (MB),Environment,Owner
web01,10.0.0.1,Windows Server 2012 R2,2,4096,Production,ann@corp.example
web02,10.0.0.2,Windows Server 2019,4,8192,Production,=1+1
db01,10.0.0.3,Red Hat Enterprise Linux 7.9,8,32768,Test,ann@corp.example
"""


@pytest.fixture(scope="module")
def flow_id(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A discovery that has been completed."""
    file = tmp_path_factory.mktemp("reports") / "servers.csv"
    file.write_text(INVENTORY)
    words = (
        "--file",
        str(file),
        "--input",
        "auto_approve_mappings=true",
        "--input",
        "compare_with=none",
        "--auto",
        "--wait",
        "--name",
        "Juni",
    )
    made = mfo("flow", "create", "discovery", *words, "--json", environment=environment)
    assert made.code == 0, made.err
    found: str = made.document["flow_id"]
    return found


def test_a_report_is_written_to_a_file(flow_id: str, environment: Environment, tmp_path: Path) -> None:
    page, book = tmp_path / "june.html", tmp_path / "june.xlsx"

    written = mfo("flow", "report", flow_id, "-o", str(page), environment=environment)
    assert (written.code, written.out.strip()) == (0, str(page)), written.err
    assert "Discovery: Juni" in page.read_text(encoding="utf-8")
    assert "ann@corp.example" not in page.read_text(encoding="utf-8")
    told = mfo("flow", "report", flow_id, "-o", str(book), "--unmasked", "--json", environment=environment).document
    assert (told["path"], told["format"], told["flow_id"]) == (str(book), "xlsx", flow_id)
    assert told["sha256"] == hashlib.sha256(book.read_bytes()).hexdigest()
    assert told["size_bytes"] == book.stat().st_size
    rows = list(openpyxl.load_workbook(book)["Assets"].iter_rows(min_row=2, values_only=True))
    assert {row[0] for row in rows} == {"web01", "web02", "db01"}
    assert "ann@corp.example" in [cell for row in rows for cell in row]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["june.html", "june.xlsx"]


def test_lists_are_tables_documents_or_csv(flow_id: str, environment: Environment, tmp_path: Path) -> None:
    listed = mfo("flow", "assets", flow_id, environment=environment)
    assert listed.code == 0, listed.err
    assert listed.out.splitlines()[0].split()[:2] == ["NAME", "ASSET_TYPE"]
    assert len(listed.out.splitlines()) == 4
    for words in (("--format", "json"), ("--json",)):
        document = mfo("flow", "assets", flow_id, *words, "--limit", "2", environment=environment).document
        assert len(document["assets"]) == 2
    text = mfo("flow", "assets", flow_id, "--format", "csv", environment=environment).out
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert {row["name"]: row["business_owner"] for row in rows}["web02"] == "'=1+1"
    file = tmp_path / "issues.csv"
    told = mfo(
        "flow", "issues", flow_id, "--format", "csv", "-o", str(file), "--json", environment=environment
    ).document
    assert told["size_bytes"] == file.stat().st_size
    assert mfo("flow", "assets", flow_id, "--type", "storage", environment=environment).out.strip() == "no assets"
    assert mfo("flow", "dependencies", flow_id, "--no-noise", "--json", environment=environment).document == {
        "dependencies": []
    }


@pytest.fixture(scope="module")
def later_flow_id(flow_id: str, environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A discovery of the estate as it is later: a machine has come, one is gone, one has grown."""
    file = tmp_path_factory.mktemp("later") / "servers.csv"
    kept = [line.replace("4,8192", "4,16384") for line in INVENTORY.splitlines() if not line.startswith("db01")]
    file.write_text("\n".join([*kept, "new01,10.0.0.9,Debian 12,2,2048,Test,ann@corp.example"]) + "\n")
    words = ("--file", str(file), "--input", "auto_approve_mappings=true", "--input", f"compare_with={flow_id}")
    made = mfo("flow", "create", "discovery", *words, "--auto", "--wait", "--json", environment=environment)
    assert made.code == 0, made.err
    found: str = made.document["flow_id"]
    return found


def test_what_has_changed_since_an_earlier_discovery_is_listed(
    flow_id: str, later_flow_id: str, environment: Environment, tmp_path: Path
) -> None:
    document = mfo("flow", "changes", later_flow_id, "--json", environment=environment).document
    assert {(row["kind"], row["name"]) for row in document["changes"]} == {
        ("new", "new01"),
        ("gone", "db01"),
        ("changed", "web02"),
    }
    listed = mfo("flow", "changes", later_flow_id, "--kind", "changed", environment=environment)
    assert "memory_gb 8 -> 16" in listed.out
    assert len(listed.out.splitlines()) == 2
    named = mfo("flow", "changes", later_flow_id, "--name", "WEB", "--json", environment=environment).document
    assert [row["name"] for row in named["changes"]] == ["web02"]
    text = mfo("flow", "changes", later_flow_id, "--format", "csv", environment=environment).out
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [(row["field"], row["before"], row["after"]) for row in rows if row["name"] == "web02"] == [
        ("memory_gb", "8", "16")
    ]
    assert mfo("flow", "changes", flow_id, environment=environment).out.strip() == "no changes"


def test_doubtful_matches_are_listed(environment: Environment, tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("Server Name,Serial Number,Memory (MB)\nweb01,SN-1000-A,4096\nweb02,SN-1000-B,4096\n")
    second.write_text("Server Name,Serial Number,vCPU\nweb01,SN-2000-C,2\nweb03,SN-2000-D,2\n")
    words = ("--file", str(first), "--file", str(second), "--input", "auto_approve_mappings=true", "--auto", "--wait")
    made = mfo("flow", "create", "discovery", *words, "--json", environment=environment)
    assert made.code == 0, made.err
    flow_id = made.document["flow_id"]

    (review,) = mfo("flow", "reviews", flow_id, "--json", environment=environment).document["reviews"]
    assert (review["kind"], review["names"]) == ("possible_duplicate", ["web01", "web01"])
    listed = mfo("flow", "reviews", flow_id, "--kind", "possible_duplicate", environment=environment)
    assert review["reason"] in listed.out
    assert review["suggestion"] in listed.out
    none = mfo("flow", "reviews", flow_id, "--kind", "ambiguous_match", environment=environment)
    assert none.out.strip() == "no reviews"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("reviews", "--kind", "duplicate"), 1, "possible_duplicate"),
        (("changes", "--kind", "old"), 1, "renamed"),
        (("assets", "--type", "toaster"), 1, "virtual_machine"),
        (("issues", "--severity", "bad"), 1, "critical"),
        (("assets", "--format", "csv", "--limit", "3"), 2, "--limit"),
        (("assets", "--format", "csv", "--json"), 2, "--output"),
        (("assets", "-o", "x.json"), 2, "--output"),
        (("report", "-o", "/nowhere/june.html"), 2, "/nowhere"),
        (("report", "--format", "pdf"), 2, "pdf"),
    ],
)
def test_what_cannot_be_done_is_said(
    flow_id: str, environment: Environment, words: tuple[str, ...], code: int, said: str
) -> None:
    verb, *more = words
    refused = mfo("flow", verb, flow_id, *more, "--json", environment=environment)

    assert (refused.code, "error" in json.loads(refused.out)) == (code, True)
    assert said in refused.err


def test_there_is_no_report_of_a_flow_without_an_inventory(environment: Environment, tmp_path: Path) -> None:
    made = mfo("flow", "create", "discovery", "--input", "import_file_id=x", "--json", environment=environment).document
    file = tmp_path / "june.html"

    refused = mfo("flow", "report", made["flow_id"], "-o", str(file), "--json", environment=environment)

    assert (refused.code, refused.document["error"]["code"]) == (1, "report_not_ready")
    assert not file.exists()
