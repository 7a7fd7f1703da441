"""Tables made to be misread: what each column is taken for and which values come out, through reader, mapping and cleansing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from consumers.context import NeedsInput
from estate.cleansing import cleanse
from estate.formats import recognise
from estate.mapping import Suggestion, decide, suggest, uses
from estate.options import ImportOptions
from estate.readers import read
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES, PERFORMANCE, SOFTWARE
from estate.tables import Table
from tests.estate.support import Discovery

NAMESPACE = UUID(int=7)
TODAY = dt.date(2025, 6, 1)


class Told:
    """One file, as far as cleansing."""

    def __init__(self, folder: Path, text: str, name: str = "estate.csv", **options: Any) -> None:
        path = folder / name
        path.write_text(text.strip() + "\n", encoding="utf-8")
        book = read(path, name, ImportOptions.of(options))
        recognise(book)
        self.tables: list[Table] = book.tables
        self.suggestions = suggest(book.tables)
        self.decision = decide(book.tables, self.suggestions)
        taken = {(*one.place, one.source_field): one.target_field for one in self.decision.mappings}
        self.taken = {
            name: target for (_, _, name), target in taken.items() if target not in {None, "custom_attributes"}
        }
        self.values: dict[str, list[Any]] = {}
        for table in book.tables:
            clean = cleanse(table, uses(table, self.decision), NAMESPACE, today=TODAY).table
            self.values |= {one.use.field: list(one) for one in clean.facts}

    @property
    def role(self) -> str:
        return self.tables[0].role

    def asked(self) -> dict[str, str]:
        """What must be said before a column can be read, by column."""
        return {one.source_field: one.doubtful for one in self.suggestions if one.doubtful is not None}

    def of(self, column: str) -> Suggestion:
        return next(one for one in self.suggestions if one.source_field == column)


def beside(column: str, *cells: str, delimiter: str = ",") -> str:
    """A table of machines with one odd column."""
    rows = [f'srv{at:02}a{delimiter}"{cell}"' for at, cell in enumerate(cells)]
    return "\n".join([f'Server Name{delimiter}"{column}"', *rows])


# --- numbers and units --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cells", "delimiter", "expected"),
    [
        ("RAM in KB", ("4194304", "8388608"), ",", ("memory_gb", [4, 8])),
        ("RAM in GByte", ("16", "32"), ",", ("memory_gb", [16, 32])),
        ("RAM MByte", ("4096", "8192"), ",", ("memory_gb", [4, 8])),
        ("Memory Mio", ("4096", "8192"), ",", ("memory_gb", [4, 8])),
        ("RAM (Go)", ("16", "8,5"), ";", ("memory_gb", [16, 8.5])),
        ("memory_in_bytes", ("4294967296", "8589934592"), ",", ("memory_gb", [4, 8])),
        ("RAM", ("16 GB", "16384MB", "8GiB"), ",", ("memory_gb", [16, 16, 8])),
        ("RAM (MB)", ("4'096", "16'384"), ";", ("memory_gb", [4, 16])),
        ("RAM (MB)", ("4\u00a0096", "16\u202f384"), ";", ("memory_gb", [4, 16])),
        ("RAM (MB)", ("4.096", "16.384"), ",", ("memory_gb", [4, 16])),
        ("RAM (MB)", ("4,096", "16,384"), ";", ("memory_gb", [4, 16])),
        ("RAM", ("4096", "16,384", "65,536"), ";", ("memory_gb", [4, 16, 64])),
        ("RAM", ("4096", "16.384", "65.536"), ",", ("memory_gb", [4, 16, 64])),
        ("Disk (TB)", ("0,5", "1,25"), ";", ("storage_gb", [512, 1280])),
        ("Disk (TB)", ("0.5", "1.25"), ",", ("storage_gb", [512, 1280])),
        ("Disk (TB)", ("1.024", "2.048"), ";", ("storage_gb", [1048.576, 2097.152])),
        ("Disk (GB)", ("1.024", "2.048"), ";", ("storage_gb", [1024, 2048])),
        ("Disk (GB)", ("1,024", "2,048"), ",", ("storage_gb", [1024, 2048])),
        ("Disk (GB)", ("1 024,5", "512"), ";", ("storage_gb", [1024.5, 512])),
        ("Disk", ("1.5TB", "512G", "2 TiB"), ",", ("storage_gb", [1536, 512, 2048])),
        ("Disk", ("107374182400", "53687091200"), ",", ("storage_gb", [100, 50])),
        ("Disk read (kB/s)", ("1024", "2048"), ",", ("disk_mb_per_s", [1, 2])),
        ("Disk throughput", ("1 MB/s", "512 KB/s"), ",", ("disk_mb_per_s", [1, 0.5])),
        ("Network in (Mbps)", ("8", "16"), ",", ("network_mb_per_s", [1, 2])),
        ("CPU usage", ("0.12", "0.5", "0.03"), ",", ("cpu_utilization_percent", [12, 50, 3])),
        ("CPU usage", ("12%", "0.5%"), ",", ("cpu_utilization_percent", [12, 0.5])),
        ("CPU usage", ("12,125", "7,250"), ";", ("cpu_utilization_percent", [12.125, 7.25])),
        ("Average CPU usage last 30 days (%)", ("15", "7"), ",", ("cpu_utilization_percent", [15, 7])),
        ("CPU 95th percentile (%)", ("85", "70"), ",", ("cpu_utilization_p95_percent", [85, 70])),
        ("vCPU", ("4 vCPU", "8 vCPU"), ",", ("cpu_cores", [4, 8])),
        ("Mémoire utilisée (%)", ("45,5", "67,2"), ";", ("memory_utilization_percent", [45.5, 67.2])),
    ],
)
def test_sizes_shares_and_rates_come_out_in_their_measure(
    tmp_path: Path, column: str, cells: tuple[str, ...], delimiter: str, expected: tuple[str, list[float]]
) -> None:
    target, values = expected
    told = Told(tmp_path, beside(column, *cells, delimiter=delimiter))
    assert told.taken == {"Server Name": "name", column: target}
    assert told.values[column] == pytest.approx(values)


@pytest.mark.parametrize(
    ("column", "cells", "delimiter", "what"),
    [
        ("Disk (GB)", ("1.024", "2.048"), ",", "number format"),
        ("RAM (GB)", ("1.024", "16.384"), ",", "number format"),
        ("RAM (GB)", ("1,024", "16,384"), ";", "number format"),
        ("RAM", ("300", "700"), ",", "unit"),
        ("RAM", ("4", "8", "8192"), ",", "unit"),
        ("RAM", ("16 GB", "32", "64", "8"), ",", "unit"),
        ("Disks", ("1", "2"), ",", "unit"),
        ("Disk", ("1", "2", "4"), ",", "unit"),
        ("Storage", ("0.5", "1.2", "2"), ",", "unit"),
        ("Storage", ("50", "80", "512000"), ",", "unit"),
        ("Storage used", ("50", "80"), ",", "unit"),
        ("Memory used", ("45", "67"), ",", "unit"),
        ("Disk throughput", ("8 mb/s", "16 mb/s"), ",", "unit"),
        ("Disk read (Mbps)", ("8", "16"), ",", "unit"),
        ("Network in", ("8", "16"), ",", "unit"),
        ("Network in (mb/s)", ("8", "16"), ",", "unit"),
        ("CPU %", ("0.12", "0.5"), ",", "unit"),
        ("CPU usage", ("0", "1", "1"), ",", "unit"),
        ("CPU usage", ("12%", "0.5", "3%"), ",", "unit"),
        ("Last seen", ("01/02/2024", "03/04/2024"), ",", "date order"),
        ("Last seen", ("13/02/2024", "02/14/2024"), ",", "date order"),
    ],
)
def test_what_can_be_read_in_two_ways_is_asked_about(
    tmp_path: Path, column: str, cells: tuple[str, ...], delimiter: str, what: str
) -> None:
    told = Told(tmp_path, beside(column, *cells, delimiter=delimiter))
    assert told.asked() == {column: what}
    assert told.taken == {"Server Name": "name"}


NOT_WHAT_IT_SOUNDS_LIKE = {
    # processors
    "CPU Sockets": ("2", "4"), "Cores per Socket": ("4", "8"), "Cores p/s": ("4", "8"), "CPU Speed (GHz)": ("2.4", "3.1"),
    "CPU MHz": ("2400", "3100"), "CPU": ("2400", "2600"), "CPU ": ("2.4 GHz", "3.1 GHz"), "CPUs": ("2x8", "1x4"),
    "CPU count": ("4-8", "2-4"), "Processors": ("Intel Xeon Gold 6130", "Intel Xeon E5"), "pCPU": ("2", "4"),
    "Physical CPUs": ("2", "2"), "CPU year": ("2016", "2019"), "vCPU ratio": ("4", "2"), "CPU usage (MHz)": ("1200", "300"),
    "Licensed cores": ("8", "16"), "Requested CPU": ("4", "2"), "Recommended vCPU": ("4", "2"), "CPU cost": ("5", "7"),
    "CPU reservation MHz": ("0", "500"), "vCPU:pCPU": ("4:1", "2:1"),
    # memory
    "Memory reserved": ("0", "4"), "Balloon": ("0", "1"), "Memory ballooned MB": ("0", "1"), "Memory slots": ("8", "16"),
    "RAM": ("2x8", "4x16"), "Memory size": ("16 GB (2x8)", "8 GB (2x4)"), "Memory": ("16-32", "8-16"),
    "GPU memory GB": ("16", "24"), "Java heap GB": ("4", "8"), "Video RAM": ("4", "8"), "Max memory GB": ("64", "32"),
    "Memory speed": ("2666", "3200"), "Free RAM GB": ("4", "8"), "New RAM": ("4", "8"),
    # disks
    "Storage free": ("50", "20"), "Datastore free": ("1000", "2000"), "OS disk (GB)": ("50", "60"), "System disk (GB)": ("50", "60"),
    "Disk count": ("1", "2"), "Number of disks": ("1", "2"), "Disk latency ms": ("10", "12"), "Disk type": ("SSD", "HDD"),
    "Disk": ("2x300GB", "1x500GB"), "Snapshot GB": ("4", "9"), "Backup size GB": ("400", "300"), "Disk used %": ("70", "80"),
    # addresses
    "Backup IP": ("10.1.0.1", "10.1.0.2"), "iLO IP": ("10.2.0.1", "10.2.0.2"), "Gateway": ("10.0.0.254", "10.0.1.254"),
    "Subnet mask": ("255.255.255.0", "255.255.0.0"), "DNS Servers": ("10.0.0.53", "10.0.1.53"), "Cluster IP": ("10.0.0.9", "10.0.0.8"),
    "VIP": ("10.0.0.9", "10.0.0.8"), "NAT IP": ("8.8.4.4", "8.8.8.8"), "Storage IP": ("10.3.0.1", "10.3.0.2"),
    "IP Subnet": ("10.0.0.0/24", "10.0.1.0/24"), "IP": ("10.0.0.0/24", "10.0.1.0/24"), "vMotion IP": ("10.4.0.1", "10.4.0.2"),
    "Load balancer IP": ("10.0.0.9", "10.0.0.8"), "Jump host IP": ("10.0.0.9", "10.0.0.8"), "Old IP": ("10.9.0.1", "10.9.0.2"),
    # words
    "Status": ("Live", "Retired"), "State": ("Bavaria", "Texas"), "Lifecycle": ("Active", "Retired"), "Tier": ("Gold", "Silver"),
    "Tier ": ("1", "2"), "Service Tier": ("Gold", "Silver"), "Platform": ("VMware", "AWS"), "Landscape": ("SAP", "Other"),
    "Criticality": ("1", "2"), "Priority": ("1", "2"), "Stage": ("1", "2"), "Environment": ("1", "2"),
    "Location": ("Rack 12", "Rack 13"), "Location ": ("R12-U04", "R13-U01"), "Location  ": ("C:\\Program Files\\x", "/opt/y"),
    "Rack location": ("R12", "R13"), "Application server": ("Tomcat", "JBoss"), "Application status": ("Live", "Old"),
    "Type": ("Web", "DB"), "Storage type": ("SAN", "NAS"), "Owner": ("1", "2"), "Admin password": ("x1", "x2"),
    "OS owner": ("Ann", "Bob"), "OS EOL": ("2025-01-01", "2026-01-01"), "OS": ("1", "2"), "DC": ("Yes", "No"),
    "Hypervisor": ("esx1.corp.local", "esx2.corp.local"), "Parent": ("esx1", "esx2"), "Virtual": ("Yes", "No"),
    "Created": ("2020-01-01", "2021-01-01"), "Last boot": ("2020-01-01", "2021-01-01"), "Warranty end": ("2020-01-01", "2021-01-01"),
    # keys
    "Serial": ("1.23E+11", "4.56E+11"), "Asset tag": ("1.2E+05", "1.3E+05"), "License key": ("AB-12", "AB-13"),
    "Ticket": ("INC001", "INC002"), "Phone": ("+49 89 123", "+49 89 124"), "Monthly cost": ("1,200.50", "80.00"),
    "User name": ("ann", "bob"), "Full name": ("Ann Smith", "Bob Jones"), "Cluster Name": ("c1", "c2"), "Chassis serial": ("c1", "c2"),
    "Planned OS": ("RHEL 9", "RHEL 8"), "Migration status": ("Running", "Stopped"), "Antivirus status": ("On", "Off"),
    "Service status": ("Running", "Stopped"), "DR Site": ("MUC", "FRA"), "Power (W)": ("300", "400"), "Go live": ("2020", "2021"),
    "Data criticality": ("High", "Low"), "Backup owner": ("Ann", "Bob"), "Reports To": ("12", "16"), "Memory cost": ("5", "7"),
    "Disk serial": ("d1", "d2"), "Serial of host": ("c1", "c2"), "PO number": ("4500012345", "4500012346"),
}  # fmt: skip


@pytest.mark.parametrize(("column", "cells"), NOT_WHAT_IT_SOUNDS_LIKE.items())
def test_a_column_of_something_else_is_kept_under_its_own_name(
    tmp_path: Path, column: str, cells: tuple[str, str]
) -> None:
    told = Told(tmp_path, beside(column, *cells, *cells))
    assert told.taken == {"Server Name": "name"}


@pytest.mark.parametrize(
    ("column", "cells", "target", "values"),
    [
        ("Asset ID", ("000123", "000124"), "external_id", ["000123", "000124"]),
        ("Serial number", ("00123", "00456"), "serial_number", ["00123", "00456"]),
        ("OS Version", ("7.10", "7.1"), "os_version", None),
        ("Status", ("Running", "Stopped"), "power_state", ["on", "off"]),
        ("Tier", ("Web", "DB"), "role", ["Web", "DB"]),
        ("Platform", ("Windows", "Linux"), "operating_system", None),
        ("Business criticality", ("1 - most critical", "3 - less critical"), "criticality", ["critical", "medium"]),
        ("Application owner", ("Ann", "Bob"), "business_owner", ["Ann", "Bob"]),
        ("Assigned To", ("Ann", "Bob"), "technical_owner", ["Ann", "Bob"]),
        ("Location", ("FRA1", "MUC2"), "location", ["FRA1", "MUC2"]),
        ("IP 2", ("10.0.0.1", "10.0.0.2"), "ip_addresses", [["10.0.0.1"], ["10.0.0.2"]]),
        ("Last seen", ("13/02/2024", "01/02/2024"), "last_seen", ["2024-02-13", "2024-02-01"]),
        ("Last seen", ("02/13/2024", "01/02/2024"), "last_seen", ["2024-02-13", "2024-01-02"]),
        ("Dernière vue", ("13.02.2024", "01.02.2024"), "last_seen", ["2024-02-13", "2024-02-01"]),
    ],
)
def test_a_column_beside_it_is_still_understood(
    tmp_path: Path, column: str, cells: tuple[str, str], target: str, values: list[Any] | None
) -> None:
    told = Told(tmp_path, beside(column, *cells))
    assert told.taken == {"Server Name": "name", column: target}
    if values is not None:
        assert told.values[column] == values


# --- columns that tell of each other ------------------------------------------------------------------------------


def test_what_is_used_cannot_be_more_than_there_is(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,Memory,Memory used\na,16,45\nb,32,67\nc,8,88")
    assert told.asked() == {"Memory used": "unit"}
    assert "more would be used than Memory says there is" in told.of("Memory used").reason


def test_what_is_used_is_read_in_the_unit_of_what_there_is(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,Memory (MB),Memory used\na,16384,8000\nb,32768,16000\nc,8192,4000")
    assert told.values["Memory used"] == pytest.approx([7.8125, 15.625, 3.90625])
    assert "read in MB like Memory (MB)" in told.of("Memory used").reason
    assert told.of("Memory used").conversion == "MB / 1024 -> GiB"


def test_used_values_of_at_most_a_hundred_beside_large_disks_may_be_percent(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,Disk (GB),Disk used\na,500,45\nb,1000,67\nc,2000,12")
    assert told.asked() == {"Disk used": "unit"}
    sure = Told(tmp_path, "Server,Disk (GB),Disk used\na,500,450\nb,1000,67\nc,2000,1200")
    assert sure.values["Disk used"] == [450, 67, 1200]


def test_a_guessed_whole_is_doubted_by_what_is_used_of_it(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,Storage,Storage used (GB)\na,100,500\nb,200,900\nc,150,700")
    assert told.asked() == {"Storage": "unit"}


def test_other_columns_of_the_file_say_how_numbers_are_written(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server;CPU usage (%);Disk (GB)\nsrv01;12.125;1.024\nsrv02;7.250;2.048")
    assert told.values["CPU usage (%)"] == [12.125, 7.25]
    assert told.values["Disk (GB)"] == [1.024, 2.048]
    other = Told(tmp_path, "Server;CPU usage (%);Disk (GB)\nsrv01;12,125;1.024\nsrv02;7,250;2.048")
    assert other.values["Disk (GB)"] == [1024, 2048]


def test_a_row_of_units_below_the_header_is_heeded(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,vCPU,Memory,Disk\n,,MB,TB\na,4,16,500\nb,8,32,1000")
    assert (told.of("Memory").unit, told.of("Disk").unit) == ("MB", "TB")


def test_parts_of_the_storage_are_added_and_one_part_is_not_the_whole(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server,OS disk (GB),Data disk (GB)\na,50,500\nb,60,1000")
    assert told.taken == {"Server": "name", "OS disk (GB)": "storage_gb", "Data disk (GB)": "storage_gb"}
    alone = Told(tmp_path, "Server,OS disk (GB)\na,50\nb,60")
    assert alone.taken == {"Server": "name"}
    whole = Told(tmp_path, "Server,OS disk (GB),Data disk (GB),Total disk (GB)\na,50,500,550\nb,60,1000,1060")
    assert whole.taken == {"Server": "name", "Total disk (GB)": "storage_gb"}


def test_facts_of_the_host_are_not_those_of_its_machines(tmp_path: Path) -> None:
    text = """
