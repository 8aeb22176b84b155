"""Asks the queries of the contract."""

from __future__ import annotations

from typing import Any

import psycopg

from dashboards.queries import for_psycopg, load_queries, parameters_of
from tests.factories import NOW
from tests.reporting.scene import ago

QUERIES = load_queries()
DAY = {"at": NOW, "since": ago(24), "until": NOW, "bucket": "12 hours", "limit": 100, "client_id": None}


def ask(connection: psycopg.Connection[Any], name: str, **values: Any) -> list[tuple[Any, ...]]:
    """Run a query of the contract: of the day before NOW and of all clients, unless ``values`` say otherwise."""
    query = QUERIES[name]
    given = {key: value for key, value in {**DAY, **values}.items() if key in parameters_of(query)}
    return connection.execute(for_psycopg(query), given).fetchall()
