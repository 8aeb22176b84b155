"""Which alert rules apply to a pipeline."""

from __future__ import annotations

from uuid import uuid4

import pytest
from flask import Flask

from chm_web.services.clients import get_client
from chm_web.services.effective_rules import RuleSource, effective_rules
from chm_web.services.exceptions import NotFound
from tests.factories import make_alert_rule, make_client, make_pipeline


def test_rules_of_the_client_apply_where_the_pipeline_has_none(app: Flask) -> None:
    pipeline = make_pipeline()
    rule = make_alert_rule(client_id=pipeline.client_id)

    found = effective_rules(pipeline_id=pipeline.id)

    assert (found.source, found.rules, found.overridden) == (RuleSource.CLIENT, (rule,), ())


def test_rules_of_its_own_override_those_of_the_client(app: Flask) -> None:
    pipeline = make_pipeline()
    of_client = make_alert_rule(client_id=pipeline.client_id)
    # The client of a pipeline's rule only says whose it is.
    own = [
        make_alert_rule(pipeline_id=pipeline.id),
        make_alert_rule(pipeline_id=pipeline.id, client_id=pipeline.client_id, destination="#other"),
    ]

    found = effective_rules(pipeline_id=pipeline.id)

    assert (found.source, found.rules, found.overridden) == (RuleSource.PIPELINE, tuple(own), (of_client,))


def test_disabled_rule_of_its_own_overrides_nothing(app: Flask) -> None:
    pipeline = make_pipeline()
    make_alert_rule(pipeline_id=pipeline.id, is_enabled=False)
    rule = make_alert_rule(client_id=pipeline.client_id)

    assert effective_rules(pipeline_id=pipeline.id).rules == (rule,)


def test_rules_of_other_scopes_and_disabled_ones_do_not_apply(app: Flask) -> None:
    pipeline = make_pipeline()
    sibling = make_pipeline(get_client(client_id=pipeline.client_id))
    make_alert_rule(pipeline_id=sibling.id, client_id=pipeline.client_id)
    make_alert_rule(client_id=make_client().id)
    make_alert_rule(client_id=pipeline.client_id, is_enabled=False)

    found = effective_rules(pipeline_id=pipeline.id)

    assert (found.source, found.rules) == (RuleSource.NONE, ())


def test_rules_of_an_unknown_pipeline_are_not_found(app: Flask) -> None:
    with pytest.raises(NotFound):
        effective_rules(pipeline_id=uuid4())
