"""One known estate written in twelve dialects: what each row of each file says, and which machine it means."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.sax.saxutils import escape

import xlsxwriter

DOMAIN = "corp.example"
OTHER_DOMAIN = "lab.example"
SYSTEMS = (
    ("Windows Server", "2012 R2", "Microsoft Windows Server 2012 R2 (64-bit)"),
    ("Windows Server", "2016", "Microsoft Windows Server 2016 (64-bit)"),
    ("Windows Server", "2019", "Microsoft Windows Server 2019 (64-bit)"),
    ("Red Hat Enterprise Linux", "7", "Red Hat Enterprise Linux 7 (64-bit)"),
    ("Red Hat Enterprise Linux", "8", "Red Hat Enterprise Linux 8 (64-bit)"),
    ("Ubuntu", "20.04", "Ubuntu 20.04 LTS"),
    ("SUSE Linux Enterprise Server", "12", "SUSE Linux Enterprise Server 12 (64-bit)"),
)
ENVIRONMENTS = ("production", "production", "production", "test", "development", "staging")
SITES = ("Frankfurt", "Amsterdam", "Madrid")
OWNERS = ("Amara Diallo", "Jonas Weber", "Lucía Ortega", "Zoë Müller")
APPLICATIONS = ("ERP", "CRM", "Payroll", "Webshop", "Archive")
BLANKS = ("", "N/A", "TBD", "unknown", "-")
FACTS = (
    "cpu_cores",
    "memory_gb",
    "storage_gb",
    "operating_system",
    "os_version",
    "environment",
    "location",
    "business_owner",
    "application_name",
    "power_state",
    "ip_addresses",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The truth about one machine."""

    number: int
    name: str
    domain: str
    uuid: str
    serial: str
    mac: str
    address: str
    cores: int
    memory_mib: int
    storage_gib: int
    system: tuple[str, str, str]
    environment: str
    location: str
    owner: str
    application: str
    on: bool

    @property
    def fqdn(self) -> str:
        """Name with domain."""
        return f"{self.name}.{self.domain}"

    def facts(self) -> dict[str, Any]:
        """What an asset should say of it."""
        return {
            "cpu_cores": self.cores,
            "memory_gb": self.memory_mib / 1024,
            "storage_gb": self.storage_gib,
            "operating_system": self.system[0],
            "os_version": self.system[1],
            "environment": self.environment,
            "location": self.location,
            "business_owner": self.owner,
            "application_name": self.application,
            "power_state": "on" if self.on else "off",
            "ip_addresses": [self.address],
        }


@dataclass(slots=True)
class Said:
    """One row as written: the machine it means, and the facts it states (a fact it leaves open is absent)."""

    machine: int
    facts: dict[str, Any]


@dataclass(slots=True)
class Written:
    """One file of the estate: its rows by (file, sheet, row number)."""

    dialect: str
    path: Path
    rows: dict[tuple[str, str | None, int], Said] = field(default_factory=dict)


def estate(machines: int = 60, seed: int = 4) -> list[Machine]:
    """The machines; every tenth shares its short name with another machine in another domain."""
    dice = random.Random(seed)
    made: list[Machine] = []
    for number in range(machines):
        twin = made[number - 5] if number % 10 == 9 else None
        system = dice.choice(SYSTEMS)
        identity = UUID(int=dice.getrandbits(128), version=4)
        made.append(
            Machine(
                number,
                twin.name if twin else f"{dice.choice(('app', 'web', 'sql', 'srv'))}{number:03d}",
                OTHER_DOMAIN if twin else DOMAIN,
                str(identity),
                f"SN{identity.hex[:10].upper()}",
                f"00:50:56:{number // 256:02x}:{number % 256:02x}:{dice.randrange(256):02x}",
                f"10.{20 if twin is None else 30}.{number // 200}.{number % 200 + 10}",
                dice.choice((2, 4, 8, 16)),
                dice.choice((4096, 8192, 12288, 16384, 24576, 32768, 65536)),
                dice.choice((60, 100, 250, 500, 1200)),
                system,
                dice.choice(ENVIRONMENTS),
                dice.choice(SITES),
                dice.choice(OWNERS),
                dice.choice(APPLICATIONS),
                dice.random() < 0.9,
            )
        )
    return made


