"""``/metrics`` for Prometheus: aggregates alone, no client's and no pipeline's name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from chm_web.access.guard import declare
from chm_web.access.permissions import Permission
from chm_web.config import Config
from chm_web.ingestion import queue
from chm_web.ingestion.problems import behind_since
from chm_web.ingestion.queue import QueueFigures, Signs
from chm_web.metrics_directory import VARIABLE
from chm_web.models import RunStatus
from chm_web.services.exceptions import Unavailable
from chm_web.services.figures import FleetFigures, count_fleet
from chm_web.services.health import Health
from chm_web.web.request_times import IN_MEMORY
from chm_web.web.shared_looks import Looks

log = logging.getLogger(__name__)

blueprint = Blueprint("metrics", __name__)

# However many ask, the database is asked this often, and no statement may take longer than that.
FRESH_FOR_SECONDS = 10.0
STATEMENT_SECONDS = 5
_EXTENSION = "chm_metrics"


def init_app(app: Flask) -> None:
    """Say who may read the figures: whoever holds a token or is signed in, or by configuration anyone."""
    config: Config = app.config["CHM"]
    reading = Permission.PUBLIC if config.metrics_public else Permission.READ
    declare(app, "metrics.show", reading, is_limited=False, is_page=False)
    app.extensions[_EXTENSION] = Looks(FRESH_FOR_SECONDS if config.shared_look_seconds else 0)


@blueprint.get("/metrics")
def show() -> Response:
    """Give all figures as Prometheus reads them. For tokens that may read, and by configuration open to anyone."""
    registry = CollectorRegistry()
    if VARIABLE in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_Requests())
    registry.register(_Figures())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=content_type)


class _Requests(Collector):
    """This process's own requests."""

    def collect(self) -> Iterator[Metric]:
        """Give them."""
        yield from IN_MEMORY.collect()


class _Figures(Collector):
    """What the database and Redis tell, taken anew every few seconds."""

    def collect(self) -> Iterator[Metric]:
        """Give them. What cannot be had is left out, and ``chm_up`` says so."""
        looks: Looks = current_app.extensions[_EXTENSION]
        yield from looks.look("figures", _take) if looks.seconds else _take()


def _take() -> list[Metric]:
    up = GaugeMetricFamily("chm_up", "Whether what the other figures come from answers.", labels=["part"])
    found: list[Metric] = [up]
    for part, take in (("database", _fleet), ("redis", _ingestion)):
        figures = _try(take)
        up.add_metric([part], float(figures is not None))
        found += figures or []
    return found


def _try(take: Callable[[], list[Metric]]) -> list[Metric] | None:
    try:
        return take()
    except (SQLAlchemyError, Unavailable) as err:
        log.warning("figures are left out of /metrics: %s", type(err).__name__)
        return None


def _fleet() -> list[Metric]:
    figures: FleetFigures = count_fleet(now=datetime.now(UTC), at_most_seconds=STATEMENT_SECONDS)
    runs = GaugeMetricFamily(
        "chm_recent_runs", "Runs of the last hour and of the last day, by their status.", labels=["window", "status"]
    )
    for window, counts in (("1h", figures.last_hour), ("24h", figures.last_day)):
        for status in RunStatus:
            runs.add_metric([window, status.value], counts[status])
    pipelines = GaugeMetricFamily("chm_pipelines", "Active pipelines by their health.", labels=["health"])
    for health in Health:
        pipelines.add_metric([health.value], figures.health.counts.get(health, 0))
    return [runs, pipelines]


def _ingestion() -> list[Metric]:
    return [*_sources(queue.read_signs()), *_queue(queue.read_queue_figures())]


def _sources(signs: Signs) -> list[Metric]:
    config: Config = current_app.config["CHM"]
    now, every = datetime.now(UTC), timedelta(seconds=config.ingest_every_seconds)
    lag = GaugeMetricFamily(
        "chm_source_lag_seconds", "Since all of a source was last read without an error.", labels=["source"]
    )
    behind = GaugeMetricFamily("chm_source_behind", "Whether a source has missed three cycles.", labels=["source"])
    failures = GaugeMetricFamily(
        "chm_source_failures_in_row", "How many cycles in a row could not read a source.", labels=["source"]
    )
    for one in signs.sources:
        if one.source.paused:
            continue
        name = [one.source.name]
        if one.last_success_at is not None:
            lag.add_metric(name, max(0.0, (now - one.last_success_at).total_seconds()))
        behind.add_metric(name, float(behind_since(one, now=now, every=every) is not None))
        failures.add_metric(name, one.failures)
    return [lag, behind, failures]


def _queue(figures: QueueFigures) -> list[Metric]:
    parts = GaugeMetricFamily("chm_queue_parts", "Parts of ingestion jobs, by what they wait for.", labels=["state"])
    for state, count in (
        ("queued", figures.queued),
        ("started", figures.started),
        ("scheduled", figures.scheduled),
    ):
        parts.add_metric([state], count)
    workers = GaugeMetricFamily("chm_workers", "Workers that are alive.", value=figures.workers)
    durations = HistogramMetricFamily(
        "chm_ingestion_duration_seconds", "How long the readings of a source took.", labels=["source", "outcome"]
    )
    bounds = [*(f"{bound:.1f}" for bound in queue.BOUNDS), "+Inf"]
    for one in figures.durations:
        buckets = list(zip(bounds, map(float, one.within), strict=True))
        durations.add_metric([one.source, one.outcome], buckets, sum_value=one.total_seconds)
    return [parts, workers, durations]
