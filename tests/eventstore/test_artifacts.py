"""Large bytes and uploads: once per tenant, checked when read, invisible to others."""

from __future__ import annotations

import filecmp
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from domain.commands import Tenant
from domain.errors import ArtifactNotFound, BodyTooLarge, ImportNotFound, UploadTooLarge
from eventstore.artifacts import SPILL_ABOVE
from tests.eventstore.house import House, new_tenant

MIB = 1 << 20


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
async def test_bytes_come_back_as_they_were_put(house: House, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    account = uuid4()
    ref = await house.side.artifacts.put(account, data, "text/csv")
    assert ref == {"artifact": hashlib.sha256(data).hexdigest(), "size_bytes": size, "media_type": "text/csv"}
    assert await house.side.artifacts.get(account, ref["artifact"]) == data
    assert [len(part) async for part in house.side.artifacts.read(account, ref["artifact"])] == [
        *[MIB] * (size // MIB),
        *([size % MIB] if size % MIB else []),
    ]


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
async def test_a_file_is_kept_as_its_bytes_are(house: House, size: int, tmp_path: Path) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    account, path = uuid4(), tmp_path / "rows"
    path.write_bytes(data)
    ref = await house.side.artifacts.put_file(account, path, "application/x-ndjson")
    assert ref == await house.side.artifacts.put(account, data, "application/x-ndjson")
    await house.side.artifacts.fetch(account, ref["artifact"], tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == data
    assert await house.one("select count(*) from artifacts") == 1


async def test_a_file_of_any_size_takes_little_memory(house: House, tmp_path: Path) -> None:
    account, path = uuid4(), tmp_path / "large"
    with path.open("wb") as file:
        for n in range(64):
            file.write(n.to_bytes(4, "big") * (MIB // 4))
    tracemalloc.start()
    try:
        ref = await house.side.artifacts.put_file(account, path)
        await house.side.artifacts.fetch(account, ref["artifact"], tmp_path / "again")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB
    assert ref["size_bytes"] == 64 * MIB
    assert filecmp.cmp(path, tmp_path / "again", shallow=False)


async def test_the_same_bytes_are_kept_once_a_tenant(house: House) -> None:
    one, other = uuid4(), uuid4()
    for account in (one, one, other):
        await house.side.artifacts.put(account, b"same")
    assert await house.one("select count(*) from artifacts") == 2
    assert await house.one("select count(*) from artifact_parts") == 2


async def test_another_tenant_cannot_read(house: House, tmp_path: Path) -> None:
    ref = await house.side.artifacts.put(uuid4(), b"mine")
    with pytest.raises(ArtifactNotFound):
        await house.side.artifacts.get(uuid4(), ref["artifact"])
    with pytest.raises(ArtifactNotFound):
        await house.side.artifacts.fetch(uuid4(), ref["artifact"], tmp_path / "theirs")
    for name in ("", "zz", "ab" * 31, "../etc"):
        with pytest.raises(ArtifactNotFound):
            await house.side.artifacts.size(uuid4(), name)


@pytest.mark.parametrize(
    "harm", ["update artifact_parts set data = 'x' || substr(data, 2)", "delete from artifact_parts"]
)
async def test_harmed_bytes_are_noticed(house: House, harm: str, tmp_path: Path) -> None:
    tenant = new_tenant()
    ref = await house.side.artifacts.put(tenant.client_account_id, b"a" * 100)
    upload, _ = await house.side.imports.add(tenant, "a.csv", chunks(b"b" * 100), max_bytes=1000)
    await house.rows(harm)
    with pytest.raises(ArtifactNotFound):
        await house.side.artifacts.get(tenant.client_account_id, ref["artifact"])
    with pytest.raises(ArtifactNotFound):
        await house.side.artifacts.fetch(tenant.client_account_id, ref["artifact"], tmp_path / "harmed")
    with pytest.raises(ArtifactNotFound):
        await house.side.imports.fetch(tenant, str(upload.id), tmp_path)


async def test_the_largest_members_are_moved_aside_until_the_rest_is_small(house: House) -> None:
    account = uuid4()
    value = {"large": "l" * SPILL_ABOVE, "larger": "m" * 2 * SPILL_ABOVE, "small": [1, 2]}
    small = await house.side.artifacts.spill(account, value)
    assert {name: isinstance(inner, dict) for name, inner in small.items()} == {
        "large": True,
        "larger": True,
        "small": False,
    }
    assert await house.side.artifacts.unspill(account, small) == value
    assert await house.side.artifacts.spill(account, small) is small
    with pytest.raises(ArtifactNotFound):
        await house.side.artifacts.unspill(uuid4(), small)
    with pytest.raises(BodyTooLarge):
        await house.side.artifacts.spill(account, {str(n): "x" * 90 for n in range(2000)})


async def test_the_same_upload_has_the_same_id_for_its_tenant_alone(house: House, tmp_path: Path) -> None:
    imports, tenant = house.side.imports, new_tenant()
    first, new = await imports.add(tenant, "a.csv", chunks(b"name\n", b"h1\n"), max_bytes=100)
    again, renewed = await imports.add(tenant, "b.csv", chunks(b"name\nh1\n"), max_bytes=100)
    assert (new, renewed) == (True, False)
    assert again == first
    assert (first.filename, first.size_bytes, first.sha256) == ("a.csv", 8, hashlib.sha256(b"name\nh1\n").digest())
    for other in (new_tenant(), Tenant(tenant.client_account_id, uuid4(), "eve")):
        theirs, is_new = await imports.add(other, "a.csv", chunks(b"name\nh1\n"), max_bytes=100)
        assert is_new
        assert theirs.id != first.id
        with pytest.raises(ImportNotFound):
            await imports.get(other, str(first.id))
        with pytest.raises(ImportNotFound):
            await imports.fetch(other, str(first.id), tmp_path)
    _, path = await imports.fetch(tenant, str(first.id), tmp_path)
    assert path.read_bytes() == b"name\nh1\n"
    with pytest.raises(ImportNotFound):
        await imports.get(tenant, "not an id")


async def test_an_upload_above_the_limit_leaves_nothing(house: House) -> None:
    with pytest.raises(UploadTooLarge):
        await house.side.imports.add(new_tenant(), "a.csv", chunks(b"x" * 60, b"x" * 60), max_bytes=100)
    assert await house.rows("select 1 from artifacts union all select 1 from imports") == []


async def test_uploads_are_paged_newest_first(house: House) -> None:
    imports, tenant = house.side.imports, new_tenant()
    ids = [(await imports.add(tenant, f"{n}.csv", chunks(str(n).encode()), max_bytes=9))[0].id for n in range(5)]
    page, total = await imports.page(tenant, 3)
    assert total == 5
    rest, _ = await imports.page(tenant, 3, (page[-1].created_at, page[-1].id))
    assert [upload.id for upload in [*page, *rest]] == ids[::-1]


async def test_an_upload_is_described_by_one_reader_and_given_up_after_three(house: House) -> None:
    imports, tenant = house.side.imports, new_tenant()
    added, _ = await imports.add(tenant, "a.csv", chunks(b"x"), max_bytes=9)
    for _ in range(3):
        claimed = await imports.claim()
        assert claimed is not None
        assert claimed.id == added.id
        assert await imports.claim() is None
        await house.shift_clock(121)
    assert await imports.claim() is None
    given_up = await imports.get(tenant, str(added.id))
    assert given_up.state == "unreadable"
    assert given_up.summary is not None
    assert "3 times" in given_up.summary["error"]["detail"]
    await imports.described(added.id, "readable", {"format": "csv"})
    assert (await imports.get(tenant, str(added.id))).summary == {"format": "csv"}


async def test_an_upload_whose_reader_waits_for_its_turn_is_not_given_up(house: House) -> None:
    imports, tenant = house.side.imports, new_tenant()
    added, _ = await imports.add(tenant, "a.csv", chunks(b"x"), max_bytes=9)
    assert await imports.claim() is not None
    for _ in range(4):
        await house.shift_clock(100)
        await imports.renew(added.id)
        assert await imports.claim() is None
    await imports.described(added.id, "readable", {"format": "csv"})
    await imports.renew(added.id)
    assert (await imports.get(tenant, str(added.id))).state == "readable"
    await house.shift_clock(200)
    assert await imports.claim() is None


async def test_an_upload_is_read_anew_under_other_options(house: House) -> None:
    imports, tenant = house.side.imports, new_tenant()
    added, _ = await imports.add(tenant, "a.csv", chunks(b"x"), max_bytes=9, import_options={"delimiter": ";"})
    assert added.import_options == {"delimiter": ";"}
    first = await imports.claim()
    assert first is not None
    changed = await imports.read_anew(tenant, str(added.id), {"delimiter": ","})
    assert (changed.state, changed.summary, changed.import_options) == ("stored", None, {"delimiter": ","})
    # the reader that had it first read it under the old options
    assert not await imports.described(added.id, "readable", {"rows": 1}, first.import_options)
    second = await imports.claim()
    assert second is not None
    assert (second.id, second.import_options) == (added.id, {"delimiter": ","})
    assert await imports.described(added.id, "readable", {"rows": 2}, second.import_options)
    assert (await imports.get(tenant, str(added.id))).summary == {"rows": 2}
    assert (await imports.read_anew(tenant, str(added.id), {})).import_options is None
    for other in (new_tenant(), Tenant(tenant.client_account_id, uuid4(), "eve")):
        with pytest.raises(ImportNotFound):
            await imports.read_anew(other, str(added.id), {})
