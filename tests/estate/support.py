"""A run of the six phases on local files, with artifacts kept in memory and other flows made up."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from consumers.context import Crew, ImportFile, Outputs, PhaseContext
from consumers.phases.discovery import HANDLERS, VALIDATORS
from consumers.steps import Steps
from domain.errors import ArtifactNotFound, ImportNotFound
from estate.ndjson import load_ndjson

FLOW_ID = UUID("6f1c1ab0-8f0e-4f7a-9a57-0d4a3a1f5c11")
TENANT = UUID("11111111-1111-1111-1111-111111111111")

PHASES: dict[str, tuple[tuple[str, ...], str]] = {
    "data_import": (("file_exists", "import_options_valid", "file_format_valid"), "store_raw_data"),
    "field_mapping": (("mappings_complete",), "apply_mappings"),
    "data_cleansing": (("reference_date_valid",), "cleanse_records"),
    "asset_inventory": (("compare_with_valid",), "build_inventory"),
    "dependency_analysis": ((), "analyse_dependencies"),
    "tech_debt_assessment": (("reference_date_valid", "comfort_factor_valid"), "assess_tech_debt"),
}
TODAY = dt.date(2025, 6, 1)


@dataclass
class MemoryArtifacts:
    """Artifacts by content hash, in a dict."""

    folder: Path
    kept: dict[str, bytes] = field(default_factory=dict)

    async def put(self, data: bytes, media_type: str = "application/json") -> dict[str, Any]:
        """Keep the bytes."""
        return self._keep(data, media_type)

    async def get(self, ref: Mapping[str, Any]) -> bytes:
        """The bytes again."""
        if ref["artifact"] not in self.kept:
            raise ArtifactNotFound
        return self.kept[ref["artifact"]]

    async def put_file(self, path: Path, media_type: str = "application/octet-stream") -> dict[str, Any]:
        """Keep a file's bytes."""
        with path.open("rb") as file:
            return self._keep(file.read(), media_type)

    async def fetch(self, ref: Mapping[str, Any]) -> Path:
        """The bytes as a file."""
        path = self.folder / str(ref["artifact"])
        with path.open("wb") as file:
            file.write(await self.get(ref))
        return path

    def _keep(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        self.kept[digest] = data
        return {"artifact": digest, "size_bytes": len(data), "media_type": media_type}


@dataclass
class LocalImports:
    """Uploads that are files on disk."""

    files: dict[str, Path] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, path: Path) -> str:
        """Register a file; its import file id."""
        import_file_id = f"file-{len(self.files) + 1}"
        self.files[import_file_id] = path
        return import_file_id

    async def open(self, import_file_id: str) -> ImportFile:
        """The file under that id."""
        if import_file_id not in self.files:
            raise ImportNotFound
        path = self.files[import_file_id]
        data = path.read_bytes()
        options = self.options.get(import_file_id, {})
        return ImportFile(import_file_id, path.name, hashlib.sha256(data).hexdigest(), len(data), path, options)


@dataclass
class OtherFlows:
    """What other flows have found and been told."""

    mappings: list[dict[str, Any]] = field(default_factory=list)
    inventories: list[tuple[UUID, dict[str, Any]]] = field(default_factory=list)
    rounds: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)

    async def former(self, number: int) -> dict[str, dict[str, Any]] | None:
        """The outputs of a former round of this flow."""
        return self.rounds.get(number)

    async def learned(self) -> list[dict[str, Any]]:
        """The mappings that people decided."""
        return self.mappings

    async def earlier_inventory(self, wanted: str = "latest") -> tuple[UUID, dict[str, Any]] | None:
        """The newest, or the one of that flow."""
        found = [one for one in self.inventories if wanted in ("latest", str(one[0]))]
        return found[-1] if found else None


class Invalidated(Exception):
    """A validator objected."""

    def __init__(self, objections: list[Any]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.message}" for one in objections))
        self.objections = objections


class Discovery:
    """One flow: phases run in order, outputs collected."""

    def __init__(self, *paths: Path, flow_id: UUID = FLOW_ID, **inputs: Any) -> None:
        self.imports = LocalImports()
        self.folder = Path(tempfile.mkdtemp(prefix="mfo-test-run-"))
        # removed with the flow
        weakref.finalize(self, shutil.rmtree, self.folder)
        self.artifacts = MemoryArtifacts(self.folder)
        self.past = OtherFlows()
        self.flow_id = flow_id
        ids = [self.imports.add(path) for path in paths]
        self.inputs: dict[str, Any] = (
            {"import_file_id": ids[0]} if len(ids) == 1 else {"import_file_ids": ids}
        ) | inputs
        self.outputs: dict[str, Outputs] = {}
        self.heartbeats: list[tuple[int, int, str]] = []
        self.crew: Crew | None = None
        self.attempts = (1, 1)
        self.iteration = 1
        self.steps: dict[str, Any] = {}
        self.insights: list[dict[str, Any]] = []
        self.usage: dict[str, Any] = {}

    def context(self, phase: str) -> PhaseContext:
        """What the phase is given."""

        async def progress(done: int, total: int, message: str) -> None:
            self.heartbeats.append((done, total, message))

        async def keep(results: dict[str, Any]) -> None:
            self.steps.update(results)

        self.insights, self.usage = [], {}
        return PhaseContext(
            flow_id=self.flow_id,
            flow_type="discovery",
            phase=phase,
            run_id=UUID(int=len(self.outputs) + 1),
            attempt=self.attempts[0],
            max_attempts=self.attempts[1],
            client_account_id=TENANT,
            engagement_id=TENANT,
            user_id="tester",
            inputs=self.inputs,
            outputs=self.outputs,
            artifacts=self.artifacts,
            imports=self.imports,
            past=self.past,
            steps=Steps(self.steps, keep),
            crew=self.crew,
            insights=self.insights,
            usage=self.usage,
            folder=lambda: self.folder,
            today=TODAY,
            progress=progress,
            iteration=self.iteration,
        )

    async def run(self, phase: str) -> Outputs:
        """Validate and run one phase."""
        validators, handler = PHASES[phase]
        for name in validators:
            objections = await VALIDATORS[name](self.context(phase))
            if objections:
                raise Invalidated(objections)
        self.outputs[phase] = await HANDLERS[handler](self.context(phase))
        return self.outputs[phase]

    async def run_all(self) -> dict[str, Outputs]:
        """Validate and run all six."""
        for phase in PHASES:
            await self.run(phase)
        return self.outputs

    def rows(self, phase: str, name: str) -> list[dict[str, Any]]:
        """The rows behind an artifact reference in a phase's outputs."""
        return list(load_ndjson(self.artifacts.kept[self.outputs[phase][name]["artifact"]]))


def real(*names: str) -> list[Path]:
    """Real exports from the folder named by MFO_TEST_DATA; the test is skipped where the folder is absent."""
    folder = Path(os.environ.get("MFO_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")).resolve()
    paths = [folder / name for name in names]
    if not all(path.exists() for path in paths):
        pytest.skip(f"the real exports are not in {folder}; set MFO_TEST_DATA to the folder that holds them")
    return paths


RVTOOLS = tuple(f"rvtools/RVTools_tab{tab}.csv" for tab in ("vInfo", "vCPU", "vMemory", "vDisk", "vPartition", "vHost"))
