"""What discovery costs: large inventories through the handlers of the service, each in a process of its own.

Three estates, made here from a seed: one list of 100,000 rows and 60 columns (as csv and as xlsx), 1,000,000
connections, and five files that speak of the same 50,000 machines. Seconds are CPU and wall of the child that runs the
phases, megabytes its peak resident set; the time to make the files is not counted.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.report import Report, figure, named

FLOW_ID = UUID("5f0c1e5a-3c1e-4f5f-9d6e-0f4a6d5e2b11")
TENANT = UUID("22222222-2222-2222-2222-222222222222")
INVENTORY = ("data_import", "field_mapping", "data_cleansing", "asset_inventory")
ALL = (*INVENTORY, "dependency_analysis", "tech_debt_assessment")
HANDLERS = {
    "data_import": "store_raw_data",
    "field_mapping": "apply_mappings",
    "data_cleansing": "cleanse_records",
    "asset_inventory": "build_inventory",
    "dependency_analysis": "analyse_dependencies",
    "tech_debt_assessment": "assess_tech_debt",
}
SYSTEMS = ("Windows Server 2016", "Windows Server 2019", "Red Hat Enterprise Linux 8", "Ubuntu 20.04 LTS")


@dataclass(frozen=True, slots=True)
class Measured:
    """One estate: how it is made, which phases count, and what it must stay under."""

    name: str
    make: Callable[[Path], list[Path]]
    phases: tuple[str, ...]
    seconds: float
    megabytes: int | None = None


def run(*, only: tuple[str, ...] = ()) -> Report:
    """Measure the estates, all of them unless named. Raises WrongUse where one is not known."""
    named("estate", only, [estate.name for estate in ESTATES])
    results = []
    with tempfile.TemporaryDirectory(prefix="mfo-bench-") as folder:
        for estate in ESTATES:
            if only and estate.name not in only:
                continue
            paths = estate.make(Path(folder))
            results.append(_measure(estate, paths))
            for path in paths:
                path.unlink()
    figures = []
    for found in results:
        figures += [
            figure(found["estate"], "s", found["wall_s"], at_most=found["limit_seconds"]),
            figure(f"{found['estate']}, processor", "s", found["cpu_s"]),
            figure(f"{found['estate']}, rows", "rows/s", found["rows"] / found["wall_s"]),
            figure(f"{found['estate']}, peak", "MB", found["peak_mb"], at_most=found["limit_megabytes"]),
        ]
    return Report("discovery, from the files to the last phase that counts", figures, runs=results)


def _measure(estate: Measured, paths: list[Path]) -> dict[str, Any]:
    order = json.dumps({"paths": [str(path) for path in paths], "phases": estate.phases})
    done = subprocess.run([sys.executable, "-m", "bench.estate", order], check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in paths)
    return {
        "estate": estate.name,
        "files_mb": round(size / 1e6, 1),
        "limit_seconds": estate.seconds,
        "limit_megabytes": estate.megabytes,
        **figures,
    }


# --- the estates ------------------------------------------------------------------------------------------------


def _wide(rows: int = 100_000, columns: int = 60) -> tuple[list[str], Callable[[int], list[Any]]]:
    """Header and row maker of one plain list: 14 columns that mean something, the others attributes."""
    header = [
        "Server Name", "FQDN", "IP Address", "MAC Address", "Serial Number", "Operating System", "vCPUs", "Memory (GB)",
        "Storage (GB)", "Environment", "Location", "Business Owner", "Application", "Power State",
    ]  # fmt: skip
    header += [f"Attribute {at}" for at in range(1, columns - len(header) + 1)]

    def row(number: int) -> list[Any]:
        name = f"srv{number:06d}"
        facts = [
            name,
            f"{name}.corp.example",
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            f"00:50:56:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            f"SN-{number * 7919 % 10**9:09d}",
            SYSTEMS[number % len(SYSTEMS)],
            2 << number % 5,
            4 << number % 6,
            50 * (1 + number % 40),
            ("PROD", "TEST", "DEV")[number % 3],
            ("Frankfurt", "Madrid")[number % 2],
            f"Owner {number % 300}",
            f"Application {number % 900}",
            "poweredOn" if number % 10 else "poweredOff",
        ]
        return facts + [f"value {(number * at) % (7 * at)}" for at in range(1, columns - len(facts) + 1)]

    return header, row


def wide_csv(folder: Path, rows: int = 100_000) -> list[Path]:
    """Rows of 60 columns, csv."""
    header, row = _wide()
    path = folder / "wide.csv"
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(header)
        out.writerows(map(row, range(rows)))
    return [path]


def wide_xlsx(folder: Path) -> list[Path]:
    """The same as a workbook."""
    import xlsxwriter

    header, row = _wide()
    path = folder / "wide.xlsx"
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet = book.add_worksheet("Servers")
        sheet.write_row(0, 0, header)
        for number in range(100_000):
            sheet.write_row(number + 1, 0, row(number))
    return [path]


def connections(folder: Path) -> list[Path]:
    """1,000,000 connections between 20,000 machines, about 150,000 of them distinct, and the list of the machines."""
    dice = random.Random(11)
    machines = folder / "machines.csv"
    with machines.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["Server Name", "IP Address", "Operating System", "vCPUs", "Memory (GB)"])
        out.writerows(
            [f"srv{n:05d}", f"10.1.{n >> 8}.{n & 255}", SYSTEMS[n % 4], 2 << n % 4, 4 << n % 5] for n in range(20_000)
        )
    path = folder / "connections.csv"
    ports = (443, 1433, 8080, 5432, 3306, 53, 389, 445, 9092, 22)
    edges = [(dice.randrange(20_000), dice.randrange(20_000), dice.choice(ports)) for _ in range(150_000)]
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(
            ["Timeslot", "Source server name", "Source application", "Source process", "Destination server name",
             "Destination IP", "Destination application", "Destination process", "Destination port"]
        )  # fmt: skip
        for at in range(1_000_000):
            source, target, port = edges[dice.randrange(150_000)]
            out.writerow(
                [f"2025-06-{1 + at % 28:02d} {at % 24:02d}:00", f"srv{source:05d}", f"App{source % 300}", "java.exe",
                 f"srv{target:05d}", f"10.1.{target >> 8}.{target & 255}", f"App{target % 300}", f"svc{port}.exe", port]
            )  # fmt: skip
    return [machines, path]


def five_files(folder: Path) -> list[Path]:
    """50,000 machines as five files see them: a list, a CMDB, two tabs of RVTools, an Azure Migrate template."""
    header, row = _wide(50_000, 24)

    def fqdn(n: int) -> str:
        return f"SRV{n:06d}.corp.example"

    def address(n: int) -> str:
        return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"

    views: dict[str, tuple[list[str], Callable[[int], list[Any]]]] = {
        "list.csv": (header, row),
        "cmdb.csv": (
            ["name", "fqdn", "serial_number", "ip_address", "os", "cpu_core_count", "ram", "u_environment", "owned_by"],
            lambda n: [
                f"SRV{n:06d}", fqdn(n), f"SN-{n * 7919 % 10**9:09d}", address(n), SYSTEMS[n % 4],
                (2 << n % 5) * (2 if n % 50 == 0 else 1), (4 << n % 6) * 1024, ("prod", "qa", "dev")[n % 3],
                f"Owner {n % 300}",
            ],
        ),
        "RVTools_tabvInfo.csv": (
            ["VM", "Powerstate", "Template", "DNS Name", "CPUs", "Memory", "Primary IP Address",
             "Total disk capacity MiB", "OS according to the VMware Tools", "VM ID", "VM UUID"],
            lambda n: [
                f"srv{n:06d}", "poweredOn", "False", fqdn(n), 2 << n % 5, (4 << n % 6) * 1024, address(n),
                51_200 * (1 + n % 40), SYSTEMS[n % 4], f"vm-{n}", str(UUID(int=n + (1 << 96))),
            ],
        ),
        "RVTools_tabvNetwork.csv": (
            ["VM", "NIC label", "Adapter", "Mac Address", "IPv4 Address", "VM ID", "VM UUID"],
            lambda n: [
                f"srv{n:06d}", "Network adapter 1", "Vmxnet3",
                f"00:50:56:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", address(n), f"vm-{n}",
                str(UUID(int=n + (1 << 96))),
            ],
        ),
        "azure.csv": (
            ["*Server name", "IP addresses", "*Cores", "*Memory (In MB)", "*OS name", "CPU utilization percentage",
             "Memory utilization percentage"],
            lambda n: [fqdn(n).lower(), address(n), 2 << n % 5, (4 << n % 6) * 1024, SYSTEMS[n % 4], n % 90, n % 70],
        ),
    }  # fmt: skip
    paths = []
    for name, (columns, view) in views.items():
        path = folder / name
        with path.open("w", newline="") as stream:
            out = csv.writer(stream)
            out.writerow(columns)
            out.writerows(map(view, range(50_000)))
        paths.append(path)
    return paths


ESTATES = (
    Measured("wide-csv", wide_csv, INVENTORY, 10.0, 400),
    Measured("wide-xlsx", wide_xlsx, INVENTORY, 10.0, 400),
    Measured("connections", connections, ALL, 30.0),
    Measured("five-files", five_files, ALL, 60.0),
)


# --- the child --------------------------------------------------------------------------------------------------


class _Folder:
    """Artifacts as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / digest).write_bytes(data)
        return {"artifact": digest, "size_bytes": len(data), "media_type": media_type}

    async def put_file(self, path: Path, media_type: str = "application/json") -> dict[str, Any]:
        return await asyncio.to_thread(self._take, path, media_type)

    def _take(self, path: Path, media_type: str) -> dict[str, Any]:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        shutil.copyfile(path, self.folder / digest)
        return {"artifact": digest, "size_bytes": path.stat().st_size, "media_type": media_type}

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        return (self.folder / str(ref["artifact"])).read_bytes()

    async def fetch(self, ref: Mapping[str, Any]) -> Path:
        return self.folder / str(ref["artifact"])


