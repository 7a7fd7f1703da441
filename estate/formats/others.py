"""Exports of the other tools: ServiceNow and its like, Konveyor, CAST Highlight, Tidal, vCenter, Nutanix, vRealize
Operations; and cost data, which discovery recognises in order to leave it alone."""

from __future__ import annotations

from estate.formats.exports import KEPT, UNUSED, Export, export
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES

_SERVICENOW_SERVER = """
    name -> name
    host_name; Host name -> hostname
    fqdn; Fully qualified domain name -> fqdn
    sys_id; Sys ID -> external_id
    ip_address; IP Address -> ip_addresses
    mac_address; MAC Address -> mac_addresses
    serial_number; Serial number -> serial_number
    os; Operating System -> operating_system
    os_version; OS Version -> os_version
    cpu_count; CPU count -> cpu_cores
    cpu_core_count; CPU core count -> cpu_cores 1 | custom_attributes
    cpu_core_thread; CPU core thread; cpu_name; CPU name; cpu_speed -> +
    u_application; application; u_application_name; used_by_application -> application_name
    ram; RAM (MB) -> memory_gb MB?
    disk_space; Disk space (GB) -> storage_gb GB?
    sys_class_name; Class -> asset_type
    environment; u_environment; used_for; Used for -> environment
    location; location.name -> location
    manufacturer; manufacturer.name -> manufacturer
    model_id; Model ID; model_id.name -> model
    owned_by; Owned by; owned_by.name -> business_owner
    managed_by; Managed by; managed_by.name -> technical_owner
    support_group; Support group; support_group.name; assigned_to; Assigned to -> technical_owner 1 | custom_attributes
    department; department.name -> department
    business_criticality; Business criticality; busines_criticality -> criticality
    short_description; Description -> description
    last_discovered; Most recent discovery; sys_updated_on; Updated -> last_seen
"""
SERVICENOW: tuple[Export, ...] = (
    export(
        "servicenow.relations",
        CONNECTIONS,
        "parent|parent.name|Parent, child|child.name|Child, type|type.name|Type",
        """
        parent; parent.name -> source_name
        child; child.name -> target_name
        type; type.name -> relation
        """,
        rest=KEPT,
    ),
    export(
        "servicenow.join",
        MACHINES,
        "serv_name, serv_os|serv_ip_address|serv_fqdn|serv_operational_status|serv_location",
        """
        serv_name -> name
        serv_fqdn -> fqdn
        serv_sys_id -> external_id
        serv_ip_address -> ip_addresses
        serv_serial_number -> serial_number
        serv_os -> operating_system
        serv_os_version -> os_version
        serv_location -> location
        serv_u_environment; serv_environment -> environment
        serv_manufacturer -> manufacturer
        serv_model_id -> model
        serv_cpu_count -> cpu_cores
        serv_cpu_core_count -> cpu_cores 1 | custom_attributes
        serv_ram -> memory_gb MB?
        serv_disk_space -> storage_gb GB?
        app_name -> application_name
        bus_name -> application_name 1 | custom_attributes
        app_u_application_criticality; app_business_criticality -> criticality
        app_u_e2e_csm; app_owned_by -> business_owner
        bus_support_group; serv_support_group -> technical_owner
        """,
        rest=KEPT,
    ),
    export(
        "servicenow.servers",
        MACHINES,
        "name, sys_class_name|sys_id|operational_status|install_status|Class|Operational status|Most recent discovery,"
        "os|ram|cpu_count|disk_space|Operating System|RAM (MB)|CPU count|Disk space (GB)",
        _SERVICENOW_SERVER,
        rest=KEPT,
    ),
)

_KONVEYOR = """
    Application Name -> name
    Description -> description
    Owner -> business_owner
    Contributors -> technical_owner
    Tag {n} -> technologies
"""
KONVEYOR_APPLICATIONS = export("konveyor.applications", APPLICATIONS, "Application Name, Dependency Direction|Binary Group|"
                               "Repository Type|Tag Category 1|Tag Type 1", _KONVEYOR, rest=KEPT)  # fmt: skip
