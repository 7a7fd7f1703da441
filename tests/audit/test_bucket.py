"""Copies of checkpoints in a bucket: written and read again, against a small stand-in for S3 on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from uuid import uuid4
from xml.sax.saxutils import escape

import pytest

from eventstore.audit.bucket import Bucket, BucketUnreachable
from eventstore.audit.checkpoints import FIRST, Checkpoint, Statement, Stretch
from eventstore.service import AuditConfig
from mfo.auditing import published_in
from projections.signer import Signing
from tests.audit.archive import KEY, Archive
from tests.projections.conftest import config_for, running
from tests.waiting import until
from tests.webserver import Handler, web_server


@dataclass
class StandIn:
    """What was put under which path, and how the next request is answered."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    refuses: bool = False


@pytest.fixture
def bucket_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    store = StandIn()

    class Objects(Handler, BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            store.signed.append(self.headers.get("Authorization", ""))
            body = self.body()
            if store.refuses:
                self.answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
                return
            store.objects[self.path] = body
            self.answer(200)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if "list-type=2" not in query:
                self.answer(200, store.objects[path])
                return
            keys = "".join(
                f"<Contents><Key>{escape(name.removeprefix('/audit/'))}</Key><Size>1</Size></Contents>"
                for name in store.objects
            )
            listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>"
            self.answer(200, listing.encode())

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with web_server(Objects) as store.url:
        yield store


def signed(number: int) -> Checkpoint:
    none = Stretch(0, 0, 0, FIRST)
    statement = Statement(
        1, uuid4(), number, datetime(2026, 11, 20, tzinfo=UTC), none, none, FIRST, KEY.key_id
    ).encode()
    return Checkpoint(statement, KEY.sign(statement), KEY.key_id)


def test_what_was_written_is_read_again(bucket_store: StandIn) -> None:
    bucket, made = Bucket("s3://audit/mfo/copies", bucket_store.url), [signed(1), signed(2)]
    bucket.put(made)
    first = made[0].said.client_account_id
    assert f"/audit/mfo/copies/{first}/000000000001.json" in bucket_store.objects
    assert all(text.startswith("AWS4-HMAC-SHA256 Credential=test/") for text in bucket_store.signed)
    assert list(bucket.all()) == made


async def test_what_is_signed_is_copied(archive: Archive, bucket_store: StandIn) -> None:
    side = archive.house.side
    async with side.pool.connection() as connection:
        await archive.signer.release(connection)
        await connection.execute("update audit_checkpoints set published_at = null")
    audit = AuditConfig(seed=bytes(range(32)), s3="s3://audit", s3_endpoint=bucket_store.url)

    async def copied() -> bool:
        return len(bucket_store.objects) == 2

    async with running(Signing(replace(side.config, audit=audit)).run()):
        await until(copied, timeout=30)
    assert sorted(Bucket("s3://audit", bucket_store.url).all()) == sorted(archive.published)


def test_a_store_that_refuses_or_is_away_is_named(bucket_store: StandIn) -> None:
    bucket_store.refuses = True
    with pytest.raises(BucketUnreachable, match="AccessDenied"):
        Bucket("s3://audit", bucket_store.url).put([signed(1)])


def test_verification_compares_with_what_lies_in_the_bucket(bucket_store: StandIn) -> None:
    made = signed(1)
    Bucket("s3://audit", bucket_store.url).put([made])
    config = config_for("postgresql:///none")
    assert published_in("s3://audit", config, bucket_store.url) == (made,)
