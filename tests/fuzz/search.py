"""How long is searched for what breaks something: a bounded time, and the same search each time.

``CHM_TEST_EXAMPLES`` and ``CHM_TEST_SEED`` ask for a longer or another search than CI's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

EXAMPLES = int(os.environ.get("CHM_TEST_EXAMPLES", "12"))
_SEED = int(os.environ.get("CHM_TEST_SEED", "1"))


def search(strategy: SearchStrategy[T], judge: Callable[[T], None], *, examples: int = EXAMPLES) -> None:
    """Try so many examples of ``strategy``; the simplest that ``judge`` fails at is told."""

    @seed(_SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(example: T) -> None:
        judge(example)

    look()
