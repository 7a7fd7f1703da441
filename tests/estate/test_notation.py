"""How a file's numbers are written is told by its numbers alone, from the upload to the inventory."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from consumers.context import NeedsInput
from estate.readers import read
from tests.estate.support import Discovery, real

MEMORY = ["2.125", "4.375", "8.250", "16.500", "3.125"]
NO_NUMBERS = {
    "Host": "10.216.245.{}",
    "Build": "10.{}.118",
    "Appliance": "7.0.{}",
    "MAC": "0011.2233.4{}",
    "Phone": "41 123 456 {}",
    "Since": "{}.02.2024",
    "Asset ID": "1 200 {}",
}


def listing(column: str, shape: str, delimiter: str) -> str:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter)
    rows.writerow(["VM", column, "Memory (GB)"])
    rows.writerows([f"vm{row}", shape.format(229 + row), memory] for row, memory in enumerate(MEMORY))
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("column", NO_NUMBERS)
async def test_what_is_no_number_does_not_say_how_numbers_are_written(
    tmp_path: Path, column: str, delimiter: str
) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text(listing(column, NO_NUMBERS[column], delimiter))
    [table] = read(path).tables
    assert (table.read_as["decimal"], table.read_as["thousands"]) == (None, None)
    flow = Discovery(path, auto_approve_mappings=True, reference_date="2025-06-01")
    try:
        await flow.run_all()
    except NeedsInput as asked:
        assert "Memory (GB)" in str(asked)  # noqa: PT017
        return
    machines = [one for one in flow.rows("asset_inventory", "assets") if one["name"].startswith("vm")]
    assert {one["name"]: one["memory_gb"] for one in machines} == {
        f"vm{row}": pytest.approx(float(memory)) for row, memory in enumerate(MEMORY)
    }


async def test_addresses_of_the_hosts_of_a_real_export_do_not_turn_its_dots(tmp_path: Path) -> None:
    [path] = real("rvtools/RVTools_tabvHost.csv")
    [table] = read(path).tables
    assert table.read_as["thousands"] is None
    assert table.read_as["decimal"] != ","
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    longer = tmp_path / "hosts.csv"
    with longer.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["VM", "Host", "Cores", "Memory (GB)"])
        for number, memory in enumerate(MEMORY):
            writer.writerow([f"vm{number}", rows[number % len(rows)]["Host"], 4, memory])
    flow = Discovery(longer, auto_approve_mappings=True, reference_date="2025-06-01")
    await flow.run_all()
    found = [one["memory_gb"] for one in flow.rows("asset_inventory", "assets") if one["name"].startswith("vm")]
    assert found == [pytest.approx(float(memory)) for memory in MEMORY]


async def test_a_columns_own_numbers_come_before_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text(
        "VM;Storage (GB);Used (GB);Memory (GB)\n"
        "vm0;1.024,5;512,25;2.125\nvm1;2.048,5;256,5;4.5\nvm2;4.096,5;128,5;8.25\n"
    )
    [table] = read(path).tables
    assert table.read_as["thousands"] == "."
    flow = Discovery(path, auto_approve_mappings=True, reference_date="2025-06-01")
    await flow.run_all()
    assets = flow.rows("asset_inventory", "assets")
    assert [one["memory_gb"] for one in assets] == [2.125, 4.5, 8.25]
    assert [one["storage_gb"] for one in assets] == [1024.5, 2048.5, 4096.5]
