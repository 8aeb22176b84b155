"""The search that every page carries, and the help."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import render_template

from chm_web.access.permissions import Permission
from chm_web.services.health import count_health_by_client
from chm_web.services.search import Found, HealthByClient, search
from chm_web.web import asked
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.shared_looks import shared_look

blueprint = PageBlueprint("finding", __name__)

SUGGESTIONS = 6
RESULTS = 25


@blueprint.get("/search", allow=Permission.READ)
def results() -> str:
    """Show the clients and pipelines that bear a name. For everyone who is signed in."""
    q = asked.text("q")
    return render_template("finding/search.html", q=q, found=_find(q, RESULTS))


@blueprint.get("/search/suggestions", allow=Permission.READ)
def suggestions() -> str:
    """Show the best of them alone, below the field that is being typed in. For everyone who is signed in."""
    q = asked.text("q")
    return render_template("finding/_suggestions.html", q=q, found=_find(q, SUGGESTIONS))


@blueprint.get("/help", allow=Permission.READ)
def help_page() -> str:
    """Say what the words and signs mean, and which keys do what. For everyone who is signed in."""
    return render_template("finding/help.html")


def _find(q: str | None, limit: int) -> Found | None:
    return search(q=q, now=datetime.now(UTC), health_by_client=_health_by_client, limit=limit) if q else None


def _health_by_client() -> HealthByClient:
    # Shared: who types asks with nearly every letter, and clients of hundreds of pipelines take long to judge.
    return shared_look(("health by client",), lambda: count_health_by_client(now=datetime.now(UTC)))
