"""The pages: one module a resource, each view a thin translation of service functions into a template."""

from __future__ import annotations

from typing import Any

from flask import Flask

from chm_web.access.guard import declare, may
from chm_web.access.oidc import provider_names
from chm_web.access.permissions import Permission
from chm_web.access.sessions import signed_in
from chm_web.services.exceptions import Unavailable
from chm_web.web import (
    account,
    addresses,
    alert_rules,
    asked,
    calendars,
    charts,
    client_forms,
    client_list,
    clients,
    elements,
    finding,
    formats,
    headers,
    ingestion,
    insights,
    metrics,
    oidc,
    overview,
    pings,
    pipeline_forms,
    pipeline_list,
    pipelines,
    probes,
    request_times,
    runs,
    shared_looks,
    static_files,
    timing,
)

# Some share a blueprint: what a resource's pages are called does not depend on how many modules make them.
_MODULES = (
    overview,
    clients,
    client_list,
    client_forms,
    pipelines,
    pipeline_list,
    pipeline_forms,
    runs,
    insights,
    alert_rules,
    ingestion,
    finding,
    account,
    oidc,
    pings,
    probes,
    metrics,
)


def init_app(app: Flask) -> None:
    """Register the pages with what every template needs, and the headers that every response carries."""
    # Templates read well with one tag a line; without these two every such line would be sent as a blank one.
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    formats.init_app(app)
    elements.init_app(app)
    calendars.init_app(app)
    charts.init_app(app)
    addresses.init_app(app)
    static_files.init_app(app)
    headers.init_app(app)
    timing.init_app(app)
    request_times.init_app(app)
    metrics.init_app(app)
    app.jinja_env.globals["same_page"] = asked.same_page
    app.jinja_env.globals["parameters"] = asked.parameters
    app.context_processor(_who)
    pings.init_app(app)
    shared_looks.init_app(app)
    declare(app, "static", Permission.PUBLIC)
    for blueprint in dict.fromkeys(module.blueprint for module in _MODULES):
        app.register_blueprint(blueprint)


def _who() -> dict[str, Any]:
    """Tell every template who is signed in and what may be shown to them."""
    try:
        me = signed_in()
    except Unavailable:  # told already, by the very page that is being made
        me = None
    return {"me": me, "may": may, "providers": provider_names()}
