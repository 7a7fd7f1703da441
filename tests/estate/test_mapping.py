from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from estate.formats import kind_of
from estate.mapping import Learned, Suggestion, check, decide, suggest, uses
from estate.roles import MACHINES
from estate.tables import Cell, Table, TableBuilder
from estate.targets import TARGETS, units_of


def table(
    columns: list[str],
    *rows: Sequence[Cell],
    file: str = "e.csv",
    sheet: str | None = None,
    delimiter: str | None = ",",
    **read_as: Any,
) -> Table:
    builder = TableBuilder(columns)
    for number, row in enumerate(rows, 2):
        builder.add(number, row)
    builder.flush()
    made = Table(file, sheet, builder.columns, builder.numbers, 1, delimiter=delimiter, read_as=read_as)
    made.kind, made.role = kind_of(made)
    return made


def one(column: str, values: list[Any], **about: Any) -> Suggestion:
    rows: list[list[Cell]] = [[f"srv{number}", value] for number, value in enumerate(values)]
    learned = about.pop("learned", None)
    return suggest([table(["Server Name", column], *rows, **about)], learned)[1]


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
        ("Max CPU %", [80.5], "cpu_utilization_peak_percent"),
        ("CPU p95 (%)", [70.5], "cpu_utilization_p95_percent"),
        ("Memory Usage (MB)", [2048], "memory_used_gb"),
        ("Used Disk Space GB", [20], "storage_used_gb"),
        ("Read IOPS", [120], "disk_iops"),
        ("Network In (MBps)", [1.5], "network_mb_per_s"),
        ("Disk throughput MB/s", [1.5], "disk_mb_per_s"),
        ("ESX Host", ["esx1"], "runs_on"),
        ("Host", ["esx1"], "runs_on"),
        ("Serial Number", ["VMware-42 1a"], "serial_number"),
        ("BIOS UUID", ["423c0573-8101-5526-8ab8-c4b06036e3db"], "uuid"),
        ("Manufacturer", ["HPE"], "manufacturer"),
        ("Department", ["Finance"], "department"),
        ("Last Seen", ["2024-01-31T10:00:00Z"], "last_seen"),
    ],
)
def test_columns_are_understood_by_their_words(column: str, values: list[Any], target: str) -> None:
    assert one(column, values * 5).target_field == target


@pytest.mark.parametrize(
    ("column", "values", "target"),
    [
        ("Rechnername", ["a"], "name"),
        ("Betriebssystem", ["Windows Server 2019"], "operating_system"),
        ("Arbeitsspeicher (GB)", [16], "memory_gb"),
        ("Prozessorkerne", [4], "cpu_cores"),
        ("Anzahl CPUs", [4], "cpu_cores"),
        ("Umgebung", ["Prod"], "environment"),
        ("Standort", ["Frankfurt"], "location"),
        ("Festplattengröße (GB)", [100], "storage_gb"),
        ("IP-Adresse", ["10.0.0.1"], "ip_addresses"),
        ("Kritikalität", ["hoch", "high", "low"], "criticality"),
        ("Abteilung", ["Einkauf"], "department"),
        ("Hersteller", ["HPE"], "manufacturer"),
        ("Seriennummer", ["CZ123"], "serial_number"),
        ("Beschreibung", ["Webserver"], "description"),
        ("CPU-Auslastung %", [12], "cpu_utilization_percent"),
        ("nom du serveur", ["a"], "name"),
        ("système d'exploitation", ["Debian 12"], "operating_system"),
        ("mémoire (Go)", [16], "memory_gb"),
        ("nombre de processeurs", [4], "cpu_cores"),
        ("environnement", ["prod"], "environment"),
        ("emplacement", ["Paris"], "location"),
        ("adresse IP", ["10.0.0.1"], "ip_addresses"),
        ("propriétaire", ["Anne"], "business_owner"),
        ("espace disque (Go)", [100], "storage_gb"),
        ("nombre del servidor", ["a"], "name"),
        ("sistema operativo", ["Debian 12"], "operating_system"),
        ("memoria (GB)", [16], "memory_gb"),
        ("núcleos", [4], "cpu_cores"),
        ("entorno", ["prod"], "environment"),
        ("ubicación", ["Madrid"], "location"),
        ("dirección IP", ["10.0.0.1"], "ip_addresses"),
        ("almacenamiento GB", [100], "storage_gb"),
        ("nome macchina", ["a"], "name"),
        ("ambiente", ["prod"], "environment"),
        ("processori", [4], "cpu_cores"),
        ("indirizzo IP", ["10.0.0.1"], "ip_addresses"),
        ("sistema operacional", ["Debian 12"], "operating_system"),
        ("memória (GB)", [16], "memory_gb"),
        ("localização", ["Lisboa"], "location"),
        ("besturingssysteem", ["Debian 12"], "operating_system"),
        ("werkgeheugen (GB)", [16], "memory_gb"),
        ("omgeving", ["prod"], "environment"),
        ("eigenaar", ["Jan"], "business_owner"),
        ("IP-adres", ["10.0.0.1"], "ip_addresses"),
    ],
)
def test_columns_are_understood_in_six_languages(column: str, values: list[Any], target: str) -> None:
    rows: list[list[Cell]] = [[value] for value in values * 3]
    found = suggest([table([column], *rows)])[0]
    assert (found.target_field, found.confidence >= 0.8) == (target, True)


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
        ("Backup IP", ["10.9.0.1"]),
        ("Test IP address", ["10.9.0.1"]),
        ("iLO IP", ["10.9.0.1"]),
        ("DNS Server", ["10.9.0.1"]),
        ("Free Disk GB", [12]),
        ("Free memory MB", [512]),
        ("CPU GHz", [2.4]),
        ("CPU MHz", [2400]),
        ("CPU Model", ["Intel Xeon"]),
        ("CPU Sockets", [2]),
        ("Cores per socket", [4]),
        ("CPU reservation", [0]),
        ("Disk usage %", [70]),
        ("Swap memory GB", [4]),
        ("Median CPU %", [4]),
        ("hostnames of backups", ["x"]),
        ("Type", ["Standard_D2"]),
        ("Filename", ["x.vmx"]),
    ],
)
def test_words_inside_words_and_beside_the_point_do_not_count(column: str, values: list[Any]) -> None:
    found = one(column, values * 5)
    assert found.target_field in {None, "description"} or found.confidence < 0.8


