"""RVTools: every tab, with the `MB` headers of old versions, the `MiB` headers of new ones (both are 1024 based), and
the column names of its `-DBColumnNames` switch (`vInfoVMName`)."""

from __future__ import annotations

from estate.formats.exports import UNUSED, Export, export
from estate.roles import DETAIL, IGNORED, MACHINES, SOFTWARE

_COMMON = """
    VM -> name
    Powerstate -> power_state
    Template -> is_template
    SRM Placeholder -> is_placeholder
    Datacenter -> location
    OS according to the VMware Tools -> operating_system
    OS according to the configuration file -> operating_system 1
    VM UUID -> uuid
    SMBIOS UUID -> uuid 1
    VM ID -> +
"""
_DB_COMMON = {
    "VMName": "VM", "UUID": "VM UUID", "SRMPlaceHolder": "SRM Placeholder", "VMID": "VM ID",
    "OSTools": "OS according to the VMware Tools", "OS": "OS according to the configuration file",
    "OSConfig": "OS according to the configuration file", "SMBIOSUUID": "SMBIOS UUID",
}  # fmt: skip


def _tab(
    tab: str, role: str, needs: str, columns: str, *, common: bool = True, spelled: dict[str, str] | None = None
) -> Export:
    return export(
        f"rvtools.{tab.lower()}",
        role,
        needs,
        (_COMMON if common else "") + columns,
        rest=UNUSED,
        prefix=tab,
        spelled=(_DB_COMMON if common else {}) | (spelled or {}),
    )


def _ignored(tab: str, needs: str, why: str) -> Export:
    return export(f"rvtools.{tab.lower()}", IGNORED, needs, why_ignored=why, prefix=tab, spelled={"VMName": "VM"})


