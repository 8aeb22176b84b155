"""The first page: what is wrong right now, and what has changed, over all clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import abort, render_template, request

from chm_web.access.permissions import Permission
from chm_web.ingestion.progress import SyncScope
from chm_web.services import changes, health, outcomes, stability
from chm_web.services.changes import ChangeKind
from chm_web.services.health import Health, PipelineHealth
from chm_web.web import asked
from chm_web.web.banner import problems_now
from chm_web.web.blueprints import PageBlueprint
from chm_web.web.charts import stacked_runs
from chm_web.web.formats import words
from chm_web.web.panel import panel_for_scope
from chm_web.web.shared_looks import shared_look

blueprint = PageBlueprint("overview", __name__)

LIST_LIMIT = 25
FILTER_LIMIT = 200
CHANGES_LIMIT = 15
YESTERDAY = timedelta(hours=24)
# Of a moment closer to now than this it is not certain which runs had happened (reporting.known_until).
PAST = timedelta(minutes=5)
STATE = ("changed", "changed_since", "by", "window", "all")
"""The parameters of the part about changes, which the page hands on to it."""


@blueprint.get("/", allow=Permission.READ)
def index() -> str:
    """Show what is failing and late right now, worst first. For everyone who is signed in."""
    values = {**_health(), **_asked_changes(datetime.now(UTC)).values}
    return render_template("overview/index.html", panel=panel_for_scope(SyncScope()), state=_state(), **values)


@blueprint.get("/overview/health", allow=Permission.READ)
def fragment() -> str:
    """Show the first page's figures and lists alone, for its own refresh. For everyone who is signed in."""
    return render_template("overview/_health.html", **_health())


@blueprint.get("/overview/changes", allow=Permission.READ)
def changed() -> str:
    """Show what has changed since a moment, and failures over time. For everyone who is signed in.

    The first page asks for it once it is shown: it takes another look at the whole fleet.
    """
    asked_for = tuple(sorted(_state().items()))
    look = shared_look(("changes", asked_for), lambda: _look_at_changes(_asked_changes(datetime.now(UTC))))
    return render_template("overview/changes.html", kinds=ChangeKind, state=_state(), **look)


@dataclass(frozen=True)
class _Asked:
    """What the address asks of the part about changes."""

    changed: str
    since: datetime
    by: str
    window: asked.Window
    all: bool

    @property
    def values(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "changed_since": self.since,
            "by": self.by,
            "window": self.window,
            "all": self.all,
        }


def _asked_changes(now: datetime) -> _Asked:
    changed = asked.choice("changed", ("24h", "7d", "custom"))
    since = asked.moment("changed_since") if changed == "custom" else now - asked.WINDOWS[changed]
    if since is None:
        abort(400, description="changed_since: say since when, such as 2026-11-01 or 2026-11-01T08:00 (UTC).")
    if since > now - PAST:
        abort(400, description="changed_since: must be at least five minutes ago.")
    return _Asked(
        changed=changed,
        since=since,
        by=asked.choice("by", ("client", "platform")),
        window=asked.window(now=now, custom=False),
        all=asked.choice("all", ("no", "yes")) == "yes",
    )


def _look_at_changes(wanted: _Asked) -> dict[str, Any]:
    now = wanted.window.until
    limit = FILTER_LIMIT if wanted.all else CHANGES_LIMIT
    found = changes.list_changes(since=wanted.since, now=now, limit=limit)
    since = wanted.window.since
    failures = outcomes.failures_by_group(since=since, until=now, by=wanted.by)
    # A client may be called as a status or a platform is.
    say = words if wanted.by == "platform" else str
    return {
        "now": now,
        "found": found,
        "has_begun": bool(found.total or failures.series) or stability.has_runs(),
        "chart": stacked_runs(failures, since=since, until=now, say=say, status="failed"),
        **wanted.values,
    }


def _state() -> dict[str, str]:
    return {name: request.args[name] for name in STATE if request.args.get(name)}


def _health() -> dict[str, Any]:
    chosen = asked.one_of("health", Health)
    look = shared_look(("overview", chosen), lambda: _look(chosen))
    return {"chosen": chosen, "problems": len(problems_now()), **look}


def _look(chosen: Health | None) -> dict[str, Any]:
    now = datetime.now(UTC)
    fleet = changes.look_at_fleet(since=now - YESTERDAY, now=now)
    if chosen:
        lists = {"chosen_list": _list_chosen(chosen, fleet, now)}
    else:
        states = (Health.FAILING, Health.LATE)
        longest = [pipeline_id for state in states for pipeline_id in fleet.longest_in(state, LIST_LIMIT)]
        trouble = health.list_health_of(pipeline_ids=longest, now=now, limit=LIST_LIMIT)
        lists = {state.value: _only(state, trouble) for state in states}
    pipelines = [pipeline for listed in lists.values() for pipeline in listed]
    return {
        "now": now,
        "tally": fleet.tally,
        "client_count": len(fleet.by_client),
        "since_yesterday": _since_yesterday(fleet),
        "strips": health.run_strips(pipeline_ids=[pipeline.pipeline_id for pipeline in pipelines]),
        "failing": [],
        "late": [],
        "chosen_list": [],
        **lists,
    }


def _since_yesterday(fleet: changes.Fleet) -> dict[ChangeKind, int]:
    return {kind: sum(changed.get(kind, 0) for changed in fleet.changes.values()) for kind in ChangeKind}


def _list_chosen(chosen: Health, fleet: changes.Fleet, now: datetime) -> list[PipelineHealth]:
    if chosen is Health.RUNNING:
        # The tile counts what runs now, which is no state of health: a failing pipeline may be running too.
        return health.list_fleet_health(now=now, running_now=True, limit=FILTER_LIMIT)
    if chosen in (Health.FAILING, Health.LATE):
        longest = fleet.longest_in(chosen, FILTER_LIMIT)
        return _only(chosen, health.list_health_of(pipeline_ids=longest, now=now, limit=FILTER_LIMIT))
    return health.list_fleet_health(now=now, health=[chosen], limit=FILTER_LIMIT)


def _only(state: Health, pipelines: list[PipelineHealth]) -> list[PipelineHealth]:
    # One may have left its state since the look at the fleet that named it.
    return [pipeline for pipeline in pipelines if pipeline.health is state]
