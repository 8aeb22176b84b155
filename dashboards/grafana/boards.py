"""The four dashboards: the fleet, a client, platforms, and ingestion."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType, VariableRefresh

from dashboards.grafana.look import BAD, CHM, GOOD, LATE, QUIET, RUNNING, steps
from dashboards.grafana.panels import compared, listing, number, over_time
from dashboards.grafana.sql import ALL_CLIENTS, SOURCE, sql_of

CLIENT = "${client:sqlstring}"
DEFAULT_CHM_URL = "http://127.0.0.1:8000"
_TAG = "chm"
_PERCENTILES = {"p50_seconds": GOOD, "p95_seconds": LATE, "p99_seconds": BAD}


def boards(chm_url: str = DEFAULT_CHM_URL) -> dict[str, Dashboard]:
    """Give every dashboard by its name; their links lead to CHM at ``chm_url``."""
    return {
        "fleet": _fleet(chm_url),
        "client": _client(chm_url),
        "platform": _platform(chm_url),
        "ingestion": _ingestion(chm_url),
    }


def _fleet(chm_url: str) -> Dashboard:
    return (
        _board("fleet", "CHM: fleet", "What fails now, for which client, since when; what changed.", chm_url, "now-24h")
        .with_row(Row("At the end of the time shown"))
        .with_panel(_state("Failing", "failing", steps((1, BAD))))
        .with_panel(_state("Late", "late", steps((1, LATE))))
        .with_panel(_state("Healthy", "healthy", steps()))
        .with_panel(_running())
        .with_panel(_state("No data", "no_data", steps(base=QUIET)))
        .with_panel(_last_arrival())
        .with_panel(
            listing("Failing", "failing_now", description="The longest failing first.", hide=("running_since",))
        )
        .with_panel(
            listing("Changed in the time shown", "changes_since", description="Newly failing, gone silent, recovered.")
        )
        .with_row(Row("Over the time shown"))
        .with_panel(over_time("Failures", "failures_over_time", {"failures": BAD}, unit="short", bars=True))
        .with_panel(over_time("Success rate", "success_rate_over_time", {"success_rate": GOOD}, unit="percentunit"))
        .with_panel(
            compared(
                "Failures by client", "failures_by_client", "client_name", {"failures_24h": BAD, "failures_7d": QUIET}
            )
        )
        .with_panel(
            compared(
                "Pipelines by health",
                "health_by_client",
                "client_name",
                {"failing": BAD, "late": LATE, "running": RUNNING, "healthy": GOOD, "no_data": QUIET},
                stacked=True,
            )
        )
        .with_panel(
            listing("Flaky pipelines", "flaky_pipelines", description="Widen the time shown to 30 days to judge.")
        )
        .with_panel(listing("Oldest last successes", "freshness"))
    )


def _client(chm_url: str) -> Dashboard:
    return (
        _board("client", "CHM: client", "One client's pipelines.", chm_url, "now-7d")
        .with_variable(_client_variable())
        .link(_page("This client in CHM", "clients/${client}"))
        .with_row(Row("At the end of the time shown"))
        .with_panel(_state("Failing", "failing", steps((1, BAD)), client=CLIENT, width=6))
        .with_panel(_state("Late", "late", steps((1, LATE)), client=CLIENT, width=6))
        .with_panel(_state("Healthy", "healthy", steps(), client=CLIENT, width=6))
        .with_panel(_state("No data", "no_data", steps(base=QUIET), client=CLIENT, width=6))
        .with_panel(listing("Failing", "failing_now", client=CLIENT, hide=("client_name", "running_since")))
        .with_panel(listing("Latest status", "latest_status_by_pipeline", client=CLIENT))
        .with_panel(listing("Changed in the time shown", "changes_since", client=CLIENT, hide=("client_name",)))
        .with_row(Row("Over the time shown"))
        .with_panel(
            over_time("Failures", "failures_over_time", {"failures": BAD}, unit="short", bars=True, client=CLIENT)
        )
        .with_panel(
            over_time(
                "Success rate", "success_rate_over_time", {"success_rate": GOOD}, unit="percentunit", client=CLIENT
            )
        )
        .with_panel(
            over_time(
                "Rows", "throughput_over_time", {"rows_processed": RUNNING}, unit="short", bars=True, client=CLIENT
            )
        )
        .with_panel(over_time("Durations", "duration_percentiles_over_time", _PERCENTILES, unit="s", client=CLIENT))
        .with_panel(listing("Success rate by pipeline", "success_rate_by_pipeline", client=CLIENT))
        .with_panel(listing("Slowest pipelines", "duration_percentiles_by_pipeline", client=CLIENT))
    )


def _platform(chm_url: str) -> Dashboard:
    return (
        _board("platform", "CHM: platforms", "Which platforms fail most, and is it getting better?", chm_url, "now-30d")
        .with_variable(_client_variable(with_all=True))
        .with_panel(
            compared("Failure rate", "failure_rate_by_platform", "platform", {"failure_rate": BAD}, client=CLIENT)
        )
        .with_panel(
            over_time(
                "Failure rate over time",
                "failure_rate_by_platform_over_time",
                {"failure_rate": BAD},
                unit="percentunit",
                by="platform",
                client=CLIENT,
            )
        )
        .with_panel(listing("Outcomes", "failure_rate_by_platform", client=CLIENT))
        .with_panel(listing("Durations", "duration_percentiles_by_platform", client=CLIENT))
        .with_panel(over_time("Durations", "duration_percentiles_over_time", _PERCENTILES, unit="s", client=CLIENT))
        .with_panel(
            compared(
                "How many runs took how long",
                "duration_histogram",
                "concat(lower_seconds, ' s')",
                {"runs": RUNNING},
                client=CLIENT,
                sideways=False,
                description="Successful runs, by the shortest duration of each bar.",
            )
        )
    )


def _ingestion(chm_url: str) -> Dashboard:
    return (
        _board("ingestion", "CHM: ingestion", "Do runs come in, and how soon?", chm_url, "now-24h")
        .with_variable(_client_variable(with_all=True))
        .with_panel(_last_arrival(width=8))
        .with_panel(_arrived("Runs in the last hour", "runs_1h", LATE))
        .with_panel(_arrived("Runs in the last day", "runs_24h", BAD))
        .with_row(Row("By the runs' own time"))
        .with_panel(over_time("Runs", "ingestion_over_time", {"runs": RUNNING}, unit="short", bars=True, client=CLIENT))
        .with_panel(
            over_time(
                "Delay",
                "ingestion_over_time",
                {"p50_delay_seconds": GOOD, "p95_delay_seconds": LATE},
                unit="s",
                client=CLIENT,
                description="From a run's end to CHM's first hearing of it.",
            )
        )
        .with_panel(listing("By platform", "ingestion_by_platform", client=CLIENT))
        .with_panel(over_time("Rows", "throughput_over_time", {"rows_processed": RUNNING}, unit="short", client=CLIENT))
        .with_panel(compared("Rows by client", "client_throughput", "client_name", {"rows_processed": RUNNING}))
    )


def _board(name: str, title: str, description: str, chm_url: str, since: str) -> Dashboard:
    others = DashboardLink("CHM").type(DashboardLinkType.DASHBOARDS).tags([_TAG]).as_dropdown(True).keep_time(True)
    return (
        Dashboard(title)
        .uid(f"chm-{name}")
        .description(description)
        .tags([_TAG])
        .timezone("utc")
        .time(since, "now")
        .refresh("1m")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others)
        .link(_page("Open CHM", ""))
        .with_variable(ConstantVariable("chm_url").value(chm_url.rstrip("/")))
    )


def _page(title: str, path: str) -> DashboardLink:
    return DashboardLink(title).url(f"{CHM}/{path}").target_blank(True).icon("external link")


def _client_variable(*, with_all: bool = False) -> QueryVariable:
    choices = sql_of("clients", take='client_name AS "__text", CAST(client_id AS text) AS "__value"')
    variable = (
        QueryVariable("client")
        .label("Client")
        .datasource(SOURCE)
        .query(choices)
        .definition(choices)
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    )
    # Grafana inserts a custom value for all as it is, whatever format is asked for.
    return variable.include_all(True).all_value(ALL_CLIENTS) if with_all else variable


def _state(title: str, health: str, colours: ThresholdsConfig, *, client: str = ALL_CLIENTS, width: int = 4) -> Stat:
    where, page = f"health = '{health}'", f"?health={health}" if client == ALL_CLIENTS else "clients/${client}"
    return number(
        title, "health_tally", "pipelines", colours=colours, where=where, client=client, page=page, width=width
    )


def _running() -> Stat:
    colours = steps(base=RUNNING)
    return number("Running now", "health_tally", "sum(running)", colours=colours, page="?health=running")


def _last_arrival(width: int = 4) -> Stat:
    colours = steps((1800, LATE), (3600, BAD))
    return number("Last arrival", "ingestion_now", "age_seconds", colours=colours, unit="s", width=width)


def _arrived(title: str, column: str, when_none: str) -> Stat:
    return number(title, "ingestion_now", column, colours=steps((1, GOOD), base=when_none), width=8)