EXPORTS: tuple[Export, ...] = (
    _tab(
        "vInfo",
        MACHINES,
        "VM, Powerstate, CPUs|# CPUs, Memory, Provisioned MiB|Provisioned MB|In Use MiB|In Use MB|Total disk capacity MiB|"
        "DNS Name|Guest state",
        """
        DNS Name -> fqdn
        CPUs; # CPUs -> cpu_cores
        Memory -> memory_gb MiB
        Total disk capacity MiB -> storage_gb MiB
        Total disk capacity MB -> storage_gb MB
        Provisioned MiB -> storage_gb MiB 1 | custom_attributes
        Provisioned MB -> storage_gb MB 1 | custom_attributes
        In Use MiB -> storage_used_gb MiB
        In Use MB -> storage_used_gb MB
        Primary IP Address -> ip_addresses
        Host -> runs_on
        Cluster; Folder; Resource pool; Annotation; Firmware; HW version; Creation date; Guest state; Disks; NICs -> +
        VI SDK Server -> +
        """,
        spelled={
            "GuestHostName": "DNS Name", "TotalDiskCapacityMiB": "Total disk capacity MiB", "Provisioned":
            "Provisioned MiB", "InUse": "In Use MiB", "PrimaryIP": "Primary IP Address", "Resourcepool":
            "Resource pool", "CreateDate": "Creation date", "NumVirtualDisks": "Disks", "VISDKServer": "VI SDK Server",
            "ProvisionedMB": "Provisioned MB", "InUseMB": "In Use MB",
        },
    ),
    _tab("vCPU", MACHINES, "VM, CPUs, Sockets, Cores p/s", "CPUs -> cpu_cores",
         spelled={"CoresPerSocket": "Cores p/s"}),
    _tab(
        "vMemory",
        MACHINES,
        "VM, Size MiB|Size MB, Overhead|Consumed|Ballooned|Reservation, Reservation|Shares|Limit|Consumed",
        """
        Size MiB -> memory_gb MiB
        Size MB -> memory_gb MB
        """,
    ),
    _tab(
        "vDisk",
        DETAIL,
        "VM, Disk, Capacity MiB|Capacity MB, Disk Mode|Raw|Thin|Disk Key|Controller, Disk Mode|Thin|Controller|Raw",
        """
        Disk -> detail_key
        Capacity MiB -> storage_gb MiB
        Capacity MB -> storage_gb MB
        """,
    ),
    _tab(
        "vPartition",
        DETAIL,
        "VM, Disk, Capacity MiB|Capacity MB|Consumed MiB|Consumed MB, Free %|Free MiB|Free MB|Consumed MiB|Consumed MB",
        """
        Disk -> detail_key
        Consumed MiB -> storage_used_gb MiB
        Consumed MB -> storage_used_gb MB
        """,
    ),
    _tab(
        "vNetwork",
        DETAIL,
        "VM, Mac Address, IPv4 Address|IP Address|Adapter|NIC label",
        """
        IPv4 Address; IP Address -> ip_addresses
        IPv6 Address -> ip_addresses 1
        Mac Address -> mac_addresses
        NIC label -> detail_key
        Adapter -> detail_key 1 | -
        """,
    ),
    _tab(
        "vHost",
        MACHINES,
        "Host, # Cores, # Memory, CPU Model|ESX Version|# CPU",
        """
        Host -> name
        # Cores -> cpu_cores
        # Memory -> memory_gb MiB
        ESX Version -> operating_system
        CPU usage % -> cpu_utilization_percent %
        Memory usage % -> memory_utilization_percent %
        Datacenter -> location
        Vendor -> manufacturer
        Model -> model
        Serial number -> serial_number
        Service tag -> serial_number 1 | custom_attributes
        UUID -> uuid
        Cluster; CPU Model; Speed; # VMs; # vCPUs; # CPU; Cores per CPU; in Maintenance Mode -> +
        """,
        common=False,
        spelled={
            "Name": "Host", "NumCpuCores": "# Cores", "NumCpu": "# CPU", "MemorySize": "# Memory", "CpuMhz": "Speed",
            "OverallCpuUsage": "CPU usage %", "OverallMemoryUsage": "Memory usage %", "FullName": "ESX Version",
            "VMs": "# VMs", "vCPUs": "# vCPUs",
        },
    ),
    _tab(
        "vSC_VMK",
        DETAIL,
        "Host, Port Group|Device, IP Address, Subnet mask",
        """
        Host -> name
        Device -> detail_key
        IP Address -> ip_addresses
        IP 6 Address -> ip_addresses 1
        Mac Address -> mac_addresses
        Datacenter -> location
        """,
        common=False,
    ),
    _tab(
        "vNIC",
        DETAIL,
        "Host, Network Device, MAC|Driver",
        """
        Host -> name
        Network Device -> detail_key
        MAC -> mac_addresses
        Datacenter -> location
        """,
        common=False,
    ),
    _tab(
        "vHBA",
        DETAIL,
        "Host, Device, WWN|Pci, Driver|Bus",
        """
        Host -> name
        Device -> detail_key
        Datacenter -> location
        """,
        common=False,
    ),
    _tab(
        "vLicense",
        SOFTWARE,
        "Name, Key, Total, Used, Expiration Date|Cost Unit|Labels|Features",
        """
        Name -> software
        Total -> licence_quantity
        Cost Unit -> licence_metric
        Expiration Date -> licence_expires
        Used -> +
        """,
        common=False,
    ),
    _ignored("vUSB", "VM, Device Node, EHCI enabled|Bus number|Family",
             "it lists USB devices; no fact of an inventory is in it"),
    _ignored("vCD", "VM, Device Node, Starts Connected|Connected",
             "it lists CD drives; no fact of an inventory is in it"),
    _ignored("vFloppy", "VM, Floppy|Floppy label", "it lists floppy drives; no fact of an inventory is in it"),
    _ignored("vSnapshot", "VM, Date / time, Quiesced|Size MiB (total)|Size MB (total)|Size MiB (vmsn)|Filename",
             "it lists snapshots, which do not move with a machine"),
    _ignored("vTools", "VM, Tools, Tools Version|Required Version|Upgradeable|Upgrade Policy|Sync time",
             "it tells the state of VMware Tools; the machines are in vInfo"),
    _ignored("vRP", "Resource Pool name|Resource Pool path, CPU limit|Mem limit|# VMs",
             "resource pools are sums of what vInfo says of each machine"),
    _ignored("vCluster", "Name, NumHosts, TotalCpu|TotalMemory|NumCpuCores",
             "a cluster is the sum of its hosts, which are in vHost"),
    _ignored("vSwitch", "Host, Switch, # Ports, Promiscuous Mode|Mac Changes", "it tells how virtual switches are set"),
    _ignored("vPort", "Host, Port Group, Switch, VLAN", "it tells how port groups are set"),
    _ignored("dvSwitch", "Switch, Host members|Max Ports, Datacenter", "it tells how virtual switches are set"),
    _ignored("dvPort", "Port, Switch, Active Uplink|Allow Promiscuous|Full Duplex|Blocked", "it tells how port groups are set"),
    _ignored("vDatastore", "Name, Accessible, Capacity MiB|Capacity MB, Free MiB|Free MB|In Use MiB|In Use MB",
             "the capacity of datastores holds the disks of the machines, which are in vDisk"),
    _ignored("vMultiPath", "Host, Path 1, Path 1 state", "it lists paths to storage; no fact of an inventory is in it"),
    _ignored("vFileInfo", "Friendly Path Name|File Name, File Type, File Size in bytes",
             "it lists files of datastores; no fact of an inventory is in it"),
    _ignored("vHealth", "Name, Message, Message type|VI SDK Server",
             "it lists remarks of RVTools on the vCenter; no fact of an inventory is in it"),
    _ignored("vSource", "API type, API version, Product line|Build|OS type", "it tells of the vCenter that was asked"),
    _ignored("vMetaData", "RVTools version|RVTools major version, xlsx creation datetime|Server|RVTools version",
             "it tells of the RVTools run"),
)  # fmt: skip
TABS = {known.kind.split(".", 1)[1] for known in EXPORTS} | {"vmetadata", "dvswitch", "dvport", "vport", "vfloppy"}
