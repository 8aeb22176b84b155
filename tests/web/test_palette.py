"""The colours of charts whose series are no states: clients and platforms, and the lines above a pipeline's bars."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

STYLES = (Path(__file__).resolve().parents[2] / "static" / "css" / "chm.css").read_text(encoding="utf-8")
SERIES = [f"series-{number}" for number in range(1, 7)]
STATES = ["ok", "bad", "late", "busy", "none"]

# What an eye without one kind of cone sees of linear RGB: Machado, Oliveira and Fernandes 2009, at full severity.
Matrix = tuple[tuple[float, float, float], ...]
EYES: dict[str, Matrix] = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
# The matrices of Oklab, in which distances are much as they are seen; black and white are 1 apart.
TO_CONES: Matrix = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB: Matrix = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
APART = 0.09
CONTRAST = 3.0


def colours(theme: str) -> dict[str, str]:
    """The custom properties of a theme that are colours, by their names."""
    block = re.search(rf'\[data-bs-theme="{theme}"\] \{{(.*?)\n\}}', STYLES, re.DOTALL)
    assert block is not None
    written = dict(re.findall(r"--chm-([\w-]+):\s*(#[0-9a-f]{3,6})\b", block[1]))
    return {
        name: value if len(value) == 7 else "#" + "".join(2 * sign for sign in value[1:])
        for name, value in written.items()
    }


def times(matrix: Matrix, vector: list[float]) -> list[float]:
    """A matrix times a vector."""
    return [sum(cell * value for cell, value in zip(row, vector, strict=True)) for row in matrix]


def linear(colour: str) -> list[float]:
    """The linear RGB of #rrggbb."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG counts it."""
    dark, light = sorted(sum(times(((0.2126, 0.7152, 0.0722),), linear(colour))) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def seen(colour: str, eye: str) -> list[float]:
    """Where an eye puts a colour in Oklab."""
    rgb = [min(max(value, 0.0), 1.0) for value in times(EYES[eye], linear(colour))]
    return times(TO_LAB, [math.cbrt(value) for value in times(TO_CONES, rgb)])


@pytest.fixture(params=["light", "dark"])
def palette(request: pytest.FixtureRequest) -> dict[str, str]:
    """The colours of a theme."""
    return colours(request.param)


def test_no_series_looks_like_a_state(palette: dict[str, str]) -> None:
    alike = [
        (series, state)
        for series, state in itertools.product(SERIES, STATES)
        if math.dist(seen(palette[series], "all cones"), seen(palette[state], "all cones")) < APART
    ]

    assert alike == []


@pytest.mark.parametrize("eye", EYES)
def test_series_stay_apart_to_every_eye(palette: dict[str, str], eye: str) -> None:
    alike = [
        (one, other)
        for one, other in itertools.combinations(SERIES, 2)
        if math.dist(seen(palette[one], eye), seen(palette[other], eye)) < APART
    ]

    assert alike == []


def test_series_stand_out_from_their_card(palette: dict[str, str]) -> None:
    faint = [series for series in SERIES if contrast(palette[series], palette["card"]) < CONTRAST]

    assert faint == []


def test_charts_take_no_more_colours_than_there_are() -> None:
    script = (Path(__file__).resolve().parents[2] / "static" / "js" / "charts.js").read_text(encoding="utf-8")

    assert re.findall(r"--chm-(series-\d)", script) == SERIES