# --- units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "unit"),
    [
        ("Memory", [4096, 8192, 131072], "MiB"),
        ("Memory", [4, 8, 128], "GiB"),
        ("Memory", [4194304, 8388608], "KiB"),
        ("Memory", [4294967296, 8589934592], "B"),
        ("Memory (GB)", [4096, 8192], "GB"),
        ("Memory (in MB)", [4, 8], "MB"),
        ("RAM", ["16 GB", "8192 MB"], "in value"),
        ("RAM (GB)", ["16 GB", "8192 MB"], "in value"),
        ("Storage", [102400, 51200], "MiB"),
        ("Storage", [100, 500], "GiB"),
        ("Storage", [107374182400, 53687091200], "B"),
        ("Disk TiB", [1, 2], "TiB"),
        ("Speicherplatz [GB]", [100], "GB"),
        ("mémoire (Mo)", [4096], "MB"),
    ],
)
def test_units_from_header_values_and_magnitude(column: str, values: list[Any], unit: str) -> None:
    found = one(column, values)
    assert found.unit == unit
    assert found.confidence >= 0.8
    assert found.reason


def test_memory_in_mebibytes_says_why_and_how_it_is_converted() -> None:
    found = one("Memory", [4096, 8192, 131072])
    assert found.conversion == "MiB / 1024 -> GiB"
    assert "no unit given, values 4096..131072 in steps of 128 are MiB" in found.reason
    assert one("Memory GB", [4, 8]).conversion is None
    assert "1024 based" in one("Memory GB", [4, 8]).reason


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Memory", [300, 400, 700]),
        ("Memory", [4, 8, 16, 4096, 8192]),
        ("Memory", [524288, 1048576]),
        ("Storage", [50, 80, 120, 512000]),
        ("Storage", [8000, 9000]),
        ("RAM", ["16 GB", "32", "64", "8"]),
        ("Disk throughput", [12.5, 3.5]),
    ],
)
def test_a_size_of_doubtful_unit_is_not_taken_by_itself(column: str, values: list[Any]) -> None:
    found = one(column, values)
    assert (found.unit, found.confidence) == (None, 0.5)
    assert "say which" in found.reason
    made = table(["Server Name", column], *[[f"s{at}", value] for at, value in enumerate(values)])
    decision = decide([made], suggest([made]), take_all=True)
    assert decision.mappings[1].target_field == "custom_attributes"
    assert [left.source_field for left in decision.left_out] == [column]


@pytest.mark.parametrize(
    ("column", "values", "unit", "sure"),
    [
        ("CPU utilization", [0.12, 0.5, 1.0], "fraction", True),
        ("CPU utilization", [12, 50.5], "%", True),
        ("CPU utilization", [0, 1, 1], "doubtful", False),
        ("CPU utilization", ["12%", "0.5%"], "%", True),
        ("CPU %", [0.12, 0.5], "doubtful", False),
        ("CPU utilization", [0, 0], "%", True),
    ],
)
def test_percent_or_fraction(column: str, values: list[Any], unit: str, sure: bool) -> None:
    found = one(column, values)
    assert (found.unit, found.confidence >= 0.8) == (unit, sure)
    assert found.target_field == "cpu_utilization_percent"


