"""What a column can mean: the one vocabulary of targets, with the words estates use for them.

A target means the same in every table; which targets a table can have depends on its role. Clean values: texts, lists
of texts, numbers in the target's own measure (GiB, percent, MB/s, operations per second), booleans, ISO 8601 dates.
"""

from __future__ import annotations

from dataclasses import dataclass

from estate.numbers import GIB, MB_PER_S
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, MACHINES, PERFORMANCE, SOFTWARE, TAGS

TEXT, LIST, NUMBER, FLAG, DATE = "text", "list", "number", "flag", "date"
"""The kinds of clean values."""


@dataclass(frozen=True, slots=True)
class Target:
    """One meaning of a column."""

    name: str
    description: str
    kind: str = TEXT
    measure: str | None = None
    """What a number counts: `GiB`, `%`, `MB/s`, `1/s`, `count`."""


def _targets(kind: str, measure: str | None = None, /, **described: str) -> dict[str, Target]:
    return {name: Target(name, text, kind, measure) for name, text in described.items()}


TARGETS: dict[str, Target] = (
    _targets(
        TEXT,
        name="what people call the machine (of a table of applications: the application)",
        hostname="its host name without the domain",
        fqdn="its host name with the domain",
    )
    | _targets(LIST, ip_addresses="its addresses", mac_addresses="its hardware addresses")
    | _targets(
        TEXT,
        serial_number="serial number of the hardware",
        uuid="universal identifier of the machine (SMBIOS or instance UUID)",
        external_id="the source's own key of the machine",
        operating_system="operating system, with or without version",
        os_version="version of the operating system",
    )
    | _targets(NUMBER, "count", cpu_cores="logical processors, a whole number")
    | _targets(
        NUMBER,
        "GiB",
        memory_gb="memory in GiB",
        storage_gb="allocated storage in GiB",
        memory_used_gb="memory in use in GiB",
        storage_used_gb="storage in use in GiB",
    )
    | _targets(
        TEXT,
        environment="production, test, ...",
        location="site or data centre",
        criticality="critical, high, medium, low",
        business_owner="who answers for it in the business",
        technical_owner="who runs it",
        department="the department or business unit it belongs to",
        application_name="the application it serves",
        description="what it is, in words",
        power_state="on, off, suspended",
    )
    | _targets(
        NUMBER,
        "%",
        cpu_utilization_percent="how busy the processors are on average, 0..100",
        cpu_utilization_peak_percent="the same at its peak",
        cpu_utilization_p95_percent="the same, 95th percentile",
        memory_utilization_percent="how full the memory is on average, 0..100",
        memory_utilization_peak_percent="the same at its peak",
        memory_utilization_p95_percent="the same, 95th percentile",
    )
    | _targets(NUMBER, "1/s", disk_iops="disk operations per second; read and write columns are added")
    | _targets(
        NUMBER,
        "MB/s",
        disk_mb_per_s="disk throughput in MB/s; read and write columns are added",
        network_mb_per_s="network throughput in MB/s; in and out columns are added",
    )
    | _targets(
        TEXT,
        asset_type="server, virtual machine, database, ...",
        role="web, app, db, ... : evidence for the type",
        detail_key="which disk, network card or processor the row is about",
        runs_on="the hypervisor host or cluster node it runs on",
        manufacturer="who made the hardware",
        model="model of the hardware",
    )
    | _targets(
        FLAG,
        has_database="true when a database engine was found on it",
        is_template="true for a template",
        is_placeholder="true for a replication placeholder",
        is_physical="true for a machine that is no virtual one",
    )
    | _targets(LIST, software="products installed on it", technologies="languages, frameworks, engines it is built on")
    | _targets(TEXT, software_version="version of the product", software_vendor="who makes the product")
    | _targets(DATE, last_seen="when the source last saw or changed it")
    | _targets(
        LIST,
        depends_on="applications or machines the application needs",
        hosts="machines the application runs on",
        databases="databases the application uses",
    )
    | _targets(TEXT, strategy="6R strategy as the source states it", wave="migration wave as the source states it")
    | _targets(NUMBER, "count", users_count="how many people use the application")
    | _targets(DATE, end_of_support="when support ends, as the source states it")
    | _targets(
        TEXT,
        source_name="the machine that opens the connection",
        source_ip="its address",
        source_application="its application",
        source_process="its process",
        target_name="the machine that answers",
        target_ip="its address",
        target_application="its application",
        target_process="its process",
    )
    | _targets(NUMBER, "count", port="the port it answers on", source_port="the port it was asked from")
    | _targets(
        TEXT,
        protocol="tcp, udp",
        relation="how one depends on the other: depends on, runs on, northbound, ...",
        direction="inbound, outbound, northbound, southbound",
    )
    | _targets(DATE, observed_at="when the connection was seen", first_seen="when it was first seen")
    | _targets(NUMBER, "count", bytes="how many bytes went over it", connections="how many connections were seen")
    | _targets(DATE, measured_at="when the measurement was taken")
    | _targets(TEXT, licence_metric="what the licence counts: cores, users, ...")
    | _targets(NUMBER, "count", licence_quantity="how many of it were bought")
    | _targets(DATE, licence_expires="when the licence or its maintenance ends")
    | _targets(TEXT, tag_key="name of the tag", tag_value="value of the tag")
    | _targets(TEXT, custom_attributes="kept under the column's own name")
)

