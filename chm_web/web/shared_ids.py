"""Asks before a pipeline gets an id on its platform that another client's pipeline has, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import request

from chm_web.models import Pipeline
from chm_web.services.pipelines import list_same_external_id
from chm_web.web.formats import words

FIELD = "same_id"
"""The checkbox that says yes, by its name in templates/pipelines/_form.html; its value is what was asked about, so that
a yes to one id is none to another."""


def question(values: Mapping[str, Any], *, client_id: UUID, pipeline: Pipeline | None = None) -> dict[str, str]:
    """Give the question as an issue of the form's, by field; nothing when there is none, or it has been answered.

    Args:
        values: what is to be saved.
        client_id: whose pipeline it is.
        pipeline: the pipeline as it is, unless it is new: what it has already is not asked about.
    """
    external_id, platform = values["external_id"], values["platform"]
    if external_id is None or request.form.get(FIELD) == f"{platform} {external_id}":
        return {}
    if pipeline is not None and (pipeline.external_id, pipeline.platform) == (external_id, platform):
        return {}
    others = list_same_external_id(external_id=external_id, platform=platform, client_id=client_id)
    if not others:
        return {}
    named = ", ".join(f"{other.pipeline_name} of {other.client_name}" for other in others)
    return {
        FIELD: f"On {words(platform)} this is the id of {named}, too. A source that is read for both clients "
        "brings the same runs to both; what is reported under this id, or comes from an account’s feed, to neither."
    }
