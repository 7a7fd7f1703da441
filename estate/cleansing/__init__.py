"""How raw cells become comparable values: every change is recorded, nothing is invented, no row disappears."""

from __future__ import annotations

from estate.clean import CleanTable
from estate.cleansing.systems import clean_os
from estate.cleansing.work import Cleansed, cleanse

__all__ = ["CleanTable", "Cleansed", "clean_os", "cleanse"]
