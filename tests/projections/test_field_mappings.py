"""What columns were taken for and what people said to it: kept by flow, counted by client, shown to nobody else."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.commands import PauseFlow, RollbackFlow, Tenant
from eventstore.database import Connection
from eventstore.past import Past
from projections.field_mappings import FieldMappings
from tests.projections.conftest import House
from tests.projections.test_flows import apply
from tests.projections.test_inventory import completed, done_again, kept

Json = dict[str, Any]


def mapping(**changes: Any) -> Json:
    """A column as the mapping phase hands it over."""
    return {
        "source_file": "servers.csv",
        "source_sheet": None,
        "source_field": "Memory  Size",
        "kind": "table",
        "target_field": "memory_gb",
        "unit": "MiB",
        "match_type": "manual",
        "confidence": 1.0,
        "status": "approved",
        "suggested_by": "user",
        "approved_by": "maria",
        "conversion": "MiB / 1024 -> GiB",
        "samples": ["4096"],
        **changes,
    }


AUTOMATIC = {"status": "suggested", "suggested_by": "mapper", "approved_by": None, "match_type": "direct"}


@pytest.fixture
def projection(house: House) -> FieldMappings:
    return FieldMappings(house.side.artifacts)


async def mapped(house: House, rows: list[Json]) -> UUID:
    """A flow that has completed its mapping with these rows."""
    flow_id = await house.begin()
    await house.complete(flow_id)
    await house.complete(flow_id, {"mappings": await kept(house, rows)})
    return flow_id


async def test_every_column_has_its_row(house: House, connection: Connection, projection: FieldMappings) -> None:
    flow_id = await mapped(
        house, [mapping(), mapping(**AUTOMATIC, source_field="OS", source_sheet="vInfo", conversion=None)]
    )
    applied = await apply(projection, connection, await completed(house))
    assert (applied.rows, applied.parked) == (2, [])
    rows = await house.all(
        "select n, client_account_id, engagement_id, source_file, source_sheet, source_field, header_key, kind, target_field,"
        " unit, match_type, confidence, status, suggested_by, approved_by, approved_at is not null, transformation_rules"
        " from import_field_mappings where flow_id = %s order by n",
        flow_id,
    )
    who = (house.account, house.engagement, "servers.csv")
    given = ("maria", True, {"conversion": "MiB / 1024 -> GiB"})
    assert rows == [
        (
            0,
            *who,
            None,
            "Memory  Size",
            "memory size",
            "table",
            "memory_gb",
            "MiB",
            "manual",
            1.0,
            "approved",
            "user",
            *given,
        ),
        (
            1,
            *who,
            "vInfo",
            "OS",
            "os",
            "table",
            "memory_gb",
            "MiB",
            "direct",
            1.0,
            "suggested",
            "mapper",
            None,
            False,
            None,
        ),
    ]


async def test_a_phase_done_again_replaces_its_rows_and_repeats_change_nothing(
    house: House, connection: Connection, projection: FieldMappings
) -> None:
    flow_id = await mapped(house, [mapping(), mapping(source_field="RAM")])
    _, event = await completed(house)
    assert (await apply(projection, connection, [event, event])).rows == 2
    again = await done_again(house, event, 50, {"mappings": await kept(house, [mapping(source_field="Cores")])})
    assert (await apply(projection, connection, [again, event, again])).rows == 1
    fields = "select source_field from import_field_mappings where flow_id = %s"
    assert await house.all(fields, flow_id) == [("Cores",)]
    none = await done_again(house, event, 60, {"mappings": await kept(house, [])})
    await apply(projection, connection, [none, again])
    assert await house.all(fields, flow_id) == []


@pytest.mark.parametrize("outputs", [{}, {"mappings": 7}, {"mappings": {"artifact": 3}}, {"mapped": []}])
async def test_outputs_without_mappings_are_left_alone(
    house: House, connection: Connection, projection: FieldMappings, outputs: Json
) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id, {"mappings": await kept(house, [mapping()])})
    await house.complete(flow_id, outputs or {"rows": 1})
    applied = await apply(projection, connection, await completed(house))
    assert (applied.rows, applied.parked) == (0, [])


async def test_mappings_of_an_older_version_teach_nothing_and_harm_nothing(
    house: House, connection: Connection, projection: FieldMappings
) -> None:
    """Discovery 1.0 handed over what was decided without saying of which export, and whether a person had said so."""
    since = {"kind", "status", "suggested_by", "approved_by", "conversion"}
    older = {name: value for name, value in mapping().items() if name not in since}
    old, new = await mapped(house, [older, older]), await mapped(house, [mapping()])
    applied = await apply(projection, connection, await completed(house))
    assert (applied.rows, applied.parked) == (1, [])
    assert await house.all("select flow_id from import_field_mappings") == [(new,)]
    assert await house.all("select rows from import_field_mapping_sets_v1 where flow_id = %s", old) == [(0,)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"source_file": "a.csv"}, "line 2 of mappings"),
        (mapping(status="perhaps"), "line 2 of mappings"),
        ({name: value for name, value in mapping().items() if name != "kind"}, "line 2 of mappings"),
        (mapping(confidence="high"), "line 2 of mappings"),
        (mapping(source_field="a\x00b"), "0x00"),
    ],
)
async def test_rows_that_cannot_be_read_concern_their_flow_alone(
    house: House, connection: Connection, projection: FieldMappings, row: Json, said: str
) -> None:
    bad, good = await mapped(house, [mapping(), row]), await mapped(house, [mapping()])
    applied = await apply(projection, connection, await completed(house))
    assert [each.flow_id for each in applied.parked] == [bad]
    assert said in applied.parked[0].error
    assert await house.all("select flow_id from import_field_mappings") == [(good,)]


async def test_what_people_said_is_counted_in_flows_for_their_client_alone(
    house: House, connection: Connection, projection: FieldMappings
) -> None:
    """Two files with the field count once; what was taken without asking is no approval; others' is not seen."""
    first = await mapped(house, [mapping(), mapping(source_file="more.csv", source_field="MEMORY size")])
    await mapped(house, [mapping(), mapping(target_field="storage_gb", status="rejected", suggested_by="mapper")])
    await mapped(house, [mapping(**AUTOMATIC)])
    stranger = House(house.side, uuid4(), house.engagement)
    theirs = await mapped(stranger, [mapping(target_field="cpu_cores", unit=None)])
    await apply(projection, connection, await completed(house))
    past = Past(house.side.pool, house.side.store)
    shape = {"source_field": "Memory  Size", "kind": "table", "target_field": "memory_gb", "unit": "MiB"}
    rejected = {**shape, "target_field": "storage_gb", "approvals": 0, "rejections": 1}
    learned = await past.learned(house.account, uuid4())
    assert [{**row, "source_field": "Memory  Size"} for row in learned] == [
        {**shape, "approvals": 2, "rejections": 0},
        rejected,
    ]
    assert await past.learned(stranger.account, uuid4()) == [
        {**shape, "target_field": "cpu_cores", "unit": None, "approvals": 1, "rejections": 0}
    ]
    # a flow does not learn from itself
    assert await past.learned(stranger.account, theirs) == []
    assert [row["approvals"] for row in await past.learned(house.account, first)] == [1, 0]
    assert await past.learned(uuid4(), uuid4()) == []


