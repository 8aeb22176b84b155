"""Metabase's provisioning against a stand-in for its API, and its questions against the hand-worked fleet."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from pytest_httpserver import HTTPServer

from dashboards.metabase.__main__ import main
from dashboards.metabase.questions import QUESTIONS, Question
from tests.factories import NOW
from tests.reporting import scene
from tests.reporting.metabase import StandIn

ADMIN_PASSWORD, READER_PASSWORD = "pw-of-the-admin-7f3a", "pw-of-the-reader-91c2"


@pytest.fixture(scope="module")
def ids(emptied_app: Flask) -> dict[str, UUID]:
    """The scene, committed."""
    return scene.build()


@pytest.fixture
def metabase(httpserver: HTTPServer) -> StandIn:
    """A new Metabase."""
    return StandIn(httpserver)


def run(metabase: StandIn, **changes: str) -> Result:
    environment = {
        "METABASE_URL": metabase.url,
        "METABASE_ADMIN_EMAIL": "admin@chm.example",
        "METABASE_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "CHM_READER_PASSWORD": READER_PASSWORD,
        "READER_HOST": "postgres",
        "READER_DATABASE": "chm",
        **changes,
    }
    return CliRunner().invoke(main, env=environment)


def test_a_new_metabase_gets_an_administrator_a_connection_questions_and_a_dashboard(metabase: StandIn) -> None:
    result = run(metabase)

    assert result.exit_code == 0, result.output
    assert metabase.users == {"admin@chm.example": ADMIN_PASSWORD}
    details = metabase.named("database", "CHM")["details"]
    assert (details["user"], details["password"], details["schema-filters-patterns"]) == (
        "chm_reader",
        READER_PASSWORD,
        "reporting",
    )
    assert [card["name"] for card in metabase.kinds["card"].values()] == [question.name for question in QUESTIONS]
    assert len(metabase.named("dashboard", "CHM")["dashcards"]) == len(QUESTIONS)


def test_a_second_run_makes_and_changes_nothing(metabase: StandIn) -> None:
    run(metabase)
    before = str(metabase.kinds)
    metabase.changes.clear()

    result = run(metabase)

    assert result.output == "everything is as it should be\n"
    # The connection is sent again, since a changed password cannot be seen.
    assert metabase.changes == ["PUT database"]
    assert str(metabase.kinds) == before


def test_a_question_that_should_be_another_is_changed_in_its_place(metabase: StandIn) -> None:
    run(metabase)
    metabase.named("card", "Durations")["description"] = "Made by CHM's provisioning (of an older version)."
    number = metabase.named("card", "Durations")["id"]
    metabase.changes.clear()

    result = run(metabase)

    assert result.output == "card changed: Durations\n"
    assert metabase.named("card", "Durations")["id"] == number
    assert metabase.changes == ["PUT database", "PUT card"]


def test_a_password_that_was_changed_reaches_the_connection(metabase: StandIn) -> None:
    run(metabase)

    run(metabase, CHM_READER_PASSWORD="another-password")

    assert metabase.named("database", "CHM")["details"]["password"] == "another-password"


def test_a_wrong_password_is_refused_and_shown_nowhere(metabase: StandIn) -> None:
    run(metabase)

    result = run(metabase, METABASE_ADMIN_PASSWORD="a-wrong-password")

    assert result.exit_code == 1
    assert "POST /api/session: Metabase answered 401" in result.output
    assert "a-wrong-password" not in result.output


def test_passwords_may_stand_in_files(metabase: StandIn, tmp_path: Any) -> None:
    (tmp_path / "reader").write_text(f"{READER_PASSWORD}\n", encoding="utf-8")

    result = run(metabase, CHM_READER_PASSWORD="", CHM_READER_PASSWORD_FILE=str(tmp_path / "reader"))

    assert result.exit_code == 0
    assert metabase.named("database", "CHM")["details"]["password"] == READER_PASSWORD


def test_a_password_that_is_missing_is_named(metabase: StandIn) -> None:
    result = run(metabase, CHM_READER_PASSWORD="")

    assert result.exit_code == 2
    assert "CHM_READER_PASSWORD is not set" in result.output


def test_questions_lie_within_the_grid_and_none_upon_another(metabase: StandIn) -> None:
    run(metabase)

    taken: set[tuple[int, int]] = set()
    for place in metabase.named("dashboard", "CHM")["dashcards"]:
        columns = range(place["col"], place["col"] + place["size_x"])
        cells = {(x, y) for x in columns for y in range(place["row"], place["row"] + place["size_y"])}
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_question_asks_what_the_reader_may_read_and_draws_what_it_answers(
    question: Question, ids: dict[str, UUID], reader: psycopg.Connection[Any]
) -> None:
    at_now = question.sql.replace("now()", f"timestamptz '{NOW.isoformat()}'")
    # Metabase puts a variable's value in as a parameter of the statement.
    sql = re.sub(r"\{\{window\}\}", "%s", at_now.replace("%", "%%"))

    cursor = reader.execute(sql.encode(), ["30 days"] * sql.count("%s"))

    names = {column.name for column in cursor.description or ()}
    drawn = [*question.settings.get("graph.dimensions", []), *question.settings.get("graph.metrics", [])]
    assert set(drawn) <= names
    assert cursor.fetchall()
