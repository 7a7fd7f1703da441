"""What the assessment tools of the clouds export: Azure Migrate, AWS Migration Hub and Application Discovery, AWS Cloud
Migration Factory, Google Migration Center."""

from __future__ import annotations

from estate.formats.exports import KEPT, UNUSED, Export, export
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES, PERFORMANCE, SOFTWARE, TAGS

# Headers: github.com/Azure/azure-migrate-export (reports), the portal's assessment workbook and import template.
AZURE: tuple[Export, ...] = (
    export(
        "azure_migrate.dependencies",
        CONNECTIONS,
        "Source server name, Destination server name|Destination IP, Destination port",
        """
        Timeslot; Time slot -> observed_at
        Source server name -> source_name
        Source IP -> source_ip
        Source application -> source_application
        Source process -> source_process
        Destination server name -> target_name
        Destination IP -> target_ip
        Destination application -> target_application
        Destination process -> target_process
        Destination port -> port
        Source port -> source_port
        Protocol -> protocol
        """,
    ),
    export(
        "azure_migrate.import_template",
        MACHINES,
        "Server name, Cores, Memory (In MB), OS name",
        """
        Server name -> name
        IP addresses; IP address -> ip_addresses
        Cores -> cpu_cores
        Memory (In MB) -> memory_gb MB
        OS name -> operating_system
        OS version -> os_version
        Server type -> asset_type
        CPU utilization percentage -> cpu_utilization_percent %
        Memory utilization percentage -> memory_utilization_percent %
        Network In throughput; Network Out throughput -> network_mb_per_s MB/s
        Storage in use (In GB) -> storage_gb GB 1 | storage_used_gb GB
        Disk {n} size (In GB) -> storage_gb GB
        Disk {n} read throughput (MB per second); Disk {n} write throughput (MB per second) -> disk_mb_per_s MB/s
        Disk {n} read ops (operations per second); Disk {n} write ops (operations per second) -> disk_iops
        MAC addresses; MAC address -> mac_addresses
        Hypervisor; OS architecture; Boot type; Firmware type; Number of disks; Network adapters -> +
        """,
    ),
    export(
        "azure_migrate.assessed_disks",
        DETAIL,
        "Machine, Disk name, Source disk size(GB)|Recommended disk type",
        """
        Machine -> name
        Disk name -> detail_key
        Source disk size(GB) -> storage_gb GB
        Disk read(MBPS); Disk write(MBPS) -> disk_mb_per_s MB/s
        Disk read(ops/sec); Disk write(ops/sec) -> disk_iops
        """,
        rest=UNUSED,
    ),
    export(
        "azure_migrate.assessment",
        MACHINES,
        "Machine|Machine name, Azure VM readiness, Recommended size|Recommended VM size, Cores|Operating system",
        """
        Machine; Machine Name -> name
        Environment -> environment
        Operating system -> operating_system
        VM host -> runs_on
        Cores -> cpu_cores
        Memory(MB); Memory (in MB) -> memory_gb MB
        Storage(GB); Storage (in GB) -> storage_gb GB
        CPU usage(%); CPU Utilization (in %) -> cpu_utilization_percent %
        Memory usage(%); Memory Utilization (in %) -> memory_utilization_percent %
        Disk read(ops/sec); Disk write(ops/sec) -> disk_iops
        Disk read(MBPS); Disk write(MBPS) -> disk_mb_per_s MB/s
        Network in(MBPS); Network out(MBPS) -> network_mb_per_s MB/s
        IP address; IP addresses -> ip_addresses
        MAC address; MAC addresses -> mac_addresses
        Machine ID -> external_id
        """,
        rest=KEPT,
    ),
    export(
        "azure_migrate.discovery",
        MACHINES,
        "Machine Name, Operating System, Cores, Memory (in MB)|Memory (MB), Machine ID|Power Stats|Power Status",
        """
        Machine Name -> name
        Environment -> environment
        Operating System -> operating_system
        Cores -> cpu_cores
        Memory (in MB); Memory (MB) -> memory_gb MB
        IP Addresses -> ip_addresses
        MAC Addresses -> mac_addresses
        Power Stats; Power Status -> power_state
        Machine ID -> external_id
        Is SQL Service Present -> has_database
        Storage in use (in GB); Total Storage In Use (in GB) -> storage_gb GB
        Last Updated Time -> last_seen
        Total Disks; Boot Type; SQL Discovery Server Count; Software Inventory Count; Web Applications Count -> +
        First Discovery Time; Support Status -> +
        Total Network Adapters -> -
        """,
    ),
    export(
        "azure_migrate.software",
        SOFTWARE,
        "Machine Name|Server name|Machine|DisplayName, Application Name|Software Name|Name|Application,"
        "Version|Application Version, Provider|Application Provider",
        """
        Machine Name; Server name; Machine; DisplayName -> name
        Machine ID -> external_id
        Application Name; Software Name; Name; Application -> software
        Application Version; Version -> software_version
        Application Provider; Provider; Publisher -> software_vendor
        Category; FeatureName; PowerStatus; IP addresses -> +
        """,
    ),
    export(
        "azure_migrate.sql_instances",
        SOFTWARE,
        "Machine Name, SQL Instance, SQL Edition|SQL Version",
        """
        Machine Name -> name
        Machine ID -> external_id
        SQL Edition -> software
        SQL Version -> software_version
        """,
        rest=KEPT,
    ),
    export("azure_migrate.properties", IGNORED, "Tenant ID, Subscription, Resource Group|Resource Group Name|Workflow",
           why_ignored="it tells of the Azure Migrate project that was asked"),
    export("azure_migrate.vcenter_hosts", IGNORED, "vCenters, Hosts",
           why_ignored="it counts vCenters and hosts"),
    export("azure_migrate.assessment_summary", IGNORED, "Subscription ID, Resource group, Project name, Group name",
           why_ignored="it sums up the assessment"),
)  # fmt: skip