NAME_TARGETS = ("name", "hostname", "fqdn")
IDENTITY_TARGETS = (*NAME_TARGETS, "external_id", "uuid", "serial_number", "ip_addresses")
"""What can say whose measurement, disk, tag or product a row is."""
SIZE_TARGETS = tuple(name for name, target in TARGETS.items() if target.measure == "GiB")
PERCENT_TARGETS = tuple(name for name, target in TARGETS.items() if target.measure == "%")
RATE_TARGETS = tuple(name for name, target in TARGETS.items() if target.measure == "MB/s")
NUMBER_TARGETS = tuple(name for name, target in TARGETS.items() if target.kind == NUMBER)
DATE_TARGETS = tuple(name for name, target in TARGETS.items() if target.kind == DATE)
UTILIZATION_TARGETS = (*PERCENT_TARGETS, "disk_iops", *RATE_TARGETS, "memory_used_gb", "storage_used_gb")

ADDED_TARGETS = (
    "storage_gb", "storage_used_gb", "disk_iops", "disk_mb_per_s", "network_mb_per_s", "bytes", "connections",
)  # fmt: skip
"""Several columns of one rank are parts of these (disk 1, disk 2; read, write; sent, received): they are added."""
MANY_TARGETS = frozenset(
    {
        "ip_addresses", "mac_addresses", "uuid", "external_id", "operating_system", "technologies", "software",
        "depends_on", "hosts", "databases", "custom_attributes", *ADDED_TARGETS,
    }
)  # fmt: skip
"""Targets that several columns of one table may have."""

_ESTATE = (
    "environment", "location", "criticality", "business_owner", "technical_owner", "department", "description",
    "application_name",
)  # fmt: skip
_MACHINE = (
    *NAME_TARGETS, "ip_addresses", "mac_addresses", "serial_number", "uuid", "external_id", "operating_system",
    "os_version", "cpu_cores", "memory_gb", "storage_gb", "memory_used_gb", "storage_used_gb", *_ESTATE, "power_state",
    *PERCENT_TARGETS, "disk_iops", *RATE_TARGETS, "asset_type", "role", "has_database", "is_template", "is_placeholder",
    "is_physical", "runs_on", "manufacturer", "model", "software", "software_version", "software_vendor",
    "technologies", "last_seen", "custom_attributes",
)  # fmt: skip
_WHOSE = (*NAME_TARGETS, "external_id", "uuid", "serial_number", "ip_addresses")

