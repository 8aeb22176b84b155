"""Turns the database's refusals into domain errors, by the name of the constraint and never by its message."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from chm_web.extensions import db
from chm_web.services.exceptions import Conflict, FieldIssue, Invalid, ServiceError
from chm_web.services.transactions import is_joined

_SAME_RULE = "An enabled rule with the same scope, type, channel and destination exists already."

_TAKEN = {
    "uq_clients_lower_name": ("name", "A client with this name exists already."),
    "uq_pipelines_client_id_lower_name": ("name", "This client has a pipeline with this name already."),
    "uq_pipelines_client_id_platform_external_id": (
        "external_id",
        "This client has a pipeline with this external id on this platform already.",
    ),
    "uq_alert_rules_enabled_client": ("is_enabled", _SAME_RULE),
    "uq_alert_rules_enabled_pipeline": ("is_enabled", _SAME_RULE),
    "uq_runs_pipeline_id_external_run_id": (
        "external_run_id",
        "This pipeline has a run with this external id already.",
    ),
}

_REFUSED = {
    "ck_clients_name_not_empty": ("name", "The name must not be empty."),
    "ck_pipelines_name_not_empty": ("name", "The name must not be empty."),
    "ck_pipelines_external_id_length": ("external_id", "The external id must have 1 to 512 characters."),
    "ck_pipelines_expected_every_minutes_positive": ("expected_every_minutes", "Must be greater than 0."),
    "ck_alert_rules_has_scope": ("client_id", "A rule needs a client or a pipeline."),
    "ck_alert_rules_threshold_positive": ("threshold", "Must be greater than 0."),
    "ck_alert_rules_window_minutes_positive": ("window_minutes", "Must be greater than 0."),
    "ck_alert_rules_window_complete": ("threshold", "failures_in_window needs threshold and window_minutes."),
    "ck_alert_rules_destination_not_empty": ("destination", "The destination must not be empty."),
    "fk_alert_rules_pipeline_id_client_id_pipelines": ("pipeline_id", "This pipeline belongs to another client."),
}


def _translate(err: IntegrityError) -> ServiceError:
    """Roll the session back and give the domain error that ``err`` stands for.

    Raises:
        IntegrityError: no rule explains it, so it is a bug of ours.
    """
    db.session.rollback()
    constraint = getattr(getattr(err.orig, "diag", None), "constraint_name", None)
    if constraint in _TAKEN:
        field, message = _TAKEN[constraint]
        return Conflict(message, (FieldIssue(field, message),))
    if constraint in _REFUSED:
        field, message = _REFUSED[constraint]
        return Invalid(message, (FieldIssue(field, message),))
    raise err


def commit_explained() -> None:
    """Commit, or raise the domain error for what the database refuses. Within ``one_transaction`` that commits.

    Raises:
        Conflict, Invalid: for a value that is taken, and for one that breaks a rule.
    """
    try:
        if is_joined():
            db.session.flush()
        else:
            db.session.commit()
    except IntegrityError as err:
        raise _translate(err) from err