_ADS_PERFORMANCE = """
    totalCpuUsagePct; cpuUsagePct -> cpu_utilization_percent %
    totalDiskReadOpsPerSec; totalDiskWriteOpsPerSec; totalDiskReadOpsPerSecond; totalDiskWriteOpsPerSecond -> disk_iops
    diskReadOpsPerSecond; diskWriteOpsPerSecond -> disk_iops
    totalDiskBytesReadPerSecInKbps; totalDiskBytesWrittenPerSecInKbps -> disk_mb_per_s KB/s
    totalDiskBytesReadPerSecond (Kbps); totalDiskBytesWrittenPerSecond (Kbps) -> disk_mb_per_s KB/s
    totalDiskBytesReadPerSecond; totalDiskBytesWrittenPerSecond -> disk_mb_per_s KB/s
    totalNetworkBytesReadPerSecInKbps; totalNetworkBytesWrittenPerSecInKbps -> network_mb_per_s KB/s
    totalNetworkBytesReadPerSecond (Kbps); totalNetworkBytesWrittenPerSecond (Kbps) -> network_mb_per_s KB/s
    totalNetworkBytesReadPerSecond; totalNetworkBytesWrittenPerSecond -> network_mb_per_s KB/s
    totalNumLogicalProcessors -> cpu_cores
    totalNumCores -> cpu_cores 1 | -
    totalRamInMb; totalRAM (MB); totalRAM -> memory_gb MB
    totalDiskSizeInGb; totalDiskSize (GB); totalDiskSize -> storage_gb GB
"""
# Headers: AWS Migration Hub import template; Application Discovery data collected by the agent and its Athena tables.
AWS: tuple[Export, ...] = (
    export(
        "aws_migration_hub.import",
        MACHINES,
        "ExternalId|HostName|VMware.VMName, SMBiosId|VMware.MoRefId|RAM.TotalSizeInMB|CPU.UsagePct.Avg,"
        "CPU.NumberOfProcessors|CPU.NumberOfCores|CPU.NumberOfLogicalCores|RAM.TotalSizeInMB|OS.Name",
        """
        HostName -> hostname
        VMware.VMName -> name
        ExternalId -> external_id
        ServerId -> external_id 1
        SMBiosId -> uuid
        IPAddress -> ip_addresses
        MACAddress -> mac_addresses
        OS.Name -> operating_system
        OS.Version -> os_version
        CPU.NumberOfLogicalCores -> cpu_cores
        CPU.NumberOfCores -> cpu_cores 1 | custom_attributes
        CPU.NumberOfProcessors -> cpu_cores 2 | custom_attributes
        RAM.TotalSizeInMB -> memory_gb MB
        RAM.UsedSizeInMB.Avg -> memory_used_gb MB
        CPU.UsagePct.Avg -> cpu_utilization_percent %
        CPU.UsagePct.Max -> cpu_utilization_peak_percent %
        DiskReadsPerSecondInKB.Avg; DiskWritesPerSecondInKB.Avg -> disk_mb_per_s KB/s
        DiskReadsOpsPerSecond.Avg; DiskWritesOpsPerSecond.Avg -> disk_iops
        NetworkReadsPerSecondInKB.Avg; NetworkWritesPerSecondInKB.Avg -> network_mb_per_s KB/s
        Applications -> application_name
        ApplicationWave; Tags; VMware.MoRefId; VMware.VCenterId; RAM.UsedSizeInMB.Max -> +
        DiskReadsPerSecondInKB.Max; DiskWritesPerSecondInKB.Max; DiskReadsOpsPerSecond.Max -> -
        DiskWritesOpsPerSecond.Max; NetworkReadsPerSecondInKB.Max; NetworkWritesPerSecondInKB.Max -> -
        """,
    ),
    export(
        "aws_application_discovery.servers",
        MACHINES,
        "server.configurationId|configurationId|server.hostName, server.hostName|hostName, server.osName|osName,"
        "server.performance.numCores|performance.numCores|server.performance.totalRAMInKB|performance.totalRAMInKB|"
        "server.source|server.type|performance.numCpus",
        """
        server.hostName; hostName -> hostname
        server.configurationId; configurationId -> external_id
        server.agentId; agentId -> external_id 1
        server.osName; osName -> operating_system
        server.osVersion; osVersion -> os_version
        server.performance.numCores; performance.numCores -> cpu_cores
        server.performance.numCpus; performance.numCpus -> cpu_cores 1 | custom_attributes
        server.performance.totalRAMInKB; performance.totalRAMInKB -> memory_gb KB
        server.performance.avgCpuUsagePct; performance.avgCpuUsagePct -> cpu_utilization_percent %
        server.performance.maxCpuUsagePct; performance.maxCpuUsagePct -> cpu_utilization_peak_percent %
        server.performance.avgDiskReadIOPS; server.performance.avgDiskWriteIOPS -> disk_iops
        performance.avgDiskReadIOPS; performance.avgDiskWriteIOPS -> disk_iops
        server.performance.avgDiskReadsPerSecondInKB; performance.avgDiskReadsPerSecondInKB -> disk_mb_per_s KB/s
        server.performance.avgDiskWritesPerSecondInKB; performance.avgDiskWritesPerSecondInKB -> disk_mb_per_s KB/s
        server.performance.avgNetworkReadsPerSecondInKB; performance.avgNetworkReadsPerSecondInKB -> network_mb_per_s KB/s
        server.performance.avgNetworkWritesPerSecondInKB; performance.avgNetworkWritesPerSecondInKB -> network_mb_per_s KB/s
        server.applications; applications -> application_name
        server.type; server.hypervisor; server.cpuType; server.tags; server.source; hypervisor; cpuType -> +
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.applications",
        APPLICATIONS,
        "application.configurationId, application.name",
        """
        application.name -> name
        application.configurationId -> external_id
        application.description -> description
        application.lastModifiedTime -> last_seen
        application.serverCount -> +
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.connections",
        CONNECTIONS,
        "sourceIp, destinationIp, destinationPort, transportProtocol|ipVersion|agentAssignedProcessId",
        """
        sourceIp -> source_ip
        destinationIp -> target_ip
        destinationPort -> port
        sourcePort -> source_port
        transportProtocol -> protocol
        sourceServerName; sourceHostName -> source_name
        destinationServerName; destinationHostName -> target_name
        sourceProcess -> source_process
        destinationProcess -> target_process
        timestamp; agentProvidedTimeStamp; agentCreationDate -> observed_at mdy
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.os_info",
        MACHINES,
        "agentId, hostName, osName, osVersion",
        """
        hostName -> hostname
        agentId -> external_id
        osName -> operating_system
        osVersion -> os_version
        timestamp; agentProvidedTimeStamp -> last_seen mdy
        hypervisor; cpuType -> +
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.network_interfaces",
        DETAIL,
        "agentId, macAddress, ipAddress, netMask|gateway|family",
        """
        agentId -> external_id
        name -> detail_key
        macAddress -> mac_addresses
        ipAddress -> ip_addresses
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.processes",
        SOFTWARE,
        "agentId, name, cmdLine|path, agentAssignedProcessId|isSystem",
        """
        agentId -> external_id
        name -> software
        timestamp; agentProvidedTimeStamp -> last_seen mdy
        path -> +
        """,
        rest=UNUSED,
    ),
    export(
        "aws_application_discovery.performance",
        PERFORMANCE,
        "agentId, totalCpuUsagePct|cpuUsagePct|totalDiskReadOpsPerSec|totalDiskReadOpsPerSecond|totalRamInMb|totalRAM (MB)",
        """
        agentId -> external_id
        timestamp; agentProvidedTimeStamp -> measured_at mdy
        """
        + _ADS_PERFORMANCE,
        rest=UNUSED,
    ),
    export(
        "aws_cmf.intake",
        MACHINES,
        "server_name, server_os_family|server_fqdn, wave_id|wave_name|r_type|aws_accountid",
        """
        server_name -> name
        server_fqdn -> fqdn
        server_os_version -> operating_system
        server_os_family -> operating_system 1
        server_environment -> environment
        server_tier -> role
        app_name -> application_name
        """,
        rest=KEPT,
    ),
)

# Headers: docs.cloud.google.com/migration-center, import from tables.
GOOGLE: tuple[Export, ...] = (
    export(
        "google_migration_center.perfinfo",
        PERFORMANCE,
        "MachineId, TimeStamp, CpuUtilizationPercentage|MemoryUtilizationPercentage|DiskReadOperationsPerSec",
        """
        MachineId -> external_id
        TimeStamp -> measured_at
        CpuUtilizationPercentage -> cpu_utilization_percent %
        MemoryUtilizationPercentage -> memory_utilization_percent %
        UtilizedMemoryBytes -> memory_used_gb B
        DiskReadOperationsPerSec; DiskWriteOperationsPerSec -> disk_iops
        NetworkBytesPerSecSent; NetworkBytesPerSecReceived -> network_mb_per_s B/s
        AvailableMemoryBytes -> -
        """,
    ),
    export(
        "google_migration_center.diskinfo",
        DETAIL,
        "MachineId, DiskLabel|SizeInGib, SizeInGib|UsedInGib",
        """
        MachineId -> external_id
        DiskLabel -> detail_key
        SizeInGib -> storage_gb GiB
        UsedInGib -> storage_used_gb GiB
        StorageTypeLabel -> +
        """,
    ),
    export(
        "google_migration_center.taginfo",
        TAGS,
        "MachineId, Key, Value",
        """
        MachineId -> external_id
        Key -> tag_key
        Value -> tag_value
        """,
    ),
    export(
        "google_migration_center.vminfo",
        MACHINES,
        "MachineId, MachineName, AllocatedProcessorCoreCount|MemoryGiB|MemoryMiB|TotalDiskAllocatedGiB",
        """
        MachineId -> external_id
        MachineName -> name
        PrimaryIPAddress -> ip_addresses
        IpAddressListSemiColonDelimited -> ip_addresses 1
        PublicIPAddress -> ip_addresses 2
        PrimaryMACAddress -> mac_addresses
        TotalDiskAllocatedGiB -> storage_gb GiB
        TotalDiskUsedGiB -> storage_used_gb GiB
        AllocatedProcessorCoreCount -> cpu_cores
        MemoryGiB -> memory_gb GiB
        MemoryMiB -> memory_gb MiB
        HostingLocation -> location
        OsName -> operating_system
        OsType -> operating_system 1
        OsVersion -> os_version
        MachineStatus -> power_state
        IsPhysical -> is_physical
        MachineTypeLabel; OsPublisher; ProvisioningState; CreateDate; Source -> +
        """,
    ),
)
EXPORTS = AZURE + AWS + GOOGLE
