"""The migrations, and what the database itself refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session

from chm_web.config import ROOT, Config
from chm_web.extensions import db
from chm_web.models import Channel, Client, Pipeline, PipelineType, Platform, RuleType, Run, RunStatus
from tests.configured import app_of
from tests.conftest import new_database
from tests.factories import NOW, make_alert_rule, make_client, make_pipeline, make_run


@pytest.fixture
def empty_app(servers: tuple[str, str], config: Config) -> Any:
    """The app on a database of its own that holds nothing yet."""
    with new_database(servers[0]) as url:
        own = Config(database_url=url, redis_url=config.redis_url, secret_key=config.secret_key)
        with app_of(own) as app:
            yield app


def _objects() -> set[str]:
    query = """
        SELECT 'table ' || tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typtype = 'e'
        UNION ALL SELECT 'index ' || indexname FROM pg_indexes
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'reporting'
        UNION ALL SELECT 'view ' || viewname || ': ' || definition FROM pg_views WHERE schemaname = 'reporting'
        UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc
            WHERE pronamespace = to_regnamespace('reporting')
    """
    with db.engine.connect() as connection:
        return set(connection.scalars(sa.text(query)))


def test_upgrade_downgrade_upgrade_works(empty_app: Flask) -> None:
    flask_migrate.upgrade()
    first = _objects()
    flask_migrate.downgrade(revision="base")
    assert _objects() == set()
    flask_migrate.upgrade()
    assert _objects() == first
    assert {name for name in first if name.startswith("table ")} == {
        "table clients",
        "table pipelines",
        "table runs",
        "table alert_rules",
    }


def test_a_step_back_gives_what_stood_before_it(empty_app: Flask) -> None:
    revisions = [step.revision for step in ScriptDirectory(str(ROOT / "migrations")).walk_revisions()][::-1]
    stood = {}
    for revision in revisions:
        flask_migrate.upgrade(revision=revision)
        stood[revision] = _objects()
    for revision in reversed(revisions[:-1]):
        flask_migrate.downgrade(revision=revision)
        assert _objects() == stood[revision]


def test_runs_survive_the_migration_of_their_hash_both_ways(empty_app: Flask) -> None:
    flask_migrate.upgrade()
    run_id = make_run().id
    # Ends the transaction: the migration waits for whoever reads the table.
    db.session.remove()
    flask_migrate.downgrade(revision="0002")
    flask_migrate.upgrade()
    stands = db.session.scalars(sa.select(Run)).one()
    assert (stands.id, stands.content_hash) == (run_id, None)


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory(str(ROOT / "migrations")).get_heads()) == 1


def test_models_and_migrations_agree(base_app: Flask) -> None:
    with base_app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []


def test_names_of_constraints_are_the_same_in_models_and_database(base_app: Flask) -> None:
    # Autogeneration does not compare check constraints, and services translate refusals by these names.
    named = {
        constraint.name
        for table in db.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint.name, str)
    }
    with base_app.app_context(), db.engine.connect() as connection:
        query = sa.text(
            "SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
            "WHERE contype IN ('c', 'u', 'p', 'f') AND relname = ANY(:tables)"
        )
        stands = set(connection.scalars(query, {"tables": list(db.metadata.tables)}))
    assert named == stands


def _client(**values: Any) -> Client:
    return Client(**{"name": "Somebody", **values})


def _pipeline(**values: Any) -> Pipeline:
    defaults = {"name": "p", "platform": Platform.CRON, "pipeline_type": PipelineType.EXPORT}
    return Pipeline(**{"client_id": make_client().id, **defaults, **values})


def _run(**values: Any) -> Run:
    return Run(**{"pipeline_id": make_pipeline().id, "external_run_id": "r", "status": RunStatus.FAILED, **values})


def _twice(make: Callable[..., Any], **values: Any) -> Any:
    make(**values)
    return make(**values)


def _same_name_in_other_case() -> Client:
    make_client(name="Straße Ö")
    return _client(name="STRAßE ö")


def _same_pipeline_name_in_other_case() -> Pipeline:
    client = make_client()
    make_pipeline(client, name="Orders")
    return _pipeline(client_id=client.id, name="oRDERS")


def _same_external_id() -> Pipeline:
    client = make_client()
    make_pipeline(client, platform=Platform.CRON, external_id="x")
    return _pipeline(client_id=client.id, platform=Platform.CRON, external_id="x")


def _same_run() -> Run:
    pipeline = make_pipeline()
    db.session.add(_run(pipeline_id=pipeline.id))
    db.session.commit()
    return _run(pipeline_id=pipeline.id)


def _rule(**values: Any) -> Any:
    return make_alert_rule(**values)


def _rule_of_another_client() -> Any:
    return _rule(client_id=make_client().id, pipeline_id=make_pipeline().id)


def _same_client_rule() -> Any:
    return _twice(_rule, client_id=make_client().id)


def _same_pipeline_rule_whose_client_is_left_out() -> Any:
    pipeline = make_pipeline()
    _rule(pipeline_id=pipeline.id, client_id=pipeline.client_id)
    return _rule(pipeline_id=pipeline.id)


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("ck_clients_name_not_empty", lambda: _client(name="  ")),
    ("uq_clients_lower_name", _same_name_in_other_case),
    ("ck_pipelines_name_not_empty", lambda: _pipeline(name=" ")),
    ("uq_pipelines_client_id_lower_name", _same_pipeline_name_in_other_case),
    ("uq_pipelines_client_id_platform_external_id", _same_external_id),
    ("ck_pipelines_external_id_length", lambda: _pipeline(external_id="")),
    ("ck_pipelines_external_id_length", lambda: _pipeline(external_id="x" * 513)),
    ("ck_pipelines_expected_every_minutes_positive", lambda: _pipeline(expected_every_minutes=0)),
    ("uq_runs_pipeline_id_external_run_id", _same_run),
    ("ck_runs_external_run_id_length", lambda: _run(external_run_id="")),
    ("ck_runs_external_run_id_length", lambda: _run(external_run_id="x" * 513)),
    ("ck_runs_duration_seconds_valid", lambda: _run(duration_seconds=-0.1)),
    ("ck_runs_duration_seconds_valid", lambda: _run(duration_seconds=math.nan)),
    ("ck_runs_duration_seconds_valid", lambda: _run(duration_seconds=math.inf)),
    ("ck_runs_rows_processed_not_negative", lambda: _run(rows_processed=-1)),
    ("ck_runs_running_is_unfinished", lambda: _run(status=RunStatus.RUNNING, finished_at=NOW)),
    ("ck_alert_rules_has_scope", _rule),
    ("ck_alert_rules_threshold_positive", lambda: _rule(client_id=make_client().id, threshold=0)),
    ("ck_alert_rules_window_minutes_positive", lambda: _rule(client_id=make_client().id, window_minutes=0)),
    (
        "ck_alert_rules_window_complete",
        lambda: _rule(client_id=make_client().id, rule_type=RuleType.FAILURES_IN_WINDOW, threshold=3),
    ),
    ("ck_alert_rules_destination_not_empty", lambda: _rule(client_id=make_client().id, destination=" ")),
    ("fk_alert_rules_pipeline_id_client_id_pipelines", _rule_of_another_client),
    ("uq_alert_rules_enabled_client", _same_client_rule),
    ("uq_alert_rules_enabled_pipeline", _same_pipeline_rule_whose_client_is_left_out),
]


@pytest.mark.parametrize(("constraint", "make"), REFUSED, ids=[f"{i}-{name}" for i, (name, _) in enumerate(REFUSED)])
def test_database_refuses(session: scoped_session[Session], constraint: str, make: Callable[[], Any]) -> None:
    with pytest.raises(IntegrityError) as refused:
        session.add(make())
        session.commit()
    assert refused.value.orig.diag.constraint_name == constraint  # type: ignore[union-attr]


@pytest.mark.parametrize("table", ["clients", "pipelines"])
def test_database_refuses_to_delete_what_has_history(session: scoped_session[Session], table: str) -> None:
    session.add(_run())
    session.commit()
    with pytest.raises(IntegrityError):
        session.execute(sa.text(f"DELETE FROM {table}"))


def test_database_refuses_an_unknown_status(session: scoped_session[Session]) -> None:
    pipeline = make_pipeline()
    with pytest.raises(sa.exc.DataError):
        session.execute(
            sa.text("INSERT INTO runs (id, pipeline_id, external_run_id, status) VALUES (:id, :id, 'r', 'perhaps')"),
            {"id": pipeline.id},
        )


def test_rules_alike_may_stand_when_all_but_one_are_disabled(session: scoped_session[Session]) -> None:
    client = make_client()
    make_alert_rule(client_id=client.id)
    make_alert_rule(client_id=client.id, is_enabled=False)
    make_alert_rule(client_id=client.id, is_enabled=False)


def test_rules_that_differ_in_one_thing_may_stand_together(session: scoped_session[Session]) -> None:
    pipeline = make_pipeline()
    client_id = pipeline.client_id
    make_alert_rule(client_id=client_id)
    make_alert_rule(pipeline_id=pipeline.id)
    make_alert_rule(client_id=client_id, destination="#elsewhere")
    make_alert_rule(client_id=client_id, channel=Channel.EMAIL)
    make_alert_rule(client_id=client_id, rule_type=RuleType.FAILURES_IN_WINDOW, threshold=3, window_minutes=60)


def test_event_time_is_the_finish_else_the_start_else_the_creation(session: scoped_session[Session]) -> None:
    started, finished = NOW - timedelta(hours=2), NOW
    runs = [
        _run(started_at=started, finished_at=finished),
        _run(started_at=started, status=RunStatus.RUNNING),
        _run(),
    ]
    session.add_all(runs)
    session.commit()
    for run in runs:
        session.refresh(run)
    assert [run.event_at for run in runs] == [finished, started, runs[2].created_at]