VM,Host,Host FQDN,Host memory GB,Host cores,Host serial,Host IP,Host OS version,Host vendor,vCPU,Memory
a,esx1,esx1.x.y,512,32,CZ1,10.0.0.1,7.0,HPE,4,16
b,esx1,esx1.x.y,512,32,CZ1,10.0.0.1,7.0,HPE,2,8
c,esx2,esx2.x.y,256,16,CZ2,10.0.0.2,7.0,HPE,2,8"""
    told = Told(tmp_path, text)
    assert told.taken == {"VM": "name", "Host": "runs_on", "vCPU": "cpu_cores", "Memory": "memory_gb"}
    server = Told(tmp_path, "Host,Host memory GB,Host cores,Host serial\na,512,32,CZ1\nb,256,16,CZ2")
    assert server.taken == {
        "Host": "name",
        "Host memory GB": "memory_gb",
        "Host cores": "cpu_cores",
        "Host serial": "serial_number",
    }


def test_a_host_name_that_says_the_same_is_the_machines_own(tmp_path: Path) -> None:
    own = Told(tmp_path, "Server Name,Host Name,OS\nSRV01,srv01.corp.local,RHEL 8\nSRV02,srv02.corp.local,RHEL 7")
    assert own.taken["Host Name"] == "fqdn"
    other = Told(tmp_path, "Server Name,Host Name,OS\nSRV01,esx1,RHEL 8\nSRV02,esx1,RHEL 7\nSRV03,esx2,RHEL 7")
    assert other.taken["Host Name"] == "runs_on"
    unknown = Told(tmp_path, "Server Name,Host Name,OS\nSRV01,x1,RHEL 8\nSRV02,x2,RHEL 7")
    assert "Host Name" not in unknown.taken


def test_a_name_of_people_gives_way_to_that_of_the_machine(tmp_path: Path) -> None:
    told = Told(tmp_path, "Name,Computer,Department,RAM\nAnn Smith,PC-001,Sales,16\nBob Jones,PC-002,HR,8")
    assert told.taken == {"Computer": "name", "Department": "department", "RAM": "memory_gb"}


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("CPU,Cores", {"Cores": "cpu_cores"}),
        ("Sockets,vCPUs", {"vCPUs": "cpu_cores"}),
        ("CPU Sockets,Cores per Socket", {}),
        ("CPUs,Cores per CPU", {}),
        ("Processors,Logical Processors", {"Logical Processors": "cpu_cores"}),
        ("Target cores,Current cores", {"Current cores": "cpu_cores"}),
    ],
)
def test_processors_told_in_two_columns(tmp_path: Path, header: str, taken: dict[str, str]) -> None:
    told = Told(tmp_path, f"Server,{header}\na,2,8\nb,1,4\nc,2,16")
    assert told.taken == {"Server": "name"} | taken


# --- languages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "Nazwa serwera;System operacyjny;Rdzenie;Pamięć (GB);Dysk (GB);Środowisko;Lokalizacja;Właściciel",
        "Název serveru;Operační systém;Počet jader;Paměť (GB);Velikost disku (GB);Prostředí;Umístění;Vlastník",
        "Servernamn;Operativsystem;Antal kärnor;Minne (GB);Lagring (GB);Miljö;Plats;Ägare",
        "Servernavn;Styresystem;Antal kerner;Hukommelse (GB);Lagring (GB);Miljø;Placering;Ejer",
        "Sunucu Adı;İşletim Sistemi;Çekirdek Sayısı;Bellek (GB);Depolama (GB);Ortam;Konum;Sahibi",
        "Имя сервера;Операционная система;Количество ядер;Оперативная память, ГБ;Диск, ГБ;Среда;Расположение;Владелец",
        "服务器名称;操作系统;CPU核数;内存(GB);磁盘(GB);环境;位置;负责人",
        "サーバー名;OS;コア数;メモリ(GB);ディスク容量(GB);環境;場所;所有者",
        "Nom du serveur;Système d'exploitation;Nb de cœurs;Mémoire (Go);Espace disque (Go);Environnement;Lieu;Responsable",
        "Nome do servidor;Sistema operacional;Núcleos;Memória (GB);Armazenamento (GB);Ambiente;Localização;Responsável",
        "Servername;Betriebssystem;Kernanzahl;Arbeitsspeicher [GB];Plattengröße [GB];Umgebung;Standort;Verantwortlicher",
    ],
)
def test_headers_of_many_languages(tmp_path: Path, header: str) -> None:
    row = "srv01a;Windows Server 2019;4;16;1 024,5;prod;Ulm;Ann\nsrv02a;RHEL 8;8;32;512;test;Bonn;Bob"
    told = Told(tmp_path, f"{header}\n{row}")
    targets = ["name", "operating_system", "cpu_cores", "memory_gb", "storage_gb", "environment", "location"]
    assert list(told.taken.values()) == [*targets, "business_owner"]
    names = header.split(";")
    assert told.values[names[2]] == [4, 8]
    assert told.values[names[3]] == [16, 32]
    assert told.values[names[4]] == [1024.5, 512]


# --- what the rows are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "role", "taken"),
    [
        (
            "measurements without a unit", "Server,Date,CPU,Memory\na,2024-01-01,12,55\na,2024-01-02,13,56\nb,2024-01-01,22,65\nb,2024-01-02,23,66",
            PERFORMANCE, {"Server": "name", "Date": "measured_at"},
        ),
        (
            "an inventory of every month", "Server,Date,CPU,Memory\na,2024-01-01,4,16\na,2024-02-01,4,16\nb,2024-01-01,8,32\nb,2024-02-01,8,32",
            MACHINES, {"Server": "name", "CPU": "cpu_cores", "Memory": "memory_gb"},
        ),
        (
            "tickets", "Ticket,Server,Priority,Assigned to\nI1,a,P1,Ann\nI2,a,P2,Bob\nI3,b,P2,Bob\nI4,b,P3,Ann",
            MACHINES, {"Server": "name"},
        ),
        (
            "databases", "Instance,Server,Database,Size (GB),Owner\nS1,a,ERP,120,Ann\nS1,a,CRM,20,Bob\nS2,b,BI,500,Cy",
            MACHINES, {"Server": "name"},
        ),
        (
            "needs", "Application,Depends on\nERP,CRM\nERP,BI\nCRM,BI",
            CONNECTIONS, {"Application": "source_application", "Depends on": "target_application"},
        ),
        (
            "addresses of ends", "Source,Destination,Port\n10.0.0.1,10.0.0.2,443\n10.0.0.1,10.0.0.3,1433",
            CONNECTIONS, {"Source": "source_ip", "Destination": "target_ip", "Port": "port"},
        ),
        (
            "sent and received", "Source,Destination,Bytes sent,Bytes received\na,b,100,200\na,c,300,400",
            CONNECTIONS, {"Source": "source_name", "Destination": "target_name", "Bytes sent": "bytes", "Bytes received": "bytes"},
        ),
        (
            "applications that count their servers", "Application,Servers,vCPU\nERP,12,48\nCRM,4,10",
            APPLICATIONS, {"Application": "name"},
        ),
        (
            "drives", "Server,Drive,Size,Free\na,C:,100,20\na,D:,500,120\nb,C:,100,30",
            DETAIL, {"Server": "name", "Drive": "detail_key", "Size": "storage_gb"},
        ),
        (
            "from and to", "From,To,Type\nERP,CRM,REST\nCRM,BI,SFTP",
            CONNECTIONS, {"From": "source_name", "To": "target_name", "Type": "relation"},
        ),
        (
            "a client and its server", "Client,Server,Port,Traffic (MB)\na,b,443,1.5\na,c,1433,0.25",
            CONNECTIONS, {"Client": "source_name", "Server": "target_name", "Port": "port", "Traffic (MB)": "bytes"},
        ),
        (
            "a client who pays", "Client,Server,Environment\nACME,srv01,prod\nACME,srv02,test",
            MACHINES, {"Server": "name", "Environment": "environment"},
        ),
        (
            "what a server connects to", "Server,Connects to,Port\na,b,443\na,c,1433",
            CONNECTIONS, {"Server": "source_name", "Connects to": "target_name", "Port": "port"},
        ),
        (
            "flows", "Source IP,Destination IP,Bytes In,Bytes Out,Data volume (GB/day),Application\n10.0.0.1,10.0.0.2,100,200,1.5,https\n10.0.0.1,10.0.0.3,300,400,2.5,ssh",
            CONNECTIONS, {"Source IP": "source_ip", "Destination IP": "target_ip", "Bytes In": "bytes", "Bytes Out": "bytes"},
        ),
        (
            "licences that do not say so", "Product,Vendor,Metric,Quantity,Expires\nOracle DB,Oracle,Processor,12,2025-12-31\nSQL,MS,Core,64,2026-06-30",
            SOFTWARE, {"Product": "software", "Vendor": "software_vendor", "Metric": "licence_metric", "Quantity": "licence_quantity", "Expires": "licence_expires"},
        ),
        (
            "products and when they were installed", "Server,Software,Version,Install Date\na,Java,8,2020-01-01\na,SQL,13,2020-01-01\nb,Java,11,2021-01-01",
            SOFTWARE, {"Server": "name", "Software": "software", "Version": "software_version"},
        ),
        (
            "applications with their vendors", "Application Name,Vendor,Servers,Users,6R\nERP,SAP,s1; s2,\"1,200\",Rehost\nCRM,MS,s3,50,Retire",
            APPLICATIONS, {"Application Name": "name", "Servers": "hosts", "Users": "users_count", "6R": "strategy"},
        ),
        ("rules of a firewall", "Rule,Source,Destination,Action\n1,10.0.0.1,10.1.0.5,allow\n2,any,10.1.0.6,deny", IGNORED, {}),
        ("sums by environment", "Environment,Servers,vCPU,Memory GB\nProd,120,480,1920\nTest,40,100,320", IGNORED, {}),
        ("a telephone list", "Name,E-Mail,Phone\nAnn Smith,ann@x.de,123\nBob Jones,bob@x.de,124", IGNORED, {}),
    ],
)  # fmt: skip
def test_what_the_rows_speak_of(tmp_path: Path, name: str, text: str, role: str, taken: dict[str, str]) -> None:
    told = Told(tmp_path, text)
    assert (told.role, told.taken) == (role, taken), name


def test_several_rows_of_one_processor_are_told_apart_in_measurements(tmp_path: Path) -> None:
    text = "Server,Timestamp,Core ID,CPU %\na,2024-01-01 10:00,0,5\na,2024-01-01 10:00,1,7\na,2024-01-01 11:00,0,9"
    told = Told(tmp_path, text)
    assert (told.role, told.taken["Core ID"]) == (PERFORMANCE, "detail_key")


def test_ports_of_switches_are_no_export_of_rvtools(tmp_path: Path) -> None:
    told = Told(tmp_path, "Switch,Port,Device,VLAN,Speed\nsw1,Gi0/1,srv01a,10,1000\nsw1,Gi0/2,srv02a,10,1000")
    assert (told.tables[0].kind, told.role) == ("table", MACHINES)


# --- what the caller says -----------------------------------------------------------------------------------------

NUMBERS = "Server;RAM (GB);Disk (GB)\na;1.5;1.024\nb;2.25;2.048"


def test_separators_given_win_over_those_the_column_shows(tmp_path: Path) -> None:
    told = Told(tmp_path, NUMBERS, decimal=",")
    assert told.of("RAM (GB)").number_format == "thousands ."
    assert told.values["RAM (GB)"] == [None, None]
    assert told.values["Disk (GB)"] == [1024, 2048]
    assert "the import options say decimal ," in told.of("RAM (GB)").reason
    noticed = Told(tmp_path, NUMBERS)
    assert (noticed.values["RAM (GB)"], noticed.values["Disk (GB)"]) == ([1.5, 2.25], [1.024, 2.048])


def test_separators_that_were_only_noticed_do_not_win_over_those_the_column_shows(tmp_path: Path) -> None:
    text = "Server;RAM (GB);Disk (GB);Price\na;1,5;1.5;2,50\nb;2,25;2.25;3,50"
    told = Told(tmp_path, text)
    assert (told.values["RAM (GB)"], told.values["Disk (GB)"]) == ([1.5, 2.25], [1.5, 2.25])


def test_numbers_that_contradict_each_other_are_not_settled_by_the_rest_of_the_file(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server;RAM (GB);Price\na;1,5;2,50\nb;2.25;3,50\nc;4,5;1,25")
    assert told.asked() == {"RAM (GB)": "number format"}


def test_an_order_of_dates_given_wins(tmp_path: Path) -> None:
    text = "Server,Last seen\na,01/02/2024\nb,03/04/2024"
    assert Told(tmp_path, text, date_order="mdy").values["Last seen"] == ["2024-01-02", "2024-03-04"]
    assert Told(tmp_path, text, date_order="dmy").values["Last seen"] == ["2024-02-01", "2024-04-03"]
    other = Told(tmp_path, "Server,Last seen\na,13/02/2024\nb,03/04/2024", date_order="mdy")
    assert other.values["Last seen"] == [None, "2024-03-04"]


def test_a_decimal_mark_given_leaves_the_mark_for_thousands_to_the_column(tmp_path: Path) -> None:
    told = Told(tmp_path, "Server;Disk (GB)\na;1 024,5\nb;512", decimal=",")
    assert told.values["Disk (GB)"] == [1024.5, 512]


async def test_a_unit_that_cannot_be_is_asked_about_and_can_be_answered(tmp_path: Path) -> None:
    path = tmp_path / "servers.csv"
    path.write_text("Server Name,Memory,vCPU\na,4096,4\nb,8192,8\n", encoding="utf-8")
    options = {"servers.csv": {"tables": {"servers.csv": {"units": {"Memory": "MB/s", "vCPU": "MHz"}}}}}
    flow = Discovery(path, import_options=options, auto_approve_mappings=True)
    await flow.run("data_import")
    with pytest.raises(NeedsInput, match="unit of 'Memory'") as caught:
        await flow.run("field_mapping")
    assert "unit of 'vCPU'" in str(caught.value)
    reasons = [one["reason"] for one in caught.value.suggestions["mapping_suggestions"]]
    assert "the import options say 'MB/s', but memory_gb can be in B" in reasons[1]
    assert "the import options say 'MHz', but cpu_cores has no unit" in reasons[2]
    flow.inputs |= {"mappings": {"Memory": {"target_field": "memory_gb", "unit": "MiB"}, "vCPU": "cpu_cores"}}
    flow.inputs["approval"] = True
    mapped = (await flow.run("field_mapping"))["mapped"]
    assert [(one["target_field"], one["unit"]) for one in mapped] == [
        ("name", None),
        ("memory_gb", "MiB"),
        ("cpu_cores", None),
    ]
    for phase in ("data_cleansing", "asset_inventory"):
        await flow.run(phase)
    assert [(one["memory_gb"], one["cpu_cores"]) for one in flow.rows("asset_inventory", "assets")] == [(4, 4), (8, 8)]


async def test_a_unit_that_nothing_is_read_in_is_told(tmp_path: Path) -> None:
    path = tmp_path / "servers.csv"
    path.write_text("Server Name,Memory GB,Town\na,4,Ulm\nb,8,Bonn\n", encoding="utf-8")
    options = {"servers.csv": {"tables": {"servers.csv": {"units": {"Town": "MB"}}}}}
    flow = Discovery(path, import_options=options, auto_approve_mappings=True)
    await flow.run("data_import")
    await flow.run("field_mapping")
    (issue,) = flow.rows("field_mapping", "issues")
    assert (issue["kind"], issue["field"]) == ("unit_not_used", "Town")
    assert issue["message"] == (
        "servers.csv: the import options give Town in MB, but nothing that has a unit was found in it."
    )
