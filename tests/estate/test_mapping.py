from __future__ import annotations

from typing import Any

import pytest

from estate.formats import kind_of
from estate.mapping import MACHINE_TARGETS, Suggestion, check, decide, parse_number, suggest
from estate.tables import Cell, Table


def table(
    columns: list[str], *rows: list[Cell], file: str = "e.csv", sheet: str | None = None, delimiter: str = ","
) -> Table:
    made = Table(file, sheet, columns, 1, [(number, row) for number, row in enumerate(rows, 2)], delimiter=delimiter)
    made.kind, made.role = kind_of(made)
    return made


def one(column: str, values: list[Any], **about: Any) -> Suggestion:
    rows: list[list[Cell]] = [[f"srv{number}", value] for number, value in enumerate(values)]
    return suggest([table(["Server Name", column], *rows, **about)])[1]


@pytest.mark.parametrize(
    ("column", "values", "target"),
    [
        ("Hostname", ["a"], "hostname"),
        ("server_fqdn", ["a.corp.local"], "fqdn"),
        ("serv_ip_address", ["10.0.0.1"], "ip_addresses"),
        ("OS", ["Windows Server 2019"], "operating_system"),
        ("server_os_version", ["7.9"], "os_version"),
        ("vCPUs", [4], "cpu_cores"),
        ("CPU.NumberOfLogicalCores", [4], "cpu_cores"),
        ("RAM (GB)", [16], "memory_gb"),
        ("Memmory", [16], "memory_gb"),
        ("Disk Size GB", [100], "storage_gb"),
        ("server_environment", ["prod"], "environment"),
        ("Business Criticality", ["High"], "criticality"),
        ("Data Center", ["FRA1"], "location"),
        ("App Owner", ["Ann"], "business_owner"),
        ("Application Name", ["erp"], "application_name"),
        ("Status", ["poweredOn"], "power_state"),
        ("CPU Utilization %", [12.5], "cpu_utilization_percent"),
        ("avg memory usage pct", [12.5], "memory_utilization_percent"),
    ],
)
def test_columns_are_understood_by_their_words(column: str, values: list[Any], target: str) -> None:
    assert one(column, values * 5).target_field == target


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("description", ["a web server"]),
        ("serv_u_backup_server", ["bkp01"]),
        ("tenancy", ["Shared"]),
        ("wave_name", ["Wave 1"]),
        ("aws_region", ["eu-west-1"]),
        ("disk path", ["/vmfs/x"]),
        ("number of users", [12]),
        ("OS license cost", [300]),
        ("Status", ["Operational"]),
        ("server_tier_cost", [5]),
    ],
)
def test_words_inside_words_and_beside_the_point_do_not_count(column: str, values: list[Any]) -> None:
    found = one(column, values * 5)
    assert found.target_field is None or found.confidence < 0.8


@pytest.mark.parametrize(
    ("column", "values", "unit"),
    [
        ("Memory", [4096, 8192, 131072], "MiB"),
        ("Memory", [4, 8, 128], "GiB"),
        ("Memory (GB)", [4096, 8192], "GB"),
        ("Memory (in MB)", [4, 8], "MB"),
        ("RAM", ["16 GB", "8192 MB"], "in value"),
        ("Storage", [102400, 51200], "MiB"),
        ("Storage", [100, 500], "GiB"),
        ("Disk TiB", [1, 2], "TiB"),
    ],
)
def test_units_from_header_values_and_magnitude(column: str, values: list[Any], unit: str) -> None:
    found = one(column, values)
    assert found.unit == unit
    assert found.confidence >= 0.8
    assert found.reason


def test_a_size_of_doubtful_unit_is_not_taken_by_itself() -> None:
    found = one("Memory", [300, 400, 700])
    assert (found.unit, found.confidence) == (None, 0.5)
    assert "say which" in found.reason


def test_values_that_contradict_lower_the_confidence() -> None:
    assert one("IP Address", ["yes", "no", "yes"]).confidence < 0.8
    assert one("Memory GB", ["red", "green", "blue"]).confidence < 0.8


