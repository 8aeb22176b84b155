"""Two people edit one pipeline or alert rule: the later one sees what differs, and decides."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from chm_web.extensions import db
from chm_web.models import AlertRule, Client, Pipeline, Platform
from chm_web.services.alert_rules import update_alert_rule
from chm_web.services.clients import update_client
from chm_web.services.pipelines import update_pipeline
from tests.browser.conftest import Site
from tests.factories import make_client, make_pipeline

pytestmark = pytest.mark.browser

REFUSED = "Failed to load resource: the server responded with a status of 422 (UNPROCESSABLE ENTITY)"


@pytest.fixture
def elsewhere(site: Site) -> tuple[Client, Pipeline]:
    """Another client, with one pipeline."""
    client = make_client(name="Saltmarsh Grain")
    return client, make_pipeline(client, name="silo_levels")


def refuse(page: Page, site: Site, destination: str = "#mine", **theirs: object) -> None:
    """Change a rule's destination in its form while somebody else changes the rule, and be told so."""
    page.goto(site.url + site.paths["alert rule"])
    page.get_by_label("Destination", exact=True).fill(destination)
    update_alert_rule(rule_id=site.rule.id, changes=theirs, updated_by="anna")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()


def save(page: Page) -> None:
    """Save what stands in the fields."""
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("The alert rule is saved.")


def saved(site: Site) -> AlertRule:
    """Give the rule as it is stored now."""
    db.session.expire_all()
    rule = db.session.get(AlertRule, site.rule.id)
    assert rule is not None
    return rule


def test_their_value_is_taken_at_a_press_and_one_of_ones_own_is_kept(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline form"])
    page.get_by_label("Name", exact=True).fill("orders_mine")
    theirs = {"name": "orders_theirs", "platform": Platform.DBT}
    update_pipeline(pipeline_id=site.failing.id, changes=theirs, updated_by="anna")

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()
    expect(page.locator("#name-theirs")).to_contain_text("Theirs: orders_theirs")
    expect(page.locator("#platform-theirs")).to_contain_text("Theirs: dbt")
    expect(page.locator(".form-stale")).to_contain_text("by anna")

    page.locator("#platform-theirs").get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Platform", exact=True)).to_have_value("dbt")
    expect(page.get_by_label("Platform", exact=True)).to_be_focused()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("orders_mine")
    expect(page.locator(".page-facts")).to_contain_text("dbt")
    assert site.complaints == [REFUSED]


def test_scope_at_another_client_is_taken_with_its_pipeline(
    page: Page, site: Site, elsewhere: tuple[Client, Pipeline]
) -> None:
    client, pipeline = elsewhere
    refuse(page, site, client_id=client.id, pipeline_id=pipeline.id)
    expect(page.locator("#client_id-theirs strong")).to_have_text("Saltmarsh Grain: silo_levels")
    expect(page.locator("#pipeline_id-theirs")).to_have_count(0)

    page.locator("#client_id-theirs").get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Pipeline optional")).to_have_value(str(pipeline.id))
    expect(page.get_by_label("Client", exact=True)).to_be_focused()
    expect(page.locator("#preview")).to_contain_text("Covers 1 pipeline")
    save(page)

    rule = saved(site)
    assert (rule.client_id, rule.pipeline_id, rule.destination) == (client.id, pipeline.id, "#mine")
    assert site.complaints == [REFUSED]


def test_scope_at_another_client_is_not_taken_by_who_keeps_theirs(
    page: Page, site: Site, elsewhere: tuple[Client, Pipeline]
) -> None:
    client, pipeline = elsewhere
    refuse(page, site, client_id=client.id, pipeline_id=pipeline.id)

    save(page)

    rule = saved(site)
    assert (rule.client_id, rule.pipeline_id, rule.destination) == (site.client.id, None, "#mine")


def test_all_pipelines_of_another_client_are_taken(page: Page, site: Site, elsewhere: tuple[Client, Pipeline]) -> None:
    client, _ = elsewhere
    update_alert_rule(rule_id=site.rule.id, changes={"pipeline_id": site.failing.id})
    refuse(page, site, client_id=client.id, pipeline_id=None)
    expect(page.locator("#client_id-theirs strong")).to_have_text("Saltmarsh Grain: all pipelines of the client")

    page.locator("#client_id-theirs").get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Pipeline optional").locator("option")).to_have_text(
        ["All pipelines of the client", "silo_levels"]
    )
    save(page)

    rule = saved(site)
    assert (rule.client_id, rule.pipeline_id) == (client.id, None)


def test_another_pipeline_of_the_same_client_is_taken(page: Page, site: Site) -> None:
    refuse(page, site, pipeline_id=site.failing.id)
    expect(page.locator("#client_id-theirs")).to_have_count(0)
    expect(page.locator("#pipeline_id-theirs strong")).to_have_text("orders_daily")

    page.locator("#pipeline_id-theirs").get_by_role("button", name="Take theirs").click()
    save(page)

    rule = saved(site)
    assert (rule.client_id, rule.pipeline_id, rule.destination) == (site.client.id, site.failing.id, "#mine")


def test_all_pipelines_are_said_where_a_rule_does_not_name_one_any_more(page: Page, site: Site) -> None:
    update_alert_rule(rule_id=site.rule.id, changes={"pipeline_id": site.failing.id})
    refuse(page, site, pipeline_id=None)
    expect(page.locator("#pipeline_id-theirs strong")).to_have_text("all pipelines of the client")

    page.locator("#pipeline_id-theirs").get_by_role("button", name="Take theirs").click()
    save(page)

    assert saved(site).pipeline_id is None


@pytest.mark.parametrize("taken", [True, False])
def test_rule_disabled_meanwhile_stays_so_only_if_that_is_taken(page: Page, site: Site, taken: bool) -> None:
    refuse(page, site, is_enabled=False)
    expect(page.locator("#is_enabled-theirs strong")).to_have_text("no")

    if taken:
        page.locator("#is_enabled-theirs").get_by_role("button", name="Take theirs").click()
    save(page)

    rule = saved(site)
    assert (rule.is_enabled, rule.destination) == (not taken, "#mine")


def test_client_renamed_meanwhile_is_no_change_of_its_pipeline(page: Page, site: Site) -> None:
    page.goto(site.url + site.paths["pipeline form"])
    page.get_by_label("Name", exact=True).fill("orders_mine")
    update_client(client_id=site.client.id, changes={"name": "Renamed Holdings"}, updated_by="anna")

    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("orders_mine")
    expect(page.locator(".crumbs")).to_contain_text("Renamed Holdings")
    assert site.complaints == []
