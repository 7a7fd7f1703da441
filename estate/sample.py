"""A made-up estate, the same for the same seed, with the faults that real exports have."""

from __future__ import annotations

import csv
import datetime as dt
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xlsxwriter

_SITES = (("fra", "Frankfurt"), ("ams", "Amsterdam"), ("chi", "Chicago"))
_DOMAIN = "corp.example"
_ENVIRONMENTS = (("p", "production", 0.58), ("t", "test", 0.2), ("d", "development", 0.17), ("s", "staging", 0.05))
_SPELLED = {
    "production": ("Production", "PROD", "prod", "prd ", "Prod"),
    "test": ("Test", "TST", "QA", "test "),
    "development": ("Development", "DEV", "dev"),
    "staging": ("Staging", "UAT", "Pre-Prod"),
}
_APPLICATIONS = (
    "erp", "crm", "billing", "payroll", "webshop", "warehouse", "intranet", "portal", "logistics", "payments",
    "reporting", "archive",
    "booking", "claims", "pricing", "loyalty", "procurement", "scheduling", "ticketing", "telemetry", "forecast",
    "quality", "contracts",
    "treasury", "catalog", "returns", "dispatch", "surveys", "training", "compliance",
)  # fmt: skip
_PEOPLE = (
    "Amara Diallo", "Jonas Weber", "Priya Nair", "Lucía Ortega", "Tom Becker", "Mei Tanaka", "Noor Haddad",
    "Erik Lindqvist",
    "Sofia Rossi", "Daniel Okafor", "Hannah Vogel", "Pavel Novák",
)  # fmt: skip
# (configuration file, VMware Tools, weight)
_WINDOWS = (
    ("Microsoft Windows Server 2003 (32-bit)", "Microsoft Windows Server 2003 Standard (32-bit)", 1),
    ("Microsoft Windows Server 2008 R2 (64-bit)", "Microsoft Windows Server 2008 R2 (64-bit)", 5),
    ("Microsoft Windows Server 2012 (64-bit)", "Microsoft Windows Server 2012 R2 (64-bit)", 12),
    ("Microsoft Windows Server 2016 (64-bit)", "Microsoft Windows Server 2016 (64-bit)", 25),
    ("Microsoft Windows Server 2016 or later (64-bit)", "Microsoft Windows Server 2019 (64-bit)", 30),
    ("Microsoft Windows Server 2016 or later (64-bit)", "Microsoft Windows Server 2022 (64-bit)", 18),
)
_LINUX = (
    ("Red Hat Enterprise Linux 6 (64-bit)", "Red Hat Enterprise Linux 6 (64-bit)", 4),
    ("Red Hat Enterprise Linux 7 (64-bit)", "Red Hat Enterprise Linux 7 (64-bit)", 14),
    ("Red Hat Enterprise Linux 8 (64-bit)", "Red Hat Enterprise Linux 8 (64-bit)", 24),
    ("CentOS 7 (64-bit)", "CentOS 7 (64-bit)", 10),
    ("Ubuntu Linux (64-bit)", "Ubuntu 20.04.6 LTS", 12),
    ("Ubuntu Linux (64-bit)", "Ubuntu 22.04.4 LTS", 12),
    ("SUSE Linux Enterprise 12 (64-bit)", "SUSE Linux Enterprise Server 12 SP5", 6),
    ("Debian GNU/Linux 10 (64-bit)", "Debian GNU/Linux 10 (64-bit)", 5),
    ("Oracle Linux 7 (64-bit)", "Oracle Linux 7 (64-bit)", 6),
)
_DATABASES = (
    (1433, "sqlservr.exe", "windows"),
    (1521, "oracle", "linux"),
    (5432, "postgres", "linux"),
    (3306, "mysqld", "linux"),
)
_PLACEHOLDERS = ("N/A", "TBD", "unknown", "-", None)
_START = dt.datetime(2025, 6, 2, 6, 0, tzinfo=dt.UTC)


@dataclass(slots=True)
class _Server:
    name: str
    tier: str
    application: str | None
    environment: str
    site: str
    location: str
    system: tuple[str, str]
    family: str
    cpus: int
    memory_mib: int
    disks_mib: list[int]
    address: str
    mac: str
    on: bool
    owner: str | None
    contact: str | None
    criticality: str | None
    vm_id: str
    vm_uuid: str
    host: str
    template: bool = False
    database: tuple[int, str] | None = None
    extra_addresses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Host:
    name: str
    site: str
    cores: int
    memory_mib: int
    version: str


