"""What the rows of the older system say of one flow, put together as it is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from domain.errors import PhaseUnknown, TypeUnknown
from domain.events import FlowImported, ImportedPhase, Origin
from domain.flow_types import FlowTypeConfig, FlowTypes, placeholder
from domain.words import Status
from mfo.legacy.reading import Row
from mfo.legacy.tables import ASSESSMENT, DISCOVERY, MASTER

Json = dict[str, Any]

KEPT = {"agent_collaboration_log": 100, "learning_patterns": 50, "user_feedback_history": 30}
KEPT_ERRORS, KEPT_TRANSITIONS, ERROR_BYTES = 10, 100, 4096
OBJECTS = (
    *("memory_usage_metrics", "performance_metrics", "resource_usage", "validation_results", "flow_metadata"),
    *("knowledge_base_analytics", "agent_performance_metrics", "crew_coordination_analytics", "adaptation_metrics"),
)
CHILD_OBJECTS = {
    DISCOVERY: (
        "phase_state",
        "agent_state",
        "crewai_state_data",
        "dependencies",
        "tech_debt_analysis",
        "error_details",
    ),
    ASSESSMENT: ("user_inputs",),
}
CHILD_LISTS = {
    DISCOVERY: ("field_mappings", "discovered_assets"),
    ASSESSMENT: ("selected_application_ids", "pause_points", "agent_insights", "apps_ready_for_planning"),
}
FLAGS = (
    "data_import",
    "field_mapping",
    "data_cleansing",
    "asset_inventory",
    "dependency_analysis",
    "tech_debt_assessment",
)
WITHOUT_PLACE = {"discovery": frozenset({"asset_creation", "data_validation"})}
"""Phases that the older system had beside ours: that they were done is kept, and says nothing of another phase."""
PHASES: dict[str, tuple[str, ...]] = {
    "assessment": ("readiness_assessment", "complexity_analysis", "risk_assessment", "recommendation_generation"),
    "planning": ("wave_planning", "resource_planning", "timeline_optimization"),
    "execution": ("pre_migration_validation", "migration_execution", "post_migration_validation"),
    "modernize": ("modernization_assessment", "architecture_redesign", "implementation_planning"),
    "finops": ("cost_analysis", "optimization_identification", "budget_planning"),
    "observability": ("monitoring_setup", "logging_configuration", "alerting_setup"),
    "decommission": ("decommission_planning", "data_migration", "system_shutdown"),
}
"""The phases of the older system's types, for those that are not known here."""
BETWEEN = frozenset({Status.INITIALIZED, Status.PROCESSING, Status.WAITING_FOR_INPUT})
LAST_WORD = frozenset({Status.DELETED, Status.CANCELLED})
"""What the master row alone may say; else the child's row is nearer to the work."""


class Old(msgspec.Struct, kw_only=True):
    """A flow of the older system, ready to be taken over. `rows` are the rows that told it, `parent` the flow above it."""

    flow_id: UUID
    client_account_id: UUID
    engagement_id: UUID
    fact: FlowImported
    rows: tuple[tuple[str, int], ...]
    parent: UUID | None = None

    @property
    def shown(self) -> Json:
        """What must be the same before and after."""
        fact = self.fact
        done = [phase.name for phase in fact.phases if phase.status in ("completed", "skipped")]
        return shown(self.flow_id, (self.client_account_id, self.engagement_id), fact, fact.status, done)


def shown(flow_id: UUID, tenant: tuple[UUID | None, UUID | None], flow: Any, status: str, done: Sequence[str]) -> Json:
    """The values of a flow that are compared; `flow` has them by their names."""
    return {
        "flow_id": str(flow_id),
        "client_account_id": str(tenant[0]),
        "engagement_id": str(tenant[1]),
        "flow_type": flow.flow_type,
        "flow_name": flow.flow_name,
        "flow_description": flow.flow_description,
        "flow_tags": list(flow.flow_tags),
        "flow_status": str(status),
        "phases_completed": list(done),
        "created_by": flow.created_by,
        "updated_by": flow.updated_by,
        "created_at": _at(flow.created_at),
        "updated_at": _at(flow.updated_at),
        "iteration_number": flow.iteration_number,
        "phases": [[phase.name, phase.execution_time_ms, _at(phase.completed_at)] for phase in flow.phases],
    }


