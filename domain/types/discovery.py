"""Discovery: which machines there are, what runs on them, who talks to whom, and what is out of support."""

from __future__ import annotations

from domain.flow_types import FlowCapabilities, FlowTypeConfig, Hooks, PhaseConfig
from domain.recovery import NOT_RETRYABLE, Recovery, Remedy

BACK_OFF_SECONDS = 30.0
# a worker that ran out of memory does so again, and inputs that are wrong are asked for
PASSING = ("timeout", "database", "rate_limited", "crew", "execution", "retryable", "unknown")
NEEDS_PERSON = Recovery(
    action=Remedy.MANUAL_INTERVENTION_REQUIRED, when=(NOT_RETRYABLE, "permission", "business_logic", "permanent")
)
CONNECTIVITY = Recovery(action=Remedy.RETRY_WITH_BACKOFF, when=("network",), delay_seconds=BACK_OFF_SECONDS)
ABOUT_FILES = (NEEDS_PERSON, CONNECTIVITY, Recovery(action=Remedy.RESTART_FROM_PHASE, when=PASSING))

DISCOVERY = FlowTypeConfig(
    name="discovery",
    display_name="Discovery Flow",
    description="Discover and catalog IT assets and their dependencies",
    version="1.3.0",
    phases=(
        PhaseConfig(
            name="data_import",
            display_name="Data Import",
            description="Read the uploaded files, row by row, and keep the rows as they came",
            required_inputs=("import_file_id",),
            optional_inputs=("import_file_ids", "import_options"),
            input_alternatives={"import_file_id": ("import_file_ids",)},
            validators=("file_exists", "import_options_valid", "file_format_valid"),
            handlers=("store_raw_data",),
            recovery=ABOUT_FILES,
            weight=2.0,
            expected_seconds=5.0,
        ),
        PhaseConfig(
            name="field_mapping",
            display_name="Field Mapping",
            description="Map source columns to the fields of an asset, with units",
            required_inputs=("mappings",),
            optional_inputs=("approval", "auto_approve_mappings", "mapping_confidence_threshold"),
            validators=("mappings_complete",),
            handlers=("apply_mappings",),
            recovery=ABOUT_FILES,
            asks_for_inputs=True,
            weight=1.0,
            expected_seconds=3.0,
        ),
        PhaseConfig(
            name="data_cleansing",
            display_name="Data Cleansing",
            description="Bring values to one form and set unusable rows apart, each change recorded",
            optional_inputs=("reference_date",),
            validators=("reference_date_valid",),
            handlers=("cleanse_records",),
            weight=2.0,
            expected_seconds=4.0,
        ),
        PhaseConfig(
            name="asset_inventory",
            display_name="Asset Inventory",
            description="Make one asset of every machine, however many rows name it, and compare with an earlier discovery",
            optional_inputs=("compare_with",),
            validators=("compare_with_valid",),
            handlers=("build_inventory",),
            weight=2.0,
            expected_seconds=4.0,
        ),
        PhaseConfig(
            name="dependency_analysis",
            display_name="Dependency Analysis",
            description="Find who talks to whom, set shared services apart and find what must move together",
            handlers=("analyse_dependencies",),
            weight=2.0,
            expected_seconds=4.0,
        ),
        PhaseConfig(
            name="tech_debt_assessment",
            display_name="Technical Debt Assessment",
            description="Compare what was found with the dates at which support ends, and sizes with what is used",
            optional_inputs=("reference_date", "comfort_factor"),
            validators=("reference_date_valid", "comfort_factor_valid"),
            handlers=("assess_tech_debt",),
            weight=1.0,
            expected_seconds=3.0,
        ),
    ),
    capabilities=FlowCapabilities(
        supports_rollback=True, supports_iterations=True, max_iterations=5, supports_scheduling=True
    ),
    phase_aliases={
        "attribute_mapping": "field_mapping",
        "data_import_validation": "data_import",
        "initialization": "data_import",
        "data_cleaning": "data_cleansing",
        "inventory": "asset_inventory",
        "assets": "asset_inventory",
        "dependencies": "dependency_analysis",
        "tech_debt": "tech_debt_assessment",
        "tech_debt_analysis": "tech_debt_assessment",
    },
    metadata={"category": "data_ingestion", "tags": ["discovery", "data_import", "inventory"]},
    hooks=Hooks(
        start=("discovery_initialization",), end=("discovery_finalization",), error=("discovery_error_handler",)
    ),
    recovery=(
        NEEDS_PERSON,
        CONNECTIVITY,
        Recovery(action=Remedy.RESTART_FROM_LAST_CHECKPOINT, when=PASSING),
    ),
)