def test_an_unnamed_column_of_addresses_is_only_a_guess() -> None:
    found = one("column 2", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert (found.target_field, found.confidence, found.match_type) == ("ip_addresses", 0.6, "value_shape")


@pytest.mark.parametrize(
    ("text", "number_format", "number"),
    [
        ("1,024", "thousands ,", 1024),
        ("1.024", "thousands .", 1024),
        ("1.024,5", "thousands .", 1024.5),
        ("1,5", "decimal ,", 1.5),
        ("1 024", None, 1024),
        ("1'024.5", None, 1024.5),
        ("12.5 %", None, 12.5),
        ("16 GB", None, 16),
        ("sixteen", None, None),
        (True, None, None),
    ],
)
def test_numbers(text: Cell, number_format: str | None, number: float | None) -> None:
    assert parse_number(text, number_format) == number


@pytest.mark.parametrize(
    ("values", "delimiter", "number_format"),
    [
        (["4,096", "8,192"], ",", "thousands ,"),
        (["1,5", "2,25"], ";", "decimal ,"),
        (["4.096", "8.192"], ";", "thousands ."),
        (["4.5", "8.25"], ",", None),
        (["1.024,5", "2"], ";", "thousands ."),
    ],
)
def test_number_formats_are_told_by_the_column(values: list[Any], delimiter: str, number_format: str | None) -> None:
    assert one("Memory GB", values, delimiter=delimiter).number_format == number_format


# --- deciding -----------------------------------------------------------------------------------------------------

SERVERS = table(["Name", "Memory", "Town"], ["a", 4096, "x"], ["b", 8192, "y"], file="s.xlsx", sheet="Servers")
LINKS = table(["Source", "Destination", "Port"], ["a", "b", 443], file="s.xlsx", sheet="Links")


def targets(given: dict[str, Any] | None = None, **about: Any) -> dict[str, str | None]:
    tables = [SERVERS, LINKS]
    decision = decide(tables, suggest(tables), given=given, **about)
    assert not decision.refused
    return {f"{mapping.source_sheet}.{mapping.source_field}": mapping.target_field for mapping in decision.mappings}


def test_suggestions_above_the_threshold_hold() -> None:
    assert targets() == {
        "Servers.Name": "name",
        "Servers.Memory": "memory_gb",
        "Servers.Town": "custom_attributes",
        "Links.Source": "source_name",
        "Links.Destination": "target_name",
        "Links.Port": "port",
    }
    assert targets(threshold=0.99)["Links.Source"] == "custom_attributes"


@pytest.mark.parametrize("source", ["Town", "Servers.Town", "s.xlsx/Servers.Town", "s.xlsx.Town", "town"])
def test_a_given_mapping_overrides_its_suggestion(source: str) -> None:
    assert targets({source: "location"})["Servers.Town"] == "location"


def test_a_given_mapping_takes_the_target_from_the_suggestion() -> None:
    found = targets({"Town": "name"})
    assert (found["Servers.Town"], found["Servers.Name"]) == ("name", "custom_attributes")


def test_a_column_can_be_left_out() -> None:
    assert "Servers.Town" not in targets({"Town": None})
    assert "Servers.Memory" not in targets({"Servers.Memory": "ignore"})


def test_a_given_unit_wins() -> None:
    decision = decide([SERVERS], suggest([SERVERS]), given={"Memory": {"target_field": "memory_gb", "unit": "GiB"}})
    assert next(mapping.unit for mapping in decision.mappings if mapping.source_field == "Memory") == "GiB"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Nmae": "name"}, "no uploaded table has a column"),
        ({"Name": "nickname"}, "is not a target field"),
        ({"Name": 7}, "must be a text or null"),
        ({"Memory": {"target_field": "memory_gb", "unit": "furlong"}}, "is not a unit"),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    _, refused = check(given, suggest([SERVERS]))
    assert [one.field for one in refused] == list(given)
    assert words in refused[0].message


def test_a_table_without_a_name_misses_it() -> None:
    nameless = table(["Cores", "RAM GB"], [4, 8], [2, 4])
    decision = decide([nameless], suggest([nameless]))
    assert [(one.file, one.field) for one in decision.missing] == [("e.csv", "name")]


def test_connections_need_both_ends() -> None:
    broken = table(["Source", "Destination", "Port"], ["a", "b", 443])
    decision = decide([broken], suggest([broken]), given={"Destination": None})
    assert [one.field for one in decision.missing] == ["target_name"]


def test_a_sheet_of_remarks_does_not_stop_the_estate() -> None:
    remarks = table(["Remark", "By whom"], ["all good", "me"], file="s.xlsx", sheet="Notes")
    decision = decide([SERVERS, remarks], suggest([SERVERS, remarks]))
    assert decision.missing == []
    assert decision.not_understood == [("s.xlsx", "Notes")]


def test_every_fact_of_an_asset_can_be_mapped() -> None:
    assert {"name", "memory_gb", "ip_addresses", "criticality", "cpu_utilization_percent"} <= MACHINE_TARGETS.keys()


def test_two_columns_of_a_table_cannot_be_the_same_field() -> None:
    servers = table(["Server Name", "OS", "IP A", "IP B"], ["web01", "Debian 12", "10.0.0.1", "10.0.0.2"])
    suggestions = suggest([servers])
    _, refused = check({"Server Name": "hostname", "OS": "hostname"}, suggestions)
    assert [(one.field, "hostname" in one.message) for one in refused] == [("OS", True)]
    _, none = check({"IP A": "ip_addresses", "IP B": "ip_addresses", "OS": "operating_system"}, suggestions)
    assert none == []