def test_fractions_of_a_workbook_column_formatted_as_percent() -> None:
    found = one("CPU %", [0.12, 0.5], delimiter=None, sheet="Servers")
    assert (found.unit, found.conversion) == ("fraction", "fraction * 100 -> percent")


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("Network in (MBps)", "MB/s"), ("Network in (Mbps)", "Mbit/s"), ("Network in (KB/s)", "KB/s"),
        ("Network in Mbit/s", "Mbit/s"), ("Network in bytes/s", "B/s"),
    ],
)  # fmt: skip
def test_rates_say_their_unit(column: str, unit: str) -> None:
    found = one(column, [1, 2, 3])
    assert (found.target_field, found.unit) == ("network_mb_per_s", unit)


def test_the_import_options_say_a_unit() -> None:
    found = one("Memory", [300, 400, 700], units={"memory": "MiB"})
    assert (found.unit, found.confidence) == ("MiB", 1.0)
    assert one("Disk read", [1, 2], units={"Disk read": "kB/s"}).unit == "KB/s"
    assert one("CPU utilization", [0, 1], units={"cpu utilization": "Fraction"}).unit == "fraction"


@pytest.mark.parametrize(
    ("column", "unit", "why"),
    [
        ("Memory", "furlong", "the import options say 'furlong', but memory_gb can be in B, KB"),
        ("Memory", "MB/s", "memory_gb can be in"),
        ("Disk read", "MB", "disk_mb_per_s can be in"),
        ("Disk read", "mb/s", "disk_mb_per_s can be in"),
        ("CPU %", "GB", "cpu_utilization_percent can be in %, fraction"),
        ("vCPUs", "MHz", "cpu_cores has no unit"),
        ("Hostname", "MB", "hostname has no unit"),
    ],
)
def test_a_unit_of_the_import_options_that_a_column_cannot_have_is_asked_about(
    column: str, unit: str, why: str
) -> None:  # fmt: skip
    made = table(["Server Name", column], ["a", 8], ["b", 16], units={column: unit})
    suggestions = suggest([made])
    assert (suggestions[1].doubtful, suggestions[1].confidence) == ("unit", 0.5)
    assert why in suggestions[1].reason
    assert decide([made], suggestions, take_all=True).mappings[1].target_field == "custom_attributes"
    allowed = units_of(str(suggestions[1].target_field))
    answer = {"target_field": suggestions[1].target_field} | ({"unit": allowed[0]} if allowed else {})
    decision = decide([made], suggestions, given={column: answer})
    assert (decision.missing, decision.refused) == ([], [])
    assert decision.mappings[1].unit == (allowed[0] if allowed else None)


def test_values_that_contradict_lower_the_confidence() -> None:
    assert one("IP Address", ["yes", "no", "yes"]).confidence < 0.8
    assert one("Memory GB", ["red", "green", "blue"]).confidence < 0.8


def test_an_unnamed_column_of_addresses_is_only_a_guess() -> None:
    found = one("column 2", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert (found.target_field, found.confidence, found.match_type) == ("ip_addresses", 0.6, "value_shape")


# --- numbers and dates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "delimiter", "number_format"),
    [
        (["4,096", "8,192"], ",", "thousands ,"),
        (["1,5", "2,25"], ";", "decimal ,"),
        (["4.096", "8.192"], ";", "thousands ."),
        (["4.5", "8.25"], ",", None),
        (["1.024,5", "2"], ";", "thousands ."),
        (["1 024", "2 048"], ";", "thousands  "),
        (["1'024", "2'048"], ";", "thousands '"),
    ],
)
def test_number_formats_are_told_by_the_column(values: list[Any], delimiter: str, number_format: str | None) -> None:
    assert one("Memory GB", values, delimiter=delimiter).number_format == number_format


def test_numbers_that_can_be_read_in_two_ways_are_asked_about_unless_the_options_say() -> None:
    found = one("Memory GB", ["1.024", "2.048"], delimiter=None, sheet="Servers")
    assert (found.number_format, found.confidence) == ("doubtful", 0.5)
    assert "say decimal or thousands in import_options" in found.reason
    told = one("Memory GB", ["1.024", "2.048"], delimiter=None, sheet="Servers", decimal=",")
    assert (told.number_format, told.confidence) == ("thousands .", 1.0)
    assert told.conversion == "1.024,5 -> 1024.5"


def test_a_column_that_says_how_it_is_written_is_not_read_as_the_rest_of_the_file() -> None:
    assert one("Memory GB", ["1,5", "2,25"], delimiter=";", decimal=".").number_format == "decimal ,"
    assert one("Memory GB", ["2", "4"], thousands=".").number_format == one("Memory GB", ["2", "4"]).number_format


