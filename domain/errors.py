"""Everything that can be wrong, as one tree.

MfoError
├── Refused                 the flow says no; nothing changed, the command is kept with the reason
│   ├── FlowNotFound
│   ├── FlowExists
│   ├── FlowIsOver · FlowHasFailed
│   ├── PhaseUnknown · PhaseOutOfOrder · PhaseNotNamed · PhaseAlreadyRunning · PhaseNotPausable · PhaseNotSkippable
│   ├── InputsMissing · NothingToAnswer · InputInvalid · AlreadyAnswered · AnswersDiffer · AnswerWanted · NotAnAssignee
│   ├── OutputsInvalid · NothingToRetry
│   ├── FlowPausedNow · FlowNotPaused · FlowDoesNotPause
│   ├── IterationsNotSupported · IterationsUsedUp · NothingToIterate
│   ├── RollbackNotSupported · RollbackTargetInvalid · CheckpointUnknown · CheckpointBroken · PhaseIrreversible · NothingToUndo
│   ├── ParentNotFound · ParentIsOver · TreeTooLarge · DependencyNotFound · DependencyCircular · FlowGated
│   ├── RunNotCurrent
│   ├── SignalTooLarge · SignalsFull
│   ├── TypeVersionUnknown · PhaseRunning · NotMigratable
│   ├── VersionMoved
│   ├── KeyReused
│   ├── ScheduleNotFound · ScheduleExists · ScheduleInvalid · ScheduleIsOver · ScheduleBusy · BackfillTooLarge
│   ├── SchedulePausedNow · ScheduleNotPaused · SchedulingNotSupported
│   ├── OperationNotFound · StandingPauseNotFound · PauseRuleNotFound · IdInUse
│   ├── OperationInvalid · OperationTooLarge · NotInThisState
│   ├── NotAllowed · SubscriptionDisabled · SubscriptionsFull
│   └── NotSupported
├── Invalid                 the request cannot be read as what it claims to be
│   ├── BodyNotJson · BodyInvalid · BodyTooLarge · ParameterInvalid · TenantMissing · TypeUnknown
│   ├── MessageUnreadable
│   └── UploadInvalid · UploadTooLarge · ImportOptionsInvalid
├── NotHere                 there is nothing under that name for this tenant
│   ├── ImportNotFound · ArtifactNotFound · CheckpointNotFound · IterationNotFound · RouteNotFound · FlowNotBegun
├── MethodNotAllowed · OperatorOnly
├── Unavailable             not now; try again
│   ├── StoreUnavailable · StoreBusy · Overloaded · ReadModelBehind
├── RebuildError            a read model cannot be made anew, or put back, as things are
│   └── ProjectionUnknown · RebuildRunning · RebuildImpossible · NothingKept · ReadModelInUse
└── SettingsError · RegistrationError · SchemaBehind · SchemaAhead     the service refuses to start
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """What is wrong with one field of a request."""

    field: str
    message: str


class MfoError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str | None = None,
        *,
        allowed: Sequence[str] = (),
        errors: Sequence[FieldError] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or type(self).__doc__ or self.code)
        self.detail = str(self.args[0])
        self.allowed = tuple(allowed)
        self.errors = tuple(errors)
        self.details = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        """`{code, detail, allowed?, errors?, details?}`, as replies and the command log carry it."""
        body: dict[str, Any] = {"code": self.code, "detail": self.detail}
        if self.allowed:
            body["allowed"] = list(self.allowed)
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors]
        if self.details:
            body["details"] = self.details
        return body


class Refused(MfoError):
    """The flow cannot do that."""

    code = "refused"
    status = 409


class FlowNotFound(Refused):
    """There is no flow with this id."""

    code = "flow_not_found"
    status = 404


class FlowExists(Refused):
    """A flow with this id exists already; leave flow_id out to get a new one."""

    code = "flow_exists"


class FlowIsOver(Refused):
    """The flow has ended and takes no more work."""

    code = "flow_is_over"


class FlowHasFailed(Refused):
    """The flow has failed; retry it, execute it with other inputs, cancel it or delete it."""

    code = "flow_has_failed"


class PhaseUnknown(Refused):
    """The flow's type has no such phase."""

    code = "phase_unknown"
    status = 422


