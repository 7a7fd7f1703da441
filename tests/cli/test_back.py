"""Going back, as somebody types it, and how the inventory follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfo.client import Client
from mfo.commands.back import preview_text
from tests.cli.support import mfo, said_at_last
from tests.cli.test_flows import INVENTORY
from tests.waiting import until

Environment = dict[str, str]


async def done(client: Client, flow_id: str, phases: int) -> None:
    """So many phases of the flow, one after the other."""
    for number in range(1, phases + 1):
        await client.execute(flow_id)

        async def completed(wanted: int = number) -> bool:
            status = await client.status(flow_id)
            return len(status["progress"]["phases_completed"]) == wanted

        await until(completed, 60)


async def assets(client: Client, flow_id: str) -> int:
    return len([row async for row in client.pages(f"/flows/{flow_id}/assets", "assets")])


async def test_a_discovery_goes_back_and_its_inventory_with_it(tmp_path: Path, environment: Environment) -> None:
    file = tmp_path / "servers.csv"
    file.write_text(INVENTORY)
    who = [environment[f"MFO_{name}"] for name in ("URL", "CLIENT_ACCOUNT_ID", "ENGAGEMENT_ID", "USER_ID")]

    def told(*words: str) -> Any:
        return mfo("flow", *words, "--json", environment=environment)

    async with Client(*who) as client:
        given = {"import_file_id": (await client.upload(file))["import_file_id"], "auto_approve_mappings": True}
        flow_id = (await client.create_flow("discovery", "Back", initial_data=given))["flow_id"]
        await done(client, flow_id, 4)
        await until(lambda: assets(client, flow_id), 60)

        back = ("rollback", flow_id, "data_cleansing")
        preview = told(*back, "--preview").document
        assert [one["phase_name"] for one in preview["undone"]] == ["asset_inventory", "data_cleansing"]
        assert preview["artifacts"]
        assert preview_text(preview).startswith("goes back to")

        points = told("checkpoints", flow_id, "--verify").document["checkpoints"]
        assert [point["verified"] for point in points] == [True] * 4
        made = told("checkpoint", flow_id, "--reason", "to be sure").document
        assert made["checkpoint_id"] == points[-1]["checkpoint_id"]

        moved = told(*back, "--if-version", "2")
        assert (moved.code, moved.document["error"]["code"]) == (1, "version_moved")
        gone = told(*back, "--if-version", str(preview["version"]), "--reason", "wrong date")
        assert (gone.code, gone.document["status"]) == (0, "waiting_for_input")

        async def no_assets() -> bool:
            return await assets(client, flow_id) == 0

        await until(no_assets, 60)
        said_at_last("flow", "status", flow_id, environment=environment, text="wrong date")