@pytest.mark.parametrize(
    ("values", "order", "sure"),
    [
        (["12/31/2023", "01/02/2024"], "mdy", True),
        (["31/12/2023", "01/02/2024"], "dmy", True),
        (["31.12.2023", "01.02.2024"], "dmy", True),
        (["2023-12-31T10:00:00Z"], "ymd", True),
        (["01/02/2024", "03/04/2024"], "doubtful", False),
        (["31/12/2023", "12/31/2023"], "doubtful", False),
    ],
)
def test_the_order_of_day_and_month_is_told_by_all_dates_of_the_column(
    values: list[Any], order: str, sure: bool
) -> None:  # fmt: skip
    found = one("Last Seen", values)
    assert (found.date_order, found.confidence >= 0.8) == (order, sure)
    assert found.target_field == "last_seen"


def test_the_import_options_settle_the_order_of_day_and_month() -> None:
    found = one("Last Seen", ["01/02/2024"], date_order="dmy")
    assert (found.date_order, found.conversion) == ("dmy", "day.month.year -> ISO 8601")


# --- several columns of one meaning -------------------------------------------------------------------------------


def meant(*columns: tuple[str, list[Any]], **about: Any) -> dict[str, str | None]:
    rows: list[list[Cell]] = [list(cells) for cells in zip(*(values for _, values in columns), strict=True)]
    found = suggest([table([name for name, _ in columns], *rows, **about)])
    return {one.source_field: one.target_field for one in found}


def test_numbered_disks_are_parts_to_be_added() -> None:
    made = table(["Name", "Disk 1 size (GB)", "Disk 2 size (GB)", "Disk 3 size (GB)"], ["a", 10, 20, None])
    found = suggest([made])
    assert [one.target_field for one in found] == ["name", "storage_gb", "storage_gb", None]
    assert {one.rank for one in found[1:3]} == {0}
    assert "one of 2 parts" in found[1].reason


def test_the_whole_is_taken_before_its_parts() -> None:
    found = meant(("Name", ["a"]), ("Disk 1 GB", [10]), ("Disk 2 GB", [20]), ("Total Storage GB", [30]))
    assert found == {"Name": "name", "Disk 1 GB": None, "Disk 2 GB": None, "Total Storage GB": "storage_gb"}


def test_read_and_write_are_added() -> None:
    found = meant(("Name", ["a"]), ("Disk Read IOPS", [10]), ("Disk Write IOPS", [20]))
    assert [found["Disk Read IOPS"], found["Disk Write IOPS"]] == ["disk_iops", "disk_iops"]


def test_logical_processors_come_before_cores_and_sockets() -> None:
    found = meant(("Name", ["a"]), ("CPUs", [2]), ("Cores", [8]), ("Logical Processors", [16]))
    assert found == {"Name": "name", "CPUs": None, "Cores": None, "Logical Processors": "cpu_cores"}


def test_processors_beside_cores_of_each_are_not_taken_for_cores() -> None:
    made = table(["Name", "CPUs", "Cores per CPU"], ["a", 2, 8], ["b", 4, 8])
    found = suggest([made])[1]
    assert (found.target_field, found.confidence < 0.8) == ("cpu_cores", True)
    assert "it may count sockets" in found.reason


def test_a_host_beside_a_virtual_machine_is_what_it_runs_on() -> None:
    assert meant(("VM", ["a", "b"]), ("Host", ["e1", "e1"])) == {"VM": "name", "Host": "runs_on"}
    assert meant(("Host", ["a", "b"]), ("OS", ["Debian 12", "Debian 11"]))["Host"] == "name"


def test_used_and_allocated_storage_are_told_apart() -> None:
    found = meant(
        ("Name", ["a"]), ("Provisioned GB", [100]), ("Used GB", [40]), ("Disk used GB", [40]), ("Free GB", [60])
    )
    assert (found["Provisioned GB"], found["Disk used GB"], found["Free GB"]) == ("storage_gb", "storage_used_gb", None)


def test_several_addresses_are_all_kept_in_order() -> None:
    made = table(["Name", "IP 1", "IP 2"], ["a", "10.0.0.1", "10.0.0.2"])
    assert [(one.target_field, one.rank) for one in suggest([made])[1:]] == [("ip_addresses", 0), ("ip_addresses", 1)]


def test_samples_are_few_and_masked_and_alternatives_give_reasons() -> None:
    made = table(["Name", "Owner", "Platform"], *[[f"s{at}", f"ann{at}@corp.example", "Linux"] for at in range(9)])
    found = suggest([made])
    assert len(found[0].samples) == 5
    assert all("@corp.example" in str(sample) and "ann" not in str(sample) for sample in found[1].samples)
    for one in found:
        assert len(one.alternatives) <= 3
        assert all({"target_field", "confidence", "reason"} == other.keys() for other in one.alternatives)
    assert found[0].required
    assert not found[1].required or found[1].target_field == "business_owner"
    assert {"conversion", "date_order", "required", "alternatives", "unit"} <= found[0].as_dict().keys()


# --- what was approved before -------------------------------------------------------------------------------------


