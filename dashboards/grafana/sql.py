"""The contract's queries as Grafana's PostgreSQL data source asks them."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

from dashboards.queries import fill_in, load_queries

SOURCE_UID = "chm"
SOURCE = DataSourceRef(type_val="grafana-postgresql-datasource", uid=SOURCE_UID)
ALL_CLIENTS = "NULL"
ROWS = "50"

_QUERIES = load_queries()
_VALUES = {
    "at": "$__timeTo()",
    "since": "$__timeFrom()",
    "until": "$__timeTo()",
    "bucket": "'$__interval'",
    "limit": ROWS,
}


def sql_of(name: str, *, client: str = ALL_CLIENTS, take: str | None = None, where: str | None = None) -> str:
    """Give a query of the contract with Grafana's macros and variables for its parameters.

    Args:
        name: the query's name in the contract.
        client: what stands for a client's id: a variable, or NULL for all.
        take: which of its columns, under which names; all of them as they are by default.
        where: which of its rows.
    """
    query = fill_in(_QUERIES[name], {**_VALUES, "client_id": client})
    if take is None and where is None:
        return query
    condition = f"\nWHERE {where}" if where else ""
    return f"SELECT {take or '*'}\nFROM (\n{query}\n) answer{condition}"


class SqlQuery(Dataquery, Builder[Dataquery]):
    """A target of the PostgreSQL data source, which the SDK has no model of."""

    def __init__(self, sql: str, *, ref: str = "A", time_series: bool = False) -> None:
        self._sql, self._ref, self._time_series = sql, ref, time_series

    def build(self) -> Dataquery:
        """Give the target itself: it is whole from the start."""
        return self

    def to_json(self) -> dict[str, object]:
        """Write it as Grafana's editor for code does."""
        return {
            "datasource": SOURCE,
            "editorMode": "code",
            "format": "time_series" if self._time_series else "table",
            "rawQuery": True,
            "rawSql": self._sql,
            "refId": self._ref,
        }
