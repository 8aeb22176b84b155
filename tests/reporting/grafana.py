"""What Grafana does to a panel's SQL before its PostgreSQL data source asks it, after its documentation."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# As its macro engine finds them: a macro's arguments hold no closing parenthesis.
_MACRO = re.compile(r"\$(__[A-Za-z]+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}")
ALL = "$__all"


def expand(
    sql: str, *, since: datetime, until: datetime, interval: str = "12h", variables: dict[str, str] | None = None
) -> str:
    """Give the SQL that reaches PostgreSQL: variables first, in the browser, then the interval and the macros.

    A value of ``ALL`` stands for a variable's custom value for all, which is NULL and inserted as it is.
    """
    given = variables or {}
    sql = _VARIABLE.sub(lambda found: _formatted(given[found[1]], found[2]), sql)
    sql = sql.replace("$__interval", interval)
    return _MACRO.sub(lambda found: _macro(found[1], found[2], since, until), sql)


def _formatted(value: str, form: str | None) -> str:
    if value == ALL:
        return "NULL"
    if form == "sqlstring":
        return "'" + value.replace("'", "''") + "'"
    if form is None:
        return value.replace("'", "''")
    raise AssertionError(f"no panel should need the format {form}")


def _macro(name: str, arguments: str, since: datetime, until: datetime) -> str:
    start, end = (f"'{moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'" for moment in (since, until))
    match name:
        case "__timeFrom":
            return start
        case "__timeTo":
            return end
        case "__timeFilter":
            return f"{arguments} BETWEEN {start} AND {end}"
    raise AssertionError(f"no panel should need the macro {name}")