@dataclass(slots=True)
class _Row:
    """The words of one row before they are written: texts by fact, and what they state."""

    machine: Machine
    text: dict[str, str]
    said: Said


def _rows(
    machines: Sequence[Machine], name: str, spell: Callable[[str, Machine], str], states: Sequence[str], faults: bool
) -> list[_Row]:
    """Rows of a dialect: some facts left open with a placeholder, a few contradicting the truth."""
    dice = random.Random(f"{name}")
    rows = []
    for machine in machines:
        stated = machine
        if faults and dice.random() < 0.05:
            stated = replace(machine, cores=machine.cores * 2)
        facts = {fact: value for fact, value in stated.facts().items() if fact in states}
        text = {fact: spell(fact, stated) for fact in states}
        for fact in ("environment", "business_owner", "application_name", "location"):
            if faults and fact in text and dice.random() < 0.08:
                text[fact] = dice.choice(BLANKS)
                facts.pop(fact)
        rows.append(_Row(machine, text, Said(machine.number, facts)))
    return rows


def _comma(number: float) -> str:
    return f"{number:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")


def _plain(fact: str, machine: Machine) -> str:
    value = machine.facts()[fact]
    if fact == "ip_addresses":
        return machine.address
    if fact == "memory_gb":
        return f"{value:g}"
    return str(value)


ALL = FACTS
WITHOUT_POWER = tuple(fact for fact in FACTS if fact != "power_state")


