"""How busy machines are, and what size would do: measurements summed up, and right-sizing by a stated formula."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from estate.assets import AssetFacts
from estate.clean import CleanColumn, CleanTable
from estate.errors import EstateError
from estate.instants import instant


@dataclass(frozen=True, slots=True)
class _Measure:
    name: str
    average: str
    peak: str | None = None
    p95: str | None = None
    added: bool = False
    """Several columns are parts of one figure (read and write, in and out) and are added up row by row."""


MEASURES = (
    _Measure("cpu_percent", "cpu_utilization_percent", "cpu_utilization_peak_percent", "cpu_utilization_p95_percent"),
    _Measure(
        "memory_percent",
        "memory_utilization_percent",
        "memory_utilization_peak_percent",
        "memory_utilization_p95_percent",
    ),
    _Measure("memory_used_gb", "memory_used_gb"),
    _Measure("disk_iops", "disk_iops", added=True),
    _Measure("disk_mb_per_s", "disk_mb_per_s", added=True),
    _Measure("network_mb_per_s", "network_mb_per_s", added=True),
)
"""What is measured, and the targets that tell it."""


@dataclass(slots=True)
class _Samples:
    """What was read of one measure of one machine."""

    values: array[float]
    peaks: array[float]
    percentiles: array[float]
    times: set[str]

    def __bool__(self) -> bool:
        return bool(self.values or self.peaks or self.percentiles)


Readings = tuple[CleanTable, Sequence[int]]
"""The rows (places from 0) of one table that speak of one machine."""


def measure(readings: Iterable[Readings]) -> dict[str, dict[str, Any]]:
    """Sum up the measurements of one machine: `{measure: figures}`.

    The measures are `cpu_percent, memory_percent` (0..100), `memory_used_gb` (GiB), `disk_iops` (a second),
    `disk_mb_per_s, network_mb_per_s`. The figures are `{average, p95, peak, samples, from, to}`; what is not known is
    left out. `average` is the mean of the readings. `p95` is the nearest-rank percentile: the readings in ascending
    order, the one at place ceil(0.95 n); it is told from two readings on, for one reading is no distribution. Where
    the source states P95s of its own (of finer readings than it lists), the highest of them is it. `peak` is the
    highest reading or stated peak. `from` and `to` are the first and last time of a reading, as written there.

    Columns that are parts of one figure (read and write, in and out: one rank) are added up row by row; a row that lacks one of
    the parts the machine has elsewhere is no reading. Rows of one machine and one time that tell different parts of
    it (`detail_key`: a disk, a card, a core) are one reading: rates are added, percentages averaged, and peaks, which
    cannot be added, left out. A time that an earlier table told is not counted again.
    """
    known = list(readings)
    told = {}
    for one in MEASURES:
        samples = _Samples(array("d"), array("d"), array("d"), set())
        for table, rows in known:
            _read(one, table, rows, samples)
        if samples:
            told[one.name] = _summed_up(samples)
    return told


def _read(one: _Measure, table: CleanTable, rows: Sequence[int], samples: _Samples) -> None:
    """Take the readings of one measure out of a table; times that were read before are skipped."""
    values = _values(table.of(one.average), rows, added=one.added)
    peaks = _values(table.of(one.peak), rows) if one.peak else None
    percentiles = _values(table.of(one.p95), rows) if one.p95 else None
    if values is None and peaks is None and percentiles is None:
        return
    blank: list[float | None] = [None] * len(rows)
    stamps = _times(table, rows) or blank
    parts = table.of("detail_key")
    if parts:
        values, stamps = _parts_joined(one, values or blank, stamps, [parts[0][row] for row in rows])
        blank = [None] * len(values)
        peaks = percentiles = None
    seen: set[str] = set()
    for value, peak, percentile, stamp in zip(
        values or blank, peaks or blank, percentiles or blank, stamps, strict=True
    ):
        if value is peak is percentile is None or stamp in samples.times:
            continue
        if stamp is not None:
            seen.add(stamp)
        for kept, read in ((samples.values, value), (samples.peaks, peak), (samples.percentiles, percentile)):
            if read is not None:
                kept.append(read)
    samples.times |= seen


def _times(table: CleanTable, rows: Sequence[int]) -> list[Any] | None:
    columns = table.of("measured_at", "observed_at")
    return [columns[0][row] for row in rows] if columns else None


def _values(columns: list[CleanColumn], rows: Sequence[int], *, added: bool = False) -> list[float | None] | None:
    """A value for each of the rows; None where the machine has none at all."""
    by_rank: dict[int, list[list[float | None]]] = {}
    for column in columns:
        values = [column.values[column.codes[row]] for row in rows]
        if any(value is not None for value in values):
            by_rank.setdefault(column.use.rank if added else len(by_rank), []).append(values)
    told = [
        parts[0] if len(parts) == 1 else [None if None in row else math.fsum(row) for row in zip(*parts, strict=True)]
        for parts in by_rank.values()
    ]
    if len(told) < 2:
        return told[0] if told else None
    return [next((value for value in values if value is not None), None) for values in zip(*told, strict=True)]


def _parts_joined(
    one: _Measure, values: Sequence[float | None], stamps: Sequence[Any], parts: Sequence[Any]
) -> tuple[list[float | None], list[Any]]:
    """(values, times): one reading of all parts of a machine; the second row of a part and time is a second reading."""
    told: dict[tuple[Any, Any], int] = {}
    readings: dict[tuple[Any, int], list[float]] = {}
    for value, stamp, part in zip(values, stamps, parts, strict=True):
        if value is not None:
            place = told[stamp, part] = told.get((stamp, part), -1) + 1
            readings.setdefault((stamp, place), []).append(value)
    joined: list[float | None] = [
        math.fsum(read) if one.added else math.fsum(read) / len(read) for read in readings.values()
    ]
    return joined, [stamp for stamp, _ in readings]


def _summed_up(samples: _Samples) -> dict[str, Any]:
    values = sorted(samples.values)
    figures: dict[str, Any] = {}
    if values:
        figures["average"] = _rounded(math.fsum(values) / len(values))
    if samples.percentiles:
        figures["p95"] = _rounded(max(samples.percentiles))
    elif len(values) > 1:
        figures["p95"] = _rounded(nearest_rank(values, 95))
    if samples.peaks:
        figures["peak"] = _rounded(max(*samples.peaks, *values, -math.inf))
    elif len(values) > 1:
        figures["peak"] = _rounded(values[-1])
    figures["samples"] = len(values) or len(samples.peaks) or len(samples.percentiles)
    if samples.times:
        figures["from"] = min(samples.times, key=instant)
        figures["to"] = max(samples.times, key=instant)
    return figures


def nearest_rank(values: Sequence[float], percent: int) -> float:
    """The percentile of values in ascending order by nearest rank: the one at place ceil(percent / 100 x n), from 1."""
    return values[max(1, -(-percent * len(values) // 100)) - 1]


def _rounded(value: float) -> float:
    return round(value, 4)


# --- right-sizing ---------------------------------------------------------------------------------------------

COMFORT = 1.3
"""The head room of Azure Migrate's performance-based sizing: 30 %."""
UNDER_USED_PERCENT = 20.0
OVER_USED_PERCENT = 80.0
IDLE_CPU_PERCENT = 5.0
IDLE_NETWORK_MB_PER_S = 0.01
"""About what agents and a directory make by themselves: 10 KB a second."""
_BASES = ("p95", "peak", "average")
"""The figures a size may rest on, the best first."""
_CORE_STEPS = ((2, 1), (16, 2), (32, 4), (math.inf, 8))
_MEMORY_STEPS = ((8, 1), (32, 2), (128, 4), (math.inf, 8))
"""(up to, in steps of)."""


