"""The work of the six phases of discovery and around them, by name."""

from __future__ import annotations

from consumers.context import Handler, Validator
from consumers.phases.discovery.asset_inventory import build_inventory, compare_with_valid
from consumers.phases.discovery.data_cleansing import cleanse_records
from consumers.phases.discovery.data_import import (
    file_exists,
    file_format_valid,
    import_options_valid,
    store_raw_data,
)
from consumers.phases.discovery.dependency_analysis import analyse_dependencies
from consumers.phases.discovery.field_mapping import apply_mappings, mappings_complete
from consumers.phases.discovery.handover import reference_date_valid
from consumers.phases.discovery.hooks import (
    discovery_error_handler,
    discovery_finalization,
    discovery_initialization,
)
from consumers.phases.discovery.tech_debt_assessment import assess_tech_debt, comfort_factor_valid

HANDLERS: dict[str, Handler] = {
    "store_raw_data": store_raw_data,
    "apply_mappings": apply_mappings,
    "cleanse_records": cleanse_records,
    "build_inventory": build_inventory,
    "analyse_dependencies": analyse_dependencies,
    "assess_tech_debt": assess_tech_debt,
    "discovery_initialization": discovery_initialization,
    "discovery_finalization": discovery_finalization,
    "discovery_error_handler": discovery_error_handler,
}

# what the handlers call besides
CODE = ("consumers.phases.discovery", "estate")

VALIDATORS: dict[str, Validator] = {
    "file_exists": file_exists,
    "import_options_valid": import_options_valid,
    "file_format_valid": file_format_valid,
    "mappings_complete": mappings_complete,
    "reference_date_valid": reference_date_valid,
    "compare_with_valid": compare_with_valid,
    "comfort_factor_valid": comfort_factor_valid,
}
