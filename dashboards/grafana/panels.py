"""The kinds of panels that the dashboards are made of."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders import barchart, common, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from dashboards.grafana.look import CHM, HIDDEN, column_properties, title_of, unit_of
from dashboards.grafana.sql import ALL_CLIENTS, SOURCE, SqlQuery, sql_of
from dashboards.queries import columns_of

# The narrowest bar: narrower ones would count single runs.
NARROWEST = "1h"
# At most so many of them: twelve hours each in thirty days.
BARS = 60


def number(
    title: str,
    query: str,
    column: str,
    *,
    colours: ThresholdsConfig,
    unit: str = "short",
    where: str | None = None,
    client: str = ALL_CLIENTS,
    page: str = "",
    width: int = 4,
) -> stat.Panel:
    """One number in the colour that its size deserves, with a link to a page of CHM."""
    sql = sql_of(query, client=client, take=f'{column} AS "{title}"', where=where)
    return (
        stat.Panel()
        .title(title)
        .datasource(SOURCE)
        .with_target(SqlQuery(sql))
        .unit(unit)
        .thresholds(colours)
        .color_mode(BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields(f"/^{title}$/"))
        .data_links([DashboardLink("Open in CHM").url(f"{CHM}/{page}").target_blank(True)])
        .no_value("none")
        .span(width)
        .height(4)
    )


def listing(
    title: str, query: str, *, description: str = "", client: str = ALL_CLIENTS, hide: tuple[str, ...] = ()
) -> table.Panel:
    """A query's rows in its own order."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(SqlQuery(sql_of(query, client=client)))
        .no_value("–")
        .span(24)
        .height(9)
    )
    for column in columns_of(query):
        properties = column_properties(column)
        if column in hide:
            properties = HIDDEN
        panel = panel.override_by_name(column, properties)
    return panel


def over_time(
    title: str,
    query: str,
    columns: Mapping[str, str],
    *,
    unit: str,
    client: str = ALL_CLIENTS,
    bars: bool = False,
    by: str | None = None,
    description: str = "",
) -> timeseries.Panel:
    """Lines or bars over the dashboard's time, a column and its colour each; or one column for each value of ``by``."""
    taken = [f'{column} AS "{title_of(column)}"' for column in columns]
    sql = sql_of(query, client=client, take=", ".join(['bucket_start AS "time"', *([by] if by else []), *taken]))
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(SqlQuery(f"{sql}\nORDER BY 1", time_series=True))
        .interval(NARROWEST)
        .max_data_points(BARS)
        .unit(unit)
        .min(0)
        .draw_style(GraphDrawStyle.BARS if bars else GraphDrawStyle.LINE)
        .fill_opacity(80 if bars else 0)
        .line_width(1 if bars else 2)
        .legend(_legend())
        .span(12)
        .height(8)
    )
    if bars:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if by:
        # Grafana would name a line by column and value; the value says it all.
        return panel.display_name(f"${{__field.labels.{by}}}")
    for column, colour in columns.items():
        panel = panel.override_by_name(title_of(column), [_fixed(colour)])
    return panel


def compared(
    title: str,
    query: str,
    label: str,
    columns: Mapping[str, str],
    *,
    client: str = ALL_CLIENTS,
    sideways: bool = True,
    stacked: bool = False,
    description: str = "",
) -> barchart.Panel:
    """Bars, a column and its colour each, of what ``label`` names."""
    taken = [f'{column} AS "{title_of(column)}"' for column in columns]
    sql = sql_of(query, client=client, take=", ".join([f'{label} AS "label"', *taken]))
    panel = (
        barchart.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(SqlQuery(f"{sql}\nLIMIT 20"))
        .x_field("label")
        .unit(unit_of(next(iter(columns))) or "short")
        .min(0)
        .orientation(VizOrientation.HORIZONTAL if sideways else VizOrientation.VERTICAL)
        .stacking(StackingMode.NORMAL if stacked else StackingMode.NONE)
        .legend(_legend())
        .span(12)
        .height(8)
    )
    for column, colour in columns.items():
        panel = panel.override_by_name(title_of(column), [_fixed(colour)])
    return panel


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _fixed(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
