"""Clients and their pipelines: a few large clients, many small ones."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

# Of 200 clients: 4 with 500 pipelines, 16 with 150, 60 with 50, the rest with about 22 each - 10,000 together.
# (share of the clients, pipelines a client); other numbers of clients and pipelines keep these proportions.
SKEW = ((0.02, 500.0), (0.08, 150.0), (0.30, 50.0), (0.60, 2600 / 120))

PLATFORMS = (("airflow", 40), ("dbt", 20), ("cron", 15), ("vendor_api", 15), ("custom", 10))
TYPES = (("ingestion", 40), ("transform", 30), ("quality", 10), ("export", 15), ("healthcheck", 5))
ENVIRONMENTS = (("prod", 95), ("staging", 4), ("dev", 1))
# How often a pipeline runs, relative to the rarest ones, and out of a hundred how many do so.
FREQUENCIES = ((4, 10), (2, 30), (1, 60))
_EXPECTED_SHARE = 0.7
_SUBJECTS = ("orders", "invoices", "customers", "sessions", "inventory", "payments", "shipments", "events", "prices")
_VERBS = ("load", "sync", "export", "rollup", "snapshot", "check", "merge", "publish")
_FLAKY_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class PipelineRow:
    """A pipeline, and what shapes its history: how often it runs, how long that takes, whether it is flaky."""

    id: UUID
    client_id: UUID
    name: str
    platform: str
    external_id: str
    pipeline_type: str
    environment: str
    frequency: int
    typical_seconds: float
    is_flaky: bool
    gets_expectation: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """All clients and pipelines, and when they were created."""

    clients: list[ClientRow]
    pipelines: list[PipelineRow]
    created_at: datetime


def uuid7_at(milliseconds: int, bits: int) -> int:
    """Make a UUIDv7 (as a number) of a time since 1970 and 74 random bits."""
    return (milliseconds << 80) | 0x7000 << 64 | (bits >> 62) << 64 | 0x2 << 62 | (bits & 0x3FFFFFFFFFFFFFFF)


def make_fleet(*, clients: int, pipelines: int, created_at: datetime, chance: random.Random) -> Fleet:
    """Make up ``clients`` clients with ``pipelines`` pipelines between them, the same for the same ``chance``."""
    milliseconds = int(created_at.timestamp() * 1000)
    numbers = iter(range(clients + pipelines))

    def new_id() -> UUID:
        return UUID(int=uuid7_at(milliseconds + next(numbers), chance.getrandbits(74)))

    rows = [ClientRow(new_id(), f"Bench client {number:04}") for number in range(1, clients + 1)]
    made: list[PipelineRow] = []
    for client, count in zip(rows, client_sizes(clients=clients, pipelines=pipelines), strict=True):
        made += [_pipeline(new_id(), client, number, chance) for number in range(1, count + 1)]
    return Fleet(rows, made, created_at)


def client_sizes(*, clients: int, pipelines: int) -> list[int]:
    """Share ``pipelines`` among ``clients`` by ``SKEW``, the largest clients first; the sum is exact."""
    weights: list[float] = []
    reached = 0.0
    for share, weight in SKEW:
        reached += share
        weights += [weight] * (round(reached * clients) - len(weights))
    exact = [weight * pipelines / sum(weights) for weight in weights]
    sizes = [math.floor(size) for size in exact]
    # What rounding left goes to those who lost most by it; at equal loss the larger client is first.
    by_loss = sorted(range(clients), key=lambda i: round(sizes[i] - exact[i], 9))
    for index in by_loss[: pipelines - sum(sizes)]:
        sizes[index] += 1
    return sizes


def _pipeline(pipeline_id: UUID, client: ClientRow, number: int, chance: random.Random) -> PipelineRow:
    name = f"{chance.choice(_SUBJECTS)}_{chance.choice(_VERBS)}_{number:03}"
    return PipelineRow(
        id=pipeline_id,
        client_id=client.id,
        name=name,
        platform=_choose(PLATFORMS, chance),
        external_id=f"{client.name[-4:]}.{name}",
        pipeline_type=_choose(TYPES, chance),
        environment=_choose(ENVIRONMENTS, chance),
        frequency=_choose(FREQUENCIES, chance),
        # Most take minutes, some hours.
        typical_seconds=min(max(chance.lognormvariate(5.0, 1.2), 2.0), 4 * 3600.0),
        is_flaky=chance.random() < _FLAKY_SHARE,
        gets_expectation=chance.random() < _EXPECTED_SHARE,
    )


def _choose(table: Sequence[tuple[T, int]], chance: random.Random) -> T:
    return chance.choices([value for value, _ in table], [weight for _, weight in table])[0]
