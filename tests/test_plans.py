"""What reading costs PostgreSQL in planning: statements stay prepared from request to request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask, abort

from chm_web.access.guard import declare
from chm_web.access.permissions import Permission
from chm_web.config import Config
from chm_web.extensions import db
from chm_web.models import Client
from chm_web.services.plans import kept_plans
from tests.configured import web_app_of
from tests.factories import make_alert_rule, make_client, make_pipeline
from tests.http import client_of

PREPARED = "SELECT statement, generic_plans FROM pg_prepared_statements"


@pytest.fixture
def web_app(committed_app: Flask, config: Config) -> Iterator[Flask]:
    """The app as the web server runs it, with one connection to the database."""
    with web_app_of(config) as app:
        yield app


def mode() -> str:
    return str(db.session.scalar(sa.text("SHOW plan_cache_mode")))


def test_statements_of_pages_stay_prepared_and_those_of_a_few_things_keep_their_plan(web_app: Flask) -> None:
    pipeline = make_pipeline()
    browser = client_of(web_app)
    # The driver prepares at the sixth time, and five times later PostgreSQL would by itself think of keeping a plan.
    for _ in range(14):
        assert browser.get(f"/pipelines/{pipeline.id}").status_code == 200

    with web_app.app_context():
        prepared = {row.statement: row.generic_plans for row in db.session.execute(sa.text(PREPARED))}

    [kept] = [plans for statement, plans in prepared.items() if "WITH scope AS MATERIALIZED" in statement]
    assert kept > 0
    planned_anew = [plans for statement, plans in prepared.items() if "FROM alert_rules" in statement]
    assert planned_anew and not any(planned_anew)


def test_the_setting_ends_with_the_block(web_app: Flask) -> None:
    with web_app.app_context():
        with kept_plans():
            assert mode() == "force_generic_plan"
        assert mode() == "force_custom_plan"


def test_a_block_within_another_ends_with_that_one(web_app: Flask) -> None:
    with web_app.app_context():
        with kept_plans():
            with kept_plans():
                assert mode() == "force_generic_plan"
            assert mode() == "force_generic_plan"
        assert mode() == "force_custom_plan"


def test_an_error_in_the_block_is_told_as_it_is_and_leaves_nothing_behind(web_app: Flask) -> None:
    with web_app.app_context():
        with pytest.raises(sa.exc.DBAPIError, match="division by zero"), kept_plans():
            db.session.execute(sa.text("SELECT 1 / 0"))
        db.session.rollback()
        assert mode() == "force_custom_plan"
        with kept_plans():
            assert mode() == "force_generic_plan"


def test_a_statement_that_gives_another_type_than_it_did_is_prepared_anew(web_app: Flask) -> None:
    browser = client_of(web_app)
    make_alert_rule(client_id=make_client().id)
    retype = "ALTER TABLE alert_rules ALTER COLUMN destination TYPE {}"
    for _ in range(8):
        assert browser.get("/alert-rules").status_code == 200
    try:
        with db.engine.begin() as connection:
            connection.execute(sa.text(retype.format("varchar(500)")))

        answers = [browser.get("/alert-rules") for _ in range(2)]
    finally:
        with db.engine.begin() as connection:
            connection.execute(sa.text(retype.format("text")))

    assert [answer.status_code for answer in answers] == [503, 200]


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_request_changed_without_saying_so_is_not_saved(web_app: Flask, fails: bool) -> None:
    client = make_client(name="Acme")

    @web_app.get("/changes-something")
    def changes_something() -> str:
        db.session.get_one(Client, client.id).name = "Changed"
        if fails:
            db.session.flush()
            abort(409)
        return ""

    declare(web_app, "changes_something", Permission.PUBLIC)
    assert web_app.test_client().get("/changes-something").status_code == (409 if fails else 200)

    with web_app.app_context():
        assert db.session.scalar(sa.select(Client.name)) == "Acme"