class _NoPast:
    """A tenant with no other flows."""

    async def learned(self) -> list[dict[str, Any]]:
        return []

    async def former(self, number: int) -> None:
        return None

    async def earlier_inventory(self, wanted: str = "latest") -> None:
        return None


class _Files:
    """Uploads that are on disk already."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = {f"file-{at}": path for at, path in enumerate(paths, 1)}

    async def open(self, import_file_id: str) -> Any:
        from consumers.context import ImportFile

        path = self.paths[import_file_id]
        return ImportFile(import_file_id, path.name, "0" * 64, path.stat().st_size, path)


async def _phases(paths: list[Path], phases: list[str]) -> dict[str, Any]:
    from consumers.context import PhaseContext
    from consumers.phases import discovery
    from consumers.steps import Steps

    files = _Files(paths)
    outputs: dict[str, dict[str, Any]] = {}
    inputs = {
        "import_file_ids": list(files.paths),
        "auto_approve_mappings": True,
        "reference_date": "2025-06-01",
        "compare_with": "none",
    }
    figures: dict[str, Any] = {"phases": {}}
    with tempfile.TemporaryDirectory(prefix="mfo-bench-artifacts-") as folder:
        artifacts = _Folder(Path(folder))
        for phase in phases:
            began, wall = time.process_time(), time.perf_counter()
            context = PhaseContext(
                flow_id=FLOW_ID,
                flow_type="discovery",
                phase=phase,
                run_id=FLOW_ID,
                attempt=1,
                client_account_id=TENANT,
                engagement_id=TENANT,
                user_id="bench",
                inputs=inputs,
                outputs=outputs,
                artifacts=artifacts,
                imports=files,
                past=_NoPast(),
                steps=Steps({}, None),
                folder=lambda: Path(folder),
            )
            # handlers of discovery are all async
            work: Any = discovery.HANDLERS[HANDLERS[phase]](context)
            outputs[phase] = await work
            figures["phases"][phase] = {
                "cpu_s": round(time.process_time() - began, 2),
                "wall_s": round(time.perf_counter() - wall, 2),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
    figures["cpu_s"] = round(sum(phase["cpu_s"] for phase in figures["phases"].values()), 2)
    figures["wall_s"] = round(sum(phase["wall_s"] for phase in figures["phases"].values()), 2)
    figures["peak_mb"] = max(phase["peak_mb"] for phase in figures["phases"].values())
    figures["rows"] = outputs["data_import"]["rows"]
    figures["assets"] = outputs["asset_inventory"]["assets_total"]
    if "dependency_analysis" in outputs:
        figures["dependencies"] = outputs["dependency_analysis"]["dependencies_total"]
    return figures


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(_phases([Path(path) for path in given["paths"]], given["phases"]))))
