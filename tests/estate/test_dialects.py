"""One estate in twelve dialects: each alone says the same, and all together are the same machines."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.estate.dialects import Machine, Writer, Written, estate
from tests.estate.support import Discovery

NAMES = [
    "english csv", "german csv", "french tsv", "rvtools", "spanish workbook", "nested json", "ndjson", "xml",
    "azure import template", "migration hub", "google zip", "cmdb ods",
]  # fmt: skip
PRECISION, RECALL = 0.99, 0.97


async def discovered(*paths: Path) -> Discovery:
    flow = Discovery(*paths, auto_approve_mappings=True, mapping_confidence_threshold=0.6, reference_date="2025-06-01")
    await flow.run_all()
    return flow


def assets(flow: Discovery) -> list[dict[str, Any]]:
    return flow.rows("asset_inventory", "assets")


def by_row(found: list[dict[str, Any]]) -> dict[tuple[str, str | None, int], dict[str, Any]]:
    """The asset that each row of the files went into."""
    return {(where["file"], where["sheet"], where["row"]): asset for asset in found for where in asset["sources"]}


@pytest.fixture(scope="module")
def machines() -> list[Machine]:
    return estate()


@pytest.fixture(scope="module")
def faultless(tmp_path_factory: pytest.TempPathFactory, machines: list[Machine]) -> dict[str, Written]:
    return {written.dialect: written for written in Writer(tmp_path_factory.mktemp("clean"), machines).all()}


@pytest.mark.parametrize("dialect", NAMES)
async def test_each_dialect_alone_gives_the_same_inventory(
    dialect: str, faultless: dict[str, Written], machines: list[Machine]
) -> None:
    written = faultless[dialect]
    found = assets(await discovered(written.path))
    of = by_row(found)
    assert set(of) >= set(written.rows), "every row is in an asset"
    wrong = [
        (machines[said.machine].name, fact, of[place][fact], value)
        for place, said in written.rows.items()
        for fact, value in said.facts.items()
        if of[place][fact] != pytest.approx(value)
    ]
    assert wrong == []
    assert len(found) == len(machines)
    assert {asset["name"].lower() for asset in found} == {machine.name.lower() for machine in machines}


async def test_all_dialects_together_are_one_estate(
    tmp_path: Path, machines: list[Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    files = Writer(tmp_path, machines, faults=True).all()
    flow = await discovered(*(written.path for written in files))
    found = assets(flow)
    of = by_row(found)
    rows = {place: said for written in files for place, said in written.rows.items()}
    assert set(of) >= set(rows), "every row is in an asset"

    def pairs(groups: dict[Any, list[Any]]) -> set[tuple[Any, Any]]:
        return {pair for places in groups.values() for pair in combinations(sorted(places, key=str), 2)}

    true, matched = defaultdict(list), defaultdict(list)
    for place, said in rows.items():
        true[said.machine].append(place)
        matched[of[place]["asset_id"]].append(place)
    right = pairs(true) & pairs(matched)
    precision, recall = len(right) / len(pairs(matched)), len(right) / len(pairs(true))
    with capsys.disabled():
        print(
            f"\n  twelve dialects, {len(rows)} rows of {len(machines)} machines: {len(found)} assets,"
            f" precision {precision:.4f}, recall {recall:.4f}"
        )
    assert precision >= PRECISION
    assert recall >= RECALL
    for asset_id, places in matched.items():
        machine = machines[Counter(rows[place].machine for place in places).most_common(1)[0][0]]
        asset = next(asset for asset in found if asset["asset_id"] == asset_id)
        # what most files say holds, whatever one of them says
        assert asset["memory_gb"] == pytest.approx(machine.memory_mib / 1024)
        assert asset["operating_system"] == machine.system[0]
        cores = {said.facts["cpu_cores"] for place in places if "cpu_cores" in (said := rows[place]).facts}
        assert ("cpu_cores" in {conflict["field"] for conflict in asset["conflicts"]}) == (len(cores) > 1)


def test_the_estate_has_what_makes_matching_hard(machines: list[Machine]) -> None:
    names = Counter(machine.name for machine in machines)
    assert max(names.values()) == 2
    assert len({machine.uuid for machine in machines}) == len({machine.mac for machine in machines}) == len(machines)


async def test_the_twelve_files_are_what_they_say(faultless: dict[str, Written]) -> None:
    assert list(faultless) == NAMES
    assert (faultless["french tsv"].path.read_bytes()[:2]) in {b"\xff\xfe", b"\xfe\xff"}
    assert "Domäne".encode("cp1252") in faultless["german csv"].path.read_bytes()
