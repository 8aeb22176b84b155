"""HTML forms, read by the API's schemas."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from chm_web.models import Environment, PipelineType, Platform
from chm_web.schemas.inventory import PipelineSchema
from chm_web.services.exceptions import Conflict, FieldIssue, NotFound, Stale
from chm_web.web import forms

COMPLETE = {"name": "orders", "platform": "airflow", "pipeline_type": "transform", "environment": "prod"}


def read(**values: str) -> tuple[dict[str, Any], forms.Issues]:
    return forms.read(PipelineSchema(), MultiDict(COMPLETE | values))


def test_form_gives_the_same_values_as_a_body() -> None:
    values, issues = read(expected_every_minutes=" 60 ", is_active="true")

    assert issues == {}
    assert values["platform"] is Platform.AIRFLOW
    assert values["pipeline_type"] is PipelineType.TRANSFORM
    assert values["environment"] is Environment.PROD
    assert values["expected_every_minutes"] == 60
    assert values["is_active"] is True


def test_what_is_wrong_stands_in_the_order_of_the_form() -> None:
    sent = ["expected_every_minutes", "pipeline_type", "name"]

    _, issues = forms.read(PipelineSchema(), MultiDict(dict.fromkeys(sent, "")))

    assert list(issues) == ["pipeline_type", "name", "platform"]


def test_empty_field_is_null_where_null_may_be() -> None:
    assert read(external_id="", description=" ")[0]["external_id"] is None


def test_unchecked_box_is_false() -> None:
    assert read()[0]["is_active"] is False


def test_empty_field_that_is_required_is_told_beside_it() -> None:
    assert list(read(name=" ")[1]) == ["name"]


@pytest.mark.parametrize("value", ["x", "1.5", "1,5", "2,50", "1,0000", ",100", "-1", "0", "9" * 40, "١٢"])
def test_what_is_no_such_number_is_told_beside_it(value: str) -> None:
    assert list(read(expected_every_minutes=value)[1]) == ["expected_every_minutes"]


def test_what_is_wrong_is_said_in_plain_words() -> None:
    _, issues = read(name="", expected_every_minutes="often")

    assert issues == {"name": "This is needed.", "expected_every_minutes": "Give a whole number."}


def test_grouped_digits_are_a_number() -> None:
    assert read(expected_every_minutes="1,440")[0]["expected_every_minutes"] == 1440


def test_lines_end_as_they_were_typed() -> None:
    assert read(description="one\r\ntwo")[0]["description"] == "one\ntwo"


def test_value_that_no_list_offers_is_told_beside_it() -> None:
    assert list(read(platform="cobol")[1]) == ["platform"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert set(read(name="", platform="cobol")[1]) == {"name", "platform"}


def test_refusal_of_a_service_is_told_by_field() -> None:
    def refuse() -> None:
        raise Conflict("Taken.", (FieldIssue("name", "Is taken."),))

    assert forms.attempt(refuse) == {"name": "Is taken."}


def test_change_by_somebody_else_is_told_of_the_form_as_a_whole() -> None:
    def refuse() -> None:
        raise Stale("Changed.")

    assert list(forms.attempt(refuse)) == [""]


def test_what_is_no_fault_of_the_form_is_raised() -> None:
    def refuse() -> None:
        raise NotFound("Gone.")

    with pytest.raises(NotFound):
        forms.attempt(refuse)


def test_refused_form_keeps_the_version_that_was_seen() -> None:
    assert forms.version_to_show("seen", "now", {"name": "Is taken."}) == "seen"


def test_form_refused_for_somebody_elses_change_goes_on_from_there() -> None:
    def refuse() -> None:
        raise Stale("Changed.")

    assert forms.version_to_show("seen", "now", forms.attempt(refuse)) == "now"


def test_form_that_is_opened_has_the_version_of_now() -> None:
    assert forms.version_to_show(None, "now", {}) == "now"
