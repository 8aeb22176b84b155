"""The dashboard queries of the written contract, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chm_web.config import ROOT

CONTRACT = ROOT / "specs" / "001-chm-api-ingestion" / "contracts" / "dashboard-queries.sql"
README = CONTRACT.with_name("dashboard-readme.md")

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
# Two colons are a cast, not a parameter.
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)\b")


def load_queries() -> dict[str, str]:
    """Give the text of each query by its name, in the order of the file."""
    _, *parts = _NAME.split(CONTRACT.read_text(encoding="utf-8"))
    return {name: body.strip().removesuffix(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}


def parameters_of(query: str) -> set[str]:
    """Name the parameters of a query."""
    return set(_PARAMETER.findall(query))


def for_psycopg(query: str) -> str:
    """Write the parameters as psycopg wants them."""
    return _PARAMETER.sub(r"%(\1)s", query.replace("%", "%%"))


def fill_in(query: str, values: Mapping[str, str]) -> str:
    """Put a tool's own variables in place of the parameters.

    Raises:
        KeyError: the query has a parameter that ``values`` does not name.
    """
    return _PARAMETER.sub(lambda found: values[found[1]], query)


def columns_of(name: str) -> list[str]:
    """Name the columns of a query, as the contract describes them."""
    [row] = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    return re.findall(r"`(\w+)`", row.split("|")[3])