class PhaseOutOfOrder(Refused):
    """An earlier phase has not been completed."""

    code = "phase_out_of_order"


class PhaseNotNamed(Refused):
    """Several phases could be meant; say which one in phase_name."""

    code = "phase_not_named"


class SignalTooLarge(Refused):
    """The signal's payload is too large; put what is large where the handler can fetch it, and send where that is."""

    code = "signal_too_large"
    status = 413


class SignalsFull(Refused):
    """The flow keeps as many signals as it can hold; send it again when the flow has taken some up."""

    code = "signals_full"


class PhaseAlreadyRunning(Refused):
    """A phase of this flow is running; wait for it, pause the flow or cancel it."""

    code = "phase_already_running"


class PhaseNotPausable(Refused):
    """The running phase cannot be paused; wait until it has ended."""

    code = "phase_not_pausable"


class PhaseNotSkippable(Refused):
    """The phase cannot be left out."""

    code = "phase_not_skippable"


class OutputsInvalid(Refused):
    """The outputs that are to stand in for a phase's do not fit its schema; errors lists the fields."""

    code = "outputs_invalid"
    status = 422


class NothingToRetry(Refused):
    """The flow has not failed, and no attempt waits."""

    code = "nothing_to_retry"


class InputsMissing(Refused):
    """The phase lacks required inputs; send them with execute."""

    code = "inputs_missing"
    status = 422


class NothingToAnswer(Refused):
    """The flow asks for nothing now; what its next phase needs is given with execute."""

    code = "nothing_to_answer"


class InputInvalid(Refused):
    """The input is not what the flow asked for."""

    code = "input_invalid"
    status = 422


class AlreadyAnswered(Refused):
    """The question has been answered; the first valid answer counts."""

    code = "already_answered"


class AnswersDiffer(Refused):
    """Two people must give the same answer, and this one is another than the first."""

    code = "answers_differ"


class AnswerWanted(Refused):
    """The phase waits for the answer of particular people; give it as input."""

    code = "answer_wanted"


class NotAnAssignee(Refused):
    """The question is for others to answer."""

    code = "not_an_assignee"
    status = 403


class FlowPausedNow(Refused):
    """The flow is paused; resume it first."""

    code = "flow_paused"


class FlowNotPaused(Refused):
    """The flow is not paused."""

    code = "flow_not_paused"


class FlowDoesNotPause(Refused):
    """Flows of this type cannot be paused."""

    code = "pause_not_supported"


class IterationsNotSupported(Refused):
    """Flows of this type have one round only."""

    code = "iterations_not_supported"


class IterationsUsedUp(Refused):
    """The flow has had as many rounds as its type allows."""

    code = "iterations_used_up"


class NothingToIterate(Refused):
    """The round at hand has not begun; execute its first phase."""

    code = "nothing_to_iterate"


class RollbackNotSupported(Refused):
    """Flows of this type cannot be rolled back."""

    code = "rollback_not_supported"


class RollbackTargetInvalid(Refused):
    """Say where to go back to: phase_name or checkpoint_id, one of the two."""

    code = "rollback_target_invalid"
    status = 422


class CheckpointUnknown(Refused):
    """The flow has no such checkpoint to go back to."""

    code = "checkpoint_unknown"
    status = 422


class CheckpointBroken(Refused):
    """What would be restored does not have the hash that the checkpoint was recorded with; go back to another one."""

    code = "checkpoint_broken"


class PhaseIrreversible(Refused):
    """A phase that would be undone cannot be."""

    code = "phase_irreversible"


class NothingToUndo(Refused):
    """Nothing has been done since then, or no migration stands; execute the flow."""

    code = "nothing_to_undo"


class ParentNotFound(Refused):
    """There is no flow with the id that parent_flow_id names."""

    code = "parent_not_found"
    status = 404


class ParentIsOver(Refused):
    """The parent flow has ended and takes no more children."""

    code = "parent_is_over"


class TreeTooLarge(Refused):
    """The tree of flows would be deeper, or the parent would have more children, than there may be."""

    code = "tree_too_large"


