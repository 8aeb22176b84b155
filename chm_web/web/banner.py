"""What every page says of ingestion that does not go on."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import g

from chm_web.ingestion.problems import IngestionProblem, ingestion_problems


def problems_now() -> tuple[IngestionProblem, ...]:
    """Give what is wrong with ingestion now: asked for once a request, however often a page tells of it."""
    if "ingestion_problems" not in g:
        g.ingestion_problems = ingestion_problems(now=datetime.now(UTC))
    found: tuple[IngestionProblem, ...] = g.ingestion_problems
    return found
