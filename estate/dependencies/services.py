"""Ports, processes and addresses: what they serve, and which of them say nothing about who belongs together."""

from __future__ import annotations

import re
from functools import lru_cache

from estate.vocabulary import is_public, parse_ip

NOISE_PORTS: dict[int, str] = {
    22: "SSH administration", 23: "Telnet administration", 42: "WINS", 49: "TACACS+", 53: "DNS", 67: "DHCP",
    68: "DHCP", 88: "Kerberos", 111: "RPC port mapper", 123: "NTP", 135: "RPC endpoint mapper",
    137: "NetBIOS", 138: "NetBIOS", 139: "NetBIOS", 161: "SNMP", 162: "SNMP", 199: "SNMP multiplexer", 389: "LDAP",
    445: "SMB", 464: "Kerberos", 514: "syslog", 546: "DHCP", 547: "DHCP", 623: "IPMI", 636: "LDAP", 902: "vSphere",
    903: "vSphere", 1270: "SCOM", 1514: "Wazuh", 1515: "Wazuh",
    1556: "NetBackup", 1645: "RADIUS", 1646: "RADIUS", 1688: "Windows activation", 1812: "RADIUS", 1813: "RADIUS",
    1900: "SSDP", 2381: "HP System Management", 2701: "Configuration Manager", 2967: "Symantec Endpoint Protection",
    3268: "global catalog", 3269: "global catalog", 3389: "RDP administration", 3702: "WS-Discovery",
    4118: "Deep Security", 4119: "Deep Security", 4120: "Deep Security", 4505: "Salt", 4506: "Salt", 4750: "BladeLogic",
    5044: "Beats", 5353: "multicast DNS", 5355: "LLMNR", 5665: "Icinga", 5666: "Nagios", 5667: "Nagios", 5723: "SCOM",
    5724: "SCOM", 5900: "VNC administration", 5985: "WinRM administration", 5986: "WinRM administration",
    6160: "Veeam", 6162: "Veeam", 6514: "syslog", 6556: "Checkmk", 7680: "Delivery Optimization",
    8089: "Splunk", 8125: "StatsD", 8126: "Datadog", 8140: "Puppet",
    8400: "Commvault", 8401: "Commvault", 8402: "Commvault", 8403: "Commvault", 8530: "WSUS", 8531: "WSUS",
    9100: "Prometheus exporter", 9182: "Prometheus exporter", 9392: "Veeam", 9393: "Veeam", 9394: "Veeam",
    9395: "Veeam", 9997: "Splunk", 10050: "Zabbix", 10051: "Zabbix", 10123: "Configuration Manager",
    13720: "NetBackup", 13724: "NetBackup", 13782: "NetBackup", 17472: "Tanium", 24224: "Fluentd", 52311: "BigFix",
}  # fmt: skip
"""Ports of services that every machine uses (IANA names, and common products): they say nothing about who belongs
together."""

_KIND_PORTS = {
    "database": (
        1433, 1434, 1521, 1522, 1526, 1527, 3050, 3306, 5432, 5433, 5439, 6379, 7687, 8529, 9042, 9160,
        26257, 27017, 27018, 27019, 28015, 30013, 30015, 33060, 50000, 50001,
    ),
    "web": (80, 443, 3000, 4443, 7001, 7002, 8000, 8008, 8080, 8081, 8443, 8880, 8888, 9080, 9443),
    "file": (20, 21, 445, 548, 873, 989, 990, 2049, 3260),
    "messaging": (1414, 1883, 4222, 5222, 5671, 5672, 8883, 9092, 9093, 9094, 61613, 61616, 61617),
    "mail": (25, 110, 143, 465, 587, 993, 995),
    "directory": (88, 389, 464, 636, 3268, 3269),
}  # fmt: skip
KINDS: dict[int, str] = {port: kind for kind, ports in _KIND_PORTS.items() for port in ports}