@dataclass(frozen=True, slots=True)
class _Size:
    """What one resource should be, and the sentence that says why."""

    value: float
    basis: str
    formula: str


def recommend(asset: AssetFacts, *, comfort: float = COMFORT) -> dict[str, Any] | None:
    """The size that a machine's use asks for; None where no use of it is known, or not its size.

    None, too, for a machine that is off, and for what is not moved as a machine (a hypervisor, an appliance).

    `{cpu_cores, memory_gb, basis, cpu_basis, memory_basis, comfort, cores_now, memory_now, cores_saving,
    memory_saving, flags[], formula}`. `cpu_cores` or `memory_gb` is None where that use is unknown: keep what is
    there. needed = size now x use % / 100 x comfort, the use being the P95, else the peak, else the average
    (`*_basis`; `basis` is the weaker one, and an average says nothing of peaks: confirm before shrinking). Rounded up:
    cores to 1, 2, then steps of 2 up to 16, of 4 up to 32, of 8 above; memory to steps of 1 GiB up to 8, 2 up to 32,
    4 up to 128, 8 above. Rounding never makes a machine larger whose need fits what it has; nothing is below 1 core or
    1 GiB. A saving is now - recommended, negative where more is needed. `flags` are those of `judge`.

    Raises EstateError `comfort_invalid` for a comfort factor below 1.
    """
    if not comfort >= 1 or math.isinf(comfort):
        raise EstateError("comfort_invalid", f"The comfort factor is {comfort}; give a number of at least 1, as 1.3.")
    if not asset.migratable or asset.power_state == "off":
        return None
    cpu, memory = _cores(asset, comfort), _memory(asset, comfort)
    sizes = [size for size in (cpu, memory) if size is not None]
    if not sizes:
        return None
    now = asset.cpu_cores, asset.memory_gb
    return {
        "cpu_cores": int(cpu.value) if cpu else None,
        "memory_gb": memory.value if memory else None,
        "basis": max((size.basis for size in sizes), key=_BASES.index),
        "cpu_basis": cpu.basis if cpu else None,
        "memory_basis": memory.basis if memory else None,
        "comfort": comfort,
        "cores_now": now[0],
        "memory_now": now[1],
        "cores_saving": now[0] - int(cpu.value) if cpu and now[0] is not None else None,
        "memory_saving": round(now[1] - memory.value, 2) if memory and now[1] is not None else None,
        "flags": judge(asset),
        "formula": "; ".join(size.formula for size in sizes),
    }


