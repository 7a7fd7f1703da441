"""Whose word counts where sources disagree."""

from __future__ import annotations

PARTIAL = {
    "rvtools.vcpu": 2, "rvtools.vmemory": 2, "rvtools.vdisk": 2, "rvtools.vnetwork": 2, "rvtools.vsc_vmk": 2,
    "rvtools.vnic": 2, "rvtools.vhba": 2, "rvtools.vpartition": 3, "nutanix.vcpu": 2, "nutanix.vmemory": 2,
    "nutanix.vdisk": 2, "nutanix.vpartition": 3, "azure_migrate.assessed_disks": 2, "google_migration_center.diskinfo": 2,
    "aws_application_discovery.os_info": 2, "aws_application_discovery.network_interfaces": 2,
    "aws_application_discovery.performance": 2,
}  # fmt: skip
"""Tables that tell one side of a machine: after the table that tells the whole of it."""
TEMPLATES = frozenset({"azure_migrate.import_template", "aws_migration_hub.import"})
"""What people fill in for a tool."""
HYPERVISORS = frozenset({"rvtools", "vcenter", "nutanix"})
COLLECTORS = frozenset({"azure_migrate", "aws_application_discovery", "google_migration_center"})
MEASURED, SAID = 0, 1
BUSINESS = frozenset(
    {
        "environment", "location", "criticality", "business_owner", "technical_owner", "department",
        "application_name", "description",
    }
)  # fmt: skip
"""What people know better than tools do."""


def _family(kind: str) -> str:
    return kind.partition(".")[0]


def standing(kind: str) -> int:
    """0 what a hypervisor or a collector measured, 1 lists kept by people, 2 and 3 tables of one side of a machine."""
    if kind in PARTIAL:
        return PARTIAL[kind]
    return MEASURED if kind not in TEMPLATES and _family(kind) in HYPERVISORS | COLLECTORS else SAID


def is_list(kind: str) -> bool:
    """Is this a table that people keep?"""
    return kind not in PARTIAL and standing(kind) == SAID


def in_words(kind: str) -> str:
    """What stands behind a table, for the reason of a choice."""
    if kind in PARTIAL:
        return f"{kind} tells one side of a machine"
    if kind in TEMPLATES:
        return f"{kind} is filled in by people"
    if _family(kind) in HYPERVISORS:
        return f"{kind} is measured by the hypervisor"
    if _family(kind) in COLLECTORS:
        return f"{kind} is collected by a discovery tool"
    return "a list is kept by people"
