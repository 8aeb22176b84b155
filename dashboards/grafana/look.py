"""What things are called, measured in and coloured with: the same on every panel, and as on CHM's own pages."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

GOOD, BAD, LATE, RUNNING, QUIET = "#159a78", "#a8201a", "#c28400", "#2a56c6", "#8a93a3"

_STATES = {
    "healthy": ("Healthy", GOOD),
    "success": ("Success", GOOD),
    "recovered": ("Recovered", GOOD),
    "failing": ("Failing", BAD),
    "failed": ("Failed", BAD),
    "newly_failing": ("Newly failing", BAD),
    "late": ("Late", LATE),
    "gone_silent": ("Gone silent", LATE),
    "running": ("Running", RUNNING),
    "no_data": ("No data", QUIET),
    "skipped": ("Skipped", QUIET),
    "canceled": ("Canceled", QUIET),
}
_STATE_COLUMNS = ("health", "change", "latest_status")
_IDS = ("client_id", "pipeline_id", "latest_run_id")
_PAGES = {
    "client_name": "clients/${__data.fields.client_id}",
    "pipeline_name": "pipelines/${__data.fields.pipeline_id}",
}
_TITLES = {
    "client_name": "Client",
    "pipeline_name": "Pipeline",
    "since": "Since",
    "changed_at": "When",
    "p50_seconds": "Median",
    "p95_seconds": "p95",
    "p99_seconds": "p99",
    "max_seconds": "Longest",
    "p50_delay_seconds": "Median delay",
    "p95_delay_seconds": "p95 delay",
    "age_seconds": "Age",
    "expected_every_seconds": "Expected every",
    "failures_24h": "Last 24 hours",
    "failures_7d": "Last 7 days",
    "rows_processed": "Rows",
    "is_active": "Active",
}
CHM = "${chm_url}"
HIDDEN = [DynamicConfigValue("custom.hideFrom.viz", True)]


def title_of(column: str) -> str:
    """What a column is called on a panel."""
    return _TITLES.get(column) or column.removesuffix("_at").replace("_", " ").capitalize()


def unit_of(column: str) -> str | None:
    """The unit in which Grafana shows a column; none for texts."""
    if column.endswith("_seconds"):
        return "s"
    if column.endswith("_at") or column in ("since", "running_since"):
        return "dateTimeFromNow"
    if column.endswith("_rate") or column == "flakiness":
        return "percentunit"
    counted = ("runs", "failed", "succeeded", "changes", "failures", "failing", "late", "running", "healthy")
    return "short" if column in (*counted, "failures_in_row", "no_data", "rows_processed") else None


def column_properties(column: str) -> list[DynamicConfigValue]:
    """How a table shows a column: its title and unit, states in their colours, names as links to CHM's pages."""
    if column in _IDS:
        return HIDDEN
    properties = [DynamicConfigValue("displayName", title_of(column))]
    unit = unit_of(column)
    if unit:
        properties.append(DynamicConfigValue("unit", unit))
    if unit == "percentunit":
        properties.append(DynamicConfigValue("decimals", 1))
    if column in _STATE_COLUMNS:
        properties += [
            DynamicConfigValue("mappings", [state_mapping()]),
            DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"}),
        ]
    if column in _PAGES:
        properties.append(DynamicConfigValue("links", [link("Open in CHM", f"{CHM}/{_PAGES[column]}")]))
    return properties


def link(title: str, url: str) -> dict[str, object]:
    """A data link that opens beside the dashboard."""
    return {"title": title, "url": url, "targetBlank": True}


def state_mapping() -> ValueMap:
    """States as words in their colours: never as a colour alone."""
    return ValueMap(
        options={
            state: ValueMappingResult(text=text, color=colour, index=place)
            for place, (state, (text, colour)) in enumerate(_STATES.items())
        }
    )


def steps(*above: tuple[float, str], base: str = GOOD) -> ThresholdsConfig:
    """Colours of a number: ``base``, and from each value on another one."""
    higher: Sequence[Threshold] = [Threshold(value=value, color=colour) for value, colour in above]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value=None, color=base), *higher])
