"""``chm bench seed``: what it makes up, and that it never touches a database that is in use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from chm_web.bench import History, loading
from chm_web.bench.fleet import client_sizes, uuid7_at
from chm_web.commands.bench import bench, make_up
from chm_web.extensions import db
from chm_web.services.health import Health, tally_fleet_health
from tests.factories import make_client

RUNS = 20_000
UNTIL = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'runs'::regclass ORDER BY 1
"""
CONSTRAINTS = """
    SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint
    WHERE conrelid = 'runs'::regclass ORDER BY 1
"""


def rows(query: str) -> list[Any]:
    """All rows of a query, read in a transaction of its own."""
    with db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def seed(app: Flask, *arguments: str) -> Result:
    """Run ``chm bench seed``."""
    return app.test_cli_runner().invoke(bench, ["seed", *arguments])


def digest(history: History) -> str:
    """What a history's rows come to."""
    whole = sha256()
    for _, block in history.blocks():
        whole.update(block)
    return whole.hexdigest()


def small(**values: Any) -> History:
    """A small history that depends on ``values`` alone."""
    return make_up(**{"runs": 3000, "clients": 20, "pipelines": 500, "days": 30, "seed": 1, "until": UNTIL, **values})[
        1
    ]


def test_the_default_fleet_has_four_large_clients_and_many_small_ones() -> None:
    sizes = client_sizes(clients=200, pipelines=10_000)

    assert sum(sizes) == 10_000
    assert sizes[:80] == [500] * 4 + [150] * 16 + [50] * 60
    assert set(sizes[80:]) == {21, 22}


@pytest.mark.parametrize(("clients", "pipelines"), [(1, 1), (1, 7), (3, 2), (7, 1000), (201, 9_999)])
def test_any_number_of_pipelines_is_shared_out_to_the_last(clients: int, pipelines: int) -> None:
    sizes = client_sizes(clients=clients, pipelines=pipelines)

    assert len(sizes) == clients
    assert sum(sizes) == pipelines
    assert sizes == sorted(sizes, reverse=True)


def test_ids_are_version_7_and_sorted_as_their_times() -> None:
    early, late = UUID(int=uuid7_at(1000, 2**74 - 1)), UUID(int=uuid7_at(1001, 0))

    assert early.version == late.version == 7
    assert early.variant == late.variant
    assert early < late


def test_the_same_seed_makes_up_the_same_history_and_another_does_not() -> None:
    assert digest(small()) == digest(small())
    assert digest(small()) != digest(small(seed=2))


def test_seed_fills_an_empty_database(committed_app: Flask) -> None:
    before = rows(INDEXES), rows(CONSTRAINTS)

    result = seed(committed_app, "--runs", str(RUNS))

    assert result.exit_code == 0, result.output
    assert (rows(INDEXES), rows(CONSTRAINTS)) == before
    assert rows("SELECT count(*), count(DISTINCT client_id) FROM pipelines") == [(10_000, 200)]
    _check_statuses()
    _check_times()
    assert rows("SELECT relallvisible = relpages FROM pg_class WHERE oid = 'runs'::regclass") == [(True,)]
    tally = tally_fleet_health(now=datetime.now(UTC))
    assert tally.total == 10_000
    assert tally.counts[Health.HEALTHY] > 0.8 * 10_000
    assert 100 < tally.counts[Health.FAILING] < 1_000
    assert tally.counts[Health.NO_DATA] < 300
    second = seed(committed_app, "--runs", "10")
    assert second.exit_code == 1
    assert "holds data already (clients, pipelines, runs)" in second.output
    assert rows("SELECT count(*) FROM runs") == [(RUNS,)]


def _check_statuses() -> None:
    counts = dict(rows("SELECT status, count(*) FROM runs GROUP BY 1"))
    assert sum(counts.values()) == RUNS
    assert 0.91 < counts["success"] / RUNS < 0.95
    assert 0.03 < counts["failed"] / RUNS < 0.05
    assert 0.005 < counts["canceled"] / RUNS < 0.03
    assert 0.005 < counts["skipped"] / RUNS < 0.03
    assert 1 <= counts["running"] <= 200
    assert rows("SELECT count(*) FROM runs WHERE (error_message IS NOT NULL) <> (status = 'failed')") == [(0,)]
    assert rows("SELECT avg((payload IS NOT NULL)::int) BETWEEN 0.15 AND 0.25 FROM runs") == [(True,)]
    assert rows("SELECT avg(n) > 1.5 FROM (SELECT count(*) n FROM runs GROUP BY pipeline_id) x") == [(True,)]


def _check_times() -> None:
    assert rows(
        "SELECT count(*) FROM (SELECT created_at < lag(created_at) OVER (ORDER BY id) AS back FROM runs) x WHERE back"
    ) == [(0,)]
    assert rows(
        "SELECT count(*) FROM runs WHERE finished_at < started_at OR event_at > created_at "
        "OR (finished_at IS NULL) <> (status = 'running')"
    ) == [(0,)]
    first, last = rows("SELECT min(created_at), max(created_at) FROM runs")[0]
    assert last - first == pytest.approx(timedelta(days=365), abs=timedelta(hours=1))
    assert rows(
        "SELECT count(*) FROM runs r JOIN pipelines p ON p.id = r.pipeline_id WHERE r.started_at < p.created_at"
    ) == [(0,)]


def test_a_database_with_data_is_refused_and_left_alone(committed_app: Flask) -> None:
    make_client(name="Somebody's")

    result = seed(committed_app, "--runs", "10")

    assert result.exit_code == 1
    assert "holds data already (clients)" in result.output
    assert rows("SELECT name FROM clients") == [("Somebody's",)]


def test_a_load_that_breaks_off_leaves_empty_tables_and_every_index(
    committed_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(INDEXES), rows(CONSTRAINTS)
    monkeypatch.setattr(loading, "_copy_runs", _breaking(loading._copy_runs))

    result = seed(committed_app, "--runs", "3000", "--pipelines", "500")

    assert result.exit_code == 1
    assert (rows(INDEXES), rows(CONSTRAINTS)) == before
    assert rows("SELECT (SELECT count(*) FROM clients) + (SELECT count(*) FROM runs)") == [(0,)]
    monkeypatch.undo()
    assert seed(committed_app, "--runs", "3000", "--pipelines", "500").exit_code == 0


def _breaking(original: Callable[..., None]) -> Callable[..., None]:
    def copy_runs(connection: psycopg.Connection[Any], *arguments: Any) -> None:
        original(connection, *arguments)
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    return copy_runs