def approved(field: str, target: str, approvals: int = 1, rejections: int = 0, **about: Any) -> dict[str, Any]:
    return {"source_field": field, "kind": "table", "target_field": target, "unit": None, "approvals": approvals,
            "rejections": rejections} | about  # fmt: skip


def test_an_approved_name_is_suggested_where_no_other_meaning_is_known() -> None:
    learned = Learned.of([approved("Zuständig", "business_owner")])
    found = one("zuständig", ["Ann", "Bob"], learned=learned)
    assert (found.target_field, found.confidence, found.match_type) == ("business_owner", 0.85, "learned")
    assert "approved once as business_owner" in found.reason
    many = Learned.of([approved("Zuständig", "business_owner", 9)])
    assert one("Zuständig", ["Ann"], learned=many).confidence == 0.98
    assert one("Zuständig", ["Ann"]).target_field is None


def test_approvals_raise_and_rejections_lower_the_confidence() -> None:
    before = one("Memmory GB", [16, 32]).confidence
    raised = one("Memmory GB", [16, 32], learned=Learned.of([approved("Memmory GB", "memory_gb")]))
    lowered = one("Memmory GB", [16, 32], learned=Learned.of([approved("Memmory GB", "memory_gb", 0, 2)]))
    assert raised.confidence == pytest.approx(min(0.98, before + 0.1))
    assert lowered.confidence == pytest.approx(before - 0.2)
    assert "rejected 2 times" in lowered.reason
    certain = one("Memory GB", [16], learned=Learned.of([approved("Memory GB", "memory_gb", 3)]))
    assert certain.confidence == 1.0


def test_votes_on_the_kind_of_table_come_before_votes_on_all() -> None:
    rows = [approved("Zone", "location", kind="table"), approved("Zone", "environment", 5, kind="software")]
    assert one("Zone", ["A", "B"], learned=Learned.of(rows)).target_field == "location"
    assert (
        one("Zone", ["A"], learned=Learned.of([approved("Zone", "department", kind="x")])).target_field == "department"
    )


def test_an_approved_unit_is_suggested_for_doubtful_sizes_and_asks_for_confirmation() -> None:
    learned = Learned.of([approved("Memory", "memory_gb", 2, unit="MiB")])
    doubtful = one("Memory", [300, 400, 700], learned=learned)
    assert (doubtful.unit, doubtful.conversion) == ("MiB", "MiB / 1024 -> GiB")
    assert doubtful.confidence < 0.8
    assert "confirm it" in doubtful.reason
    disagreed = Learned.of(
        [approved("Memory", "memory_gb", 5, unit="MiB"), approved("Memory", "memory_gb", unit="GiB")]
    )
    assert one("Memory", [300, 400, 700], learned=disagreed).unit is None
    rejected = Learned.of(
        [approved("Memory", "memory_gb", 5, unit="MiB"), approved("Memory", "memory_gb", 0, 1, unit="GiB")]
    )
    assert one("Memory", [300, 400, 700], learned=rejected).unit == "MiB"
    assert one("Memory", [4, 8, 16], learned=learned).unit == "GiB"


def test_approvals_do_not_turn_texts_into_numbers() -> None:
    learned = Learned.of([approved("Level", "memory_gb")])
    assert one("Level", ["red", "green"], learned=learned).target_field is None


def test_votes_for_targets_nobody_knows_are_passed_over() -> None:
    assert not Learned.of([approved("X", "shoe_size")])


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
    given = next(mapping for mapping in decision.mappings if mapping.source_field == "Memory")
    assert (given.unit, given.conversion, given.match_type) == ("GiB", None, "manual")


def test_a_given_number_format_and_date_order_win() -> None:
    made = table(["Name", "RAM GB", "Seen"], ["a", "1.024", "01/02/2024"], ["b", "2.048", "03/04/2024"], delimiter=None)
    given = {
        "RAM GB": {"target_field": "memory_gb", "number_format": "thousands ."},
        "Seen": {"target_field": "last_seen", "date_order": "dmy"},
    }
    decision = decide([made], suggest([made]), given=given)
    assert not decision.missing
    assert [(use.target, use.number_format, use.date_order) for use in uses(made, decision)[1:]] == [
        ("memory_gb", "thousands .", None),
        ("last_seen", None, "dmy"),
    ]


