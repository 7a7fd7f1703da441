"""What the rows of a table speak of."""

from __future__ import annotations

MACHINES = "machines"
"""One row names one machine (or device, database, cluster) and states facts about it."""
DETAIL = "detail"
"""Several rows may belong to one machine: disks, network cards."""
APPLICATIONS = "applications"
"""One row names one application of a portfolio."""
CONNECTIONS = "connections"
"""One row joins two ends: a network connection, an application that needs another, a relation of a CMDB."""
PERFORMANCE = "performance"
"""One row is a measurement of a machine at a time."""
SOFTWARE = "software"
"""One row is a product installed on a machine, or a licence for one."""
TAGS = "tags"
"""One row is one attribute of a machine: key and value."""
IGNORED = "ignored"
"""Holds nothing that discovery uses."""

USED = (MACHINES, DETAIL, APPLICATIONS, CONNECTIONS, PERFORMANCE, SOFTWARE, TAGS)