def write_sample(path: Path, *, servers: int = 500, seed: int = 7, fmt: Literal["xlsx", "csv"] = "xlsx") -> None:
    """Write an estate of `servers` machines (at least 20; virtual machines and the hosts they run on) to `path`.

    xlsx: RVTools sheets vInfo, vCPU, vMemory, vDisk, vNetwork, vHost, and the sheet Dependencies in the columns of an
    Azure Migrate
    dependency export. csv: one plain server list, no connections. The same arguments give the same bytes. The faults
    in it: rows
    repeated in another case or with a domain, blank rows, a header in the middle, a totals row, a row without a name,
    trailing blanks,
    placeholders, -1, numbers as text, sheets that disagree on processors, memory, disks and systems, retired systems,
    unknown and
    public endpoints, shared services, a machine talking to itself. Raises ValueError for fewer than 20 servers.
    """
    if servers < 20:
        raise ValueError("a sample needs at least 20 servers")
    dice = random.Random(f"{seed}:{servers}")  # noqa: S311 - a made-up estate, the same for the same seed
    estate, hosts = _estate(dice, servers)
    if fmt == "csv":
        _write_csv(path, dice, estate, hosts)
    else:
        _write_xlsx(path, dice, estate, hosts)


def _estate(dice: random.Random, servers: int) -> tuple[list[_Server], list[_Host]]:
    hosts = [
        _Host(f"esx-{site}-{number:02d}.{_DOMAIN}", location, cores, cores * 16_384, version)
        for at in range(max(2, servers // 40))
        for (site, location), number, cores, version in [
            (
                _SITES[at % 3],
                at // 3 + 1,
                dice.choice((32, 48, 64)),
                dice.choice(
                    (
                        "VMware ESXi 6.7.0 build-17700523",
                        "VMware ESXi 7.0.3 build-21930508",
                        "VMware ESXi 8.0.2 build-22380479",
                    )
                ),
            )
        ]
    ]
    wanted = servers - len(hosts)
    estate: list[_Server] = []
    for role, tier, count in (
        ("dc", "directory", 2),
        ("bkp", "backup", 1),
        ("mon", "monitoring", 1),
        ("gw", "gateway", 1),
        ("tmpl", "template", 2),
    ):
        for number in range(1, count + 1):
            estate.append(
                _server(
                    dice,
                    len(estate),
                    f"{role}{number:02d}",
                    tier=tier,
                    application=None,
                    environment="production",
                    hosts=hosts,
                )
            )
    numbers: dict[str, int] = {}
    while len(estate) < wanted:
        application = dice.choice(_APPLICATIONS)
        letter, environment, _ = dice.choices(_ENVIRONMENTS, [weight for *_, weight in _ENVIRONMENTS])[0]
        database = dice.choice(_DATABASES)
        for tier, count in (("web", dice.randint(1, 3)), ("app", dice.randint(1, 4)), ("db", dice.randint(1, 2))):
            for _ in range(count):
                if len(estate) < wanted:
                    stem = f"{letter}-{application}-{tier}"
                    numbers[stem] = numbers.get(stem, 0) + 1
                    role = f"{stem}{numbers[stem]:02d}"
                    server = _server(
                        dice,
                        len(estate),
                        role,
                        tier=tier,
                        application=application,
                        environment=environment,
                        hosts=hosts,
                        database=database,
                    )
                    estate.append(server)
    return estate, hosts


def _server(
    dice: random.Random,
    at: int,
    role: str,
    *,
    tier: str,
    application: str | None,
    environment: str,
    hosts: list[_Host],
    database: tuple[int, str, str] | None = None,
) -> _Server:
    site, location = _SITES[at % 3] if application is None else dice.choice(_SITES)
    family = (
        "windows"
        if tier in {"directory", "backup"} or (database and tier == "db" and database[2] == "windows")
        else dice.choice(("windows", "linux"))
    )
    if tier == "db" and database and database[2] == "linux":
        family = "linux"
    systems = _WINDOWS if family == "windows" else _LINUX
    configured, tools, _ = dice.choices(systems, [weight for *_, weight in systems])[0]
    cpus = dice.choice((2, 2, 4, 4, 8) if tier != "db" else (4, 8, 8, 16))
    local = [host for host in hosts if host.site == location] or hosts
    subnet = 10 + _SITES.index((site, location))
    return _Server(
        name=f"{site}-{role}",
        tier=tier,
        application=application,
        environment=environment,
        site=site,
        location=location,
        system=(configured, tools),
        family=family,
        cpus=cpus,
        memory_mib=cpus * dice.choice((2048, 4096, 4096, 8192)),
        disks_mib=[61_440]
        + [dice.choice((51_200, 102_400, 204_800, 512_000)) for _ in range(dice.randint(0, 2) + (tier == "db"))],
        address=f"10.{subnet}.{at // 250 + 1}.{at % 250 + 4}",
        mac=f"00:50:56:{at >> 16 & 255:02x}:{at >> 8 & 255:02x}:{at & 255:02x}",
        on=dice.random() > 0.07 and tier != "template",
        owner=dice.choice(_PEOPLE) if application and dice.random() > 0.12 else None,
        contact=dice.choice(_PEOPLE) if dice.random() > 0.3 else None,
        criticality=dice.choice(("Critical", "High", "Medium", "Low", "high ", "Non-critical"))
        if application and dice.random() > 0.15
        else None,
        vm_id=f"vm-{10_000 + at}",
        vm_uuid=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        host=dice.choice(local).name,
        template=tier == "template",
        database=(database[0], database[1]) if database and tier == "db" else None,
    )


# --- faults -----------------------------------------------------------------------------------------------------


def _maybe(dice: random.Random, value: Any, chance: float = 0.05) -> Any:
    """The value, or now and then a placeholder."""
    return dice.choice(_PLACEHOLDERS) if value is None or dice.random() < chance else value


def _environment(dice: random.Random, server: _Server) -> str | None:
    if dice.random() < 0.08:
        return dice.choice(_PLACEHOLDERS)
    return dice.choice(_SPELLED[server.environment])


def _other_spelling(dice: random.Random, name: str) -> str:
    return dice.choice((name.upper(), f"{name}.{_DOMAIN}", f"{name} ", f"{name.upper()}.{_DOMAIN.upper()}"))


def _faulty_rows(
    dice: random.Random, header: list[str], rows: list[list[Any]], *, repeated: float
) -> list[list[Any] | None]:
    """Rows with repeats under another spelling, blank rows (None), a header in the middle, one row without a name,
    and a total."""
    out: list[list[Any] | None] = []
    for at, row in enumerate(rows):
        out.append(row)
        if dice.random() < repeated:
            out.append([_other_spelling(dice, row[0]), *row[1:]])
        if dice.random() < 0.006:
            out.append(None)
        if at == len(rows) // 2:
            out.append(list(header))
    nameless = [None if cell == rows[0][0] or str(cell).endswith(_DOMAIN) else cell for cell in rows[0]]
    out.insert(min(17, len(out)), nameless)
    out.append(None)
    out.append(["Total", *[None] * (len(header) - 2), len(rows)])
    return out


# --- RVTools workbook -------------------------------------------------------------------------------------------

_COMMON = ["VM", "Powerstate", "Template", "SRM Placeholder"]
_TAIL = [
    "Datacenter",
    "Cluster",
    "Host",
    "OS according to the configuration file",
    "OS according to the VMware Tools",
    "VM ID",
    "VM UUID",
]


def _common(server: _Server) -> list[Any]:
    return [server.name, "poweredOn" if server.on else "poweredOff", server.template, False]


def _tail(dice: random.Random, server: _Server) -> list[Any]:
    configured, tools = server.system
    if not server.on or dice.random() < 0.1:
        tools = ""
    return [server.location, f"cl-{server.site}", server.host, configured, tools, server.vm_id, server.vm_uuid]


def _vinfo(dice: random.Random, estate: list[_Server]) -> tuple[list[str], list[list[Any]]]:
    header = [
        *_COMMON, "DNS Name", "Connection state", "Guest state", "CPUs", "Memory", "NICs", "Disks",
        "Total disk capacity MiB",
        "Primary IP Address", "Provisioned MiB", "In Use MiB", "HW version", "Firmware", "Annotation", "Environment",
        "Application", "Owner",
        "Technical Contact", "Criticality", "Server Role", *_TAIL,
    ]  # fmt: skip
    rows = []
    for server in estate:
        disks = sum(server.disks_mib)
        capacity = disks if dice.random() > 0.02 else disks + 10_240
        addresses = ", ".join([server.address, *server.extra_addresses])
        memory: Any = server.memory_mib
        if dice.random() < 0.03:
            memory = f"{memory:,}"
        rows.append(
            [
                *_common(server),
                f"{server.name}.{_DOMAIN}" if server.on and dice.random() > 0.1 else "",
                "connected",
                "running" if server.on else "notRunning",
                server.cpus if dice.random() > 0.01 else -1,
                memory,
                1,
                len(server.disks_mib),
                capacity,
                _maybe(dice, addresses, 0.03) if server.on else None,
                disks + server.memory_mib,
                round(disks * dice.uniform(0.2, 0.95)) if dice.random() > 0.03 else -1,
                dice.choice((9, 11, 13, 19)),
                dice.choice(("bios", "efi")),
                "",
                _environment(dice, server),
                _maybe(dice, server.application),
                _maybe(dice, server.owner, 0.0),
                _maybe(dice, server.contact, 0.0),
                _maybe(dice, server.criticality, 0.02),
                server.tier,
                *_tail(dice, server),
            ]
        )
    return header, rows


def _write_xlsx(path: Path, dice: random.Random, estate: list[_Server], hosts: list[_Host]) -> None:
    for server in estate:
        if dice.random() < 0.08:
            server.extra_addresses.append(f"192.168.{dice.randint(1, 250)}.{dice.randint(2, 250)}")
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"title": "Sample estate", "created": _START.replace(tzinfo=None)})
    header, rows = _vinfo(dice, estate)
    _sheet(book, "vInfo", header, _faulty_rows(dice, header, rows, repeated=0.03))
    header = [*_COMMON, "CPUs", "Sockets", "Cores p/s", "Overall", *_TAIL]
    rows = [
        [
            *_common(server), server.cpus if dice.random() > 0.02 else server.cpus * 2, server.cpus, 1,
            dice.randint(50, 2000) if server.on else 0, *_tail(dice, server),
        ]
        for server in estate
    ]  # fmt: skip
    _sheet(book, "vCPU", header, rows)
    header = [*_COMMON, "Size MiB", "Overhead", "Consumed", "Active", *_TAIL]
    rows = [
        [
            *_common(server), server.memory_mib if dice.random() > 0.02 else server.memory_mib * 2, 64,
            round(server.memory_mib * 0.7) if server.on else 0, round(server.memory_mib * dice.uniform(0.05,
            0.6)) if server.on else 0,
            *_tail(dice, server),
        ]
        for server in estate
    ]  # fmt: skip
    _sheet(book, "vMemory", header, rows)
    header = [*_COMMON, "Disk", "Capacity MiB", "Raw", "Disk Mode", "Thin", *_TAIL]
    rows = [
        [*_common(server), f"Hard disk {number}", size, False, "persistent", True, *_tail(dice, server)]
        for server in estate
        for number, size in enumerate(server.disks_mib, 1)
    ]
    _sheet(book, "vDisk", header, rows)
    header = [*_COMMON, "NIC label", "Adapter", "Network", "Mac Address", "IPv4 Address", "IPv6 Address", *_TAIL]
    rows = [
        [
            *_common(server), "Network adapter 1", "VMXNET3", f"vlan-{server.site}", server.mac,
            server.address if server.on else "",
            "", *_tail(dice, server),
        ]
        for server in estate
    ]  # fmt: skip
    _sheet(book, "vNetwork", header, rows)
    header = [
        "Host",
        "Datacenter",
        "Cluster",
        "CPU Model",
        "Speed",
        "# CPU",
        "Cores per CPU",
        "# Cores",
        "CPU usage %",
        "# Memory",
        "Memory usage %",
        "# VMs",
        "ESX Version",
        "Vendor",
        "Model",
    ]
    rows = [
        [
            host.name, host.site, f"cl-{host.name.split('-')[1]}", "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", 1995,
            2, host.cores // 2,
            host.cores, dice.randint(8, 70), host.memory_mib, dice.randint(30, 90),
            sum(s.host == host.name for s in estate), host.version,
            "Example Systems", "R740",
        ]
        for host in hosts
    ]  # fmt: skip
    _sheet(book, "vHost", header, rows)
    header = [
        "Timeslot", "Source server name", "Source IP", "Source application", "Source process",
        "Destination server name", "Destination IP",
        "Destination application", "Destination process", "Destination port",
    ]  # fmt: skip
    _sheet(book, "Dependencies", header, list(_connections(dice, estate)))
    book.close()


