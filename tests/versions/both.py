"""The next release, as it should be: with the handlers that flows of the former version still need."""

from __future__ import annotations

from consumers.context import Handler, Validator
from domain.flow_types import FlowTypeConfig
from tests.versions import new, old

FLOW_TYPES: tuple[FlowTypeConfig, ...] = new.FLOW_TYPES
HANDLERS: dict[str, Handler] = {**new.HANDLERS, "clean": old.clean}
VALIDATORS: dict[str, Validator] = {}
