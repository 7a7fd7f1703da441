"""An evidence pack holds without us: verified by the program inside it, and broken by every change."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest

from domain.commands import PauseFlow, ResumeFlow
from domain.errors import FlowNotFound
from eventstore.audit import pack_verifier
from eventstore.audit.pack import Tampered, gather, write
from eventstore.codec import FIRST_HASH, chain
from mfo.auditing import verify_pack
from tests.audit.archive import KEY, Archive
from tests.audit.test_tampering import change_a_byte, change_a_command


async def packed(archive: Archive, out: Path, flow: UUID | None = None) -> Path:
    tenant = archive.house.tenant
    with TemporaryDirectory() as folder:
        async with archive.house.side.pool.connection() as connection:
            pack = await gather(
                connection,
                Path(folder),
                flow=flow,
                account=tenant.client_account_id if flow is None else None,
                engagement=tenant.engagement_id,
            )
        write(pack, out, by="maria")
    return out


def any_file(folder: Path) -> bool:
    return any(folder.iterdir())


def run_alone(program: Path, file: Path, key: bytes) -> subprocess.CompletedProcess[str]:
    """The program as an auditor has it: away from the project, with nothing of it in reach."""
    words = [sys.executable, "-I", str(program), str(file), b64encode(key).decode()]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=program.parent)


def verdict(file: Path, key: bytes = KEY.public_key) -> list[str]:
    return pack_verifier.verify(str(file), [key])[0]


async def test_the_program_inside_verifies_it_with_nothing_but_a_key(archive: Archive, tmp_path: Path) -> None:
    file = await packed(archive, tmp_path / "flow.zip", archive.flows[3])
    with zipfile.ZipFile(file) as pack:
        pack.extract("pack_verifier.py", tmp_path)
        page = pack.read("report.html").decode()
        printed = pack.read("report.pdf")
        told = json.loads(pack.read("summary.json"))
    done = run_alone(tmp_path / "pack_verifier.py", file, KEY.public_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.removeprefix("holds: ")) == {
        "flows": 1,
        "events": 3,
        "commands": 2,
        "checkpoints": 1,
        "unsigned": 0,
    }
    assert "FlowPaused" in page
    assert "lunch" in page
    assert printed.startswith(b"%PDF-")
    [flow_type] = told["flow_types"]
    assert (flow_type["flow_type"], len(flow_type["definition_sha256"])) == ("inline", 64)


async def test_a_pack_of_an_engagement_holds_all_its_flows_and_says_what_is_not_signed_yet(
    archive: Archive, tmp_path: Path
) -> None:
    archive.flows.append((await archive.house.begin()).id)
    await archive.sign()
    await archive.house.ask(PauseFlow(flow_id=archive.flows[4]))
    troubles, counts = pack_verifier.verify(str(await packed(archive, tmp_path / "all.zip")), [KEY.public_key])
    assert (troubles, pack_verifier.verdict(troubles, counts)) == ([], "unproven")
    assert (counts["flows"], counts["unsigned"], counts["checkpoints"]) == (2, 2, 2)


async def test_it_has_the_checkpoints_that_its_proofs_need_and_those_between(archive: Archive, tmp_path: Path) -> None:
    first, other = archive.flows[3], (await archive.house.begin()).id
    await archive.sign()
    await archive.house.ask(ResumeFlow(flow_id=first))
    await archive.sign()
    await archive.house.ask(PauseFlow(flow_id=other))
    await archive.sign()
    file = await packed(archive, tmp_path / "flow.zip", first)
    with zipfile.ZipFile(file) as pack:
        files = {name: pack.read(name) for name in pack.namelist()}
    lines = files["checkpoints.ndjson"].splitlines(keepends=True)
    assert [json.loads(json.loads(line)["statement"])["number"] for line in lines] == [1, 2, 3]
    assert verdict(file) == []
    files["checkpoints.ndjson"] = lines[0] + lines[2]
    assert verdict(fitted(files, tmp_path / "gap.zip")) == ["checkpoint 3: the one before it is missing"]


async def test_a_key_that_the_auditor_does_not_know_proves_nothing(archive: Archive, tmp_path: Path) -> None:
    file = await packed(archive, tmp_path / "flow.zip", archive.flows[3])
    assert any("not one of yours" in trouble for trouble in verdict(file, bytes(32)))


Change = Callable[[dict[str, bytes]], None]


def edited(name: str, before: bytes, after: bytes) -> Change:
    def change(files: dict[str, bytes]) -> None:
        assert before in files[name]
        files[name] = files[name].replace(before, after, 1)

    return change


def without_last_line(name: str) -> Change:
    def change(files: dict[str, bytes]) -> None:
        files[name] = b"".join(files[name].splitlines(keepends=True)[:-1])

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited("events.ndjson", b'"version":2', b'"version":4'), "version 4 follows 1"),
        (edited("events.ndjson", b'"state":"eyJ', b'"state":"eyK'), "version 1: changed"),
        (edited("events.ndjson", b'"index":0', b'"index":1'), "not in the signed checkpoint"),
        (edited("commands.ndjson", b'"user_id":"maria"', b'"user_id":"marie"'), "not in the signed checkpoint"),
        (edited("checkpoints.ndjson", b'\\"count\\":3', b'\\"count\\":2'), "its signature does not hold"),
        (without_last_line("checkpoints.ndjson"), "not in the signed checkpoint"),
    ],
)
async def test_each_change_of_a_pack_is_found_though_the_manifest_is_made_to_fit(
    archive: Archive, tmp_path: Path, change: Change, said: str
) -> None:
    file = await packed(archive, tmp_path / "flow.zip", archive.flows[3])
    with zipfile.ZipFile(file) as pack:
        files = {name: pack.read(name) for name in pack.namelist()}
    change(files)
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    assert any("changed" in trouble for trouble in verdict(tmp_path / "plain.zip"))
    file = fitted(files, tmp_path / "fitted.zip")
    assert any(said in trouble for trouble in verdict(file)), verdict(file)


def fitted(files: dict[str, bytes], out: Path) -> Path:
    """A pack of these files, with a manifest that fits them."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"
    }
    with zipfile.ZipFile(out, "w") as pack:
        for name, data in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
            pack.writestr(name, data)
    return out


