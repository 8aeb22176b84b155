"""What lists repeat: moments and strips of runs, and the addresses that rows lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask, render_template_string, url_for
from markupsafe import Markup
from werkzeug.routing import BuildError

from chm_web.models import RunStatus
from chm_web.services.health import RecentRun, StripRun
from chm_web.web import addresses, elements

NOW = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)
FAILED, SUCCESS, RUNNING, SKIPPED = RunStatus.FAILED, RunStatus.SUCCESS, RunStatus.RUNNING, RunStatus.SKIPPED


@pytest.mark.parametrize(
    ("drawn", "form", "title", "text"),
    [
        (elements.ago(NOW - timedelta(hours=3), NOW), "title", "24 Nov 2026, 09:00:05 UTC", "3 h ago"),
        (elements.lasting(NOW - timedelta(hours=3), NOW), "since", "Since 24 Nov 2026, 09:00:05 UTC", "3 h"),
        (elements.at(NOW - timedelta(hours=3)), "short", "24 Nov 2026, 09:00:05 UTC", "24 Nov, 09:00:05"),
        (elements.clock(NOW - timedelta(hours=3)), "clock", "24 Nov 2026, 09:00:05 UTC", "09:00 UTC"),
    ],
)
def test_moment_is_told_with_what_a_script_needs(drawn: Markup, form: str, title: str, text: str) -> None:
    assert drawn == f'<time datetime="2026-11-24T09:00:05Z" title="{title}" data-moment="{form}">{text}</time>'


def test_title_tells_a_name_that_may_be_clipped_and_no_other() -> None:
    assert elements.whole("orders_daily") == ""
    assert elements.whole('a "name" of <more> than any row holds') == (
        ' title="a &#34;name&#34; of &lt;more&gt; than any row holds"'
    )


def test_moment_in_another_zone_is_told_in_utc() -> None:
    elsewhere = datetime.fromisoformat("2026-01-01T00:30:00+01:00")

    assert elements.full(elsewhere) == (
        '<time datetime="2025-12-31T23:30:00Z" data-moment="full">31 Dec 2025, 23:30:00 UTC</time>'
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda missing: elements.ago(None, NOW, missing),
        lambda missing: elements.lasting(None, NOW, missing),
        lambda missing: elements.at(None, missing),
        lambda missing: elements.full(None, missing),
    ],
)
def test_moment_that_is_not_there_is_told_in_words(draw: Callable[[str], Markup]) -> None:
    assert draw("a<b") == '<span class="quiet">a&lt;b</span>'


def bars(drawn: Markup) -> list[tuple[str, ...]]:
    """Of each rectangle: its class, place, top and height."""
    return re.findall(r'<rect class="bar-(\w+)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)


def test_strip_is_filled_from_the_right_and_failures_stand_at_full_height() -> None:
    drawn = elements.strip([StripRun(FAILED, 5), StripRun(SUCCESS, 5), StripRun(SKIPPED, None)], length=5)

    assert bars(drawn) == [
        *(("free", "0", "22", "2"), ("free", "9", "22", "2")),
        *(("failed", "18", "0", "24"), ("success", "27", "12", "12"), ("skipped", "36", "19", "5")),
    ]
    assert 'aria-label="Last 3 runs: 1 failed, 1 succeeded, 1 skipped; the newest skipped"' in drawn
    assert 'viewBox="0 0 43 24" width="43" height="24"' in drawn


def test_height_of_a_bar_is_how_long_the_run_took() -> None:
    runs = [StripRun(SUCCESS, 60), StripRun(SUCCESS, 120), StripRun(SUCCESS, 60), StripRun(RUNNING, None)]

    drawn = elements.strip([StripRun(FAILED, 120), *runs], length=5, durations=True)

    assert bars(drawn) == [
        *(("success", "9", "15", "9"), ("success", "18", "6", "18"), ("success", "27", "15", "9")),
        ("hollow", "36.75", "12.75", "10.5"),
    ]
    # A pale column, closed by a cap at full height and filled from below as far as it took: 18 of 24.
    assert '<path class="bar-column" d="M0 0h7v24h-7z"/>' in drawn
    assert '<path class="bar-failed" d="M0 0h7v3h-7zm0 6h7v18h-7z"/>' in drawn


def test_long_strip_says_of_each_run_what_it_was() -> None:
    runs = [RecentRun(uuid4(), SUCCESS, NOW, 72), RecentRun(uuid4(), RUNNING, NOW, None)]

    drawn = elements.titled_strip(runs, 50)

    assert re.findall("<title>(.*?)</title>", drawn) == [
        "Success, 24 Nov 2026, 12:00:05 UTC, took 1 min 12 s",
        "Running, 24 Nov 2026, 12:00:05 UTC",
    ]
    assert len(bars(drawn)) == 50
    assert 'preserveAspectRatio="none"' in drawn


def test_status_that_is_kept_is_drawn_as_its_template_says(app: Flask) -> None:
    with app.test_request_context("/"):
        kept = render_template_string("{{ badge(status) }}{{ shape(status) }}", status=FAILED)
        macro = '{% from "components/status.html" import badge, shape %}{{ badge(status) }}{{ shape(status) }}'

        assert render_template_string(macro, status=FAILED) == kept
        assert render_template_string(macro, status=SUCCESS) != kept


@pytest.mark.parametrize("root", ["", "/chm"])
@pytest.mark.parametrize(
    ("address", "endpoint", "parameter"),
    [
        (addresses.client_url, "clients.show", "client_id"),
        (addresses.pipeline_url, "pipelines.show", "pipeline_id"),
        (addresses.run_url, "runs.show", "run_id"),
    ],
)
def test_address_is_the_one_that_flask_makes(
    app: Flask, address: Callable[[UUID], str], endpoint: str, parameter: str, root: str
) -> None:
    for thing_id in (uuid4(), uuid4()):
        values: dict[str, Any] = {parameter: thing_id}
        with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": root}):
            assert address(thing_id) == url_for(endpoint, **values) == address(thing_id)
            assert address(thing_id).startswith(f"{root}/")


def made_by_template(endpoint: str, **values: Any) -> str:
    """What templates make of an address."""
    return render_template_string("{{ url_for(endpoint, **values) }}", endpoint=endpoint, values=values)


@pytest.mark.parametrize("root", ["", "/chm"])
@pytest.mark.parametrize(
    ("endpoint", "values"),
    [
        ("clients.index", {}),
        ("clients.index", {"q": "acme"}),
        ("static", {"filename": "favicon.svg"}),
        ("static", {"filename": "no such.css"}),
        ("static", {"filename": "favicon.svg", "v": "mine"}),
        (".index", {}),
    ],
)
def test_address_that_templates_keep_is_the_one_that_flask_makes(
    app: Flask, endpoint: str, values: dict[str, Any], root: str
) -> None:
    for place in ("/runs", "/pipelines"):
        with app.test_request_context(place, environ_overrides={"SCRIPT_NAME": root}):
            made = {Markup.escape(url_for(endpoint, **values)) for _ in range(2)}
            assert {made_by_template(endpoint, **values) for _ in range(2)} == made
            assert made_by_template(endpoint, **values).startswith(f"{root}/")


def test_file_that_is_edited_has_another_address_at_once(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = tmp_path / "edited.css"
    monkeypatch.setattr(app, "static_folder", str(tmp_path))
    found = []
    for second, words in enumerate(("body {}", "main {}")):
        edited.write_text(words, encoding="utf-8")
        os.utime(edited, (second, second))
        with app.test_request_context("/"):
            found += [made_by_template("static", filename="edited.css") for _ in range(2)]

    assert found[0] == found[1] != found[2] == found[3]
    assert all(re.fullmatch(r"/static/edited\.css\?v=[0-9a-f]{12}", address) for address in found)


def test_page_that_is_not_there_is_an_error_each_time(app: Flask) -> None:
    with app.test_request_context("/"):
        for _ in range(2):
            with pytest.raises(BuildError):
                made_by_template("clients.no_such")
