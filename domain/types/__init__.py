"""The flow types that come with the service, one module each."""

from __future__ import annotations

from domain.flow_types import FlowTypeConfig
from domain.types.discovery import DISCOVERY

FLOW_TYPES: tuple[FlowTypeConfig, ...] = (DISCOVERY,)
