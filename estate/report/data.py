"""What a report is made of: the rows and outputs of a flow's phases, in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from estate.assets import AssetFacts, read_facts
from estate.errors import EstateError
from estate.ndjson import read_ndjson

ABOUT = "outputs.json"


@dataclass(frozen=True, slots=True)
class ReportData:
    """A folder with `outputs.json` and the rows, which are read anew each time they are asked for.

    Rows of a kind are in a file `<kind>.ndjson` or several `<kind>.<n>.ndjson`: assets, dependencies, issues, findings,
    scores, move_groups, reviews, rejected, set_aside, `changes` since an earlier discovery, and `changes_made`, the
    values that cleansing changed.

    `flow` tells which flow this is (`flow_id, flow_name, engagement_id, created_at, phases{<name>: {status,
    completed_at}}`), `outputs` what each phase said, `made_at` when the report was asked for (ISO 8601).
    """

    folder: Path
    flow: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    made_at: str | None = None

    @classmethod
    def load(cls, folder: Path) -> ReportData:
        """The data in a folder; raises EstateError `report_data_missing`."""
        try:
            about = orjson.loads((folder / ABOUT).read_bytes())
            return cls(folder, about.get("flow") or {}, about.get("outputs") or {}, about.get("made_at"))
        except (OSError, ValueError, AttributeError) as error:
            raise EstateError(
                "report_data_missing", f"The folder has no {ABOUT} that can be read; complete the discovery first."
            ) from error

    def has(self, kind: str) -> bool:
        """Whether the discovery told rows of this kind at all, none of them included."""
        return bool(self._files(kind))

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """The rows of a kind, one by one, file by file; none where there is no such file."""
        for path in self._files(kind):
            yield from read_ndjson(path)

    def facts(self) -> Iterator[AssetFacts]:
        """The assets again, without what is the estate's own."""
        for path in self._files("assets"):
            yield from read_facts(path)

    def _files(self, kind: str) -> list[Path]:
        return sorted(self.folder.glob(f"{kind}.*ndjson"))

    def not_taken(self) -> Iterator[dict[str, Any]]:
        """The rows that are in no asset and no dependency, each once: those that cleansing rejected, set-apart rows of
        the tables it was given among them, then what was set apart in other tables. The cells of the latter are left
        out: they stand under no name by which they could be masked."""
        places = set()
        for row in self.rows("rejected"):
            places.add(_place(row))
            yield row
        for row in self.rows("set_aside"):
            if _place(row) not in places:
                yield {name: row.get(name) for name in ("source", "reason", "message")}

    def tables(self) -> Iterator[dict[str, Any]]:
        """The tables that were read, with the file that each is in."""
        for file in self.of("data_import").get("files") or ():
            for table in file.get("tables") or ():
                yield {"file": file.get("filename"), **table}

    def of(self, phase: str) -> Mapping[str, Any]:
        """The outputs of a phase; empty where it has not been completed."""
        return self.outputs.get(phase) or {}


def _place(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    source = row.get("source") or {}
    return source.get("file"), source.get("sheet"), source.get("row")