def judge(asset: AssetFacts) -> list[str]:
    """How well a machine's size is used: `cpu_under_used, cpu_over_used, memory_under_used, memory_over_used, idle`.

    Under-used: P95 (else the peak) below 20 %. Over-used: P95 (else the average) above 80 %. Idle: CPU P95 (else the
    peak) below 5 % and network P95 (else the peak) below 0.01 MB/s. What is not known raises no flag.
    """
    flags = []
    for name in ("cpu", "memory"):
        figures = _use(asset, f"{name}_percent")
        high = figures.get("p95", figures.get("peak"))
        if high is not None and high < UNDER_USED_PERCENT:
            flags.append(f"{name}_under_used")
        elif figures.get("p95", figures.get("average", 0.0)) > OVER_USED_PERCENT:
            flags.append(f"{name}_over_used")
    cpu, network = _use(asset, "cpu_percent"), _use(asset, "network_mb_per_s")
    busy = cpu.get("p95", cpu.get("peak", math.inf))
    sent = network.get("p95", network.get("peak", math.inf))
    if busy < IDLE_CPU_PERCENT and sent < IDLE_NETWORK_MB_PER_S:
        flags.append("idle")
    return flags


def _use(asset: AssetFacts, measured: str) -> dict[str, Any]:
    """The figures of a measure; a single figure of the inventory counts as the average."""
    figures = {basis: value for basis, value in asset.utilization.get(measured, {}).items() if value is not None}
    single = {"cpu_percent": asset.cpu_utilization_percent, "memory_percent": asset.memory_utilization_percent}
    if single.get(measured) is not None:
        figures.setdefault("average", single[measured])
    return figures


def _basis(figures: dict[str, Any]) -> str | None:
    return next((basis for basis in _BASES if basis in figures), None)


def _cores(asset: AssetFacts, comfort: float) -> _Size | None:
    figures = _use(asset, "cpu_percent")
    basis = _basis(figures)
    if basis is None or not asset.cpu_cores:
        return None
    needed = asset.cpu_cores * figures[basis] / 100 * comfort
    value = _stepped(needed, asset.cpu_cores, _CORE_STEPS)
    said = f"{asset.cpu_cores} cores x {_shown(figures[basis])} % ({_title(basis)}) / 100 x {_shown(comfort)}"
    return _Size(value, basis, f"{said} = {_shown(needed)}, rounded up to {_shown(value)} cores")


def _memory(asset: AssetFacts, comfort: float) -> _Size | None:
    figures, used = _use(asset, "memory_percent"), _use(asset, "memory_used_gb")
    basis = _basis(figures)
    if basis is not None and asset.memory_gb:
        needed = asset.memory_gb * figures[basis] / 100 * comfort
        said = f"{_shown(asset.memory_gb)} GiB x {_shown(figures[basis])} % ({_title(basis)}) / 100 x {_shown(comfort)}"
    else:
        basis = _basis(used)
        if basis is None:
            return None
        needed = used[basis] * comfort
        said = f"{_shown(used[basis])} GiB used ({_title(basis)}) x {_shown(comfort)}"
    value = _stepped(needed, asset.memory_gb, _MEMORY_STEPS)
    return _Size(value, basis, f"{said} = {_shown(needed)}, rounded up to {_shown(value)} GiB")


def _stepped(needed: float, now: float | None, steps: Sequence[tuple[float, int]]) -> float:
    """The need rounded up to the next step, at least 1; no more than now where the need fits now."""
    need = round(needed, 6)
    step = next(step for most, step in steps if need <= most)
    rounded = float(math.ceil(need / step) * step)
    if now is not None and need <= now:
        rounded = min(rounded, now)
    return max(1.0, rounded)


def _title(basis: str) -> str:
    return basis.upper() if basis == "p95" else basis


def _shown(number: float) -> str:
    return f"{round(number, 2):g}"