def test_a_given_column_that_cannot_be_read_is_asked_about() -> None:
    made = table(["Name", "Memory"], ["a", 300], ["b", 700])
    decision = decide([made], suggest([made]), given={"Memory": "memory_gb"})
    assert [(one.field, "cannot be told from its values" in one.message) for one in decision.missing] == [
        ("memory_gb", True)
    ]
    settled = decide([made], suggest([made]), given={"Memory": {"target_field": "memory_gb", "unit": "MiB"}})
    assert settled.missing == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Nmae": "name"}, "no uploaded table has a column"),
        ({"Name": "nickname"}, "is not a target field"),
        ({"Name": 7}, "must be a text or null"),
        ({"Memory": {"target_field": "memory_gb", "unit": "furlong"}}, "is not a unit"),
        ({"Memory": {"target_field": "cpu_cores", "unit": "MiB"}}, "is not a unit"),
        ({"Memory": {"target_field": "memory_gb", "number_format": "roman"}}, "is not a number format"),
        ({"Town": {"target_field": "last_seen", "date_order": "ydm"}}, "is not a date order"),
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


def test_a_table_that_states_facts_without_a_name_is_asked_about_beside_others_too() -> None:
    nameless = table(["Cores", "RAM GB"], [4, 8], [2, 4], sheet="Extra")
    decision = decide([SERVERS, nameless], suggest([SERVERS, nameless]))
    assert [(one.sheet, one.field) for one in decision.missing] == [("Extra", "name")]


def test_connections_need_both_ends() -> None:
    broken = table(["Source", "Destination", "Port"], ["a", "b", 443])
    decision = decide([broken], suggest([broken]), given={"Destination": None})
    assert [one.field for one in decision.missing] == ["target_name"]


def test_a_sheet_of_remarks_does_not_stop_the_estate() -> None:
    remarks = table(["Remark", "By whom"], ["all good", "me"], file="s.xlsx", sheet="Notes")
    decision = decide([SERVERS, remarks], suggest([SERVERS, remarks]))
    assert decision.missing == []
    assert decision.not_understood == [("s.xlsx", "Notes")]
    assert uses(remarks, decision) == []


def test_what_a_table_does_not_tell_is_said_and_stops_nothing() -> None:
    decision = decide([SERVERS], suggest([SERVERS]))
    assert decision.missing == []
    assert [one.field for one in decision.incomplete] == [
        "ip_addresses", "operating_system", "environment", "cpu_cores", "business_owner",
    ]  # fmt: skip


def test_nothing_but_costs_is_not_understood() -> None:
    costs = table(["BilledCost", "EffectiveCost", "ChargeCategory", "ServiceName"], [1, 1, "Usage", "EC2"])
    assert costs.role == "ignored"
    decision = decide([costs], suggest([costs]))
    assert [(one.field, "finops" in one.message) for one in decision.missing] == [("name", True)]
    assert decide([costs, SERVERS], suggest([costs, SERVERS])).missing == []


@pytest.mark.parametrize(
    ("columns", "row", "role", "field"),
    [
        (["Name", "Timestamp", "CPU %"], ["a", "2024-01-01 10:00", 5.5], "performance", "cpu_utilization_percent"),
        (["Server", "Software", "Version"], ["a", "Java", "8"], "software", "software"),
        (["Server", "Key", "Value"], ["a", "env", "prod"], "tags", "tag_key"),
        (["Application", "Owner", "Dependencies"], ["erp", "Ann", "crm"], "applications", "name"),
    ],
)
def test_each_role_needs_what_makes_its_rows_mean_something(
    columns: list[str], row: list[Cell], role: str, field: str
) -> None:
    made = table(columns, row, row)
    assert made.role == role
    suggestions = suggest([made])
    assert decide([made], suggestions).missing == []
    column = next(one.source_field for one in suggestions if one.target_field == field)
    assert field in [one.field for one in decide([made], suggestions, given={column: None}).missing]


def test_every_fact_of_an_asset_can_be_mapped() -> None:
    assert {"name", "memory_gb", "ip_addresses", "criticality", "cpu_utilization_percent"} <= TARGETS.keys()
    assert units_of("memory_gb")[-1] == "in value"
    assert units_of("name") == ()


def test_two_columns_of_a_table_cannot_be_the_same_field() -> None:
    servers = table(["Server Name", "OS", "IP A", "IP B"], ["web01", "Debian 12", "10.0.0.1", "10.0.0.2"])
    suggestions = suggest([servers])
    _, refused = check({"Server Name": "hostname", "OS": "hostname"}, suggestions)
    assert [(one.field, "hostname" in one.message) for one in refused] == [("OS", True)]
    _, none = check({"IP A": "ip_addresses", "IP B": "ip_addresses", "OS": "operating_system"}, suggestions)
    assert none == []


def test_uses_follow_the_decision() -> None:
    decision = decide([SERVERS, LINKS], suggest([SERVERS, LINKS]), given={"Town": None})
    assert [(use.field, use.target, use.unit, use.rank) for use in uses(SERVERS, decision)] == [
        ("Name", "name", None, 0),
        ("Memory", "memory_gb", "MiB", 0),
    ]
    assert all(use.why for use in uses(SERVERS, decision))


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(allow_nan=False, width=32), st.text(max_size=12)
)