async def test_a_history_that_was_made_up_and_never_signed_does_not_hold(archive: Archive, tmp_path: Path) -> None:
    file = await packed(archive, tmp_path / "flow.zip", archive.flows[3])
    with zipfile.ZipFile(file) as pack:
        files = {name: pack.read(name) for name in pack.namelist()}
        pack.extract("pack_verifier.py", tmp_path)
    events, previous = [json.loads(line) for line in files["events.ndjson"].splitlines()], FIRST_HASH
    for event in events:
        state = b64decode(event["state"]).replace(b"lunch", b"fraud")
        previous = chain(previous, UUID(event["flow_id"]), event["version"], event["topic"], state)
        event |= {"state": b64encode(state).decode(), "hash": previous.hex(), "proof": None}
    files["events.ndjson"] = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    made_up = fitted(files, tmp_path / "made-up.zip")
    done = run_alone(tmp_path / "pack_verifier.py", made_up, KEY.public_key)
    assert (done.returncode, done.stdout.startswith("unproven: ")) == (1, True)
    assert verify_pack(made_up, [KEY.public_key])["status"] == "unproven"


async def test_a_pack_that_lacks_events_or_is_of_another_account_does_not_hold(
    archive: Archive, tmp_path: Path
) -> None:
    file = await packed(archive, tmp_path / "flow.zip", archive.flows[3])
    with zipfile.ZipFile(file) as pack:
        files = {name: pack.read(name) for name in pack.namelist()}
    fewer = dict(files)
    without_last_line("events.ndjson")(fewer)
    assert any("version 3 is missing" in trouble for trouble in verdict(fitted(fewer, tmp_path / "fewer.zip")))
    empty = files | {"events.ndjson": b"", "commands.ndjson": b"", "checkpoints.ndjson": b""}
    assert verdict(fitted(empty, tmp_path / "empty.zip")) == ["there is no event in it"]
    manifest = json.loads(files["manifest.json"]) | {"client_account_id": str(uuid4())}
    other = files | {"manifest.json": json.dumps(manifest).encode()}
    assert any("not in the signed checkpoint" in trouble for trouble in verdict(fitted(other, tmp_path / "other.zip")))
    twice = fitted(files, tmp_path / "twice.zip")
    with zipfile.ZipFile(twice, "a") as pack, pytest.warns(UserWarning, match="Duplicate name"):
        pack.writestr("report.html", files["report.html"])
    assert verdict(twice) == ["report.html: there more than once"]


