"""One asset per thing of the estate: `build`."""

from __future__ import annotations

from estate.inventory.build import Inventory, build
from estate.names import canonical

__all__ = ["Inventory", "build", "canonical"]
