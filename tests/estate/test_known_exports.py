"""The exports of known tools, by the headers their versions write: what each table is and what its columns mean."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from estate.formats import BY_KIND, EXPORTS, recognise, recognised_as
from estate.mapping import decide, suggest, uses
from estate.mapping.suggestion import UNUSED
from estate.readers import read
from estate.roles import IGNORED
from estate.tables import Cell, Table, TableBuilder, Workbook
from estate.targets import ROLE_TARGETS, TARGETS
from tests.estate.support import RVTOOLS, real

_COMMON = "Annotation, Datacenter, Cluster, Host, Folder, OS according to the configuration file, OS according to the VMware Tools, VM ID, VM UUID, VI SDK Server, VI SDK UUID"
_VM = "VM, Powerstate, Template, SRM Placeholder"
_OF_VM: dict[str, tuple[str | None, str | None]] = {
    "VM": ("name", None),
    "Powerstate": ("power_state", None),
    "Datacenter": ("location", None),
    "OS according to the VMware Tools": ("operating_system", None),
    "VM UUID": ("uuid", None),
}

# (kind, header list, role, {column: (target, unit)})
CASES: list[tuple[str, str, str, dict[str, tuple[str | None, str | None]]]] = [
    (
        "rvtools.vinfo",
        f"{_VM}, DNS Name, Guest state, CPUs, Memory, NICs, Disks, Total disk capacity MiB, Primary IP Address, Network #1, Provisioned MiB, In Use MiB, {_COMMON}",
        "machines",
        _OF_VM | {"DNS Name": ("fqdn", None), "CPUs": ("cpu_cores", None), "Memory": ("memory_gb", "MiB"),
                  "Total disk capacity MiB": ("storage_gb", "MiB"), "In Use MiB": ("storage_used_gb", "MiB"),
                  "Primary IP Address": ("ip_addresses", None), "Host": ("runs_on", None),
                  "Provisioned MiB": (None, None), "VM ID": ("custom_attributes", None)},
    ),
    (
        "rvtools.vinfo",
        f"{_VM}, DNS Name, CPUs, Memory, NICs, Disks, Network #1, Provisioned MB, In Use MB, {_COMMON}",
        "machines",
        _OF_VM | {"Memory": ("memory_gb", "MiB"), "Provisioned MB": ("storage_gb", "MB"),
                  "In Use MB": ("storage_used_gb", "MB")},
    ),
    (
        "rvtools.vinfo",
        "vInfoVMName, vInfoPowerstate, vInfoTemplate, vInfoSRMPlaceHolder, vInfoGuestHostName, vInfoCPUs, vInfoMemory, vInfoPrimaryIPAddress, vInfoInUse, vInfoProvisioned, vInfoOSTools, vInfoOS, vInfoHost, vInfoDataCenter, vInfoCluster, vInfoUUID",
        "machines",
        {"vInfoVMName": ("name", None), "vInfoGuestHostName": ("fqdn", None), "vInfoCPUs": ("cpu_cores", None),
         "vInfoMemory": ("memory_gb", "MiB"), "vInfoProvisioned": ("storage_gb", "MiB"), "vInfoUUID": ("uuid", None),
         "vInfoInUse": ("storage_used_gb", "MiB"), "vInfoHost": ("runs_on", None),
         "vInfoOSTools": ("operating_system", None), "vInfoPrimaryIPAddress": ("ip_addresses", None)},
    ),
    ("rvtools.vcpu", f"{_VM}, CPUs, Sockets, Cores p/s, Max, Overall, Level, Shares, Reservation, {_COMMON}", "machines",
     _OF_VM | {"CPUs": ("cpu_cores", None)}),
    ("rvtools.vmemory", f"{_VM}, Size MiB, Overhead, Max, Consumed, Ballooned, Active, Shares, Reservation, Limit, {_COMMON}",
     "machines", _OF_VM | {"Size MiB": ("memory_gb", "MiB")}),
    ("rvtools.vmemory", f"{_VM}, Size MB, Overhead, Max, Consumed, Reservation, Limit, {_COMMON}", "machines",
     {"Size MB": ("memory_gb", "MB")}),
    ("rvtools.vdisk", f"{_VM}, Disk, Disk Key, Disk UUID, Disk Path, Capacity MiB, Raw, Disk Mode, Thin, Controller, Path, {_COMMON}",
     "detail", _OF_VM | {"Disk": ("detail_key", None), "Capacity MiB": ("storage_gb", "MiB")}),
    ("rvtools.vdisk", f"{_VM}, Disk, Capacity MB, Raw, Disk Mode, Thin, Controller, {_COMMON}", "detail",
     {"Capacity MB": ("storage_gb", "MB")}),
    ("rvtools.vpartition", f"{_VM}, Disk Key, Disk, Capacity MiB, Consumed MiB, Free MiB, Free %, {_COMMON}", "detail",
     _OF_VM | {"Disk": ("detail_key", None), "Consumed MiB": ("storage_used_gb", "MiB")}),
    ("rvtools.vpartition", f"{_VM}, Disk, Capacity MB, Consumed MB, Free MB, Free %, {_COMMON}", "detail",
     {"Consumed MB": ("storage_used_gb", "MB")}),
    ("rvtools.vnetwork", f"{_VM}, NIC label, Adapter, Network, Switch, Connected, Mac Address, Type, IPv4 Address, IPv6 Address, {_COMMON}",
     "detail", _OF_VM | {"NIC label": ("detail_key", None), "Mac Address": ("mac_addresses", None),
                         "IPv4 Address": ("ip_addresses", None), "IPv6 Address": ("ip_addresses", None)}),
    ("rvtools.vnetwork", f"{_VM}, Adapter, Network, Switch, Connected, Mac Address, Type, IP Address, {_COMMON}", "detail",
     {"Adapter": ("detail_key", None), "IP Address": ("ip_addresses", None)}),
    ("rvtools.vhost",
     "Host, Datacenter, Cluster, CPU Model, Speed, # CPU, Cores per CPU, # Cores, CPU usage %, # Memory, Memory usage %, # VMs, ESX Version, Vendor, Model, Serial number, Service tag, Object ID, UUID",
     "machines",
     {"Host": ("name", None), "# Cores": ("cpu_cores", None), "# Memory": ("memory_gb", "MiB"),
      "CPU usage %": ("cpu_utilization_percent", "%"), "Memory usage %": ("memory_utilization_percent", "%"),
      "ESX Version": ("operating_system", None), "Vendor": ("manufacturer", None), "Model": ("model", None),
      "Serial number": ("serial_number", None), "UUID": ("uuid", None), "Datacenter": ("location", None)}),
    ("rvtools.vsc_vmk", "Host, Datacenter, Cluster, Port Group, Device, Mac Address, DHCP, IP Address, IP 6 Address, Subnet mask, Gateway, MTU",
     "detail", {"Host": ("name", None), "Device": ("detail_key", None), "IP Address": ("ip_addresses", None),
                "Mac Address": ("mac_addresses", None)}),
    ("rvtools.vnic", "Host, Datacenter, Cluster, Network Device, Driver, Speed, Duplex, MAC, Switch, Uplink port, PCI, WakeOn", "detail",
     {"Host": ("name", None), "Network Device": ("detail_key", None), "MAC": ("mac_addresses", None)}),
    ("rvtools.vhba", "Host, Datacenter, Cluster, Device, Type, Status, Bus, Pci, Driver, Model, WWN", "detail",
     {"Host": ("name", None), "Device": ("detail_key", None)}),
    ("rvtools.vlicense", "Name, Key, Labels, Cost Unit, Total, Used, Expiration Date, Features, VI SDK Server", "software",
     {"Name": ("software", None), "Total": ("licence_quantity", None), "Cost Unit": ("licence_metric", None),
      "Expiration Date": ("licence_expires", None), "Used": ("custom_attributes", None)}),
    ("rvtools.vusb", f"{_VM}, Device Node, Device Type, Connected, Family, Speed, EHCI enabled, Bus number, {_COMMON}", "ignored", {}),
    ("rvtools.vcd", f"{_VM}, Device Node, Connected, Starts Connected, Device Type, {_COMMON}", "ignored", {}),
    ("rvtools.vsnapshot", f"VM, Powerstate, Name, Description, Date / time, Filename, Size MiB (vmsn), Size MiB (total), Quiesced, State, {_COMMON}", "ignored", {}),
    ("rvtools.vtools", f"{_VM}, VM Version, Tools, Tools Version, Required Version, Upgradeable, Sync time, {_COMMON}", "ignored", {}),
    ("rvtools.vrp", "Resource Pool name, Resource Pool path, Status, # VMs total, # VMs, CPU limit, Mem limit", "ignored", {}),
    ("rvtools.vcluster", "Name, Config status, NumHosts, TotalCpu, NumCpuCores, TotalMemory, HA enabled", "ignored", {}),
    ("rvtools.vswitch", "Host, Datacenter, Cluster, Switch, # Ports, Free Ports, Promiscuous Mode, Mac Changes, MTU", "ignored", {}),
    ("rvtools.vport", "Host, Datacenter, Cluster, Port Group, Switch, VLAN, Promiscuous Mode, Mac Changes", "ignored", {}),
    ("rvtools.dvswitch", "Switch, Datacenter, Name, Vendor, Version, Host members, Max Ports, # Ports", "ignored", {}),
    ("rvtools.dvport", "Port, Switch, Type, # Ports, VLAN, Allow Promiscuous, Active Uplink", "ignored", {}),
    ("rvtools.vdatastore", "Name, Config status, Address, Accessible, Type, # VMs, Capacity MiB, Provisioned MiB, In Use MiB, Free MiB, Free %, URL", "ignored", {}),
    ("rvtools.vmultipath", "Host, Cluster, Datacenter, Datastore, Disk, Display name, Policy, Path 1, Path 1 state, Path 2", "ignored", {}),
    ("rvtools.vfileinfo", "Friendly Path Name, File Name, File Type, File Size in bytes, Path", "ignored", {}),
    ("rvtools.vhealth", "Name, Message, Message type, VI SDK Server, VI SDK UUID", "ignored", {}),
    ("rvtools.vsource", "Name, OS type, API type, API version, Version, Patch level, Build, Fullname, Product line, Vendor", "ignored", {}),
    ("rvtools.vmetadata", "RVTools major version, RVTools version, xlsx creation datetime, Server", "ignored", {}),
    (
        "azure_migrate.discovery",
        "Machine Name, Environment, Software Inventory Count, SQL Discovery Server Count, Is SQL Service Present, Web Applications Count, Operating System, Cores, Memory (in MB), Total Disks, IP Addresses, MAC Addresses, Boot Type, Power Status, Support Status, First Discovery Time, Last Updated Time, Machine ID, Total Storage In Use (in GB)",
        "machines",
        {"Machine Name": ("name", None), "Environment": ("environment", None), "Cores": ("cpu_cores", None),
         "Memory (in MB)": ("memory_gb", "MB"), "IP Addresses": ("ip_addresses", None), "Power Status": ("power_state", None),
         "Machine ID": ("external_id", None), "Is SQL Service Present": ("has_database", None),
         "Last Updated Time": ("last_seen", None), "Total Storage In Use (in GB)": ("storage_gb", "GB")},
    ),
    (
        "azure_migrate.import_template",
        "*Server name, IP addresses, *Cores, *Memory (In MB), *OS name, OS version, OS architecture, Server type, Hypervisor, CPU utilization percentage, Memory utilization percentage, Network adapters, Network In throughput, Network Out throughput, Boot type, Number of disks, Storage in use (In GB), Disk 1 size (In GB), Disk 1 read throughput (MB per second), Disk 1 write throughput (MB per second), Disk 1 read ops (operations per second), Disk 1 write ops (operations per second), Disk 2 size (In GB)",
        "machines",
        {"*Server name": ("name", None), "*Cores": ("cpu_cores", None), "*Memory (In MB)": ("memory_gb", "MB"),
         "*OS name": ("operating_system", None), "OS version": ("os_version", None), "Server type": ("asset_type", None),
         "CPU utilization percentage": ("cpu_utilization_percent", "%"),
         "Network In throughput": ("network_mb_per_s", "MB/s"), "Disk 1 size (In GB)": ("storage_gb", "GB"),
         "Disk 2 size (In GB)": ("storage_gb", "GB"), "Storage in use (In GB)": ("storage_used_gb", "GB"),
         "Disk 1 read throughput (MB per second)": ("disk_mb_per_s", "MB/s"),
         "Disk 1 write ops (operations per second)": ("disk_iops", None)},
    ),
    (
        "azure_migrate.assessment",
        "Machine, VM host, Azure VM readiness, Azure readiness issues, Data collection issues, Recommended size, Compute monthly cost estimate USD, Storage monthly cost estimate USD, Operating system, Boot type, Cores, Memory(MB), CPU usage(%), Memory usage(%), Storage(GB), Standard HDD disks, Disk read(ops/sec), Disk write(ops/sec), Disk read(MBPS), Disk write(MBPS), Network adapters, IP address, MAC address, Network in(MBPS), Network out(MBPS), Group name",
        "machines",
        {"Machine": ("name", None), "VM host": ("runs_on", None), "Cores": ("cpu_cores", None), "Memory(MB)": ("memory_gb", "MB"),
         "CPU usage(%)": ("cpu_utilization_percent", "%"), "Memory usage(%)": ("memory_utilization_percent", "%"),
         "Storage(GB)": ("storage_gb", "GB"), "Disk read(ops/sec)": ("disk_iops", None),
         "Disk write(MBPS)": ("disk_mb_per_s", "MB/s"), "Network out(MBPS)": ("network_mb_per_s", "MB/s"),
         "Recommended size": ("custom_attributes", None), "Azure VM readiness": ("custom_attributes", None)},
    ),
    (
        "azure_migrate.assessment",
        "Machine Name, Environment, Azure VM Readiness, Azure VM Readiness - Warnings, Recommended VM Size, Monthly Compute Cost Estimate (Pay as you go), Operating System, Support Status, VM Host, Boot Type, Cores, Memory (in MB), CPU Utilization (in %), Memory Utilization (in %), Storage (in GB), Network Adapters, IP Addresses, MAC Addresses, Group Name, Machine ID",
        "machines",
        {"Machine Name": ("name", None), "Memory (in MB)": ("memory_gb", "MB"), "Storage (in GB)": ("storage_gb", "GB"),
         "CPU Utilization (in %)": ("cpu_utilization_percent", "%"), "Machine ID": ("external_id", None)},
    ),
    ("azure_migrate.assessed_disks",
     "Machine, Disk name, Azure disk readiness, Recommended disk size SKU, Recommended disk type, Source disk size(GB), Target disk size(GB), Disk read(MBPS), Disk write(MBPS), Disk read(ops/sec), Disk write(ops/sec)",
     "detail", {"Machine": ("name", None), "Disk name": ("detail_key", None), "Source disk size(GB)": ("storage_gb", "GB")}),
    ("azure_migrate.software", "MachineId, PowerStatus, DisplayName, ApplicationName, ApplicationVersion, ApplicationProvider, FeatureName",
     "software", {"MachineId": ("external_id", None), "DisplayName": ("name", None), "ApplicationName": ("software", None),
                  "ApplicationVersion": ("software_version", None), "ApplicationProvider": ("software_vendor", None)}),
    ("azure_migrate.dependencies",
     "Timeslot, Source server name, Source IP, Source application, Source process, Destination server name, Destination IP, Destination application, Destination process, Destination port",
     "connections", {"Timeslot": ("observed_at", None), "Source server name": ("source_name", None), "Source IP": ("source_ip", None),
                     "Destination process": ("target_process", None), "Destination port": ("port", None)}),
    ("azure_migrate.properties", "Tenant ID, Subscription, Resource Group, Azure Migrate Project Name, Workflow", "ignored", {}),
    (
        "aws_migration_hub.import",
        "ExternalId, SMBiosId, IPAddress, MACAddress, HostName, VMware.MoRefId, VMware.VCenterId, CPU.NumberOfProcessors, CPU.NumberOfCores, CPU.NumberOfLogicalCores, OS.Name, OS.Version, VMware.VMName, RAM.TotalSizeInMB, RAM.UsedSizeInMB.Avg, RAM.UsedSizeInMB.Max, CPU.UsagePct.Avg, CPU.UsagePct.Max, DiskReadsPerSecondInKB.Avg, DiskWritesPerSecondInKB.Avg, DiskReadsOpsPerSecond.Avg, DiskWritesOpsPerSecond.Avg, NetworkReadsPerSecondInKB.Avg, NetworkWritesPerSecondInKB.Avg, Applications, ApplicationWave, Tags, ServerId",
        "machines",
        {"ExternalId": ("external_id", None), "SMBiosId": ("uuid", None), "HostName": ("hostname", None),
         "VMware.VMName": ("name", None), "CPU.NumberOfLogicalCores": ("cpu_cores", None),
         "CPU.NumberOfCores": (None, None),
         "RAM.TotalSizeInMB": ("memory_gb", "MB"), "RAM.UsedSizeInMB.Avg": ("memory_used_gb", "MB"),
         "CPU.UsagePct.Avg": ("cpu_utilization_percent", "%"), "CPU.UsagePct.Max": ("cpu_utilization_peak_percent", "%"),
         "DiskReadsPerSecondInKB.Avg": ("disk_mb_per_s", "KB/s"), "DiskWritesOpsPerSecond.Avg": ("disk_iops", None),
         "NetworkWritesPerSecondInKB.Avg": ("network_mb_per_s", "KB/s"), "Applications": ("application_name", None)},
    ),
    ("aws_application_discovery.connections",
     "accountNumber, agentId, sourceIp, sourcePort, destinationIp, destinationPort, ipVersion, transportProtocol, agentAssignedProcessId, agentCreationDate",
     "connections", {"sourceIp": ("source_ip", None), "destinationIp": ("target_ip", None), "destinationPort": ("port", None),
                     "transportProtocol": ("protocol", None), "agentCreationDate": ("observed_at", None)}),
    ("aws_application_discovery.connections",
     "agent_id, agent_assigned_process_id, source_ip, source_port, destination_ip, destination_port, ip_version, transport_protocol, timestamp",
     "connections", {"source_ip": ("source_ip", None), "destination_port": ("port", None), "timestamp": ("observed_at", None)}),
    ("aws_application_discovery.os_info", "accountNumber, agentId, osName, osVersion, cpuType, hostName, hypervisor, timestamp", "machines",
     {"agentId": ("external_id", None), "hostName": ("hostname", None), "osName": ("operating_system", None), "osVersion": ("os_version", None)}),
    ("aws_application_discovery.network_interfaces", "agentId, name, macAddress, family, ipAddress, gateway, netMask, timestamp", "detail",
     {"agentId": ("external_id", None), "name": ("detail_key", None), "ipAddress": ("ip_addresses", None)}),
    ("aws_application_discovery.processes", "agentId, agentAssignedProcessId, isSystem, name, cmdLine, path, timestamp", "software",
     {"agentId": ("external_id", None), "name": ("software", None)}),
    ("aws_application_discovery.performance",
     "agent_id, total_disk_bytes_read_per_sec_in_kbps, total_disk_bytes_written_per_sec_in_kbps, total_disk_read_ops_per_sec, total_disk_write_ops_per_sec, total_network_bytes_read_per_sec_in_kbps, total_network_bytes_written_per_sec_in_kbps, total_num_logical_processors, total_num_cores, total_cpu_usage_pct, total_disk_size_in_gb, total_ram_in_mb, free_ram_in_mb, timestamp",
     "performance", {"agent_id": ("external_id", None), "timestamp": ("measured_at", None), "total_cpu_usage_pct": ("cpu_utilization_percent", "%"),
                     "total_disk_read_ops_per_sec": ("disk_iops", None), "total_disk_bytes_read_per_sec_in_kbps": ("disk_mb_per_s", "KB/s"),
                     "total_network_bytes_written_per_sec_in_kbps": ("network_mb_per_s", "KB/s"), "total_ram_in_mb": ("memory_gb", "MB")}),
    ("aws_application_discovery.servers",
     "server.configurationId, server.hostName, server.osName, server.osVersion, server.performance.numCores, server.performance.totalRAMInKB, server.performance.avgCpuUsagePct, server.performance.maxCpuUsagePct, server.performance.avgDiskReadIOPS, server.type",
     "machines", {"server.configurationId": ("external_id", None), "server.hostName": ("hostname", None), "server.performance.totalRAMInKB": ("memory_gb", "KB"),
                  "server.performance.maxCpuUsagePct": ("cpu_utilization_peak_percent", "%")}),
    ("aws_application_discovery.applications", "application.configurationId, application.name, application.description, application.serverCount",
     "applications", {"application.name": ("name", None), "application.configurationId": ("external_id", None)}),
    ("aws_cmf.intake",
     "wave_name, app_name, aws_region, aws_accountid, server_name, server_os_family, server_os_version, server_fqdn, server_tier, server_environment, r_type, instanceType, tags",
     "machines", {"server_name": ("name", None), "server_fqdn": ("fqdn", None), "server_os_version": ("operating_system", None), "app_name": ("application_name", None),
                  "server_tier": ("role", None), "server_environment": ("environment", None), "aws_accountid": ("custom_attributes", None)}),
    ("google_migration_center.vminfo",
     "MachineId, MachineName, PrimaryIPAddress(optional), PrimaryMACAddress(optional), PublicIPAddress(optional), IpAddressListSemiColonDelimited(optional), TotalDiskAllocatedGiB, TotalDiskUsedGiB, MachineTypeLabel(optional), AllocatedProcessorCoreCount, MemoryGiB, HostingLocation(optional), OsType(optional), OsPublisher(optional), OsName, OsVersion(optional), MachineStatus(optional), ProvisioningState(optional), CreateDate(optional), IsPhysical",
     "machines", {"MachineId": ("external_id", None), "MachineName": ("name", None), "PrimaryIPAddress(optional)": ("ip_addresses", None),
                  "TotalDiskAllocatedGiB": ("storage_gb", "GiB"), "TotalDiskUsedGiB": ("storage_used_gb", "GiB"),
                  "AllocatedProcessorCoreCount": ("cpu_cores", None), "MemoryGiB": ("memory_gb", "GiB"), "OsName": ("operating_system", None),
                  "MachineStatus(optional)": ("power_state", None), "IsPhysical": ("is_physical", None), "HostingLocation(optional)": ("location", None)}),
    ("google_migration_center.vminfo", "MachineId, MachineName, TotalDiskAllocatedGiB, AllocatedProcessorCoreCount, MemoryMiB, OsName", "machines",
     {"MemoryMiB": ("memory_gb", "MiB")}),
    ("google_migration_center.diskinfo", "MachineId, DiskLabel, SizeInGib, UsedInGib, StorageTypeLabel", "detail",
     {"MachineId": ("external_id", None), "DiskLabel": ("detail_key", None), "SizeInGib": ("storage_gb", "GiB"), "UsedInGib": ("storage_used_gb", "GiB")}),
    ("google_migration_center.taginfo", "MachineId, Key, Value", "tags",
     {"MachineId": ("external_id", None), "Key": ("tag_key", None), "Value": ("tag_value", None)}),
    ("google_migration_center.perfinfo",
     "MachineId, TimeStamp, CpuUtilizationPercentage, MemoryUtilizationPercentage, UtilizedMemoryBytes, DiskReadOperationsPerSec, DiskWriteOperationsPerSec, NetworkBytesPerSecSent, NetworkBytesPerSecReceived",
     "performance", {"MachineId": ("external_id", None), "TimeStamp": ("measured_at", None), "CpuUtilizationPercentage": ("cpu_utilization_percent", "%"),
                     "UtilizedMemoryBytes": ("memory_used_gb", "B"), "DiskReadOperationsPerSec": ("disk_iops", None),
                     "NetworkBytesPerSecSent": ("network_mb_per_s", "B/s")}),
    ("servicenow.join",
     "serv_u_environment, serv_ip_address, serv_location, app_u_e2e_csm, serv_os, serv_name, bus_name, bus_support_group, serv_operational_status, serv_fqdn, app_u_application_criticality",
     "machines", {"serv_name": ("name", None), "serv_fqdn": ("fqdn", None), "serv_os": ("operating_system", None), "app_u_application_criticality": ("criticality", None),
                  "app_u_e2e_csm": ("business_owner", None), "serv_operational_status": ("custom_attributes", None)}),
    ("servicenow.servers",
     "name, sys_class_name, sys_id, os, os_version, ip_address, serial_number, cpu_count, ram, disk_space, location, fqdn, operational_status, manufacturer, model_id, last_discovered",
     "machines", {"name": ("name", None), "sys_id": ("external_id", None), "sys_class_name": ("asset_type", None), "ram": ("memory_gb", "MB"),
                  "disk_space": ("storage_gb", "GB"), "manufacturer": ("manufacturer", None), "last_discovered": ("last_seen", None)}),
    ("servicenow.servers",
     "Name, Class, Operating System, OS Version, IP Address, Serial number, CPU count, RAM (MB), Disk space (GB), Location, Most recent discovery, Support group",
     "machines", {"Name": ("name", None), "RAM (MB)": ("memory_gb", "MB"), "Disk space (GB)": ("storage_gb", "GB"), "CPU count": ("cpu_cores", None)}),
    ("servicenow.relations", "parent, type, child", "connections",
     {"parent": ("source_name", None), "type": ("relation", None), "child": ("target_name", None)}),
    ("cast_highlight.applications", "Application, Business Units, Level, Status, Technologies, CloudReady, Roadblocks, Technical Debt (min.), ApplicationId", "applications",
     {"Application": ("name", None), "Technologies": ("technologies", None), "Business Units": ("department", None), "CloudReady": ("custom_attributes", None)}),
    ("tidal.applications", "name, description, urls, application owner, tech lead, number of users, env, End of support date, Dependencies, hosts, dbs", "applications",
     {"name": ("name", None), "application owner": ("business_owner", None), "tech lead": ("technical_owner", None), "number of users": ("users_count", None),
      "End of support date": ("end_of_support", None), "Dependencies": ("depends_on", None), "hosts": ("hosts", None), "dbs": ("databases", None)}),
    ("vcenter.virtual_machines",
     "Summary.Config.Name, Summary.Config.MemorySizeMB, Summary.Config.NumCpu, Summary.Config.Uuid, Summary.Config.InstanceUuid, Summary.Config.GuestFullName, Summary.Guest.GuestFullName, Summary.Guest.HostName, Summary.Guest.IpAddress, Summary.Runtime.PowerState, Summary.Storage.Committed, Summary.Storage.Uncommitted, Runtime.PowerState",
     "machines", {"Summary.Config.Name": ("name", None), "Summary.Config.MemorySizeMB": ("memory_gb", "MB"), "Summary.Config.NumCpu": ("cpu_cores", None),
                  "Summary.Storage.Committed": ("storage_gb", "B"), "Summary.Storage.Uncommitted": ("storage_gb", "B"), "Summary.Runtime.PowerState": ("power_state", None)}),
    ("nutanix.vmlist", "VM Name, Sizing Enabled, Power State, vCPUs, Max CPU (MHz), Memory (MiB), Thin Provisioned, Capacity (MiB), Consumed (MiB), Guest OS, Template, Host, Cluster Name, Datacenter Name",
     "machines", {"VM Name": ("name", None), "vCPUs": ("cpu_cores", None), "Memory (MiB)": ("memory_gb", "MiB"), "Capacity (MiB)": ("storage_gb", "MiB"),
                  "Consumed (MiB)": ("storage_used_gb", "MiB"), "Host": ("runs_on", None)}),
    ("nutanix.vcpu", "VM Name, Power State, vCPUs, Peak %, Average %, Median %, 95th Percentile % (recommended), Cluster Name, MOID", "machines",
     {"Peak %": ("cpu_utilization_peak_percent", "%"), "Average %": ("cpu_utilization_percent", "%"), "95th Percentile % (recommended)": ("cpu_utilization_p95_percent", "%")}),
    ("nutanix.vmemory", "VM Name, Power State, Size (MiB), Peak %, Average %, 95th Percentile % (recommended), Cluster Name, MOID", "machines",
     {"Size (MiB)": ("memory_gb", "MiB"), "Average %": ("memory_utilization_percent", "%")}),
    ("nutanix.vpartition", "VM Name, Power State, Path, Consumed (MiB), Capacity (MiB), Cluster Name, MOID", "detail",
     {"Path": ("detail_key", None), "Consumed (MiB)": ("storage_used_gb", "MiB")}),
    ("aws_cur.costs", "identity/LineItemId, lineItem/UsageAccountId, lineItem/UnblendedCost, product/ProductName", "ignored", {}),
    ("aws_cur.costs", "identity_line_item_id, line_item_usage_account_id, line_item_unblended_cost", "ignored", {}),
    ("azure_cost.costs", "SubscriptionId, MeterCategory, MeterId, CostInBillingCurrency, ResourceId", "ignored", {}),
    ("focus.costs", "BilledCost, EffectiveCost, ChargeCategory, ServiceCategory, ServiceName", "ignored", {}),
]  # fmt: skip


def table(
    columns: list[str], *rows: Sequence[Cell], file: str = "export.csv", sheet: str | None = None, **read_as: Any
) -> Table:
    builder = TableBuilder(columns)
    for number, row in enumerate(rows, 2):
        builder.add(number, row)
    builder.flush()
    return Table(file, sheet, builder.columns, builder.numbers, 1, delimiter=",", read_as=read_as)


def recognised(*tables: Table) -> Workbook:
    book = Workbook(tables[0].file, "csv", list(tables))
    recognise(book)
    return book


@pytest.mark.parametrize(
    ("kind", "headers", "role", "expected"), CASES, ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)]
)
def test_an_export_is_recognised_by_its_headers(
    kind: str, headers: str, role: str, expected: dict[str, tuple[str | None, str | None]]
) -> None:
    columns = headers.split(", ")
    [made] = recognised(table(columns, file="whatever.csv")).tables
    assert (made.kind, made.role) == (kind, role)
    assert made.read_as["why"]
    found = {one.source_field: one for one in suggest([made])}
    if role == IGNORED:
        assert found == {}
        return
    assert found.keys() == set(columns)
    told = {name: (found[name].target_field, found[name].unit) for name in expected}
    assert told == expected
    allowed = {*ROLE_TARGETS[role], None}
    assert {one.target_field for one in found.values()} - {"name", "hostname", "fqdn", "power_state"} <= allowed


@pytest.mark.parametrize("kind", sorted({case[0] for case in CASES if case[2] != IGNORED}))
def test_blanks_capitals_and_brackets_do_not_matter(kind: str) -> None:
    _, headers, role, _ = next(case for case in CASES if case[0] == kind)
    columns = [f" {name.upper().replace('(', '[').replace(')', ']')} " for name in headers.split(", ")]
    [made] = recognised(table(columns)).tables
    assert (made.kind, made.role) == (kind, role)


def test_every_known_export_has_a_case() -> None:
    covered = {case[0] for case in CASES}
    apart = {"konveyor.applications", "konveyor.dependencies", "nutanix.prism", "nutanix.vdisk", "nutanix.vinfo",
             "azure_migrate.sql_instances", "azure_migrate.vcenter_hosts", "azure_migrate.assessment_summary",
             "gcp_billing.costs", "rvtools.vfloppy"}  # fmt: skip
    assert {known.kind for known in EXPORTS} - covered <= apart
    for known in BY_KIND.values():
        for meaning in known.columns.values():
            assert meaning.target is None or meaning.target in TARGETS


def test_the_columns_of_the_estate_itself_are_kept() -> None:
    headers = f"{_VM}, CPUs, Memory, DNS Name, Annotation, Cost Centre, Environment, Owner, Datacenter, Host, VM UUID"
    row: list[Cell] = ["a", "poweredOn", False, False, 2, 4096, "a.corp", "", "4711", "Prod", "Ann", "FRA", "esx1", "u"]
    [made] = recognised(table(headers.split(", "), row)).tables
    found = {one.source_field: one for one in suggest([made])}
    assert found["Cost Centre"].target_field == "custom_attributes"
    assert found["Environment"].target_field == "environment"
    assert found["Owner"].target_field == "business_owner"
    assert found["SRM Placeholder"].target_field == "is_placeholder"


def test_provisioned_storage_stands_in_where_the_capacity_is_blank() -> None:
    headers = f"{_VM}, CPUs, Memory, Total disk capacity MiB, Provisioned MiB"
    [made] = recognised(table(headers.split(", "), ["a", "on", False, False, 2, 4096, None, 10240])).tables
    found = {one.source_field: one for one in suggest([made])}
    assert (found["Provisioned MiB"].target_field, found["Total disk capacity MiB"].match_type) == (
        "storage_gb",
        UNUSED,
    )


def test_storage_in_use_is_no_allocated_storage_where_both_are_told() -> None:
    headers = ["Server name", "Cores", "Memory (In MB)", "OS name", "Storage in use (In GB)", "Disk 1 size (In GB)"]
    [made] = recognised(table(headers, ["a", 2, 4096, "Debian 12", 40, 100])).tables
    assert [one.target_field for one in suggest([made])][-2:] == ["storage_used_gb", "storage_gb"]
    [bare] = recognised(table(headers, ["a", 2, 4096, "Debian 12", 40, None])).tables
    assert [one.target_field for one in suggest([bare])][-2:] == ["storage_gb", None]


def test_memory_a_cmdb_should_have_in_megabytes_and_has_not_is_asked_about() -> None:
    headers = ["name", "sys_class_name", "os", "ram"]
    [right] = recognised(table(headers, ["a", "Linux Server", "Debian 12", 4096])).tables
    [wrong] = recognised(table(headers, ["a", "Linux Server", "Debian 12", 16])).tables
    assert suggest([right])[3].unit == "MB"
    assert (suggest([wrong])[3].unit, suggest([wrong])[3].confidence) == (None, 0.5)


@pytest.mark.parametrize(
    ("processors", "cores", "targets", "sure"),
    [
        (2, 8, ["cpu_cores", "custom_attributes"], False),
        (2, 1, ["cpu_cores", "custom_attributes"], True),
        (1, 8, ["custom_attributes", "cpu_cores"], True),
        (None, 8, [None, "cpu_cores"], True),
        (4, None, ["cpu_cores", None], True),
    ],
)
def test_processors_and_the_cores_of_each_in_a_cmdb(
    processors: int | None, cores: int | None, targets: list[str | None], sure: bool
) -> None:
    headers = ["name", "sys_class_name", "os", "cpu_count", "cpu_core_count"]
    [made] = recognised(table(headers, ["a", "Linux Server", "Debian 12", processors, cores])).tables
    found = suggest([made])[3:]
    assert [one.target_field for one in found] == targets
    assert (min(one.confidence for one in found if one.target_field == "cpu_cores") == 1.0) == sure


def test_used_and_total_in_one_cell_become_two_columns() -> None:
    headers = ["VM Name", "Host", "IP Addresses", "Cores", "Memory Capacity", "Storage", "CPU Usage"]
    rows: list[list[Cell]] = [
        ["a", "n1", "10.0.0.1", 4, "16 GiB", "61.2 GiB / 127 GiB", "3.5%"],
        ["b", "n1", "10.0.0.2", 2, "8 GiB", "900 MiB / 1 TiB", "0.5%"],
    ]
    [made] = recognised(table(headers, *rows)).tables
    assert made.kind == "nutanix.prism"
    assert list(made.columns[6]) == ["61.2 GiB", "900 MiB"]
    found = {one.source_field: (one.target_field, one.unit) for one in suggest([made])}
    assert found["Storage: total"] == ("storage_gb", "in value")
    assert found["Storage: used"] == ("storage_used_gb", "in value")
    assert found["Memory Capacity"] == ("memory_gb", "in value")
    assert found["CPU Usage"] == ("cpu_utilization_percent", "%")


def test_metrics_of_vrealize_operations() -> None:
    headers = ["Name", "Timestamp", "CPU|Usage (%)", "Memory|Usage (%)", "Disk Space|Total Capacity (GB)"]
    rows: list[list[Cell]] = [["a", f"2024-01-01 1{at}:00", 5.5, 40.5, 100] for at in range(4)]
    [made] = recognised(table(headers, *rows)).tables
    assert (made.kind, made.role) == ("vrops.metrics", "performance")
    found = {one.source_field: (one.target_field, one.unit) for one in suggest([made])}
    assert found["CPU|Usage (%)"] == ("cpu_utilization_percent", "%")
    assert found["Memory|Usage (%)"] == ("memory_utilization_percent", "%")
    assert recognised_as(Workbook("x", "csv", [made])) == "vrops"


# --- tables that hold several -------------------------------------------------------------------------------------

KONVEYOR = ["Record Type 1", "Application Name", "Dependency", "Dependency Direction", "Tag Category 1", "Tag 1"]


def test_record_types_are_two_tables_and_the_rest_is_set_aside() -> None:
    rows: list[list[Cell]] = [
        ["1", "A", None, None, "Language", "Java"],
        [2, "A", "B", "northbound", None, None],
        ["2", "A", None, "northbound", None, None],
        ["3", "C", None, None, None, None],
        [None, "D", None, None, None, None],
        ["1", "  ", None, None, None, None],
        [1.0, "B", None, None, "Language", "COBOL"],
    ]
    first, second = recognised(table(KONVEYOR, *rows)).tables
    assert (first.role, list(first.numbers), second.role, list(second.numbers)) == (
        "applications",
        [2, 8],
        "connections",
        [3],
    )
    assert [(one.row, one.reason) for one in first.set_aside] == [
        (4, "no_dependency"), (5, "unknown_record_type"), (6, "unknown_record_type"), (7, "no_name"),
    ]  # fmt: skip
    assert first.set_aside[1].cells == ["3", "C", None, None, None, None]
    assert (first.sheet, second.sheet) == (None, "dependencies")
    decision = decide([first, second], suggest([first, second]))
    assert [(use.field, use.target) for use in uses(second, decision)] == [
        ("Application Name", "source_application"), ("Dependency", "target_application"), ("Dependency Direction", "direction"),
    ]  # fmt: skip
    assert ("Tag 1", "technologies") in [(use.field, use.target) for use in uses(first, decision)]


def test_a_tag_means_what_its_category_says() -> None:
    columns = [*KONVEYOR, "Tag Category 2", "Tag 2", "Tag Category 3", "Tag 3"]
    rows: list[list[Cell]] = [["1", "A", None, None, "Language", "Java", "Data Center", "FRA", "Database", "Oracle"],
                              ["1", "B", None, None, "Language", "COBOL", "Data Center", "BER", "Runtime", "CICS"]]  # fmt: skip
    [made] = recognised(table(columns, *rows)).tables
    found = {one.source_field: one.target_field for one in suggest([made])}
    assert (found["Tag 1"], found["Tag 2"], found["Tag 3"]) == ("technologies", "location", "technologies")
    assert (found["Tag Category 1"], found["Tag Category 3"]) == (None, "custom_attributes")


def test_an_analysis_is_set_aside_unless_it_is_all_there_is() -> None:
    columns = ["Application", "Level", "Technologies", "CloudReady"]
    rows: list[list[Cell]] = [
        ["A", "Application", "C#;Java", 1],
        ["A", "Analysis", "C#", 1],
        ["B", "Analysis", "COBOL", 2],
    ]
    [made] = recognised(table(columns, *rows)).tables
    assert (list(made.numbers), [(one.row, one.reason) for one in made.set_aside]) == ([2, 4], [(3, "analysis_row")])


# --- the real exports ---------------------------------------------------------------------------------------------


def opened(path: Path) -> Workbook:
    book = read(path, path.name)
    recognise(book)
    return book


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


REAL = [
    *((name, "rvtools", [f"rvtools.{name.split('_tab')[1][:-4].lower()}"]) for name in RVTOOLS),
    ("aws_cmf/server-list.csv", "aws_cmf", ["aws_cmf.intake"]),
    ("aws_cmf/0-intake-form.csv", "aws_cmf", ["aws_cmf.intake"]),
    ("aws_cmf/0-Migration-intake-form.csv", "aws_cmf", ["aws_cmf.intake"]),
    ("aws_cmf/test_valid_bom.csv", "aws_cmf", ["aws_cmf.intake"]),
    ("aws_cmf/0-import-tags.csv", "table", ["table"]),
    ("azure_dependency/dependency-export-sample.csv", "azure_dependencies", ["azure_migrate.dependencies"]),
    ("azure_migrate/AzureMigrate_Discovery_Report.xlsx", "azure_migrate", ["azure_migrate.properties", "azure_migrate.discovery"]),
    ("cast_highlight/short_valid.csv", "cast_highlight", ["cast_highlight.applications"]),
    ("cast_highlight/header_diff_col.csv", "cast_highlight", ["cast_highlight.applications"]),
    ("cast_highlight/missing_application_header.csv", "cast_highlight", ["cast_highlight.applications"]),
    ("cast_highlight/empty_line_in_middle.csv", "cast_highlight", ["cast_highlight.applications"]),
    ("konveyor/sample-applications.csv", "konveyor", ["konveyor.applications", "konveyor.dependencies"]),
    ("konveyor/template_application_import.csv", "konveyor", None),
    ("konveyor/invalid_schema_21.csv", "konveyor", ["konveyor.applications"]),
    ("konveyor/invalid_column_schema.csv", "applications", ["applications"]),
    ("servicenow_like/cmdb.csv", "servicenow", ["servicenow.join"]),
    ("servicenow_like/prallvms.csv", "table", ["table"]),
    ("tidal_apps/apps.csv", "tidal", ["tidal.applications"]),
    ("tidal_apps/vcenter.json", "vcenter", ["vcenter.virtual_machines"]),
    ("focus/focus_sample.csv", "focus", ["focus.costs"]),
    ("azure_cost/EA_AmortizedCost_Small.csv", "azure_cost", ["azure_cost.costs"]),
    ("azure_cost/EA_NoRows.csv", "azure_cost", ["azure_cost.costs"]),
    ("azure_cost/sample-anonymous-ea-export-dataset.csv", "azure_cost", ["azure_cost.costs"]),
    ("aws_cur/aws_cur_every13th.csv", "aws_cur", ["aws_cur.costs"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "product", "kinds"), REAL, ids=[name for name, _, _ in REAL])
def test_a_real_export_is_recognised(name: str, product: str, kinds: list[str] | None) -> None:
    book = opened(real(name)[0])
    assert recognised_as(book) == product
    if kinds is not None:
        lists = ["notes"] * 3 if product == "vcenter" else []
        assert sorted(table.kind for table in book.tables) == sorted([*kinds, *lists])
    suggestions = suggest(book.tables)
    assert all(one.doubtful is None for one in suggestions)
    used = [table for table in book.tables if table.role != IGNORED]
    decision = decide(book.tables, suggestions)
    assert bool(decision.missing) == (not used)
    costs = {"focus", "azure_cost", "aws_cur"}
    assert [warning.code for warning in book.warnings if warning.code == "cost_data"] == ["cost_data"] * (
        product in costs
    )


def test_record_types_of_real_application_imports() -> None:
    for name in ("sample-applications", "template_application_import", "invalid_record_type_21", "missing_application_name",
                 "mandatory_and_empty_row_21", "app_name_with_spaces_21"):  # fmt: skip
        [path] = real(f"konveyor/{name}.csv")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, skipinitialspace=True) if any(row)][1:]
        types = Counter(row[0] for row in rows if row[1].strip())
        tables = {table.kind: table for table in opened(path).tables}
        assert len(tables["konveyor.applications"]) == types["1"]
        assert len(tables.get("konveyor.dependencies", [])) == types["2"]
        aside = [one.reason for one in tables["konveyor.applications"].set_aside if one.reason != "blank"]
        assert len(aside) >= len(rows) - types["1"] - types["2"]


def test_levels_of_a_real_code_scan() -> None:
    [path] = real("cast_highlight/short_valid.csv")
    levels = Counter(row["Level"] for row in records(path))
    [made] = opened(path).tables
    assert len(made) == levels["Application"]
    assert sum(one.reason == "analysis_row" for one in made.set_aside) == levels["Analysis"]