def put_together(master: Row | None, child: Row | None, types: FlowTypes, import_id: str) -> Old | None:
    """The flow that a master row and its child's row tell, or one of them alone; none, with the faults noted in the rows, where
    they do not hold."""
    first = master or child
    assert first is not None
    flow_id = first.key
    account, engagement = first.uuid("client_account_id", required=True), first.uuid("engagement_id", required=True)
    if master is not None and child is not None:
        for name, ours in (("client_account_id", account), ("engagement_id", engagement)):
            if child.uuid(name, required=True) != ours:
                child.wrong(name, "is not that of its master row")
    fact = _Teller(master, child, types).fact(import_id)
    faults = [*(master.faults if master else ()), *(child.faults if child else ())]
    if faults or flow_id is None or account is None or engagement is None or fact is None:
        return None
    rows = tuple((row.raw.table, row.raw.number) for row in (master, child) if row is not None)
    parent = fact.parent_flow_id
    return Old(
        flow_id=flow_id, client_account_id=account, engagement_id=engagement, fact=fact, rows=rows, parent=parent
    )


class _Teller:
    """Reads the columns of a flow's rows, whichever of them has it."""

    def __init__(self, master: Row | None, child: Row | None, types: FlowTypes) -> None:
        self._master = master
        self._child = child
        self._rows = [row for row in (master, child) if row is not None]
        self._types = types
        self._former: Json = {}

    def _first(self, column: str, read: Callable[[Row], Any]) -> Any:
        """What the first row that has the column says."""
        for row in self._rows:
            if row.has(column):
                return read(row)
        return None

    def fact(self, import_id: str) -> FlowImported | None:
        flow_type = self._type()
        user = self._first("user_id", lambda row: row.text("user_id", 255))
        if user is None and self._master is not None:
            self._master.text("user_id", 255, required=True)
        status = self._status()
        created = self._rows[0].moment("created_at", required=True)
        if flow_type is None or status is None or created is None:
            return None
        updated = max((at for row in self._rows if (at := row.moment("updated_at"))), default=created)
        self._read_former()
        config, phases = self._phases(flow_type)
        error, errors = self._errors(status)
        if status in BETWEEN:
            touched = any(phase.status != "pending" for phase in phases)
            status = Status.WAITING_FOR_INPUT if touched and status is not Status.INITIALIZED else status
            status = Status.INITIALIZED if status is Status.PROCESSING else status
        phases = _failed(phases, error) if status is Status.FAILED else phases
        configuration, state = self._configuration(), self._state()
        initial = {**_object(configuration.get("initial_data")), **_object(state.get("inputs"))}
        name = self._first("flow_name", lambda row: row.text("flow_name", 255))
        key = self._rows[0].key
        by = user or "unknown"
        deletion = self._rows[0].mapping("deletion_metadata")
        return FlowImported(
            flow_type=config.name,
            flow_version=config.version,
            flow_name=name or f"{config.display_name} {str(key)[:8]}",
            phases=tuple(phases),
            status=str(status),
            origin=Origin(import_id=import_id, table=self._rows[0].raw.table, sha256=self._sha256()),
            created_at=created,
            updated_at=updated,
            created_by=self._rows[0].text("created_by", 255) or by,
            updated_by=self._rows[0].text("updated_by", 255) or by,
            completed_at=self._completed_at(status, updated),
            flow_description=self._first("flow_description", lambda row: row.text("flow_description", 4000)),
            flow_tags=tuple(self._rows[0].words("flow_tags")),
            initial_data=initial,
            parent_flow_id=self._rows[0].uuid("parent_flow_id"),
            iteration_number=int(self._rows[0].number("iteration_number", 1, 10_000, 1)),
            retry_count=int(self._rows[0].number("retry_count", 0, 1_000_000, 0)),
            error=error,
            errors=errors,
            transitions=tuple(self._rows[0].objects("phase_transitions", KEPT_TRANSITIONS)),
            deletion=_deletion(deletion, by, updated) if status is Status.DELETED else None,
            former=self._former,
        )

    def _type(self) -> str | None:
        own = {DISCOVERY: "discovery", ASSESSMENT: "assessment"}
        if self._master is None:
            assert self._child is not None
            return own[self._child.raw.table]
        found = self._master.text("flow_type", 50, required=True)
        word = found.strip().lower().replace("-", "_").replace(" ", "_") if found else None
        if word and self._child is not None and own[self._child.raw.table] != word:
            self._child.wrong("master_flow_id", f"its master row is of type {word}")
        return word

    def _status(self) -> Status | None:
        masters, word = self._master.status("flow_status") if self._master is not None else (None, None)
        childs, told = self._child.status("status") if self._child is not None else (None, None)
        self._former |= {name: text for name, text in (("flow_status", word), ("child_status", told)) if text}
        if self._child is None or masters in LAST_WORD:
            return masters
        return childs if self._master is None or masters is not None else None

    def _read_former(self) -> None:
        former = self._former
        former["progress_percentage"] = max(row.number("progress_percentage", 0, 100, 0) for row in self._rows)
        former["current_phase"] = self._first("current_phase", lambda row: row.text("current_phase", 100))
        if self._master is not None:
            for name in OBJECTS:
                former[name] = self._master.mapping(name)
            for name, most in KEPT.items():
                former[name] = self._master.objects(name, most)
            former["agent_insights"] = self._master.items("agent_insights")
            former["dependent_flow_ids"] = self._master.items("dependent_flow_ids")
            former["flow_version"] = self._master.text("flow_version", 50)
        if self._child is not None:
            table = self._child.raw.table
            kept: Json = {name: self._child.mapping(name) for name in CHILD_OBJECTS[table]}
            kept |= {name: self._child.items(name) for name in CHILD_LISTS[table]}
            for name in ("data_import_id", "learning_scope", "memory_isolation_level", "next_phase", "flow_id", "id"):
                kept[name] = self._child.text(name, 255)
            former[table] = {name: value for name, value in kept.items() if value not in (None, {}, [])}
        for name in [name for name, value in former.items() if value in (None, {}, [])]:
            del former[name]

    def _configuration(self) -> Json:
        found = self._rows[0].mapping("flow_configuration")
        if found:
            self._former["flow_configuration"] = found
        return found

    def _state(self) -> Json:
        column = "flow_persistence_data" if self._rows[0].has("flow_persistence_data") else "flow_state"
        found = self._rows[0].mapping(column)
        if found:
            self._former["flow_state"] = found
        return found

    def _phases(self, flow_type: str) -> tuple[FlowTypeConfig, list[ImportedPhase]]:
        done = self._done()
        times = {name: value for row in self._rows for name, value in row.mapping("phase_execution_times").items()}
        results = {
            name: value
            for row in self._rows
            for column in ("phase_results", "crew_outputs")
            for name, value in row.mapping(column).items()
        }
        try:
            config = self._types.get(flow_type)
        except TypeUnknown:
            named = [*done, *times, *results]
            known = PHASES.get(flow_type, ())
            config = placeholder(flow_type, dict.fromkeys((*known, *(name[:50] for name in named))) or ("unknown",))
        finished: set[str] = set()
        aside: list[str] = []
        for name in done:
            if name in WITHOUT_PLACE.get(flow_type, ()):
                aside.append(name)
                continue
            try:
                finished.add(config.phase(name).name)
            except PhaseUnknown:
                self._rows[0].wrong("phases_completed", f"{flow_type} has no phase {name!r}")
        if aside:
            self._former["phases_without_place"] = aside
        spent = self._by_phase(config, times, "phase_execution_times")
        outputs = self._by_phase(config, results, "phase_results")
        return config, [
            _phase(phase.name, phase.weight, phase.name in finished, spent.get(phase.name), outputs.get(phase.name))
            for phase in config.phases
        ]

    def _done(self) -> list[str]:
        """The names of the phases that some row says are done, in the order in which they are found."""
        named = [name for row in self._rows for name in row.words("phases_completed")]
        if self._child is not None and self._child.raw.table == DISCOVERY:
            named += [name for name in FLAGS if self._child.flag(f"{name}_completed")]
        if self._master is not None:
            moved = self._master.objects("phase_transitions", KEPT_TRANSITIONS)
            named += [str(one["phase"]) for one in moved if one.get("status") == "completed" and one.get("phase")]
        return list(dict.fromkeys(named))

    def _by_phase(self, config: FlowTypeConfig, values: Json, column: str) -> Json:
        found: Json = {}
        for name, value in values.items():
            try:
                found[config.phase(name).name] = value
            except PhaseUnknown:
                self._former.setdefault(column, {})[name] = value
        return found

    def _errors(self, status: Status) -> tuple[Json | None, tuple[Json, ...]]:
        column = "error_log" if self._rows[0].has("error_log") else "error_history"
        errors = [_short(each) for each in self._rows[0].objects(column, KEPT_ERRORS)]
        message = self._child.text("error_message", 100_000) if self._child is not None else None
        phase = self._child.text("error_phase", 100) if self._child is not None else None
        if message:
            errors.append(_short({"phase": phase, "code": "imported_failure", "message": message}))
        if status is not Status.FAILED:
            return None, tuple(errors[-KEPT_ERRORS:])
        last = errors[-1] if errors else {}
        text = str(last.get("message") or last.get("error") or "it had failed before it was imported")
        error = {"class": "unknown", "code": "imported_failure", "message": text[:500], "retryable": False}
        return error, tuple(errors[-KEPT_ERRORS:])

    def _completed_at(self, status: Status, updated: datetime) -> datetime | None:
        if status is not Status.COMPLETED:
            return None
        return self._first("completed_at", lambda row: row.moment("completed_at")) or updated

    def _sha256(self) -> str:
        return hashlib.sha256("".join(row.raw.sha256 for row in self._rows).encode()).hexdigest()


