"""What a measurement found, in one shape: figures with their limits, the processor time by process, and what it all ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("aiokafka", "confluent-kafka", "fastapi", "msgspec", "psycopg", "pydantic", "uvicorn")


class WrongUse(ValueError):
    """A measurement was asked for what it does not know; the text says what there is."""


def named(kind: str, asked: Iterable[str], there: Iterable[str]) -> None:
    """Raise WrongUse where something is asked for that is not there; `kind` says of what, such as "engine"."""
    known = list(there)
    if unknown := sorted(set(asked) - set(known)):
        raise WrongUse(f"There is no {kind} {', '.join(unknown)}; name some of {', '.join(known)}.")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: a value for each repeat, and at most one limit, at_least or at_most.

    `share_of` names a figure of the bench `limits`; `units` is how many of that limit's units one unit of this figure is made
    of, such as seven commands to a flow.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    share_of: str | None = None
    units: float = 1.0

    @property
    def median(self) -> float:
        """The middle of the repeats."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the limit; None where there is no limit."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most

    def share(self, limits: dict[str, float]) -> float | None:
        """A rate as a part of the machine's own; a time as how many of the limit's units fit into it. None where unknown."""
        limit = limits.get(self.share_of or "")
        if not limit:
            return None
        seconds = {"ms": 1e-3, "s": 1.0, "us": 1e-6}.get(self.unit.split("/")[0])
        found = self.median * self.units / limit if seconds is None else self.median * seconds * limit / self.units
        return float(f"{found:.4g}")

    def as_dict(self, limits: dict[str, float]) -> dict[str, Any]:
        """The figure as it stands in a results file."""
        found: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "median": rounded(self.median),
            "min": rounded(min(self.values)),
            "max": rounded(max(self.values)),
            "repeats": len(self.values),
        }
        if self.met is not None:
            found["limit"] = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
            found["met"] = self.met
        share = self.share(limits)
        if share is not None:
            found["share_of"], found["share"] = self.share_of, share
        return found


def figure(name: str, unit: str, values: float | Sequence[float], **more: Any) -> Figure:
    """A figure of one value or of several repeats."""
    return Figure(name, unit, tuple(values) if isinstance(values, Sequence) else (values,), **more)


@dataclass(slots=True)
class Report:
    """What a bench answers: its figures, and what else is worth keeping."""

    what: str
    figures: list[Figure]
    processor: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self, name: str, machine: dict[str, Any]) -> dict[str, Any]:
        """The report as it is kept and given out; shares are of this machine's limits, where they have been measured."""
        limits = known_limits() if name != "limits" else {each.name: each.median for each in self.figures}
        found: dict[str, Any] = {
            "bench": name,
            "what": self.what,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "versions": software() | self.versions,
            "figures": [each.as_dict(limits) for each in self.figures],
        }
        for part in ("ratios", "processor", "runs", "notes"):
            if getattr(self, part):
                found[part] = getattr(self, part)
        return found


def rounded(value: float) -> float:
    """Four figures that count, or all in front of the point."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")


def machine() -> dict[str, Any]:
    """This machine: cores, processor, memory in GB, and how loaded it is."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def software() -> dict[str, Any]:
    """Versions of Python, of the libraries that the figures depend on, and of this code."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "commit": told.stdout.strip() or "unknown",
    }


def save(found: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Keep a report as `<bench>-<time>.json`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{found['bench']}-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    return path


def newest(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The last report of a bench on a machine like this one."""
    for path in sorted(folder.glob(f"{name}-*.json"), reverse=True):
        found: dict[str, Any] = json.loads(path.read_text())
        here = machine()
        if found["bench"] == name and all(found["machine"][part] == here[part] for part in ("cores", "processor")):
            return found
    return None


def known_limits(folder: Path = RESULTS) -> dict[str, float]:
    """What the bench `limits` last found here, by name; empty where it has not run."""
    found = newest("limits", folder) or {"figures": []}
    return {each["name"]: each["median"] for each in found["figures"]}


def show(found: dict[str, Any]) -> None:
    """Print a report: a line for each figure, a table of processor time, and what it ran on."""
    print(found["what"])
    width = max((len(each["name"]) for each in found["figures"]), default=0)
    for each in found["figures"]:
        print(f"  {each['name']:{width}} {_number(each['median']):>12} {each['unit']:10} {_beside(each)}".rstrip())
    for label, spent in found.get("processor", {}).items():
        parts = ", ".join(f"{role} {ms:g}" for role, ms in spent["ms"].items())
        print(
            f"  processor ms a {spent['per']}, {label}: {spent['total_ms']:g} ({parts}); {spent['cores']:g} cores in use,"
            f" {spent['others_cores']:g} by others"
        )
    if found.get("ratios"):
        print("  ratios: " + ", ".join(f"{name} {ratio:g}" for name, ratio in found["ratios"].items()))
    for note in found.get("notes", []):
        print(f"  {note}")
    on = found["machine"]
    print(
        f"  on {on['cores']} cores ({on['processor']}), {on['memory_gb']} GB, load at start {on['load_at_start']:g};"
        f" {', '.join(f'{name} {said}' for name, said in found['versions'].items())}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def _beside(each: dict[str, Any]) -> str:
    parts = []
    if each["repeats"] > 1:
        parts.append(f"{_number(each['min'])} to {_number(each['max'])} in {each['repeats']}")
    if "limit" in each:
        [(kind, limit)] = each["limit"].items()
        word = {"at_least": ">=", "at_most": "<="}[kind]
        parts.append(f"limit {word} {_number(limit)}: {'met' if each['met'] else 'NOT met'}")
    if "share" in each:
        parts.append(f"{_number(each['share'])} of {each['share_of']}")
    return "; ".join(parts)