_AGENTS = {
    "monitoring": (
        "zabbix_agentd", "zabbix_agent2", "zabbix_server", "zabbix_proxy", "nscp", "nrpe", "nagios", "icinga2",
        "healthservice", "monitoringhost", "node_exporter", "windows_exporter", "wmi_exporter",
        "telegraf", "collectd", "datadog-agent", "trace-agent", "process-agent", "newrelic-infra",
        "newrelic-daemon", "oneagentos", "oneagentwatchdog", "check_mk_agent", "cmk-agent-ctl", "snmpd", "snmptrapd",
        "scxadmin", "omiagent", "omiserver", "microsoftdependencyagent", "mmaextensionheartbeatservice",
        "azuremonitoragent", "amazon-cloudwatch-agent", "solarwinds.agent.service", "swjobengineworker2",
    ),
    "logging": (
        "splunkd", "splunk-winevtlog", "filebeat", "winlogbeat", "metricbeat", "auditbeat", "packetbeat",
        "fluentd", "fluent-bit", "td-agent", "nxlog", "rsyslogd", "syslogd", "syslog-ng",
    ),
    "backup": (
        "bpcd", "bprd", "bpbkar32", "bpbkar", "nbdisco", "vnetd", "pbx_exchange", "cvd", "clbackup", "gxcvd", "cvfwd",
        "dsmc", "dsmcad", "dsmsvc", "dsmcsvc", "veeamagent", "veeam.backup.service", "veeamdeploymentsvc",
        "veeamtransportsvc", "nsrexecd", "avagent", "beremote", "rubrik", "omniinet", "vxmon",
    ),
    "antivirus": (
        "masvc", "macmnsvc", "mcshield", "mfemms", "ccsvchst", "sepmasterservice", "ds_agent", "tmlisten",
        "ntrtscan", "csfalconservice", "falcon-sensor", "mssense", "msmpeng", "wdavdaemon", "sentinelagent",
        "sentinelone", "cylancesvc", "ekrn", "savservice", "sophosfilescanner", "avp", "kavfs", "clamd", "freshclam",
        "wazuh-agentd", "ossec-agentd", "cbdefense", "xagt", "taniumclient", "qualysagent",
        "qualys-cloud-agent", "nessusd", "nessus-service", "nessus-agent-module", "rapid7_endpoint_broker",
    ),
    "administration": (
        "ccmexec", "besclient", "puppet", "puppet-agent", "chef-client", "salt-minion", "salt-master", "ansible",
        "sshd", "mstsc", "wsmprovhost", "waagent", "himds", "gc_service", "amazon-ssm-agent", "ssm-agent-worker",
        "rscd", "opcmona", "ovcd", "wuauclt",
    ),
    "time": ("ntpd", "chronyd", "w32time", "systemd-timesyncd"),
}  # fmt: skip
AGENTS: dict[str, str] = {process: service for service, processes in _AGENTS.items() for process in processes}
"""Programs that are on every machine and talk to their own server."""

_KIND_PROCESSES = {
    "database": (
        "sqlservr", "mysqld", "mariadbd", "postgres", "postmaster", "oracle", "tnslsnr", "mongod", "mongos", "db2sysc",
        "redis-server", "cassandra", "hdbindexserver", "hdbnameserver", "sqlbrowser", "influxd", "couchdb", "fbserver",
    ),
    "web": ("httpd", "apache2", "nginx", "w3wp", "caddy", "lighttpd", "iisexpress", "haproxy", "envoy", "traefik"),
    "file": ("nfsd", "smbd", "vsftpd", "proftpd"),
    "messaging": ("rabbitmq", "mqsvc", "amqzxma0", "amqrmppa", "mosquitto", "nats-server"),
    "mail": ("postfix", "sendmail", "dovecot", "exim", "edgetransport", "store.worker"),
    "directory": ("slapd", "ns-slapd", "lsass"),
}  # fmt: skip
PROCESS_KINDS: dict[str, str] = {process: kind for kind, programs in _KIND_PROCESSES.items() for process in programs}

EPHEMERAL_FROM = 32768
"""Where Linux begins to number the ports of clients (`net.ipv4.ip_local_port_range`); Windows and IANA at 49152."""


def is_service(port: int) -> bool:
    """Is this a port that services listen on?"""
    return port < 1024 or port in KINDS or port in NOISE_PORTS


def is_ephemeral(port: int) -> bool:
    """Is this a port that clients are given for one connection?"""
    return port >= EPHEMERAL_FROM and not is_service(port)


@lru_cache(maxsize=65536)
def program(process: str) -> str:
    """The program of a process without folder, arguments and `.exe`, lower case: `C:\\x\\Nginx.exe -g` -> `nginx`."""
    text = process.strip().strip('"').lower()
    end = text.find(".exe")
    text = text[:end] if end > 0 else re.split(r"[\s:]", text, maxsplit=1)[0]
    return re.split(r"[\\/]", text)[-1]


def kind_by_port(port: int | None) -> str | None:
    """`database, web, file, messaging, mail, directory, management`; None for a port that says nothing."""
    if port is None:
        return None
    return KINDS.get(port, "management" if port in NOISE_PORTS else None)


@lru_cache(maxsize=65536)
def is_outside(text: str) -> bool:
    """Is this an address of the internet?"""
    address = parse_ip(text)
    return address is not None and is_public(address)