KONVEYOR_DEPENDENCIES = export(
    "konveyor.dependencies",
    CONNECTIONS,
    "Application Name, Dependency, Dependency Direction",
    """
    Application Name -> source_application
    Dependency -> target_application
    Dependency Direction -> direction
    """,
    rest=UNUSED,
)
CAST = export(
    "cast_highlight.applications",
    APPLICATIONS,
    "Application|Apps, Level, CloudReady|Roadblocks|Technical Debt (min.), Technologies",
    """
    Application; Apps -> name
    Business Units -> department
    Technologies -> technologies
    ApplicationId -> external_id
    Level -> -
    """,
    rest=KEPT,
)
TIDAL = export(
    "tidal.applications",
    APPLICATIONS,
    "name, application owner, tech lead|Dependencies, hosts|dbs|End of support date",
    """
    name -> name
    description -> description
    application owner -> business_owner
    tech lead -> technical_owner
    env -> environment
    number of users -> users_count
    End of support date -> end_of_support
    Dependencies -> depends_on
    hosts -> hosts
    dbs -> databases
    """,
    rest=KEPT,
)
VCENTER = export(
    "vcenter.virtual_machines",
    MACHINES,
    "Summary.Config.Name, Summary.Config.MemorySizeMB, Summary.Config.NumCpu",
    """
    Summary.Config.Name -> name
    Summary.Config.MemorySizeMB -> memory_gb MB
    Summary.Config.NumCpu -> cpu_cores
    Summary.Config.InstanceUuid -> uuid
    Summary.Config.Uuid -> uuid 1
    Summary.Config.Template -> is_template
    Summary.Config.Annotation -> description
    Summary.Guest.GuestFullName -> operating_system
    Summary.Config.GuestFullName -> operating_system 1
    Summary.Guest.HostName -> fqdn
    Summary.Guest.IpAddress -> ip_addresses
    Summary.Runtime.PowerState -> power_state
    Summary.Storage.Committed; Summary.Storage.Uncommitted -> storage_gb B
    Summary.Vm.Value; Summary.Config.Product.Name; Summary.Config.Product.Version; Summary.Runtime.Host.Value -> +
    """,
    rest=UNUSED,
)
_USED = """
    Peak % -> {measure}_utilization_peak_percent %
    Average % -> {measure}_utilization_percent %
    95th Percentile % (recommended) -> {measure}_utilization_p95_percent %
"""
_COLLECTOR = """
    VM Name -> name
    Power State -> power_state
    Datacenter Name -> location
    UUID; VM UUID -> uuid
    MOID; Cluster Name -> +
"""
# Headers: workbooks of Nutanix Collector; lists of Prism Element and Prism Central.
NUTANIX: tuple[Export, ...] = (
    export("nutanix.vcpu", MACHINES, "VM Name, vCPUs, Average %|Peak %, MOID|Cluster Name|95th Percentile % (recommended)",
           _COLLECTOR + "vCPUs -> cpu_cores\n" + _USED.replace("{measure}", "cpu"), rest=UNUSED),
    export("nutanix.vmemory", MACHINES, "VM Name, Size (MiB), Average %|Peak %",
           _COLLECTOR + "Size (MiB) -> memory_gb MiB\n" + _USED.replace("{measure}", "memory"), rest=UNUSED),
    export("nutanix.vmlist", MACHINES, "VM Name, vCPUs, Memory (MiB), Capacity (MiB)|Consumed (MiB)|Guest OS",
           _COLLECTOR
           + """
           vCPUs -> cpu_cores
           Memory (MiB) -> memory_gb MiB
           Capacity (MiB) -> storage_gb MiB
           Consumed (MiB) -> storage_used_gb MiB
           Guest OS -> operating_system
           Template -> is_template
           Host -> runs_on
           IP Address; IP Addresses -> ip_addresses
           """, rest=UNUSED),
    export("nutanix.vpartition", DETAIL, "VM Name, Path, Consumed (MiB), Capacity (MiB)",
           _COLLECTOR + "Path -> detail_key\nConsumed (MiB) -> storage_used_gb MiB", rest=UNUSED),
    export("nutanix.vdisk", DETAIL, "VM Name, Disk Name|Disk, Capacity (MiB), Disk Mode|Thin Provisioned|Controller",
           _COLLECTOR + "Disk Name; Disk -> detail_key\nCapacity (MiB) -> storage_gb MiB", rest=UNUSED),
    export("nutanix.vinfo", MACHINES, "VM Name, Power State, MOID, Cluster Name, 95th Percentile IOPS|Sizing Enabled",
           _COLLECTOR + "Guest OS -> operating_system\nHost Name -> runs_on\nGuest Hostname -> fqdn", rest=UNUSED),
    export("nutanix.prism", MACHINES,
           "VM Name, Host|Cluster, IP Addresses, Cores|vCPUs, Memory Capacity|Storage, CPU Usage|Memory Usage|Cluster|Host",
           """
           VM Name -> name
           Host -> runs_on
           IP Addresses -> ip_addresses
           Cores; vCPUs -> cpu_cores
           Memory Capacity -> memory_gb in_value
           Storage: total -> storage_gb in_value
           Storage: used -> storage_used_gb in_value
           CPU Usage -> cpu_utilization_percent %
           Memory Usage -> memory_utilization_percent %
           Controller Read IOPS; Controller Write IOPS; Read IOPS; Write IOPS -> disk_iops
           Power State -> power_state
           Guest OS; Operating System -> operating_system
           Storage; Cluster; Controller IO Bandwidth; Controller Avg IO Latency; Backup and Recovery Capable -> +
           """),
)  # fmt: skip

_COSTS = "it holds costs, and there is no finops flow type here yet that could use them"
COSTS: tuple[Export, ...] = (
    export("aws_cur.costs", IGNORED, "identity/LineItemId|identity_line_item_id, lineItem/UsageAccountId|"
           "line_item_usage_account_id, lineItem/UnblendedCost|line_item_unblended_cost", why_ignored=_COSTS),
    export("focus.costs", IGNORED, "BilledCost, EffectiveCost, ChargeCategory, ServiceCategory|ServiceName",
           why_ignored=_COSTS),
    export("azure_cost.costs", IGNORED, "MeterCategory, MeterId|MeterName, CostInBillingCurrency|Cost|PreTaxCost|"
           "costInBillingCurrency, SubscriptionId|SubscriptionGuid|ResourceId|InstanceId", why_ignored=_COSTS),
    export("gcp_billing.costs", IGNORED, "billing_account_id, service.description|service_description, cost, "
           "usage_start_time|invoice.month", why_ignored=_COSTS),
)  # fmt: skip
EXPORTS = (
    *COSTS, KONVEYOR_APPLICATIONS, CAST, TIDAL, VCENTER, *NUTANIX, *SERVICENOW
)  # fmt: skip