class Writer:
    """Writes the dialects into a folder."""

    def __init__(self, folder: Path, machines: Sequence[Machine], *, faults: bool = False) -> None:
        self.folder = folder
        self.machines = machines
        self.faults = faults

    def all(self) -> list[Written]:
        """The twelve files."""
        return [
            self.english_csv(),
            self.german_csv(),
            self.french_tsv(),
            self.rvtools(),
            self.spanish_workbook(),
            self.nested_json(),
            self.lines_of_json(),
            self.xml(),
            self.azure_template(),
            self.migration_hub(),
            self.google_zip(),
            self.cmdb_ods(),
        ]

    def _table(  # noqa: PLR0917 - a table is told by its columns, its place and its file
        self,
        written: Written,
        rows: Sequence[_Row],
        columns: Sequence[tuple[str, Callable[[_Row], Any]]],
        first: int = 2,
        sheet: str | None = None,
        file: str | None = None,
    ) -> tuple[list[str], list[list[Any]]]:
        for at, row in enumerate(rows):
            written.rows[file or written.path.name, sheet, first + at] = row.said
        return [name for name, _ in columns], [[get(row) for _, get in columns] for row in rows]

    def english_csv(self) -> Written:
        """A plain list: comma, UTF-8, fully qualified names in one column, GiB."""
        written = Written("english csv", self.folder / "servers.csv")
        rows = _rows(self.machines, "english", _plain, ALL, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("Server Name", lambda row: row.machine.name),
                ("FQDN", lambda row: row.machine.fqdn),
                ("Serial Number", lambda row: row.machine.serial),
                ("IP Address", lambda row: row.text["ip_addresses"]),
                ("Operating System", lambda row: row.machine.system[2]),
                ("vCPUs", lambda row: row.text["cpu_cores"]),
                ("Memory (GB)", lambda row: row.text["memory_gb"]),
                ("Storage (GB)", lambda row: row.text["storage_gb"]),
                ("Environment", lambda row: row.text["environment"]),
                ("Location", lambda row: row.text["location"]),
                ("Business Owner", lambda row: row.text["business_owner"]),
                ("Application", lambda row: row.text["application_name"]),
                ("Power State", lambda row: row.text["power_state"]),
            ],
        )
        _write_csv(written.path, *table, delimiter=",", encoding="utf-8")
        return written

    def german_csv(self) -> Written:
        """A German list: semicolon, Windows-1252, decimal comma and thousands point, upper-case host names."""
        words = {"production": "Produktion", "test": "Test", "development": "Entwicklung", "staging": "Abnahme"}

        def spell(fact: str, machine: Machine) -> str:
            value = machine.facts()[fact]
            if fact in {"memory_gb", "storage_gb"}:
                return _comma(value)
            if fact == "environment":
                return words[value]
            if fact == "power_state":
                return "ein" if machine.on else "aus"
            return _plain(fact, machine)

        written = Written("german csv", self.folder / "Serverliste.csv")
        rows = _rows(self.machines, "german", spell, ALL, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("Rechnername", lambda row: row.machine.name.upper()),
                ("Domäne", lambda row: row.machine.domain),
                ("MAC-Adresse", lambda row: row.machine.mac.upper().replace(":", "-")),
                ("IP-Adresse", lambda row: row.text["ip_addresses"]),
                ("Betriebssystem", lambda row: row.machine.system[2]),
                ("Prozessorkerne", lambda row: row.text["cpu_cores"]),
                ("Arbeitsspeicher (GB)", lambda row: row.text["memory_gb"]),
                ("Festplatte (GB)", lambda row: row.text["storage_gb"]),
                ("Umgebung", lambda row: row.text["environment"]),
                ("Standort", lambda row: row.text["location"]),
                ("Verantwortlicher", lambda row: row.text["business_owner"]),
                ("Anwendung", lambda row: row.text["application_name"]),
                ("Betriebszustand", lambda row: row.text["power_state"]),
            ],
        )
        _write_csv(written.path, *table, delimiter=";", encoding="cp1252")
        return written

    def french_tsv(self) -> Written:
        """A French list: tabs, UTF-16 with a byte order mark, sizes in Mo and Go."""
        words = {
            "production": "Production",
            "test": "Essais",
            "development": "Développement",
            "staging": "Préproduction",
        }

        def spell(fact: str, machine: Machine) -> str:
            value = machine.facts()[fact]
            if fact == "memory_gb":
                return str(machine.memory_mib)
            if fact == "environment":
                return words[value]
            return _plain(fact, machine)

        written = Written("french tsv", self.folder / "inventaire.txt")
        rows = _rows(self.machines, "french", spell, WITHOUT_POWER, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("Nom du serveur", lambda row: row.machine.fqdn),
                ("Adresse IP", lambda row: row.text["ip_addresses"]),
                ("Système d'exploitation", lambda row: row.machine.system[2]),
                ("Nombre de processeurs", lambda row: row.text["cpu_cores"]),
                ("Mémoire (Mo)", lambda row: row.text["memory_gb"]),
                ("Disque (Go)", lambda row: row.text["storage_gb"]),
                ("Environnement", lambda row: row.text["environment"]),
                ("Site", lambda row: row.text["location"]),
                ("Responsable", lambda row: row.text["business_owner"]),
                ("Application", lambda row: row.text["application_name"]),
            ],
        )
        _write_csv(written.path, *table, delimiter="\t", encoding="utf-16")
        return written

    def rvtools(self) -> Written:
        """RVTools with vInfo and vNetwork: MiB without a unit in the header."""
        states = (
            "cpu_cores",
            "memory_gb",
            "storage_gb",
            "operating_system",
            "os_version",
            "power_state",
            "ip_addresses",
        )
        written = Written("rvtools", self.folder / "RVTools_export.xlsx")
        rows = _rows(self.machines, "rvtools", _plain, states, self.faults)
        info = self._table(
            written,
            rows,
            [
                ("VM", lambda row: row.machine.name),
                ("Powerstate", lambda row: "poweredOn" if row.machine.on else "poweredOff"),
                ("Template", lambda row: "False"),
                ("DNS Name", lambda row: row.machine.fqdn),
                ("CPUs", lambda row: int(row.text["cpu_cores"])),
                ("Memory", lambda row: row.machine.memory_mib),
                ("Primary IP Address", lambda row: row.text["ip_addresses"]),
                ("Total disk capacity MiB", lambda row: row.machine.storage_gib * 1024),
                ("OS according to the VMware Tools", lambda row: row.machine.system[2]),
                ("VM ID", lambda row: f"vm-{row.machine.number}"),
                ("VM UUID", lambda row: row.machine.uuid),
            ],
            sheet="vInfo",
        )
        network = self._table(
            written,
            [replace_said(row, {"ip_addresses": [row.machine.address]}) for row in rows],
            [
                ("VM", lambda row: row.machine.name),
                ("NIC label", lambda row: "Network adapter 1"),
                ("Adapter", lambda row: "Vmxnet3"),
                ("Mac Address", lambda row: row.machine.mac),
                ("IPv4 Address", lambda row: row.machine.address),
                ("VM ID", lambda row: f"vm-{row.machine.number}"),
                ("VM UUID", lambda row: row.machine.uuid),
            ],
            sheet="vNetwork",
        )
        _write_xlsx(written.path, {"vInfo": [info[0], *info[1]], "vNetwork": [network[0], *network[1]]})
        return written

    def spanish_workbook(self) -> Written:
        """A Spanish workbook: a title, a header in two rows, a totals row at the end, memory in MB."""

        def spell(fact: str, machine: Machine) -> str:
            words = {
                "production": "Producción",
                "test": "Pruebas",
                "development": "Desarrollo",
                "staging": "Preproducción",
            }
            return words[machine.environment] if fact == "environment" else _plain(fact, machine)

        written = Written("spanish workbook", self.folder / "inventario.xlsx")
        rows = _rows(self.machines, "spanish", spell, WITHOUT_POWER, self.faults)
        _, body = self._table(
            written,
            rows,
            [
                ("Servidor Nombre", lambda row: row.machine.fqdn.upper()),
                ("Servidor Dirección IP", lambda row: row.text["ip_addresses"]),
                ("Sistema operativo", lambda row: row.machine.system[2]),
                ("CPU Núcleos", lambda row: int(row.text["cpu_cores"])),
                ("Memoria MB", lambda row: row.machine.memory_mib),
                ("Almacenamiento GB", lambda row: int(row.text["storage_gb"])),
                ("Entorno", lambda row: row.text["environment"]),
                ("Ubicación", lambda row: row.text["location"]),
                ("Propietario", lambda row: row.text["business_owner"]),
                ("Aplicación", lambda row: row.text["application_name"]),
            ],
            first=6,
            sheet="Servidores",
        )
        above = ["Servidor", "", "", "CPU", "Memoria", "Almacenamiento", "", "", "", ""]
        below = ["Nombre", "Dirección IP", "Sistema operativo", "Núcleos", "MB", "GB", "Entorno", "Ubicación",
                 "Propietario", "Aplicación"]  # fmt: skip
        total = ["Total", "", "", sum(row[3] for row in body), sum(row[4] for row in body), sum(row[5] for row in body)]
        _write_xlsx(
            written.path,
            {
                "Portada": [["Inventario de servidores"], ["Confidencial"]],
                "Servidores": [["Inventario de servidores"], ["Fecha: 2025-06-01"], [], above, below, *body, total],
            },
        )
        return written

    def nested_json(self) -> Written:
        """A JSON dump with nested objects, records two levels down."""
        states = ("cpu_cores", "memory_gb", "operating_system", "os_version", "power_state", "ip_addresses")
        written = Written("nested json", self.folder / "vcenter.json")
        rows = _rows(self.machines, "nested", _plain, states, self.faults)
        self._table(written, rows, [], first=1)
        records = [
            {
                "Summary": {
                    "Config": {
                        "Name": row.machine.name,
                        "MemorySizeMB": row.machine.memory_mib,
                        "NumCpu": int(row.text["cpu_cores"]),
                        "GuestFullName": row.machine.system[2],
                        "Uuid": row.machine.uuid,
                    },
                    "Guest": {"HostName": row.machine.fqdn, "IpAddress": row.machine.address},
                    "Runtime": {"PowerState": "poweredOn" if row.machine.on else "poweredOff", "Host": None},
                }
            }
            for row in rows
        ]
        written.path.write_text(json.dumps({"VirtualMachines": records}), encoding="utf-8")
        return written

    def lines_of_json(self) -> Written:
        """One JSON object per line, numbers typed, sizes that say their unit in the value."""
        written = Written("ndjson", self.folder / "hosts.ndjson")
        rows = _rows(self.machines, "ndjson", _plain, ALL, self.faults)
        self._table(written, rows, [], first=1)
        lines = [
            {
                "hostname": row.machine.name,
                "fqdn": row.machine.fqdn,
                "ip_addresses": [row.machine.address],
                "os": row.machine.system[2],
                "cpu_cores": int(row.text["cpu_cores"]),
                "memory": f"{row.machine.memory_mib} MiB",
                "disk": f"{row.machine.storage_gib} GiB",
                "env": row.text["environment"],
                "site": row.text["location"],
                "owner": row.text["business_owner"],
                "app": row.text["application_name"],
                "power_state": row.text["power_state"],
            }
            for row in rows
        ]
        written.path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return written

    def xml(self) -> Written:
        """XML: an element per server, attributes and children."""
        written = Written("xml", self.folder / "inventory.xml")
        rows = _rows(self.machines, "xml", _plain, WITHOUT_POWER, self.faults)
        self._table(written, rows, [], first=1)
        servers = "".join(
            f'<server serial="{row.machine.serial}"><hostName>{escape(row.machine.fqdn)}</hostName>'
            f"<ipAddress>{row.machine.address}</ipAddress><operatingSystem>{escape(row.machine.system[2])}</operatingSystem>"
            f"<cpuCores>{row.text['cpu_cores']}</cpuCores><memoryMB>{row.machine.memory_mib}</memoryMB>"
            f"<diskGB>{row.machine.storage_gib}</diskGB><environment>{escape(row.text['environment'])}</environment>"
            f"<location>{escape(row.text['location'])}</location><owner>{escape(row.text['business_owner'])}</owner>"
            f"<application>{escape(row.text['application_name'])}</application></server>\n"
            for row in rows
        )
        written.path.write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<inventory source="scanner"><servers>\n{servers}</servers></inventory>\n',
            encoding="utf-8",
        )
        return written

    def azure_template(self) -> Written:
        """The Azure Migrate import template: starred headers, MB, two disks."""
        states = ("cpu_cores", "memory_gb", "operating_system", "os_version", "ip_addresses")
        written = Written("azure import template", self.folder / "azure-import.csv")
        rows = _rows(self.machines, "azure", _plain, states, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("*Server name", lambda row: row.machine.fqdn),
                ("IP addresses", lambda row: row.text["ip_addresses"]),
                ("*Cores", lambda row: row.text["cpu_cores"]),
                ("*Memory (In MB)", lambda row: row.machine.memory_mib),
                ("*OS name", lambda row: row.machine.system[2]),
                ("OS version", lambda row: ""),
                ("OS architecture", lambda row: "x64"),
                ("Server type", lambda row: "Virtual"),
                ("Hypervisor", lambda row: "VMware"),
                ("CPU utilization percentage", lambda row: "12"),
                ("Memory utilization percentage", lambda row: "40"),
                ("Boot type", lambda row: "BIOS"),
                ("Number of disks", lambda row: "1"),
            ],
        )
        _write_csv(written.path, *table, delimiter=",", encoding="utf-8-sig")
        return written

    def migration_hub(self) -> Written:
        """AWS Migration Hub import: dotted headers, MB, tags as name:value."""
        states = ("cpu_cores", "memory_gb", "operating_system", "os_version", "ip_addresses")
        written = Written("migration hub", self.folder / "migration-hub.csv")
        rows = _rows(self.machines, "hub", _plain, states, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("ExternalId", lambda row: f"ext-{row.machine.number}"),
                ("SMBiosId", lambda row: row.machine.uuid),
                ("IPAddress", lambda row: row.text["ip_addresses"]),
                ("MACAddress", lambda row: row.machine.mac.upper()),
                ("HostName", lambda row: row.machine.name),
                ("VMware.VMName", lambda row: row.machine.name),
                ("CPU.NumberOfProcessors", lambda row: "1"),
                ("CPU.NumberOfCores", lambda row: row.text["cpu_cores"]),
                ("CPU.NumberOfLogicalCores", lambda row: row.text["cpu_cores"]),
                ("OS.Name", lambda row: row.machine.system[2]),
                ("OS.Version", lambda row: ""),
                ("RAM.TotalSizeInMB", lambda row: row.machine.memory_mib),
                ("Applications", lambda row: ""),
                ("Tags", lambda row: ""),
            ],
        )
        _write_csv(written.path, *table, delimiter=",", encoding="utf-8")
        return written

    def google_zip(self) -> Written:
        """Google Migration Center's tables in a zip: GiB, machine ids join the tables."""
        states = ("cpu_cores", "memory_gb", "storage_gb", "operating_system", "os_version", "ip_addresses")
        written = Written("google zip", self.folder / "migrationcenter.zip")
        rows = _rows(self.machines, "google", _plain, states, self.faults)
        machines = self._table(
            written,
            rows,
            [
                ("MachineId", lambda row: f"m-{row.machine.number:04d}"),
                ("MachineName", lambda row: row.machine.fqdn),
                ("PrimaryIPAddress", lambda row: row.text["ip_addresses"]),
                ("IpAddressListSemiColonDelimited", lambda row: f"{row.machine.address};"),
                ("AllocatedProcessorCoreCount", lambda row: row.text["cpu_cores"]),
                ("MemoryGiB", lambda row: f"{row.machine.memory_mib / 1024:g}"),
                ("TotalDiskAllocatedGiB", lambda row: row.machine.storage_gib),
                ("OsName", lambda row: row.machine.system[2]),
                ("MachineStatus", lambda row: ""),
                ("IsPhysical", lambda row: "FALSE"),
            ],
            file=f"{written.path.name}/vmInfo.csv",
        )
        disks = self._table(
            written,
            [replace_said(row, {}) for row in rows],
            [
                ("MachineId", lambda row: f"m-{row.machine.number:04d}"),
                ("DiskLabel", lambda row: "disk0"),
                ("SizeInGib", lambda row: row.machine.storage_gib),
                ("UsedInGib", lambda row: row.machine.storage_gib // 2),
                ("StorageTypeLabel", lambda row: "SSD"),
            ],
            file=f"{written.path.name}/diskInfo.csv",
        )
        with zipfile.ZipFile(written.path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, (header, body) in {"vmInfo.csv": machines, "diskInfo.csv": disks}.items():
                text = io.StringIO()
                csv.writer(text).writerows([header, *body])
                archive.writestr(name, text.getvalue())
        return written

    def cmdb_ods(self) -> Written:
        """A CMDB list in an OpenDocument sheet: names in capitals, memory in MB, disks in GB."""

        def spell(fact: str, machine: Machine) -> str:
            if fact == "power_state":
                return "On" if machine.on else "Off"
            if fact == "environment":
                return {"production": "PROD", "test": "QA", "development": "DEV", "staging": "UAT"}[machine.environment]
            return _plain(fact, machine)

        written = Written("cmdb ods", self.folder / "cmdb_ci_server.ods")
        rows = _rows(self.machines, "cmdb", spell, WITHOUT_POWER, self.faults)
        table = self._table(
            written,
            rows,
            [
                ("name", lambda row: row.machine.name.upper()),
                ("fqdn", lambda row: row.machine.fqdn),
                ("sys_id", lambda row: f"{row.machine.number:032x}"),
                ("serial_number", lambda row: row.machine.serial),
                ("ip_address", lambda row: row.text["ip_addresses"]),
                ("os", lambda row: row.machine.system[2]),
                ("cpu_count", lambda row: int(row.text["cpu_cores"])),
                ("ram", lambda row: row.machine.memory_mib),
                ("disk_space", lambda row: int(row.text["storage_gb"])),
                ("u_environment", lambda row: row.text["environment"]),
                ("location", lambda row: row.text["location"]),
                ("owned_by", lambda row: row.text["business_owner"]),
                ("u_application", lambda row: row.text["application_name"]),
            ],
            sheet="cmdb_ci_server",
        )
        _write_ods(written.path, "cmdb_ci_server", [table[0], *table[1]])
        return written


def replace_said(row: _Row, facts: dict[str, Any]) -> _Row:
    """The same row of words, stating only these facts."""
    return _Row(row.machine, row.text, Said(row.machine.number, facts))


def _write_csv(path: Path, header: list[str], body: list[list[Any]], *, delimiter: str, encoding: str) -> None:
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *body])


def _write_xlsx(path: Path, sheets: dict[str, list[list[Any]]]) -> None:
    with xlsxwriter.Workbook(str(path)) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if cell != "":
                        sheet.write(at, column, cell)


def _write_ods(path: Path, sheet: str, rows: list[list[Any]]) -> None:
    def cell(value: Any) -> str:
        if isinstance(value, int):
            return f'<table:table-cell office:value-type="float" office:value="{value}"><text:p>{value}</text:p></table:table-cell>'
        if value == "":
            return "<table:table-cell/>"
        return f'<table:table-cell office:value-type="string"><text:p>{escape(str(value))}</text:p></table:table-cell>'

    body = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content'
        ' xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
        ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
        ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2">'
        f'<office:body><office:spreadsheet><table:table table:name="{sheet}">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    mimetype = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        '<?xml version="1.0" encoding="UTF-8"?><manifest:manifest'
        ' xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mimetype}"/>'
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", mimetype, zipfile.ZIP_STORED)
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", manifest)
