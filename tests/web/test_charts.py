"""The figures of a chart as rows of a table."""

from __future__ import annotations

from chm_web.web.charts import chart_rows


def test_names_and_addresses_are_escaped_and_lines_at_one_height_left_out() -> None:
    chart = {
        "unit": "percent",
        "labels": ["<A>", "B & C"],
        "series": [
            {"name": "Now", "values": [12.34, None]},
            {"name": "Median", "level": True, "values": [5, 5]},
            {"name": "Before", "values": [0, 100]},
        ],
        "links": ["/runs?a=1&b=2", None],
    }

    assert chart_rows(chart).strip().split("\n") == [
        '<tr><th scope="row"><a href="/runs?a=1&amp;b=2">&lt;A&gt;</a></th>'
        '<td class="num">12.3 %</td><td class="num">0.0 %</td></tr>',
        '<tr><th scope="row">B &amp; C</th><td class="num">-</td><td class="num">100.0 %</td></tr>',
    ]


def test_moments_are_written_for_the_readers_zone() -> None:
    chart = {
        "unit": "runs",
        "times": "hour",
        "labels": ["2026-11-23T15:00:00Z"],
        "series": [{"name": "Failed", "values": [1234]}],
    }

    assert chart_rows(chart).strip() == (
        '<tr><th scope="row"><time datetime="2026-11-23T15:00:00Z" data-moment="hour">23 Nov, 15:00</time></th>'
        '<td class="num">1,234</td></tr>'
    )