def _phase(name: str, weight: float, done: bool, spent: Any, result: Any) -> ImportedPhase:
    took = _object(spent)
    milliseconds = took.get("execution_time_ms", spent if isinstance(spent, int | float) else 0)
    told = _object(result)
    outputs = told["outputs"] if isinstance(told.get("outputs"), dict) else told
    return ImportedPhase(
        name=name,
        weight=weight,
        status="completed" if done else "pending",
        completed_at=_moment(took.get("completed_at")) if done else None,
        execution_time_ms=int(milliseconds) if isinstance(milliseconds, int | float) and milliseconds > 0 else 0,
        outputs=outputs if done else {},
    )


def _failed(phases: Iterable[ImportedPhase], error: Json | None) -> list[ImportedPhase]:
    """The phases with the next one failed."""
    told: list[ImportedPhase] = []
    for phase in phases:
        fails = error is not None and phase.status == "pending"
        told.append(msgspec.structs.replace(phase, status="failed", error=error) if fails else phase)
        error = None if fails else error
    return told


def _deletion(told: Json, by: str, at: datetime) -> Json:
    known = {"reason": told.get("reason"), "deleted_by": told.get("deleted_by") or by}
    return {**known, "deleted_at": told.get("deleted_at") or at.isoformat()}


def _short(error: Json) -> Json:
    """An error of at most about 4 KiB."""
    if len(msgspec.json.encode(error)) <= ERROR_BYTES:
        return error
    return {
        name: str(error[name])[:500] for name in ("timestamp", "phase", "code", "message", "error") if name in error
    }


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _moment(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _at(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


__all__ = ["ASSESSMENT", "DISCOVERY", "MASTER", "Old", "put_together", "shown"]
