"""Copies of checkpoints in an S3-compatible store, best in a bucket with object lock, where no administrator of ours can write.

Each lies under `<prefix>/<client account>/<number, 12 digits>.json`, as it is published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from domain.errors import MfoError
from eventstore.audit.checkpoints import Checkpoint, from_dict

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 20, 3


class BucketUnreachable(MfoError):
    """The store of copies does not do what is asked; check its address, the bucket, and the credentials."""

    code = "bucket_unreachable"
    status = 503


class Bucket:
    """A place `s3://bucket/prefix`; credentials come from where boto3 looks for them. Blocks: call it in a thread."""

    def __init__(self, place: str, endpoint: str | None = None) -> None:
        # boto3 is large, and few have a bucket
        import boto3
        from botocore.config import Config

        self._bucket, _, prefix = place.removeprefix("s3://").partition("/")
        self._prefix = prefix.strip("/")
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=None if endpoint is None else "us-east-1",
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"max_attempts": ATTEMPTS, "mode": "standard"},
                # other stores than Amazon's know neither names of hosts by bucket nor its newer checksums
                s3={"addressing_style": "auto" if endpoint is None else "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Write each; the same one again changes nothing. Raises BucketUnreachable."""
        with _told():
            for checkpoint in checkpoints:
                said = checkpoint.said
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(f"{said.client_account_id}/{said.number:012d}.json"),
                    Body=msgspec.json.encode(checkpoint.as_dict()),
                    ContentType="application/json",
                )

    def all(self) -> Iterator[Checkpoint]:
        """Every checkpoint that lies there; raises BucketUnreachable, and ValueError or KeyError for what is none."""
        with _told():
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key("")
            ):
                for found in page.get("Contents", ()):
                    answer = self._client.get_object(Bucket=self._bucket, Key=found["Key"])
                    yield from_dict(json.loads(answer["Body"].read()))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


@contextmanager
def _told() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BucketUnreachable(f"the store of copies cannot be used: {type(error).__name__}: {error}"[:500]) from None