class DependencyNotFound(Refused):
    """There is no flow with one of the ids in dependent_flow_ids."""

    code = "dependency_not_found"
    status = 404


class DependencyCircular(Refused):
    """The flow would wait for itself, by way of others."""

    code = "dependency_circular"


class FlowGated(Refused):
    """The flow waits until the flows in dependent_flow_ids have completed."""

    code = "flow_gated"


class RunNotCurrent(Refused):
    """The run has been ended or taken over; its result no longer counts."""

    code = "run_not_current"


class TypeVersionUnknown(Refused):
    """The flow's type has no such version here; start the services that bring it, or use one that is known."""

    code = "type_version_unknown"
    status = 422


class PhaseRunning(Refused):
    """A phase is under way; wait until it has ended, pause the flow first, or say restart_run."""

    code = "phase_running"


class NotMigratable(Refused):
    """The flow cannot go on by that version of its type; errors says where and why."""

    code = "not_migratable"


class VersionMoved(Refused):
    """The flow has moved on since the version you named; read it again and decide anew."""

    code = "version_moved"
    status = 412


class KeyReused(Refused):
    """This command id was used before with another body; use a new id for a new command."""

    code = "idempotency_key_reused"
    status = 422


class ScheduleNotFound(Refused):
    """There is no schedule with this id."""

    code = "schedule_not_found"
    status = 404


class ScheduleExists(Refused):
    """A schedule, or a flow, with this id exists already; leave schedule_id out to get a new one."""

    code = "schedule_exists"


class ScheduleInvalid(Refused):
    """The parts of the schedule do not go together; errors lists them."""

    code = "schedule_invalid"
    status = 422


class ScheduleIsOver(Refused):
    """The schedule has ended or was deleted; update it with times to come, or make a new one."""

    code = "schedule_is_over"


class ScheduleBusy(Refused):
    """The schedule has not come to an end with what it was asked before; wait for that."""

    code = "schedule_busy"


class BackfillTooLarge(Refused):
    """The range holds more times than the limit; give a shorter range or a higher limit."""

    code = "backfill_too_large"
    status = 422


class SchedulePausedNow(Refused):
    """The schedule is paused; resume it first."""

    code = "schedule_paused"


class ScheduleNotPaused(Refused):
    """The schedule is not paused."""

    code = "schedule_not_paused"


class SchedulingNotSupported(Refused):
    """Flows of this type cannot be scheduled."""

    code = "scheduling_not_supported"


class OperationNotFound(Refused):
    """There is no operation with this id."""

    code = "operation_not_found"
    status = 404


class StandingPauseNotFound(Refused):
    """There is no standing pause with this id."""

    code = "standing_pause_not_found"
    status = 404


class PauseRuleNotFound(Refused):
    """There is no pause rule with this id."""

    code = "pause_rule_not_found"
    status = 404


class IdInUse(Refused):
    """Something with this id exists already; leave the id out to get a new one."""

    code = "id_in_use"


class OperationInvalid(Refused):
    """What is asked of many flows does not hold together."""

    code = "operation_invalid"
    status = 422


class NotInThisState(Refused):
    """It cannot do that where it stands."""

    code = "not_in_this_state"


class OperationTooLarge(Refused):
    """The filter chooses more flows than one operation takes; narrow it, or raise MFO_OPERATION_MAX_FLOWS."""

    code = "too_many_flows"
    status = 422


class NotSupported(Refused):
    """This is not supported yet."""

    code = "not_supported"


class NotAllowed(Refused):
    """The settings of this service do not allow that address."""

    code = "not_allowed"
    status = 422


class SubscriptionDisabled(Refused):
    """The subscription is disabled or deleted; enable it first."""

    code = "subscription_disabled"


class SubscriptionsFull(Refused):
    """The tenant has as many subscriptions as it may have; delete one first."""

    code = "subscriptions_full"


class Invalid(MfoError):
    """The request cannot be read."""

    code = "invalid"
    status = 422


class BodyNotJson(Invalid):
    """The body is not a JSON object in UTF-8."""

    code = "body_not_json"
    status = 400