def _sheet(book: xlsxwriter.Workbook, name: str, header: list[str], rows: Iterable[list[Any] | None]) -> None:
    sheet = book.add_worksheet(name)
    sheet.write_row(0, 0, header)
    for number, row in enumerate(rows, 1):
        if row is not None:
            sheet.write_row(number, 0, row)


# --- connections ------------------------------------------------------------------------------------------------


_Seen = tuple[_Server, str, "_Server | tuple[str, str]", str, str | None, int]
"""Client, its process, the server (or name and address of one outside), its process, its application, port."""
_OUTSIDE = (
    ("mainframe01", "10.99.0.10"),
    ("old-fileserver", "10.99.0.23"),
    ("", "52.95.110.1"),
    ("sap-router", "10.99.0.40"),
)
_SHARED = (
    ("directory", 389, "lsass.exe", 0.6),
    ("monitoring", 10051, "zabbix_server", 0.6),
    ("backup", 1556, "pbx_exchange.exe", 0.6),
    ("gateway", 443, "envoy", 0.45),
)


def _inside_applications(dice: random.Random, running: list[_Server]) -> Iterable[_Seen]:
    """web to app, app to database, and now and then one application to another and back."""
    stacks: dict[tuple[str, str], dict[str, list[_Server]]] = {}
    for server in running:
        if server.application:
            stacks.setdefault((server.application, server.environment), {}).setdefault(server.tier, []).append(server)
    for tiers in stacks.values():
        for app in tiers.get("app", []):
            yield from ((web, "nginx", app, "java", app.application, 8080) for web in tiers.get("web", []))
            for db in tiers.get("db", []):
                if db.database:
                    yield app, "java", db, db.database[1], db.application, db.database[0]
    production = [tiers["app"][0] for (_, kind), tiers in stacks.items() if kind == "production" and "app" in tiers]
    for app in production:
        for other in dice.sample(production, min(len(production), dice.choice((0, 0, 1)))):
            if other is not app:
                yield app, "java", other, "java", other.application, 443
                if dice.random() < 0.3:
                    yield other, "java", app, "java", app.application, 8443


