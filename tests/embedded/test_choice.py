"""Which stack the tests take: the order of the list, each part chosen for itself."""

from __future__ import annotations

import pytest

from tests.stack import NEEDS_DOCKER, Choice, choose

BOTH = {"MFO_TEST_DATABASE_URL": "postgresql://x", "MFO_TEST_KAFKA_BOOTSTRAP": "x:9092"}


def yes() -> bool:
    return True


def no() -> bool:
    return False


def java() -> tuple[bool, str]:
    return True, "Java 17"


def no_java() -> tuple[bool, str]:
    return False, "Java is not installed"


def unasked() -> bool:
    pytest.fail("a probe was asked although its answer does not matter")


def jars_unasked() -> tuple[bool, str]:
    pytest.fail("a probe was asked although its answer does not matter")


def test_addresses_come_first() -> None:
    assert choose(BOTH, unasked, jars_unasked) == Choice("address", "address", (NEEDS_DOCKER,))


def test_one_address_leaves_the_other_part_to_the_next_in_line() -> None:
    database = {"MFO_TEST_DATABASE_URL": "postgresql://x"}
    assert choose(database, yes, jars_unasked) == Choice("address", "container")
    assert choose({"MFO_TEST_KAFKA_BOOTSTRAP": "x:1"}, no, jars_unasked) == Choice("wheel", "address", (NEEDS_DOCKER,))


def test_an_empty_address_is_none() -> None:
    assert choose({"MFO_TEST_DATABASE_URL": ""}, yes, jars_unasked) == Choice("container", "container")


def test_containers_come_second() -> None:
    assert choose({}, yes, jars_unasked) == Choice("container", "container")


def test_jars_and_the_wheel_come_third() -> None:
    assert choose({}, no, java) == Choice("wheel", "jars", (NEEDS_DOCKER,))


def test_the_builtin_broker_is_last_and_says_what_it_cannot_prove() -> None:
    choice = choose({}, no, no_java)
    assert (choice.postgres, choice.kafka) == ("wheel", "builtin")
    assert any("Java is not installed" in sentence for sentence in choice.unproven)
