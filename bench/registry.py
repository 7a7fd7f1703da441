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
    memory,
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
    "memory": memory,
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
# about ten minutes on a machine at rest; the limits come first, for the shares of the others
SHORT: Set = (
    ("limits", {}),
    ("flows", {"flows": 1500}),
    ("pipeline", {"seconds": 5.0, "repeats": 1}),
    ("http", {"seconds": 4.0, "repeats": 2}),
    # Temporal would have to be compiled first, and takes as long as all the others
    (
        "peers",
        {
            "flows": 150,
            "seconds": 3.0,
            "alone": 50,
            "warm_seconds": 6.0,
            "repeats": 1,
            "only": ("restate", "dbos", "dbos_threads", "zeebe"),
        },
    ),
    ("start", {"repeats": 3}),
    ("memory", {}),
    ("seeds", {"repeats": 1}),
    ("relay", {}),
    # with fewer, the start of the second process is a third of it
    ("audit", {}),
    ("rebuild", {"flows": 20_000}),
    ("import", {"rows": 20_000}),
)
# hours
LONG: Set = (
    ("limits", {"seconds": 5.0, "repeats": 5}),
    ("flows", {}),
    ("pipeline", {"seconds": 20.0, "repeats": 3}),
    ("peers", {}),
    ("relay", {"flows": 20_000}),
    ("audit", {"flows": 100_000}),
    ("rebuild", {}),
    ("import", {}),
    ("estate", {}),
    ("timers", {}),
    ("queue", {}),
    ("operations", {}),
    ("overload", {}),
    ("listeners", {}),
    ("analytics", {}),
    ("start", {}),
    ("memory", {"flows": 100_000}),
    ("growth", {}),
    ("scale", {}),
    ("soak", {}),
)
# what bench/baseline.json is about, with the sizes of the short set: what a start costs is a part of many figures
CHECKED: Set = tuple(each for each in SHORT if each[0] in {"limits", "flows", "http", "relay", "audit", "rebuild"})
SETS: dict[str, Set] = {"short": SHORT, "long": LONG}