@for_all(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6, unique=True), st.data())
def test_any_table_gets_one_suggestion_for_each_column(columns: list[str], data: st.DataObject) -> None:
    row = st.lists(CELLS, min_size=len(columns), max_size=len(columns))
    made = table(columns, *data.draw(st.lists(row, max_size=4)))
    found = suggest([made])
    assert [one.source_field for one in found] == (columns if made.role != "ignored" else [])
    assert all(0 <= one.confidence <= 1 for one in found)
    decision = decide([made], found, take_all=True)
    assert len(decision.mappings) <= len(columns)
    assert all(use.target in TARGETS for use in uses(made, decision))
    assert made.role in {
        MACHINES,
        "ignored",
        *("applications", "connections", "detail", "performance", "software", "tags"),
    }


# --- units in a column beside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "value", "unit", "target"),
    [
        (("Memory", "Memory Unit"), 512, "MB", "memory_gb"),
        (("Disk", "Disk Unit"), 1, "TB", "storage_gb"),
        (("Memory", "Unit of Memory"), 512, "MiB", "memory_gb"),
        (("storage.value", "storage.unit"), 2, "TB", "storage_gb"),
        (("memory.text", "memory.unit"), 256, "MB", "memory_gb"),
        (("Disk Size", "Disk Size Unit"), 2, "TB", "storage_gb"),
    ],
)
def test_the_one_unit_of_a_column_beside_is_the_unit(
    names: tuple[str, str], value: float, unit: str, target: str
) -> None:
    found = suggest([table(["Server", *names], ["k1", value, unit], ["k2", value * 2, unit], ["k3", None, None])])[1]
    assert (found.target_field, found.unit, found.doubtful) == (target, unit, None)
    assert f"the column {names[1]} says {unit}" in found.reason


@pytest.mark.parametrize("units", [["MB", "GB"], ["MB", None], ["MB", "furlong"]])
def test_several_units_in_a_column_beside_are_asked_about_and_never_taken(units: list[str | None]) -> None:
    made = table(["Server", "Memory", "Memory Unit"], ["k1", 512, units[0]], ["k2", 16, units[1]])
    found = suggest([made], Learned.of([{"source_field": "Memory", "kind": "table", "target_field": "memory_gb",
                                         "unit": "GB", "approvals": 5, "rejections": 0}]))  # fmt: skip
    assert found[1].doubtful == "unit"
    assert "Memory Unit says its units" in found[1].reason
    kept = {use.field: use for use in uses(made, decide([made], found, take_all=True))}
    assert (kept["Memory"].target, kept["Memory"].unit) == ("custom_attributes", None)
    asked = decide([made], found, given={"Memory": "memory_gb"})
    assert "Memory Unit" in asked.missing[0].message
    given = decide([made], found, given={"Memory": {"target_field": "memory_gb", "unit": "MB"}})
    assert not given.missing


def test_a_unit_in_the_header_or_the_cells_is_nearer_than_a_column_beside() -> None:
    made = table(["Server", "Memory (GB)", "Memory Unit"], ["k1", 16, "MB"], ["k2", 32, "MB"])
    assert suggest([made])[1].unit == "GB"
    made = table(["Server", "Memory", "Memory Unit"], ["k1", "16 GB", "MB"], ["k2", "512 MB", "MB"])
    assert suggest([made])[1].unit == "in value"


# --- drives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("Disk C (GB)", "Disk D (GB)"),
        ("Drive C Size (GB)", "Drive D Size (GB)"),
        ("Disk C: GB", "Disk D: GB"),
        ("C: (GB)", "D: (GB)"),
        ("/ (GB)", "/var (GB)"),
        ("disk_c_gb", "disk_e_gb"),
        ("C drive (GB)", "D drive (GB)"),
        ("Disk OS (GB)", "Disk Data (GB)"),
    ],
)
def test_drives_by_letter_or_mount_point_are_added(names: tuple[str, str]) -> None:
    found = suggest([table(["Server", *names], ["a1", 100, 200], ["a2", 120, None])])
    assert [one.target_field for one in found[1:]] == ["storage_gb", "storage_gb"]
    assert all("parts of storage_gb, which are added" in one.reason and one.confidence >= 0.8 for one in found[1:])
    assert [one.unit for one in found[1:]] == ["GB", "GB"]


@pytest.mark.parametrize("column", ["Disk C (GB)", "C: (GB)", "/var (GB)", "Disk C: Free (GB)", "Disk I/O (MB)"])
def test_one_drive_alone_or_what_is_free_of_it_is_not_the_storage(column: str) -> None:
    assert one(column, [100, 200, 300]).target_field is None


def test_a_total_beside_the_drives_is_the_storage() -> None:
    made = table(["Server", "Total disk (GB)", "Disk C (GB)", "Disk D (GB)"], ["a1", 300, 100, 200])
    assert [one.target_field for one in suggest([made])[1:]] == ["storage_gb", None, None]