ROLE_TARGETS: dict[str, tuple[str, ...]] = {
    MACHINES: _MACHINE,
    DETAIL: (*_MACHINE, "detail_key"),
    APPLICATIONS: (
        "name", *(name for name in _ESTATE if name != "application_name"), "technologies", "depends_on", "hosts",
        "databases", "strategy", "wave", "users_count", "end_of_support", "external_id", "last_seen",
        "custom_attributes",
    ),
    CONNECTIONS: (
        *(f"{end}_{what}" for end in ("source", "target") for what in ("name", "ip", "application", "process")),
        "port", "source_port", "protocol", "relation", "direction", "observed_at", "first_seen", "last_seen", "bytes", "connections",
        "custom_attributes",
    ),
    PERFORMANCE: (*_WHOSE, "detail_key", "measured_at", *UTILIZATION_TARGETS, "cpu_cores", "memory_gb", "storage_gb",
                  "custom_attributes"),
    SOFTWARE: (*_WHOSE, "software", "software_version", "software_vendor", "licence_metric", "licence_quantity",
               "licence_expires", "last_seen", "custom_attributes"),
    TAGS: (*_WHOSE, "tag_key", "tag_value", "custom_attributes"),
}  # fmt: skip
"""Which targets the columns of a table of this role can have."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "server": (
        "name", "ip_addresses", "operating_system", "environment", "cpu_cores", "memory_gb", "business_owner",
    ),
    "application": ("name", "business_owner", "environment", "criticality"),
    "database": ("name", "business_owner", "environment", "os_version", "storage_gb", "criticality"),
    "network_device": ("name", "ip_addresses", "location", "manufacturer", "model"),
}  # fmt: skip
"""What an asset of a type should have to be judged. Only a name (and both ends of a connection) is insisted on."""
REQUIRED["virtual_machine"] = REQUIRED["server"]
REQUIRED_BY_ROLE: dict[str, tuple[str, ...]] = {
    MACHINES: REQUIRED["server"],
    APPLICATIONS: REQUIRED["application"],
    CONNECTIONS: ("source_name", "target_name"),
    DETAIL: ("name", "detail_key"),
    PERFORMANCE: ("name", "measured_at"),
    SOFTWARE: ("software", "software_version"),
    TAGS: ("name", "tag_key", "tag_value"),
}

TARGET_ALIASES = {
    "ip_address": "ip_addresses", "ip": "ip_addresses", "mac_address": "mac_addresses", "os": "operating_system",
    "os_type": "operating_system", "cpu": "cpu_cores", "memory": "memory_gb", "storage": "storage_gb",
    "owner": "business_owner", "application": "application_name", "source_server_name": "source_name",
    "destination_name": "target_name", "destination_server_name": "target_name", "destination_ip": "target_ip",
    "destination_application": "target_application", "destination_process": "target_process",
    "destination_port": "port", "target_port": "port", "serial": "serial_number", "host": "runs_on",
    "vendor": "software_vendor", "site": "location", "dependencies": "depends_on", "asset_name": "name",
}  # fmt: skip
"""Names a caller may use for a target."""

# --- units ------------------------------------------------------------------------------------------------------

PERCENT: dict[str, float] = {"%": 1.0, "fraction": 100.0}
"""How many percent one of the unit is."""
IN_VALUE = "in value"
"""Each cell says its own unit."""


def units_of(target: str) -> tuple[str, ...]:
    """The units a column of this target can be in; empty where it has none."""
    if target in SIZE_TARGETS or target == "bytes":
        return (*GIB, IN_VALUE)
    if target in RATE_TARGETS:
        return (*MB_PER_S, IN_VALUE)
    return tuple(PERCENT) if target in PERCENT_TARGETS else ()


# --- words ------------------------------------------------------------------------------------------------------

_NAMED: dict[str, tuple[str, ...]] = {
    "name": (
        "name", "server name", "machine name", "vm name", "virtual machine", "virtual machine name", "computer name",
        "device name", "ci name", "asset name", "node name", "system name", "instance name", "server", "machine", "vm",
        "computer", "configuration item", "node", "servername", "vmname", "machinename", "display name", "guest name",
        "device", "system", "object name", "resource name", "entity name", "host",
    ),
    "hostname": ("hostname", "host name", "netbios name", "short name", "hostnames"),
    "fqdn": ("fqdn", "dns name", "fully qualified domain name", "dns host name", "dns", "full computer name"),
    "ip_addresses": (
        "ip", "ip address", "ip addresses", "ipv4", "ipv4 address", "ipv6", "ipv6 address", "primary ip", "ip addr",
        "ips", "ipaddress", "primary ip address", "address list", "ipaddresses", "private ip", "private ip address",
        "network address",
    ),
    "serial_number": ("serial number", "serial", "serial no", "serialnumber", "service tag"),
    "uuid": ("uuid", "vm uuid", "bios uuid", "smbios uuid", "instance uuid", "sm bios id", "guid"),
    "external_id": ("machine id", "asset id", "sys id", "instance id", "external id", "server id", "device id",
                    "resource id", "ci id", "vm id", "object id", "asset tag", "agent id"),
}  # fmt: skip
_BUSINESS: dict[str, tuple[str, ...]] = {
    "environment": ("environment", "env", "stage", "landscape", "lifecycle", "life cycle", "environment type",
                    "deployment environment", "used for"),
    "location": ("location", "site", "datacenter", "data center", "data centre", "dc", "facility", "region", "city",
                 "hosting location", "availability zone"),
    "criticality": ("criticality", "business criticality", "application criticality", "importance", "priority",
                    "business impact", "criticality level"),
    "business_owner": ("business owner", "owner", "app owner", "application owner", "service owner",
                       "business contact", "csm", "e2e csm", "service manager", "customer service manager", "owned by",
                       "owner name", "product owner"),
    "technical_owner": ("technical owner", "tech lead", "technical lead", "system owner", "it owner", "support group",
                        "managed by", "technical contact", "administrator", "admin", "it contact", "server owner",
                        "assigned to"),
    "department": ("department", "business unit", "division", "cost center name", "org unit", "organizational unit",
                   "line of business", "lob", "business units"),
    "description": ("description", "short description", "purpose"),
}  # fmt: skip
_ALIASES_MACHINES: dict[str, tuple[str, ...]] = (
    _NAMED
    | _BUSINESS
    | {
        "mac_addresses": ("mac", "mac address", "mac addresses", "hardware address", "physical address", "macaddress"),
        "operating_system": ("os", "operating system", "os name", "guest os", "os family", "os type",
                             "guest operating system", "platform", "operating system name", "osname", "guest full name",
                             "os full name", "os description"),
        "os_version": ("os version", "operating system version", "os release", "version of os", "osversion",
                       "os level"),
        "cpu_cores": (
            "cpu", "cpus", "vcpu", "vcpus", "cores", "cpu cores", "cpu count", "num cpu", "number of cpus",
            "logical processors", "processors", "core count", "number of cores", "cpu number of logical cores",
            "no of cpu", "total cores", "processor count", "number processors", "number cores", "number cpus",
            "number vcpus", "logical cpus", "processor", "core", "logical cores", "processor cores", "cpu core",
            "number logical processors", "vcores",
        ),
        "memory_gb": ("memory", "ram", "mem", "memory size", "ram size", "installed memory", "memory capacity",
                      "physical memory", "vram", "memory total", "memory allocated", "configured memory", "main memory"),
        "storage_gb": (
            "storage", "disk", "disk size", "disk space", "disk capacity", "storage size", "provisioned storage",
            "allocated storage", "hdd", "storage capacity", "disk total", "provisioned", "disks size", "disk allocated",
            "hard disk", "provisioned space", "total disk", "drive size", "storage allocated", "storage provisioned",
            "disk storage", "ssd", "hard drive", "volume size", "disk provisioned", "disks",
        ),
        "storage_used_gb": ("storage used", "used storage", "disk used", "used disk", "used space", "space used",
                            "disk usage", "storage in use", "consumed storage", "storage consumed", "disk consumed",
                            "used disk space", "disk space used", "consumed space", "in use", "used capacity",
                            "storage usage"),
        "memory_used_gb": ("memory used", "used memory", "ram used", "used ram", "memory consumed", "consumed memory",
                           "active memory", "memory in use"),
        "application_name": ("application", "app", "application name", "app name", "business service", "service name",
                             "workload", "applications", "business application", "service"),
        "power_state": ("power state", "powerstate", "power status", "power stats", "power", "running state", "state",
                        "status", "machine status", "vm status", "server status"),
        "cpu_utilization_percent": (
            "cpu utilization", "cpu utilisation", "cpu usage", "cpu util", "cpu utilization percentage", "cpu percent",
            "avg cpu", "cpu usage percent", "cpu utilization percent", "cpu load", "average cpu", "cpu busy",
            "processor utilization", "processor time",
        ),
        "memory_utilization_percent": (
            "memory utilization", "memory utilisation", "memory usage", "mem util", "memory utilization percentage",
            "ram usage", "memory percent", "avg memory", "memory utilization percent", "mem usage", "ram utilization",
            "memory load", "average memory", "mem utilization",
        ),
        "disk_iops": ("iops", "disk iops", "disk read iops", "disk write iops", "read iops", "write iops",
                      "disk read ops", "disk write ops", "disk reads", "disk writes", "disk operations",
                      "disk read operations", "disk write operations", "disk read operations per second",
                      "disk write operations per second", "storage iops", "total iops"),
        "disk_mb_per_s": ("disk throughput", "disk read throughput", "disk write throughput", "disk io rate",
                          "storage throughput", "disk read", "disk write", "disk bandwidth"),
        "network_mb_per_s": ("network throughput", "network in", "network out", "network in throughput",
                             "network out throughput", "network usage", "net in", "net out", "net rx", "net tx",
                             "network rx", "network tx", "network rate", "network bandwidth used",
                             "network received", "network sent", "network transmit", "network receive"),
        "asset_type": ("asset type", "ci type", "ci class", "class", "type", "device type", "sys class name",
                       "classification", "category", "server type", "machine type"),
        "role": ("role", "server role", "tier", "server tier", "function", "server function", "application tier"),
        "runs_on": ("hypervisor host", "esx host", "esxi host", "vm host", "physical host", "host server",
                    "virtualization host", "runs on", "parent host", "hypervisor name", "host placement", "hosted on"),
        "manufacturer": ("manufacturer", "hardware vendor", "make", "hardware manufacturer", "vendor"),
        "model": ("model", "hardware model", "model id", "server model", "model name", "hardware type",
                  "model number"),
        "is_physical": ("is physical", "physical"),
        "is_template": ("template", "is template"),
        "software": ("installed software", "software", "installed products", "software installed"),
        "last_seen": ("last seen", "last discovered", "most recent discovery", "last updated", "last scan",
                      "last inventory", "last contact", "last scanned", "last discovery", "last reported"),
    }
)  # fmt: skip
_ALIASES_DETAIL = {
    "detail_key": ("disk", "drive", "partition", "volume", "mount point", "mountpoint", "filesystem", "file system",
                   "nic", "adapter", "interface", "disk name", "disk label", "lun", "network adapter", "drive letter",
                   "nic name", "interface name", "volume name", "disk id", "network card", "device"),
    "storage_gb": ("size", "capacity", "disk size", "total size", "disk capacity", "total", "storage", "drive size",
                   "volume size", "total space", "provisioned", "allocated", "disk space"),
    "storage_used_gb": ("used", "used space", "consumed", "in use", "disk used", "space used", "used size",
                        "used capacity"),
}  # fmt: skip
_ALIASES_APPLICATIONS: dict[str, tuple[str, ...]] = _BUSINESS | {
    "name": ("application name", "application", "app name", "app", "name", "apps", "application title", "system name",
             "service name", "business application", "solution", "business service", "product name", "service",
             "application portfolio name", "title", "system", "applications"),
    "technologies": ("technology", "technologies", "tech stack", "technology stack", "language", "languages",
                     "programming language", "framework", "frameworks", "platform", "runtime", "stack"),
    "depends_on": ("dependencies", "depends on", "dependency", "upstream", "interfaces", "integrations",
                   "depends", "related applications", "integrates with", "upstream dependencies"),
    "hosts": ("hosts", "server name", "host name", "hostname", "servers", "host names", "server names", "machines", "server list", "hostnames", "vms", "server",
              "virtual machines", "infrastructure"),
    "databases": ("dbs", "databases", "database", "db", "database name", "db name", "data stores"),
    "strategy": ("strategy", "r type", "migration strategy", "disposition", "treatment", "migration treatment",
                 "6 r", "7 r", "6r", "7r", "six r strategy", "rationalization", "migration approach", "6r strategy"),
    "wave": ("wave", "migration wave", "wave id", "wave name", "wave number", "application wave"),
    "users_count": ("number of users", "users", "user count", "number users", "users count", "no of users",
                    "total users"),
    "end_of_support": ("end of support", "end of support date", "eos", "eol", "end of life", "eos date",
                       "end of life date", "end support", "end life", "end support date", "end life date"),
    "external_id": ("application id", "app id", "apm id", "sys id", "ci id"),
    "last_seen": ("last updated", "last modified", "last reviewed"),
}  # fmt: skip
_ALIASES_CONNECTIONS: dict[str, tuple[str, ...]] = {
    "source_process": ("process", "process name"),
    "port": ("port", "destination port", "dest port", "dst port", "dport", "target port", "server port", "port number",
             "service port", "remote port", "listening port", "ports"),
    "protocol": ("protocol", "proto", "transport", "transport protocol", "ip protocol"),
    "relation": ("relation", "relationship", "relation type", "relationship type", "dependency type", "type",
                 "link type"),
    "direction": ("direction", "dependency direction", "flow direction"),
    "observed_at": ("timeslot", "timestamp", "time", "date", "observed at", "time slot", "start time", "time stamp"),
    "first_seen": ("first seen", "first observed", "first time"),
    "last_seen": ("last seen", "last observed", "last time"),
    "bytes": ("bytes", "total bytes", "byte count", "bytes total", "traffic bytes", "bytes transferred", "volume",
              "bytes sent", "bytes received", "sent bytes", "received bytes", "bytes in", "bytes out", "sent", "received",
              "data sent", "data received", "source bytes", "destination bytes", "src bytes", "dst bytes", "client bytes",
              "server bytes", "bytes source", "bytes destination", "traffic", "traffic volume", "data transferred", "data volume"),
    "connections": ("connections", "connection count", "number connections", "count", "hits", "sessions", "flows",
                    "number of connections", "flow count", "session count", "connections in", "connections out",
                    "inbound connections", "outbound connections"),
}  # fmt: skip
_ALIASES_PERFORMANCE: dict[str, tuple[str, ...]] = {
    "name": (*_NAMED["name"], "object", "resource", "entity", "element", "managed object"),
    "detail_key": ("disk", "drive", "volume", "mount point", "filesystem", "partition", "nic", "adapter", "interface",
                   "network adapter", "instance", "disk name", "core id", "cpu id", "device name", "lun", "counter instance"),
    "measured_at": ("timestamp", "time", "date", "date time", "datetime", "measured at", "collection time", "interval",
                    "timeslot", "time stamp", "sample time", "recorded at", "hour", "day", "timeslot start"),
}  # fmt: skip
_ALIASES_SOFTWARE: dict[str, tuple[str, ...]] = {
    "name": (*_NAMED["name"], "installed on", "installed on server", "deployed on", "running on", "used on"),
    "software": ("software", "software name", "product", "product name", "application", "application name", "program",
                 "title", "installed software", "package", "package name", "display name", "software product",
                 "app name", "software title", "program name", "licence name", "license name", "name"),
    "software_version": ("version", "software version", "product version", "release", "application version",
                         "display version"),
    "software_vendor": ("vendor", "publisher", "provider", "manufacturer", "software vendor", "application provider",
                        "software publisher", "supplier"),
    "licence_metric": ("metric", "licence metric", "license metric", "licence type", "license type", "licence model",
                       "license model", "unit of measure", "cost unit", "metric type"),
    "licence_quantity": ("quantity", "licence count", "license count", "seats", "entitlements", "licences", "licenses",
                         "number of licences", "number of licenses", "entitlement quantity", "licence quantity",
                         "license quantity", "number licences", "number licenses", "purchased", "total licenses",
                         "qty", "owned"),
    "licence_expires": ("expires", "expiry date", "expiration date", "valid until", "end date", "maintenance end",
                        "expiry", "licence expires", "license expires", "support end date", "license end date",
                        "maintenance end date", "contract end"),
    "last_seen": ("last seen", "last used", "last scan"),
}  # fmt: skip
_ALIASES_TAGS = {
    "tag_key": ("key", "tag key", "tag name", "attribute", "tag", "attribute name", "property", "label"),
    "tag_value": ("value", "tag value", "attribute value", "property value", "label value"),
}  # fmt: skip
_MEASURED = (*UTILIZATION_TARGETS, "cpu_cores", "memory_gb", "storage_gb")

ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    MACHINES: _ALIASES_MACHINES,
    DETAIL: _ALIASES_MACHINES | _ALIASES_DETAIL,
    APPLICATIONS: _ALIASES_APPLICATIONS,
    CONNECTIONS: _ALIASES_CONNECTIONS,
    PERFORMANCE: _NAMED | {name: _ALIASES_MACHINES[name] for name in _MEASURED if name in _ALIASES_MACHINES}
    | _ALIASES_PERFORMANCE,
    SOFTWARE: _NAMED | _ALIASES_SOFTWARE,
    TAGS: _NAMED | _ALIASES_TAGS,
}  # fmt: skip
"""By role: the words that say a target, in English; `estate.lexicon` brings other languages and spellings there."""