async def make_unreadable(archive: Archive) -> None:
    await archive.do(
        "update stored_events set state = '{' where originator_id = %s and originator_version = 1", archive.flows[2]
    )


@pytest.mark.parametrize(("change", "flow"), [(change_a_command, 0), (change_a_byte, 1), (make_unreadable, 2)])
async def test_of_a_history_that_was_changed_no_pack_is_made(
    archive: Archive, tmp_path: Path, change: Callable[[Archive], Awaitable[object]], flow: int
) -> None:
    await change(archive)
    with pytest.raises(Tampered, match="mfo audit verify"):
        await packed(archive, tmp_path / "flow.zip", archive.flows[flow])
    assert not any_file(tmp_path)


async def test_a_flow_that_is_not_there_has_no_pack(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(FlowNotFound):
        await packed(archive, tmp_path / "flow.zip", uuid4())


def test_what_is_no_pack_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no evidence pack"):
        pack_verifier.verify(str(tmp_path / "no.zip"), [])


async def test_a_pack_of_which_bytes_are_lost_never_holds(archive: Archive, tmp_path: Path) -> None:
    whole = (await packed(archive, tmp_path / "flow.zip", archive.flows[3])).read_bytes()
    for place in range(0, len(whole), len(whole) // 60):
        (tmp_path / "torn.zip").write_bytes(whole[:place] + b"\xff\x00\xff" + whole[place + 3 :])
        with suppress(ValueError):
            # what zip files say of themselves beside their contents may differ
            troubles, counts = pack_verifier.verify(str(tmp_path / "torn.zip"), [KEY.public_key])
            assert troubles or counts["events"] == 3


def test_what_unpacks_to_far_more_than_it_is_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_verifier, "MOST_BYTES", 1 << 20)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("manifest.json", json.dumps({"files": {}}))
        pack.writestr("report.html", bytes(8 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="unpacks to far more"):
        pack_verifier.verify(str(bomb), [])
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_pack_is_read_line_by_line_and_its_troubles_are_bounded(tmp_path: Path) -> None:
    line = json.dumps(
        {"flow_id": str(UUID(int=7)), "version": 5, "topic": "x", "state": "eyJ" * 1000, "hash": "00" * 32}
    )
    files = {
        "events.ndjson": f"{line}\n".encode() * 30_000,
        "manifest.json": b'{"client_account_id": "x", "files": {}}',
    }
    file = fitted(files, tmp_path / "long.zip")
    tracemalloc.start()
    troubles, _ = pack_verifier.verify(str(file), [])
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert len(troubles) == 1000


def test_the_verifier_is_a_file_of_150_lines_that_needs_nothing_else() -> None:
    program = Path(pack_verifier.__file__).read_text()
    assert len([line for line in program.splitlines() if line.strip()]) <= 150
    assert max(map(len, program.splitlines())) <= 132
    used = {line.split()[1].split(".")[0] for line in program.splitlines() if line.startswith(("import ", "from "))}
    assert used - set(sys.stdlib_module_names) == {"cryptography"}