def _across_applications(dice: random.Random, running: list[_Server]) -> Iterable[_Seen]:
    """Shared services, machines outside the inventory, and one machine talking to itself."""
    by_tier = {server.tier: server for server in running if server.application is None}
    for server in running:
        agent = "svchost.exe" if server.family == "windows" else "agentd"
        for tier, port, process, share in _SHARED:
            shared = by_tier.get(tier)
            if shared and shared is not server and dice.random() < share:
                yield server, agent, shared, process, None, port
    for server in dice.sample(running, max(3, len(running) // 25)):
        yield server, "java", dice.choice(_OUTSIDE), "", None, dice.choice((443, 445, 3200))
    lonely = dice.choice(running)
    yield lonely, "redis-cli", lonely, "redis-server", lonely.application, 6379


def _connections(dice: random.Random, estate: list[_Server]) -> Iterable[list[Any] | None]:
    running = [server for server in estate if server.on]
    seen = [*_inside_applications(dice, running), *_across_applications(dice, running)]
    for at, (client, process, target, answering, application, port) in enumerate(seen):
        name, address = (target.name, target.address) if isinstance(target, _Server) else target
        for slot in range(dice.choice((1, 1, 2, 3))):
            source = client.name if dice.random() > 0.04 else _other_spelling(dice, client.name)
            yield [
                (_START + dt.timedelta(hours=6 * slot)).strftime("%Y-%m-%d %H:%M"), source, client.address,
                client.application or "",
                process, name, address, application or "", answering, port,
            ]  # fmt: skip
        if at % 211 == 210:
            yield None


# --- plain list -------------------------------------------------------------------------------------------------


def _write_csv(path: Path, dice: random.Random, estate: list[_Server], hosts: list[_Host]) -> None:
    header = [
        "Server Name", "FQDN", "IP Address", "Operating System", "vCPU", "Memory (MB)", "Storage (GB)", "Environment",
        "Location",
        "Criticality", "Business Owner", "Technical Owner", "Application", "Power State", "CPU Utilization %",
        "Server Role",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for server in estate:
        configured, tools = server.system
        rows.append(
            [
                server.name,
                f"{server.name}.{_DOMAIN}" if dice.random() > 0.2 else "",
                _maybe(dice, server.address, 0.05),
                tools if dice.random() > 0.1 else configured,
                server.cpus if dice.random() > 0.02 else -1,
                f"{server.memory_mib:,}" if dice.random() < 0.1 else server.memory_mib,
                round(sum(server.disks_mib) / 1024, 1),
                _environment(dice, server),
                _maybe(dice, server.location),
                _maybe(dice, server.criticality),
                _maybe(dice, server.owner),
                _maybe(dice, server.contact),
                _maybe(dice, server.application),
                "on" if server.on else "off",
                round(dice.uniform(1, 80), 1) if server.on else -1,
                server.tier,
            ]
        )
    for host in hosts:
        usage = dice.randint(8, 70)
        rows.append(
            [
                host.name,
                host.name,
                "",
                host.version,
                host.cores,
                host.memory_mib,
                "",
                "Production",
                host.site,
                "",
                "",
                "",
                "",
                "on",
                usage,
                "hypervisor",
            ]
        )
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for row in _faulty_rows(dice, header, rows, repeated=0.03):
            writer.writerow(row if row is not None else [])
