"""Derived ids are the version 5 UUIDs that everybody else would derive."""

from __future__ import annotations

from uuid import uuid4, uuid5

from domain.ids import derived_id, derived_text


def test_a_derived_id_is_the_version_5_uuid_of_its_name() -> None:
    for n in range(200):
        flow, name = uuid4(), f"run:{n} of ä"
        assert derived_id(flow, name) == uuid5(flow, name)
        assert derived_text(flow, name) == str(uuid5(flow, name))
