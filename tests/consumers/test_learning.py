"""What one discovery teaches the next of the same client, and what it is compared with; nobody else's is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec

from domain.commands import DeleteFlow, Tenant
from domain.flow import Flow
from eventstore.service import ServiceConfig
from tests.consumers.conftest import ended, serving
from tests.eventstore.house import House, create, new_tenant
from tests.projecting import project

Json = dict[str, Any]
JUNE = "Server Name,Zweck,Memory\nweb01,Abrechnung,4096\nweb02,Lager,8192\n"
JULY = "Server Name,Zweck,Memory\nweb01,Abrechnung,8192\nweb03,Lager,8192\n"


async def discover(house: House, tenant: Tenant, text: str, **initial_data: Any) -> Flow:
    """A discovery from upload to end, and the read models as far as it goes."""

    async def whole() -> AsyncIterator[bytes]:
        yield text.encode()

    upload, _ = await house.side.imports.add(tenant, "servers.csv", whole(), max_bytes=10_000)
    given = {"import_file_id": str(upload.id), "reference_date": "2025-06-01", **initial_data}
    answer = await house.ask(create(flow_type="discovery", initial_data=given), tenant=tenant)
    flow = await ended(house, answer.flow_id, "completed", "failed", "waiting_for_input", within=60)
    assert flow.status == "completed", flow.error or flow.waiting
    await project(house)
    return flow


def mapped(flow: Flow, field: str) -> tuple[str, str] | None:
    """What a column was taken for, and how that was known."""
    found = [one for one in flow.phase("field_mapping").outputs["mapped"] if one["source_field"] == field]
    return (found[0]["target_field"], found[0]["match_type"]) if found else None


async def lines(house: House, tenant: Tenant, ref: Json) -> list[Json]:
    data = await house.side.artifacts.get(tenant.client_account_id, ref["artifact"])
    return [msgspec.json.decode(line) for line in data.splitlines()]


async def test_what_people_approve_is_suggested_to_their_client_and_to_no_other(
    config: ServiceConfig, house: House
) -> None:
    ours, theirs = new_tenant(), new_tenant()
    elsewhere = Tenant(ours.client_account_id, new_tenant().engagement_id, "maria")
    async with serving(config):
        first = await discover(house, ours, JUNE, approval=True, mappings={"Zweck": "application_name"})
        assert mapped(first, "Zweck") == ("application_name", "manual")
        assert "changed" not in first.phase("asset_inventory").outputs

        second = await discover(house, ours, JULY, auto_approve_mappings=True)
        assert mapped(second, "Zweck") == ("application_name", "learned")
        changed = second.phase("asset_inventory").outputs["changed"]
        assert (changed["new"], changed["gone"], changed["changed"]) == (1, 1, 1)
        assert UUID(changed["against"]) == first.id

        # the client's other engagement learns, and is compared with nothing of this one
        third = await discover(house, elsewhere, JULY, auto_approve_mappings=True)
        assert mapped(third, "Zweck") == ("application_name", "learned")
        assert "changed" not in third.phase("asset_inventory").outputs

        stranger = await discover(house, theirs, JULY, auto_approve_mappings=True)
        assert mapped(stranger, "Zweck") is None
        assert "changed" not in stranger.phase("asset_inventory").outputs
    assert await lines(house, ours, first.phase("data_import").outputs["learned"]) == []
    (learned,) = [
        row
        for row in await lines(house, ours, second.phase("data_import").outputs["learned"])
        if row["source_field"] == "Zweck"
    ]
    assert learned["target_field"] == "application_name"
    # what was taken without asking is no approval
    assert learned["approvals"] == 1
    assert await lines(house, theirs, stranger.phase("data_import").outputs["learned"]) == []
    rows = await house.rows(
        "select client_account_id, status, suggested_by, approved_by from import_field_mappings"
        " where header_key = 'zweck' and target_field = 'application_name' order by approved_at nulls last, flow_id"
    )
    assert rows[0] == (ours.client_account_id, "approved", "user", "maria")
    assert {row[1:] for row in rows[1:]} == {("suggested", "mapper", None)}
    changes = await house.rows("select kind, name, client_account_id from changes where flow_id = %s", second.id)
    assert sorted(changes) == [
        ("changed", "web01", ours.client_account_id),
        ("gone", "web02", ours.client_account_id),
        ("new", "web03", ours.client_account_id),
    ]


async def test_a_flow_that_was_deleted_teaches_nothing(config: ServiceConfig, house: House) -> None:
    ours = new_tenant()
    async with serving(config):
        first = await discover(house, ours, JUNE, approval=True, mappings={"Zweck": "application_name"})
        await house.ask(DeleteFlow(flow_id=first.id), tenant=ours)
        await project(house)
        second = await discover(house, ours, JULY, auto_approve_mappings=True)
    assert mapped(second, "Zweck") is None
    assert "changed" not in second.phase("asset_inventory").outputs