# --- what else newcomers bring --------------------------------------------------------------------------------------


def test_storage_of_a_few_is_asked_about() -> None:
    found = one("Storage", [0.5, 1, 2, 4])
    assert (found.target_field, found.doubtful) == ("storage_gb", "unit")


@pytest.mark.parametrize(
    ("names", "row", "said"),
    [
        (("Software", "Version", "Installed on", "Licence key"), ("SQL Server", "2012", "srv01", "AAA"),
         ["software", "software_version", "name"]),
        (("Vendor", "Product", "Version", "Metric", "Quantity", "Server"), ("Microsoft", "Word", "16", "User", 5, "s1"),
         ["software_vendor", "software", "software_version", "licence_metric", "licence_quantity", "name"]),
        (("Product", "Version", "Publisher", "Licence key"), ("Word", "16", "Microsoft", "AAA"),
         ["software", "software_version", "software_vendor"]),
    ],
)  # fmt: skip
def test_a_list_of_products_is_software_and_not_machines(names: Any, row: Any, said: list[str]) -> None:
    made = table(list(names), row)
    assert made.role == "software"
    assert [one.target_field for one in suggest([made])][: len(said)] == said


def test_the_vendor_beside_a_product_made_no_machine() -> None:
    made = table(["Hostname", "OS", "RAM (GB)", "Product", "Vendor"], ["s1", "RHEL 8", 8, "Oracle Database", "Oracle"])
    assert made.role == MACHINES
    assert suggest([made])[-1].target_field is None


def test_usage_of_objects_over_time_is_performance() -> None:
    rows = [[f"srv0{at % 2}", f"6/{14 + at}/2025 0:00", f"{10 + at},5", "50,0"] for at in range(8)]
    made = table(["Object", "Timestamp", "CPU Usage %", "Mem Usage %"], *rows, delimiter=";")
    assert made.role == "performance"
    found = suggest([made])
    assert [one.target_field for one in found] == [
        "name", "measured_at", "cpu_utilization_percent", "memory_utilization_percent"
    ]  # fmt: skip
    assert found[1].date_order == "mdy"


@pytest.mark.parametrize(
    ("column", "values", "target"),
    [
        ("Status", ["Active", "Retired", "decom"], None),
        ("Status", ["Active", "Active", "Active"], None),
        ("State", ["In use", "Installed", "In stock"], None),
        ("Status", ["running", "stopped", "running"], "power_state"),
        ("Power State", ["poweredOn", "poweredOff", "poweredOn"], "power_state"),
    ],
)
def test_a_stage_of_life_is_not_a_power_state(column: str, values: list[Any], target: str | None) -> None:
    assert one(column, values).target_field == target


@pytest.mark.parametrize(
    ("column", "target"),
    [
        ("Nombre de cœurs", "cpu_cores"),
        ("NOMBRE DE CŒURS", "cpu_cores"),
        ("Arbeitsspeichergröße (GB)", "memory_gb"),
        ("Mémoire (Go)", "memory_gb"),
    ],
)
def test_ligatures_and_accents_are_spelled_out(column: str, target: str) -> None:
    assert one(column, [4, 8, 16]).target_field == target


@pytest.mark.parametrize(
    ("column", "values", "target"),
    [
        ("attributes.os.name", ["RHEL 8"], "operating_system"),
        ("attributes.resources.cpu.cores", [4], "cpu_cores"),
        ("attributes.labels.env", ["prod"], "environment"),
        ("properties.serialNumber", ["X1"], "serial_number"),
        ("attributes.backup.ip", ["10.0.0.1"], None),
    ],
)
def test_the_last_part_of_a_nested_name_decides(column: str, values: list[Any], target: str | None) -> None:
    assert one(column, values).target_field == target


def test_a_nested_host_name_names_the_machine() -> None:
    made = table(["id", "attributes.hostname"], ["i-1", "api-0"], ["i-2", "api-1"])
    found = suggest([made])[1]
    assert (found.target_field, found.confidence) == ("hostname", 1.0)


def test_dates_of_both_orders_are_asked_about_with_a_cell_of_each() -> None:
    found = one("Last Seen", ["13/01/2025", "01/14/2025", "2025-02-03"], date_order="dmy")
    assert found.doubtful == "date order"
    assert "13/01/2025" in found.reason
    assert "01/14/2025" in found.reason


def test_a_disk_in_another_case_names_no_drive() -> None:
    assert one("Velikost disku (GB)", [100, 200, 300]).target_field == "storage_gb"


def test_a_drive_told_twice_is_added_once() -> None:
    made = table(["Server", "C: GB", "D: GB", "Disk C (GB)", "D drive (GB)"], ["a1", 100, 200, 100, 200])
    found = suggest([made])[1:]
    assert [one.target_field for one in found] == ["storage_gb", "storage_gb", None, None]
    assert "C: GB tells the size of that drive already" in found[2].reason
