"""Every measurement by name. One is a module with a sentence on what it measures and a `run` that answers a Report.

The keyword arguments of `run`, whole numbers, numbers or tuples of text, are its options on the command line.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from bench import (
    analytics,
    audit,
    estate,
    flows,
    growth,
    http,
    imports,
    limits,
    listeners,
    operations,
    overload,
    peers,
    pipeline,
    queue,
    rebuild,
    relay,
    scaling,
    seeds,
    soak,
    start,
    timers,
)

BENCHES: dict[str, ModuleType] = {
    "limits": limits,
    "flows": flows,
    "pipeline": pipeline,
    "peers": peers,
    "http": http,
    "start": start,
    "audit": audit,
    "relay": relay,
    "growth": growth,
    "soak": soak,
    "scale": scaling,
    "import": imports,
    "seeds": seeds,
    "estate": estate,
    "timers": timers,
    "queue": queue,
    "overload": overload,
    "operations": operations,
    "rebuild": rebuild,
    "listeners": listeners,
    "analytics": analytics,
}

# sets that run one after the other, with the options that differ from the usual ones
Set = tuple[tuple[str, dict[str, Any]], ...]
SHORT: Set = (("limits", {}), ("flows", {"flows": 1500}))
LONG: Set = ()
CHECKED: Set = (("limits", {}), ("flows", {"flows": 1000}))
SETS: dict[str, Set] = {"short": SHORT, "long": LONG}
