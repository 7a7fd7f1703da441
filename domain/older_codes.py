"""The older system's error codes, for callers that still ask for them: one table, by error and by what it is a kind of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from domain import errors
from domain.errors import MfoError


class OlderCode(NamedTuple):
    """A code of the older system, its category and how severe it was there."""

    code: str
    category: str
    severity: str


# an error that is not named here has the code of what it is a kind of
TABLE: dict[type[MfoError], OlderCode] = {
    errors.MfoError: OlderCode("PROC_001", "unknown", "high"),
    errors.Refused: OlderCode("FLOW_003", "business_logic", "medium"),
    errors.FlowNotFound: OlderCode("FLOW_002", "validation", "medium"),
    errors.FlowExists: OlderCode("FLOW_001", "business_logic", "medium"),
    errors.NotSupported: OlderCode("FLOW_001", "business_logic", "medium"),
    errors.VersionMoved: OlderCode("FLOW_004", "business_logic", "medium"),
    errors.RunNotCurrent: OlderCode("FLOW_004", "business_logic", "medium"),
    errors.CheckpointBroken: OlderCode("FLOW_004", "execution", "high"),
    errors.ParentNotFound: OlderCode("DEP_001", "business_logic", "medium"),
    errors.ParentIsOver: OlderCode("DEP_001", "business_logic", "medium"),
    errors.DependencyNotFound: OlderCode("DEP_001", "business_logic", "medium"),
    errors.DependencyCircular: OlderCode("DEP_001", "business_logic", "medium"),
    errors.FlowGated: OlderCode("DEP_001", "business_logic", "medium"),
    errors.TypeVersionUnknown: OlderCode("MIG_001", "validation", "medium"),
    errors.NotMigratable: OlderCode("MIG_001", "business_logic", "medium"),
    errors.PhaseUnknown: OlderCode("VAL_001", "validation", "low"),
    errors.InputsMissing: OlderCode("VAL_001", "validation", "low"),
    errors.InputInvalid: OlderCode("VAL_001", "validation", "low"),
    errors.OutputsInvalid: OlderCode("VAL_001", "validation", "low"),
    errors.KeyReused: OlderCode("VAL_001", "validation", "low"),
    errors.NotAnAssignee: OlderCode("AUTH_002", "permission", "medium"),
    errors.NotAllowed: OlderCode("AUTH_002", "permission", "medium"),
    errors.Invalid: OlderCode("VAL_001", "validation", "low"),
    errors.TenantMissing: OlderCode("SEC_001", "permission", "high"),
    errors.TypeUnknown: OlderCode("CFG_001", "validation", "medium"),
    errors.UploadInvalid: OlderCode("IMP_001", "validation", "medium"),
    errors.UploadTooLarge: OlderCode("IMP_001", "resource", "medium"),
    errors.ImportOptionsInvalid: OlderCode("IMP_001", "validation", "medium"),
    errors.NotHere: OlderCode("FLOW_002", "validation", "low"),
    errors.ImportNotFound: OlderCode("IMP_001", "validation", "low"),
    errors.OperatorOnly: OlderCode("AUTH_001", "permission", "medium"),
    errors.Unavailable: OlderCode("RES_001", "resource", "high"),
    errors.StoreUnavailable: OlderCode("DB_001", "database", "critical"),
    errors.StoreBusy: OlderCode("DB_001", "database", "high"),
    errors.ReadModelBehind: OlderCode("NET_001", "timeout", "low"),
    errors.SettingsError: OlderCode("CFG_001", "validation", "critical"),
    errors.RegistrationError: OlderCode("CFG_001", "validation", "critical"),
    errors.SchemaBehind: OlderCode("DB_001", "database", "critical"),
    errors.SchemaAhead: OlderCode("DB_001", "database", "critical"),
}
FAILURES: dict[str, OlderCode] = {
    "crew": OlderCode("INT_001", "execution", "high"),
    "execution": OlderCode("TASK_001", "execution", "high"),
    "timeout": OlderCode("NET_001", "timeout", "medium"),
    "network": OlderCode("NET_001", "network", "medium"),
    "database": OlderCode("DB_001", "database", "high"),
    "resource": OlderCode("RES_001", "resource", "high"),
    "rate_limited": OlderCode("AI_001", "resource", "medium"),
    "permission": OlderCode("AUTH_002", "permission", "high"),
    "validation": OlderCode("VAL_001", "validation", "low"),
}
"""The codes of failures of phases, by class; of others PROC_001."""


def every_error(kind: type[MfoError] = MfoError) -> Iterator[type[MfoError]]:
    """An error and all kinds of it that the domain knows, the general before the particular."""
    if kind.__module__ == errors.__name__:
        yield kind
    for narrower in kind.__subclasses__():
        yield from every_error(narrower)


def older(kind: type[MfoError]) -> OlderCode:
    """The older system's code for an error."""
    return next(TABLE[each] for each in kind.__mro__ if each in TABLE)


def older_of(code: str) -> OlderCode:
    """The older system's code for one of ours; PROC_001 for a code that is none."""
    return next((older(kind) for kind in every_error() if kind.code == code), TABLE[MfoError])
