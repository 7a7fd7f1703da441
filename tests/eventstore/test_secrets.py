"""Sensitive values: sealed before anything is kept, in clear only where the work is done."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.commands import ExecutePhase, ProvideInput, RequestInput
from domain.errors import SettingsError
from eventstore.keys import SEALED, KeyMissing, Keyring, master_key_from
from eventstore.relay import message
from tests.eventstore.house import House, config_for, create, open_house

SECRET = "correct horse battery staple"  # a value to search for
NESTED = {
    "site": "north",
    "credentials": {"user": "svc", "password": SECRET},
    "sources": [{"API_Keys": [SECRET], "host": "h1"}, {"deep": {"tokens": SECRET}}],
}


async def everything(house: House) -> bytes:
    """All that the write side keeps, as raw bytes."""
    found = b""
    for table in ("stored_events", "command_log", "command_ids", "runs", "artifact_parts", "imports", "heads"):
        for row in await house.rows(f"select t.* from {table} t"):
            found += b"|".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    return found


async def test_no_table_and_no_message_holds_a_sensitive_value_in_clear(
    house: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    flow = await house.begin(initial_data=NESTED)
    await house.complete(flow.id, {"connection_strings": [SECRET], "rows": 1})
    run = await house.run_of(flow.id)
    wanted = RequestInput(
        flow_id=flow.id,
        run_id=run.run_id,
        token=run.token,
        fields=("passwords",),
        message="which?",
        suggestions={"passwords": [SECRET]},
    )
    await house.ask(wanted)
    answer = ProvideInput.model_validate({"flow_id": flow.id, "passwords": SECRET})
    assert (await house.ask(answer)).outcome == "accepted"
    large = await house.begin(initial_data={"rows": [{"passwords": SECRET}] * 3000})
    assert "$artifact" in large.initial_data["rows"]
    kept = await everything(house)
    for form in (SECRET.encode(), b64encode(SECRET.encode())):
        assert form not in kept
    assert kept.count(SEALED.encode()) >= 5
    for event in await house.side.store.tail(0, 1000):
        key, value, headers = message(event, "mfo")
        assert SECRET.encode() not in b"".join([key, value, *(inner for _, inner in headers)])
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


async def test_what_was_sealed_is_read_back_by_its_tenant_alone(house: House) -> None:
    flow = await house.begin(initial_data=NESTED)
    account = house.tenant.client_account_id
    assert flow.initial_data["site"] == "north"
    assert set(flow.initial_data["credentials"]) == {SEALED}
    assert await house.side.keyring.unseal(account, flow.initial_data) == NESTED
    with pytest.raises(KeyMissing):
        await house.side.keyring.unseal(uuid4(), flow.initial_data)
    await house.rows("delete from tenant_keys")
    fresh = Keyring(house.side.config.master_key, house.side.pool)
    with pytest.raises(KeyMissing):
        await fresh.unseal(account, flow.initial_data)


async def test_each_account_has_a_key_of_its_own(house: House) -> None:
    keys = house.side.keyring
    one, _ = await keys.seal(UUID(int=1), {"tokens": "t"})
    other, _ = await keys.seal(UUID(int=2), {"tokens": "t"})
    assert one["tokens"][SEALED]["key"] != other["tokens"][SEALED]["key"]
    assert await house.one("select count(*) from tenant_keys") == 2
    again = Keyring(house.side.config.master_key, house.side.pool)
    assert await again.unseal(UUID(int=1), one) == {"tokens": "t"}
    same, _ = await again.seal(UUID(int=1), {"tokens": "t"})
    assert same["tokens"][SEALED]["key"] == one["tokens"][SEALED]["key"]
    assert same != one


async def test_what_is_sealed_stays_so_and_what_only_looks_sealed_is_sealed(house: House) -> None:
    keys, account = house.side.keyring, UUID(int=1)
    once, _ = await keys.seal(account, {"tokens": "t"})
    assert (await keys.seal(account, once))[0] == once
    forged, _ = await keys.seal(account, {"tokens": {SEALED: SECRET}})
    assert SECRET not in str(forged)


async def test_a_repeat_with_secrets_is_a_repeat_and_another_secret_another_body(house: House) -> None:
    flow_id = uuid4()

    def body(password: str) -> Any:
        return create(flow_id, initial_data={"credentials": {"password": password}})

    assert (await house.ask(body(SECRET), "key-1")).outcome == "accepted"
    assert (await house.ask(body(SECRET), "key-1")).outcome == "repeated"
    other = await house.ask(body("guess"), "key-1")
    assert other.error is not None
    assert other.error["code"] == "idempotency_key_reused"


async def test_the_body_hash_cannot_be_guessed_without_the_master_key(house: House) -> None:
    value = {"tokens": "guess"}
    _, mine = await house.side.keyring.seal(UUID(int=1), value)
    _, theirs = await Keyring(b"\x01" * 32, house.side.pool).seal(UUID(int=2), value)
    _, same = await Keyring(house.side.config.master_key, house.side.pool).seal(UUID(int=1), value)
    assert mine == same
    assert mine != theirs
    assert "guess" not in str(mine)


async def test_secrets_given_with_execute_are_sealed(house: House) -> None:
    flow = await house.begin(options={"auto_execute": False})
    answer = await house.ask(ExecutePhase(flow_id=flow.id, inputs={"private_keys": [SECRET]}))
    assert answer.flow is not None
    assert set(answer.flow.known_inputs["private_keys"]) == {SEALED}
    assert SECRET.encode() not in await everything(house)


async def test_values_nested_as_deep_as_may_be_can_be_sealed(house: House) -> None:
    deep: Any = {"tokens": SECRET}
    for _ in range(60):
        deep = {"in": deep}
    flow = await house.begin(initial_data=deep)
    assert await house.side.keyring.unseal(house.tenant.client_account_id, flow.initial_data) == deep


async def test_a_wrong_or_missing_master_key_refuses_to_start(house: House) -> None:
    await house.begin(initial_data=NESTED)
    url = house.side.config.database_url
    with pytest.raises(SettingsError, match="MFO_MASTER_KEY is not the key"):
        async with open_house(url, master_key=b"\x01" * 32):
            pass
    with pytest.raises(SettingsError, match="MFO_MASTER_KEY is missing"):
        async with open_house(url, master_key=b""):
            pass
    assert config_for(url).master_key == house.side.config.master_key


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_a_master_key_is_32_bytes_in_base64(text: str) -> None:
    with pytest.raises(SettingsError, match="openssl rand -base64 32"):
        master_key_from(text)
    assert master_key_from(b64encode(bytes(range(32))).decode() + "\n") == bytes(range(32))