class BodyInvalid(Invalid):
    """The body has fields that are unknown, missing or of the wrong kind; errors lists them."""

    code = "body_invalid"


class BodyTooLarge(Invalid):
    """The body is larger than the limit."""

    code = "body_too_large"
    status = 413


class ParameterInvalid(Invalid):
    """A query parameter or header has a wrong value; errors names it."""

    code = "parameter_invalid"


class TenantMissing(Invalid):
    """The tenant headers are missing or malformed."""

    code = "tenant_missing"
    status = 400


class TypeUnknown(Invalid):
    """There is no such flow type."""

    code = "flow_type_unknown"


class MessageUnreadable(Invalid):
    """The message cannot be read as a command."""

    code = "message_unreadable"


class UploadInvalid(Invalid):
    """The upload is not a multipart form with one file."""

    code = "upload_invalid"


class UploadTooLarge(Invalid):
    """The file is larger than the limit."""

    code = "upload_too_large"
    status = 413


class ImportOptionsInvalid(Invalid):
    """The import options have members that are unknown or of the wrong kind; errors lists them."""

    code = "import_options_invalid"


class NotHere(MfoError):
    """There is nothing under this name."""

    code = "not_found"
    status = 404


class ImportNotFound(NotHere):
    """There is no import with this id."""

    code = "import_not_found"


class FlowNotBegun(NotHere):
    """The flow had not begun then; ask for a later time."""

    code = "flow_not_begun"


class IterationNotFound(NotHere):
    """The flow has no such round."""

    code = "iteration_not_found"


class ArtifactNotFound(NotHere):
    """There is no artifact with this hash."""

    code = "artifact_not_found"


class OperatorOnly(MfoError):
    """Only an operator may ask this; send X-MFO-Operator-Token, which the setting MFO_OPERATOR_TOKEN names."""

    code = "operator_only"
    status = 403


class CheckpointNotFound(NotHere):
    """The flow has no such checkpoint to go back to; GET /flows/{id}/checkpoints lists them."""

    code = "checkpoint_not_found"


class RouteNotFound(NotHere):
    """There is no such route."""

    code = "route_not_found"


class MethodNotAllowed(MfoError):
    """The route does not take this method."""

    code = "method_not_allowed"
    status = 405


class Unavailable(MfoError):
    """Not now; try again in a moment."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The event store cannot be reached; nothing was recorded, try again."""

    code = "store_unavailable"


class StoreBusy(Unavailable):
    """The event store is busy; nothing was recorded, try again."""

    code = "store_busy"


class Overloaded(Unavailable):
    """The service has as much to do as it can take; nothing was recorded, try again in a moment."""

    code = "overloaded"


class ReadModelBehind(Unavailable):
    """The read model has not reached the version you asked for; ask again or read with consistency=strong."""

    code = "read_model_behind"
    status = 504


class RebuildError(MfoError):
    """A read model cannot be made anew, or put back, as things are."""

    code = "rebuild_failed"


class ProjectionUnknown(RebuildError):
    """There is no such projection; `mfo projections list` names them."""

    code = "projection_unknown"


class RebuildRunning(RebuildError):
    """Another process is at this read model; wait for it, `mfo projections list` says how far it is."""

    code = "rebuild_running"


class RebuildImpossible(RebuildError):
    """The tables of this read model cannot be made a second time."""

    code = "rebuild_impossible"


class NothingKept(RebuildError):
    """No former tables are kept of this read model; a rebuild keeps those that it replaces."""

    code = "nothing_kept"


class ReadModelInUse(RebuildError):
    """Somebody reads the old tables without end, so they could not be replaced; run the same command again to go on."""

    code = "read_model_in_use"


class SettingsError(MfoError):
    """A setting is missing or wrong."""

    code = "settings_invalid"


class RegistrationError(MfoError):
    """A flow type cannot be registered."""

    code = "registration_invalid"


class SchemaBehind(MfoError):
    """The database schema is not up to date; run: mfo migrate."""

    code = "schema_behind"


class SchemaAhead(MfoError):
    """A newer program has changed the database schema; run that one."""

    code = "schema_ahead"