async def _inventoried(house: House, assets: Json, **named: Any) -> UUID:
    """A discovery that has come as far as its inventory."""
    flow_id = await house.begin(**named)
    for _ in range(3):
        await house.complete(flow_id)
    await house.complete(flow_id, {"assets": assets})
    return flow_id


async def test_an_earlier_inventory_is_found_for_its_tenant_alone(house: House, connection: Connection) -> None:
    past, mine = Past(house.side.pool, house.side.store), Tenant(house.account, house.engagement, "maria")
    assets = {"artifact": "0" * 64}
    first = await _inventoried(house, assets)
    second = await _inventoried(house, assets)
    unfinished = await house.begin()
    flows = house.flows()
    await apply(flows, connection, await house.told())
    assert await past.latest_inventory(mine, uuid4()) == second
    assert await past.latest_inventory(mine, second) == first
    assert await past.inventory_of(mine, first) == {"assets": assets}
    assert await past.inventory_of(mine, unfinished) is None
    assert await past.inventory_of(mine, uuid4()) is None
    for stranger in (Tenant(uuid4(), house.engagement, "eve"), Tenant(house.account, uuid4(), "eve")):
        assert await past.latest_inventory(stranger, uuid4()) is None
        assert await past.inventory_of(stranger, first) is None


async def test_the_read_model_need_not_be_there(house: House) -> None:
    past = Past(house.side.pool, house.side.store)
    assert await past.learned(house.account, uuid4()) == []
    assert await past.latest_inventory(Tenant(house.account, house.engagement, "maria"), uuid4()) is None


async def test_a_mapping_that_is_undone_is_forgotten(
    house: House, connection: Connection, projection: FieldMappings
) -> None:
    flow_id = await house.begin()
    await house.complete(flow_id)
    await house.ask(PauseFlow(flow_id=flow_id))
    await house.complete(flow_id, {"mappings": await kept(house, [mapping()])})
    await house.ask(RollbackFlow(flow_id=flow_id, phase_name="field_mapping"))
    events = [event for event in await house.told() if event.topic in projection.topics]
    await apply(projection, connection, events[:2])
    assert await house.one("select count(*) from import_field_mappings where flow_id = %s", flow_id) == 1
    assert (await apply(projection, connection, events)).rows == 1
    assert (await apply(projection, connection, events)).rows == 0
    assert await house.one("select count(*) from import_field_mappings where flow_id = %s", flow_id) == 0
    # of another phase nothing is kept here
    other = await house.begin()
    await house.ask(PauseFlow(flow_id=other))
    await house.complete(other)
    await house.ask(RollbackFlow(flow_id=other, phase_name="data_import"))
    rest = [event for event in await house.told() if event.flow_id == other and event.topic in projection.topics]
    assert (await apply(projection, connection, rest)).rows == 0
