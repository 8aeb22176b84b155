"""Loads a fleet and its history into empty tables: by COPY, in one transaction, with the indexes built at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from chm_web.bench.fleet import Fleet
from chm_web.bench.history import COLUMNS, COPY_HEADER, COPY_TRAILER, History

TABLES = ("clients", "pipelines", "runs", "alert_rules")
# An expectation that is rarer than this tells nobody anything.
_RAREST_EXPECTATION_MINUTES = 31 * 24 * 60

OnRows = Callable[[int], None]
OnStep = Callable[[str], None]


class NotEmpty(Exception):
    """The tables hold something already. The message names them."""


def load(
    connection: psycopg.Connection[Any], fleet: Fleet, history: History, *, on_rows: OnRows, on_step: OnStep
) -> None:
    """Write everything, and leave the tables analysed and vacuumed as a database at rest has them.

    It is one transaction, so whatever breaks it off, the tables are empty afterwards and every index is there.
    The tables are locked meanwhile.

    Args:
        connection: one in autocommit mode, of the tables' owner.
        fleet: the clients and pipelines.
        history: their runs.
        on_rows: told of every block of runs, with their number.
        on_step: told of every step, in words.

    Raises:
        NotEmpty: the tables hold something.
        LockNotAvailable: somebody uses the tables.
    """
    with connection.transaction():
        # Checked under the lock: nothing can be written between the look and the load.
        connection.execute("SET LOCAL lock_timeout = '10s'")
        connection.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
        _refuse_rows(connection)
        connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        on_step("clients and pipelines")
        _copy_fleet(connection, fleet, history)
        on_step("runs")
        rebuild = _drop_indexes(connection)
        _copy_runs(connection, history, on_rows)
        for name, statement in rebuild:
            on_step(name)
            connection.execute(statement)
        on_step("the commit")
    for table in TABLES:
        on_step(f"statistics of {table}")
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


def _refuse_rows(connection: psycopg.Connection[Any]) -> None:
    filled = []
    for table in TABLES:
        row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))).fetchone()
        if row == (True,):
            filled.append(table)
    if filled:
        raise NotEmpty(f"The database holds data already ({', '.join(filled)}). Seed a new, empty database.")


def _copy_fleet(connection: psycopg.Connection[Any], fleet: Fleet, history: History) -> None:
    with connection.cursor() as cursor:
        with cursor.copy("COPY clients (id, name, created_at, updated_at) FROM STDIN") as copy:
            for client in fleet.clients:
                copy.write_row((client.id, client.name, fleet.created_at, fleet.created_at))
        with cursor.copy(
            "COPY pipelines (id, client_id, name, platform, external_id, pipeline_type, environment, "
            "expected_every_minutes, created_at, updated_at) FROM STDIN"
        ) as copy:
            for row in fleet.pipelines:
                every = math.ceil(history.interval(row).total_seconds() / 60)
                expected = every if row.gets_expectation and every <= _RAREST_EXPECTATION_MINUTES else None
                named = (row.id, row.client_id, row.name, row.platform, row.external_id, row.pipeline_type)
                copy.write_row((*named, row.environment, expected, fleet.created_at, fleet.created_at))


def _copy_runs(connection: psycopg.Connection[Any], history: History, on_rows: OnRows) -> None:
    # TRUNCATE of the empty table is what allows FREEZE: rows that are visible to all from the start, so that
    # index-only scans work at once and no later reader has to write hint bits.
    connection.execute("TRUNCATE runs")
    statement = f"COPY runs ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary, FREEZE)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(COPY_HEADER)
        for rows, block in history.blocks():
            copy.write(block)
            on_rows(rows)
        copy.write(COPY_TRAILER)


def _drop_indexes(connection: psycopg.Connection[Any]) -> list[tuple[str, sql.Composed]]:
    """Drop the indexes and keys of ``runs``; give what makes them again, as the catalogue describes it.

    Built at the end they take a sixth of the time, and DDL is transactional: a crash brings them back.
    """
    constraints = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'runs'::regclass AND contype IN ('p', 'u', 'f') ORDER BY contype <> 'p', contype <> 'u'"
    ).fetchall()
    indexes = connection.execute(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i "
        "WHERE i.indrelid = 'runs'::regclass AND NOT EXISTS "
        "(SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid) ORDER BY 1"
    ).fetchall()
    rebuild: list[tuple[str, sql.Composed]] = []
    for name, definition in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
        rebuild.append((name, sql.Composed([sql.SQL(definition)])))
    for name, definition in constraints:
        connection.execute(sql.SQL("ALTER TABLE runs DROP CONSTRAINT {}").format(sql.Identifier(name)))
        again = sql.SQL("ALTER TABLE runs ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition))
        rebuild.append((name, again))
    return rebuild
