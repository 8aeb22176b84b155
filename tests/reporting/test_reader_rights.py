"""What the reader may not do, tried as the reader. What is only a default of its sessions is lifted first."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from flask import Flask
from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction
from sqlalchemy import text

from chm_web.extensions import db
from chm_web.services.reader import grant_reader
from tests.reporting.conftest import PASSWORD, Connect

Reader = psycopg.Connection[Any]

FORBIDDEN = [
    *(f"SELECT 1 FROM public.{table}" for table in ("clients", "pipelines", "runs", "alert_rules", "alembic_version")),
    "SELECT payload FROM public.runs",
    "SELECT 1 FROM reporting.run_errors",
    "SELECT 1 FROM pg_authid",
    "SELECT 1 FROM pg_shadow",
    "SELECT 1 FROM pg_statistic",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    # A view over one table takes writes, if one may.
    "INSERT INTO reporting.clients (client_name) VALUES ('x')",
    "UPDATE reporting.runs SET external_run_id = 'x'",
    "DELETE FROM reporting.runs",
    "TRUNCATE public.runs",
    "CREATE TABLE public.mine (id int)",
    "CREATE TABLE reporting.mine (id int)",
    "CREATE VIEW reporting.mine AS SELECT 1",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "SELECT lo_export(1, '/tmp/x')",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_reader_is_refused(reader: Reader, statement: str) -> None:
    reader.execute("SET default_transaction_read_only = off")

    with pytest.raises(InsufficientPrivilege):
        reader.execute(statement)


def test_reader_cannot_become_the_apps_role(base_app: Flask, reader: Reader) -> None:
    with base_app.app_context(), db.engine.connect() as connection:
        app_role = connection.scalar(text("SELECT quote_ident(current_user)"))

    with pytest.raises(InsufficientPrivilege):
        reader.execute(f"SET ROLE {app_role}")


def test_reader_reads_every_view_but_the_error_texts(reader: Reader) -> None:
    query = "SELECT viewname FROM pg_views WHERE schemaname = 'reporting' AND viewname <> 'run_errors'"
    views = [row[0] for row in reader.execute(query).fetchall()]

    assert {"clients", "pipelines", "pipeline_platforms", "runs", "latest_status", "pipeline_health"} == set(views)
    for view in views:
        reader.execute(f"SELECT * FROM reporting.{view} LIMIT 1")


def test_no_view_but_that_of_error_texts_shows_payloads_or_error_texts(reader: Reader) -> None:
    query = """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'reporting' AND column_name ~ 'payload|error|reason|destination'
    """
    # The information schema shows a reader what it may read.
    assert reader.execute(query).fetchall() == []


def test_its_sessions_are_read_only_unless_told_otherwise(reader: Reader) -> None:
    with pytest.raises(ReadOnlySqlTransaction):
        reader.execute("CREATE TEMPORARY TABLE mine (id int)")


def test_its_sessions_find_the_views_without_the_schemas_name(reader: Reader) -> None:
    assert reader.execute("SELECT count(*) FROM latest_status").fetchone() is not None


def test_a_runaway_query_is_cut_off(base_app: Flask, role_name: str, connect: Connect) -> None:
    with base_app.app_context():
        grant_reader(role=role_name, password=PASSWORD, statement_timeout_seconds=1)
    reader = connect(role_name, PASSWORD)

    with pytest.raises(QueryCanceled, match="statement timeout"):
        reader.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")


def test_a_query_may_take_half_a_minute_and_an_idle_transaction_a_minute(reader: Reader) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout")

    found = reader.execute("SELECT current_setting(%s), current_setting(%s)", names).fetchone()

    assert found == ("30s", "1min")


def test_the_app_still_makes_temporary_tables(reader: Reader, base_app: Flask) -> None:
    with base_app.app_context(), db.engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE mine (id int) ON COMMIT DROP"))


def test_functions_can_be_inlined_and_read_with_their_callers_rights(base_app: Flask) -> None:
    # Each of these would keep the planner from inlining a function; the second would also lend the owner's rights.
    query = """
        SELECT proname FROM pg_proc WHERE pronamespace = 'reporting'::regnamespace
            AND (proconfig IS NOT NULL OR prosecdef OR proisstrict OR provolatile <> 's' OR prosqlbody IS NULL
                OR proparallel <> 's')
    """
    with base_app.app_context(), db.engine.connect() as connection:
        assert connection.scalars(text(query)).all() == []
        assert connection.scalar(text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'reporting'::regnamespace"))


def test_the_plan_of_health_leaves_out_what_is_not_asked_for(reader: Reader) -> None:
    reader.execute("SET enable_seqscan = off")
    query = "SELECT {} FROM reporting.pipeline_health_at(now()) WHERE client_id = gen_random_uuid()"

    def scans(columns: str) -> int:
        plan = reader.execute(f"EXPLAIN {query.format(columns)}").fetchall()
        assert not any("Function Scan" in row[0] for row in plan)
        return sum(" on runs" in row[0] for row in plan)

    # The newest outcome; what runs, and what ran and has ended, where nothing else decides.
    assert scans("health") == 3
    assert scans("health, last_finished_at, late_at") == 3
    # Each of these asks by itself, of the pipelines that fail.
    assert (
        3
        < scans("health, since")
        < scans("health, since, failures_in_row")
        < scans("health, since, failures_in_row, last_success_at")
    )
