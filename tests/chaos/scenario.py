"""Which flows are begun, when, by whom and by which way: all of it follows from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

from tests.chaos.shapes import SHAPES, Ask, Shape

Json = dict[str, Any]
Door = Literal["http", "kafka", "both"]

NAMESPACE = UUID("6f1f3c5e-5f4e-4c52-9f0a-0c4b8f1f7a11")
USER = "owner"


class Owner(msgspec.Struct, frozen=True):
    """Whose flow it is."""

    client_account_id: UUID
    engagement_id: UUID


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A flow to be begun `at` seconds after the start; `flow_id` follows from the command's id, whichever door it takes."""

    flow_id: UUID
    shape: str
    owner: Owner
    command_id: str
    at: float
    body: Json


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """How one command travels: its door, how late, how many times, and whether its first answer is not waited for."""

    door: Door
    late: float
    copies: tuple[float, ...]
    cut: bool


def plan(seed: int, flows: int, seconds: float, shapes: Sequence[Shape] = SHAPES) -> list[Planned]:
    """`flows` flows over `seconds` seconds; every shape comes at least once where there are enough of them."""
    random = Random(f"plan {seed}")
    owners = [Owner(uuid5(NAMESPACE, f"{seed} account {n % 2}"), uuid5(NAMESPACE, f"{seed} {n}")) for n in range(3)]
    begun = [shape for shape in shapes if shape.share]
    chosen = [*begun, *random.choices(begun, [shape.share for shape in begun], k=max(0, flows - len(begun)))]
    chosen = chosen[:flows]
    random.shuffle(chosen)
    planned = []
    for n, shape in enumerate(chosen):
        owner = random.choice(owners)
        command_id = f"begin {seed}-{n}"
        body: Json = {"flow_type": shape.name, "flow_name": f"{shape.name} {n}", "initial_data": shape.data(random)}
        if shape.auto:
            body["options"] = {"auto_execute": True, **shape.options(random)}
        planned.append(
            Planned(
                flow_id=uuid5(owner.client_account_id, command_id),
                shape=shape.name,
                owner=owner,
                command_id=command_id,
                at=round(seconds * n / flows, 3),
                body=body,
            )
        )
    return planned


def command_id(flow_id: UUID, version: int, n: int, ask: Ask) -> str:
    """The id of the n-th command that the owner sends on the event with this version: the same whenever it is told again."""
    return str(uuid5(flow_id, f"{version}:{n}:{ask.name}"))


def sending(seed: int, command_id: str) -> Sending:
    """How this command travels."""
    random = Random(f"sending {seed} {command_id}")
    door: Door = random.choices(("http", "kafka", "both"), (45, 45, 10))[0]
    return Sending(
        door=door,
        late=round(random.uniform(0, 2.0), 2) if random.random() < 0.4 else 0.0,
        copies=tuple(round(random.uniform(0, 6.0), 2) for _ in range(random.choices((0, 1, 3), (70, 22, 8))[0])),
        cut=random.random() < 0.15,
    )
